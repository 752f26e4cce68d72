//! What a client finds out about its server.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// What a client has found out about its server: how many rows it returns at least, and whether it
/// rolls back a dry run. Clones of a client share it.
#[derive(Debug)]
pub struct Learned {
    /// A response with fewer rows than this was not cut.
    whole_below: AtomicU64,
    rolls_back: Mutex<Option<bool>>,
}

/// No server in use has a row limit below this.
const SMALLEST_LIMIT: u64 = 100;

impl Default for Learned {
    fn default() -> Self {
        Self::new(None)
    }
}

impl Learned {
    /// Knows the server's row limit, or nothing.
    pub(crate) fn new(max_rows: Option<u64>) -> Self {
        Self {
            whole_below: AtomicU64::new(max_rows.unwrap_or(SMALLEST_LIMIT)),
            rolls_back: Mutex::new(None),
        }
    }

    /// Whether a response with this many rows cannot have been cut.
    pub(super) fn is_whole(&self, rows: u64) -> bool {
        rows < self.whole_below.load(Ordering::Relaxed)
    }

    /// Notes that the server returned this many rows in one response.
    pub(super) fn returned(&self, rows: u64) {
        self.whole_below.fetch_max(rows, Ordering::Relaxed);
    }

    pub(super) fn rolls_back(&self) -> Option<bool> {
        *self
            .rolls_back
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_rolls_back(&self, rolls_back: bool) {
        *self
            .rolls_back
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(rolls_back);
    }
}
