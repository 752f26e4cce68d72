//! What a run has sent to the provider, over time. Its size does not grow with the run. Pure: the time is passed in.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::provider::{Error, ErrorKind, Overload, Tier, Usage};

/// The most intervals of a [`Series`].
const INTERVALS_MAX: usize = 240;

const MINUTE: Duration = Duration::from_secs(60);

/// The shortest time over which a rate is measured.
const SHORTEST: Duration = Duration::from_secs(10);

/// Four for each doubling, up to 17 minutes.
const LATENCIES: usize = 80;

/// The requests of one run to one model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Traffic {
    /// The model.
    pub model: String,
    /// The limit on requests a minute, once it is known.
    pub requests_per_minute: Option<u32>,
    /// The limit on tokens a minute, once it is known.
    pub tokens_per_minute: Option<u32>,
    /// How many requests ended how. The keys are a few fixed words.
    pub endings: BTreeMap<&'static str, u64>,
    /// The tokens that were billed.
    pub usage: Usage,
    /// What was billed at each tier.
    pub bills: BTreeMap<Tier, Bill>,
    /// Requests and tokens over time.
    pub series: Series,
    /// How long the provider took to respond with success.
    pub latencies: Latencies,
}

/// What was billed at one tier.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Bill {
    /// Requests.
    pub requests: u64,
    /// Their tokens.
    pub usage: Usage,
    /// Their price in US dollars. 0 if the model has none.
    pub usd: f64,
}

/// Requests and tokens a minute.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rate {
    /// Requests.
    pub requests: f64,
    /// Tokens that were billed.
    pub tokens: f64,
}

/// Counts over time, from the beginning of the run.
///
/// It begins with intervals of a second. If there are too many, each two neighbours become one.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    width: Duration,
    intervals: Vec<Interval>,
}

/// What was sent within an interval.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Interval {
    /// Requests.
    pub requests: u64,
    /// Tokens that were billed for these requests.
    pub tokens: u64,
    /// How many of the requests got status 429.
    pub rate_limited: u64,
}

/// Counts of durations. A class is at most a quarter longer than the one before.
#[derive(Debug, Clone, PartialEq)]
pub struct Latencies {
    classes: [u64; LATENCIES],
    count: u64,
    longest: Duration,
}

impl Traffic {
    /// Nothing yet.
    pub fn new(model: &str) -> Self {
        Self {
            model: model.to_owned(),
            ..Self::default()
        }
    }

    /// A request was sent at this time.
    pub fn sent(&mut self, at: Duration) {
        self.series.add(at, |interval| interval.requests += 1);
    }

    /// A request that was sent at this time was billed at a tier.
    pub fn billed(&mut self, at: Duration, usage: &Usage, (tier, usd): (Tier, f64)) {
        self.usage += *usage;
        let bill = self.bills.entry(tier).or_default();
        bill.requests += 1;
        bill.usage += *usage;
        bill.usd += usd;
        let tokens = usage.total();
        self.series.add(at, |interval| interval.tokens += tokens);
    }

    /// A request succeeded after this long.
    pub fn succeeded(&mut self, took: Duration) {
        self.end("success");
        self.latencies.add(took);
    }

    /// A request that was sent at this time failed.
    pub fn failed(&mut self, at: Duration, error: &Error) {
        self.end(ending(error));
        if error.is_rate_limited() {
            self.series.add(at, |interval| interval.rate_limited += 1);
        }
    }

    fn end(&mut self, how: &'static str) {
        *self.endings.entry(how).or_default() += 1;
    }
}

impl Default for Series {
    fn default() -> Self {
        Self {
            width: Duration::from_secs(1),
            intervals: Vec::new(),
        }
    }
}

impl Series {
    /// How long an interval is.
    pub fn width(&self) -> Duration {
        self.width
    }

    /// The intervals from the beginning of the run to the last request.
    pub fn intervals(&self) -> &[Interval] {
        &self.intervals
    }

