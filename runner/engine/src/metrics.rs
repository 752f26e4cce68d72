//! What a flow has done so far.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use super::flow::{RowFailure, RowWarning};
use super::words::count;

/// The most failures that are kept. The counts include all of them.
pub const FAILURES_MAX: usize = 1_000;

/// Counts of rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RowTotals {
    /// Due rows that the run took up.
    pub selected: u64,
    /// Rows whose result is in the database.
    pub written: u64,
    /// Rows that needed no work.
    pub skipped: u64,
    /// Rows that failed for good. All of them are dead letters.
    pub failed: u64,
    /// Rows that were moved to the dead letters.
    pub dead: u64,
}

/// The counters of a running flow.
#[derive(Debug, Default)]
pub struct Metrics {
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
    row_warnings: BTreeMap<&'static str, Warned>,
}

/// The rows with one warning.
#[derive(Debug, Default)]
struct Warned {
    count: u64,
    first: Vec<Uuid>,
}

/// The most rows that a warning names.
const NAMED_MAX: usize = 10;

/// The most warnings that are kept.
const WARNINGS_MAX: usize = 100;

impl Metrics {
    /// Counts rows that were claimed.
    pub fn selected(&self, rows: usize) {
        add(&self.selected, rows);
    }

    /// Counts rows whose results are in the database.
    pub fn written(&self, rows: usize) {
        add(&self.written, rows);
    }

    /// Counts rows that needed no work.
    pub fn skipped(&self, rows: usize) {
        add(&self.skipped, rows);
    }

    /// Counts a row that became a dead letter.
    pub fn dead_lettered(&self, failure: RowFailure) {
        add(&self.failed, 1);
        add(&self.dead, 1);
        let mut notes = self.notes();
        if notes.failures.len() < FAILURES_MAX {
            notes.failures.push(failure);
        }
    }

    /// Adds a warning. The same sentence is kept once.
    pub fn warn(&self, warning: impl Into<String>) {
        let warning = warning.into();
        tracing::warn!("{warning}");
        let mut notes = self.notes();
        if notes.warnings.len() < WARNINGS_MAX && !notes.warnings.contains(&warning) {
            notes.warnings.push(warning);
        }
    }

    /// Adds a warning about a row. Rows with the same warning share a sentence.
    pub fn warn_of_row(&self, warning: RowWarning) {
        tracing::debug!(row = %warning.id, "{}", warning.what);
        let mut notes = self.notes();
        let rows = notes.row_warnings.entry(warning.what).or_default();
        rows.count += 1;
        if rows.first.len() < NAMED_MAX {
            rows.first.push(warning.id);
        }
    }

    /// The counts so far.
    pub fn rows(&self) -> RowTotals {
        RowTotals {
            selected: get(&self.selected),
            written: get(&self.written),
            skipped: get(&self.skipped),
            failed: get(&self.failed),
            dead: get(&self.dead),
        }
    }

    /// Takes the failures (at most [`FAILURES_MAX`]) and the warnings.
    pub fn take_notes(&self) -> (Vec<RowFailure>, Vec<String>) {
        let mut notes = self.notes();
        let Notes {
            failures,
            mut warnings,
            row_warnings,
        } = std::mem::take(&mut *notes);
        warnings.extend(row_warnings.iter().map(|(what, rows)| rows.sentence(what)));
        (failures, warnings)
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Warned {
    fn sentence(&self, what: &str) -> String {
        let rows = count(self.count, "row");
        let named: Vec<String> = self.first.iter().map(Uuid::to_string).collect();
        let more = self.count > NAMED_MAX as u64;
        let others = if more { ", …" } else { "" };
        format!("{rows} {what}: {}{others}", named.join(", "))
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
    fn counts_include_failures_that_are_not_kept() {
        let metrics = Metrics::default();
        for _ in 0..FAILURES_MAX + 5 {
            metrics.dead_lettered(RowFailure {
                id: Uuid::nil(),
                reason: "x".to_owned(),
                permanent: true,
            });
        }
        assert_eq!(metrics.rows().failed, FAILURES_MAX as u64 + 5);
        assert_eq!(metrics.take_notes().0.len(), FAILURES_MAX);
    }

    #[test]
    fn rows_with_the_same_warning_share_a_sentence() {
        let metrics = Metrics::default();
        for row in 0..12 {
            let (id, what) = (Uuid::from_u128(row), "too long");
            metrics.warn_of_row(RowWarning { id, what });
        }
        metrics.warn_of_row(RowWarning {
            id: Uuid::nil(),
            what: "odd",
        });
        let warnings = metrics.take_notes().1;
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
        let metrics = Metrics::default();
        metrics.warn("cut");
        metrics.warn("cut");
        assert_eq!(metrics.take_notes().1, ["cut"]);
    }
}
