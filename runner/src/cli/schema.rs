//! The commands about the schema of a database: `gen` and `schema`.

#[cfg(any(feature = "local", feature = "postgres"))]
use std::convert::Infallible;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
#[cfg(any(feature = "local", feature = "postgres"))]
use secrecy::SecretString;

/// `sluice gen …`
#[cfg(feature = "typegen")]
#[derive(Debug, Subcommand)]
pub enum GenArgs {
    /// Write the tables, views, types and functions of a database as Rust for sluice-sdk
    Types(GenTypesArgs),
}

/// `sluice gen types`
#[cfg(feature = "typegen")]
#[derive(Debug, Args)]
pub struct GenTypesArgs {
    /// The database to read.
    #[command(flatten)]
    pub source: GenSourceArgs,
    /// The PEM certificate of the authority that signed the database's certificate
    #[arg(long, value_name = "FILE")]
    #[cfg_attr(feature = "local", arg(conflicts_with = "local"))]
    #[arg(conflicts_with = "from")]
    pub db_ca: Option<PathBuf>,
    /// A schema to write (may be repeated)
    #[arg(long = "schema", value_name = "NAME", default_value = "public")]
    pub schemas: Vec<String>,
    /// Only this table, view or function (may be repeated)
    #[arg(long, value_name = "NAME")]
    pub only: Vec<String>,
    /// A table, view or function to leave out (may be repeated)
    #[arg(long, value_name = "NAME")]
    pub exclude: Vec<String>,
    /// What can be null, although the database does not say so: FUNCTION.ARGUMENT, VIEW.COLUMN
    #[arg(long, value_name = "NAME")]
    pub nullable: Vec<String>,
    /// What is never null, although the database does not say so: VIEW.COLUMN, FUNCTION.COLUMN, FUNCTION
    #[arg(long, value_name = "NAME")]
    pub not_null: Vec<String>,
    /// The crate of dates and times
    #[arg(long, value_name = "CRATE", value_enum, default_value_t)]
    pub time: TimeArg,
    /// A feature of sluice-sdk whose types to write; may be repeated
    #[arg(long = "feature", value_name = "FEATURE", value_enum)]
    pub features: Vec<FeatureArg>,
    /// Write the catalog to this file, for --from
    #[arg(long, value_name = "FILE", conflicts_with = "from")]
    pub snapshot: Option<PathBuf>,
    /// Write to this file (otherwise to stdout)
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Write nothing; if this file differs from what would be written, say how and exit with 1
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    pub check: Option<PathBuf>,
}

/// `--time` of `sluice gen types`.
#[cfg(feature = "typegen")]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum TimeArg {
    /// jiff 1
    #[default]
    Jiff,
    /// chrono 0.4
    Chrono,
}

/// `--feature` of `sluice gen types`.
#[cfg(feature = "typegen")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FeatureArg {
    /// `Bytea` for bytea
    Bytes,
    /// `Vector` for vector and halfvec
    Pgvector,
}

/// Which database `sluice gen` reads.
#[cfg(feature = "typegen")]
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct GenSourceArgs {
    /// The database's connection string: `postgres://USER:PASSWORD@HOST:5432/postgres`
    #[arg(long, value_name = "URL", value_parser = secret)]
    pub db_url: Option<SecretString>,
    /// A snapshot of a catalog, in place of a database
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
    /// An embedded Supabase with the built-in migrations
    #[cfg(feature = "local")]
    #[arg(long)]
    pub local: bool,
}

/// `sluice schema …`
#[derive(Debug, Subcommand)]
pub enum SchemaArgs {
    /// Print the JSON Schema of sluice.toml
    Config,
    /// Print the JSON Schema of the report
    Report,
    /// Write the migrations that this version needs into a folder (for `supabase db push`)
    Migrations {
        /// The folder
        #[arg(default_value = "supabase/migrations")]
        directory: PathBuf,
        /// Which migrations.
        #[command(flatten)]
        migrations: MigrationArgs,
    },
    /// Apply the migrations that this version needs, each once
    #[cfg(feature = "postgres")]
    Apply(SchemaApplyArgs),
}

/// Which migrations, besides those of every project.
#[derive(Debug, Args)]
pub struct MigrationArgs {
    /// Also a migration for vectors of this size
    #[arg(long, value_name = "N")]
    pub dimensions: Option<u32>,
    /// Also a migration that stores vectors as halfvec, in half the room (pgvector 0.7 or newer)
    #[arg(long)]
    pub halfvec: bool,
    /// Also migrations that a project may ask for
    #[arg(long, value_enum, value_delimiter = ',')]
    pub with: Vec<OptionalMigration>,
}

/// A migration that a project may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OptionalMigration {
    /// New and changed posts enqueue a job that embeds them
    Triggers,
    /// `pg_cron` enqueues every ten minutes what may be due
    Cron,
    /// Supabase Realtime announces changes of jobs
    Realtime,
}

/// `sluice schema apply`
#[cfg(feature = "postgres")]
#[derive(Debug, Args)]
pub struct SchemaApplyArgs {
    /// The database's connection string: `postgres://USER:PASSWORD@HOST:5432/postgres`
    #[arg(long, value_name = "URL", value_parser = secret)]
    pub db_url: SecretString,
    /// The PEM certificate of the authority that signed the database's certificate
    #[arg(long, value_name = "FILE")]
    pub db_ca: Option<PathBuf>,
    /// Apply nothing; if a migration is missing, name it and exit with 6
    #[arg(long)]
    pub check: bool,
    /// Which migrations.
    #[command(flatten)]
    pub migrations: MigrationArgs,
}

#[cfg(any(feature = "local", feature = "postgres"))]
#[expect(
    clippy::unnecessary_wraps,
    reason = "clap wants a parser that may fail"
)]
pub(super) fn secret(text: &str) -> Result<SecretString, Infallible> {
    Ok(SecretString::from(text))
}
