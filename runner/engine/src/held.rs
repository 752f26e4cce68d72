//! The rows under this runner's lease, and the heartbeat that keeps them.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use uuid::Uuid;

use super::flow::{Item, Likeness, Source};

/// The rows that were claimed and are neither written, failed nor given back.
#[derive(Debug, Default)]
pub(super) struct Held {
    rows: Mutex<Rows>,
    emptied: Notify,
}

#[derive(Debug, Default)]
struct Rows {
    likeness: HashMap<Uuid, Option<Likeness>>,
    /// How many of the rows are alike in this.
    alike: HashMap<Likeness, usize>,
    /// What was let go of since the claim under way was sent: that claim may not have seen the results yet.
    lately: HashSet<Likeness>,
}

/// Claimed rows, sorted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sorted<T> {
    /// To be worked on, and held from now on.
    pub(super) fresh: Vec<T>,
    /// Like a row that is in the works already: to be given back.
    pub(super) alike: Vec<Uuid>,
    /// How many are in the works themselves, and were claimed once more.
    pub(super) known: usize,
}

impl Held {
    /// A claim is about to be sent.
    pub(super) fn expect(&self) {
        self.lock().lately.clear();
    }

    /// Sorts what a claim has brought, and holds what is to be worked on. Rows of one claim that are like each
    /// other stay together, for they can be packed together.
    pub(super) fn sort<T: Item>(
        &self,
        claimed: Vec<T>,
        likeness: impl Fn(&T) -> Option<Likeness>,
    ) -> Sorted<T> {
        let claimed: Vec<_> = claimed
            .into_iter()
            .map(|row| (likeness(&row), row))
            .collect();
        let mut held = self.lock();
        let mut sorted = Sorted {
            fresh: Vec::with_capacity(claimed.len()),
            alike: Vec::new(),
            known: 0,
        };
        let mut likenesses = Vec::with_capacity(claimed.len());
        for (likeness, row) in claimed {
            if held.likeness.contains_key(&row.id()) {
                sorted.known += 1;
            } else if likeness.is_some_and(|likeness| held.is_in_the_works(&likeness)) {
                sorted.alike.push(row.id());
            } else {
                likenesses.push((row.id(), likeness));
                sorted.fresh.push(row);
            }
        }
        for (id, likeness) in likenesses {
            held.insert(id, likeness);
        }
        sorted
    }

    pub(super) fn remove<'a>(&self, ids: impl IntoIterator<Item = &'a Uuid>) {
        let mut held = self.lock();
        for id in ids {
            held.remove(id);
        }
        if held.likeness.is_empty() {
            self.emptied.notify_waiters();
        }
    }

    pub(super) fn all(&self) -> Vec<Uuid> {
        self.lock().likeness.keys().copied().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.lock().likeness.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Resolves when nothing is held.
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

impl Rows {
    fn is_in_the_works(&self, likeness: &Likeness) -> bool {
        self.alike.contains_key(likeness) || self.lately.contains(likeness)
    }

    fn insert(&mut self, id: Uuid, likeness: Option<Likeness>) {
        self.likeness.insert(id, likeness);
        if let Some(likeness) = likeness {
            *self.alike.entry(likeness).or_default() += 1;
        }
    }

    fn remove(&mut self, id: &Uuid) {
        let Some(Some(likeness)) = self.likeness.remove(id) else {
            return;
        };
        if let Entry::Occupied(mut alike) = self.alike.entry(likeness) {
            *alike.get_mut() -= 1;
            if *alike.get() == 0 {
                alike.remove();
                self.lately.insert(likeness);
            }
        }
    }
}

/// Renews the leases of what is held, three times as often as they lapse, until dropped.
///
/// A failed renewal is only logged: the next one may pass in time, and where none does another runner
/// takes the rows up, whose writes are the same as ours.
pub(super) async fn heartbeat<S: Source>(source: &S, held: &Held) {
    let every = source.lease() / 3;
    loop {
        tokio::time::sleep(every).await;
        let ids = held.all();
        if ids.is_empty() {
            continue;
        }
        let asked = ids.len();
        match source.extend(ids).await {
            Ok(kept) if kept.len() < asked => {
                tracing::debug!(asked, kept = kept.len(), "some leases were no longer ours");
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "failed to renew the leases"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row, and what it is like.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    struct Row(u128, u8);

    impl Item for Row {
        fn id(&self) -> Uuid {
            Uuid::from_u128(self.0)
        }
    }

    /// What a claim brings: how many rows are fresh, alike and known.
    fn claim(held: &Held, rows: &[Row]) -> (usize, usize, usize) {
        held.expect();
        arrive(held, rows)
    }

    fn arrive(held: &Held, rows: &[Row]) -> (usize, usize, usize) {
        let sorted = held.sort(rows.to_vec(), |row| (row.1 > 0).then_some([row.1; 32]));
        (sorted.fresh.len(), sorted.alike.len(), sorted.known)
    }

    #[tokio::test]
    async fn empty_resolves_when_the_last_row_is_gone() {
        let held = std::sync::Arc::new(Held::default());
        held.empty().await;
        assert_eq!(claim(&held, &[Row(1, 0)]), (1, 0, 0));
        let waiting = tokio::spawn({
            let held = held.clone();
            async move { held.empty().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        held.remove([&Row(1, 0).id()]);
        waiting.await.unwrap();
    }

    #[test]
    fn a_row_like_one_in_the_works_is_put_off_until_all_of_those_are_gone() {
        let held = Held::default();
        assert_eq!(claim(&held, &[Row(1, 7), Row(2, 7), Row(3, 8)]), (3, 0, 0));
        assert_eq!(claim(&held, &[Row(4, 7), Row(5, 9)]), (1, 1, 0));
        held.remove([&Row(1, 7).id()]);
        assert_eq!(claim(&held, &[Row(4, 7)]), (0, 1, 0));
        held.remove([&Row(2, 7).id()]);
        assert_eq!(claim(&held, &[Row(4, 7)]), (1, 0, 0));
    }

    #[test]
    fn a_claim_that_left_before_a_result_was_stored_is_not_trusted() {
        let held = Held::default();
        claim(&held, &[Row(1, 7)]);
        held.expect();
        held.remove([&Row(1, 7).id()]);
        assert_eq!(arrive(&held, &[Row(2, 7)]), (0, 1, 0));
        assert_eq!(claim(&held, &[Row(2, 7)]), (1, 0, 0));
    }

    #[test]
    fn a_row_that_is_claimed_once_more_is_neither_worked_on_nor_given_back() {
        let held = Held::default();
        claim(&held, &[Row(1, 7), Row(2, 0)]);
        assert_eq!(claim(&held, &[Row(1, 7), Row(2, 0)]), (0, 0, 2));
    }
}
