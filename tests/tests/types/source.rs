//! Structs as they stand in a source file that rustfmt has formatted: enough of Rust for tables and
//! functions, which have one attribute and one field a line.

use std::collections::BTreeMap;

/// A struct of a source file.
#[derive(Debug, Default, Clone)]
pub(crate) struct Struct {
    pub(crate) name: String,
    /// The setting of `#[table(name = …)]` or `#[function(name = …)]`.
    pub(crate) table: Option<String>,
    pub(crate) function: Option<String>,
    /// The setting of `returns = …`.
    pub(crate) returns: Option<String>,
    /// The fields by the names that they have in JSON.
    pub(crate) fields: BTreeMap<String, Field>,
}

/// A field of a struct.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    pub(crate) kind: String,
    /// Whether it is left out of the JSON where it is `None`.
    pub(crate) skipped: bool,
}

/// The public structs of a source file.
pub(crate) fn structs(source: &str) -> Vec<Struct> {
    let mut found = Vec::new();
    let mut open = None;
    let (mut attributes, mut pending) = (String::new(), None);
    for line in source.lines().map(str::trim) {
        if line.starts_with("#[") {
            attributes.push_str(line);
        } else if let Some(rest) = line.strip_prefix("pub struct ") {
            let (name, _) = rest.split_once(" {").unwrap();
            let next = declared(name, &std::mem::take(&mut attributes));
            // A struct without fields ends where it begins.
            if rest.ends_with("{}") {
                found.push(next);
            } else {
                open = Some(next);
            }
        } else if line == "}" {
            found.extend(open.take());
        } else if let Some((name, kind)) = field(line, &mut pending) {
            let attributes = std::mem::take(&mut attributes);
            if let Some(open) = &mut open {
                let name = setting(&attributes, "rename").unwrap_or(name);
                let skipped = attributes.contains("skip_serializing_if");
                open.fields.insert(name, Field { kind, skipped });
            }
        } else if !line.starts_with("//") && pending.is_none() {
            attributes.clear();
        }
    }
    found
}

/// A field's name and type; where the line is too long they stand on two.
fn field(line: &str, pending: &mut Option<String>) -> Option<(String, String)> {
    if let Some(name) = pending.take() {
        return Some((name, line.strip_suffix(',')?.to_owned()));
    }
    let (name, kind) = line.strip_prefix("pub ")?.split_once(':')?;
    let name = name.trim_start_matches("r#").to_owned();
    if kind.is_empty() {
        *pending = Some(name);
        return None;
    }
    Some((name, kind.trim().strip_suffix(',')?.to_owned()))
}

fn declared(name: &str, attributes: &str) -> Struct {
    let named = |kind: &str| {
        let (_, rest) = attributes.split_once(&format!("#[{kind}("))?;
        setting(rest, "name")
    };
    let returns = attributes.split_once("returns = ").map(|(_, rest)| {
        let end = rest.find([',', ')', ']']).unwrap();
        rest[..end].to_owned()
    });
    Struct {
        name: name.to_owned(),
        table: named("table"),
        function: named("function"),
        returns,
        fields: BTreeMap::new(),
    }
}

/// The text of `key = "…"`.
fn setting(attributes: &str, key: &str) -> Option<String> {
    let (_, rest) = attributes.split_once(&format!("{key} = \""))?;
    Some(rest.split('"').next()?.to_owned())
}

#[test]
fn structs_are_read_as_they_are_written() {
    let found = structs(
        "#[table(name = \"t\")]\npub struct T {\n    /// Doc.\n    #[serde(rename = \"type\")]\n    \
         pub kind: Option<i32>,\n    pub r#fn:\n        String,\n}\n\n\
         #[function(name = \"f\", returns = Vec<T>)]\npub struct F {}\n",
    );
    assert_eq!(found[0].table.as_deref(), Some("t"));
    assert_eq!(found[0].fields["type"].kind, "Option<i32>");
    assert_eq!(found[0].fields["fn"].kind, "String");
    assert_eq!(found[1].function.as_deref(), Some("f"));
    assert_eq!(found[1].returns.as_deref(), Some("Vec<T>"));
}
