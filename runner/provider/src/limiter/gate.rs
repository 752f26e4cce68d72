//! When the provider itself wants the next request.

use std::time::Duration;

use super::{Moment, Serial};
use crate::rate::RateHeaders;

/// The longest wait that the provider's word can cause: a daily limit is whole again by then.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);
/// The first pause after an overload that names none. Each further one in a row doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause after an overload that names none: the limits are a minute's.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A bucket that is whole again sooner than this is not paced. A single request nearly empties it,
/// so what is left in it does not show whether others use it.
const SHORTEST_SPREAD: Duration = Duration::from_secs(5);

/// A gate in front of all requests, which `Retry-After` closes. For requests and for tokens there is
/// a second one, closed to whatever is larger than the last response's headers said was left.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Gate {
    not_before: Moment,
    overloads_in_a_row: u32,
    requests: Remaining,
    tokens: Remaining,
}

impl Gate {
    /// When a request of that many tokens may pass. A moment in the past means now.
    pub(super) fn opens(&self, tokens: u32) -> Moment {
        let requests = self.requests.opens(1);
        let tokens = self.tokens.opens(tokens);
        self.not_before.max(requests).max(tokens)
    }

    /// When the gate in front of all requests opens.
    pub(super) fn not_before(&self) -> Moment {
        self.not_before
    }

    /// Subtracts a request from what the provider said was left.
    pub(super) fn pass(&mut self, now: Moment, tokens: u32) {
        self.requests.pass(now, 1);
        self.tokens.pass(now, tokens);
    }

    /// Takes note of the headers of the response to the request `serial`.
    pub(super) fn observe(&mut self, now: Moment, serial: Serial, headers: &RateHeaders) {
        let (requests, tokens) = (headers.remaining_requests, headers.remaining_tokens);
        self.requests
            .observe(now, serial, requests, headers.reset_requests);
        self.tokens
            .observe(now, serial, tokens, headers.reset_tokens);
    }

    /// Closes for as long as the provider asks. If it names no time, each pause is longer than the
    /// one before.
    pub(super) fn close(&mut self, now: Moment, retry_after: Option<Duration>) {
        let own = FIRST_PAUSE
            .saturating_mul(1 << self.overloads_in_a_row.min(6))
            .min(LONGEST_PAUSE);
        let pause = retry_after.unwrap_or(own);
        self.overloads_in_a_row = self.overloads_in_a_row.saturating_add(1);
        self.not_before = self.not_before.max(now + pause.min(LONGEST_WAIT));
    }

    /// Forgets the overloads. A pause that the provider asked for is still kept.
    pub(super) fn succeed(&mut self) {
        self.overloads_in_a_row = 0;
    }
}

/// What the headers said was left of a limit, less what was sent since, until it is whole again.
///
/// What is left is spread evenly over the time until then. A runner that is alone does not notice:
/// its bucket refills steadily and stays nearly full, so the meter is the stricter of the two. A bucket
/// that several runners use empties. Each runner sees that and slows down, the more the less is left,
/// until all of them together use what flows in.
///
/// A request above what is left waits for the reset. A provider that counts in fixed windows would
/// refuse anything earlier. A bucket that refills steadily loses nothing, as it is full only then.
#[derive(Debug, Clone, Copy, Default)]
struct Remaining {
    left: u32,
    until: Moment,
    /// The request whose response said so.
    serial: Serial,
    /// When the next request may go, so that what is left lasts until the reset.
    paced: Moment,
}

impl Remaining {
    fn opens(&self, count: u32) -> Moment {
        if count > self.left {
            self.until
        } else {
            self.paced
        }
    }

    fn pass(&mut self, now: Moment, count: u32) {
        let lasts = self.until.saturating_sub(now);
        if lasts >= SHORTEST_SPREAD && count <= self.left && count > 0 {
            let share = f64::from(count) / f64::from(self.left);
            self.paced = self.paced.max(now) + lasts.mul_f64(share);
        }
        self.left = self.left.saturating_sub(count);
    }

