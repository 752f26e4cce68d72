//! The record: 5,635 queries that a real PostgREST answered, over a table of 245 awkward texts.

use std::collections::BTreeMap;

use serde::Deserialize;
use sluice_sdk::{Filter, Offline, any, col, schema::Any, serde_json::json};

use super::decode;
use super::evaluate::{Row, like, lower, matches};

const RECORD: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../tests/data/postgrest-grammar.jsonl"
));

#[derive(Deserialize)]
struct Table {
    rows: Vec<String>,
}

/// A query with the rows it matched, or the code it was refused with.
#[derive(Deserialize)]
struct Recorded {
    row: usize,
    form: String,
    query: String,
    ids: Option<Vec<usize>>,
    error: Option<String>,
}

fn record() -> (Table, Vec<Recorded>) {
    let mut lines = RECORD.lines();
    let table = serde_json::from_str(lines.next().unwrap()).unwrap();
    (
        table,
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect(),
    )
}

/// The rows that a query matches, by the independent parser.
fn ids(query: &str, table: &Table) -> Result<Vec<usize>, String> {
    let params = decode::query(query)?;
    let mut ids = Vec::new();
    for (id, text) in table.rows.iter().enumerate() {
        if matches(&params, &Row { id, text })? {
            ids.push(id);
        }
    }
    Ok(ids)
}

