//! One limiter a model: providers limit each on its own.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use super::limit::Limits;
use super::queue::Limiter;

/// The limiters of all models in use. Clones share them.
#[derive(Debug, Clone)]
pub struct Limiters {
    configured: Arc<BTreeMap<String, Limits>>,
    others: Limits,
    in_use: Arc<Mutex<HashMap<String, Limiter>>>,
}

impl Limiters {
    /// Limiters with the limits of each model that is configured, and those of all `others`.
    pub fn new(configured: BTreeMap<String, Limits>, others: Limits) -> Self {
        Self {
            configured: Arc::new(configured),
            others,
            in_use: Arc::default(),
        }
    }

    /// The limiter of a model: the same one each time.
    pub fn of(&self, model: &str) -> Limiter {
        let mut in_use = self.in_use.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(limiter) = in_use.get(model) {
            return limiter.clone();
        }
        let limits = self.configured.get(model).copied().unwrap_or(self.others);
        let limiter = Limiter::new(limits);
        in_use.insert(model.to_owned(), limiter.clone());
        limiter
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limiter::Cost;

    #[tokio::test]
    async fn each_model_has_its_own_limiter_with_its_own_limits() {
        let limits = |tokens| Limits {
            tokens_per_minute: Some(tokens),
            ..Limits::default()
        };
        let configured = BTreeMap::from([("small".to_owned(), limits(1_000))]);
        let limiters = Limiters::new(configured, limits(2_000));
        let limit = |model: &str| limiters.of(model).snapshot().tokens_limit;
        assert_eq!([limit("small"), limit("large")], [Some(1_000), Some(2_000)]);

        let _permit = limiters
            .clone()
            .of("large")
            .acquire(Cost::of_tokens(500))
            .await
            .unwrap();
        let in_flight = |model: &str| limiters.of(model).snapshot().in_flight;
        assert_eq!([in_flight("small"), in_flight("large")], [0, 1]);
    }
}
