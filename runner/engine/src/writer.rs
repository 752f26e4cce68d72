//! Writing rows: finds those that the database refuses, and waits for those that somebody else holds.

use std::future::Future;
use std::sync::OnceLock;

use super::bisect::{Bisection, Step};
use super::blame::{Blame, Fault};
use super::flow::StorageError;
use super::patience::Patience;
use super::stop::StopReason;

/// Where a [`Writer`] writes rows.
pub trait Storage<T>: Sync {
    /// Writes rows, all or none of them. Writing the same ones again changes nothing.
    fn write(&self, rows: &[T]) -> impl Future<Output = Result<(), StorageError>> + Send;
}

/// Writes rows of one kind in one run: as many at once as it is told, and fewer if the database asks for it.
///
/// A row that the database refuses even alone is at fault, unless no write of the run has succeeded: then
/// everyone's would be refused. A row that is too slow even alone waits for somebody else, so it is written
/// after all others.
#[derive(Debug)]
pub struct Writer {
    blame: Blame,
    patience: Patience,
    /// Set once no row is at fault, so that no other write finds out again.
    verdict: OnceLock<StopReason>,
}

/// What became of rows.
#[derive(Debug)]
pub struct Writing<T> {
    /// The rows that the database refuses, each with its reason.
    pub refused: Vec<(T, String)>,
    /// Why the other rows are not written, if so, and how many they are.
    pub halt: Option<(StopReason, usize)>,
}

impl Writer {
    /// A writer that waits for rows of others with this patience.
    pub fn new(patience: Patience) -> Self {
        Self {
            blame: Blame::default(),
            patience,
            verdict: OnceLock::new(),
        }
    }

    /// Writes rows, at most `rows_max` at once.
    pub async fn write<T: Send + Sync>(
        &self,
        storage: &impl Storage<T>,
        rows: Vec<T>,
        rows_max: usize,
    ) -> Writing<T> {
        let (all, mut written) = (rows.len(), 0);
        let mut refused = Vec::new();
        let ended = self
            .search(storage, rows, rows_max, &mut written, &mut refused)
            .await;
        let left = all - written - refused.len();
        Writing {
            halt: ended.err().map(|reason| (reason, left)),
            refused,
        }
    }

    async fn search<T: Send + Sync>(
        &self,
        storage: &impl Storage<T>,
        rows: Vec<T>,
        rows_max: usize,
        written: &mut usize,
        refused: &mut Vec<(T, String)>,
    ) -> Result<(), StopReason> {
        let mut search = Bisection::doubting(rows, rows_max, self.blame.has_succeeded());
        let (mut turn, mut locked, mut reason) = (None, Vec::new(), String::new());
        // Until one write has succeeded, there is one at a time.
        self.blame.doubt(&mut search, &mut turn).await;
        if let Some(reason) = self.verdict.get() {
            return Err(reason.clone());
        }
        loop {
            match search.step() {
                Step::Done => break,
                Step::AllRefused => {
                    self.blame_rows(&reason).await?;
                    search.blame_rows();
                    turn = None;
                }
                Step::Send(piece) => {
                    let rows = piece.len();
                    match self.attempt(storage, piece).await {
                        Ok(()) => {
                            *written += rows;
                            search.accepted();
                            turn = None;
                        }
                        Err(StorageError::TooSlow(_)) if rows == 1 => locked.extend(search.take()),
                        Err(StorageError::TooLarge(why)) if rows == 1 => {
                            refused.extend(search.take().map(|row| (row, why)));
                        }
                        Err(StorageError::TooLarge(_) | StorageError::TooSlow(_)) => {
                            search.too_large();
                        }
                        Err(StorageError::Row(why)) => {
                            reason = why;
                            search.refused();
                        }
                        Err(error) => return Err(self.halted(error)),
                    }
                }
                // The search may only have concluded that this row is bad, so it is tried alone.
                Step::Bad(row) => match self.attempt(storage, std::slice::from_ref(&row)).await {
                    Ok(()) => *written += 1,
                    Err(StorageError::TooSlow(_)) => locked.push(row),
                    Err(StorageError::Row(why) | StorageError::TooLarge(why)) => {
                        refused.push((row, why));
                    }
                    Err(error) => return Err(self.halted(error)),
                },
            }
        }
        drop(turn);
        for row in locked {
            match self.outlast(storage, &row).await {
                Ok(()) => *written += 1,
                Err(StorageError::Row(why)) => {
                    self.blame_rows(&why).await?;
                    refused.push((row, why));
                }
                Err(error) => return Err(self.halted(error)),
            }
        }
        Ok(())
    }

    /// Writes rows once, or until their outcome is known.
    async fn attempt<T: Sync>(
        &self,
        storage: &impl Storage<T>,
        rows: &[T],
    ) -> Result<(), StorageError> {
        let mut wait = self.patience.begin();
        let attempts = async {
            loop {
                match storage.write(rows).await {
                    Err(error) if error.is_outage(usize::MAX) => wait.outlast(&error).await?,
                    result => return result,
                }
            }
        };
        let result = self.blame.watch(attempts).await;
        if result.is_ok() {
            self.blame.succeeded();
        }
        result
    }

    /// Writes a row that somebody else holds.
    async fn outlast<T: Sync>(
        &self,
        storage: &impl Storage<T>,
        row: &T,
    ) -> Result<(), StorageError> {
        let mut wait = self.patience.begin();
        loop {
            match self.attempt(storage, std::slice::from_ref(row)).await {
                Err(error) if error.is_outage(1) => wait.outlast(&error).await?,
                result => return result,
            }
        }
    }

