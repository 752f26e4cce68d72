//! The decisions against a provider made of numbers: hours pass in milliseconds, and what the
//! provider counts is known exactly.

mod provider;
mod sharing;

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use self::provider::{Outcome, Provider};
use super::state::{Admit, State};
use super::{Moment, RateLimits, Serial};

const MINUTE: Duration = Duration::from_secs(60);

/// How long things take.
#[derive(Debug, Clone, Copy)]
struct Delays {
    /// From sending to the provider's count, at most. It differs, so requests overtake each other.
    there: Duration,
    /// From the provider's count to its response, exactly.
    back: Duration,
    /// How late a timer fires, at most.
    wake: Duration,
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Arrival(Serial, u32),
    Return(Serial, Outcome),
}

/// What happened.
#[derive(Debug, Default)]
struct Record {
    sent: Vec<(Moment, u32)>,
    served_tokens: BTreeMap<u64, u64>,
    refused: usize,
    /// Requests that were sent before a `Retry-After` that had reached us was over.
    impatient: usize,
}

/// One line of requests, one limiter, one provider, one clock.
struct World {
    state: State,
    provider: Provider,
    delays: Delays,
    dice: fastrand::Rng,
    now: Moment,
    events: BTreeMap<(Moment, u64), Event>,
    event_count: u64,
    not_before: Moment,
    record: Record,
}

impl World {
    fn new(limits: RateLimits, provider: Provider, delays: Delays, seed: u64) -> Self {
        Self {
            state: State::new(limits),
            provider,
            delays,
            dice: fastrand::Rng::with_seed(seed),
            now: Moment::ZERO,
            events: BTreeMap::new(),
            event_count: 0,
            not_before: Moment::ZERO,
            record: Record::default(),
        }
    }

    /// Sends requests of so many tokens in their order, as soon as each may go, until `end` or until none is left.
    fn run(&mut self, requests: impl IntoIterator<Item = u32>, end: Moment) {
        for tokens in requests {
            self.send(tokens);
            if self.now >= end {
                return;
            }
        }
        while self.step(None) {}
    }

    /// Lets time pass until a request may go, and sends it.
    fn send(&mut self, tokens: u32) {
        let serial = loop {
            let wake = match self.state.admit(self.now, tokens) {
                Admit::Now(serial) => break serial,
                Admit::Wait(until) => {
                    assert!(until > self.now, "waiting for a moment that has come");
                    Some(until + self.at_most(self.delays.wake))
                }
                Admit::Full => None,
                Admit::TooLarge(error) => panic!("{error}"),
            };
            assert!(
                self.step(wake),
                "a request of {tokens} tokens waits for an event that never comes"
            );
        };
        self.record.sent.push((self.now, tokens));
        self.record.impatient += usize::from(self.now < self.not_before);
        let there = self.now + self.at_most(self.delays.there);
        self.schedule(there, Event::Arrival(serial, tokens));
    }

    /// Goes on to the next event, or to a moment that comes before it.
    fn step(&mut self, wake: Option<Moment>) -> bool {
        let next = self.events.first_key_value().map(|((at, _), _)| *at);
        let Some(now) = [wake, next].into_iter().flatten().min() else {
            return false;
        };
        self.now = now;
        if next == Some(now)
            && let Some((_, event)) = self.events.pop_first()
        {
            self.happen(event);
        }
        true
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrival(serial, tokens) => {
                let outcome = self.provider.receive(self.now, tokens);
                match outcome {
                    Outcome::Served(_) => {
                        let minute = self.now.as_secs() / MINUTE.as_secs();
                        *self.record.served_tokens.entry(minute).or_default() += u64::from(tokens);
                    }
                    Outcome::Refused(_) => self.record.refused += 1,
                }
                self.schedule(self.now + self.delays.back, Event::Return(serial, outcome));
            }
            Event::Return(serial, outcome) => {
                match outcome {
                    Outcome::Served(seen) => {
                        self.state.observe(self.now, serial, &seen);
                        self.state.succeed();
                    }
                    Outcome::Refused(retry_after) => {
                        self.state.overload(self.now, serial, Some(retry_after));
                        self.not_before = self.not_before.max(self.now + retry_after);
                    }
                }
                self.state.release();
            }
        }
    }

    fn schedule(&mut self, at: Moment, event: Event) {
        self.event_count += 1;
        self.events.insert((at, self.event_count), event);
    }

    fn at_most(&mut self, most: Duration) -> Duration {
        most.mul_f64(self.dice.f64())
    }
}

/// 200 ms to the provider and back, with a jitter, and timers that fire up to 20 ms late.
const USUAL: Delays = Delays {
    there: Duration::from_millis(60),
    back: Duration::from_millis(170),
    wake: Duration::from_millis(20),
};

fn hours(hours: u64) -> Moment {
    Duration::from_secs(hours * 3600)
}

/// Batches of 5,000 to 15,000 tokens: a hundred posts each.
fn batches(seed: u64) -> impl Iterator<Item = u32> {
    let mut dice = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(move || dice.u32(5_000..=15_000))
}

/// The least that a whole minute after the first served, in thousandths of the limit.
fn least_permille(record: &Record, limit: u64, minutes: u64) -> u64 {
    let served = |minute| record.served_tokens.get(&minute).copied().unwrap_or(0);
    (1..minutes)
        .map(|minute| served(minute) * 1000 / limit)
        .min()
        .unwrap_or(0)
}

