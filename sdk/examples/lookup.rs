//! Finds the neighborhoods of any number of slugs, one a line:
//! `cargo run -p sluice-sdk --example lookup -- POSTGREST_URL KEY < slugs.txt`
//!
//! The list may be of any length: it is split by the length of the URL. No row is missing if the
//! server cuts its responses.

use std::collections::BTreeSet;
use std::error::Error;
use std::io::{BufRead, Write};

use serde::Deserialize;
use sluice_sdk::{Client, SecretString, Table};
use uuid::Uuid;

#[derive(Deserialize, Table)]
#[table(name = "neighborhoods")]
struct Neighborhood {
    #[table(primary_key)]
    id: Uuid,
    name: String,
    slug: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(url), Some(key)) = (arguments.next(), arguments.next()) else {
        return Err("give PostgREST's URL and a key".into());
    };
    let db = Client::builder()
        .postgrest_url(url)
        .key(SecretString::from(key))
        .build()?;
    let wanted: BTreeSet<String> = std::io::stdin().lock().lines().collect::<Result<_, _>>()?;

    let list = db
        .from::<Neighborhood>()
        .filter_in(Neighborhood::SLUG, &wanted);
    let requests = list.reads()?.len();
    let found = list.await?;

    let mut out = std::io::stdout().lock();
    for Neighborhood { id, name, slug } in &found {
        writeln!(out, "{slug}\t{id}\t{name}")?;
    }
    let (known, all) = (found.len(), wanted.len());
    writeln!(
        out,
        "{known} of {all} slugs are known, by {requests} requests"
    )?;
    Ok(())
}
