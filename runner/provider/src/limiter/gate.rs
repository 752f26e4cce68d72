//! What the provider itself said about when to come back.

use std::time::Duration;

use super::limit::{Cost, Observed};
use super::{Moment, Serial};

/// The longest that a provider's word is taken for: a daily limit is back by then.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);
/// The first pause after an overload that names none; each further one in a row doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause after an overload that names none: the limits are a minute's.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A bucket that is whole again sooner than this is too small to tell by what is left whether others use it:
/// a single request nearly empties it.
const SHORTEST_SPREAD: Duration = Duration::from_secs(5);

/// A gate in front of all requests, closed by `Retry-After`, and one a kind of limit, closed to
/// requests that are larger than what the last answer's headers said was left.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Gate {
    not_before: Moment,
    overloads_in_a_row: u32,
    requests: Remaining,
    tokens: Remaining,
}

impl Gate {
    /// When a request of that cost may pass; a moment gone by means now.
    pub(super) fn opens(&self, cost: Cost) -> Moment {
        let requests = self.requests.opens(cost.requests);
        let tokens = self.tokens.opens(cost.tokens);
        self.not_before.max(requests).max(tokens)
    }

    /// When the gate in front of all requests opens.
    pub(super) fn not_before(&self) -> Moment {
        self.not_before
    }

    /// Takes what is sent off what the provider said was left.
    pub(super) fn pass(&mut self, now: Moment, cost: Cost) {
        self.requests.pass(now, cost.requests);
        self.tokens.pass(now, cost.tokens);
    }

    /// Takes note of the headers of the answer to the request `serial`.
    pub(super) fn observe(&mut self, now: Moment, serial: Serial, seen: &Observed) {
        self.requests
            .observe(now, serial, seen.remaining_requests, seen.reset_requests);
        self.tokens
            .observe(now, serial, seen.remaining_tokens, seen.reset_tokens);
    }

    /// Closes for as long as the provider asks; where it names no time, for longer each time.
    pub(super) fn close(&mut self, now: Moment, retry_after: Option<Duration>) {
        let own = FIRST_PAUSE
            .saturating_mul(1 << self.overloads_in_a_row.min(6))
            .min(LONGEST_PAUSE);
        let pause = retry_after.unwrap_or(own);
        self.overloads_in_a_row = self.overloads_in_a_row.saturating_add(1);
        self.not_before = self.not_before.max(now + pause.min(LONGEST_WAIT));
    }

    /// Forgets the overloads before; a pause that was asked for is still kept.
    pub(super) fn succeed(&mut self) {
        self.overloads_in_a_row = 0;
    }
}

/// What an answer said was left of a limit, less what was sent since, until it is whole again.
///
/// What is left is spread evenly over the time until then. Where we are alone that is no more than the meter
/// allows anyway: a bucket that refills steadily stays nearly full. Where others use the same limit it empties,
/// and each that sees it slows down, the more the less is left; so they meet where all of them together use
/// what flows in.
///
/// A request above what is left waits for the reset, though a bucket that refills steadily would hold enough
/// before: such a bucket loses nothing by it, as it is full only then, and a provider that counts
/// in fixed windows would refuse anything earlier.
#[derive(Debug, Clone, Copy, Default)]
struct Remaining {
    left: u32,
    until: Moment,
    said_to: Serial,
    /// When the next request may go for what is left to last until the reset.
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

