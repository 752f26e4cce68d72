//! How many requests may be in flight at once.

use super::Serial;

/// The concurrency at the start: low enough not to be a burst, and a few round trips below any
/// maximum.
const START: u32 = 4;

/// Grows by one and halves on overload.
///
/// Before the first overload each success adds one, so the maximum is a few round trips away. After it
/// a whole round of successes adds one. One overload refuses many requests, but halves the
/// concurrency once: the others were sent before its first response arrived.
#[derive(Debug, Clone, Copy)]
pub(super) struct Concurrency {
    allowed: u32,
    max: u32,
    successes: u32,
    /// Overloads of requests up to this one have been counted.
    halved_at: Option<Serial>,
}

impl Concurrency {
    pub(super) fn new(max: u32) -> Self {
        let max = max.max(1);
        Self {
            allowed: START.min(max),
            max,
            successes: 0,
            halved_at: None,
        }
    }

    pub(super) fn allowed(&self) -> u32 {
        self.allowed
    }

    pub(super) fn succeed(&mut self) {
        self.successes += 1;
        let round = if self.halved_at.is_some() {
            self.allowed
        } else {
            1
        };
        if self.successes >= round {
            self.successes = 0;
            self.allowed = self.allowed.saturating_add(1).min(self.max);
        }
    }

    /// Halves the concurrency if the overload of the request `serial` is news, and says whether it is.
    /// Requests up to `last_sent` are in flight already, so their overloads are none.
    pub(super) fn overload(&mut self, serial: Serial, last_sent: Serial) -> bool {
        let is_news = self.halved_at.is_none_or(|halved_at| serial > halved_at);
        if is_news {
            self.allowed = (self.allowed / 2).max(1);
            self.successes = 0;
            self.halved_at = Some(last_sent);
        }
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn before_the_first_overload_each_success_adds_one() {
        let mut concurrency = Concurrency::new(6);
        let mut seen = vec![concurrency.allowed()];
        for _ in 0..3 {
            concurrency.succeed();
            seen.push(concurrency.allowed());
        }
        assert_eq!(seen, [4, 5, 6, 6]);
    }

    #[test]
    fn after_an_overload_a_round_of_successes_adds_one() {
        let mut concurrency = Concurrency::new(16);
        concurrency.overload(3, 4);
        assert_eq!(concurrency.allowed(), 2);
        concurrency.succeed();
        assert_eq!(concurrency.allowed(), 2);
        concurrency.succeed();
        assert_eq!(concurrency.allowed(), 3);
    }

    #[test]
    fn one_overload_halves_once_however_many_responses_report_it() {
        let mut concurrency = Concurrency::new(16);
        for _ in 0..12 {
            concurrency.succeed();
        }
        assert!(concurrency.overload(5, 20));
        assert!(!concurrency.overload(4, 20) && !concurrency.overload(20, 20));
        assert_eq!(concurrency.allowed(), 8);
        assert!(concurrency.overload(21, 22));
        assert_eq!(concurrency.allowed(), 4);
    }

    #[test]
    fn one_is_always_allowed() {
        let mut concurrency = Concurrency::new(0);
        for serial in 1..9 {
            concurrency.overload(serial, serial);
            assert_eq!(concurrency.allowed(), 1);
        }
        concurrency.succeed();
        assert_eq!(concurrency.allowed(), 1);
    }
}
