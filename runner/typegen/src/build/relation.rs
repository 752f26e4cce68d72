//! Tables and views: a row to read, one to insert, and one for updates.

use super::{Build, addressed, docs, field};
use crate::catalog::{CatalogColumn, CatalogTable, ForeignKey};
use crate::doc;
use crate::mapping::RustType;
use crate::model::{
    FromImpl, OPTIONAL_WRITE, REQUIRED, ROW, RustField, RustItem, RustStruct, WRITE,
};
use crate::name::MemberNames;

/// Leaves a field out of the JSON if it is `None`.
pub(super) const SKIP_NONE: &str = "serde(skip_serializing_if = \"Option::is_none\")";
/// The SDK's type of a value that may be absent or null.
const TRISTATE: &str = "sluice_sdk::Tristate";
const ABSENT: &str = "sluice_sdk::Tristate::Absent";
/// Leaves such a field out of the JSON if it is absent.
const SKIP_ABSENT: &str = "serde(skip_serializing_if = \"sluice_sdk::Tristate::is_absent\")";

/// A column, and the field of its row.
struct ColumnField<'a> {
    column: &'a CatalogColumn,
    /// The field, which is never null.
    field: RustField,
    value: RustType,
    /// Whether the database may hold null here.
    nullable: bool,
    has_default: bool,
    /// Whether an insert must give a value.
    is_required: bool,
}

impl ColumnField<'_> {
    /// The field of an insert. Leaving it out means null, unless there is a default.
    fn for_insert(&self) -> RustField {
        match (self.is_required, self.nullable && self.has_default) {
            (true, _) => self.field.clone(),
            (false, true) => self.wrapped(TRISTATE, SKIP_ABSENT),
            (false, false) => self.wrapped("Option", SKIP_NONE),
        }
    }

    /// The field of an update. Leaving it out keeps the value, which differs from null.
    fn for_update(&self) -> RustField {
        if self.nullable {
            self.wrapped(TRISTATE, SKIP_ABSENT)
        } else {
            self.wrapped("Option", SKIP_NONE)
        }
    }

    fn wrapped(&self, outer: &str, skip: &str) -> RustField {
        let mut field = self.field.clone();
        field.kind = format!("{outer}<{}>", field.kind);
        field.attributes.push(skip.to_owned());
        field
    }
}

impl Build<'_> {
    pub(super) fn name_rows(&mut self, relations: &[&CatalogTable]) {
        for relation in relations {
            let name = self.name(&relation.schema, &relation.name, "row");
            self.types.name(relation.row_type, name);
        }
    }

    /// The row of a table or view, and the structs that are written to it.
    pub(super) fn relation(&mut self, relation: &CatalogTable) -> Vec<RustItem> {
        let name = self.types.rust(relation.row_type).text;
        let columns = self.columns(relation);
        let mut items = vec![RustItem::Struct(self.row(relation, &name, &columns))];
        let is_written = |one: &&ColumnField<'_>| one.column.writable && !one.column.generated;
        let written: Vec<&ColumnField<'_>> = columns.iter().filter(is_written).collect();
        if relation.insertable {
            let insert = insert(relation, self.names.derived(&name, "Insert"), &written);
            let required = written.iter().filter(|column| column.is_required).count();
            let whole = insert.name.clone();
            items.push(RustItem::Struct(insert));
            if (1..written.len()).contains(&required) {
                let part = self.names.derived(&name, "Required");
                items.extend(required_part(relation, part, whole, &written));
            }
        }
        if relation.updatable {
            let update = update(relation, self.names.derived(&name, "Update"), &written);
            items.push(RustItem::Struct(update));
        }
        items
    }

    fn columns<'a>(&self, relation: &'a CatalogTable) -> Vec<ColumnField<'a>> {
        let mut names = MemberNames::default();
        let describe = |column: &'a CatalogColumn| {
            let value = self.types.rust(column.type_id);
            // An outer join makes null in a view, even in a column of a domain that refuses null.
            let refuses = !relation.is_view && self.types.refuses_null(column.type_id);
            let nullable = !column.not_null && !refuses;
            let has_default = column.has_default || self.types.has_default(column.type_id);
            let comment = column.comment.as_deref();
            ColumnField {
                field: field(&mut names, &column.name, comment, "column", &value),
                nullable,
                has_default,
                is_required: !relation.is_view && !nullable && !has_default,
                column,
                value,
            }
        };
        relation.columns.iter().map(describe).collect()
    }

    fn row(
        &mut self,
        relation: &CatalogTable,
        name: &str,
        columns: &[ColumnField<'_>],
    ) -> RustStruct {
        let noun = if relation.is_view { "view" } else { "table" };
        let otherwise = format!("The {noun} {}.", doc::code(&relation.name));
        let mut docs = docs(relation.comment.as_deref(), otherwise);
        docs.extend(foreign_keys(relation));
        let fields = columns.iter().map(|one| {
            let (column, mut field) = (one.column, one.field.clone());
            if self.nullness.of(&relation.name, &column.name, one.nullable) {
                field.kind = one.value.optional_column();
            }
            if column.primary_key {
                field.attributes.push("table(primary_key)".to_owned());
            }
            field
        });
        RustStruct {
            name: name.to_owned(),
            docs,
            derives: ROW,
            fields: fields.collect(),
            attributes: addressed("table", &relation.schema, &relation.name),
        }
    }
}

