//! A call of a function without its types: its requests, and whether its rows are whole.

use bytes::Bytes;
use http::Method;

use super::arguments;
use crate::error::Error;
use crate::query::whole::{self, Paged};
use crate::query::{Context, Execute, Query, rollback};
use crate::request::{Call, Count, Format, Response, Safety};

/// Everything about a call except its types.
#[derive(Clone)]
pub(super) struct Invocation<C> {
    pub(super) context: C,
    pub(super) query: Query,
    pub(super) arguments: Result<Bytes, Error>,
    pub(super) by_get: bool,
    pub(super) safety: Safety,
    /// Whether it is known to return a set of rows, which the server can cut.
    pub(super) is_set: bool,
}

impl<C: Context> Invocation<C> {
    pub(super) fn call(&self, query: &Query, format: Format) -> Result<Call, Error> {
        let body = self.arguments.clone()?;
        let defaults = self.context.defaults();
        let in_url = if self.by_get {
            arguments::in_url(&body)
        } else {
            None
        };
        let method = if in_url.is_some() {
            Method::GET
        } else {
            Method::POST
        };
        let mut draft = query.draft(method, self.safety, format, defaults.schema.as_deref())?;
        match in_url {
            Some(parameters) => {
                for (name, value) in parameters {
                    draft.params.push(name, value);
                }
            }
            None => draft.body = Some(body),
        }
        Query::checked(draft, defaults.url_bytes)
    }
}

impl<C: Execute> Invocation<C> {
    pub(super) async fn run(&self, query: &Query, format: Format) -> Result<Response, Error> {
        let prefer = &query.options.prefer;
        rollback::check(&self.context, prefer, &query.endpoint).await?;
        let response = self.context.execute(self.call(query, format)?).await?;
        response.check_dry_run(prefer)?;
        Ok(response)
    }

    /// Runs a call that returns everything in one response. Fails if rows are missing.
    pub(super) async fn run_whole(&self) -> Result<Response, Error> {
        let mut query = self.query.clone();
        // A second call would do everything again, so the first must say how many rows there are.
        let once = !self.safety.is_repeatable();
        if once && self.is_set && query.window.limit.is_none() {
            query.options.prefer.count = Some(Count::Exact);
        }
        let response = self.run(&query, Format::Json).await?;
        let rows = whole::rows_of(&response);
        let is_cut = match response.total() {
            Some(total) if once && query.options.prefer.count == Some(Count::Exact) => {
                let wanted = query.window.limit.unwrap_or(u64::MAX);
                rows < wanted.min(total.saturating_sub(query.window.offset.unwrap_or_default()))
            }
            _ if once => {
                query.window.limit.is_none_or(|limit| rows < limit)
                    && !whole::is_whole(&self.context, rows)
            }
            _ => whole::has_more(self, &query, rows).await?,
        };
        if is_cut {
            return Err(self.truncated(rows));
        }
        Ok(response)
    }
}

impl<C: Execute> Paged for Invocation<C> {
    type Context = C;

    fn context(&self) -> &C {
        &self.context
    }

    fn query(&self) -> &Query {
        &self.query
    }

    fn part(&self, query: &Query) -> Result<Call, Error> {
        self.call(query, Format::Json)
    }

    fn truncated(&self, rows: u64) -> Error {
        let way_out = if self.safety.is_repeatable() {
            "the rest needs further calls; order by a unique column and read all, `.order(…).all()` or `.stream()`, or a part with `limit` or `page`"
        } else {
            "a second call would run the function again, which has run; return one JSON value from it, limit its rows, or declare it `read_only` or `.idempotent()` and read `.order(…).all()`"
        };
        whole::truncated(rows, way_out)
    }
}
