//! The Rust type of each database type's values, as PostgREST writes them in JSON.

use std::collections::{BTreeMap, BTreeSet};

use super::catalog::{Catalog, CatalogType, TypeId, TypeKind};
use super::{SdkFeature, TimeCrate, TypegenOptions};

/// Any JSON.
pub(super) const ANY: &str = "serde_json::Value";

/// Known types, by their names in Postgres and common extensions. docs/types.md gives the reasons.
const KNOWN: &[(&str, &str)] = &[
    ("bool", "bool"),
    ("i16", "int2"),
    ("i32", "int4"),
    ("i64", "int8"),
    ("f32", "float4"),
    ("f64", "float8"),
    ("serde_json::Number", "numeric"),
    ("uuid::Uuid", "uuid"),
    ("jiff::Timestamp", "timestamptz"),
    ("jiff::civil::DateTime", "timestamp"),
    ("jiff::civil::Date", "date"),
    ("jiff::civil::Time", "time"),
    (ANY, "json jsonb"),
    // JSON holds these as text, and common Rust crates have no better type for them.
    (
        "String",
        "bit bpchar box bytea char cidr circle citext halfvec inet int2vector interval line lquery \
         lseg ltree ltxtquery macaddr macaddr8 money name oid oidvector path pg_lsn point polygon \
         regclass regproc regprocedure regrole regtype sparsevec text timetz tsquery tsvector \
         varbit varchar vector xml",
    ),
];

/// A Rust type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RustType {
    /// The type in Rust syntax.
    pub(super) text: String,
    /// The name of the database type, if there is no Rust type for it.
    pub(super) stands_for: Option<String>,
}

/// The types of a catalog, and the names that some of them have in Rust.
#[derive(Debug)]
pub(super) struct Types<'a> {
    by_id: BTreeMap<TypeId, &'a CatalogType>,
    names: BTreeMap<TypeId, String>,
    options: &'a TypegenOptions,
}

impl<'a> Types<'a> {
    pub(super) fn new(catalog: &'a Catalog, options: &'a TypegenOptions) -> Self {
        Self {
            by_id: catalog.types.iter().map(|kind| (kind.id, kind)).collect(),
            names: BTreeMap::new(),
            options,
        }
    }

    /// Records the name of a type that is generated.
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
            TypeKind::Domain => self.rust(kind.base),
            TypeKind::Range | TypeKind::Multirange => RustType::of("String"),
            TypeKind::Base => match (known(&kind.name), kind.element) {
                (Some(text), _) => RustType::of(self.preferred(&kind.name, text)),
                (None, 0) => RustType::any(&kind.name),
                (None, element) => {
                    let element = self.rust(element);
                    RustType {
                        text: format!("Vec<{}>", element.text),
                        ..element
                    }
                }
            },
            TypeKind::Composite | TypeKind::Enum | TypeKind::Pseudo => RustType::any(&kind.name),
        }
    }

    /// The Rust type of the database type `name`, as the options want it.
    fn preferred(&self, name: &str, text: &'static str) -> &'static str {
        let has = |feature| self.options.features.contains(&feature);
        match (self.options.time, text, name) {
            (TimeCrate::Chrono, "jiff::Timestamp", _) => "chrono::DateTime<chrono::Utc>",
            (TimeCrate::Chrono, "jiff::civil::DateTime", _) => "chrono::NaiveDateTime",
            (TimeCrate::Chrono, "jiff::civil::Date", _) => "chrono::NaiveDate",
            (TimeCrate::Chrono, "jiff::civil::Time", _) => "chrono::NaiveTime",
            (_, _, "bytea") if has(SdkFeature::Bytes) => "sluice_sdk::schema::Bytea",
            (_, _, "vector" | "halfvec") if has(SdkFeature::Pgvector) => {
                "sluice_sdk::schema::Vector"
            }
            _ => text,
        }
    }

    /// Whether it is a domain that refuses null, or is based on one.
    pub(super) fn refuses_null(&self, id: TypeId) -> bool {
        self.domains(id).any(|domain| domain.not_null)
    }

    /// Whether it is a domain with a default, or is based on one.
    pub(super) fn has_default(&self, id: TypeId) -> bool {
        self.domains(id).any(|domain| domain.has_default)
    }

    /// The schema and the name of a type, which identify it in every database.
    pub(super) fn schema_and_name(&self, id: TypeId) -> Option<(&'a str, &'a str)> {
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
            .is_some_and(|kind| kind.kind == TypeKind::Pseudo && kind.name == "void")
    }

    /// The enums and composite types among these types and inside them, sorted by name.
    pub(super) fn reached_from(
        &self,
        ids: impl IntoIterator<Item = TypeId>,
    ) -> Vec<&'a CatalogType> {
        let mut open: Vec<TypeId> = ids.into_iter().collect();
        let mut seen = BTreeSet::new();
        let mut found = Vec::new();
        while let Some(id) = open.pop() {
            let Some(kind) = self.by_id.get(&id).filter(|_| seen.insert(id)) else {
                continue;
            };
            open.extend([kind.base, kind.element]);
            open.extend(kind.attributes.iter().map(|attribute| attribute.type_id));
            if kind.kind == TypeKind::Enum || (kind.kind == TypeKind::Composite && !kind.is_row) {
                found.push(*kind);
            }
        }
        found.sort_by_key(|kind| (&kind.name, &kind.schema));
        found
    }

    /// A domain and the domains that it is based on.
    fn domains(&self, id: TypeId) -> impl Iterator<Item = &'a CatalogType> {
        let find = |id: TypeId| {
            let kind = self.by_id.get(&id).copied();
            kind.filter(|kind| kind.kind == TypeKind::Domain)
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

    /// This type, made optional. Any JSON can be null already.
    pub(super) fn optional(&self) -> String {
        if self.text == ANY {
            self.text.clone()
        } else {
            self.optional_column()
        }
    }

    /// This type for a nullable column, which the SDK recognizes by the `Option`.
    pub(super) fn optional_column(&self) -> String {
        format!("Option<{}>", self.text)
    }
}

