//! Lists that end after a number of rows.

use futures_util::TryStreamExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sluice_sdk::{Client, query::Keyset};

use crate::db::DatabaseError;
use crate::error::Error;
use crate::output::Printer;

/// The first rows of a read, and whether there are more.
///
/// It reads page by page: a server returns at most 1000 rows at once, or fewer if it is set up so.
pub(super) async fn up_to<T, V>(
    limit: u32,
    read: Keyset<T, V, Client>,
) -> Result<(Vec<V>, bool), DatabaseError>
where
    T: 'static,
    V: DeserializeOwned + Send + 'static,
{
    let most = limit.try_into().unwrap_or(usize::MAX);
    let mut pages = read.page_rows((u64::from(limit) + 1).min(1_000)).pages();
    let mut rows = Vec::new();
    while rows.len() <= most
        && let Some(page) = pages.try_next().await?
    {
        rows.extend(page);
    }
    let more = rows.len() > most;
    rows.truncate(most);
    Ok((rows, more))
}

/// Prints a list, and says if it is not all.
pub(super) fn print_list<T: Serialize>(
    printer: Printer,
    rows: &[T],
    more: bool,
    table: impl FnOnce(&[T]) -> String,
) -> Result<(), Error> {
    printer.either(&rows, || table(rows))?;
    if more {
        let shown = rows.len();
        tracing::warn!("the list ends after {shown}, and there are more; --limit shows more");
    }
    Ok(())
}
