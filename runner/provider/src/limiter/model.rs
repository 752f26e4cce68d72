//! One limiter a model: providers limit each on its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::limit::RateLimits;
use super::queue::Limiter;

/// The limiters of all models in use. Clones share them.
#[derive(Debug, Clone)]
pub struct Limiters {
    limits: RateLimits,
    in_use: Arc<Mutex<HashMap<String, Limiter>>>,
}

impl Limiters {
    /// Limiters that each keep these limits.
    pub fn new(limits: RateLimits) -> Self {
        Self {
            limits,
            in_use: Arc::default(),
        }
    }

    /// The limiter of a model: the same one each time.
    pub fn of(&self, model: &str) -> Limiter {
        let mut in_use = self.in_use.lock().unwrap_or_else(PoisonError::into_inner);
        in_use
            .entry(model.to_owned())
            .or_insert_with(|| Limiter::new(self.limits))
            .clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_model_has_its_own_limiter() {
        let limiters = Limiters::new(RateLimits {
            tokens_per_minute: Some(2_000),
            ..RateLimits::default()
        });
        let _permit = limiters.clone().of("large").acquire(500).await.unwrap();
        let in_flight = |model: &str| limiters.of(model).in_flight();
        assert_eq!([in_flight("small"), in_flight("large")], [0, 1]);
        assert_eq!(limiters.of("small").tokens_per_minute(), Some(2_000));
    }
}
