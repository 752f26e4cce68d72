//! Whether a response has every row, and how the rest is read.
//!
//! A server with a row limit cuts what it returns, and does not say so. A response with fewer rows
//! than the server has returned before is whole. After any other one, the next row is asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use http::Method;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::{Execute, Learned, Query};
use crate::error::{ContentRange, Error, ErrorKind};
use crate::grammar::Selection;
use crate::request::{Call, Count, Draft, Format, Page, Response, Safety, rows};

/// A read or a call that may be sent several times, for one part of its rows each time.
pub(super) trait Paged: Sync {
    type Context: Execute;

    fn context(&self) -> &Self::Context;
    fn query(&self) -> &Query;
    /// The request for another part of the same rows.
    fn part(&self, query: &Query) -> Result<Call, Error>;
    /// The error for rows that cannot be read on.
    fn truncated(&self, rows: u64) -> Error;
}

/// Reads one response.
pub(super) async fn fetch<P: Paged, V: DeserializeOwned>(
    paged: &P,
    query: &Query,
) -> Result<Page<V>, Error> {
    match paged.context().execute(paged.part(query)?).await {
        Ok(response) => response.page(),
        Err(error) => past_the_end(error),
    }
}

/// With a count, the server refuses an offset past the end. Without one, it returns an empty page.
fn past_the_end<V>(error: Error) -> Result<Page<V>, Error> {
    if error.code() != Some("PGRST103") || error.total().is_none() {
        return Err(error);
    }
    let range = ContentRange {
        rows: None,
        total: error.total(),
    };
    Ok(Page::new(Vec::new(), Some(range)))
}

/// Reads one page, and finds out whether more rows follow.
pub(super) async fn page<P: Paged, V: DeserializeOwned>(paged: &P) -> Result<Page<V>, Error> {
    let mut query = paged.query().clone();
    if query.options.prefer.count == Some(Count::Exact) {
        let page = fetch(paged, &query).await?;
        if page.more.is_some() {
            return Ok(page);
        }
    }
    let limit = query.window.limit;
    // One row more shows whether there is one.
    query.window.limit = limit.map(|limit| limit.saturating_add(1));
    let mut page: Page<V> = fetch(paged, &query).await?;
    let rows = page.rows.len() as u64;
    page.more = Some(match limit {
        Some(limit) if rows > limit => {
            page.rows
                .truncate(usize::try_from(limit).unwrap_or(usize::MAX));
            true
        }
        _ => has_more(paged, &query, rows).await?,
    });
    Ok(page)
}

/// Whether rows follow the first `rows` ones, after a response with these.
pub(super) async fn has_more<P: Paged>(paged: &P, query: &Query, rows: u64) -> Result<bool, Error> {
    if rows == 0 || query.window.limit.is_some_and(|limit| rows >= limit) {
        return Ok(false);
    }
    if is_whole(paged.context(), rows) {
        return Ok(false);
    }
    let next = Query {
        window: query.window.part(rows, Some(1)),
        ..query.clone()
    };
    let page: Page<IgnoredAny> = fetch(paged, &next).await?;
    if let Some(learned) = paged.context().learned() {
        learned.returned(rows);
    }
    Ok(!page.rows.is_empty())
}

/// Whether a response with this many rows cannot have been cut.
pub(super) fn is_whole<C: Execute>(context: &C, rows: u64) -> bool {
    match context.learned() {
        Some(learned) => learned.is_whole(rows),
        None => Learned::default().is_whole(rows),
    }
}

/// The query in an order that does not change from part to part, if there is one: the caller's with
/// the primary key behind it. Groups have no primary key.
pub(super) fn in_stable_order(query: &Query) -> Option<Query> {
    let mut query = query.clone();
    let selection = query.selection.as_ref();
    if !selection.is_some_and(Selection::has_aggregates) {
        for key in &query.endpoint.primary_key {
            if !query
                .window
                .keys
                .iter()
                .any(|other| other.target == key.target)
            {
                query.window.keys.push(key.clone());
            }
        }
    }
    (!query.window.keys.is_empty()).then_some(query)
}

