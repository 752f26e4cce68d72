//! The record: 5,635 queries that a real PostgREST answered, over a table of 245 awkward texts.

use std::collections::BTreeMap;

use serde::Deserialize;
use sluice_sdk::{Any, Comparison, Filter, Offline, col, serde_json::json};

use super::decode;
use super::evaluate::{Row, matches};

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

/// The rows that a query matches, by the independent reading.
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
fn the_independent_reading_agrees_with_every_recorded_answer() {
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

/// A form of the record as the SDK says it.
type Form = fn(&str) -> Filter<Any>;

/// The recorded forms that are right, each with what makes it here.
const FORMS: [(&str, Form); 16] = [
    ("eq raw", |text| col("v").eq(text)),
    ("neq raw", |text| !col("v").eq(text)),
    ("in quoted", |text| col("v").in_([text, "b"])),
    ("or eq quoted", |text| col("v").eq(text).or(col("id").eq(0))),
    ("and not", |text| {
        Filter::all([!col("v").eq(text), col("id").gte(0)])
    }),
    ("or in quoted", |text| {
        col("v")
            .in_([text])
            .or(col("id").gt(0).and(col("v").eq(text)))
    }),
    ("cs array", |text| col("arr").contains(vec![text])),
    ("ov array", |text| col("arr").overlaps(vec![text, "zz"])),
    ("json path", |text| col("doc").text("k").eq(text)),
    ("json dotted key", |text| col("doc").text("a.b").eq(text)),
    ("json spaced key", |text| col("doc").text("x y").eq(text)),
    ("odd column", |text| col("odd col").eq(text)),
    ("reserved column", |text| col("order").eq(text)),
    ("dotted column", |text| col("a.b").eq(text)),
    ("any array", |text| {
        col("v").any_of(Comparison::Eq, [text, "b"])
    }),
    ("cs json", |text| col("doc").contains(json!({"k": text}))),
];

/// The one recorded query whose rows the SDK improves on: `in.("")` is read as the empty list.
const LONE_EMPTY: [(&str, &str); 1] = [("or in quoted", "")];

#[test]
fn every_recorded_form_is_made_with_the_same_meaning() {
    let (table, recorded) = record();
    let forms: BTreeMap<&str, Form> = FORMS.into_iter().collect();
    let mut made = 0;
    for query in &recorded {
        let Some(form) = forms.get(query.form.as_str()) else {
            continue;
        };
        let text = &table.rows[query.row];
        let call = Offline::default()
            .table("g")
            .filter(form(text))
            .call()
            .unwrap();
        let ours = ids(call.request.uri().query().unwrap(), &table).unwrap();
        if LONE_EMPTY.contains(&(query.form.as_str(), text.as_str())) {
            assert_eq!(ours, [query.row]);
        } else {
            assert_eq!(
                Some(&ours),
                query.ids.as_ref(),
                "{} {text:?} {}",
                query.form,
                call.request.uri()
            );
        }
        made += 1;
    }
    assert_eq!(made, FORMS.len() * table.rows.len());
}

#[test]
fn a_list_of_one_value_matches_it_and_its_opposite_everything_else() {
    let (table, _) = record();
    for (row, text) in table.rows.iter().enumerate() {
        let one = Offline::default()
            .table("g")
            .filter(col("v").in_([text]))
            .call()
            .unwrap();
        assert_eq!(
            ids(one.request.uri().query().unwrap(), &table).unwrap(),
            [row],
            "{text:?}"
        );
        let rest = Offline::default()
            .table("g")
            .filter(!col("v").in_([text]))
            .call()
            .unwrap();
        let rest = ids(rest.request.uri().query().unwrap(), &table).unwrap();
        assert_eq!(rest.len(), table.rows.len() - 1, "{text:?}");
        assert!(!rest.contains(&row), "{text:?}");
    }
}

/// Where the record's pattern holds no star, the pattern is sent as it is.
#[test]
fn patterns_without_a_star_are_the_recorded_ones() {
    let (table, recorded) = record();
    let likes = recorded.iter().filter(|query| query.form == "like");
    for query in likes.filter(|query| !table.rows[query.row].contains('*')) {
        let text = &table.rows[query.row];
        let call = Offline::default()
            .table("g")
            .filter(col("v").like(text))
            .call()
            .unwrap();
        let read = ids(call.request.uri().query().unwrap(), &table);
        assert_eq!(read.ok(), query.ids, "{text:?}");
    }
}

/// A star is a star: the record's `like` would have matched more.
#[test]
fn a_text_taken_literally_matches_the_texts_that_hold_it() {
    let (table, _) = record();
    let holding = |predicate: &dyn Fn(&str) -> bool| -> Vec<usize> {
        let rows = table.rows.iter().enumerate();
        rows.filter(|(_, row)| predicate(row))
            .map(|(id, _)| id)
            .collect()
    };
    let made = |filter: Filter<Any>| {
        let call = Offline::default().table("g").filter(filter).call().unwrap();
        ids(call.request.uri().query().unwrap(), &table).unwrap()
    };
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
