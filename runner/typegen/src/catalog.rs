//! What the database says about itself: the query, and the shape of its answer.

use serde::Deserialize;

/// The tables, views, functions and types that code is made from.
///
/// Read it with [`query`]; nothing in it depends on the host, the time or a collation.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Catalog {
    /// The schemas that were asked for and exist.
    pub schemas: Vec<String>,
    /// The tables and views of these schemas.
    pub relations: Vec<Relation>,
    /// The functions of these schemas.
    pub functions: Vec<Function>,
    /// Every type of the database.
    pub types: Vec<Type>,
}

/// The number by which the database knows a type. It differs between databases, so nothing that is
/// written may depend on it.
pub type TypeId = i64;

/// A table, a view, a materialized view or a foreign table.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Relation {
    /// The schema it is in.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Whether it is a view, materialized or not.
    pub is_view: bool,
    /// The type of its rows.
    pub row_type: TypeId,
    /// Its comment.
    pub comment: Option<String>,
    /// Whether rows can be inserted.
    pub insertable: bool,
    /// Whether rows can be updated.
    pub updatable: bool,
    /// Its columns, in their order.
    pub columns: Vec<Column>,
    /// Its foreign keys.
    pub foreign_keys: Vec<ForeignKey>,
}

/// A column of a table or view.
#[derive(Debug, Clone, Default, Deserialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "the catalog has that many independent flags of a column"
)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    pub type_id: TypeId,
    /// Whether it is declared `not null`.
    pub not_null: bool,
    /// Whether an insert may leave it out: it has a default, or is an identity by default.
    pub has_default: bool,
    /// Whether the database alone writes it: generated, or an identity always.
    pub generated: bool,
    /// Whether a view passes writes on to it.
    pub writable: bool,
    /// Whether it belongs to the primary key.
    pub primary_key: bool,
    /// Its comment.
    pub comment: Option<String>,
}

/// A foreign key.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct ForeignKey {
    /// The constraint's name, which is the hint of an embed.
    pub name: String,
    /// The columns that refer.
    pub columns: Vec<String>,
    /// The schema of the table they refer to.
    pub schema: String,
    /// The table they refer to.
    pub relation: String,
    /// The columns they refer to.
    pub references: Vec<String>,
}

/// A function.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Function {
    /// The schema it is in.
    pub schema: String,
    /// Its name, which it may share with others.
    pub name: String,
    /// Its comment.
    pub comment: Option<String>,
    /// Whether it is stable or immutable.
    pub read_only: bool,
    /// Whether it returns a set.
    pub returns_set: bool,
    /// The type that it returns, or of which it returns a set.
    pub result: TypeId,
    /// How many of its last inputs have defaults.
    pub defaults: usize,
    /// Its arguments and the columns of its result, in their order.
    pub arguments: Vec<Argument>,
}

/// An argument of a function, or a column of its result.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Argument {
    /// Its name, where it has one.
    pub name: Option<String>,
    /// Which way it goes.
    pub mode: Mode,
    /// Its type.
    pub type_id: TypeId,
}

/// Which way an argument goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum Mode {
    /// `IN`
    #[default]
    #[serde(rename = "i")]
    In,
    /// `OUT`
    #[serde(rename = "o")]
    Out,
    /// `INOUT`
    #[serde(rename = "b")]
    Both,
    /// `VARIADIC`
    #[serde(rename = "v")]
    Variadic,
    /// A column of `RETURNS TABLE`
    #[serde(rename = "t")]
    Table,
}

impl Mode {
    /// Whether a caller gives it.
    pub(super) fn is_input(self) -> bool {
        matches!(self, Self::In | Self::Both | Self::Variadic)
    }

    /// Whether it is a column of the result.
    pub(super) fn is_output(self) -> bool {
        matches!(self, Self::Out | Self::Both | Self::Table)
    }
}

/// A type of the database.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Type {
    /// Its number.
    pub id: TypeId,
    /// The schema it is in.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Of an array: the type of its elements; else 0.
    pub element: TypeId,
    /// Of a domain: the type beneath it; else 0.
    pub base: TypeId,
    /// Whether it is a domain that refuses null.
    pub not_null: bool,
    /// Whether it is a domain with a default.
    pub has_default: bool,
    /// Its comment.
    pub comment: Option<String>,
    /// Of an enum: its labels, in their order.
    pub labels: Vec<String>,
    /// Of a composite type that stands alone: its attributes, in their order.
    pub attributes: Vec<Attribute>,
    /// Whether it is the type of a table's or view's rows.
    pub is_row: bool,
}

/// What a type is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum Kind {
    /// A type by itself, arrays too.
    #[default]
    #[serde(rename = "b")]
    Base,
    /// A composite type.
    #[serde(rename = "c")]
    Composite,
    /// A domain.
    #[serde(rename = "d")]
    Domain,
    /// An enum.
    #[serde(rename = "e")]
    Enum,
    /// A type that only functions use, such as `void`.
    #[serde(rename = "p")]
    Pseudo,
    /// A range.
    #[serde(rename = "r")]
    Range,
    /// A set of ranges.
    #[serde(rename = "m")]
    Multirange,
}

/// An attribute of a composite type.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Attribute {
    /// Its name.
    pub name: String,
    /// Its type.
    pub type_id: TypeId,
    /// Its comment.
    pub comment: Option<String>,
}

/// The statement that reads the catalog of these schemas: one row with one column of JSON text.
pub fn query(schemas: &[String]) -> String {
    // Parts first, so that no schema's name is taken for the place of one.
    let text = include_str!("sql/catalog.sql")
        .replace(":relations", include_str!("sql/relations.sql"))
        .replace(":functions", include_str!("sql/functions.sql"))
        .replace(":types", include_str!("sql/types.sql"));
    let names: Vec<String> = schemas.iter().map(|name| literal(name)).collect();
    text.replace(":schemas", &format!("array[{}]::text[]", names.join(", ")))
}

/// A text as SQL, safe whatever `standard_conforming_strings` is.
fn literal(text: &str) -> String {
    let doubled = text.replace('\\', r"\\").replace('\'', "''");
    format!("e'{doubled}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schemas_name_cannot_leave_its_quotes() {
        let text = query(&[r"it's\".to_owned(), ":types".to_owned()]);
        assert!(text.contains(r"array[e'it''s\\', e':types']::text[]"));
        for place in [":relations", ":functions", ":schemas"] {
            assert!(!text.contains(place), "{place} is left");
        }
    }
}
