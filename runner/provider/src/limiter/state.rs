//! The limiter's decisions. They read no clock: the time is passed in.

use std::num::NonZeroU32;
use std::time::Duration;

use super::concurrency::Concurrency;
use super::gate::Gate;
use super::limit::{RateLimits, TooLarge};
use super::meter::RateMeter;
use super::{Moment, Serial};
use crate::rate::RateHeaders;

/// Everything that a decision depends on.
#[derive(Debug)]
pub(super) struct State {
    limits: RateLimits,
    requests: Option<RateMeter>,
    tokens: Option<RateMeter>,
    gate: Gate,
    concurrency: Concurrency,
    in_flight: u32,
    last_sent: Serial,
    /// No response has come yet that could state the limits that are not configured.
    is_probing: bool,
}

/// The decision about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admit {
    /// It goes, under this number.
    Now(Serial),
    /// It may ask again at that moment, or once something has changed.
    Wait(Moment),
    /// It may ask again once another request has ended.
    Full,
    /// It can never go.
    TooLarge(TooLarge),
}

impl State {
    pub(super) fn new(mut limits: RateLimits) -> Self {
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
            in_flight: 0,
            last_sent: 0,
            is_probing: limits.requests_per_minute.is_none() || limits.tokens_per_minute.is_none(),
        }
    }

    /// Decides about a request of that many tokens, and books it if it goes. For each [`Admit::Now`]
    /// the caller calls [`State::release`] once, when the request is over.
    pub(super) fn admit(&mut self, now: Moment, tokens: u32) -> Admit {
        if let Some(limit) = self.tokens_per_minute().filter(|limit| tokens > *limit) {
            let asked = tokens;
            return Admit::TooLarge(TooLarge { asked, limit });
        }
        if self.in_flight >= self.concurrency() {
            return Admit::Full;
        }
        let request_meter = take(self.requests, now, 1);
        let token_meter = take(self.tokens, now, tokens);
        let opens = [request_meter, token_meter]
            .into_iter()
            .filter_map(Result::err)
            .fold(self.gate.opens(tokens), Moment::max);
        if let (Ok(requests), Ok(token_meter), true) = (request_meter, token_meter, opens <= now) {
            self.requests = requests;
            self.tokens = token_meter;
            self.gate.pass(now, tokens);
            self.in_flight += 1;
            self.last_sent += 1;
            return Admit::Now(self.last_sent);
        }
        Admit::Wait(opens)
    }

    /// When the provider itself wants a request of that many tokens.
    pub(super) fn opens(&self, tokens: u32) -> Moment {
        self.gate.opens(tokens)
    }

    /// Takes note of the headers of the response to the request `serial`, whatever its status.
    pub(super) fn observe(&mut self, now: Moment, serial: Serial, headers: &RateHeaders) {
        self.is_probing = false;
        self.gate.observe(now, serial, headers);
        if self.limits.requests_per_minute.is_none() {
            self.requests = self.discovered(now, self.requests, headers.limit_requests);
        }
        if self.limits.tokens_per_minute.is_none() {
            self.tokens = self.discovered(now, self.tokens, headers.limit_tokens);
        }
    }

    /// Takes note that a request succeeded.
    pub(super) fn succeed(&mut self) {
        self.gate.succeed();
        self.concurrency.succeed();
    }

    /// Takes note that the provider was overloaded when the request `serial` arrived, and of the
    /// pause that it asks for.
    pub(super) fn overload(&mut self, now: Moment, serial: Serial, retry_after: Option<Duration>) {
        // "Come back at once" makes no sense after an overload, so it counts as no time at all.
        let retry_after = retry_after.filter(|pause| !pause.is_zero());
        let is_news = self.concurrency.overload(serial, self.last_sent);
        if is_news || retry_after.is_some() {
            self.gate.close(now, retry_after);
        }
        // The provider's bucket is empty, so there is no burst once the gate opens.
        let opens = self.gate.not_before();
        self.requests = self.requests.map(|meter| meter.drained(opens));
        self.tokens = self.tokens.map(|meter| meter.drained(opens));
    }

    /// Frees the place of a request that is over.
    pub(super) fn release(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// The limit on tokens a minute, configured or discovered.
    pub(super) fn tokens_per_minute(&self) -> Option<u32> {
        self.tokens.map(|meter| meter.limit())
    }

    /// The limit on requests a minute, configured or discovered.
    pub(super) fn requests_per_minute(&self) -> Option<u32> {
        self.requests.map(|meter| meter.limit())
    }

    /// How many requests may be in flight: one as long as its response may state the limits.
    pub(super) fn concurrency(&self) -> u32 {
        if self.is_probing {
            1
        } else {
            self.concurrency.allowed()
        }
    }

    /// The meter for a limit that a response states. A new meter starts drained: the provider has
    /// just counted the request that it responded to, and maybe others before.
    fn discovered(
        &self,
        now: Moment,
        meter: Option<RateMeter>,
        limit: Option<u32>,
    ) -> Option<RateMeter> {
        if limit.is_none() || limit == meter.map(|meter| meter.limit()) {
            return meter;
        }
        let found = limit.and_then(|limit| meter_of(limit, self.limits.headroom_permille));
        found.map(|found| found.drained(now)).or(meter)
    }
}

#[cfg(test)]
impl State {
    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight
    }

    pub(super) fn closed_for(&self, now: Moment) -> Duration {
        self.gate.not_before().saturating_sub(now)
    }
}

fn meter_of(limit: u32, headroom_permille: u16) -> Option<RateMeter> {
    NonZeroU32::new(limit).map(|limit| RateMeter::new(limit, headroom_permille))
}

