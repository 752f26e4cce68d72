//! Whose fault a refusal is: a row's, or everyone's.

use std::future::Future;

use tokio::sync::{Mutex, MutexGuard, watch};

use super::bisect::Bisection;

/// Whose fault a refusal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Other requests of this kind succeed, so the refused rows are at fault.
    Row,
    /// No request of this kind has succeeded, so the cause is a setting, the key, the model, the schema or the
    /// service. No row may be blamed.
    Everyone,
}

/// What is known about the requests of one kind in one run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Evidence {
    succeeded: bool,
    in_flight: usize,
}

impl Evidence {
    /// Whose fault a refusal is. `None` while a request in flight can still show it.
    fn fault(self) -> Option<Fault> {
        match (self.succeeded, self.in_flight) {
            (true, _) => Some(Fault::Row),
            (false, 0) => Some(Fault::Everyone),
            (false, _) => None,
        }
    }
}

/// Decides whether rows may be blamed for refused requests. Each run has one for each kind of request.
///
/// A row may be blamed only after another request of the same kind has succeeded in this run.
#[derive(Debug, Default)]
pub struct Blame {
    evidence: watch::Sender<Evidence>,
    turn: Mutex<()>,
}

impl Blame {
    /// Prepares a search for its probes after a refusal. If no request has succeeded yet, only one search sends
    /// them at a time. If one has succeeded, no probes are needed.
    pub async fn doubt<'b, T>(
        &'b self,
        search: &mut Bisection<T>,
        turn: &mut Option<MutexGuard<'b, ()>>,
    ) {
        if turn.is_none() {
            *turn = self.turn().await;
        }
        if self.has_succeeded() {
            search.blame_rows();
            *turn = None;
        }
    }

    /// Waits for the turn to find out whether rows are at fault. `None` if a request has succeeded meanwhile.
    pub async fn turn(&self) -> Option<MutexGuard<'_, ()>> {
        if self.has_succeeded() {
            return None;
        }
        let turn = self.turn.lock().await;
        (!self.has_succeeded()).then_some(turn)
    }

    /// Makes a request, and counts it as in flight meanwhile.
    pub async fn watch<T>(&self, request: impl Future<Output = T>) -> T {
        let _in_flight = InFlight::new(&self.evidence);
        request.await
    }

    /// Notes that a request has succeeded.
    pub fn succeeded(&self) {
        self.evidence
            .send_if_modified(|evidence| !std::mem::replace(&mut evidence.succeeded, true));
    }

    /// True if a request has succeeded, so that rows may be blamed.
    pub fn has_succeeded(&self) -> bool {
        self.evidence.borrow().succeeded
    }

    /// Whose fault a refusal is. Waits for requests in flight if they can still show it.
    pub async fn fault(&self) -> Fault {
        let mut evidence = self.evidence.subscribe();
        let known = evidence
            .wait_for(|evidence| evidence.fault().is_some())
            .await;
        // The sender lives as long as `self`, so this never fails.
        known
            .ok()
            .and_then(|evidence| evidence.fault())
            .unwrap_or(Fault::Everyone)
    }
}

/// Counts a request as in flight until it is dropped.
struct InFlight<'b>(&'b watch::Sender<Evidence>);

impl<'b> InFlight<'b> {
    fn new(evidence: &'b watch::Sender<Evidence>) -> Self {
        evidence.send_modify(|evidence| evidence.in_flight += 1);
        Self(evidence)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|evidence| evidence.in_flight -= 1);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[tokio::test]
    async fn no_row_is_blamed_before_a_request_has_succeeded() {
        let blame = Blame::default();
        assert_eq!(blame.fault().await, Fault::Everyone);
        assert!(!blame.has_succeeded());
        blame.succeeded();
        assert_eq!(blame.fault().await, Fault::Row);
    }

    #[tokio::test(start_paused = true)]
    async fn requests_in_flight_are_waited_for_until_one_has_succeeded() {
        for (succeeds, expected) in [(true, Fault::Row), (false, Fault::Everyone)] {
            let blame = Arc::new(Blame::default());
            let other = blame.clone();
            let request = tokio::spawn(async move {
                let call = tokio::time::sleep(Duration::from_secs(1));
                other
                    .watch(async {
                        call.await;
                        if succeeds {
                            other.succeeded();
                        }
                    })
                    .await;
            });
            tokio::task::yield_now().await;
            assert_eq!(blame.fault().await, expected);
            request.await.unwrap();
        }
    }

    proptest! {
        #[test]
        fn a_row_is_at_fault_only_if_a_request_has_succeeded(succeeded: bool, in_flight in 0_usize..4) {
            let fault = Evidence { succeeded, in_flight }.fault();
            prop_assert_eq!(fault == Some(Fault::Row), succeeded);
            prop_assert_eq!(fault.is_none(), !succeeded && in_flight > 0);
        }
    }
}
