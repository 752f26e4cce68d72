//! What a flow has done so far, counted in one place by all its tasks.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

use uuid::Uuid;

use super::flow::{Remark, RowFailure};

/// At most this many failures are kept; the counts are always whole.
pub const FAILURES_MAX: usize = 1_000;

/// Rows, by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RowTotals {
    /// Rows that were due and taken up.
    pub selected: u64,
    /// Rows whose result is in the database.
    pub written: u64,
    /// Rows that needed no work after all.
    pub skipped: u64,
    /// Rows that failed, the dead ones among them.
    pub failed: u64,
    /// Rows that were moved to the dead letters.
    pub dead: u64,
}

/// The counters of a running flow.
#[derive(Debug, Default)]
pub struct Tally {
    selected: AtomicU64,
    written: AtomicU64,
    skipped: AtomicU64,
    failed: AtomicU64,
    dead: AtomicU64,
    notes: Mutex<Notes>,
}

#[derive(Debug, Default)]
struct Notes {
    failures: Vec<RowFailure>,
    warnings: Vec<String>,
    remarks: BTreeMap<&'static str, Remarks>,
}

/// The rows of which the same is said.
#[derive(Debug, Default)]
struct Remarks {
    count: u64,
    first: Vec<Uuid>,
}

/// At most this many rows are named with what is said of them.
const NAMED_MAX: usize = 10;

/// At most this many warnings are kept.
const WARNINGS_MAX: usize = 100;

impl Tally {
    /// Rows were claimed.
    pub fn selected(&self, rows: usize) {
        add(&self.selected, rows);
    }

    /// Rows' results are in the database.
    pub fn written(&self, rows: usize) {
        add(&self.written, rows);
    }

    /// Rows needed no work after all.
    pub fn skipped(&self, rows: usize) {
        add(&self.skipped, rows);
    }

    /// A row has failed and was set aside for good.
    pub fn set_aside(&self, failure: RowFailure) {
        add(&self.failed, 1);
        add(&self.dead, 1);
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        if notes.failures.len() < FAILURES_MAX {
            notes.failures.push(failure);
        }
    }

    /// Something worth knowing; the same sentence is kept once.
    pub fn warn(&self, warning: impl Into<String>) {
        let warning = warning.into();
        tracing::warn!("{warning}");
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        if notes.warnings.len() < WARNINGS_MAX && !notes.warnings.contains(&warning) {
            notes.warnings.push(warning);
        }
    }

    /// Something worth knowing of a row; rows of which the same is said share a warning.
    pub fn remark(&self, remark: Remark) {
        tracing::debug!(row = %remark.id, "{}", remark.what);
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        let remarks = notes.remarks.entry(remark.what).or_default();
        remarks.count += 1;
        if remarks.first.len() < NAMED_MAX {
            remarks.first.push(remark.id);
        }
    }

    /// Rows, by what became of them.
    pub fn rows(&self) -> RowTotals {
        RowTotals {
            selected: get(&self.selected),
            written: get(&self.written),
            skipped: get(&self.skipped),
            failed: get(&self.failed),
            dead: get(&self.dead),
        }
    }

    /// The rows that failed (the first thousand), and the warnings.
    pub fn take_notes(&self) -> (Vec<RowFailure>, Vec<String>) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut notes = std::mem::take(&mut *notes);
        let remarks = notes.remarks.iter().map(|(what, rows)| rows.sentence(what));
        notes.warnings.extend(remarks);
        (notes.failures, notes.warnings)
    }
}

impl Remarks {
    fn sentence(&self, what: &str) -> String {
        let rows = if self.count == 1 { "row" } else { "rows" };
        let named: Vec<String> = self.first.iter().map(Uuid::to_string).collect();
        let others = if self.count > NAMED_MAX as u64 {
            ", …"
        } else {
            ""
        };
        format!("{} {rows} {what}: {}{others}", self.count, named.join(", "))
    }
}

fn add(counter: &AtomicU64, rows: usize) {
    counter.fetch_add(rows as u64, Ordering::Relaxed);
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_whole_where_names_are_cut() {
        let tally = Tally::default();
        for _ in 0..FAILURES_MAX + 5 {
            tally.set_aside(RowFailure {
                id: Uuid::nil(),
                reason: "x".to_owned(),
                permanent: true,
            });
        }
        assert_eq!(tally.rows().failed, FAILURES_MAX as u64 + 5);
        assert_eq!(tally.take_notes().0.len(), FAILURES_MAX);
    }

    #[test]
    fn rows_of_which_the_same_is_said_share_a_warning() {
        let tally = Tally::default();
        for row in 0..12 {
            let (id, what) = (Uuid::from_u128(row), "too long");
            tally.remark(Remark { id, what });
        }
        tally.remark(Remark {
            id: Uuid::nil(),
            what: "odd",
        });
        let warnings = tally.take_notes().1;
        assert_eq!(warnings[0], format!("1 row odd: {}", Uuid::nil()));
        let (ten, eleven) = (Uuid::from_u128(9), Uuid::from_u128(10));
        assert!(
            warnings[1].starts_with("12 rows too long: 0"),
            "{}",
            warnings[1]
        );
        assert!(
            warnings[1].ends_with(&format!("{ten}, …")),
            "{}",
            warnings[1]
        );
        assert!(!warnings[1].contains(&eleven.to_string()));
    }

    #[test]
    fn a_warning_is_kept_once() {
        let tally = Tally::default();
        tally.warn("cut");
        tally.warn("cut");
        assert_eq!(tally.take_notes().1, ["cut"]);
    }
}
