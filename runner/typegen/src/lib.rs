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
mod error;
mod mapping;
mod model;
mod name;
mod options;
mod render;

pub use catalog::Catalog;
pub use drift::{Drift, compare};
pub use error::TypegenError;
pub use options::{SdkFeature, TimeCrate, TypegenOptions};

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
