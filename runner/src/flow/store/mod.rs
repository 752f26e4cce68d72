//! The store flow: lines of JSON or CSV become posts, each in its neighborhood.

mod batch;
mod input;
pub mod line;
mod neighborhood;
pub mod posted;
mod run;
pub mod slug;
mod zstd;

use std::io::Cursor;
use std::path::Path;

use tokio::time::Instant;

pub use self::input::InputFormat;
use self::input::{InputError, Lines};
pub use self::neighborhood::{NeighborhoodIds, NeighborhoodWriter};
pub use self::run::StoreOptions;
use self::run::{Shelf, StoreError, Stored};
use crate::db::Database;
use crate::engine::Stop;
use crate::error::Error;
use crate::exit::Exit;
use crate::report::{Counts, Outcome, Report};
use crate::text::count;

/// Stores the posts of a file; `-` is stdin. Without a format, the name of the file decides.
///
/// # Errors
/// If the file cannot be opened. Later errors are in the outcome, with what was stored.
pub async fn store_file(
    database: &Database,
    path: &Path,
    format: Option<InputFormat>,
    options: StoreOptions,
    stop: &Stop,
) -> Result<Outcome, Error> {
    Ok(store(database, Lines::open(path, format)?, options, stop).await)
}

/// Stores the posts of a text.
pub async fn store_text(
    database: &Database,
    text: &str,
    options: StoreOptions,
    stop: &Stop,
) -> Outcome {
    let lines = Lines::new(Cursor::new(text.to_owned()), InputFormat::Jsonl);
    store(database, lines, options, stop).await
}

async fn store(
    database: &Database,
    mut lines: Lines,
    options: StoreOptions,
    stop: &Stop,
) -> Outcome {
    let (started, before) = (Instant::now(), database.requests());
    let mut stored = Stored::default();
    let shelf = (!options.dry_run).then(|| Shelf::new(&database.until_stopped(stop)));
    let result = tokio::select! {
        result = run::store(shelf.as_ref(), &mut lines, options, stop, &mut stored) => result,
        // The batch in flight may be stored or not. The next run finds out.
        () = stop.aborted() => Ok(()),
    };
    let mut report = Report::new("store", Counts::Store(stored.counts));
    let (sent, retried) = database.requests();
    report.requests.supabase = sent - before.0;
    report.requests.retried = retried - before.1;
    report.dry_run = options.dry_run;
    report.failures = stored.failures;
    report.warnings = stored.warnings;
    let unlisted = report.failed() - report.failures.len() as u64;
    if unlisted > 0 {
        let more = count(unlisted, "more line");
        report
            .warnings
            .push(format!("and {more} failed than are listed"));
    }
    if stored.more_warnings > 0 {
        let more = count(stored.more_warnings, "more warning");
        report.warnings.push(format!("and {more} of this kind"));
    }
    let report = report.finished(started.elapsed(), crate::memory::peak_bytes());
    // What a stop leaves is not stored.
    let is_stopped = matches!(&result, Err(StoreError::Halt(_)) if stop.is_stopped());
    let Some(error) = result.err().filter(|_| !is_stopped) else {
        let limit = options.limit.filter(|_| stored.more_remains);
        return Outcome::of_run(report, stop.reason(), limit);
    };
    let exit = match &error {
        StoreError::Halt(reason) => Exit::from(reason),
        StoreError::Input(InputError::Read(_)) => Exit::Unexpected,
        StoreError::Input(_) => Exit::Usage,
    };
    let reason = match exit {
        Exit::Usage => error.to_string(),
        _ => format!("{error}; run it again: stored posts are skipped"),
    };
    Outcome::stopped(report, exit, reason)
}
