//! What to write.

use std::collections::BTreeSet;
use std::fmt;

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
