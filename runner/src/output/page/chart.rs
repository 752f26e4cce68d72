//! The geometry of the charts. The templates have the frame: 460 units wide, the plot as below.

use std::fmt::Write;
use std::time::Duration;

use super::text::{compact, grouped, percent, round_span, span};
use crate::traffic::{Interval, Latencies, Series};

/// The left and right end of a rate's plot, and its bottom and top.
const RATE: Plot = Plot {
    left: 46.0,
    right: 448.0,
    bottom: 162.0,
    top: 14.0,
};
/// The same of the latencies.
const LATENCY: Plot = Plot {
    left: 12.0,
    right: 448.0,
    bottom: 140.0,
    top: 14.0,
};
/// The widest that a bar and its gap are.
const SLOT_MAX: f64 = 56.0;
/// A limit that is higher than this many times the peak would press the line to the bottom, so it is only named.
const LIMIT_SHOWN_MAX: f64 = 3.0;
/// Seconds between two labels of the axis of time.
const STEPS: [u64; 17] = [
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 43_200, 86_400,
];

struct Plot {
    left: f64,
    right: f64,
    bottom: f64,
    top: f64,
}

/// A line over time with its axes.
pub(super) struct Chart {
    pub(super) title: &'static str,
    pub(super) said: String,
    pub(super) line: String,
    pub(super) area: String,
    pub(super) limit: Option<Tick>,
    pub(super) x_ticks: Vec<Tick>,
    pub(super) y_ticks: Vec<Tick>,
    /// Where responses had status 429.
    pub(super) limited: Vec<String>,
}

/// A place on an axis.
pub(super) struct Tick {
    pub(super) at: String,
    /// Where the label stands, on an axis that goes up.
    pub(super) text_at: String,
    pub(super) label: String,
}

/// How often each latency occurred.
pub(super) struct LatencyChart {
    pub(super) said: String,
    pub(super) bars: Vec<Bar>,
    pub(super) ticks: Vec<Tick>,
}

/// A class of latencies.
pub(super) struct Bar {
    pub(super) x: String,
    pub(super) y: String,
    pub(super) width: String,
    pub(super) height: String,
    pub(super) said: String,
}

/// A number of each interval, a minute, against its limit. `took` is how long the run took.
pub(super) fn rate(
    title: &'static str,
    series: &Series,
    value: impl Fn(&Interval) -> u64,
    limit: Option<u32>,
    took: Duration,
) -> Chart {
    let points = rates(series, &value, window(series, took), took);
    let peak = highest(&points);
    let minute = highest(&rates(
        series,
        &value,
        MINUTE.max(series.width().as_secs()),
        took,
    ));
    let limit = limit.map(f64::from);
    let shown = limit.filter(|limit| *limit <= peak * LIMIT_SHOWN_MAX);
    let (step, top) = scale(peak.max(shown.unwrap_or(0.0)));
    let end = took.as_secs_f64().max(1.0);
    let x = |seconds: f64| RATE.x(seconds / end);
    let y = |rate: f64| RATE.y(rate / top);
    let mut line = String::new();
    for (at, (seconds, rate)) in points.iter().enumerate() {
        let command = if at == 0 { 'M' } else { 'L' };
        let _ = write!(line, "{command}{:.1} {:.1}", x(*seconds), y(*rate));
    }
    let last = points.last().map_or(0.0, |(seconds, _)| *seconds);
    let area = format!(
        "{line}L{:.1} {:.1}L{:.1} {:.1}Z",
        x(last),
        RATE.bottom,
        RATE.left,
        RATE.bottom
    );
    let width = series.width().as_secs_f64();
    let limited = series.intervals().iter().zip(0_u32..);
    let limited = limited.filter(|(interval, _)| interval.rate_limited > 0);
    let y_tick = |rate: f64| Tick::up(y(rate), compact(rate));
    Chart {
        title,
        said: said(minute, limit),
        line,
        area,
        limit: shown.map(|limit| Tick {
            at: one_place(y(limit)),
            text_at: one_place(y(limit) - 5.0),
            label: compact(limit),
        }),
        x_ticks: time_ticks(took, &RATE),
        y_ticks: (0..=5_u32)
            .map(|at| f64::from(at) * step)
            .take_while(|rate| *rate <= top)
            .map(y_tick)
            .collect(),
        limited: limited
            .map(|(_, at)| one_place(x((f64::from(at) * width).min(end))))
            .collect(),
    }
}

