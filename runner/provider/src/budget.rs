//! The money: reserved before a request leaves, settled when its answer is there, never exceeded.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// A flow's budget in US dollars. Cloning gives another handle to the same budget.
#[derive(Debug, Clone)]
pub struct Budget {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    ledger: Mutex<Ledger>,
    settled: Notify,
}

/// What is spent, what is in flight, and what may be spent at most.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Ledger {
    max: Option<f64>,
    spent: f64,
    reserved: f64,
}

/// What the ledger says of a request that may cost so much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// It is reserved.
    Reserved,
    /// Not now: what is in flight may turn out cheaper than was reserved for it.
    Wait,
    /// Never: it does not fit beside what is spent.
    Exhausted,
}

/// The budget cannot hold another request.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("the budget of ${max} is used up: ${spent:.4} spent, the next request may cost ${next:.4}")]
pub struct Exhausted {
    /// The budget.
    pub max: f64,
    /// What is spent.
    pub spent: f64,
    /// What the next request may cost.
    pub next: f64,
}

impl Budget {
    /// A budget of at most `max` dollars; `None` = no bound, spending is only counted.
    pub fn new(max: Option<f64>) -> Self {
        let ledger = Mutex::new(Ledger {
            max,
            spent: 0.0,
            reserved: 0.0,
        });
        Self {
            shared: Arc::new(Shared {
                ledger,
                settled: Notify::new(),
            }),
        }
    }

    /// Reserves what a request may cost at most, waiting for requests in flight where only their
    /// reserve stands in the way. Dropping the reservation unsettled gives it back.
    ///
    /// # Errors
    /// [`Exhausted`] where it does not fit beside what is spent already.
    pub async fn reserve(&self, usd: f64) -> Result<Reservation, Exhausted> {
        loop {
            let settled = self.shared.settled.notified();
            tokio::pin!(settled);
            // Registered before looking, so that a settlement in between is not missed.
            settled.as_mut().enable();
            let (answer, ledger) = {
                let mut ledger = self.ledger();
                (ledger.ask(usd), *ledger)
            };
            match answer {
                Answer::Reserved => {
                    return Ok(Reservation {
                        budget: self.clone(),
                        usd,
                    });
                }
                Answer::Wait => settled.await,
                Answer::Exhausted => {
                    let max = ledger.max.unwrap_or(f64::INFINITY);
                    return Err(Exhausted {
                        max,
                        spent: ledger.spent,
                        next: usd,
                    });
                }
            }
        }
    }

    /// What is spent, in dollars.
    pub fn spent(&self) -> f64 {
        self.ledger().spent
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.shared
            .ledger
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger {
    fn ask(&mut self, usd: f64) -> Answer {
        let max = self.max.unwrap_or(f64::INFINITY);
        if self.spent + usd > max {
            return Answer::Exhausted;
        }
        if self.spent + self.reserved + usd > max {
            return Answer::Wait;
        }
        self.reserved += usd;
        Answer::Reserved
    }

    fn settle(&mut self, reserved: f64, spent: f64) {
        // Sums of floats drift; a reserve below zero would lend money that is not there.
        self.reserved = (self.reserved - reserved).max(0.0);
        self.spent += spent;
    }
}

/// Money set aside for one request.
#[derive(Debug)]
#[must_use = "a reservation that is dropped counts as not spent"]
pub struct Reservation {
    budget: Budget,
    usd: f64,
}

impl Reservation {
    /// The request is answered and cost this much.
    pub fn settle(mut self, usd: f64) {
        self.close(usd);
    }

    /// The request may have been billed although its answer was lost: all of it counts as spent.
    pub fn settle_in_full(mut self) {
        let usd = self.usd;
        self.close(usd);
    }

    fn close(&mut self, spent: f64) {
        let reserved = std::mem::take(&mut self.usd);
        self.budget.ledger().settle(reserved, spent);
        self.budget.shared.settled.notify_waiters();
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.usd > 0.0 {
            self.close(0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_in_flight_counts() {
        let budget = Budget::new(Some(1.0));
        let first = budget.reserve(0.75).await.unwrap();
        assert_eq!(budget.ledger().ask(0.5), Answer::Wait);
        first.settle(0.25);
        let second = budget.reserve(0.5).await.unwrap();
        second.settle(0.5);
        let refused = budget.reserve(0.5).await.unwrap_err();
        assert!((refused.spent - 0.75).abs() < 1e-9);
    }

    #[tokio::test]
    async fn a_waiting_request_goes_on_when_another_settles() {
        let budget = Budget::new(Some(1.0));
        let first = budget.reserve(1.0).await.unwrap();
        let handle = budget.clone();
        let waiting = tokio::spawn(async move { handle.reserve(0.5).await });
        tokio::task::yield_now().await;
        first.settle(0.1);
        let second = waiting.await.unwrap().unwrap();
        drop(second);
        assert!((budget.spent() - 0.1).abs() < 1e-9);
    }

    #[tokio::test]
    async fn a_lost_answer_is_paid_in_full() {
        let budget = Budget::new(None);
        budget.reserve(0.3).await.unwrap().settle_in_full();
        assert!((budget.spent() - 0.3).abs() < 1e-9);
    }
}