fn known(name: &str) -> Option<&'static str> {
    let has_name = |names: &str| names.split(' ').any(|known| known == name);
    let row = KNOWN.iter().find(|(_, names)| has_name(names));
    row.map(|(text, _)| *text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(id: TypeId, name: &str, kind: TypeKind) -> CatalogType {
        CatalogType {
            id,
            name: name.to_owned(),
            kind,
            ..CatalogType::default()
        }
    }

    /// A `uuid[]`, a domain over a domain over it, an enum, a composite type with an array of the
    /// enum, and an unknown type.
    fn catalog() -> Catalog {
        let mut types = vec![
            kind(1, "uuid", TypeKind::Base),
            kind(2, "_uuid", TypeKind::Base),
            kind(3, "ids", TypeKind::Domain),
            kind(4, "more_ids", TypeKind::Domain),
            kind(5, "mood", TypeKind::Enum),
            kind(6, "_mood", TypeKind::Base),
            kind(7, "pair", TypeKind::Composite),
            kind(8, "geometry", TypeKind::Base),
            kind(9, "void", TypeKind::Pseudo),
            kind(10, "int4range", TypeKind::Range),
        ];
        for kind in &mut types {
            match kind.id {
                2 => kind.element = 1,
                3 => (kind.base, kind.not_null) = (2, true),
                4 => (kind.base, kind.has_default) = (3, true),
                6 => kind.element = 5,
                7 => {
                    kind.attributes = vec![super::super::catalog::TypeAttribute {
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
    fn domains_and_arrays_are_resolved() {
        let catalog = catalog();
        let options = TypegenOptions::default();
        let types = Types::new(&catalog, &options);
        assert_eq!(types.rust(4).text, "Vec<uuid::Uuid>");
        assert!(types.refuses_null(4) && types.has_default(4));
        assert!(types.refuses_null(3) && !types.has_default(3));
        assert!(!types.refuses_null(2));
        assert_eq!(types.rust(10).text, "String");
    }

    #[test]
    fn unknown_type_is_any_json_with_its_name() {
        let catalog = catalog();
        let options = TypegenOptions::default();
        let types = Types::new(&catalog, &options);
        let unknown = types.rust(8);
        assert_eq!(unknown.text, ANY);
        assert_eq!(unknown.stands_for.as_deref(), Some("geometry"));
        assert_eq!(unknown.optional(), ANY);
        assert_eq!(types.rust(99).text, ANY);
    }

    #[test]
    fn types_inside_a_type_are_reached() {
        let catalog = catalog();
        let options = TypegenOptions::default();
        let mut types = Types::new(&catalog, &options);
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
    fn no_type_is_listed_twice() {
        let names: Vec<&str> = KNOWN
            .iter()
            .flat_map(|(_, names)| names.split(' '))
            .collect();
        let distinct: BTreeSet<&str> = names.iter().copied().collect();
        assert_eq!(names.len(), distinct.len());
    }
}