/// The window of [`rate`], in words.
pub(super) fn window_said(series: &Series, took: Duration) -> String {
    match window(series, took) {
        MINUTE => "the minute".to_owned(),
        seconds => format!("the {}", round_span(Duration::from_secs(seconds))),
    }
}

/// Over how many seconds a rate is measured: a minute, as the limits are. A short run would be over before that,
/// and in a long one an interval is longer.
fn window(series: &Series, took: Duration) -> u64 {
    let least = if took < SHORT { 10 } else { MINUTE };
    series.width().as_secs().max(least)
}

const MINUTE: u64 = 60;

fn highest(points: &[(f64, f64)]) -> f64 {
    points.iter().map(|(_, rate)| *rate).fold(0.0, f64::max)
}

/// A run that is shorter than this shows rates over ten seconds.
const SHORT: Duration = Duration::from_secs(120);

/// The rate a minute at the end of each interval, over the window before it.
fn rates(
    series: &Series,
    value: impl Fn(&Interval) -> u64,
    window: u64,
    took: Duration,
) -> Vec<(f64, f64)> {
    let width = series.width().as_secs().max(1);
    let end = took.as_secs_f64();
    let mut totals = vec![0.0];
    let mut total = 0;
    for interval in series.intervals() {
        total += value(interval);
        totals.push(total as f64);
    }
    let whole = total as f64;
    let at_edge = |edge: u64| {
        let total = usize::try_from(edge).ok().and_then(|edge| totals.get(edge));
        total.copied().unwrap_or(whole)
    };
    let total_at = |seconds: u64| {
        let (edge, rest) = (seconds / width, (seconds % width) as f64 / width as f64);
        at_edge(edge) + (at_edge(edge + 1) - at_edge(edge)) * rest
    };
    // Past the window after the last request, nothing changes any more.
    let edges = series.intervals().len() as u64 + window.div_ceil(width);
    let mut points = vec![(0.0, 0.0)];
    for edge in 1..=edges {
        let seconds = edge * width;
        if seconds as f64 > end && points.len() > 1 {
            // Only a part of this interval is over, so it says nothing about the rate.
            let rate = points.last().map_or(0.0, |(_, rate)| *rate);
            points.push((end, rate));
            return points;
        }
        let sent = total_at(seconds) - total_at(seconds.saturating_sub(window));
        let rate = sent * 60.0 / window as f64;
        points.push(((seconds as f64).min(end), rate));
    }
    points.push((end, 0.0));
    points
}

/// The rate in the fullest minute, which is what a limit is about.
fn said(peak: f64, limit: Option<f64>) -> String {
    let peak_said = compact(peak);
    match limit {
        Some(limit) => format!(
            "at most {peak_said} in a minute, {} % of {}",
            percent(peak, limit),
            compact(limit)
        ),
        None => format!("at most {peak_said} in a minute"),
    }
}

/// A round step for about four ticks, and the top of the axis.
fn scale(most: f64) -> (f64, f64) {
    let rough = (most / 4.0).max(0.25);
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].map(|factor| factor * power);
    let step = step
        .into_iter()
        .find(|step| *step >= rough)
        .unwrap_or(rough)
        .max(1.0);
    (step, (most / step).ceil().max(1.0) * step)
}

fn time_ticks(took: Duration, plot: &Plot) -> Vec<Tick> {
    let end = took.as_secs().max(1);
    let step = STEPS
        .into_iter()
        .find(|step| end / step <= 5)
        .unwrap_or(end);
    let tick = |seconds: u64| Tick {
        at: one_place(plot.x(seconds as f64 / took.as_secs_f64().max(1.0))),
        text_at: String::new(),
        label: round_span(Duration::from_secs(seconds)),
    };
    let last = end / step;
    (0..=last.min(6)).map(|at| tick(at * step)).collect()
}

