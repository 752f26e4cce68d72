//! `sluice schema apply`: applies the migrations over a connection to Postgres, each once.
//!
//! Each migration and its record are one transaction, so a failure leaves neither. The record is where Supabase's CLI
//! looks, so `supabase db push` knows what is applied.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::migrations::{self, Migration};
use crate::cli::SchemaApplyArgs;
use crate::error::Error;
use crate::exit::Exit;
use crate::output::Printer;
use crate::postgres::{Connection, PostgresError, Refusal, literal};
use crate::text::count;

/// A database that has not answered by then is down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(60);

/// As Supabase's CLI creates it.
const RECORDS: &str = "
set lock_timeout = '10s';
create schema if not exists supabase_migrations;
create table if not exists supabase_migrations.schema_migrations (version text not null primary key);
alter table supabase_migrations.schema_migrations add column if not exists statements text[];
alter table supabase_migrations.schema_migrations add column if not exists name text;
";

/// What was applied, and what is not.
#[derive(Debug, Serialize)]
struct SchemaState {
    applied: Vec<String>,
    pending: Vec<String>,
    /// Migrations that an earlier run applied.
    earlier: usize,
}

pub(super) async fn run(arguments: &SchemaApplyArgs, printer: Printer) -> Result<Exit, Error> {
    let wanted = migrations::wanted(&arguments.migrations)?;
    let (url, authority) = (&arguments.db_url, arguments.db_ca.as_deref());
    let connection = Connection::open(url, authority, CONNECT_TIMEOUT).await?;
    let recorded = recorded(&connection).await?;
    let pending = pending(&wanted, &recorded);
    let mut done = SchemaState {
        applied: Vec::new(),
        pending: pending
            .iter()
            .map(|migration| migration.file.clone())
            .collect(),
        earlier: wanted.len() - pending.len(),
    };
    if arguments.check {
        printer.either(&done, || check(&done))?;
        return Ok(if done.pending.is_empty() {
            Exit::Complete
        } else {
            Exit::Database
        });
    }
    if !pending.is_empty() {
        make_records(&connection).await.map_err(no_records)?;
    }
    for migration in pending {
        tracing::info!(file = migration.file, "applying");
        let applied = apply(&connection, migration).await;
        if applied.map_err(|error| failed(migration, &done, error))? {
            done.applied.push(migration.file.clone());
        } else {
            done.earlier += 1;
        }
        done.pending.remove(0);
    }
    // PostgREST sees new functions only after this. Supabase's own trigger does the same.
    connection.execute("notify pgrst, 'reload schema'").await?;
    printer.either(&done, || {
        let applied = count(done.applied.len() as u64, "migration");
        format!("applied {applied}; {} applied before", done.earlier)
    })?;
    Ok(Exit::Complete)
}

/// Creates the table of applied migrations, if it is not there.
async fn make_records(connection: &Connection) -> Result<(), PostgresError> {
    match connection.execute(RECORDS).await {
        // Another run has just created it, which `if not exists` does not see.
        Err(PostgresError::Refused(refusal)) if refusal.code == "23505" => {
            connection.execute(RECORDS).await
        }
        made => made,
    }
}

/// The SQL of each applied migration, by version. It is empty for those that another tool recorded without it.
async fn recorded(connection: &Connection) -> Result<BTreeMap<String, String>, Error> {
    let exists = "select to_regclass('supabase_migrations.schema_migrations')::text";
    if connection.texts(exists).await?.is_empty() {
        return Ok(BTreeMap::new());
    }
    // `to_jsonb`, because an older CLI made the table without `statements`.
    let rows = "select jsonb_build_array(version, to_jsonb(m) -> 'statements' ->> 0)::text
        from supabase_migrations.schema_migrations m";
    let rows = connection.texts(rows).await?;
    let parse = |row: &String| {
        let (version, sql): (String, Option<String>) = serde_json::from_str(row).ok()?;
        Some((version, sql.unwrap_or_default()))
    };
    Ok(rows.iter().filter_map(parse).collect())
}

/// The migrations that are not applied. That of the vectors is, too, if its SQL is another one or others are pending.
fn pending<'a>(wanted: &'a [Migration], recorded: &BTreeMap<String, String>) -> Vec<&'a Migration> {
    let is_missing = |migration: &&Migration| !recorded.contains_key(migration.version());
    let any_missing = wanted.iter().any(|migration| is_missing(&migration));
    let is_pending = |migration: &&Migration| {
        let is_other =
            || recorded.get(migration.version()).map(String::as_str) != Some(&migration.sql);
        is_missing(migration) || (migration.is_for_vectors() && (any_missing || is_other()))
    };
    wanted.iter().filter(is_pending).collect()
}

