//! Which migrations a project gets: those of every project, and those that it asks for.

use super::vectors::{self, VectorType};
use crate::bundled::{CRON, MIGRATIONS, REALTIME, TRIGGERS};
use crate::cli::{MigrationArgs, OptionalMigration};
use crate::error::Error;

/// A migration: `VERSION_NAME.sql`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Migration {
    pub(super) file: String,
    pub(super) sql: String,
}

impl Migration {
    fn new(file: &str, sql: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            sql: sql.into(),
        }
    }
}

#[cfg(feature = "postgres")]
impl Migration {
    /// The digits before the name, which order the migrations.
    pub(super) fn version(&self) -> &str {
        self.parts().0
    }

    /// The name after the version.
    pub(super) fn name(&self) -> &str {
        self.parts().1
    }

    fn parts(&self) -> (&str, &str) {
        let stem = self.file.trim_end_matches(".sql");
        stem.split_once('_').unwrap_or((stem, ""))
    }

    /// Whether it is made for one project's vectors. It changes functions of other migrations, so it goes after them
    /// each time that one of them is applied.
    pub(super) fn is_for_vectors(&self) -> bool {
        self.file == vectors::FILE
    }
}

/// The migrations for these options, in the order in which they apply.
pub(super) fn wanted(arguments: &MigrationArgs) -> Result<Vec<Migration>, Error> {
    let vectors = VectorType::asked_for(arguments.dimensions, arguments.halfvec)?;
    let all = MIGRATIONS
        .iter()
        .map(|(file, sql)| Migration::new(file, *sql));
    let vectors = vectors.map(|vectors| Migration::new(vectors::FILE, vectors.migration()));
    let optional = arguments.with.iter().map(|optional| {
        let (file, sql) = match optional {
            OptionalMigration::Triggers => TRIGGERS,
            OptionalMigration::Cron => CRON,
            OptionalMigration::Realtime => REALTIME,
        };
        Migration::new(file, sql)
    });
    let mut all: Vec<_> = all.chain(optional).chain(vectors).collect();
    all.sort_by(|one, other| one.file.cmp(&other.file));
    all.dedup();
    Ok(all)
}