    /// An answer to an earlier request is older news than one to a later request, also where it
    /// arrives after it.
    fn observe(&mut self, now: Moment, serial: Serial, left: Option<u32>, reset: Option<Duration>) {
        let is_old_news = serial < self.said_to && now < self.until;
        if let (Some(left), Some(reset), false) = (left, reset, is_old_news) {
            *self = Self {
                left,
                until: now + reset.min(LONGEST_WAIT),
                said_to: serial,
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

    fn left(tokens: u32, reset: u64) -> Observed {
        Observed {
            remaining_tokens: Some(tokens),
            reset_tokens: Some(at(reset)),
            ..Observed::default()
        }
    }

    #[test]
    fn it_stays_closed_as_long_as_the_provider_asks() {
        let mut gate = Gate::default();
        gate.close(at(10), Some(at(7)));
        assert_eq!(gate.opens(Cost::default()), at(17));
        gate.close(at(11), Some(at(1)));
        gate.succeed();
        assert_eq!(gate.opens(Cost::default()), at(17));
    }

    #[test]
    fn a_pause_that_nobody_asked_for_doubles_up_to_a_minute() {
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
    fn an_absurd_pause_is_cut_to_a_day() {
        let mut gate = Gate::default();
        gate.close(at(10), Some(Duration::MAX));
        assert_eq!(gate.not_before(), at(10) + LONGEST_WAIT);
        gate.observe(
            at(10),
            1,
            &Observed {
                reset_tokens: Some(Duration::MAX),
                ..left(0, 0)
            },
        );
        assert_eq!(gate.opens(Cost::of_tokens(1)), at(10) + LONGEST_WAIT);
    }

    #[test]
    fn nothing_left_means_nothing_before_the_reset() {
        let mut gate = Gate::default();
        gate.observe(at(10), 1, &left(0, 6));
        assert_eq!(gate.opens(Cost::of_tokens(1)), at(16));
        let mut gate = Gate::default();
        let seen = Observed {
            remaining_requests: Some(0),
            reset_requests: Some(at(20)),
            ..Observed::default()
        };
        gate.observe(at(10), 1, &seen);
        assert_eq!(gate.opens(Cost::of_tokens(0)), at(30));
    }

    #[test]
    fn what_is_left_may_be_sent_once() {
        let mut gate = Gate::default();
        gate.observe(at(10), 1, &left(1000, 4));
        assert_eq!(gate.opens(Cost::of_tokens(1001)), at(14));
        assert_eq!(gate.opens(Cost::of_tokens(1000)), at(0));
        gate.pass(at(10), Cost::of_tokens(600));
        assert_eq!(gate.opens(Cost::of_tokens(401)), at(14));
        assert_eq!(gate.opens(Cost::of_tokens(400)), at(0));
        let seen = Observed {
            remaining_requests: Some(1),
            reset_requests: Some(at(9)),
            ..Observed::default()
        };
        gate.observe(at(10), 1, &seen);
        gate.pass(at(10), Cost::of_tokens(0));
        assert_eq!(gate.opens(Cost::of_tokens(0)), at(19));
    }

    #[test]
    fn what_is_left_is_spread_over_the_time_until_the_reset() {
        let mut gate = Gate::default();
        gate.observe(at(10), 1, &left(10_000, 50));
        gate.pass(at(10), Cost::of_tokens(1_000));
        // A tenth of what is left, a tenth of the time; then a ninth of what is left, a ninth of it.
        assert_eq!(gate.opens(Cost::of_tokens(1)), at(15));
        gate.pass(at(15), Cost::of_tokens(1_000));
        assert_eq!(gate.opens(Cost::of_tokens(1)), at(20));
        // More is left than was thought: those who used it are gone.
        gate.observe(at(20), 2, &left(80_000, 10));
        gate.pass(at(20), Cost::of_tokens(8_000));
        assert_eq!(gate.opens(Cost::of_tokens(1)), at(21));
    }

    #[test]
    fn an_answer_to_an_earlier_request_does_not_undo_a_later_one() {
        let mut gate = Gate::default();
        gate.observe(at(10), 5, &left(0, 6));
        gate.observe(at(11), 4, &left(9000, 1));
        assert_eq!(gate.opens(Cost::of_tokens(1)), at(16));
        gate.observe(at(12), 6, &left(9000, 1));
        assert_eq!(gate.opens(Cost::of_tokens(1)), at(0));
        // Once its time has passed, any news is better than the old.
        gate.observe(at(20), 2, &left(0, 3));
        assert_eq!(gate.opens(Cost::of_tokens(1)), at(23));
    }

    #[test]
    fn headers_that_are_absent_say_nothing() {
        let mut gate = Gate::default();
        gate.observe(
            at(10),
            1,
            &Observed {
                remaining_tokens: Some(0),
                ..Observed::default()
            },
        );
        gate.observe(
            at(10),
            1,
            &Observed {
                reset_tokens: Some(at(9)),
                ..Observed::default()
            },
        );
        assert_eq!(gate.opens(Cost::of_tokens(1)), at(0));
    }
}
