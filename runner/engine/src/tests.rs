//! The engine over a table in memory, with a clock that tokio moves on.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{
    Claim, Done, Flow, Item, Likeness, Pace, Plan, Recorded, RowFailure, RowTotals, Sink, Source,
    Stop, StopReason, StoreError, Tally, Work, run,
};

/// Who reads this text fails, for good.
const POISON: &str = "poison";

/// A row: its place in the table, and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row(usize, String);

impl Item for Row {
    fn id(&self) -> Uuid {
        Uuid::from_u128(self.0 as u128 + 1)
    }
}

fn place(id: Uuid) -> usize {
    usize::try_from(id.as_u128() - 1).unwrap()
}

/// A table, a provider and what both have seen.
struct World {
    /// Of every row; empty where a row is not due.
    texts: Vec<String>,
    /// Rows that a claim looks at.
    window: usize,
    /// Rows of a full batch.
    batch: usize,
    /// Whether a claim leaves out the rows that are leased.
    has_leases: bool,
    /// Whether rows with the same text are alike.
    has_likeness: bool,
    claim_takes: Duration,
    call_takes: Duration,
    write_takes: Duration,
    state: Mutex<State>,
    in_flight: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    leased: HashSet<usize>,
    written: BTreeSet<usize>,
    dead: BTreeSet<usize>,
    claims: usize,
    /// When each call left, and the places of its rows.
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
            has_likeness: true,
            claim_takes: Duration::from_millis(10),
            call_takes: Duration::from_millis(200),
            write_takes: Duration::from_millis(20),
            state: Mutex::default(),
            in_flight: AtomicUsize::new(0),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// How often each text was sent; rows of one call that have it share the cost.
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

    async fn claim(&self, limit: u32, after: Option<Uuid>) -> Result<Claim<Row>, StoreError> {
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
        // The answer is under way while others write.
        sleep(world.claim_takes).await;
        let end = first + world.window;
        let rows = rows.into_iter().filter(|(_, is_done)| !is_done);
        Ok(Claim {
            rows: rows
                .map(|(row, _)| Row(row, world.texts[row].clone()))
                .collect(),
            next_after: (end < world.texts.len()).then(|| Uuid::from_u128(end as u128)),
            waiting: 0,
            next_attempt: None,
            leased_elsewhere: 0,
            already_done,
        })
    }

    async fn extend(&self, ids: Vec<Uuid>) -> Result<Vec<Uuid>, StoreError> {
        Ok(ids)
    }

    async fn finish(&self, _ids: Vec<Uuid>) -> Result<(), StoreError> {
        Ok(())
    }

    async fn release(&self, ids: Option<Vec<Uuid>>) -> Result<u64, StoreError> {
        let leased = &mut self.0.state().leased;
        let before = leased.len();
        match ids {
            Some(ids) => leased.retain(|row| !ids.contains(&Row(*row, String::new()).id())),
            None => leased.clear(),
        }
        Ok((before - leased.len()) as u64)
    }

    async fn fail(&self, failures: Vec<RowFailure>) -> Result<Recorded, StoreError> {
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

    fn likeness(&self, row: &Row) -> Option<Likeness> {
        let mut likeness = [0; 32];
        let bytes = likeness.iter_mut().zip(row.1.bytes());
        bytes.for_each(|(place, byte)| *place = byte);
        self.0.has_likeness.then_some(likeness)
    }

    fn plan(&self, open: Option<Vec<Row>>, rows: Vec<Row>) -> Plan<Vec<Row>> {
        let rows: Vec<Row> = open.into_iter().flatten().chain(rows).collect();
        let mut batches: Vec<_> = rows.chunks(self.0.batch).map(<[Row]>::to_vec).collect();
        let open = batches.pop_if(|batch| batch.len() < self.0.batch);
        Plan {
            batches,
            open,
            skipped: Vec::new(),
            remarks: Vec::new(),
        }
    }

    fn ids(&self, batch: &Vec<Row>) -> Vec<Uuid> {
        batch.iter().map(Item::id).collect()
    }

    async fn run(&self, batch: Vec<Row>) -> Done<Uuid> {
        let in_flight = self.0.in_flight.fetch_add(batch.len(), Ordering::Relaxed) + batch.len();
        {
            let mut state = self.0.state();
            state.in_flight_max = state.in_flight_max.max(in_flight);
            let rows = batch.iter().map(|row| row.0).collect();
            state.calls.push((self.1.elapsed(), rows));
        }
        sleep(self.0.call_takes).await;
        let (bad, good): (Vec<_>, Vec<_>) = batch.into_iter().partition(|row| row.1 == POISON);
        self.0.in_flight.fetch_sub(bad.len(), Ordering::Relaxed);
        let failure = |row: &Row| RowFailure {
            id: row.id(),
            reason: "it is poison".to_owned(),
            permanent: true,
        };
        Done {
            outputs: good.iter().map(Item::id).collect(),
            failures: bad.iter().map(failure).collect(),
            halt: None,
        }
    }
}

impl Sink for Table {
    type Output = Uuid;

