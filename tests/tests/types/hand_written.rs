//! The types that the runner writes by hand, held against those that the database gives: every column
//! and argument that they name exists and has a type that fits.

use crate::source::{Field, Struct, structs};

/// Types that may be written by hand where the database has the one on the left: a count of rows is
/// never negative, and an enum or a vector of ours is text to the database.
const FITTING: &[(&str, &[&str])] = &[
    ("i32", &["u32", "u64", "usize"]),
    ("i64", &["u64", "usize"]),
    ("String", &["ScoreMode", "Arc<[f32]>"]),
];

#[test]
fn tables_fit_the_database() {
    let (ours, theirs) = (
        structs(include_str!("../../../runner/src/db/table.rs")),
        generated(),
    );
    let tables: Vec<&Struct> = ours.iter().filter(|one| one.table.is_some()).collect();
    assert!(tables.len() >= 4, "{tables:?}");
    let wrong: Vec<String> = tables
        .iter()
        .flat_map(|table| wrong_table(table, &theirs))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn functions_fit_the_database() {
    let mut ours = structs(include_str!("../../../runner/src/db/function.rs"));
    ours.extend(structs(include_str!("../../../runner/src/db/job.rs")));
    let theirs = generated();
    let calls: Vec<&Struct> = ours.iter().filter(|one| one.function.is_some()).collect();
    assert!(calls.len() >= 25, "{calls:?}");
    let wrong: Vec<String> = calls
        .iter()
        .flat_map(|call| wrong_call(call, &ours, &theirs))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_does_not_fit_is_found() {
    let found = |source: &str| -> usize {
        let ours = structs(source);
        let theirs = generated();
        let wrong = |one: &Struct| match one.table {
            Some(_) => wrong_table(one, &theirs),
            None => wrong_call(one, &ours, &theirs),
        };
        wrong(ours.first().unwrap()).len()
    };
    let table = |field: &str| {
        found(&format!(
            "#[table(name = \"posts\")]\npub struct Post {{\n    {field}\n}}\n"
        ))
    };
    assert_eq!(table("pub text: String,"), 0);
    assert_eq!(table("pub texts: String,"), 1);
    assert_eq!(table("pub text: i32,"), 1);
    assert_eq!(table("pub url: String,"), 1);
    let call = |returns: &str, field: &str| {
        found(&format!(
            "#[function(name = \"cancel_job\", returns = {returns})]\npub struct C {{\n    \
             pub p_by: String,\n    {field}\n}}\n"
        ))
    };
    assert_eq!(call("String", "pub p_job_id: Uuid,"), 0);
    assert_eq!(call("u64", "pub p_job_id: Uuid,"), 1);
    assert_eq!(call("String", "pub p_job_id: i64,"), 1);
    assert_eq!(call("String", "// nothing"), 1);
    let row = |field: &str| {
        found(&format!(
            "#[function(name = \"rank_posts\", returns = Vec<Row>)]\npub struct R {{}}\n\n\
             pub struct Row {{\n    {field}\n}}\n"
        ))
    };
    let required = row("pub final_score: f64,");
    assert_eq!(row("pub final_score: String,"), required + 1);
    assert_eq!(row("pub score: f64,"), required + 1);
}

fn generated() -> Vec<Struct> {
    structs(include_str!("generated.rs"))
}

fn wrong_table(table: &Struct, theirs: &[Struct]) -> Vec<String> {
    let Some(real) = theirs.iter().find(|one| one.table == table.table) else {
        return vec![format!("{}: no such table", table.name)];
    };
    let wrong = |(name, field): (&String, &Field)| {
        let Some(column) = real.fields.get(name) else {
            return Some(format!("{}.{name}: no such column", table.name));
        };
        let nullable = |kind: &str| kind.starts_with("Option<");
        let fits =
            fits(&column.kind, &field.kind) && (nullable(&field.kind) || !nullable(&column.kind));
        let (kind, real) = (&field.kind, &column.kind);
        (!fits).then(|| format!("{}.{name}: {kind}, but {real} in truth", table.name))
    };
    table.fields.iter().filter_map(wrong).collect()
}

fn wrong_call(call: &Struct, ours: &[Struct], theirs: &[Struct]) -> Vec<String> {
    let Some(real) = theirs.iter().find(|one| one.function == call.function) else {
        return vec![format!("{}: no such function", call.name)];
    };
    let mut wrong = wrong_members(call, real);
    let missing = real.fields.iter().filter(|(_, field)| !field.skipped);
    let missing = missing.filter(|(name, _)| !call.fields.contains_key(*name));
    wrong.extend(missing.map(|(name, _)| format!("{}: lacks {name}", call.name)));
    let (returns, truth) = (result(call), result(real));
    let row = |kind: &str, all: &[Struct]| {
        let inner = kind
            .strip_prefix("Vec<")
            .and_then(|rest| rest.strip_suffix('>'));
        let name = inner.unwrap_or(kind).to_owned();
        all.iter().find(|one| one.name == name).cloned()
    };
    match (row(&returns, ours), row(&truth, theirs)) {
        (Some(row), Some(real)) => wrong.extend(wrong_members(&row, &real)),
        _ if fits(&truth, &returns) => {}
        _ => wrong.push(format!(
            "{}: returns {returns}, but {truth} in truth",
            call.name
        )),
    }
    wrong
}

/// The arguments or columns that do not exist or have another type. Whether one can be null, neither
/// an argument nor a result tells.
fn wrong_members(ours: &Struct, real: &Struct) -> Vec<String> {
    let wrong = |(name, field): (&String, &Field)| {
        let Some(real) = real.fields.get(name) else {
            return Some(format!("{}.{name}: does not exist", ours.name));
        };
        let (kind, real) = (&field.kind, &real.kind);
        (!fits(real, kind)).then(|| format!("{}.{name}: {kind}, but {real} in truth", ours.name))
    };
    ours.fields.iter().filter_map(wrong).collect()
}

fn result(call: &Struct) -> String {
    call.returns.clone().unwrap_or_else(|| "()".to_owned())
}

/// Whether a type written by hand can hold what the database's holds, nulls aside.
fn fits(real: &str, ours: &str) -> bool {
    let (real, ours) = (bare(real), bare(ours));
    let vec = |kind: &str| Some(kind.strip_prefix("Vec<")?.strip_suffix('>')?.to_owned());
    if let (Some(real), Some(ours)) = (vec(&real), vec(&ours)) {
        return fits(&real, &ours);
    }
    let allowed = FITTING.iter().find(|(kind, _)| *kind == real);
    // A document has whatever shape is read from it.
    real == "Value"
        || real == ours
        || allowed.is_some_and(|(_, kinds)| kinds.contains(&ours.as_str()))
}

/// A type without its path and without an `Option` around it.
fn bare(kind: &str) -> String {
    let kind = kind.replace("serde_json::", "").replace("uuid::", "");
    let kind = kind.replace("jiff::", "");
    let inner = kind
        .strip_prefix("Option<")
        .and_then(|rest| rest.strip_suffix('>'));
    inner.unwrap_or(&kind).to_owned()
}
