//! Runners that share a provider and do not speak to each other: the real waiting, on a clock that
//! tokio moves forward.

use std::sync::{Arc, Mutex};

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::provider::{Outcome, Provider};
use super::{MINUTE, USUAL, batches};
use crate::limiter::{Limiter, Moment, RateLimits};

/// Lets each runner send as much as it may for twenty minutes, with eight workers.
async fn share(provider: Provider, runners: u64, limits: RateLimits) -> Totals {
    let end = Instant::now() + MINUTE * 20;
    let totals = Arc::new(Mutex::new(Totals {
        provider,
        sent: 0,
        refused: 0,
        served_tokens: 0,
    }));
    let mut workers = JoinSet::new();
    for runner in 0..runners {
        let limiter = Limiter::new(limits);
        for worker in 0..8 {
            let seed = runner * 8 + worker;
            workers.spawn(work(limiter.clone(), Arc::clone(&totals), end, seed));
        }
    }
    workers.join_all().await;
    Arc::try_unwrap(totals).unwrap().into_inner().unwrap()
}

/// The provider that runners share, and what it counted.
#[derive(Debug)]
struct Totals {
    provider: Provider,
    sent: u64,
    refused: u64,
    served_tokens: u64,
}

impl Totals {
    fn receive(&mut self, now: Moment, tokens: u32) -> Outcome {
        let outcome = self.provider.receive(now, tokens);
        self.sent += 1;
        match outcome {
            Outcome::Served(_) => self.served_tokens += u64::from(tokens),
            Outcome::Refused(_) => self.refused += 1,
        }
        outcome
    }
}

async fn work(limiter: Limiter, totals: Arc<Mutex<Totals>>, end: Instant, seed: u64) {
    let start = Instant::now();
    let mut dice = fastrand::Rng::with_seed(seed);
    for tokens in batches(seed) {
        let permit = limiter.acquire(tokens).await.unwrap();
        if Instant::now() >= end {
            return;
        }
        tokio::time::sleep(USUAL.there.mul_f64(dice.f64())).await;
        let outcome = totals.lock().unwrap().receive(start.elapsed(), tokens);
        tokio::time::sleep(USUAL.back).await;
        match outcome {
            Outcome::Served(headers) => permit.success(&headers),
            Outcome::Refused(retry_after) => permit.overloaded(Some(retry_after)),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn eight_workers_use_the_whole_limit() {
    let totals = share(
        Provider::new(5_000, 1_000_000, 1.0),
        1,
        RateLimits::default(),
    )
    .await;
    assert_eq!(totals.refused, 0);
    assert!(
        totals.served_tokens >= 19_900_000,
        "{} tokens",
        totals.served_tokens
    );
}

#[tokio::test(start_paused = true)]
async fn eight_runners_share_a_limit_through_the_headers() {
    let totals = share(
        Provider::new(5_000, 1_000_000, 1.0),
        8,
        RateLimits::default(),
    )
    .await;
    assert!(
        totals.served_tokens >= 20_500_000,
        "{} tokens",
        totals.served_tokens
    );
    assert!(
        totals.refused * 1000 <= totals.sent,
        "{} of {}",
        totals.refused,
        totals.sent
    );
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_counts_by_the_minute_is_used_evenly() {
    for (runners, refused_permille) in [(1, 0), (8, 70)] {
        let provider = Provider::new(5_000, 1_000_000, 1.0).by_the_minute();
        let totals = share(provider, runners, RateLimits::default()).await;
        assert!(
            totals.served_tokens >= 19_850_000,
            "{} tokens",
            totals.served_tokens
        );
        assert!(
            totals.refused * 1000 <= totals.sent * refused_permille,
            "{} of {}",
            totals.refused,
            totals.sent
        );
    }
}
