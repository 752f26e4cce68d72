//! Batching: full batches are sent at once, the last one stays open for the rows of the next claim.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::flow::Packing;

/// How long a batch stays open while nothing else is in flight. If few rows are due, the provider would
/// otherwise idle until the end of the pass.
const LINGER: Duration = Duration::from_secs(2);

/// Sends packed rows to the dispatcher.
#[derive(Debug)]
pub(super) struct Batcher<B> {
    batches: mpsc::Sender<B>,
    open: Option<Open<B>>,
}

/// A batch that has room for more rows.
#[derive(Debug)]
struct Open<B> {
    batch: B,
    since: Instant,
}

impl<B> Batcher<B> {
    pub(super) fn new(batches: mpsc::Sender<B>) -> Self {
        Self {
            batches,
            open: None,
        }
    }

    /// Packs rows with `pack`, which gets the open batch, and sends the full batches. Returns the rest of the
    /// packing. `None` if nobody takes batches any more.
    pub(super) async fn pack(
        &mut self,
        pack: impl FnOnce(Option<B>) -> Packing<B>,
    ) -> Option<Packing<B>> {
        let (batch, since) = self
            .open
            .take()
            .map(|open| (open.batch, open.since))
            .unzip();
        let mut packing = pack(batch);
        // If no batch is full, the open one is still the same.
        let since = since.filter(|_| packing.batches.is_empty());
        self.open = packing.open.take().map(|batch| Open {
            batch,
            since: since.unwrap_or_else(Instant::now),
        });
        for batch in std::mem::take(&mut packing.batches) {
            self.batches.send(batch).await.ok()?;
        }
        Some(packing)
    }

    /// Sends the open batch as it is. `None` if nobody takes batches any more.
    pub(super) async fn flush(&mut self) -> Option<()> {
        match self.open.take() {
            Some(open) => self.batches.send(open.batch).await.ok(),
            None => Some(()),
        }
    }

    /// Sends the open batch if it has waited long enough and `is_alone` finds nothing else in flight. `None`
    /// if nobody takes batches any more.
    pub(super) async fn flush_overdue(&mut self, is_alone: impl FnOnce(&B) -> bool) -> Option<()> {
        match &self.open {
            Some(open) if open.since.elapsed() >= LINGER && is_alone(&open.batch) => {
                self.flush().await
            }
            _ => Some(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packs numbers into batches of three.
    fn threes(open: Option<Vec<u32>>, rows: &[u32]) -> Packing<Vec<u32>> {
        let rows: Vec<u32> = open
            .into_iter()
            .flatten()
            .chain(rows.iter().copied())
            .collect();
        let mut batches: Vec<_> = rows.chunks(3).map(<[u32]>::to_vec).collect();
        let open = batches.pop_if(|batch| batch.len() < 3);
        Packing {
            batches,
            open,
            skipped: Vec::new(),
            warnings: Vec::new(),
        }
    }

    #[tokio::test]
    async fn only_full_batches_are_sent_until_the_last_is_flushed() {
        let (sender, mut sent) = mpsc::channel(9);
        let mut batcher = Batcher::new(sender);
        for rows in [&[1, 2][..], &[3, 4], &[], &[5, 6, 7, 8]] {
            batcher.pack(|open| threes(open, rows)).await.unwrap();
        }
        assert_eq!(sent.try_recv().unwrap(), [1, 2, 3]);
        assert_eq!(sent.try_recv().unwrap(), [4, 5, 6]);
        assert!(sent.try_recv().is_err());
        batcher.flush().await.unwrap();
        batcher.flush().await.unwrap();
        assert_eq!(sent.try_recv().unwrap(), [7, 8]);
        assert!(sent.try_recv().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn an_open_batch_waits_while_others_are_in_flight_and_a_while_alone() {
        let (sender, mut sent) = mpsc::channel(9);
        let mut batcher = Batcher::new(sender);
        batcher.pack(|open| threes(open, &[1])).await.unwrap();
        tokio::time::advance(LINGER / 2).await;
        batcher.pack(|open| threes(open, &[2])).await.unwrap();
        batcher.flush_overdue(|_| true).await.unwrap();
        assert!(sent.try_recv().is_err());
        tokio::time::advance(LINGER / 2).await;
        batcher.flush_overdue(|_| false).await.unwrap();
        assert!(sent.try_recv().is_err());
        batcher.flush_overdue(|_| true).await.unwrap();
        assert_eq!(sent.try_recv().unwrap(), [1, 2]);
        // The next batch waits from its own start.
        batcher.pack(|open| threes(open, &[3])).await.unwrap();
        batcher.flush_overdue(|_| true).await.unwrap();
        assert!(sent.try_recv().is_err());
    }
}