/// Applies a migration and records it, or does neither. Returns false if another run applied it meanwhile.
async fn apply(connection: &Connection, migration: &Migration) -> Result<bool, PostgresError> {
    // The lock makes a second run at the same time wait for this one.
    let begin = "begin; set local lock_timeout = '10s'; set local statement_timeout = 0;
        lock table supabase_migrations.schema_migrations in share row exclusive mode";
    let conflict = if migration.is_for_vectors() {
        "update set statements = excluded.statements"
    } else {
        "nothing"
    };
    let record = format!(
        "insert into supabase_migrations.schema_migrations (version, name, statements) values ({}, {}, array[{}])
           on conflict (version) do {conflict} returning version",
        literal(migration.version()),
        literal(migration.name()),
        literal(&migration.sql)
    );
    let applied = async {
        connection.execute(begin).await?;
        if connection.texts(&record).await?.is_empty() {
            return Ok(false);
        }
        connection.execute(&migration.sql).await?;
        connection.execute("commit").await?;
        Ok(true)
    };
    let result = applied.await;
    if !matches!(result, Ok(true)) {
        // If the connection is gone, so is the transaction.
        let _undone = connection.execute("rollback").await;
    }
    result
}

fn check(state: &SchemaState) -> String {
    if state.pending.is_empty() {
        return format!(
            "{} applied, none is missing",
            count(state.earlier as u64, "migration")
        );
    }
    let missing = state.pending.join("\n  ");
    format!("not applied:\n  {missing}\n`sluice schema apply --db-url URL` applies them")
}

/// What failed, what is in the database now, and how to go on.
fn failed(migration: &Migration, done: &SchemaState, error: PostgresError) -> Error {
    let PostgresError::Refused(refusal) = &error else {
        return error.into();
    };
    let line = refusal.position.map_or_else(String::new, |position| {
        let before = migration.sql.chars().take(position.saturating_sub(1));
        let line = before.filter(|c| *c == '\n').count() + 1;
        format!(", line {line}")
    });
    let file = &migration.file;
    let before = count(
        (done.earlier + done.applied.len()) as u64,
        "earlier migration",
    );
    let cure = cure(refusal);
    Error::Migration(format!(
        "failed to apply {file}{line}: {refusal}. Nothing of this file is in the database; {before} stayed. {cure}, then \
         run the same command again: it goes on with this file"
    ))
}

/// Why the table of applied migrations cannot be made.
fn no_records(error: PostgresError) -> Error {
    match &error {
        PostgresError::Refused(refusal) => {
            let cure = cure(refusal);
            Error::Migration(format!("no migration can be recorded: {refusal}. {cure}"))
        }
        _ => error.into(),
    }
}

/// What to do about a refused statement.
fn cure(refusal: &Refusal) -> &'static str {
    match refusal.code.as_str() {
        "55P03" => {
            "Another session holds a lock: wait until it ends, or end it (`select * from pg_stat_activity`)"
        }
        "42501" => {
            "The user of the URL may not do this: connect as the owner of the tables (hosted Supabase: `postgres`)"
        }
        "0A000" | "58P01" => {
            "Install the extension that is missing on the server (pgvector; Supabase has it)"
        }
        "40P01" | "40001" => "It met other work on the same tables: choose a quieter moment",
        "53100" => "Make room on the server's disk",
        _ => "Mend what the message names",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn migration(file: &str, sql: &str) -> Migration {
        Migration {
            file: file.to_owned(),
            sql: sql.to_owned(),
        }
    }

    #[test]
    fn the_migration_of_the_vectors_goes_last_each_time() {
        let wanted = [
            migration("1_a.sql", "a"),
            migration(super::super::vectors::FILE, "v"),
        ];
        let version = wanted[1].version().to_owned();
        let files = |recorded: &[(&str, &str)]| -> Vec<String> {
            let recorded = recorded.iter();
            let recorded =
                recorded.map(|(version, sql)| ((*version).to_owned(), (*sql).to_owned()));
            let pending = pending(&wanted, &recorded.collect());
            pending
                .iter()
                .map(|migration| migration.sql.clone())
                .collect()
        };
        assert_eq!(files(&[]), ["a", "v"]);
        assert_eq!(files(&[(&version, "v")]), ["a", "v"]);
        assert_eq!(files(&[("1", ""), (&version, "other")]), ["v"]);
        assert!(files(&[("1", ""), (&version, "v")]).is_empty());
    }

    #[test]
    fn a_refusal_names_the_line_and_the_way_on() {
        let refusal = Refusal {
            code: "55P03".to_owned(),
            message: "canceling statement due to lock timeout".to_owned(),
            detail: None,
            hint: None,
            position: Some(7),
        };
        let done = SchemaState {
            applied: vec!["1_a.sql".to_owned()],
            pending: Vec::new(),
            earlier: 3,
        };
        let migration = migration("2_b.sql", "a;\nb;\nc;\n");
        let said = failed(&migration, &done, PostgresError::Refused(refusal)).to_string();
        assert!(
            said.starts_with("failed to apply 2_b.sql, line 3: 55P03"),
            "{said}"
        );
        assert!(said.contains("4 earlier migrations stayed"), "{said}");
        assert!(said.contains("holds a lock"), "{said}");
    }
}
