//! Tables and views: a row to read, one to insert, and one to update with.

use super::kind::field;
use super::{Build, USUAL_SCHEMA, docs};
use crate::catalog::{Column, ForeignKey, Relation};
use crate::doc;
use crate::mapping::RustType;
use crate::model::{Field, Filling, Item, PART, ROW, Struct, WRITTEN, WRITTEN_IN_PART, attribute};
use crate::name::MemberNames;

/// Leaves a field out of the JSON where it is `None`.
pub(super) const SKIP_NONE: &str = "serde(skip_serializing_if = \"Option::is_none\")";
/// Leaves a field out of the JSON where it is `Absent`.
const SKIP_ABSENT: &str = "serde(skip_serializing_if = \"sluice_sdk::Tristate::is_absent\")";

/// A column with the names and types that its fields share.
struct Place<'a> {
    column: &'a Column,
    /// The column as a field that is never null.
    field: Field,
    kind: RustType,
    /// Whether the database may hold null there.
    nullable: bool,
    /// Whether the database fills it in.
    has_default: bool,
    /// Whether an insert must give it.
    is_required: bool,
}

impl Place<'_> {
    /// What may be left out of an insert: null is no less than that, unless there is a default.
    fn insertable(&self) -> Field {
        match (self.is_required, self.nullable && self.has_default) {
            (true, _) => self.field.clone(),
            (false, true) => self.three_ways(),
            (false, false) => self.two_ways(),
        }
    }

    /// What may be left out of an update: null is another thing to say.
    fn updatable(&self) -> Field {
        if self.nullable {
            self.three_ways()
        } else {
            self.two_ways()
        }
    }

    /// Left out, or a value.
    fn two_ways(&self) -> Field {
        let mut field = self.field.clone();
        field.kind = format!("Option<{}>", field.kind);
        field.attributes.push(SKIP_NONE.to_owned());
        field
    }

    /// Left out, null, or a value.
    fn three_ways(&self) -> Field {
        let mut field = self.field.clone();
        field.kind = format!("sluice_sdk::Tristate<{}>", field.kind);
        field.attributes.push(SKIP_ABSENT.to_owned());
        field
    }
}

impl Build<'_> {
    /// Gives each table's row its name.
    pub(super) fn name_rows(&mut self, relations: &[&Relation]) {
        for relation in relations {
            let name = self.name(&relation.schema, &relation.name, "row");
            self.types.name(relation.row_type, name);
        }
    }

    /// The row of a table or view, and what is written to it.
    pub(super) fn relation(&mut self, relation: &Relation) -> Vec<Item> {
        let name = self.types.rust(relation.row_type).text;
        let places = self.places(relation);
        let mut items = vec![Item::Struct(self.row(relation, &name, &places))];
        let is_written = |place: &&Place<'_>| place.column.writable && !place.column.generated;
        let written: Vec<&Place<'_>> = places.iter().filter(is_written).collect();
        if relation.insertable {
            let insert = insert(relation, self.names.derived(&name, "Insert"), &written);
            let required = written.iter().filter(|place| place.is_required).count();
            let whole = insert.name.clone();
            items.push(Item::Struct(insert));
            if (1..written.len()).contains(&required) {
                let part = self.names.derived(&name, "Required");
                items.extend(required_part(relation, part, whole, &written));
            }
        }
        if relation.updatable {
            let update = update(relation, self.names.derived(&name, "Update"), &written);
            items.push(Item::Struct(update));
        }
        items
    }

    fn places<'a>(&self, relation: &'a Relation) -> Vec<Place<'a>> {
        let mut names = MemberNames::default();
        let place = |column: &'a Column| {
            let kind = self.types.rust(column.type_id);
            // A view may hold null even where its columns' types refuse it, by an outer join.
            let refuses = !relation.is_view && self.types.refuses_null(column.type_id);
            let comment = column.comment.as_deref();
            let unknown = kind.stands_for.as_deref();
            let text = kind.text.clone();
            let nullable = !column.not_null && !refuses;
            let has_default = column.has_default || self.types.has_default(column.type_id);
            Place {
                field: field(
                    names.field(&column.name),
                    &column.name,
                    comment,
                    "column",
                    text,
                    unknown,
                ),
                nullable,
                has_default,
                is_required: !relation.is_view && !nullable && !has_default,
                column,
                kind,
            }
        };
        relation.columns.iter().map(place).collect()
    }

    fn row(&mut self, relation: &Relation, name: &str, places: &[Place<'_>]) -> Struct {
        let noun = if relation.is_view { "view" } else { "table" };
        let otherwise = format!("The {noun} {}.", doc::code(&relation.name));
        let mut docs = docs(relation.comment.as_deref(), otherwise);
        docs.extend(foreign_keys(relation));
        let mut attributes = vec![attribute("table", "name", &relation.name)];
        if relation.schema != USUAL_SCHEMA {
            attributes.push(attribute("table", "schema", &relation.schema));
        }
        let fields = places.iter().map(|place| {
            let mut field = place.field.clone();
            let nullable = place.nullable;
            if self
                .nullness
                .of(&relation.name, &place.column.name, nullable)
            {
                field.kind = place.kind.optional_column();
            }
            if place.column.primary_key {
                field.attributes.push("table(primary_key)".to_owned());
            }
            field
        });
        Struct {
            name: name.to_owned(),
            docs,
            derives: ROW,
            attributes,
            fields: fields.collect(),
        }
    }
}