    fn id(output: &Uuid) -> Uuid {
        *output
    }

    fn rows_max(&self) -> usize {
        self.0.batch
    }

    async fn write(&self, outputs: &[Uuid]) -> Result<(), StoreError> {
        sleep(self.0.write_takes).await;
        let mut state = self.0.state();
        for row in outputs.iter().map(|id| place(*id)) {
            state.leased.remove(&row);
            assert!(state.written.insert(row), "row {row} is written twice");
        }
        self.0.in_flight.fetch_sub(outputs.len(), Ordering::Relaxed);
        Ok(())
    }
}

/// Runs the flow over a world, with so many batches in flight at once.
async fn work(world: &Arc<World>, concurrency: usize, stop: Stop) -> RowTotals {
    let tally = Arc::new(Tally::default());
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
        patience: Duration::from_secs(60),
    };
    run(flow, pace, stop, tally.clone()).await;
    tally.rows()
}

/// Texts of their own, due where their place is a multiple of `one_in`.
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
async fn a_batch_that_fills_too_slowly_leaves_as_it_is() {
    let world = Arc::new(World {
        claim_takes: Duration::from_millis(900),
        ..World::new(sparse(2_000, 50))
    });
    work(&world, 4, Stop::new()).await;
    let calls = &world.state().calls;
    // A row a claim: two seconds after the first of them, three have come.
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
async fn what_is_alike_is_paid_for_once_however_long_each_step_takes() {
    let (short, long) = (Duration::from_millis(7), Duration::from_millis(330));
    for steps in 0..8 {
        let takes = |bit: u8| if steps & bit == 0 { short } else { long };
        let texts = (0..600).map(|row| format!("text {}", row % 90)).collect();
        let world = Arc::new(World {
            claim_takes: takes(1),
            call_takes: takes(2),
            write_takes: takes(4),
            ..World::new(texts)
        });
        let counts = work(&world, 3, Stop::new()).await;
        assert_eq!(
            (counts.selected, counts.written),
            (600, 600),
            "steps {steps}"
        );
        assert_eq!(world.billed().len(), 90);
        assert!(
            world.billed().values().all(|times| *times == 1),
            "steps {steps}"
        );
        assert!(world.state().leased.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_table_of_one_text_is_not_claimed_over_and_over_while_that_is_in_flight() {
    let world = Arc::new(World {
        batch: 50,
        call_takes: Duration::from_secs(10),
        ..World::new(vec!["again".to_owned(); 1_000])
    });
    let counts = work(&world, 4, Stop::new()).await;
    assert_eq!((counts.selected, counts.written), (1_000, 1_000));
    assert_eq!(world.billed().len(), 1);
    // Twenty windows: once to copy, once to see that nothing is left, and one claim that came too early.
    assert!(world.state().claims <= 41, "{}", world.state().claims);
}

#[tokio::test(start_paused = true)]
async fn rows_that_wait_for_one_that_fails_fail_themselves() {
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
async fn a_stop_gives_back_what_waits_for_another() {
    let world = Arc::new(World {
        call_takes: Duration::from_secs(3),
        ..World::new((0..600).map(|row| format!("text {}", row % 70)).collect())
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
        has_likeness: false,
        call_takes: Duration::from_secs(2),
        ..World::new(sparse(300, 2))
    });
    let counts = work(&world, 2, Stop::new()).await;
    assert_eq!((counts.selected, counts.written), (150, 150));
    assert!(world.billed().values().all(|times| *times == 1));
}

#[tokio::test(start_paused = true)]
async fn no_more_than_the_concurrency_is_unwritten_however_slow_the_database() {
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
