//! Which type of Rust holds a value of which type of the database, as PostgREST writes it in JSON.

use std::collections::{BTreeMap, BTreeSet};

use super::catalog::{Catalog, Kind, Type, TypeId};

/// Any JSON.
pub(super) const ANY: &str = "serde_json::Value";

/// The types that are known by name, those of common extensions too. docs/types.md says why.
const KNOWN: &[(&str, &[&str])] = &[
    ("bool", &["bool"]),
    ("i16", &["int2"]),
    ("i32", &["int4"]),
    ("i64", &["int8"]),
    ("f32", &["float4"]),
    ("f64", &["float8"]),
    ("serde_json::Number", &["numeric"]),
    ("uuid::Uuid", &["uuid"]),
    ("jiff::Timestamp", &["timestamptz"]),
    ("jiff::civil::DateTime", &["timestamp"]),
    ("jiff::civil::Date", &["date"]),
    ("jiff::civil::Time", &["time"]),
    (ANY, &["json", "jsonb"]),
    ("String", TEXTS),
];

/// The types that JSON holds as text, and that Rust's common types have no better form for.
const TEXTS: &[&str] = &[
    "bit",
    "bpchar",
    "box",
    "bytea",
    "char",
    "cidr",
    "circle",
    "citext",
    "halfvec",
    "inet",
    "int2vector",
    "interval",
    "line",
    "lquery",
    "lseg",
    "ltree",
    "ltxtquery",
    "macaddr",
    "macaddr8",
    "money",
    "name",
    "oid",
    "oidvector",
    "path",
    "pg_lsn",
    "point",
    "polygon",
    "regclass",
    "regproc",
    "regprocedure",
    "regrole",
    "regtype",
    "sparsevec",
    "text",
    "timetz",
    "tsquery",
    "tsvector",
    "varbit",
    "varchar",
    "vector",
    "xml",
];

/// A type of Rust, and what to say about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RustType {
    /// As it is written.
    pub(super) text: String,
    /// The name of the type that it stands for, where that has no form of its own.
    pub(super) stands_for: Option<String>,
}

/// The types of a catalog, and the names that some of them get in Rust.
#[derive(Debug)]
pub(super) struct Types<'a> {
    by_id: BTreeMap<TypeId, &'a Type>,
    names: BTreeMap<TypeId, String>,
}

impl<'a> Types<'a> {
    pub(super) fn new(catalog: &'a Catalog) -> Self {
        Self {
            by_id: catalog.types.iter().map(|kind| (kind.id, kind)).collect(),
            names: BTreeMap::new(),
        }
    }

    /// Says that a type is written out in Rust under this name.
    pub(super) fn name(&mut self, id: TypeId, name: String) {
        self.names.insert(id, name);
    }

    /// The Rust type of a type's values.
    pub(super) fn rust(&self, id: TypeId) -> RustType {
        if let Some(name) = self.names.get(&id) {
            return RustType::of(name);
        }
        let Some(kind) = self.by_id.get(&id) else {
            return RustType::any("an unknown type");
        };
        match kind.kind {
            Kind::Domain => self.rust(kind.base),
            Kind::Range | Kind::Multirange => RustType::of("String"),
            Kind::Base => match (known(&kind.name), kind.element) {
                (Some(text), _) => RustType::of(text),
                (None, 0) => RustType::any(&kind.name),
                (None, element) => {
                    let element = self.rust(element);
                    RustType {
                        text: format!("Vec<{}>", element.text),
                        ..element
                    }
                }
            },
            Kind::Composite | Kind::Enum | Kind::Pseudo => RustType::any(&kind.name),
        }
    }

    /// Whether it is a domain that refuses null, or lies over one.
    pub(super) fn refuses_null(&self, id: TypeId) -> bool {
        self.domains(id).any(|domain| domain.not_null)
    }

    /// Whether it is a domain with a default, or lies over one.
    pub(super) fn has_default(&self, id: TypeId) -> bool {
        self.domains(id).any(|domain| domain.has_default)
    }

    /// The schema and the name of a type, which tell it from others in every database.
    pub(super) fn original(&self, id: TypeId) -> Option<(&'a str, &'a str)> {
        let kind = self.by_id.get(&id)?;
        Some((&kind.schema, &kind.name))
    }

    /// Whether it is the type of a table's or view's rows.
    pub(super) fn is_row(&self, id: TypeId) -> bool {
        self.by_id.get(&id).is_some_and(|kind| kind.is_row)
    }

    /// Whether it is `void`.
    pub(super) fn is_void(&self, id: TypeId) -> bool {
        self.by_id
            .get(&id)
            .is_some_and(|kind| kind.kind == Kind::Pseudo && kind.name == "void")
    }

