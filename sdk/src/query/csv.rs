//! Comma-separated values of any number of rows, page by page.

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::Method;

use super::whole::{self, Paged};
use super::{Execute, Query, Read};
use crate::error::{Error, ErrorKind};
use crate::request::{Body, Format};

/// How many rows a page has at most.
const PAGE_ROWS: u64 = 1_000;

/// The pages, each a piece of the body.
pub(super) fn pages<T: 'static, V: 'static, C: Execute>(read: Read<T, V, C>) -> Body {
    let stable = whole::in_stable_order(&read.query);
    let state = Pages {
        is_stable: stable.is_some(),
        query: stable.unwrap_or_else(|| read.query.clone()),
        read,
        done: 0,
        ended: false,
    };
    stream::try_unfold(state, |mut state| async move {
        Ok(state.next().await?.map(|page| (page, state)))
    })
    .boxed()
}

/// Joins pieces to a text.
pub(super) fn text(pieces: &[Bytes]) -> Result<String, Error> {
    String::from_utf8(pieces.concat())
        .map_err(|_| Error::new(ErrorKind::Decode, "the response is not UTF-8 text"))
}

struct Pages<T, V, C> {
    read: Read<T, V, C>,
    query: Query,
    is_stable: bool,
    done: u64,
    ended: bool,
}

impl<T, V, C: Execute> Pages<T, V, C> {
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        if self.ended {
            return Ok(None);
        }
        let mut window = self.query.window.part(self.done, None);
        let limit = window.limit.unwrap_or(u64::MAX).min(PAGE_ROWS);
        window.limit = Some(limit);
        let part = Query {
            window,
            ..self.query.clone()
        };
        let call = self.read.call_as(&part, Method::GET, Format::Csv)?;
        let response = self.read.context.execute(call).await?;
        let rows = whole::rows_of(&response);
        let is_first = self.done == 0;
        self.done += rows;
        let is_last = rows == 0 || (rows < limit && whole::is_whole(&self.read.context, rows));
        let is_all = self
            .query
            .window
            .limit
            .is_some_and(|limit| self.done >= limit);
        self.ended = is_last || is_all;
        if !self.ended && !self.is_stable {
            if whole::has_more(&self.read, &self.query, rows).await? {
                return Err(self.read.truncated(rows));
            }
            self.ended = true;
        }
        let body = match response.body.strip_suffix(b"\n") {
            Some(lines) => response.body.slice_ref(lines),
            None => response.body,
        };
        match (is_first, rows) {
            (true, _) => Ok(Some(body)),
            (false, 0) => Ok(None),
            (false, _) => Ok(Some(after_names(&body))),
        }
    }
}

/// A page after its line of names, with the line break that the page before lacks. A name may hold a
/// line break in quotes.
fn after_names(page: &Bytes) -> Bytes {
    let mut in_quotes = false;
    let end = page.iter().position(|&byte| {
        in_quotes ^= byte == b'"';
        byte == b'\n' && !in_quotes
    });
    end.map_or_else(Bytes::new, |end| page.slice(end..))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_left_out_of_all_pages_but_the_first() {
        let page = Bytes::from_static(b"id,\"a\nb\"\n1,\"x\ny\"\n2,z");
        assert_eq!(after_names(&page), "\n1,\"x\ny\"\n2,z");
        assert_eq!(after_names(&Bytes::from_static(b"id")), "");
    }
}
