//! Stores posts from JSON lines, and survives outages: `cargo run -p sluice-sdk --example import --
//! POSTGREST_URL KEY < posts.jsonl`
//!
//! A line is `{"neighborhood": "St. Johns", "id": "1", "text": "…", "url": "https://…"}`. Rows that
//! the database refuses are named, and the others are stored. If the server goes away, the script
//! waits and goes on with the rest.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{BufRead, Write};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sluice_sdk::{Checkpoint, Client, SecretString, Table, query::RetryPolicy, write::WriteReport};
use uuid::Uuid;

#[derive(Deserialize)]
struct Line {
    neighborhood: String,
    id: String,
    text: String,
    url: Option<String>,
}

#[derive(Deserialize, Table)]
#[table(name = "neighborhoods")]
struct Neighborhood {
    #[table(primary_key)]
    id: Uuid,
    slug: String,
}

#[derive(Serialize)]
struct NewNeighborhood {
    name: String,
    slug: String,
}

/// A row of `posts`. A line without a URL leaves that column out, so the stored one stays.
#[derive(Serialize, Table)]
#[table(name = "posts")]
struct Post {
    neighborhood_id: Uuid,
    #[serde(rename = "post_id_ext")]
    number: String,
    text: String,
    hash: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(url), Some(key)) = (arguments.next(), arguments.next()) else {
        return Err("give PostgREST's URL and a key that may write".into());
    };
    let db = Client::builder()
        .postgrest_url(url)
        .key(SecretString::from(key))
        .retry(RetryPolicy::default().max_retries(1))
        .build()?;
    let mut lines: Vec<Line> = Vec::new();
    for line in std::io::stdin().lock().lines() {
        lines.push(serde_json::from_str(&line?)?);
    }

    let ids = neighborhoods(&db, &lines).await?;
    let mut posts = Vec::new();
    for line in lines {
        let neighborhood_id = ids.get(&slug(&line.neighborhood));
        posts.push(Post {
            neighborhood_id: *neighborhood_id.ok_or("a neighborhood has gone meanwhile")?,
            hash: format!("import-{}", line.id),
            number: line.id,
            text: line.text,
            url: line.url,
        });
    }
    let report = store(&db, &posts).await?;

    let mut out = std::io::stdout().lock();
    writeln!(out, "{} of {} posts stored", report.affected, report.rows)?;
    for failure in &report.failed {
        let line = failure.index + 1;
        writeln!(out, "line {line} is refused: {}", failure.error.message())?;
    }
    Ok(())
}

/// The ids of the lines' neighborhoods by slug. Missing ones are inserted, unless somebody else
/// does so first.
async fn neighborhoods(
    db: &Client,
    lines: &[Line],
) -> Result<BTreeMap<String, Uuid>, sluice_sdk::Error> {
    let by_slug = |line: &Line| (slug(&line.neighborhood), line.neighborhood.clone());
    let names: BTreeMap<String, String> = lines.iter().map(by_slug).collect();
    let slugs: Vec<String> = names.keys().cloned().collect();
    let new = |(slug, name)| NewNeighborhood { name, slug };
    let rows: Vec<NewNeighborhood> = names.into_iter().map(new).collect();
    db.from::<Neighborhood>()
        .upsert(&rows)
        .on_conflict(Neighborhood::SLUG)
        .ignore_duplicates()
        .await?
        .into_result()?;
    let found = db
        .from::<Neighborhood>()
        .filter_in(Neighborhood::SLUG, &slugs)
        .await?;
    Ok(found.into_iter().map(|row| (row.slug, row.id)).collect())
}

/// Stores posts. Waits during an outage, and never sends an acknowledged row again.
async fn store(db: &Client, posts: &[Post]) -> Result<WriteReport, sluice_sdk::Error> {
    let checkpoint = Checkpoint::new();
    loop {
        let outcome = db
            .from::<Post>()
            .upsert(posts)
            .on_conflict((Post::NEIGHBORHOOD_ID, Post::HASH))
            .chunk_rows(200)
            .checkpoint(&checkpoint)
            .await;
        match outcome {
            Err(error) if error.is_retryable() => {
                let written = checkpoint.report().written();
                let mut err = std::io::stderr().lock();
                let _ = writeln!(err, "{written} rows so far, and then: {error}");
            }
            outcome => return outcome,
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

fn slug(name: &str) -> String {
    let words = name.split(|letter: char| !letter.is_alphanumeric());
    let words = words.filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect::<Vec<_>>().join("-")
}
