//! Money: reserved before a request is sent, settled when its response is there, never exceeded.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// A flow's budget in US dollars. Cloning gives another handle to the same budget.
#[derive(Debug, Clone)]
pub struct Budget {
    account: Arc<Account>,
}

#[derive(Debug)]
struct Account {
    balance: Mutex<Balance>,
    settled: Notify,
}

/// What is spent, what is in flight, and what may be spent at most.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Balance {
    max: Option<f64>,
    spent: f64,
    reserved: f64,
}

/// The decision about a request that may cost a given amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decision {
    /// It is reserved.
    Reserved,
    /// Not now: the requests in flight may turn out cheaper than their reserves.
    Wait,
    /// Never: it does not fit beside what is spent already.
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
    /// A budget of at most `max` dollars. With `None`, spending is counted and never refused.
    pub fn new(max: Option<f64>) -> Self {
        let balance = Mutex::new(Balance {
            max,
            spent: 0.0,
            reserved: 0.0,
        });
        Self {
            account: Arc::new(Account {
                balance,
                settled: Notify::new(),
            }),
        }
    }

    /// Reserves the most that a request may cost. Waits for requests in flight if only their reserves
    /// stand in the way. Dropping the reservation without settling it frees the money.
    ///
    /// # Errors
    /// [`Exhausted`] if it does not fit beside what is spent already.
    pub async fn reserve(&self, usd: f64) -> Result<Reservation, Exhausted> {
        loop {
            let settled = self.account.settled.notified();
            tokio::pin!(settled);
            // Registered before the decision, so that no settlement in between is missed.
            settled.as_mut().enable();
            let (decision, balance) = {
                let mut balance = self.balance();
                (balance.decide(usd), *balance)
            };
            match decision {
                Decision::Reserved => {
                    return Ok(Reservation {
                        budget: self.clone(),
                        usd,
                    });
                }
                Decision::Wait => settled.await,
                Decision::Exhausted => {
                    let max = balance.max.unwrap_or(f64::INFINITY);
                    return Err(Exhausted {
                        max,
                        spent: balance.spent,
                        next: usd,
                    });
                }
            }
        }
    }

    /// Reserves like [`reserve`](Self::reserve), but never waits. `None` if it does not fit now.
    pub fn try_reserve(&self, usd: f64) -> Option<Reservation> {
        let decision = self.balance().decide(usd);
        (decision == Decision::Reserved).then(|| Reservation {
            budget: self.clone(),
            usd,
        })
    }

    /// Allows spending of at most this much in all, if that is more than before.
    pub fn raise(&self, max: f64) {
        {
            let mut balance = self.balance();
            balance.max = balance.max.map(|before| before.max(max));
        }
        self.account.settled.notify_waiters();
    }

    /// Whether spending is ever refused.
    pub fn is_limited(&self) -> bool {
        self.balance().max.is_some()
    }

    /// What is spent, in dollars.
    pub fn spent(&self) -> f64 {
        self.balance().spent
    }

    /// What may still be reserved, in dollars; infinite without a limit.
    pub fn left(&self) -> f64 {
        let balance = self.balance();
        balance.max.unwrap_or(f64::INFINITY) - balance.spent - balance.reserved
    }

    /// What is spent or reserved, in dollars.
    pub fn held(&self) -> f64 {
        let balance = self.balance();
        balance.spent + balance.reserved
    }

    fn balance(&self) -> MutexGuard<'_, Balance> {
        self.account
            .balance
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Balance {
    fn decide(&mut self, usd: f64) -> Decision {
        let max = self.max.unwrap_or(f64::INFINITY);
        if self.spent + usd > max {
            return Decision::Exhausted;
        }
        if self.spent + self.reserved + usd > max {
            return Decision::Wait;
        }
        self.reserved += usd;
        Decision::Reserved
    }

    fn settle(&mut self, reserved: f64, spent: f64) {
        // Sums of floats drift, and a reserve below zero would lend money that is not there.
        self.reserved = (self.reserved - reserved).max(0.0);
        self.spent += spent;
    }
}

/// Money reserved for one request.
#[derive(Debug)]
#[must_use = "a reservation that is dropped counts as not spent"]
pub struct Reservation {
    budget: Budget,
    usd: f64,
}

impl Reservation {
    /// The request cost this much.
    pub fn settle(mut self, usd: f64) {
        self.close(usd);
    }

    /// The response was lost, and the request may have been billed: the whole reserve counts as spent.
    pub fn settle_in_full(mut self) {
        let usd = self.usd;
        self.close(usd);
    }

    fn close(&mut self, spent: f64) {
        let reserved = std::mem::take(&mut self.usd);
        self.budget.balance().settle(reserved, spent);
        self.budget.account.settled.notify_waiters();
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
    async fn reserves_of_requests_in_flight_count() {
        let budget = Budget::new(Some(1.0));
        let first = budget.reserve(0.75).await.unwrap();
        assert_eq!(budget.balance().decide(0.5), Decision::Wait);
        first.settle(0.25);
        let second = budget.reserve(0.5).await.unwrap();
        second.settle(0.5);
        let refused = budget.reserve(0.5).await.unwrap_err();
        assert!((refused.spent - 0.75).abs() < 1e-9);
    }

    #[tokio::test]
    async fn a_waiting_request_continues_when_another_settles() {
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
    async fn a_raised_budget_lets_waiting_requests_through() {
        let budget = Budget::new(Some(0.5));
        let first = budget.reserve(0.5).await.unwrap();
        assert!(budget.try_reserve(0.1).is_none());
        let handle = budget.clone();
        let waiting = tokio::spawn(async move { handle.reserve(0.25).await });
        tokio::task::yield_now().await;
        budget.raise(0.75);
        budget.raise(0.5);
        let second = waiting.await.unwrap().unwrap();
        assert!((budget.held() - 0.75).abs() < 1e-9);
        first.settle(0.5);
        second.settle(0.25);
        assert!((budget.held() - budget.spent()).abs() < 1e-9);
    }

    #[tokio::test]
    async fn a_lost_response_counts_in_full() {
        let budget = Budget::new(None);
        budget.reserve(0.3).await.unwrap().settle_in_full();
        assert!((budget.spent() - 0.3).abs() < 1e-9);
    }
}
