//! What was sent in the last minute, for those who watch.

use std::collections::VecDeque;

use super::Moment;
use super::limit::Cost;

const MINUTE_SECONDS: u64 = 60;

/// Costs by the second, for the last minute: at most sixty entries, however much is sent.
#[derive(Debug, Default)]
pub(super) struct Usage {
    seconds: VecDeque<Second>,
}

#[derive(Debug)]
struct Second {
    number: u64,
    requests: u64,
    tokens: u64,
}

impl Usage {
    pub(super) fn add(&mut self, now: Moment, cost: Cost) {
        let number = now.as_secs();
        if self.seconds.back().is_none_or(|last| last.number < number) {
            self.seconds.push_back(Second {
                number,
                requests: 0,
                tokens: 0,
            });
            self.seconds.retain(|second| is_recent(second, now));
        }
        if let Some(last) = self.seconds.back_mut() {
            last.requests += u64::from(cost.requests);
            last.tokens += u64::from(cost.tokens);
        }
    }

    /// The requests and tokens of the last minute; in the first minute, what its pace comes to.
    pub(super) fn per_minute(&self, now: Moment) -> (u64, u64) {
        let recent = self.seconds.iter().filter(|second| is_recent(second, now));
        let (requests, tokens) = recent.fold((0, 0), |(requests, tokens), second| {
            (requests + second.requests, tokens + second.tokens)
        });
        let elapsed = (now.as_secs() + 1).min(MINUTE_SECONDS);
        (
            requests * MINUTE_SECONDS / elapsed,
            tokens * MINUTE_SECONDS / elapsed,
        )
    }
}

fn is_recent(second: &Second, now: Moment) -> bool {
    second.number + MINUTE_SECONDS > now.as_secs()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> Moment {
        Duration::from_secs(seconds)
    }

    #[test]
    fn only_the_last_minute_counts() {
        let mut usage = Usage::default();
        for second in 0..1000 {
            usage.add(
                at(second),
                Cost {
                    requests: 1,
                    tokens: 500,
                },
            );
        }
        assert_eq!(usage.per_minute(at(999)), (60, 30_000));
        assert_eq!(usage.per_minute(at(1029)), (30, 15_000));
        assert_eq!(usage.per_minute(at(1059)), (0, 0));
        assert_eq!(usage.seconds.len(), 60);
    }

    #[test]
    fn the_first_minute_is_scaled_to_its_pace() {
        let mut usage = Usage::default();
        usage.add(at(0), Cost::of_tokens(1000));
        usage.add(at(9), Cost::of_tokens(1000));
        assert_eq!(usage.per_minute(at(9)), (12, 12_000));
    }
}
