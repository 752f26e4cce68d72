//! Writing the rows of a stream.

use std::future::IntoFuture;
use std::marker::PhantomData;
use std::pin::pin;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::{Stream, TryStreamExt};
use serde::Serialize;

use super::{Checkpoint, Progress, WriteSpec, driver};
use crate::error::{Error, RejectedRow, WriteReport};
use crate::query::{Context, Endpoint, Execute};

/// An insert or an upsert of the rows that a stream yields. Awaiting it returns a [`StreamReport`].
///
/// It holds as many rows as its requests at once do: [`chunk_rows`](Self::chunk_rows) times
/// [`concurrency`](Self::concurrency). These are written as a [`Write`](super::Write) writes them, and
/// then the next ones are read, so that the later of two rows with one conflict key wins. The stream
/// yields a `Result`, because most sources can fail; its first error ends the write.
///
/// ```no_run
/// # use std::convert::Infallible;
/// # use sluice_sdk::{Client, Error, Table, futures_util::stream, serde::Serialize};
/// # #[derive(Table, Serialize)] #[serde(crate = "sluice_sdk::serde")] #[table(name = "posts")]
/// # struct Post { #[table(primary_key)] id: i64 }
/// # async fn run(db: Client) -> Result<(), Error> {
/// let rows = stream::iter((0..1_000_000).map(|id| Ok::<_, Infallible>(Post { id })));
/// let report = db.from::<Post>().upsert_stream(rows).await?;
/// assert_eq!(report.rows, 1_000_000);
/// # Ok(()) }
/// ```
///
/// If it fails, the error's [`write_report`](Error::write_report) has the totals, and the lists of the
/// rows that were held then, by their number in the stream.
#[must_use = "a write does nothing until it is awaited"]
pub struct WriteStream<T, S, K, C> {
    context: C,
    source: S,
    /// How the rows are written. It holds none itself.
    pub(super) spec: WriteSpec<'static, ()>,
    marker: PhantomData<fn() -> (T, K)>,
}

/// What a write did with the rows of a stream. It does not grow with their number, except for the rows
/// that were refused ([`max_failures`](WriteStream::max_failures)).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct StreamReport {
    /// How many rows the stream yielded.
    pub rows: u64,
    /// How many rows were in requests that were written.
    pub written: u64,
    /// How many rows the database inserted or changed.
    pub affected: u64,
    /// How many rows were not sent, because a later row has the same conflict key.
    pub superseded: u64,
    /// How many requests got a response.
    pub requests: u32,
    /// The rows that the database refused, each with its number in the stream and its reason.
    pub failed: Vec<RejectedRow>,
}

impl<T, S, K, C: Context> WriteStream<T, S, K, C> {
    pub(crate) fn new(context: C, endpoint: Endpoint, source: S, upsert: bool) -> Self {
        let spec = WriteSpec::new(&[], endpoint, upsert, context.defaults());
        Self {
            context,
            source,
            spec,
            marker: PhantomData,
        }
    }
}

impl<T, S, K, C, R, E> IntoFuture for WriteStream<T, S, K, C>
where
    S: Stream<Item = Result<R, E>> + Send + 'static,
    R: Serialize + Send + Sync + 'static,
    E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
    C: Execute,
{
    type Output = Result<StreamReport, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(run(self.context, self.spec, self.source))
    }
}

async fn run<S, R, E, C>(
    context: C,
    spec: WriteSpec<'static, ()>,
    source: S,
) -> Result<StreamReport, Error>
where
    S: Stream<Item = Result<R, E>> + Send,
    R: Serialize + Send + Sync,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
    C: Execute,
{
    let held = spec.chunk_rows.saturating_mul(spec.concurrency);
    let mut source = pin!(source);
    let mut total = StreamReport::default();
    let mut rows = Vec::new();
    loop {
        let next = source.try_next().await.map_err(|error| {
            Error::invalid("the stream of rows ended with an error")
                .with_source(error)
                .with_report(total.ended(&rows))
        })?;
        let ended = next.is_none();
        rows.extend(next);
        if rows.len() < held && !ended {
            continue;
        }
        if !rows.is_empty() {
            total.add(&context, &spec, &rows).await?;
            rows.clear();
        }
        if ended {
            return Ok(total);
        }
    }
}

impl StreamReport {
    /// Writes the rows that are held, and adds what became of them.
    async fn add<R, C>(
        &mut self,
        context: &C,
        spec: &WriteSpec<'static, ()>,
        rows: &[R],
    ) -> Result<(), Error>
    where
        R: Serialize + Sync,
        C: Execute,
    {
        let checkpoint = Checkpoint::new();
        let mut part = spec.of_rows(rows, checkpoint);
        part.max_failures = spec.max_failures.saturating_sub(self.failed.len());
        if let Some(hook) = &spec.progress {
            let (hook, before) = (Arc::clone(hook), self.progress());
            part.progress = Some(Arc::new(move |progress| hook(before.plus(progress))));
        }
        let (report, error) = match driver::run(context, &part).await {
            Ok(result) => (result.report, None),
            Err(error) => (
                error.write_report().cloned().unwrap_or_default(),
                Some(error),
            ),
        };
        let before = usize::try_from(self.rows).unwrap_or(usize::MAX);
        self.rows += rows.len() as u64;
        self.written += report.written();
        self.affected += report.affected;
        self.requests += report.requests;
        self.superseded += report.superseded.len() as u64;
        let failed = report.failed.iter().cloned();
        self.failed.extend(failed.map(|row| RejectedRow {
            index: before + row.index,
            ..row
        }));
        match error {
            None => Ok(()),
            Some(error) => Err(error.with_report(self.stopped(report, before))),
        }
    }

    /// The report of a write that stopped while it wrote some of the rows.
    fn stopped(&self, mut held: WriteReport, before: usize) -> WriteReport {
        let lists = [&mut held.superseded, &mut held.pending, &mut held.uncertain];
        let chunks = held.chunks.iter_mut().map(|chunk| &mut chunk.rows);
        for index in lists.into_iter().chain(chunks).flatten() {
            *index += before;
        }
        held.rows = self.rows;
        held.affected = self.affected;
        held.requests = self.requests;
        held.failed.clone_from(&self.failed);
        held
    }

    /// The report of a write whose source failed: the rows that are held were not sent.
    fn ended<R>(&self, held: &[R]) -> WriteReport {
        let before = usize::try_from(self.rows).unwrap_or(usize::MAX);
        let report = WriteReport {
            pending: (0..held.len()).collect(),
            ..WriteReport::default()
        };
        let mut report = self.stopped(report, before);
        report.rows += held.len() as u64;
        report
    }

    fn progress(&self) -> Progress {
        Progress {
            rows: self.rows,
            written: self.written,
            failed: self.failed.len() as u64,
            superseded: self.superseded,
            requests: self.requests,
        }
    }
}

impl<T, S, K, C> std::fmt::Debug for WriteStream<T, S, K, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("WriteStream")
            .field(&self.spec.endpoint)
            .finish()
    }
}
