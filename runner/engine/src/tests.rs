//! The engine over a table in memory, with a paused clock.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{
    BatchResult, Claim, Deferred, Flow, Item, Metrics, Pace, Packing, Patience, Recorded,
    RowFailure, RowTotals, Sink, Source, Stop, StopReason, StorageError, Work, run,
};

/// A row with this text fails for good.
const POISON: &str = "poison";

/// The text of rows that stay due.
const HEAVY: &str = "heavy";

/// A row: its place in the table and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row(usize, String);

impl Item for Row {
    fn id(&self) -> Uuid {
        Uuid::from_u128(self.0 as u128 + 1)
    }
}

impl Item for Uuid {
    fn id(&self) -> Uuid {
        *self
    }
}

fn place(id: Uuid) -> usize {
    usize::try_from(id.as_u128() - 1).unwrap()
}

/// A table and a provider, with a record of what they saw.
struct World {
    /// The text of every row. A row with an empty text is not due.
    texts: Vec<String>,
    /// How many rows a claim looks at.
    window: usize,
    /// How many rows a full batch has.
    batch: usize,
    /// True if a claim leaves out leased rows.
    has_leases: bool,
    claim_takes: Duration,
    call_takes: Duration,
    write_takes: Duration,
    state: Mutex<State>,
    in_flight: AtomicUsize,
    /// A row that somebody else holds for so long.
    locked: Option<(usize, Duration)>,
}

#[derive(Debug, Default)]
struct State {
    leased: HashSet<usize>,
    written: BTreeSet<usize>,
    dead: BTreeSet<usize>,
    claims: usize,
    /// When each call started, and the places of its rows.
    calls: Vec<(Duration, Vec<usize>)>,
    in_flight_max: usize,
}

