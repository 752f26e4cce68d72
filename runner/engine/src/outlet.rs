//! The claimer's way out: full batches leave at once, the last one stays open for the rows of the next claim.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::flow::Plan;

/// How long a batch waits for more rows while nothing else is in the works: where few rows are due, the
/// provider would idle until the pass is over.
const LINGER: Duration = Duration::from_secs(2);

/// Where packed rows leave to be sent.
#[derive(Debug)]
pub(super) struct Outlet<B> {
    batches: mpsc::Sender<B>,
    open: Option<Open<B>>,
}

/// A batch that has room for more rows.
#[derive(Debug)]
struct Open<B> {
    batch: B,
    since: Instant,
}

impl<B> Outlet<B> {
    pub(super) fn new(batches: mpsc::Sender<B>) -> Self {
        Self {
            batches,
            open: None,
        }
    }

    /// Packs rows by `plan`, which is given the open batch, and sends what is full. Answers what is left of the
    /// plan, its skipped rows and remarks; `None` = nobody takes batches any more.
    pub(super) async fn pack(
        &mut self,
        plan: impl FnOnce(Option<B>) -> Plan<B>,
    ) -> Option<Plan<B>> {
        let (batch, since) = match self.open.take() {
            Some(Open { batch, since }) => (Some(batch), Some(since)),
            None => (None, None),
        };
        let mut plan = plan(batch);
        // Where nothing is full, what was open is still the same batch.
        let since = since.filter(|_| plan.batches.is_empty());
        self.open = plan.open.take().map(|batch| Open {
            batch,
            since: since.unwrap_or_else(Instant::now),
        });
        for batch in std::mem::take(&mut plan.batches) {
            self.batches.send(batch).await.ok()?;
        }
        Some(plan)
    }

    /// Sends the open batch as it is. `None` = nobody takes batches any more.
    pub(super) async fn flush(&mut self) -> Option<()> {
        match self.open.take() {
            Some(open) => self.batches.send(open.batch).await.ok(),
            None => Some(()),
        }
    }

    /// Sends the open batch as it is, where it has waited long enough and `is_alone` says of it that nothing
    /// else is in the works. `None` = nobody takes batches any more.
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
    fn threes(open: Option<Vec<u32>>, rows: &[u32]) -> Plan<Vec<u32>> {
        let rows: Vec<u32> = open
            .into_iter()
            .flatten()
            .chain(rows.iter().copied())
            .collect();
        let mut batches: Vec<_> = rows.chunks(3).map(<[u32]>::to_vec).collect();
        let open = batches.pop_if(|batch| batch.len() < 3);
        Plan {
            batches,
            open,
            skipped: Vec::new(),
            remarks: Vec::new(),
        }
    }

    #[tokio::test]
    async fn only_full_batches_leave_until_the_last_is_flushed() {
        let (sender, mut sent) = mpsc::channel(9);
        let mut outlet = Outlet::new(sender);
        for rows in [&[1, 2][..], &[3, 4], &[], &[5, 6, 7, 8]] {
            outlet.pack(|open| threes(open, rows)).await.unwrap();
        }
        assert_eq!(sent.try_recv().unwrap(), [1, 2, 3]);
        assert_eq!(sent.try_recv().unwrap(), [4, 5, 6]);
        assert!(sent.try_recv().is_err());
        outlet.flush().await.unwrap();
        outlet.flush().await.unwrap();
        assert_eq!(sent.try_recv().unwrap(), [7, 8]);
        assert!(sent.try_recv().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn an_open_batch_waits_as_long_as_others_are_in_the_works_and_a_while_alone() {
        let (sender, mut sent) = mpsc::channel(9);
        let mut outlet = Outlet::new(sender);
        outlet.pack(|open| threes(open, &[1])).await.unwrap();
        tokio::time::advance(LINGER / 2).await;
        outlet.pack(|open| threes(open, &[2])).await.unwrap();
        outlet.flush_overdue(|_| true).await.unwrap();
        assert!(sent.try_recv().is_err());
        tokio::time::advance(LINGER / 2).await;
        outlet.flush_overdue(|_| false).await.unwrap();
        assert!(sent.try_recv().is_err());
        outlet.flush_overdue(|_| true).await.unwrap();
        assert_eq!(sent.try_recv().unwrap(), [1, 2]);
        // The next batch begins to wait anew.
        outlet.pack(|open| threes(open, &[3])).await.unwrap();
        outlet.flush_overdue(|_| true).await.unwrap();
        assert!(sent.try_recv().is_err());
    }
}
