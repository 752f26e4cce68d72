//! Writes every post as a line of JSON, the newest first, in the memory of one page:
//! `cargo run -p sluice-sdk --example export -- POSTGREST_URL KEY > posts.jsonl`

use std::error::Error;
use std::io::{BufWriter, Write};

use futures_util::TryStreamExt;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sluice_sdk::{Client, SecretString, Select, Table};
use uuid::Uuid;

#[derive(Table)]
#[table(name = "neighborhoods")]
#[expect(dead_code, reason = "the table's type has its columns, read or not")]
struct Neighborhood {
    #[table(primary_key)]
    id: Uuid,
    slug: String,
}

#[derive(Table)]
#[table(name = "posts")]
#[expect(dead_code, reason = "the table's type has its columns, read or not")]
struct Post {
    #[table(primary_key)]
    id: Uuid,
    text: String,
    url: Option<String>,
    posted_at: Option<Timestamp>,
}

/// A line: the neighborhood's column is beside the post's own.
#[derive(Deserialize, Serialize, Select)]
#[select(from = Post)]
struct Line {
    id: Uuid,
    text: String,
    url: Option<String>,
    posted_at: Option<Timestamp>,
    #[select(spread)]
    #[serde(flatten)]
    place: Place,
}

#[derive(Deserialize, Serialize, Select)]
#[select(from = Neighborhood)]
struct Place {
    #[select(column = slug)]
    neighborhood: String,
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

    // The time may be null and the same for many: the primary key breaks the ties.
    let mut lines = db
        .from::<Post>()
        .keyset(Post::POSTED_AT.desc().nulls_last())
        .select::<Line>()
        .stream();
    let mut out = BufWriter::new(std::io::stdout().lock());
    while let Some(line) = lines.try_next().await? {
        serde_json::to_writer(&mut out, &line)?;
        out.write_all(b"\n")?;
    }
    out.flush()?;
    Ok(())
}
