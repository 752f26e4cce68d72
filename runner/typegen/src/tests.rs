//! Generates text from catalogs, without a database.

use serde_json::{Value, json};

use super::{Catalog, TypegenError, TypegenOptions, generate};

/// The types of the catalogs below. `shift` is added to their ids, because ids differ between databases.
fn types(shift: i64) -> Vec<Value> {
    let kind = |id: i64, name: &str, kind: &str| {
        json!({
            "id": id + shift, "schema": "public", "name": name, "kind": kind, "element": 0, "base": 0,
            "not_null": false, "has_default": false, "comment": null, "labels": [],
            "attributes": [], "is_row": false,
        })
    };
    let mut mood = kind(4, "mood", "e");
    mood["labels"] = json!(["ok", "OK", "so so"]);
    let mut row = kind(5, "posts", "c");
    row["is_row"] = true.into();
    vec![
        kind(1, "int4", "b"),
        kind(2, "text", "b"),
        kind(3, "void", "p"),
        kind(6, "geometry", "b"),
        kind(7, "geography", "b"),
        mood,
        row,
    ]
}

fn column(name: &str, type_id: i64) -> Value {
    json!({
        "name": name, "type_id": type_id, "not_null": true, "has_default": false,
        "generated": false, "writable": true, "primary_key": false, "comment": null,
    })
}

fn table(name: &str, row_type: i64, columns: &Value) -> Value {
    json!({
        "schema": "public", "name": name, "is_view": false, "row_type": row_type, "comment": null,
        "insertable": true, "updatable": true, "columns": columns, "foreign_keys": [],
    })
}

fn function(name: &str, result: i64, defaults: u32, arguments: &[(&str, &str, i64)]) -> Value {
    let argument = |(name, mode, type_id): &(&str, &str, i64)| {
        let name = (!name.is_empty()).then_some(name);
        json!({"name": name, "mode": mode, "type_id": type_id})
    };
    let arguments: Vec<Value> = arguments.iter().map(argument).collect();
    json!({
        "schema": "public", "name": name, "comment": null, "read_only": false,
        "returns_set": false, "result": result, "defaults": defaults, "arguments": arguments,
    })
}

fn catalog(relations: &[Value], functions: &[Value], types: &[Value]) -> Catalog {
    let document = json!({
        "schemas": ["public"], "relations": relations, "functions": functions, "types": types,
    });
    serde_json::from_value(document).unwrap()
}

fn written(relations: &[Value], functions: &[Value]) -> String {
    generate(
        &catalog(relations, functions, &types(0)),
        &TypegenOptions::default(),
    )
    .unwrap()
}

