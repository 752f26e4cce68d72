//! The meaning of a request to PostgREST: two requests are equal if PostgREST treats them alike.

use std::collections::BTreeSet;

use serde_json::Value;
use sluice_sdk::testing::RecordedRequest;

use crate::grammar::decode::{self, Param};

/// A parsed request.
#[derive(Debug, PartialEq)]
pub(super) struct Meaning {
    method: String,
    path: String,
    /// Unordered. An ascending order is left out.
    params: BTreeSet<String>,
    body: Value,
    accept: Option<String>,
    profile: Option<String>,
    preferences: BTreeSet<String>,
}

impl Meaning {
    pub(super) fn of(request: &RecordedRequest) -> Self {
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        let params = decode::query(query).unwrap_or_default();
        let header = |name: &str| request.headers.get(name).cloned();
        let preferences = header("prefer").unwrap_or_default();
        let preferences = preferences.split(',').filter(|text| !text.is_empty());
        Self {
            method: request.method.clone(),
            path: path.to_owned(),
            params: params.iter().map(shown).collect(),
            body: body(request),
            accept: header("accept").filter(|accept| accept != "application/json"),
            profile: header("accept-profile").or(header("content-profile")),
            preferences: preferences.map(|text| text.trim().to_owned()).collect(),
        }
    }

    /// Asserts that this is `recorded`, except for what the SDK adds: a write lists its columns,
    /// and requests the number of rows, and all rows or none.
    pub(super) fn assert_is(mut self, recorded: &Self, name: &str) {
        let is_columns = |param: &String| param.starts_with("columns=");
        if !recorded.params.iter().any(is_columns) {
            self.params.retain(|param| !is_columns(param));
        }
        let lacking: Vec<_> = recorded.preferences.difference(&self.preferences).collect();
        assert!(lacking.is_empty(), "{name}: no {lacking:?} in {self:?}");
        self.preferences.clone_from(&recorded.preferences);
        assert_eq!(&self, recorded, "{name}");
    }
}

/// The method, the path and the body, to be compared letter by letter.
pub(super) fn line(request: &RecordedRequest) -> String {
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    let query = decode::percent_decoded(query).unwrap();
    let mark = if query.is_empty() { "" } else { "?" };
    let line = format!("{} {path}{mark}{query}", request.method);
    match &request.body {
        Some(body) => format!("{line} {body}"),
        None => line,
    }
}

fn shown(param: &Param) -> String {
    match param {
        Param::Other { name, value } => format!("{name}={}", value.replace(".asc", "")),
        Param::Filter { .. } => format!("{param:?}"),
    }
}

/// One row is the same as a list of one row.
fn body(request: &RecordedRequest) -> Value {
    let text = request.body.as_deref().unwrap_or("null");
    match serde_json::from_str(text).unwrap_or_default() {
        Value::Array(mut rows) if rows.len() == 1 => rows.remove(0),
        body => body,
    }
}
