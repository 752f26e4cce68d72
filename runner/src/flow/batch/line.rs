//! What a flow puts into the lines of a file.

use serde_json::Value;
use uuid::Uuid;

use crate::db::LeasedPost;
use crate::engine::Packing;
use crate::provider::batch::{BatchEndpoint, BatchLine};

/// How a flow makes lines of rows. Pure.
pub(in crate::flow) trait Lines: Send + Sync {
    /// Rows that go into one line.
    type Unit: Send;

    /// Packs rows into units, continuing the unit that was left open before.
    fn pack(&self, open: Option<Self::Unit>, rows: Vec<LeasedPost>) -> Packing<Self::Unit>;

    /// The line of a unit.
    fn line(&self, number: u32, unit: Self::Unit) -> Line;

    /// What the requests are sent to.
    fn endpoint(&self) -> BatchEndpoint;

    /// What any run needs to know to read the responses: `model`, and what else the reader asks for. It has no secret.
    fn settings(&self) -> Value;
}

/// A unit of rows, as it is written.
#[derive(Debug)]
pub(in crate::flow) struct Line {
    /// The requests: one, or several for the runs of an ensemble or the parts of a text.
    pub(in crate::flow) requests: Vec<BatchLine>,
    /// The inputs of all requests.
    pub(in crate::flow) inputs: usize,
    /// What the requests cost at most.
    pub(in crate::flow) usd: f64,
    /// The rows, each with its place in the line and the hash of its text.
    pub(in crate::flow) rows: Vec<(u32, Uuid, String)>,
}

/// The name of a request in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::flow) struct Request {
    /// The line of rows that it is about.
    pub(in crate::flow) line: u32,
    /// Its number among the requests of that line.
    pub(in crate::flow) number: u32,
}

impl Request {
    /// The name as the file has it. The note is for whoever reads the response.
    pub(in crate::flow) fn custom_id(self, note: &str) -> String {
        format!("{}.{}.{note}", self.line, self.number)
    }

    pub(super) fn parse(custom_id: &str) -> Option<Self> {
        let mut parts = custom_id.splitn(3, '.');
        let line = parts.next()?.parse().ok()?;
        let number = parts.next()?.parse().ok()?;
        Some(Self { line, number })
    }
}

/// The note in the name of a request.
pub(in crate::flow) fn note(custom_id: &str) -> &str {
    custom_id.splitn(3, '.').nth(2).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_found_by_its_name() {
        let request = Request {
            line: 49_999,
            number: 2,
        };
        for said in ["", "5", "a.b"] {
            let custom_id = request.custom_id(said);
            assert_eq!(Request::parse(&custom_id), Some(request));
            assert_eq!(note(&custom_id), said);
        }
        assert_eq!(Request::parse("7.0"), Some(Request { line: 7, number: 0 }));
        for foreign in ["", "1", "a.b", "1.b.3"] {
            assert_eq!(Request::parse(foreign), None, "{foreign}");
        }
    }
}
