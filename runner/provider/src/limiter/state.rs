//! The limiter's decisions, with the time passed in and nothing else read or done.

use std::num::NonZeroU32;
use std::time::Duration;

use super::concurrency::Concurrency;
use super::gate::Gate;
use super::limit::{Cost, Limits, Observed, TooLarge};
use super::meter::{Meter, Refusal};
use super::usage::Usage;
use super::{Moment, Serial, Snapshot};

/// Everything that a decision depends on.
#[derive(Debug)]
pub(super) struct State {
    limits: Limits,
    requests: Option<Meter>,
    tokens: Option<Meter>,
    gate: Gate,
    concurrency: Concurrency,
    usage: Usage,
    in_flight: u32,
    last_sent: Serial,
    overloads: u64,
    /// No answer has come yet that could tell the limits that are not configured.
    is_probing: bool,
}

/// What a request is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admit {
    /// It goes, under this number.
    Now(Serial),
    /// It may ask again at that moment, or once something has changed.
    Wait(Moment),
    /// It may ask again once another request has come back.
    Full,
    /// It can never go.
    TooLarge(TooLarge),
}

impl State {
    pub(super) fn new(mut limits: Limits) -> Self {
        // Nobody could keep a limit of zero: it stands for "not known".
        limits.requests_per_minute = limits.requests_per_minute.filter(|limit| *limit > 0);
        limits.tokens_per_minute = limits.tokens_per_minute.filter(|limit| *limit > 0);
        let meter = |limit| meter_of(limit, limits.headroom_permille);
        Self {
            limits,
            requests: limits.requests_per_minute.and_then(meter),
            tokens: limits.tokens_per_minute.and_then(meter),
            gate: Gate::default(),
            concurrency: Concurrency::new(limits.max_concurrency),
            usage: Usage::default(),
            in_flight: 0,
            last_sent: 0,
            overloads: 0,
            is_probing: limits.requests_per_minute.is_none() || limits.tokens_per_minute.is_none(),
        }
    }

    /// Decides about a request, and books it if it goes. Whoever was told [`Admit::Now`] calls
    /// [`State::release`] once, when the request is over.
    pub(super) fn admit(&mut self, now: Moment, cost: Cost) -> Admit {
        let requests = take(self.requests, now, cost.requests);
        let tokens = take(self.tokens, now, cost.tokens);
        if requests == Err(Refusal::TooLarge) {
            return too_large(cost.requests, self.requests, "requests");
        }
        if tokens == Err(Refusal::TooLarge) {
            return too_large(cost.tokens, self.tokens, "tokens");
        }
        if self.in_flight >= self.concurrency() {
            return Admit::Full;
        }
        let opens = self.gate.opens(cost).max(due(requests)).max(due(tokens));
        if let (Ok(requests), Ok(tokens), true) = (requests, tokens, opens <= now) {
            self.requests = requests;
            self.tokens = tokens;
            self.book(now, cost);
            return Admit::Now(self.last_sent);
        }
        Admit::Wait(opens)
    }

    /// Takes note of the headers of the answer to the request `serial`, whatever its status.
    pub(super) fn observe(&mut self, now: Moment, serial: Serial, seen: &Observed) {
        self.is_probing = false;
        self.gate.observe(now, serial, seen);
        if self.limits.requests_per_minute.is_none() {
            self.requests = self.discovered(now, self.requests, seen.limit_requests);
        }
        if self.limits.tokens_per_minute.is_none() {
            self.tokens = self.discovered(now, self.tokens, seen.limit_tokens);
        }
    }

    /// Takes note that a request was answered well.
    pub(super) fn succeed(&mut self) {
        self.gate.succeed();
        self.concurrency.succeed();
    }

    /// Takes note that the provider had too much to do for the request `serial`, and after what
    /// time it wants to be asked again.
    pub(super) fn overload(&mut self, now: Moment, serial: Serial, retry_after: Option<Duration>) {
        self.overloads += 1;
        // Who says "come back at once" to a request that was too much has named no time.
        let retry_after = retry_after.filter(|asked| !asked.is_zero());
        let is_news = self.concurrency.overload(serial, self.last_sent);
        if is_news || retry_after.is_some() {
            self.gate.close(now, retry_after);
        }
        // Whatever we believed, the provider's bucket is empty: no burst once the gate opens.
        let opens = self.gate.not_before();
        self.requests = self.requests.map(|meter| meter.drained(opens));
        self.tokens = self.tokens.map(|meter| meter.drained(opens));
    }