/// How long successes took. `None` if there was none.
pub(super) fn latencies(latencies: &Latencies) -> Option<LatencyChart> {
    let classes = latencies.classes();
    let most = classes.iter().map(|(_, count)| *count).max()? as f64;
    let count = classes.len();
    let slot = ((LATENCY.right - LATENCY.left) / count as f64).min(SLOT_MAX);
    let x = |class: usize| LATENCY.left + class as f64 * slot;
    let bar = |(class, (least, count)): (usize, &(Duration, u64))| {
        // A class with a single response is still to be seen.
        let height = (*count as f64 / most * (LATENCY.bottom - LATENCY.top)).max(1.5);
        let height = if *count == 0 { 0.0 } else { height };
        Bar {
            x: one_place(x(class) + slot * 0.08),
            y: one_place(LATENCY.bottom - height),
            width: one_place(slot * 0.84),
            height: one_place(height),
            said: format!("{} from {}", grouped(*count), span(*least)),
        }
    };
    let every = count.div_ceil(5);
    let edges = classes.iter().map(|(least, _)| *least);
    let edges = edges.chain([latencies.longest()]).enumerate();
    let is_shown =
        |edge: usize| edge == count || (edge.is_multiple_of(every) && edge + every / 2 < count);
    let edges = edges.filter(|(edge, _)| is_shown(*edge));
    let of = |percent| latencies.percentile(percent).map(span).unwrap_or_default();
    Some(LatencyChart {
        said: format!(
            "half within {}, 99 % within {}, the longest {}",
            of(50),
            of(99),
            span(latencies.longest())
        ),
        bars: classes.iter().enumerate().map(bar).collect(),
        ticks: edges
            .map(|(edge, latency)| Tick {
                at: one_place(x(edge)),
                text_at: String::new(),
                label: round_span(latency),
            })
            .collect(),
    })
}

impl Plot {
    fn x(&self, share: f64) -> f64 {
        self.left + share * (self.right - self.left)
    }

    fn y(&self, share: f64) -> f64 {
        self.bottom - share * (self.bottom - self.top)
    }
}

impl Tick {
    fn up(y: f64, label: String) -> Self {
        Self {
            at: one_place(y),
            text_at: one_place(y + 4.0),
            label,
        }
    }
}

fn one_place(number: f64) -> String {
    format!("{number:.1}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::{Tier, Usage};
    use crate::traffic::Traffic;

    fn steady(seconds: u64, tokens: u64) -> Traffic {
        let mut traffic = Traffic::default();
        for at in (0..seconds).map(Duration::from_secs) {
            traffic.sent(at);
            let usage = Usage {
                input_tokens: tokens,
                ..Usage::default()
            };
            traffic.billed(at, &usage, (Tier::Standard, 0.0));
        }
        traffic
    }

    #[test]
    fn a_point_counts_the_window_before_it() {
        for seconds in [120, 1_000, 40_000] {
            let series = steady(seconds, 10).series;
            let took = Duration::from_secs(seconds);
            let points = rates(&series, |it| it.tokens, window(&series, took), took);
            assert!(points.len() <= 242);
            assert_eq!(points[0], (0.0, 0.0));
            let after_a_minute = points.iter().filter(|(at, _)| *at >= 60.0);
            let wrong = after_a_minute.filter(|(_, rate)| (rate - 600.0).abs() > 1.0);
            // The last interval may be there in part.
            assert!(wrong.count() <= 1, "{points:?}");
        }
        let short = rates(
            &steady(5, 6).series,
            |it| it.tokens,
            10,
            Duration::from_millis(4_500),
        );
        assert_eq!(short.last(), Some(&(4.5, 144.0)));
    }

    #[test]
    fn a_rate_falls_to_nothing_when_nothing_is_sent() {
        let points = rates(
            &steady(5, 6).series,
            |it| it.requests,
            60,
            Duration::from_secs(4_000),
        );
        assert_eq!(points.last(), Some(&(4_000.0, 0.0)));
        assert!(points.len() < 80);
    }

    #[test]
    fn axes_have_a_few_round_steps() {
        assert_eq!(scale(990_000.0), (250_000.0, 1_000_000.0));
        assert_eq!(scale(3.0), (1.0, 3.0));
        assert_eq!(scale(0.0), (1.0, 1.0));
        for seconds in [0, 1, 59, 61, 500, 5_000, 50_000, 400_000] {
            let ticks = time_ticks(Duration::from_secs(seconds), &RATE).len();
            assert!((2..=6).contains(&ticks), "{seconds}: {ticks}");
        }
    }

    #[test]
    fn a_limit_far_above_the_peak_is_only_named() {
        let traffic = steady(100, 10);
        let took = Duration::from_secs(100);
        let chart = |limit| rate("t", &traffic.series, |it| it.tokens, Some(limit), took);
        assert!(chart(1_000).limit.is_some());
        let far = chart(1_000_000);
        assert!(far.limit.is_none());
        assert_eq!(far.said, "at most 600 in a minute, 0.1 % of 1M");
    }
}
