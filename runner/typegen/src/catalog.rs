//! The description of a database: the query for it, and its parsed result.

#![allow(
    missing_docs,
    reason = "the fields mirror the JSON of the queries in `sql/`, which describe them"
)]

use std::path::Path;
use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sluice_postgres::{Connection, literal};

use super::TypegenError;

/// A database that has not answered by then is down.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The tables, views, functions and types that code is made from.
///
/// The query of [`Catalog::query`] returns it. Nothing in it depends on the host, the time or a
/// collation.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Catalog {
    /// The requested schemas that exist.
    pub schemas: Vec<String>,
    pub relations: Vec<CatalogTable>,
    pub functions: Vec<CatalogFunction>,
    /// Every type of the database, used or not.
    pub types: Vec<CatalogType>,
}

/// The database's number of a type. It differs between databases, so generated code must not depend
/// on it.
pub type TypeId = i64;

/// A table, a view, a materialized view or a foreign table.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct CatalogTable {
    pub schema: String,
    pub name: String,
    /// Whether it is a view, materialized or not.
    pub is_view: bool,
    /// The type of its rows.
    pub row_type: TypeId,
    pub comment: Option<String>,
    pub insertable: bool,
    pub updatable: bool,
    pub columns: Vec<CatalogColumn>,
    pub foreign_keys: Vec<ForeignKey>,
}

/// A column of a table or view.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "these flags of a column are independent"
)]
pub struct CatalogColumn {
    pub name: String,
    pub type_id: TypeId,
    pub not_null: bool,
    /// Whether an insert may omit it: it has a default, or is an identity by default.
    pub has_default: bool,
    /// Whether only the database writes it: generated, or an identity always.
    pub generated: bool,
    /// Whether a view passes writes on to it.
    pub writable: bool,
    pub primary_key: bool,
    pub comment: Option<String>,
}

/// A foreign key.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ForeignKey {
    /// The constraint's name, which is the hint of an embed.
    pub name: String,
    /// The referring columns.
    pub columns: Vec<String>,
    /// The schema of the table that is referred to.
    pub schema: String,
    /// The table that is referred to.
    pub relation: String,
    /// The columns that are referred to.
    pub references: Vec<String>,
}

/// A function. Overloads share a name.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct CatalogFunction {
    pub schema: String,
    pub name: String,
    pub comment: Option<String>,
    /// Whether it is stable or immutable.
    pub read_only: bool,
    pub returns_set: bool,
    /// The type that it returns, or of the rows of its set.
    pub result: TypeId,
    /// How many of its last inputs have defaults.
    pub defaults: usize,
    /// Its arguments and the columns of its result.
    pub arguments: Vec<Argument>,
}

/// An argument of a function, or a column of its result.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Argument {
    pub name: Option<String>,
    pub mode: ArgumentMode,
    pub type_id: TypeId,
}

/// The direction of an argument.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ArgumentMode {
    #[default]
    #[serde(rename = "i")]
    In,
    #[serde(rename = "o")]
    Out,
    #[serde(rename = "b")]
    InOut,
    #[serde(rename = "v")]
    Variadic,
    /// A column of `RETURNS TABLE`.
    #[serde(rename = "t")]
    Table,
}

impl CatalogFunction {
    /// The arguments that a caller passes.
    pub(super) fn inputs(&self) -> impl Iterator<Item = &Argument> {
        use ArgumentMode::{In, InOut, Variadic};
        let arguments = self.arguments.iter();
        arguments.filter(|argument| matches!(argument.mode, In | InOut | Variadic))
    }

    /// The columns of the result.
    pub(super) fn outputs(&self) -> impl Iterator<Item = &Argument> {
        use ArgumentMode::{InOut, Out, Table};
        let arguments = self.arguments.iter();
        arguments.filter(|argument| matches!(argument.mode, Out | InOut | Table))
    }
}

