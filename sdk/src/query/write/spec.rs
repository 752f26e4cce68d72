//! Everything about a write except the client that sends it.

use std::sync::Arc;

use super::checkpoint::{Checkpoint, Progress};
use crate::grammar::Selection;
use crate::query::{Endpoint, Query};
use crate::request::{Format, Options, Resolution};

/// Everything about a write except the client that sends it.
#[derive(Clone)]
pub(super) struct WriteSpec<'a, R> {
    pub(super) rows: &'a [R],
    pub(super) endpoint: Endpoint,
    pub(super) upsert: bool,
    pub(super) resolution: Resolution,
    pub(super) conflict: Vec<String>,
    pub(super) one_request: bool,
    pub(super) max_failures: usize,
    pub(super) chunk_rows: usize,
    pub(super) chunk_bytes: usize,
    pub(super) concurrency: usize,
    pub(super) schema: Option<String>,
    pub(super) options: Options,
    pub(super) format: Format,
    pub(super) returning: ReturnedRows,
    pub(super) checkpoint: Checkpoint,
    pub(super) progress: Option<ProgressHook<'a>>,
}

pub(super) type ProgressHook<'a> = Arc<dyn Fn(Progress) + Send + Sync + 'a>;

/// What a write returns of its rows.
#[derive(Clone, Debug)]
pub(super) enum ReturnedRows {
    Nothing,
    All,
    Columns(Selection),
}

impl WriteSpec<'static, ()> {
    /// The same write, of these rows.
    pub(super) fn of_rows<'a, R>(&self, rows: &'a [R], checkpoint: Checkpoint) -> WriteSpec<'a, R> {
        let same = self.clone();
        WriteSpec {
            rows,
            checkpoint,
            endpoint: same.endpoint,
            upsert: same.upsert,
            resolution: same.resolution,
            conflict: same.conflict,
            one_request: same.one_request,
            max_failures: same.max_failures,
            chunk_rows: same.chunk_rows,
            chunk_bytes: same.chunk_bytes,
            concurrency: same.concurrency,
            schema: same.schema,
            options: same.options,
            format: same.format,
            returning: same.returning,
            progress: same.progress.map(|hook| hook as ProgressHook<'a>),
        }
    }
}

impl<R> WriteSpec<'_, R> {
    /// The part of the query that all requests share.
    pub(super) fn query(&self) -> Query {
        let mut query = Query::new(self.endpoint.clone());
        if let ReturnedRows::Columns(selection) = &self.returning {
            query.selection = Some(selection.clone());
        }
        query.options = self.options.clone();
        query
    }
}