    /// Why nothing more is written after this error. A refusal is everyone's, so no other write is tried. An outage may
    /// end, so results that are paid for are tried.
    fn halted(&self, error: StorageError) -> StopReason {
        match error.into_reason() {
            refused @ StopReason::Database(_) => self.verdict.get_or_init(|| refused).clone(),
            reason => reason,
        }
    }

    /// Decides about rows that were all refused. `Err` if no row is at fault.
    async fn blame_rows(&self, why: &str) -> Result<(), StopReason> {
        match self.blame.fault().await {
            Fault::Row => Ok(()),
            Fault::Everyone => {
                let reason = format!(
                    "the database refuses every row, so none is blamed: {why}; check the table's columns, \
                     constraints and triggers, and run it again"
                );
                let reason = StopReason::Database(reason);
                Err(self.verdict.get_or_init(|| reason).clone())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Mutex;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    /// A table that refuses some rows, and those of others for a while.
    #[derive(Default)]
    struct Table {
        bad: BTreeSet<u32>,
        locked: BTreeSet<u32>,
        most: usize,
        writes: Mutex<Vec<Vec<u32>>>,
        stored: Mutex<BTreeSet<u32>>,
    }

    impl Storage<u32> for Table {
        async fn write(&self, rows: &[u32]) -> Result<(), StorageError> {
            let mut writes = self.writes.lock().unwrap();
            writes.push(rows.to_vec());
            let held = writes.len() < 40;
            if rows.len() > self.most {
                Err(StorageError::TooLarge("too large".to_owned()))
            } else if held && rows.iter().any(|row| self.locked.contains(row)) {
                Err(StorageError::TooSlow("held".to_owned()))
            } else if rows.iter().any(|row| self.bad.contains(row)) {
                Err(StorageError::Row("bad".to_owned()))
            } else {
                self.stored.lock().unwrap().extend(rows);
                Ok(())
            }
        }
    }

    fn writer() -> Writer {
        Writer::new(Patience::new(
            "the database",
            "patience",
            Duration::from_secs(3_600),
        ))
    }

    #[tokio::test]
    async fn a_batch_that_is_refused_whatever_is_in_it_costs_three_writes_and_the_next_none() {
        for rows in [1, 2, 40] {
            let table = Table {
                bad: (0..100).collect(),
                most: 100,
                ..Table::default()
            };
            let writer = writer();
            let first = writer.write(&table, (0..rows).collect(), 100).await;
            assert_eq!(first.refused, []);
            let (reason, left) = first.halt.unwrap();
            assert!(
                reason.to_string().contains("none is blamed: bad"),
                "{reason}"
            );
            assert_eq!(left, rows as usize);
            assert!(table.writes.lock().unwrap().len() <= 3);
            let before = table.writes.lock().unwrap().len();
            let next = writer.write(&table, vec![50, 51], 100).await;
            assert_eq!(next.halt.unwrap().1, 2);
            assert_eq!(table.writes.lock().unwrap().len(), before);
        }
    }

    /// Writes rows, after another one if `proven`. Returns also how many writes there were.
    fn write(table: &Table, count: u32, proven: bool) -> (Writing<u32>, usize) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let writer = writer();
            if proven {
                writer.write(table, vec![1_000], 1).await;
            }
            let before = table.writes.lock().unwrap().len();
            let writing = writer.write(table, (0..count).collect(), 100).await;
            (writing, table.writes.lock().unwrap().len() - before)
        })
    }

    proptest! {
        /// Every row is written or refused, whatever is held and however small the writes must be.
        #[test]
        fn rows_are_written_unless_they_are_refused_among_others(
            count in 2_u32..40,
            bad in prop::collection::btree_set(0_u32..40, 0..5),
            locked in prop::collection::btree_set(0_u32..40, 0..3),
            most in 1_usize..40,
            proven: bool,
        ) {
            let table = Table { bad: bad.clone(), locked, most, ..Table::default() };
            let (writing, _) = write(&table, count, proven);
            if writing.halt.is_some() {
                prop_assert!(!proven && writing.refused.is_empty());
                return Ok(());
            }
            let refused: BTreeSet<u32> = writing.refused.iter().map(|(row, _)| *row).collect();
            prop_assert_eq!(refused.len(), writing.refused.len());
            prop_assert_eq!(&refused, &bad.iter().copied().filter(|row| *row < count).collect());
            let mut stored = table.stored.lock().unwrap().clone();
            stored.remove(&1_000);
            prop_assert_eq!(stored, (0..count).filter(|row| !bad.contains(row)).collect());
        }

        /// The bound of the whole product, and three writes if no row is at fault.
        #[test]
        fn writes_are_never_many(
            count in 1_u32..100,
            bad in prop::collection::btree_set(0_u32..100, 0..30),
            proven: bool,
        ) {
            let table = Table { bad: bad.clone(), most: 100, ..Table::default() };
            let (writing, writes) = write(&table, count, proven);
            let bad = bad.iter().filter(|row| **row < count).count();
            let most = 2.0 * bad as f64 * (f64::from(count).log2() + 1.0) + 2.0;
            prop_assert!(writes as f64 <= most, "{writes} writes, at most {most}");
            prop_assert!(writing.halt.is_none() || writes <= 3);
        }
    }
}
