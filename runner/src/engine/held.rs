//! The rows under this runner's lease, and the heartbeat that keeps them.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use uuid::Uuid;

use super::flow::Source;

/// The rows that were claimed and are neither written, failed nor given back.
#[derive(Debug, Default)]
pub(super) struct Held {
    ids: Mutex<HashSet<Uuid>>,
    emptied: Notify,
}

impl Held {
    pub(super) fn insert(&self, ids: impl IntoIterator<Item = Uuid>) {
        self.lock().extend(ids);
    }

    pub(super) fn remove<'a>(&self, ids: impl IntoIterator<Item = &'a Uuid>) {
        let mut held = self.lock();
        for id in ids {
            held.remove(id);
        }
        if held.is_empty() {
            self.emptied.notify_waiters();
        }
    }

    pub(super) fn all(&self) -> Vec<Uuid> {
        self.lock().iter().copied().collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
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

    fn lock(&self) -> MutexGuard<'_, HashSet<Uuid>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
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

    #[tokio::test]
    async fn empty_resolves_when_the_last_row_is_gone() {
        let held = std::sync::Arc::new(Held::default());
        held.empty().await;
        let id = Uuid::from_u128(1);
        held.insert([id]);
        let waiting = tokio::spawn({
            let held = held.clone();
            async move { held.empty().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        held.remove([&id]);
        waiting.await.unwrap();
    }
}