/// The lines of an item, without documentation.
fn item(text: &str, declared: &str) -> Vec<String> {
    let block = text
        .split("\n\n")
        .find(|block| block.contains(declared))
        .unwrap_or_else(|| panic!("no {declared} in {text}"));
    let lines = block.lines().map(str::trim);
    lines
        .filter(|line| !line.starts_with("///"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn text_does_not_depend_on_order_or_ids_of_the_catalog() {
    let make = |shift: i64| {
        let relations = vec![
            table("posts", 5 + shift, &json!([column("mood", 4 + shift)])),
            table("Posts", 99 + shift, &json!([column("id", 1 + shift)])),
        ];
        let functions = vec![
            function("add", 1 + shift, 0, &[("a", "i", 1 + shift)]),
            function("add", 2 + shift, 0, &[("a", "i", 2 + shift)]),
            // Both argument types are unknown, so only their names differ.
            function("any", 3 + shift, 0, &[("a", "i", 6 + shift)]),
            function("any", 1 + shift, 0, &[("a", "i", 7 + shift)]),
            function("posts", 3 + shift, 0, &[]),
        ];
        (relations, functions, types(shift))
    };
    let (relations, functions, kinds) = make(0);
    let first = catalog(&relations, &functions, &kinds);
    let (mut relations, mut functions, mut kinds) = make(1000);
    relations.reverse();
    functions.reverse();
    kinds.reverse();
    let second = catalog(&relations, &functions, &kinds);
    let options = TypegenOptions::default();
    let text = generate(&first, &options).unwrap();
    assert_eq!(text, generate(&second, &options).unwrap());
    for declared in [
        "struct Posts {",
        "struct PostsRow {",
        "struct PostsCall {}",
        "struct Add2 {",
    ] {
        assert!(text.contains(declared), "{declared} is missing in {text}");
    }
}

#[test]
fn insert_has_required_columns_and_update_has_none() {
    let mut nullable = column("note", 2);
    nullable["not_null"] = false.into();
    let mut counted = column("count", 1);
    counted["has_default"] = true.into();
    let mut generated = column("sum", 1);
    generated["generated"] = true.into();
    let columns = json!([column("id", 1), nullable, counted, generated]);
    let text = written(&[table("t", 9, &columns)], &[]);
    let skip = "#[serde(skip_serializing_if = \"Option::is_none\")]";
    assert_eq!(
        item(&text, "pub struct TInsert {")[2..],
        [
            "pub id: i32,",
            skip,
            "pub note: Option<String>,",
            skip,
            "pub count: Option<i32>,",
            "}"
        ]
    );
    assert_eq!(
        item(&text, "pub struct TRequired {")[2..],
        ["pub id: i32,", "}"]
    );
    assert_eq!(
        item(&text, "impl From<TRequired> for TInsert {")[3..6],
        ["id: required.id,", "note: None,", "count: None,"]
    );
    let update = item(&text, "pub struct TUpdate {");
    assert!(update[0].contains("Default"));
    assert_eq!(update[3], "pub id: Option<i32>,");
    assert_eq!(
        update[4..6],
        [
            "#[serde(skip_serializing_if = \"sluice_sdk::Tristate::is_absent\")]",
            "pub note: sluice_sdk::Tristate<String>,"
        ]
    );
    assert!(!update.join("\n").contains("sum"));
}

#[test]
fn insert_may_set_null_in_place_of_a_default() {
    let mut mood = column("mood", 2);
    (mood["not_null"], mood["has_default"]) = (false.into(), true.into());
    let columns = json!([column("id", 1), mood]);
    let text = written(&[table("t", 9, &columns)], &[]);
    let insert = item(&text, "pub struct TInsert {");
    assert_eq!(insert[4], "pub mood: sluice_sdk::Tristate<String>,");
    let from_impl = item(&text, "impl From<TRequired> for TInsert {");
    assert_eq!(from_impl[4], "mood: sluice_sdk::Tristate::Absent,");
}

#[test]
fn row_with_all_or_no_columns_required_has_no_required_part() {
    let mut optional = column("id", 1);
    optional["has_default"] = true.into();
    let tables = vec![
        table("all", 8, &json!([column("id", 1)])),
        table("none", 9, &json!([optional])),
    ];
    let text = written(&tables, &[]);
    assert!(!text.contains("Required"), "{text}");
    assert!(item(&text, "pub struct NoneInsert {")[0].contains("Default"));
    assert!(!item(&text, "pub struct AllInsert {")[0].contains("Default"));
}

#[test]
fn defaults_belong_to_the_last_inputs() {
    let arguments = [
        ("first", "i", 1),
        ("out", "o", 1),
        ("second", "i", 2),
        ("type", "i", 4),
    ];
    let text = written(&[], &[function("f", 1, 2, &arguments)]);
    let call = item(&text, "pub struct F {");
    assert_eq!(call[2], "#[function(returns = FRow)]");
    assert_eq!(call[4], "pub first: i32,");
    assert_eq!(call[6], "pub second: Option<String>,");
    assert_eq!(call[8], "pub r#type: Option<Mood>,");
    assert_eq!(item(&text, "pub struct FRow {")[2], "pub out: Option<i32>,");
}

#[test]
fn functions_that_cannot_be_called_by_names_are_listed() {
    let functions = vec![
        function("computed", 1, 0, &[("", "i", 5)]),
        function("mixed", 1, 0, &[("a", "i", 1), ("", "i", 1)]),
        function("done", 3, 0, &[]),
    ];
    let text = written(&[table("posts", 5, &json!([]))], &functions);
    let (code, left_out) = text.split_once("// Left out:").unwrap();
    assert!(left_out.contains("`computed`: a computed column"));
    assert!(left_out.contains("`mixed`: it has an argument without a name"));
    assert!(!code.contains("computed") && !code.contains("mixed"));
    assert_eq!(item(code, "pub struct Done {}").len(), 3);
}

#[test]
fn similar_labels_get_distinct_variants() {
    let text = written(&[table("t", 9, &json!([column("mood", 4)]))], &[]);
    let labels = item(&text, "pub enum Mood {");
    assert_eq!(
        labels[2..8],
        [
            "#[serde(rename = \"ok\")]",
            "Ok,",
            "#[serde(rename = \"OK\")]",
            "Ok2,",
            "#[serde(rename = \"so so\")]",
            "SoSo,"
        ]
    );
    assert!(text.contains("Self::SoSo => \"so so\","));
}

#[test]
fn options_about_nulls_are_applied() {
    let mut view = table("v", 9, &json!([column("id", 1), column("next", 1)]));
    view["is_view"] = true.into();
    view["columns"][0]["not_null"] = false.into();
    view["columns"][1]["not_null"] = false.into();
    let functions = vec![function("f", 1, 0, &[("after", "i", 1)])];
    let catalog = catalog(&[view], &functions, &types(0));
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let options = TypegenOptions {
        nullable: names(&["f.after"]),
        not_null: names(&["v.id", "f"]),
        ..TypegenOptions::default()
    };
    let text = generate(&catalog, &options).unwrap();
    let view = item(&text, "pub struct V {");
    assert_eq!(view[3..5], ["pub id: i32,", "pub next: Option<i32>,"]);
    let call = item(&text, "pub struct F {");
    assert_eq!(call[2], "#[function(returns = i32)]");
    assert_eq!(call[4], "pub after: Option<i32>,");
    assert!(text.starts_with(
        "// @generated by `sluice gen types --schema public --nullable f.after --not-null f \
         --not-null v.id`."
    ));
}

#[test]
fn names_in_options_must_exist() {
    let catalog = catalog(&[table("v", 9, &json!([column("id", 1)]))], &[], &types(0));
    let misspelled = || ["v.idd".to_owned()].into();
    let usual = TypegenOptions::default;
    for options in [
        TypegenOptions {
            only: misspelled(),
            ..usual()
        },
        TypegenOptions {
            exclude: misspelled(),
            ..usual()
        },
        TypegenOptions {
            nullable: misspelled(),
            ..usual()
        },
        TypegenOptions {
            not_null: misspelled(),
            ..usual()
        },
    ] {
        let error = generate(&catalog, &options).unwrap_err();
        assert!(matches!(error, TypegenError::UnknownName(name) if name == "v.idd"));
    }
    let schemas = vec!["public".to_owned(), "elsewhere".to_owned()];
    let error = generate(&catalog, &TypegenOptions { schemas, ..usual() }).unwrap_err();
    assert!(matches!(error, TypegenError::UnknownSchema(name) if name == "elsewhere"));
}

#[test]
fn excluded_table_is_named_nowhere_else() {
    let mut other = column("post", 5);
    other["not_null"] = false.into();
    let tables = vec![
        table("posts", 5, &json!([column("id", 1)])),
        table("t", 9, &json!([other])),
    ];
    let catalog = catalog(&tables, &[], &types(0));
    let options = TypegenOptions {
        exclude: ["posts".to_owned()].into(),
        ..TypegenOptions::default()
    };
    let text = generate(&catalog, &options).unwrap();
    assert!(!text.contains("Posts"), "{text}");
    assert_eq!(
        item(&text, "pub struct T {")[3],
        "pub post: Option<serde_json::Value>,"
    );
    assert!(text.contains("/// Of the type `posts`, as JSON."));
    let options = TypegenOptions {
        only: ["t".to_owned()].into(),
        ..TypegenOptions::default()
    };
    let only = generate(&catalog, &options).unwrap();
    let items = |text: &str| text.split_once("\n\n").unwrap().1.to_owned();
    assert_eq!(items(&only), items(&text));
}