    /// The enums and composite types that values of these types hold, themselves included, sorted by
    /// name.
    pub(super) fn reached_from(&self, ids: impl IntoIterator<Item = TypeId>) -> Vec<&'a Type> {
        let mut open: Vec<TypeId> = ids.into_iter().collect();
        let mut seen = BTreeSet::new();
        let mut found = Vec::new();
        while let Some(id) = open.pop() {
            let Some(kind) = self.by_id.get(&id).filter(|_| seen.insert(id)) else {
                continue;
            };
            open.extend([kind.base, kind.element]);
            open.extend(kind.attributes.iter().map(|attribute| attribute.type_id));
            if kind.kind == Kind::Enum || (kind.kind == Kind::Composite && !kind.is_row) {
                found.push(*kind);
            }
        }
        found.sort_by_key(|kind| (&kind.name, &kind.schema));
        found
    }

    /// A type and those beneath it, as far as they are domains.
    fn domains(&self, id: TypeId) -> impl Iterator<Item = &'a Type> {
        let find = |id: TypeId| {
            let kind = self.by_id.get(&id).copied();
            kind.filter(|kind| kind.kind == Kind::Domain)
        };
        std::iter::successors(find(id), move |domain| find(domain.base))
    }
}

impl RustType {
    fn of(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            stands_for: None,
        }
    }

    fn any(name: &str) -> Self {
        Self {
            text: ANY.to_owned(),
            stands_for: Some(name.to_owned()),
        }
    }

    /// This type where there may be none. Any JSON says so by itself.
    pub(super) fn optional(&self) -> String {
        if self.text == ANY {
            self.text.clone()
        } else {
            self.optional_column()
        }
    }

    /// This type where a column may hold null, which the SDK tells by the `Option`.
    pub(super) fn optional_column(&self) -> String {
        format!("Option<{}>", self.text)
    }
}

fn known(name: &str) -> Option<&'static str> {
    let row = KNOWN.iter().find(|(_, names)| names.contains(&name));
    row.map(|(text, _)| *text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(id: TypeId, name: &str, kind: Kind) -> Type {
        Type {
            id,
            name: name.to_owned(),
            kind,
            ..Type::default()
        }
    }

    /// A `uuid[]`, a domain over a domain over it, an enum, a composite type with an array of the
    /// enum, and a type that nobody knows.
    fn catalog() -> Catalog {
        let mut types = vec![
            kind(1, "uuid", Kind::Base),
            kind(2, "_uuid", Kind::Base),
            kind(3, "ids", Kind::Domain),
            kind(4, "more_ids", Kind::Domain),
            kind(5, "mood", Kind::Enum),
            kind(6, "_mood", Kind::Base),
            kind(7, "pair", Kind::Composite),
            kind(8, "geometry", Kind::Base),
            kind(9, "void", Kind::Pseudo),
            kind(10, "int4range", Kind::Range),
        ];
        for kind in &mut types {
            match kind.id {
                2 => kind.element = 1,
                3 => (kind.base, kind.not_null) = (2, true),
                4 => (kind.base, kind.has_default) = (3, true),
                6 => kind.element = 5,
                7 => {
                    kind.attributes = vec![super::super::catalog::Attribute {
                        type_id: 6,
                        ..Default::default()
                    }];
                }
                _ => {}
            }
        }
        Catalog {
            types,
            ..Catalog::default()
        }
    }

    #[test]
    fn domains_and_arrays_are_looked_through() {
        let catalog = catalog();
        let types = Types::new(&catalog);
        assert_eq!(types.rust(4).text, "Vec<uuid::Uuid>");
        assert!(types.refuses_null(4) && types.has_default(4));
        assert!(types.refuses_null(3) && !types.has_default(3));
        assert!(!types.refuses_null(2));
        assert_eq!(types.rust(10).text, "String");
    }

    #[test]
    fn what_has_no_form_is_any_json_and_says_so() {
        let catalog = catalog();
        let types = Types::new(&catalog);
        let unknown = types.rust(8);
        assert_eq!(unknown.text, ANY);
        assert_eq!(unknown.stands_for.as_deref(), Some("geometry"));
        assert_eq!(unknown.optional(), ANY);
        assert_eq!(types.rust(99).text, ANY);
    }

    #[test]
    fn the_types_within_a_type_are_reached() {
        let catalog = catalog();
        let mut types = Types::new(&catalog);
        let reached: Vec<&str> = types
            .reached_from([7])
            .iter()
            .map(|kind| kind.name.as_str())
            .collect();
        assert_eq!(reached, ["mood", "pair"]);
        assert!(types.reached_from([4]).is_empty());
        types.name(5, "Mood".to_owned());
        assert_eq!(types.rust(6).text, "Vec<Mood>");
    }

    #[test]
    fn no_type_is_known_twice() {
        let names: Vec<&str> = KNOWN
            .iter()
            .flat_map(|(_, names)| *names)
            .copied()
            .collect();
        let distinct: BTreeSet<&str> = names.iter().copied().collect();
        assert_eq!(names.len(), distinct.len());
    }
}