/// The meter after taking. Without a meter, anything goes.
fn take(meter: Option<RateMeter>, now: Moment, count: u32) -> Result<Option<RateMeter>, Moment> {
    meter.map(|meter| meter.take(now, count)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Duration::from_secs(seconds)
    }

    fn stating(limit: u32) -> RateHeaders {
        RateHeaders {
            limit_tokens: Some(limit),
            ..RateHeaders::default()
        }
    }

    fn limits(tokens: Option<u32>) -> RateLimits {
        RateLimits {
            tokens_per_minute: tokens,
            headroom_permille: 0,
            ..RateLimits::default()
        }
    }

    #[test]
    fn a_limit_of_zero_counts_as_unknown() {
        let mut state = State::new(limits(Some(0)));
        assert_eq!(state.admit(at(0), 9), Admit::Now(1));
        state.observe(at(0), 1, &stating(0));
        assert_eq!(state.tokens_per_minute(), None);
        state.observe(at(0), 1, &stating(60_000));
        assert_eq!(state.tokens_per_minute(), Some(60_000));
    }

    #[test]
    fn a_configured_limit_is_kept_whatever_the_headers_state() {
        let limits = RateLimits {
            requests_per_minute: Some(60),
            ..limits(Some(1_000))
        };
        let mut state = State::new(limits);
        let headers = RateHeaders {
            limit_requests: Some(9),
            ..stating(60_000)
        };
        state.observe(at(0), 0, &headers);
        assert_eq!(
            (state.requests_per_minute(), state.tokens_per_minute()),
            (Some(60), Some(1_000))
        );
    }

    #[test]
    fn requests_are_metered_like_tokens() {
        let limits = RateLimits {
            requests_per_minute: Some(60),
            ..limits(Some(60_000))
        };
        let mut state = State::new(limits);
        let cost = 1;
        let decisions: Vec<Admit> = (0..3).map(|_| state.admit(at(0), cost)).collect();
        assert_eq!(
            decisions,
            [Admit::Now(1), Admit::Now(2), Admit::Wait(at(1))]
        );
        state.overload(at(50), 1, Some(at(10)));
        let decisions: Vec<Admit> = (0..2).map(|_| state.admit(at(60), cost)).collect();
        assert_eq!(decisions, [Admit::Full, Admit::Full]);
        state.release();
        assert_eq!(state.admit(at(60), cost), Admit::Now(3));
        state.release();
        assert_eq!(state.admit(at(60), cost), Admit::Wait(at(61)));
    }

    #[test]
    fn requests_keep_to_what_the_headers_say_is_left() {
        let mut state = State::new(limits(None));
        let headers = RateHeaders {
            remaining_tokens: Some(100),
            reset_tokens: Some(at(30)),
            ..RateHeaders::default()
        };
        state.observe(at(0), 0, &headers);
        assert_eq!(state.admit(at(0), 60), Admit::Now(1));
        assert_eq!(state.admit(at(0), 60), Admit::Wait(at(30)));
    }

    #[test]
    fn the_many_responses_of_one_overload_make_one_pause() {
        let mut state = State::new(limits(None));
        state.observe(at(0), 0, &RateHeaders::default());
        for serial in 1..=4 {
            assert_eq!(state.admit(at(0), 1), Admit::Now(serial));
        }
        for serial in 1..=4 {
            let retry_after = (serial % 2 == 0).then_some(Duration::ZERO);
            state.overload(at(1), serial, retry_after);
        }
        assert_eq!((state.closed_for(at(1)), state.concurrency()), (at(1), 2));
    }

    #[test]
    fn a_discovered_limit_follows_the_headers_and_starts_without_a_burst() {
        let mut state = State::new(limits(None));
        state.observe(at(100), 0, &stating(60_000));
        state.observe(at(101), 0, &RateHeaders::default());
        state.observe(at(102), 0, &stating(120_000));
        assert_eq!(state.admit(at(102), 4_000), Admit::Now(1));
        assert_eq!(state.admit(at(102), 4_000), Admit::Wait(at(104)));
    }

    #[test]
    fn the_gate_opens_without_a_burst() {
        let mut state = State::new(limits(Some(60_000)));
        state.observe(at(0), 0, &RateHeaders::default());
        assert_eq!(state.admit(at(50), 500), Admit::Now(1));
        state.overload(at(50), 1, Some(at(10)));
        state.release();
        assert_eq!(state.admit(at(59), 500), Admit::Wait(at(60)));
        assert_eq!(state.admit(at(60), 500), Admit::Now(2));
        state.release();
        let half_past = Moment::from_millis(60_500);
        assert_eq!(state.admit(at(60), 500), Admit::Wait(half_past));
    }

    #[test]
    fn a_refusal_by_one_meter_takes_nothing_from_the_other() {
        let limits = RateLimits {
            requests_per_minute: Some(60),
            ..limits(Some(60_000))
        };
        let mut state = State::new(limits);
        assert_eq!(state.admit(at(0), 3_000), Admit::Now(1));
        for _ in 0..100 {
            assert_eq!(state.admit(at(0), 1), Admit::Wait(at(2)));
        }
        assert_eq!(state.admit(at(2), 1), Admit::Now(2));
    }

    #[test]
    fn no_more_than_the_concurrency_are_in_flight() {
        let limits = RateLimits {
            requests_per_minute: Some(60_000),
            ..limits(Some(60_000))
        };
        let mut state = State::new(RateLimits {
            max_concurrency: 2,
            ..limits
        });
        let cost = 1;
        let decisions: Vec<Admit> = (0..3).map(|_| state.admit(at(0), cost)).collect();
        assert_eq!(decisions, [Admit::Now(1), Admit::Now(2), Admit::Full]);
        state.release();
        assert_eq!(state.admit(at(0), cost), Admit::Now(3));
    }
}
