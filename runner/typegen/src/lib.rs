//! Types from the database: its catalogs, read as one JSON document, written as Rust for the SDK.
//!
//! ```text
//! source (effects) → catalog → build → model → render → text
//! ```
//!
//! All but [`source`] is pure, and the text depends on nothing but the schema and the options: no time,
//! no host, no number that differs between two databases with the same migrations. docs/types.md is the
//! guide.

mod build;
pub mod catalog;
mod doc;
mod drift;
mod mapping;
mod model;
mod name;
mod render;
pub mod source;

use std::collections::BTreeSet;
use std::fmt;

pub use catalog::Catalog;
pub use drift::{Drift, compare};

use sluice_local::LocalError;

/// What to write, and what to say that the database does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The schemas, in the order in which they are written.
    pub schemas: Vec<String>,
    /// Tables, views and functions to leave out.
    pub exclude: BTreeSet<String>,
    /// What can be null: `function.argument` (which then can be given null), `table.column`.
    pub nullable: BTreeSet<String>,
    /// What is never null: `view.column`, `function.column`, `type.attribute`, or `function` for its
    /// result.
    pub not_null: BTreeSet<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            schemas: vec!["public".to_owned()],
            exclude: BTreeSet::new(),
            nullable: BTreeSet::new(),
            not_null: BTreeSet::new(),
        }
    }
}

/// As options of the command, each after a space.
impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let schemas = self.schemas.iter().map(|value| ("schema", value));
        let exclude = self.exclude.iter().map(|value| ("exclude", value));
        let nullable = self.nullable.iter().map(|value| ("nullable", value));
        let not_null = self.not_null.iter().map(|value| ("not-null", value));
        let all = schemas.chain(exclude).chain(nullable).chain(not_null);
        for (option, value) in all {
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

/// Why no types could be made.
#[derive(Debug, thiserror::Error)]
pub enum TypegenError {
    /// The connection string or the certificate cannot be used.
    #[error("{0}")]
    Settings(String),
    /// The database cannot be reached, or refuses.
    #[error("failed to read the database's catalogs: {0}")]
    Database(String),
    /// The embedded Supabase is not there.
    #[error(transparent)]
    Local(#[from] LocalError),
    /// A schema that was asked for does not exist.
    #[error("the database has no schema `{0}`: name one that it has with --schema")]
    UnknownSchema(String),
    /// An option names what does not exist.
    #[error("nothing that would be written is called `{0}`: is it misspelled in an option?")]
    UnknownName(String),
}

/// Writes the types of a catalog as a file of Rust.
///
/// The text is formatted as rustfmt would format it by default, and the same for every database with
/// the same schema.
///
/// ```
/// use sluice_typegen::{Catalog, Options, catalog::Relation, generate};
///
/// let catalog = Catalog {
///     schemas: vec!["public".to_owned()],
///     relations: vec![Relation {
///         schema: "public".to_owned(),
///         name: "posts".to_owned(),
///         ..Relation::default()
///     }],
///     ..Catalog::default()
/// };
/// let text = generate(&catalog, &Options::default())?;
/// assert!(text.contains("#[table(name = \"posts\")]\npub struct Posts {}"));
/// # Ok::<(), sluice_typegen::TypegenError>(())
/// ```
///
/// # Errors
/// [`TypegenError::UnknownSchema`] and [`TypegenError::UnknownName`]: an option names what the catalog
/// lacks.
pub fn generate(catalog: &Catalog, options: &Options) -> Result<String, TypegenError> {
    Ok(render::module(&build::module(catalog, options)?))
}

#[cfg(test)]
mod tests;