/// Reads every row, part by part, by offset. `first` is what came of a request that was not in a
/// stable order, unless the caller's order was the stable one.
pub(super) async fn by_offset<P: Paged, V: DeserializeOwned>(
    paged: &P,
    first: Vec<V>,
) -> Result<Vec<V>, Error> {
    let mut rows = first;
    let Some(stable) = in_stable_order(paged.query()) else {
        return Err(paged.truncated(rows.len() as u64));
    };
    if stable.window.keys != paged.query().window.keys {
        rows.clear();
    }
    loop {
        let done = rows.len() as u64;
        let window = stable.window.part(done, None);
        if window.limit == Some(0) {
            return Ok(rows);
        }
        let part = Query {
            window,
            ..stable.clone()
        };
        let page: Page<V> = fetch(paged, &part).await?;
        if page.rows.is_empty() {
            return Ok(rows);
        }
        rows.extend(page.rows);
    }
}

/// Reads every row one by one, as the responses arrive. A second response is asked for only if the
/// first may have been cut, and so on until one has no rows.
pub(super) fn row_by_row<P, V>(paged: P) -> BoxStream<'static, Result<V, Error>>
where
    P: Paged + Send + 'static,
    V: DeserializeOwned + Send + 'static,
{
    let stable = in_stable_order(paged.query());
    let state = Parts {
        query: stable.clone().unwrap_or_else(|| paged.query().clone()),
        is_stable: stable.is_some(),
        paged,
        before: 0,
        counted: Arc::new(AtomicU64::new(0)),
        has_begun: false,
    };
    stream::try_unfold(state, |mut state| async move {
        let part = state.next().await?;
        Ok::<_, Error>(part.map(|part| (part, state)))
    })
    .try_flatten()
    .boxed()
}

/// The parts of a stream of rows.
struct Parts<P> {
    paged: P,
    query: Query,
    is_stable: bool,
    /// The rows of the parts before the current one.
    before: u64,
    /// The rows of the current part so far.
    counted: Arc<AtomicU64>,
    has_begun: bool,
}

impl<P: Paged> Parts<P> {
    async fn next<V>(&mut self) -> Result<Option<BoxStream<'static, Result<V, Error>>>, Error>
    where
        V: DeserializeOwned + Send + 'static,
    {
        if self.has_begun {
            let rows = self.counted.swap(0, Ordering::Relaxed);
            let is_first = self.before == 0;
            self.before += rows;
            let ended = self
                .query
                .window
                .limit
                .is_some_and(|limit| self.before >= limit);
            if rows == 0 || ended || (is_first && is_whole(self.paged.context(), rows)) {
                return Ok(None);
            }
            if is_first && !has_more(&self.paged, &self.query, rows).await? {
                return Ok(None);
            }
            if !self.is_stable {
                return Err(self.paged.truncated(rows));
            }
        }
        self.has_begun = true;
        let part = Query {
            window: self.query.window.part(self.before, None),
            ..self.query.clone()
        };
        let call = self.paged.part(&part)?;
        let failed_call = call.clone();
        let body = self.paged.context().open(call).await?;
        let counted = Arc::clone(&self.counted);
        let rows = rows::<V>(body)
            .inspect_ok(move |_| {
                counted.fetch_add(1, Ordering::Relaxed);
            })
            .map_err(move |error| failed_call.failed(error, 0));
        Ok(Some(rows.boxed()))
    }
}

/// How many rows a response has, by its headers.
pub(super) fn rows_of(response: &Response) -> u64 {
    let rows = response.range().and_then(|range| range.rows);
    rows.map_or(0, |(first, last)| (last + 1).saturating_sub(first))
}

pub(super) fn truncated(rows: u64, way_out: &str) -> Error {
    let message = format!("the server's row limit cut the result after {rows} rows, and {way_out}");
    Error::new(ErrorKind::Truncated, message)
}

/// Adds the number of matching rows, up to two, to an error that does not say it.
pub(super) async fn with_row_count<C: Execute>(context: &C, query: &Query, error: Error) -> Error {
    if !error.lacks_row_count() {
        return error;
    }
    let mut query = query.clone();
    query.window.limit = Some(2);
    let schema = context.defaults().schema.as_deref();
    let call = query
        .draft(Method::GET, Safety::Read, Format::Json, schema)
        .and_then(Draft::build);
    let found = async { context.execute(call?).await?.json::<Vec<IgnoredAny>>() };
    match found.await {
        Ok(rows) => error.with_rows_found(rows.len() as u64),
        Err(_) => error,
    }
}