fn insert(relation: &Relation, name: String, places: &[&Place<'_>]) -> Struct {
    let all_optional = places.iter().all(|place| !place.is_required);
    let fields = places.iter().map(|place| place.insertable());
    Struct {
        docs: vec![
            format!("A row to insert into {}.", doc::code(&relation.name)),
            String::new(),
            "What is left out gets its default, or else null.".to_owned(),
        ],
        derives: if all_optional {
            WRITTEN_IN_PART
        } else {
            WRITTEN
        },
        attributes: Vec::new(),
        fields: fields.collect(),
        name,
    }
}

/// The columns that an insert must give, and how they become a row with nothing else. So a row names
/// what it gives and no more, and still compiles when the table gets another column that it may leave
/// out.
fn required_part(
    relation: &Relation,
    part: String,
    whole: String,
    places: &[&Place<'_>],
) -> [Item; 2] {
    let required = places.iter().filter(|place| place.is_required);
    // They are not serialized, so that they need no other name there.
    let fields = required.map(|place| Field {
        attributes: Vec::new(),
        ..place.field.clone()
    });
    let part_struct = Struct {
        docs: vec![
            format!(
                "What a row to insert into {} cannot do without.",
                doc::code(&relation.name)
            ),
            String::new(),
            format!("`{whole} {{ ..{part} {{ … }}.into() }}` leaves out the rest."),
        ],
        derives: PART,
        attributes: Vec::new(),
        fields: fields.collect(),
        name: part.clone(),
    };
    let fields = places.iter().map(|place| {
        let filler = match (place.is_required, place.insertable().kind) {
            (true, _) => None,
            (false, kind) if kind.starts_with("Option<") => Some("None"),
            (false, _) => Some("sluice_sdk::Tristate::Absent"),
        };
        (place.field.name.clone(), filler)
    });
    let filling = Filling {
        part,
        whole,
        fields: fields.collect(),
    };
    [Item::Struct(part_struct), Item::Filling(filling)]
}

fn update(relation: &Relation, name: String, places: &[&Place<'_>]) -> Struct {
    let fields = places.iter().map(|place| place.updatable());
    Struct {
        docs: vec![
            format!("New values for columns of {}.", doc::code(&relation.name)),
            String::new(),
            "What is left out stays as it is.".to_owned(),
        ],
        derives: WRITTEN_IN_PART,
        attributes: Vec::new(),
        fields: fields.collect(),
        name,
    }
}

/// What a table refers to, each with the constraint's name, which is the hint of an embed.
fn foreign_keys(relation: &Relation) -> Vec<String> {
    let mut keys: Vec<&ForeignKey> = relation.foreign_keys.iter().collect();
    keys.sort_by_key(|key| &key.name);
    let line = |key: &ForeignKey| {
        let target = if key.schema == relation.schema {
            key.relation.clone()
        } else {
            format!("{}.{}", key.schema, key.relation)
        };
        let target = format!("{target}({})", key.references.join(", "));
        format!(
            "- {} → {} by {}",
            doc::code(&key.columns.join(", ")),
            doc::code(&target),
            doc::code(&key.name)
        )
    };
    if keys.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![String::new(), "Foreign keys:".to_owned(), String::new()];
    lines.extend(keys.into_iter().map(line));
    lines
}