    /// The rate of the last minute before `now`, or of an interval if that is longer.
    pub fn rate(&self, now: Duration) -> Rate {
        let window = MINUTE.max(self.width).min(now);
        let first = now
            .saturating_sub(window)
            .as_secs()
            .div_ceil(self.width.as_secs());
        let first = usize::try_from(first).unwrap_or(usize::MAX);
        let sum: Interval = self.intervals.iter().skip(first).sum();
        // What came at once at the beginning is no rate yet.
        let minutes = window.max(SHORTEST).as_secs_f64() / MINUTE.as_secs_f64();
        Rate {
            requests: sum.requests as f64 / minutes,
            tokens: sum.tokens as f64 / minutes,
        }
    }

    fn add(&mut self, at: Duration, change: impl FnOnce(&mut Interval)) {
        while at.as_secs() / self.width.as_secs() >= INTERVALS_MAX as u64 {
            let pairs = self.intervals.chunks(2);
            self.intervals = pairs.map(|pair| pair.iter().sum()).collect();
            self.width *= 2;
        }
        let place = usize::try_from(at.as_secs() / self.width.as_secs()).unwrap_or(0);
        if self.intervals.len() <= place {
            self.intervals.resize(place + 1, Interval::default());
        }
        if let Some(interval) = self.intervals.get_mut(place) {
            change(interval);
        }
    }
}

impl<'a> std::iter::Sum<&'a Interval> for Interval {
    fn sum<I: Iterator<Item = &'a Self>>(intervals: I) -> Self {
        intervals.fold(Self::default(), |sum, interval| Self {
            requests: sum.requests + interval.requests,
            tokens: sum.tokens + interval.tokens,
            rate_limited: sum.rate_limited + interval.rate_limited,
        })
    }
}

impl Default for Latencies {
    fn default() -> Self {
        Self {
            classes: [0; LATENCIES],
            count: 0,
            longest: Duration::ZERO,
        }
    }
}

impl Latencies {
    /// How many durations there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The longest duration.
    pub fn longest(&self) -> Duration {
        self.longest
    }

    /// The classes from the first to the last that has a duration: the shortest duration of each, and its count.
    pub fn classes(&self) -> Vec<(Duration, u64)> {
        let has = |count: &u64| *count > 0;
        let first = self.classes.iter().position(has).unwrap_or(0);
        let last = self.classes.iter().rposition(has).map_or(0, |at| at + 1);
        let classes = self.classes.iter().enumerate();
        let classes = classes.take(last).skip(first);
        classes.map(|(at, count)| (least(at), *count)).collect()
    }

    /// This share of the durations is at most so long. `None` if there are none.
    pub fn percentile(&self, percent: u64) -> Option<Duration> {
        let wanted = (self.count * percent).div_ceil(100).max(1);
        let mut seen = 0;
        let reached = self.classes.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        reached.map(|class| least(class + 1).min(self.longest))
    }

    fn add(&mut self, took: Duration) {
        let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
        let doublings = milliseconds.ilog2();
        let quarter = u128::from(milliseconds) << 2 >> doublings & 3;
        let class =
            (doublings as usize * 4 + usize::try_from(quarter).unwrap_or(0)).min(LATENCIES - 1);
        if let Some(count) = self.classes.get_mut(class) {
            *count += 1;
        }
        self.count += 1;
        self.longest = self.longest.max(took);
    }
}

/// The shortest duration of a class.
fn least(class: usize) -> Duration {
    let quarters = 4 + class as u64 % 4;
    Duration::from_micros((quarters * 250) << (class / 4))
}