#[test]
fn the_independent_parser_agrees_with_every_recorded_response() {
    let (table, recorded) = record();
    assert_eq!(recorded.len(), 5_635);
    let mut wrong = Vec::new();
    for query in &recorded {
        let read = ids(&query.query, &table);
        if read.as_ref().ok() != query.ids.as_ref() {
            let text = &table.rows[query.row];
            wrong.push(format!(
                "{} {text:?} {}: read {read:?}, recorded {:?} {:?}",
                query.form, query.query, query.ids, query.error
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(10)].join("\n")
    );
}

/// How the SDK makes queries of a recorded form.
enum Form {
    /// By this function.
    Made(fn(&str) -> Filter<Any>),
    /// Not at all, for this reason.
    Never(&'static str),
}

/// All forms of the record.
const FORMS: [(&str, Form); 23] = [
    ("eq raw", Form::Made(|text| col("v").eq(text))),
    // At the top level quotes are part of the value.
    ("eq quoted", Form::Made(|text| col("v").eq(quoted(text)))),
    ("neq raw", Form::Made(|text| !col("v").eq(text))),
    ("in quoted", Form::Made(|text| col("v").in_([text, "b"]))),
    ("in single quoted", Form::Made(|text| col("v").in_([text]))),
    ("not in quoted", Form::Made(|text| !col("v").in_([text]))),
    (
        "in bare",
        Form::Never("a text without quotes can end the list, or be several: texts are quoted"),
    ),
    (
        "or eq quoted",
        Form::Made(|text| col("v").eq(text).or(col("id").eq(0))),
    ),
    (
        "or eq bare",
        Form::Never("a text without quotes can end the tree, or drop the rest: texts are quoted"),
    ),
    (
        "and not",
        Form::Made(|text| Filter::all([!col("v").eq(text), col("id").gte(0)])),
    ),
    (
        "or in quoted",
        Form::Made(|text| {
            let one = col("v").in_([text]);
            one.or(col("id").gt(0).and(col("v").eq(text)))
        }),
    ),
    ("like", Form::Made(|text| col("v").like(text))),
    (
        "ilike contains",
        Form::Made(|text| col("v").ilike(format!("%{text}%"))),
    ),
    ("cs array", Form::Made(|text| col("arr").contains([text]))),
    (
        "ov array",
        Form::Made(|text| col("arr").overlaps([text, "zz"])),
    ),
    (
        "json path",
        Form::Made(|text| col("doc").text("k").eq(text)),
    ),
    (
        "json dotted key",
        Form::Made(|text| col("doc").text("a.b").eq(text)),
    ),
    (
        "json spaced key",
        Form::Made(|text| col("doc").text("x y").eq(text)),
    ),
    ("odd column", Form::Made(|text| col("odd col").eq(text))),
    ("reserved column", Form::Made(|text| col("order").eq(text))),
    ("dotted column", Form::Made(|text| col("a.b").eq(text))),
    (
        "any array",
        Form::Made(|text| col("v").eq(any([text, "b"]))),
    ),
    (
        "cs json",
        Form::Made(|text| col("doc").contains(json!({"k": text}))),
    ),
];

/// A text between quotes, as the record has it.
fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{escaped}\"")
}

/// The rows that a query should match, if the recorded query matches others: it shows a trap of the
/// grammar that the SDK avoids. `None` if they match the same.
fn meant_instead(form: &str, text: &str, table: &Table) -> Option<Vec<usize>> {
    let rows = table.rows.iter().enumerate();
    let matching = |matches: &dyn Fn(&str) -> bool| -> Vec<usize> {
        let rows = rows.clone().filter(|(_, row)| matches(row));
        rows.map(|(id, _)| id).collect()
    };
    match (form, text) {
        // PostgREST reads `in.("")` as the empty list. The SDK means the list of the empty text.
        ("in single quoted" | "or in quoted", "") => Some(matching(&str::is_empty)),
        ("not in quoted", "") => Some(matching(&|row| !row.is_empty())),
        // PostgREST reads `*` as `%`. The SDK means a star.
        ("like", _) if text.contains('*') => {
            Some(matching(&|row| like(text, row).unwrap_or_default()))
        }
        ("ilike contains", _) if text.contains('*') => {
            let pattern = lower(&format!("%{text}%"));
            Some(matching(&|row| {
                like(&pattern, &lower(row)).unwrap_or_default()
            }))
        }
        _ => None,
    }
}

#[test]
fn every_recorded_query_keeps_its_meaning_or_is_listed() {
    let (table, recorded) = record();
    let forms: BTreeMap<&str, Form> = FORMS.into_iter().collect();
    let (mut made, mut improved, mut never) = (0, 0, 0);
    for query in &recorded {
        let text = &table.rows[query.row];
        let form = match &forms[query.form.as_str()] {
            Form::Made(form) => form,
            Form::Never(reason) => {
                assert!(!reason.is_empty());
                never += 1;
                continue;
            }
        };
        let (uri, ours) = matched(form(text), &table);
        let shown = format!("{} {text:?} {uri}", query.form);
        if let Some(meant) = meant_instead(&query.form, text, &table) {
            assert_eq!(ours, Ok(meant), "{shown}");
            improved += 1;
        } else {
            assert_eq!(ours.ok(), query.ids, "{shown}");
            made += 1;
        }
    }
    assert_eq!((made, improved, never), (5_110, 35, 490));
    assert_eq!(made + improved + never, recorded.len());
}

/// The request of a filter, and the rows that it matches by the independent parser.
fn matched(filter: Filter<Any>, table: &Table) -> (String, Result<Vec<usize>, String>) {
    let call = Offline::default().table("g").filter(filter).call().unwrap();
    let uri = call.request.uri();
    (uri.to_string(), ids(uri.query().unwrap(), table))
}

/// A star is a star: the record's `like` would have matched more.
#[test]
fn a_literal_text_matches_the_texts_that_contain_it() {
    let (table, _) = record();
    let holding = |predicate: &dyn Fn(&str) -> bool| -> Vec<usize> {
        let rows = table.rows.iter().enumerate();
        rows.filter(|(_, row)| predicate(row))
            .map(|(id, _)| id)
            .collect()
    };
    let made = |filter: Filter<Any>| matched(filter, &table).1.unwrap();
    for text in &table.rows {
        assert_eq!(
            made(col("v").contains_text(text)),
            holding(&|row| row.contains(text.as_str()))
        );
        assert_eq!(
            made(col("v").starts_with(text)),
            holding(&|row| row.starts_with(text.as_str()))
        );
        assert_eq!(
            made(col("v").ends_with(text)),
            holding(&|row| row.ends_with(text.as_str()))
        );
        // As part of a tree too, where patterns are quoted.
        let either = col("v").contains_text(text).or(col("id").eq(0));
        let expected = holding(&|row| row.is_empty() || row.contains(text.as_str()));
        assert_eq!(made(either), expected, "{text:?}");
    }
}
