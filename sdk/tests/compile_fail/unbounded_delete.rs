//! A delete without a filter is awaited.

use sluice_sdk::{Client, Error, Table};

#[derive(Table)]
#[table(name = "posts")]
struct Post {
    #[table(primary_key)]
    id: i64,
}

async fn forget(db: Client) -> Result<u64, Error> {
    db.from::<Post>().delete().await
}

fn main() {}
