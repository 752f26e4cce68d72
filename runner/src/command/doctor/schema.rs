//! What the database says about itself: migrations, rights, row-level security, pgvector, timeouts, the row cap.

use std::collections::BTreeSet;

use super::check::{Check, Finding};
use crate::bundled::MIGRATIONS;
use crate::config::Settings;
use crate::db::{
    AppliedMigrations, Database, DatabaseError, EstimateWork, InspectProject,
    InspectedProject as Inspected, PostId, Posts,
};
use crate::exit::Exit;
use crate::text::count;

const APPLY: &str = "apply the migrations: `sluice schema apply --db-url URL`, or `sluice schema migrations && supabase db \
    push`";
/// A claim of the largest chunk takes less than this.
const STATEMENT_TIMEOUT_MIN_MS: u64 = 3_000;
/// More than any server's row cap that matters.
const CAP_PROBE: u64 = 1_001;

/// Asks the database, and checks each part of its answer.
pub(super) async fn checks(settings: &Settings, database: &Database) -> Vec<Check> {
    let inspect = InspectProject {
        p_functions: created("function").into_iter().collect(),
        p_tables: created("table").into_iter().collect(),
    };
    let inspected = match database.call_shaped(inspect).await {
        Ok(inspected) => inspected,
        Err(error) => return vec![Check::of("migrations", Err(failed(&error)))],
    };
    vec![
        Check::of("migrations", migrations(&inspected)),
        Check::of("recorded migrations", recorded(database).await),
        Check::of("rights", rights(&inspected)),
        Check::of("row-level security", row_level_security(&inspected)),
        Check::of(
            "pgvector",
            pgvector(&inspected, settings.embedding.dimensions),
        ),
        Check::of("statement timeout", statement_timeout(&inspected)),
        Check::of("rows", rows(database).await),
    ]
}

fn failed(error: &DatabaseError) -> Finding {
    let cure = if error.is_schema_missing() { APPLY } else { "" };
    Finding::new(Exit::Database, error.to_string(), cure)
}

/// The names of what the migrations create in `public` and do not drop later.
fn created(kind: &str) -> BTreeSet<String> {
    let creates = [
        format!("create {kind} public."),
        format!("create or replace {kind} public."),
        format!("create {kind} if not exists public."),
    ];
    let drops = [format!("drop {kind} if exists public.")];
    let name_after = |line: &str, heads: &[String]| {
        let rest = heads
            .iter()
            .find_map(|head| line.strip_prefix(head.as_str()))?;
        let name = rest
            .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .next();
        name.map(str::to_owned)
    };
    let mut names = BTreeSet::new();
    for line in MIGRATIONS.iter().flat_map(|(_, sql)| sql.lines()) {
        if let Some(name) = name_after(line, &creates) {
            names.insert(name);
        } else if let Some(name) = name_after(line, &drops) {
            names.remove(&name);
        }
    }
    names
}

fn migrations(inspected: &Inspected) -> Result<String, Finding> {
    let missing = [&inspected.missing_tables, &inspected.missing_functions];
    let missing: Vec<&str> = missing.into_iter().flatten().map(String::as_str).collect();
    if missing.is_empty() {
        return Ok("every table and function is there".to_owned());
    }
    let found = format!("not there: {}", shown(&missing));
    Err(Finding::new(Exit::Database, found, APPLY))
}

/// Whether every migration of this program is recorded as applied. One that only changes a function leaves nothing else
/// to find it by.
async fn recorded(database: &Database) -> Result<String, Finding> {
    let applied = database.call_shaped(AppliedMigrations {}).await;
    let Some(applied) = applied.map_err(|error| failed(&error))? else {
        return Ok("none, so only what is there can be checked".to_owned());
    };
    let is_missing = |name: &&str| {
        let version = name.split('_').next().unwrap_or_default();
        !applied.iter().any(|applied| applied == version)
    };
    let names = MIGRATIONS.iter().map(|(name, _)| *name);
    let missing: Vec<&str> = names.filter(is_missing).collect();
    if missing.is_empty() {
        return Ok(format!("all {}", MIGRATIONS.len()));
    }
    let found = format!("not applied: {}", shown(&missing));
    Err(Finding::new(Exit::Database, found, APPLY))
}