/// How a request ended, in a few words.
fn ending(error: &Error) -> &'static str {
    match error.kind() {
        ErrorKind::Overloaded { cause, .. } => match cause {
            Overload::RateLimit => "429, above the rate limit",
            Overload::Busy => "the provider was overloaded or failed",
            Overload::NoCapacity => "the service tier had no capacity",
            Overload::Unreachable => "no connection",
            Overload::Timeout => "no response in time",
            Overload::Connection => "the connection broke",
        },
        ErrorKind::Refused(_) => "refused: key, quota or settings",
        ErrorKind::BadInput => "refused: something in the input",
        ErrorKind::TooLarge { .. } | ErrorKind::TooManyInputs { .. } => "refused: too much at once",
        ErrorKind::AboveLimit { .. } => "refused: above the limit of a minute",
        ErrorKind::Adapted => "refused: a parameter, then left out",
        ErrorKind::Broken(_) => "the response was unusable",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_near(number: f64, expected: f64) -> bool {
        (number - expected).abs() < 1e-9
    }

    #[test]
    fn a_series_merges_and_keeps_its_sums() {
        let mut traffic = Traffic::default();
        let usage = Usage {
            input_tokens: 3,
            ..Usage::default()
        };
        // Ten hours, a request each ten seconds.
        for at in (0..36_000).step_by(10).map(Duration::from_secs) {
            traffic.sent(at);
            traffic.billed(at, &usage, (Tier::Flex, 0.5));
        }
        let bill = traffic.bills[&Tier::Flex];
        assert_eq!(bill.requests, 3_600);
        assert!(is_near(bill.usd, 1_800.0));
        let series = &traffic.series;
        assert!(series.intervals().len() <= INTERVALS_MAX);
        assert_eq!(series.width(), Duration::from_secs(256));
        let sum: Interval = series.intervals().iter().sum();
        assert_eq!((sum.requests, sum.tokens), (3_600, 10_800));
        // Each interval but the last has what was sent in 256 seconds.
        let (_, whole) = series.intervals().split_last().unwrap();
        assert!(whole.iter().all(|it| it.requests.abs_diff(26) <= 1));
    }

    #[test]
    fn the_rate_is_that_of_the_last_minute() {
        let mut series = Series::default();
        for at in 0..90 {
            series.add(Duration::from_secs(at), |it| it.tokens += 10);
        }
        let rate = |seconds| series.rate(Duration::from_secs(seconds)).tokens;
        assert!(is_near(rate(90), 600.0));
        assert!(is_near(rate(120), 300.0));
        assert!(is_near(rate(200), 0.0));
        let mut once = Series::default();
        once.add(Duration::ZERO, |it| it.requests += 5);
        assert!(is_near(once.rate(Duration::from_secs(1)).requests, 30.0));
    }

    #[test]
    fn an_answer_counts_when_its_request_was_sent() {
        let mut series = Series::default();
        series.add(Duration::from_millis(5_900), |it| it.requests += 1);
        series.add(Duration::from_millis(2_100), |it| it.tokens += 7);
        assert_eq!(series.intervals().len(), 6);
        assert_eq!(series.intervals()[2].tokens, 7);
        assert_eq!(series.intervals()[5].requests, 1);
    }

    #[test]
    fn percentiles_are_right_within_a_quarter() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.percentile(50), None);
        for milliseconds in 1..=1_000 {
            latencies.add(Duration::from_millis(milliseconds));
        }
        for (percent, exact) in [(50, 500), (90, 900), (99, 990)] {
            let found = latencies.percentile(percent).unwrap();
            let exact = Duration::from_millis(exact);
            assert!(found >= exact && found <= exact.mul_f64(1.25), "{found:?}");
        }
        assert_eq!(latencies.percentile(100), Some(latencies.longest()));
    }

    #[test]
    fn classes_begin_where_the_one_before_ends() {
        let milliseconds = [0, 1, 2, 3, 4, 5, 6, 7, 8, 500, 100_000, 5_000_000];
        let mut latencies = Latencies::default();
        for at in milliseconds {
            latencies.add(Duration::from_millis(at));
        }
        let classes = latencies.classes();
        assert_eq!(classes[0], (Duration::from_millis(1), 2));
        assert!(classes.is_sorted_by(|a, b| a.0 < b.0));
        assert!(classes.contains(&(Duration::from_millis(7), 1)));
        let sum: u64 = classes.iter().map(|(_, count)| count).sum();
        assert_eq!(sum, milliseconds.len() as u64);
    }
}
