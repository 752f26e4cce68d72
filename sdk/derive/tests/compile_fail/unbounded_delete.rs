//! A delete without a filter is awaited.

use sluice_sdk::{Error, Table, query::{Execute, TableRef}};

#[derive(Table)]
#[table(name = "posts")]
struct Post {
    #[table(primary_key)]
    id: i64,
}

async fn forget<C: Execute>(posts: TableRef<Post, Post, C>) -> Result<u64, Error> {
    posts.delete().await
}

fn main() {}