#[test]
fn three_hours_at_a_million_tokens_a_minute_use_them_and_are_never_refused() {
    for configured in [Some(1_000_000), None] {
        let limits = RateLimits {
            requests_per_minute: configured.map(|_| 5_000),
            tokens_per_minute: configured,
            ..RateLimits::default()
        };
        let provider = Provider::new(5_000, 1_000_000, 1.0);
        let mut world = World::new(limits, provider, USUAL, 1);
        world.run(batches(1), hours(3));
        let total: u64 = (1..179)
            .map(|minute| world.record.served_tokens[&minute])
            .sum();
        assert!(total >= 178 * 990_000, "{total} tokens in 178 minutes");
        // A minute begins and ends between two batches: it is off by one batch at most.
        assert!(least_permille(&world.record, 1_000_000, 179) >= 980);
        assert_eq!(world.record.refused, 0);
        assert_eq!(world.state.tokens_per_minute(), Some(1_000_000));
    }
}

#[test]
fn the_headroom_covers_a_clock_that_runs_fast_by_a_thousandth() {
    let limits = RateLimits {
        tokens_per_minute: Some(1_000_000),
        ..RateLimits::default()
    };
    let mut world = World::new(limits, Provider::new(5_000, 1_000_000, 0.999), USUAL, 2);
    world.provider.has_headers = false;
    world.run(batches(2), hours(24));
    assert_eq!(world.record.refused, 0);
}

#[test]
fn latencies_of_a_minute_do_not_slow_it_down() {
    let limits = RateLimits {
        max_concurrency: 512,
        ..RateLimits::default()
    };
    let slow = Delays {
        back: MINUTE,
        ..USUAL
    };
    let mut world = World::new(limits, Provider::new(5_000, 1_000_000, 1.0), slow, 3);
    world.run(batches(3), hours(1));
    let total: u64 = (20..59)
        .map(|minute| world.record.served_tokens[&minute])
        .sum();
    assert!(total >= 39 * 980_000, "{total} tokens in 39 minutes");
    assert_eq!(world.record.refused, 0);
}

#[test]
fn the_headers_reveal_a_limit_that_is_configured_too_high() {
    let limits = RateLimits {
        requests_per_minute: Some(5_000),
        tokens_per_minute: Some(2_000_000),
        ..RateLimits::default()
    };
    let mut world = World::new(limits, Provider::new(5_000, 1_000_000, 1.0), USUAL, 4);
    world.run(batches(4), hours(1));
    let (refused, sent) = (world.record.refused, world.record.sent.len());
    assert!(refused * 1000 <= sent, "{refused} of {sent}");
    assert_eq!(world.record.impatient, 0);
    let total: u64 = world.record.served_tokens.values().sum();
    assert!(total >= 57 * 1_000_000, "{total} tokens in an hour");
}

#[test]
fn without_headers_retry_after_holds_a_limit_that_is_too_high() {
    let limits = RateLimits {
        requests_per_minute: Some(5_000),
        tokens_per_minute: Some(2_000_000),
        ..RateLimits::default()
    };
    let mut world = World::new(limits, Provider::new(5_000, 1_000_000, 1.0), USUAL, 5);
    world.provider.has_headers = false;
    world.run(batches(5), hours(1));
    assert!(world.record.refused > 0);
    assert_eq!(world.record.impatient, 0);
    let total: u64 = world.record.served_tokens.values().sum();
    assert!(total >= 54 * 1_000_000, "{total} tokens in an hour");
}

/// Two limits, and requests of up to nine tenths of the limit each.
fn schedules() -> impl Strategy<Value = (u32, u32, Vec<u32>)> {
    (1_u32..10_000, 1_000_u32..10_000_000).prop_flat_map(|(requests, tokens)| {
        let most = tokens / 10 * 9;
        let size = prop_oneof![3 => 1..=tokens / 100, 1 => 1..=most];
        (
            Just(requests),
            Just(tokens),
            proptest::collection::vec(size, 1..120),
        )
    })
}

proptest! {
    /// The provider never refuses, and everything is sent as soon as the rate allows: nothing
    /// starves.
    #[test]
    fn no_schedule_is_refused_and_none_starves(
        (requests, tokens, sizes) in schedules(),
        there_ms in 0_u64..1_000,
        wake_ms in 0_u64..100,
        concurrency in 1_u32..64,
        has_headers: bool,
        seed: u64,
    ) {
        let limits = RateLimits {
            requests_per_minute: Some(requests),
            tokens_per_minute: Some(tokens),
            max_concurrency: concurrency,
            ..RateLimits::default()
        };
        let delays = Delays {
            there: Duration::from_millis(there_ms),
            back: Duration::from_millis(100),
            wake: Duration::from_millis(wake_ms),
        };
        let mut provider = Provider::new(requests, tokens, 1.0);
        provider.has_headers = has_headers;
        let mut world = World::new(limits, provider, delays, seed);
        world.run(sizes.iter().copied(), hours(10_000));

        prop_assert_eq!(world.record.refused, 0);
        prop_assert_eq!(world.record.sent.len(), sizes.len());
        // At worst each waits for its tokens, its place among the requests, its turn and a late timer.
        let total: f64 = sizes.iter().copied().map(f64::from).sum();
        let count = u32::try_from(sizes.len())?;
        let minutes = total / f64::from(tokens) + f64::from(count) / f64::from(requests);
        let turns = (delays.there + delays.back + delays.wake * 2) * count;
        let longest = MINUTE.mul_f64(minutes / 0.99) + turns;
        let (last, _) = world.record.sent[sizes.len() - 1];
        prop_assert!(last <= longest, "the last went after {last:?}, not {longest:?}");
    }
}
