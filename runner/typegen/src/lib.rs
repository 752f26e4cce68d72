//! Reads a database's catalog as one JSON document, and writes its types as Rust for the SDK.
//!
//! ```text
//! database → catalog → build → model → render → text
//! ```
//!
//! Only [`Catalog::read`] does I/O. The text depends on the schema and the options alone, so two
//! databases with the same migrations give the same text. docs/types.md is the guide.

mod build;
pub mod catalog;
mod doc;
mod drift;
mod mapping;
mod model;
mod name;
mod render;

use std::collections::BTreeSet;
use std::fmt;

use sluice_postgres::PostgresError;

pub use catalog::Catalog;
pub use drift::{Drift, compare};

/// What to write, and facts that the database does not record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypegenOptions {
    /// The schemas, in the order of the output.
    pub schemas: Vec<String>,
    /// The only tables, views and functions to write. Empty means all.
    pub only: BTreeSet<String>,
    /// Tables, views and functions to leave out.
    pub exclude: BTreeSet<String>,
    /// What can be null: `function.argument`, `table.column`.
    pub nullable: BTreeSet<String>,
    /// What is never null: `view.column`, `function.column`, `type.attribute`, or `function` for its
    /// result.
    pub not_null: BTreeSet<String>,
    /// The crate of dates and times.
    pub time: TimeCrate,
    /// The features of the SDK whose types are written.
    pub features: BTreeSet<SdkFeature>,
}

/// A feature of the SDK that has types for columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SdkFeature {
    /// `Bytea` for `bytea`.
    Bytes,
    /// `Vector` for `vector` and `halfvec`.
    Pgvector,
}

impl SdkFeature {
    fn name(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Pgvector => "pgvector",
        }
    }
}

/// The crate whose types dates and times have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TimeCrate {
    /// jiff 1.
    #[default]
    Jiff,
    /// chrono 0.4, for projects that have it already.
    Chrono,
}

impl Default for TypegenOptions {
    fn default() -> Self {
        Self {
            schemas: vec!["public".to_owned()],
            only: BTreeSet::new(),
            exclude: BTreeSet::new(),
            nullable: BTreeSet::new(),
            not_null: BTreeSet::new(),
            time: TimeCrate::default(),
            features: BTreeSet::new(),
        }
    }
}

/// The options as `sluice gen types` takes them, each after a space.
impl fmt::Display for TypegenOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn named<'a>(
            option: &'a str,
            values: impl IntoIterator<Item = &'a String> + 'a,
        ) -> impl Iterator<Item = (&'a str, &'a str)> {
            values
                .into_iter()
                .map(move |value| (option, value.as_str()))
        }
        let all = named("schema", &self.schemas)
            .chain(named("only", &self.only))
            .chain(named("exclude", &self.exclude))
            .chain(named("nullable", &self.nullable))
            .chain(named("not-null", &self.not_null));
        let time = (self.time == TimeCrate::Chrono).then_some(("time", "chrono"));
        let features = self.features.iter();
        let features = features.map(|feature| ("feature", feature.name()));
        for (option, value) in all.chain(time).chain(features) {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
            if !value.is_empty() && value.chars().all(is_plain) {
                write!(f, " --{option} {value}")?;
            } else {
                write!(f, " --{option} {value:?}")?;
            }
        }
        Ok(())
    }
}

/// Why types could not be made.
#[derive(Debug, thiserror::Error)]
pub enum TypegenError {
    /// The connection string or the certificate cannot be used.
    #[error("{0}")]
    Settings(String),
    /// The database cannot be reached, or refuses the query.
    #[error("failed to read the database's catalog: {0}")]
    Database(String),
    /// A requested schema does not exist.
    #[error("the database has no schema `{0}`; pass --schema with one that exists")]
    UnknownSchema(String),
    /// An option names something that does not exist.
    #[error("an option names `{0}`, but nothing that would be written has that name")]
    UnknownName(String),
}

impl From<PostgresError> for TypegenError {
    fn from(error: PostgresError) -> Self {
        match error {
            PostgresError::Settings(message) => Self::Settings(message),
            error => Self::Database(error.to_string()),
        }
    }
}

/// Writes the types of a catalog as the text of a Rust file, in rustfmt's default format.
///
/// ```
/// use sluice_typegen::{Catalog, TypegenOptions, catalog::CatalogTable, generate};
///
/// let catalog = Catalog {
///     schemas: vec!["public".to_owned()],
///     relations: vec![CatalogTable {
///         schema: "public".to_owned(),
///         name: "posts".to_owned(),
///         ..CatalogTable::default()
///     }],
///     ..Catalog::default()
/// };
/// let text = generate(&catalog, &TypegenOptions::default())?;
/// assert!(text.contains("#[table(name = \"posts\")]\npub struct Posts {}"));
/// # Ok::<(), sluice_typegen::TypegenError>(())
/// ```
///
/// # Errors
/// [`TypegenError::UnknownSchema`] and [`TypegenError::UnknownName`], if the catalog lacks what an
/// option names.
pub fn generate(catalog: &Catalog, options: &TypegenOptions) -> Result<String, TypegenError> {
    Ok(render::module(&build::module(catalog, options)?))
}

#[cfg(test)]
mod tests;