    /// Gives a request's place to another.
    pub(super) fn release(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    pub(super) fn snapshot(&self, now: Moment) -> Snapshot {
        let (requests_per_minute, tokens_per_minute) = self.usage.per_minute(now);
        Snapshot {
            requests_per_minute,
            tokens_per_minute,
            requests_limit: self.requests.map(|meter| meter.limit()),
            tokens_limit: self.tokens.map(|meter| meter.limit()),
            in_flight: self.in_flight,
            concurrency: self.concurrency(),
            closed_for: self.gate.not_before().saturating_sub(now),
            overloads: self.overloads,
        }
    }

    /// How many requests may be out: a single one as long as its answer may tell the limits.
    fn concurrency(&self) -> u32 {
        if self.is_probing {
            1
        } else {
            self.concurrency.allowed()
        }
    }

    fn book(&mut self, now: Moment, cost: Cost) {
        self.gate.pass(now, cost);
        self.usage.add(now, cost);
        self.in_flight += 1;
        self.last_sent += 1;
    }

    /// The meter for a limit that an answer states. A new one starts drained: the provider has
    /// just counted the request that it answered, and maybe others' before.
    fn discovered(&self, now: Moment, meter: Option<Meter>, limit: Option<u32>) -> Option<Meter> {
        if limit.is_none() || limit == meter.map(|meter| meter.limit()) {
            return meter;
        }
        let found = limit.and_then(|limit| meter_of(limit, self.limits.headroom_permille));
        found.map(|found| found.drained(now)).or(meter)
    }
}

fn meter_of(limit: u32, headroom_permille: u16) -> Option<Meter> {
    NonZeroU32::new(limit).map(|limit| Meter::new(limit, headroom_permille))
}

/// The meter after taking; without a meter, anything goes.
fn take(meter: Option<Meter>, now: Moment, count: u32) -> Result<Option<Meter>, Refusal> {
    meter.map(|meter| meter.take(now, count)).transpose()
}

fn due(taken: Result<Option<Meter>, Refusal>) -> Moment {
    match taken {
        Err(Refusal::Until(moment)) => moment,
        Ok(_) | Err(Refusal::TooLarge) => Moment::ZERO,
    }
}

fn too_large(asked: u32, meter: Option<Meter>, unit: &'static str) -> Admit {
    Admit::TooLarge(TooLarge {
        asked,
        limit: meter.map_or(0, |meter| meter.limit()),
        unit,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Duration::from_secs(seconds)
    }

    fn stating(limit: u32) -> Observed {
        Observed {
            limit_tokens: Some(limit),
            ..Observed::default()
        }
    }

    fn limits(tokens: Option<u32>) -> Limits {
        Limits {
            tokens_per_minute: tokens,
            headroom_permille: 0,
            ..Limits::default()
        }
    }

    #[test]
    fn a_limit_of_zero_is_not_known() {
        let mut state = State::new(limits(Some(0)));
        assert_eq!(state.admit(at(0), Cost::of_tokens(9)), Admit::Now(1));
        state.observe(at(0), 1, &stating(0));
        assert_eq!(state.snapshot(at(0)).tokens_limit, None);
        state.observe(at(0), 1, &stating(60_000));
        assert_eq!(state.snapshot(at(0)).tokens_limit, Some(60_000));
    }

    #[test]
    fn a_configured_limit_is_kept_whatever_the_headers_state() {
        let limits = Limits {
            requests_per_minute: Some(60),
            ..limits(Some(1_000))
        };
        let mut state = State::new(limits);
        let seen = Observed {
            limit_requests: Some(9),
            ..stating(60_000)
        };
        state.observe(at(0), 0, &seen);
        let snapshot = state.snapshot(at(0));
        assert_eq!(
            (snapshot.requests_limit, snapshot.tokens_limit),
            (Some(60), Some(1_000))
        );
    }

    #[test]
    fn requests_are_metered_like_tokens() {
        let limits = Limits {
            requests_per_minute: Some(60),
            ..limits(Some(60_000))
        };
        let mut state = State::new(limits);
        let cost = Cost::of_tokens(1);
        let told: Vec<Admit> = (0..3).map(|_| state.admit(at(0), cost)).collect();
        assert_eq!(told, [Admit::Now(1), Admit::Now(2), Admit::Wait(at(1))]);
        state.overload(at(50), 1, Some(at(10)));
        let told: Vec<Admit> = (0..2).map(|_| state.admit(at(60), cost)).collect();
        assert_eq!(told, [Admit::Full, Admit::Full]);
        state.release();
        assert_eq!(state.admit(at(60), cost), Admit::Now(3));
        state.release();
        assert_eq!(state.admit(at(60), cost), Admit::Wait(at(61)));
    }

    #[test]
    fn what_the_headers_say_is_left_is_heeded() {
        let mut state = State::new(limits(None));
        let seen = Observed {
            remaining_tokens: Some(100),
            reset_tokens: Some(at(30)),
            ..Observed::default()
        };
        state.observe(at(0), 0, &seen);
        assert_eq!(state.admit(at(0), Cost::of_tokens(60)), Admit::Now(1));
        assert_eq!(state.admit(at(0), Cost::of_tokens(60)), Admit::Wait(at(30)));
    }

    #[test]
    fn the_many_answers_of_one_overload_make_one_pause() {
        let mut state = State::new(limits(None));
        state.observe(at(0), 0, &Observed::default());
        for serial in 1..=4 {
            assert_eq!(state.admit(at(0), Cost::of_tokens(1)), Admit::Now(serial));
        }
        for serial in 1..=4 {
            let retry_after = (serial % 2 == 0).then_some(Duration::ZERO);
            state.overload(at(1), serial, retry_after);
        }
        let snapshot = state.snapshot(at(1));
        assert_eq!(
            (
                snapshot.closed_for,
                snapshot.concurrency,
                snapshot.overloads
            ),
            (at(1), 2, 4)
        );
    }

    #[test]
    fn a_discovered_limit_follows_the_headers_and_starts_without_a_burst() {
        let mut state = State::new(limits(None));
        state.observe(at(100), 0, &stating(60_000));
        state.observe(at(101), 0, &Observed::default());
        state.observe(at(102), 0, &stating(120_000));
        assert_eq!(state.admit(at(102), Cost::of_tokens(4_000)), Admit::Now(1));
        assert_eq!(
            state.admit(at(102), Cost::of_tokens(4_000)),
            Admit::Wait(at(104))
        );
    }

    #[test]
    fn the_gate_opens_without_a_burst() {
        let mut state = State::new(limits(Some(60_000)));
        state.observe(at(0), 0, &Observed::default());
        assert_eq!(state.admit(at(50), Cost::of_tokens(500)), Admit::Now(1));
        state.overload(at(50), 1, Some(at(10)));
        state.release();
        assert_eq!(
            state.admit(at(59), Cost::of_tokens(500)),
            Admit::Wait(at(60))
        );
        assert_eq!(state.admit(at(60), Cost::of_tokens(500)), Admit::Now(2));
        state.release();
        let half_past = Moment::from_millis(60_500);
        assert_eq!(
            state.admit(at(60), Cost::of_tokens(500)),
            Admit::Wait(half_past)
        );
    }

    #[test]
    fn a_refusal_by_one_meter_takes_nothing_from_the_other() {
        let limits = Limits {
            requests_per_minute: Some(60),
            ..limits(Some(60_000))
        };
        let mut state = State::new(limits);
        assert_eq!(state.admit(at(0), Cost::of_tokens(3_000)), Admit::Now(1));
        for _ in 0..100 {
            assert_eq!(state.admit(at(0), Cost::of_tokens(1)), Admit::Wait(at(2)));
        }
        assert_eq!(state.admit(at(2), Cost::of_tokens(1)), Admit::Now(2));
    }

    #[test]
    fn no_more_than_the_concurrency_are_out() {
        let limits = Limits {
            requests_per_minute: Some(60_000),
            ..limits(Some(60_000))
        };
        let mut state = State::new(Limits {
            max_concurrency: 2,
            ..limits
        });
        let cost = Cost::of_tokens(1);
        let told: Vec<Admit> = (0..3).map(|_| state.admit(at(0), cost)).collect();
        assert_eq!(told, [Admit::Now(1), Admit::Now(2), Admit::Full]);
        state.release();
        assert_eq!(state.admit(at(0), cost), Admit::Now(3));
    }
}