/// A type of the database.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct CatalogType {
    pub id: TypeId,
    pub schema: String,
    pub name: String,
    pub kind: TypeKind,
    /// The type of an array's elements; 0 for other types.
    pub element: TypeId,
    /// The type below a domain; 0 for other types.
    pub base: TypeId,
    /// Whether it is a domain that refuses null.
    pub not_null: bool,
    /// Whether it is a domain with a default.
    pub has_default: bool,
    pub comment: Option<String>,
    /// The labels of an enum, in their order.
    pub labels: Vec<String>,
    /// The attributes of a composite type that is no table's row type.
    pub attributes: Vec<TypeAttribute>,
    /// Whether it is the type of a table's or view's rows.
    pub is_row: bool,
}

/// What a type is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TypeKind {
    /// A scalar or an array.
    #[default]
    #[serde(rename = "b")]
    Base,
    #[serde(rename = "c")]
    Composite,
    #[serde(rename = "d")]
    Domain,
    #[serde(rename = "e")]
    Enum,
    /// A type that only functions use, such as `void`.
    #[serde(rename = "p")]
    Pseudo,
    #[serde(rename = "r")]
    Range,
    #[serde(rename = "m")]
    Multirange,
}

/// An attribute of a composite type.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct TypeAttribute {
    pub name: String,
    pub type_id: TypeId,
    pub comment: Option<String>,
}

impl Catalog {
    /// Reads the catalog of these schemas from the Postgres at this URL, as [`Connection::open`] takes it.
    ///
    /// # Errors
    /// [`TypegenError::Settings`] and [`TypegenError::Database`].
    pub async fn read(
        url: &SecretString,
        authority: Option<&Path>,
        schemas: &[String],
    ) -> Result<Self, TypegenError> {
        let connection = Connection::open(url, authority, TIMEOUT).await?;
        let query = Self::query(schemas);
        let texts = tokio::time::timeout(TIMEOUT, connection.texts(&query)).await;
        let late = |_| TypegenError::Database(format!("no response in {} s", TIMEOUT.as_secs()));
        let texts = texts.map_err(late)??;
        Self::from_json(texts.first().map_or("", String::as_str))
    }

    /// The statement that reads the catalog of these schemas. It returns one row with one column,
    /// `catalog`, of JSON text.
    pub fn query(schemas: &[String]) -> String {
        // The schemas come last, so that a schema called `:types` is not replaced.
        let text = include_str!("sql/catalog.sql")
            .replace(":relations", include_str!("sql/relations.sql"))
            .replace(":functions", include_str!("sql/functions.sql"))
            .replace(":types", include_str!("sql/types.sql"));
        let names: Vec<String> = schemas.iter().map(|name| literal(name)).collect();
        text.replace(":schemas", &format!("array[{}]::text[]", names.join(", ")))
    }

    /// Parses the result of [`Catalog::query`] from rows that are JSON objects.
    ///
    /// # Errors
    /// [`TypegenError::Database`] if they are not the result of that query.
    pub fn from_rows(rows: &[Value]) -> Result<Self, TypegenError> {
        let text = rows.first().and_then(|row| row.get("catalog")?.as_str());
        Self::from_json(text.unwrap_or_default())
    }

    /// Parses a snapshot: see [`to_snapshot`](Self::to_snapshot).
    ///
    /// # Errors
    /// [`TypegenError::Settings`] if the text is no snapshot.
    pub fn from_snapshot(text: &str) -> Result<Self, TypegenError> {
        serde_json::from_str(text).map_err(|error| {
            TypegenError::Settings(format!(
                "the file is no snapshot of a catalog ({error}); write one with `sluice gen types --snapshot FILE`"
            ))
        })
    }

    /// The catalog as the text of a file, which stands in for the database.
    pub fn to_snapshot(&self) -> String {
        // A struct of texts and numbers always serializes.
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    pub(super) fn from_json(text: &str) -> Result<Self, TypegenError> {
        serde_json::from_str(text).map_err(|error| {
            TypegenError::Database(format!("the result is not understood: {error}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schema_name_cannot_leave_its_quotes() {
        let text = Catalog::query(&[r"it's\".to_owned(), ":types".to_owned()]);
        assert!(text.contains(r"array[e'it''s\\', e':types']::text[]"));
        for place in [":relations", ":functions", ":schemas"] {
            assert!(!text.contains(place), "{place} is left");
        }
    }
}
