//! Hostile names in `select` and `order`: an independent parser reads them back whole.

use proptest::prelude::*;
use sluice_sdk::{
    Offline, col,
    query::{Embedding, Selection},
};

use super::decode::{Field, Reader, percent_decoded};

/// An item of a `select`: an alias, and a field or an embedded selection.
#[derive(Debug, PartialEq, Eq)]
enum Item {
    Field {
        alias: Option<String>,
        field: Field,
    },
    Embed {
        alias: Option<String>,
        relation: String,
        hints: Vec<String>,
        items: Vec<Item>,
    },
}

fn items(reader: &mut Reader<'_>) -> Result<Vec<Item>, String> {
    let mut all = vec![item(reader)?];
    while reader.take(",") {
        all.push(item(reader)?);
    }
    Ok(all)
}

fn item(reader: &mut Reader<'_>) -> Result<Item, String> {
    let start = Reader::new(reader.rest());
    let mut field = reader.field()?;
    let mut alias = None;
    if reader.peek() == Some(':') && !reader.rest().starts_with("::") {
        *reader = start;
        alias = Some(reader.name()?);
        reader.take(":");
        field = reader.field()?;
    }
    let mut hints = Vec::new();
    while reader.take("!") {
        hints.push(reader.name()?);
    }
    if reader.take("(") {
        let inner = items(reader)?;
        if !reader.take(")") {
            return Err(format!("an embed does not end at {:?}", reader.rest()));
        }
        return Ok(Item::Embed {
            alias,
            relation: field.name,
            hints,
            items: inner,
        });
    }
    Ok(Item::Field { alias, field })
}

fn plain(name: &str) -> Item {
    Item::Field {
        alias: None,
        field: Field {
            name: name.to_owned(),
            path: Vec::new(),
        },
    }
}

fn parameter(uri: &http::Uri, name: &str) -> String {
    let query = uri.query().unwrap();
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let value = pairs
        .filter(|(key, _)| *key == name)
        .map(|(_, value)| value)
        .next()
        .unwrap();
    percent_decoded(value).unwrap()
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[\"\\\\,():.!*& a-]{1,8}",
        "(?s).{1,8}".prop_map(|text| text.replace('\0', "x")),
        prop::sample::select(vec![
            "order", "count", "...a", "a->b", "a::text", "inner", "*"
        ])
        .prop_map(str::to_owned),
    ]
}

proptest! {
    #[test]
    fn a_selection(a in name(), b in name(), c in name(), d in name()) {
        let inner = Selection::new().column(col(c.clone()));
        let selection = Selection::new()
            .column(col(a.clone()))
            .column(col(a.clone()).alias(b.clone()))
            .embed(Embedding::of(format!("{d}x"), inner).alias(d.clone()).hint(c.clone()).inner());
        let call = Offline::default().table("t").selection(selection).call().unwrap();
        let text = parameter(call.request.uri(), "select");
        let mut reader = Reader::new(&text);
        let read = items(&mut reader).unwrap();
        reader.end().unwrap();
        let field = Field { name: a.clone(), path: Vec::new() };
        let expected = [
            plain(&a),
            // A column's own name is not repeated as an alias.
            Item::Field { alias: (a != b).then_some(b), field },
            Item::Embed {
                alias: Some(d.clone()),
                relation: format!("{d}x"),
                hints: vec![c.clone(), "inner".to_owned()],
                items: vec![plain(&c)],
            },
        ];
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn an_order(a in name(), b in name()) {
        let order = (col(a.clone()).desc().nulls_last(), col(b.clone()).asc());
        let call = Offline::default().table("t").order(order).call().unwrap();
        let text = parameter(call.request.uri(), "order");
        let mut reader = Reader::new(&text);
        prop_assert_eq!(reader.field().unwrap().name, a);
        prop_assert!(reader.take(".desc.nullslast,"));
        prop_assert_eq!(reader.field().unwrap().name, b);
        prop_assert_eq!(reader.rest(), ".asc");
    }
}