fn rights(inspected: &Inspected) -> Result<String, Finding> {
    let closed: Vec<&str> = inspected
        .closed_functions
        .iter()
        .map(String::as_str)
        .collect();
    let role = &inspected.role;
    if closed.is_empty() {
        return Ok(format!("`{role}` may execute every function"));
    }
    let found = format!("`{role}` may not execute {}", shown(&closed));
    let cure = format!(
        "as the owner: `grant execute on all functions in schema public to {role}`, or apply the migrations again"
    );
    Err(Finding::new(Exit::Database, found, &cure))
}

fn row_level_security(inspected: &Inspected) -> Result<String, Finding> {
    let open: Vec<&str> = inspected.open_tables.iter().map(String::as_str).collect();
    let Some(first) = open.first() else {
        return Ok("on for every table".to_owned());
    };
    let found = format!(
        "off for {}: everybody with the publishable key may read and write",
        shown(&open)
    );
    let cure =
        format!("as the owner, for each: `alter table public.{first} enable row level security`");
    Err(Finding::new(Exit::Database, found, &cure))
}

fn pgvector(inspected: &Inspected, wanted: u32) -> Result<String, Finding> {
    let Some(version) = &inspected.pgvector else {
        let found = "the extension is not there".to_owned();
        let cure = "as the owner: `create extension vector with schema extensions`";
        return Err(Finding::new(Exit::Database, found, cure));
    };
    match inspected.dimensions {
        Some(stored) if stored != wanted => Err(Finding::new(
            Exit::Usage,
            format!("the column takes {stored} dimensions, and embedding.dimensions is {wanted}"),
            &format!(
                "set embedding.dimensions = {stored}, or `sluice schema apply --db-url URL --dimensions {wanted}` \
                 (then every post is due again)"
            ),
        )),
        _ => Ok(format!("{version}, {wanted} dimensions")),
    }
}

fn statement_timeout(inspected: &Inspected) -> Result<String, Finding> {
    let text = &inspected.statement_timeout;
    let ms = milliseconds(text);
    if ms.is_none_or(|ms| ms == 0 || ms >= STATEMENT_TIMEOUT_MIN_MS) {
        return Ok(match ms {
            Some(0) => "none".to_owned(),
            _ => text.clone(),
        });
    }
    let role = &inspected.role;
    Err(Finding::new(
        Exit::Database,
        format!("{text}, too short for a chunk of posts"),
        &format!(
            "as the owner: `alter role {role} set statement_timeout = '8s'; notify pgrst, 'reload config'`"
        ),
    ))
}

/// A duration as Postgres writes it: `8s`, `500ms`, `2min`, `0`.
fn milliseconds(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let unit = match unit {
        "" | "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    Some(number.parse::<u64>().ok()? * unit)
}

/// How many posts there are, and how many rows the server returns at once.
async fn rows(database: &Database) -> Result<String, Finding> {
    let estimate = database
        .call(EstimateWork {})
        .await
        .map_err(|error| failed(&error))?;
    let posts = estimate.get("posts").and_then(serde_json::Value::as_u64);
    let posts = posts.unwrap_or_default();
    let read = database
        .client()
        .from::<Posts>()
        .select::<PostId>()
        .limit(CAP_PROBE)
        .await;
    let got = read.map_err(|error| failed(&error.into()))?.len() as u64;
    let stored = count(posts, "post");
    Ok(if got < CAP_PROBE.min(posts) {
        format!("{stored}; the server returns at most {got} rows at once")
    } else {
        stored
    })
}

/// A few names, and how many more there are.
fn shown(names: &[&str]) -> String {
    const SHOWN: usize = 5;
    let first = names
        .get(..SHOWN.min(names.len()))
        .unwrap_or(names)
        .join(", ");
    match names.len().checked_sub(SHOWN) {
        None | Some(0) => first,
        Some(more) => format!("{first} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_migrations_create_is_known() {
        let (functions, tables) = (created("function"), created("table"));
        assert!(functions.contains("claim_work") && functions.contains("inspect_project"));
        assert!(!functions.contains("adopt_embeddings"), "it was dropped");
        assert!(
            tables.contains("posts") && tables.contains("work_items"),
            "{tables:?}"
        );
    }

    #[test]
    fn durations_of_postgres_are_read() {
        for (text, ms) in [
            ("8s", Some(8_000)),
            ("500ms", Some(500)),
            ("2min", Some(120_000)),
            ("0", Some(0)),
            ("x", None),
        ] {
            assert_eq!(milliseconds(text), ms, "{text}");
        }
    }
}