impl World {
    fn new(texts: Vec<String>) -> Self {
        Self {
            texts,
            window: 50,
            batch: 10,
            has_leases: true,
            claim_takes: Duration::from_millis(10),
            call_takes: Duration::from_millis(200),
            write_takes: Duration::from_millis(20),
            state: Mutex::default(),
            in_flight: AtomicUsize::new(0),
            locked: None,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// How often each text was sent. Rows of one call with the same text count once.
    fn billed(&self) -> BTreeMap<String, u32> {
        let mut billed = BTreeMap::new();
        for (_, rows) in &self.state().calls {
            let texts: BTreeSet<_> = rows.iter().map(|row| &self.texts[*row]).collect();
            for text in texts {
                *billed.entry(text.clone()).or_default() += 1;
            }
        }
        billed
    }

    fn due(&self) -> BTreeSet<usize> {
        (0..self.texts.len())
            .filter(|row| !self.texts[*row].is_empty())
            .collect()
    }
}

#[derive(Clone)]
struct Table(Arc<World>, Instant);

impl Source for Table {
    type Item = Row;

    async fn claim(&self, limit: u32, after: Option<Uuid>) -> Result<Claim<Row>, StorageError> {
        let world = &self.0;
        let first = after.map_or(0, |id| place(id) + 1);
        let (mut rows, mut already_done) = (Vec::new(), 0);
        {
            let mut state = world.state();
            state.claims += 1;
            let done: HashSet<&String> =
                state.written.iter().map(|row| &world.texts[*row]).collect();
            let window = (first..world.texts.len()).take(world.window);
            for row in window.filter(|row| !world.texts[*row].is_empty()) {
                let is_taken = world.has_leases && state.leased.contains(&row);
                if is_taken || state.written.contains(&row) || state.dead.contains(&row) {
                    continue;
                }
                if done.contains(&world.texts[row]) {
                    already_done += 1;
                    rows.push((row, true));
                } else if rows.len() < limit as usize {
                    rows.push((row, false));
                }
            }
            for (row, is_done) in &rows {
                if *is_done {
                    state.written.insert(*row);
                } else {
                    state.leased.insert(*row);
                }
            }
        }
        // Other calls write while the response is under way.
        sleep(world.claim_takes).await;
        let end = first + world.window;
        let rows = rows.into_iter().filter(|(_, is_done)| !is_done);
        Ok(Claim {
            rows: rows
                .map(|(row, _)| Row(row, world.texts[row].clone()))
                .collect(),
            is_leased: world.has_leases,
            next_after: (end < world.texts.len()).then(|| Uuid::from_u128(end as u128)),
            waiting: 0,
            next_attempt: None,
            leased_elsewhere: 0,
            already_done,
        })
    }

    async fn extend(&self, ids: Vec<Uuid>) -> Result<Vec<Uuid>, StorageError> {
        Ok(ids)
    }

    async fn finish(&self, _ids: Vec<Uuid>) -> Result<(), StorageError> {
        Ok(())
    }

    async fn release(&self) -> Result<u64, StorageError> {
        let leased = &mut self.0.state().leased;
        let released = leased.len() as u64;
        leased.clear();
        Ok(released)
    }

    async fn fail(&self, failures: Vec<RowFailure>) -> Result<Recorded, StorageError> {
        let dead: Vec<Uuid> = failures.iter().map(|failure| failure.id).collect();
        let mut state = self.0.state();
        for id in &dead {
            state.leased.remove(&place(*id));
            state.dead.insert(place(*id));
        }
        Ok(Recorded { retrying: 0, dead })
    }

    fn lease(&self) -> Duration {
        Duration::from_secs(90)
    }
}

impl Work for Table {
    type Item = Row;
    type Batch = Vec<Row>;
    type Output = Uuid;

    fn pack(&self, open: Option<Vec<Row>>, rows: Vec<Row>) -> Packing<Vec<Row>> {
        let rows: Vec<Row> = open.into_iter().flatten().chain(rows).collect();
        let mut batches: Vec<_> = rows.chunks(self.0.batch).map(<[Row]>::to_vec).collect();
        let open = batches.pop_if(|batch| batch.len() < self.0.batch);
        Packing {
            batches,
            open,
            skipped: Vec::new(),
            warnings: Vec::new(),
        }
    }

    fn ids(&self, batch: &Vec<Row>) -> Vec<Uuid> {
        batch.iter().map(Item::id).collect()
    }

    async fn run(&self, batch: Vec<Row>) -> BatchResult<Uuid> {
        let in_flight = self.0.in_flight.fetch_add(batch.len(), Ordering::Relaxed) + batch.len();
        {
            let mut state = self.0.state();
            state.in_flight_max = state.in_flight_max.max(in_flight);
            let rows = batch.iter().map(|row| row.0).collect();
            state.calls.push((self.1.elapsed(), rows));
        }
        sleep(self.0.call_takes).await;
        let (heavy, batch): (Vec<_>, Vec<_>) = batch.into_iter().partition(|row| row.1 == HEAVY);
        let (bad, good): (Vec<_>, Vec<_>) = batch.into_iter().partition(|row| row.1 == POISON);
        self.0
            .in_flight
            .fetch_sub(bad.len() + heavy.len(), Ordering::Relaxed);
        let deferred = Deferred {
            ids: heavy.iter().map(Item::id).collect(),
            reason: StopReason::Deferred("raise the limit".to_owned()),
        };
        let failure = |row: &Row| RowFailure {
            id: row.id(),
            reason: "it is poison".to_owned(),
            permanent: true,
        };
        BatchResult {
            outputs: good.iter().map(Item::id).collect(),
            failures: bad.iter().map(failure).collect(),
            deferred: (!heavy.is_empty())
                .then_some(deferred)
                .into_iter()
                .collect(),
            halt: None,
        }
    }
}

impl Sink for Table {
    type Output = Uuid;

    fn rows_max(&self) -> usize {
        self.0.batch
    }

    async fn write(&self, outputs: &[Uuid]) -> Result<(), StorageError> {
        sleep(self.0.write_takes).await;
        let holds = |(row, until): &(usize, Duration)| {
            self.1.elapsed() < *until && outputs.iter().any(|id| place(*id) == *row)
        };
        if self.0.locked.as_ref().is_some_and(holds) {
            return Err(StorageError::TooSlow("canceling statement".to_owned()));
        }
        let mut state = self.0.state();
        for row in outputs.iter().map(|id| place(*id)) {
            state.leased.remove(&row);
            assert!(state.written.insert(row), "row {row} is written twice");
        }
        self.0.in_flight.fetch_sub(outputs.len(), Ordering::Relaxed);
        Ok(())
    }
}

/// Runs the flow over a world with at most `concurrency` batches in flight.
async fn work(world: &Arc<World>, concurrency: usize, stop: Stop) -> RowTotals {
    let metrics = Arc::new(Metrics::default());
    let table = Table(world.clone(), Instant::now());
    let flow = Flow {
        source: table.clone(),
        work: table.clone(),
        sink: table,
    };
    let pace = Pace {
        chunk: 500,
        concurrency,
        limit: None,
        patience: Patience::new("the database", "patience", Duration::from_secs(60)),
    };
    run(flow, pace, stop, metrics.clone()).await;
    metrics.rows()
}

/// Distinct texts. One in `one_in` rows is due.
fn sparse(count: usize, one_in: usize) -> Vec<String> {
    let text = |row: usize| {
        if row.is_multiple_of(one_in) {
            format!("text {row}")
        } else {
            String::new()
        }
    };
    (0..count).map(text).collect()
}

#[tokio::test(start_paused = true)]
async fn sparse_rows_fill_batches_across_claims() {
    for one_in in [1, 7, 13] {
        let world = Arc::new(World::new(sparse(1_000, one_in)));
        let counts = work(&world, 4, Stop::new()).await;
        let due = world.due();
        assert_eq!(counts.written, due.len() as u64);
        assert_eq!(world.state().written, due);
        assert_eq!(
            world.state().calls.len(),
            due.len().div_ceil(10),
            "one in {one_in}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_fills_too_slowly_is_sent_as_it_is() {
    let world = Arc::new(World {
        claim_takes: Duration::from_millis(900),
        ..World::new(sparse(2_000, 50))
    });
    work(&world, 4, Stop::new()).await;
    let calls = &world.state().calls;
    // Each claim brings one row. Two seconds after the first, three more have come.
    assert_eq!(
        calls[0],
        (Duration::from_millis(3_600), vec![0, 50, 100, 150])
    );
    assert!(calls.iter().all(|(_, rows)| rows.len() < 10));
    assert_eq!(
        world.due().len(),
        calls.iter().map(|(_, rows)| rows.len()).sum::<usize>()
    );
}

#[tokio::test(start_paused = true)]
async fn failing_rows_are_found_among_the_others() {
    let mut texts = sparse(400, 1);
    for row in [3, 4, 180, 399] {
        POISON.clone_into(&mut texts[row]);
    }
    let world = Arc::new(World::new(texts));
    let counts = work(&world, 4, Stop::new()).await;
    assert_eq!(
        (counts.selected, counts.written, counts.dead),
        (400, 396, 4)
    );
    assert_eq!(world.state().dead, BTreeSet::from([3, 4, 180, 399]));
}

#[tokio::test(start_paused = true)]
async fn rows_that_stay_due_are_sent_once_and_released_while_the_others_are_written() {
    for has_leases in [true, false] {
        let mut texts = sparse(100, 1);
        // With the last page full of them, a source without leases offers nothing else.
        for row in [3, 90, 91, 92, 93, 94, 95, 96, 97, 98, 99] {
            HEAVY.clone_into(&mut texts[row]);
        }
        let world = Arc::new(World {
            has_leases,
            ..World::new(texts)
        });
        let stop = Stop::new();
        let counts = work(&world, 4, stop.clone()).await;
        assert_eq!((counts.written, counts.dead), (89, 0));
        let calls = world.state().calls.clone();
        let mut sent: Vec<usize> = calls.into_iter().flat_map(|(_, rows)| rows).collect();
        sent.sort_unstable();
        assert_eq!(sent, (0..100).collect::<Vec<_>>());
        assert!(world.state().leased.is_empty());
        let reason = StopReason::Deferred("raise the limit".to_owned());
        assert_eq!(stop.reason(), Some(&reason));
    }
}

#[tokio::test(start_paused = true)]
async fn a_row_that_is_written_while_a_claim_is_under_way_is_sent_once() {
    let world = Arc::new(World {
        has_leases: false,
        claim_takes: Duration::from_millis(300),
        ..World::new(sparse(100, 1))
    });
    let counts = work(&world, 4, Stop::new()).await;
    assert_eq!((counts.selected, counts.written), (100, 100));
    assert!(world.billed().values().all(|times| *times == 1));
}

#[tokio::test(start_paused = true)]
async fn a_stop_writes_what_is_in_flight_and_releases_the_rest() {
    let world = Arc::new(World {
        call_takes: Duration::from_secs(3),
        ..World::new(sparse(600, 1))
    });
    let stop = Stop::new();
    let handle = stop.clone();
    tokio::spawn(async move {
        sleep(Duration::from_secs(1)).await;
        handle.stop(StopReason::Interrupted);
    });
    let counts = work(&world, 3, stop).await;
    assert_eq!(counts.written, 30);
    assert!(world.state().leased.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_source_without_leases_has_no_row_sent_twice() {
    let world = Arc::new(World {
        has_leases: false,
        call_takes: Duration::from_secs(2),
        ..World::new(sparse(300, 2))
    });
    let counts = work(&world, 2, Stop::new()).await;
    assert_eq!((counts.selected, counts.written), (150, 150));
    assert!(world.billed().values().all(|times| *times == 1));
}

#[tokio::test(start_paused = true)]
async fn at_most_concurrency_batches_are_unwritten_while_the_database_is_slow() {
    for concurrency in [1, 3] {
        let world = Arc::new(World {
            write_takes: Duration::from_secs(5),
            ..World::new(sparse(300, 1))
        });
        let counts = work(&world, concurrency, Stop::new()).await;
        assert_eq!(counts.written, 300);
        assert_eq!(world.state().in_flight_max, concurrency * 10);
    }
}

#[tokio::test(start_paused = true)]
async fn a_locked_row_is_waited_for_and_not_blamed() {
    let world = Arc::new(World {
        locked: Some((17, Duration::from_secs(40))),
        ..World::new(sparse(60, 1))
    });
    let stop = Stop::new();
    let counts = work(&world, 4, stop.clone()).await;
    assert_eq!((counts.written, counts.dead), (60, 0));
    assert_eq!(stop.reason(), None);

    // Longer than the patience.
    let world = Arc::new(World {
        locked: Some((17, Duration::from_secs(400))),
        ..World::new(sparse(60, 1))
    });
    let stop = Stop::new();
    let counts = work(&world, 4, stop.clone()).await;
    assert_eq!((counts.written, counts.dead), (59, 0));
    assert!(matches!(stop.reason(), Some(StopReason::Database(_))));
    assert!(world.state().leased.is_empty());
}