fn insert(relation: &CatalogTable, name: String, columns: &[&ColumnField<'_>]) -> RustStruct {
    let is_optional = columns.iter().all(|column| !column.is_required);
    let shown = doc::code(&relation.name);
    written_struct(
        name,
        if is_optional { OPTIONAL_WRITE } else { WRITE },
        format!("A row to insert into {shown}."),
        "What is left out gets its default, or else null.".to_owned(),
        columns.iter().map(|column| column.for_insert()).collect(),
    )
}

fn update(relation: &CatalogTable, name: String, columns: &[&ColumnField<'_>]) -> RustStruct {
    written_struct(
        name,
        OPTIONAL_WRITE,
        format!("New values for columns of {}.", doc::code(&relation.name)),
        "What is left out stays as it is.".to_owned(),
        columns.iter().map(|column| column.for_update()).collect(),
    )
}

/// The required columns of an insert, and their conversion to an insert without the others. Code that
/// uses it still compiles when the table gets another column that may be left out.
fn required_part(
    relation: &CatalogTable,
    part: String,
    whole: String,
    columns: &[&ColumnField<'_>],
) -> [RustItem; 2] {
    let required = columns.iter().filter(|column| column.is_required);
    // They are not serialized, so they need no attributes.
    let required = required.map(|column| RustField {
        attributes: Vec::new(),
        ..column.field.clone()
    });
    let shown = doc::code(&relation.name);
    let part_struct = written_struct(
        part.clone(),
        REQUIRED,
        format!("What a row to insert into {shown} cannot do without."),
        format!("`{whole} {{ ..{part} {{ … }}.into() }}` leaves out the rest."),
        required.collect(),
    );
    let fields = columns.iter().map(|column| {
        let filler = match (column.is_required, column.for_insert().kind) {
            (true, _) => None,
            (false, kind) if kind.starts_with("Option<") => Some("None"),
            (false, _) => Some(ABSENT),
        };
        (column.field.name.clone(), filler)
    });
    let from = FromImpl {
        part,
        whole,
        fields: fields.collect(),
    };
    [RustItem::Struct(part_struct), RustItem::From(from)]
}

fn written_struct(
    name: String,
    derives: &'static [&'static str],
    title: String,
    detail: String,
    fields: Vec<RustField>,
) -> RustStruct {
    RustStruct {
        name,
        docs: vec![title, String::new(), detail],
        derives,
        attributes: Vec::new(),
        fields,
    }
}

/// The foreign keys, each with the constraint's name, which is the hint of an embed.
fn foreign_keys(relation: &CatalogTable) -> Vec<String> {
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
