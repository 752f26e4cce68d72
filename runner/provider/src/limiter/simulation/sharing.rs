//! Runners that share a provider and do not speak to each other: the real waiting, on a clock that
//! tokio moves on.

use std::sync::{Arc, Mutex};

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::provider::{Answer, Provider};
use super::{MINUTE, USUAL, batches};
use crate::limiter::{Cost, Limiter, Limits, Moment};

/// Lets each runner send all that it may for twenty minutes, with eight workers.
async fn share(provider: Provider, runners: u64, limits: Limits) -> Tally {
    let end = Instant::now() + MINUTE * 20;
    let tally = Arc::new(Mutex::new(Tally {
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
            workers.spawn(work(limiter.clone(), Arc::clone(&tally), end, seed));
        }
    }
    workers.join_all().await;
    Arc::try_unwrap(tally).unwrap().into_inner().unwrap()
}

/// The provider that runners share, and what it counted.
#[derive(Debug)]
struct Tally {
    provider: Provider,
    sent: u64,
    refused: u64,
    served_tokens: u64,
}

impl Tally {
    fn receive(&mut self, now: Moment, cost: Cost) -> Answer {
        let answer = self.provider.receive(now, cost);
        self.sent += 1;
        match answer {
            Answer::Served(_) => self.served_tokens += u64::from(cost.tokens),
            Answer::Refused(_) => self.refused += 1,
        }
        answer
    }
}

async fn work(limiter: Limiter, tally: Arc<Mutex<Tally>>, end: Instant, seed: u64) {
    let start = Instant::now();
    let mut dice = fastrand::Rng::with_seed(seed);
    for cost in batches(seed) {
        let permit = limiter.acquire(cost).await.unwrap();
        if Instant::now() >= end {
            return;
        }
        tokio::time::sleep(USUAL.there.mul_f64(dice.f64())).await;
        let answer = tally.lock().unwrap().receive(start.elapsed(), cost);
        tokio::time::sleep(USUAL.back).await;
        match answer {
            Answer::Served(headers) => permit.success(&headers),
            Answer::Refused(retry_after) => permit.overloaded(Some(retry_after)),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn eight_workers_use_the_whole_limit() {
    let tally = share(Provider::new(5_000, 1_000_000, 1.0), 1, Limits::default()).await;
    assert_eq!(tally.refused, 0);
    assert!(
        tally.served_tokens >= 19_900_000,
        "{} tokens",
        tally.served_tokens
    );
}

#[tokio::test(start_paused = true)]
async fn eight_runners_share_a_limit_through_the_headers() {
    let tally = share(Provider::new(5_000, 1_000_000, 1.0), 8, Limits::default()).await;
    assert!(
        tally.served_tokens >= 20_500_000,
        "{} tokens",
        tally.served_tokens
    );
    assert!(
        tally.refused * 1000 <= tally.sent,
        "{} of {}",
        tally.refused,
        tally.sent
    );
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_counts_by_the_minute_is_used_up_evenly() {
    for (runners, refused_permille) in [(1, 0), (8, 70)] {
        let provider = Provider::new(5_000, 1_000_000, 1.0).by_the_minute();
        let tally = share(provider, runners, Limits::default()).await;
        assert!(
            tally.served_tokens >= 19_850_000,
            "{} tokens",
            tally.served_tokens
        );
        assert!(
            tally.refused * 1000 <= tally.sent * refused_permille,
            "{} of {}",
            tally.refused,
            tally.sent
        );
    }
}
