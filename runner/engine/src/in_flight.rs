//! The rows in flight, and the heartbeat that renews their leases.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use uuid::Uuid;

use super::flow::{Item, Source};

/// The rows that were claimed and are neither written, failed nor released.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    rows: Mutex<Rows>,
    emptied: Notify,
}

#[derive(Debug, Default)]
struct Rows {
    in_flight: HashSet<Uuid>,
    /// Rows that this run leaves due. It keeps their leases to its end, so that it does not claim them again.
    deferred: HashSet<Uuid>,
    /// Rows that failed in this run and will be tried again. They are not counted a second time.
    retrying: HashSet<Uuid>,
    /// Rows that left since the present claim began. A claim without leases may have seen them before they did.
    left: HashSet<Uuid>,
}

/// The rows of a claim that are not in flight yet.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Admitted<T> {
    pub(super) rows: Vec<T>,
    /// How many of them this run takes up for the first time.
    pub(super) new: usize,
    /// How many rows of the claim this run leaves due.
    pub(super) deferred: usize,
}

impl InFlight {
    /// Notes that a claim is about to be made.
    pub(super) fn begin_claim(&self) {
        self.lock().left.clear();
    }

    /// Adds the rows of a claim, and drops those that are in flight already. Without leases it also drops those that
    /// have left while the claim was under way.
    pub(super) fn admit<T: Item>(&self, mut claimed: Vec<T>, is_leased: bool) -> Admitted<T> {
        let mut rows = self.lock();
        let all = claimed.len();
        claimed.retain(|row| !rows.deferred.contains(&row.id()));
        let deferred = all - claimed.len();
        claimed.retain(|row| is_leased || !rows.left.contains(&row.id()));
        claimed.retain(|row| rows.in_flight.insert(row.id()));
        let is_new = |row: &&T| !rows.retrying.remove(&row.id());
        let new = claimed.iter().filter(is_new).count();
        Admitted {
            rows: claimed,
            new,
            deferred,
        }
    }

    pub(super) fn remove(&self, ids: &[Uuid]) {
        let mut rows = self.lock();
        for id in ids {
            rows.in_flight.remove(id);
        }
        rows.left.extend(ids);
        if rows.in_flight.is_empty() {
            self.emptied.notify_waiters();
        }
    }

    /// Notes that a row will be tried again later in this run.
    pub(super) fn will_retry(&self, id: Uuid) {
        self.lock().retrying.insert(id);
    }

    /// Leaves rows due for a later run.
    pub(super) fn defer(&self, ids: &[Uuid]) {
        self.lock().deferred.extend(ids);
        self.remove(ids);
    }

    /// Every row that this run has leased.
    pub(super) fn all(&self) -> Vec<Uuid> {
        let rows = self.lock();
        rows.in_flight
            .iter()
            .chain(&rows.deferred)
            .copied()
            .collect()
    }

    pub(super) fn len(&self) -> usize {
        self.lock().in_flight.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Resolves when no row is in flight.
    pub(super) async fn empty(&self) {
        loop {
            let emptied = self.emptied.notified();
            tokio::pin!(emptied);
            emptied.as_mut().enable();
            if self.is_empty() {
                return;
            }
            emptied.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Renews the leases of all rows in flight, three times in the life of a lease, until dropped.
///
/// A failed renewal is only logged, because the next one may come in time. If none does, another runner takes
/// the rows over and writes the same results.
pub(super) async fn heartbeat<S: Source>(source: &S, in_flight: &InFlight) {
    let every = source.lease() / 3;
    loop {
        tokio::time::sleep(every).await;
        let ids = in_flight.all();
        if ids.is_empty() {
            continue;
        }
        let rows = ids.len();
        match source.extend(ids).await {
            Ok(kept) if kept.len() < rows => {
                tracing::debug!(rows, kept = kept.len(), "some leases were lost");
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "failed to renew the leases"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    struct Row(u128);

    impl Item for Row {
        fn id(&self) -> Uuid {
            Uuid::from_u128(self.0)
        }
    }

    #[tokio::test]
    async fn empty_resolves_when_the_last_row_is_removed() {
        let in_flight = std::sync::Arc::new(InFlight::default());
        in_flight.empty().await;
        assert_eq!(in_flight.admit(vec![Row(1)], true).rows, [Row(1)]);
        let waiting = tokio::spawn({
            let in_flight = in_flight.clone();
            async move { in_flight.empty().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        in_flight.remove(&[Row(1).id()]);
        waiting.await.unwrap();
    }

    #[test]
    fn a_row_that_is_claimed_again_while_in_flight_is_dropped() {
        let in_flight = InFlight::default();
        in_flight.admit(vec![Row(1), Row(2)], true);
        assert_eq!(
            in_flight.admit(vec![Row(1), Row(2), Row(3)], true).rows,
            [Row(3)]
        );
    }

    #[test]
    fn a_row_that_leaves_during_a_claim_is_dropped_unless_it_is_leased_again() {
        let in_flight = InFlight::default();
        in_flight.admit(vec![Row(1)], false);
        in_flight.begin_claim();
        in_flight.remove(&[Row(1).id()]);
        assert!(in_flight.admit(vec![Row(1)], false).rows.is_empty());
        assert_eq!(in_flight.admit(vec![Row(1)], true).rows, [Row(1)]);
        in_flight.remove(&[Row(1).id()]);
        in_flight.begin_claim();
        assert_eq!(in_flight.admit(vec![Row(1)], false).rows, [Row(1)]);
    }

    #[test]
    fn a_deferred_row_stays_leased_and_is_not_taken_up_again() {
        let in_flight = InFlight::default();
        in_flight.admit(vec![Row(1), Row(2)], true);
        in_flight.defer(&[Row(1).id()]);
        assert_eq!((in_flight.len(), in_flight.all().len()), (1, 2));
        let admitted = in_flight.admit(vec![Row(1), Row(3)], true);
        assert_eq!((admitted.rows, admitted.deferred), (vec![Row(3)], 1));
    }

    #[test]
    fn a_retried_row_is_not_counted_again() {
        let in_flight = InFlight::default();
        assert_eq!(in_flight.admit(vec![Row(1), Row(2)], true).new, 2);
        in_flight.will_retry(Row(1).id());
        in_flight.remove(&[Row(1).id(), Row(2).id()]);
        assert_eq!(in_flight.admit(vec![Row(1), Row(3)], true).new, 1);
        assert_eq!(in_flight.all().len(), 2);
    }
}
