//! How long to wait before a call is repeated.

use std::time::Duration;

/// The pause after the failed attempt number `attempt` (the first is 0). It doubles from `first` up to
/// `longest`. Up to half of it is taken off at random, so that many runners do not come back at once.
pub fn backoff(attempt: u32, first: Duration, longest: Duration) -> Duration {
    let pause = first.saturating_mul(1 << attempt.min(20)).min(longest);
    pause.mul_f64(0.5 + fastrand::f64() / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let (first, longest) = (Duration::from_millis(250), Duration::from_secs(20));
        for (attempt, low, high) in [
            (0, 125, 250),
            (2, 500, 1_000),
            (30, 10_000, 20_000),
            (u32::MAX, 10_000, 20_000),
        ] {
            let pause = backoff(attempt, first, longest).as_millis();
            assert!(
                (low..=high).contains(&pause),
                "{pause} ms after attempt {attempt}"
            );
        }
    }
}