    /// Responses can overtake each other: one to an earlier request is older news, whenever it arrives.
    fn observe(&mut self, now: Moment, serial: Serial, left: Option<u32>, reset: Option<Duration>) {
        let is_old_news = serial < self.serial && now < self.until;
        if let (Some(left), Some(reset), false) = (left, reset, is_old_news) {
            *self = Self {
                left,
                until: now + reset.min(LONGEST_WAIT),
                serial,
                paced: self.paced,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Duration::from_secs(seconds)
    }

    fn left(tokens: u32, reset: u64) -> RateHeaders {
        RateHeaders {
            remaining_tokens: Some(tokens),
            reset_tokens: Some(at(reset)),
            ..RateHeaders::default()
        }
    }

    #[test]
    fn the_gate_stays_closed_as_long_as_the_provider_asks() {
        let mut gate = Gate::default();
        gate.close(at(10), Some(at(7)));
        assert_eq!(gate.opens(0), at(17));
        gate.close(at(11), Some(at(1)));
        gate.succeed();
        assert_eq!(gate.opens(0), at(17));
    }

    #[test]
    fn a_pause_without_retry_after_doubles_up_to_a_minute() {
        let mut gate = Gate::default();
        let mut pause = || {
            let before = gate.not_before();
            gate.close(before, None);
            gate.not_before().saturating_sub(before).as_secs()
        };
        let pauses: Vec<u64> = (0..8).map(|_| pause()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        gate.succeed();
        let before = gate.not_before();
        gate.close(before, None);
        assert_eq!(gate.not_before(), before + at(1));
    }

    #[test]
    fn an_absurd_pause_is_shortened_to_a_day() {
        let mut gate = Gate::default();
        gate.close(at(10), Some(Duration::MAX));
        assert_eq!(gate.not_before(), at(10) + LONGEST_WAIT);
        gate.observe(
            at(10),
            1,
            &RateHeaders {
                reset_tokens: Some(Duration::MAX),
                ..left(0, 0)
            },
        );
        assert_eq!(gate.opens(1), at(10) + LONGEST_WAIT);
    }

    #[test]
    fn nothing_left_means_nothing_before_the_reset() {
        let mut gate = Gate::default();
        gate.observe(at(10), 1, &left(0, 6));
        assert_eq!(gate.opens(1), at(16));
        let mut gate = Gate::default();
        let headers = RateHeaders {
            remaining_requests: Some(0),
            reset_requests: Some(at(20)),
            ..RateHeaders::default()
        };
        gate.observe(at(10), 1, &headers);
        assert_eq!(gate.opens(0), at(30));
    }

    #[test]
    fn what_is_left_can_be_sent_once() {
        let mut gate = Gate::default();
        gate.observe(at(10), 1, &left(1000, 4));
        assert_eq!(gate.opens(1001), at(14));
        assert_eq!(gate.opens(1000), at(0));
        gate.pass(at(10), 600);
        assert_eq!(gate.opens(401), at(14));
        assert_eq!(gate.opens(400), at(0));
        let headers = RateHeaders {
            remaining_requests: Some(1),
            reset_requests: Some(at(9)),
            ..RateHeaders::default()
        };
        gate.observe(at(10), 1, &headers);
        gate.pass(at(10), 0);
        assert_eq!(gate.opens(0), at(19));
    }

    #[test]
    fn what_is_left_is_spread_over_the_time_until_the_reset() {
        let mut gate = Gate::default();
        gate.observe(at(10), 1, &left(10_000, 50));
        gate.pass(at(10), 1_000);
        // The request takes a tenth of the tokens that are left, so the gate stays shut for a tenth of the time until the
        // reset. The next one takes a ninth of both.
        assert_eq!(gate.opens(1), at(15));
        gate.pass(at(15), 1_000);
        assert_eq!(gate.opens(1), at(20));
        // More is left than was thought: those who used it are gone.
        gate.observe(at(20), 2, &left(80_000, 10));
        gate.pass(at(20), 8_000);
        assert_eq!(gate.opens(1), at(21));
    }

    #[test]
    fn a_response_to_an_earlier_request_does_not_undo_a_later_one() {
        let mut gate = Gate::default();
        gate.observe(at(10), 5, &left(0, 6));
        gate.observe(at(11), 4, &left(9000, 1));
        assert_eq!(gate.opens(1), at(16));
        gate.observe(at(12), 6, &left(9000, 1));
        assert_eq!(gate.opens(1), at(0));
        // Once its time has passed, any news is better than the old.
        gate.observe(at(20), 2, &left(0, 3));
        assert_eq!(gate.opens(1), at(23));
    }

    #[test]
    fn absent_headers_change_nothing() {
        let mut gate = Gate::default();
        gate.observe(
            at(10),
            1,
            &RateHeaders {
                remaining_tokens: Some(0),
                ..RateHeaders::default()
            },
        );
        gate.observe(
            at(10),
            1,
            &RateHeaders {
                reset_tokens: Some(at(9)),
                ..RateHeaders::default()
            },
        );
        assert_eq!(gate.opens(1), at(0));
    }
}
