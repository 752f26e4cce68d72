//! Rows are ordered by another table's column.

use sluice_sdk::{Error, Offline, Table};

#[derive(Table)]
#[table(name = "posts")]
struct Post {
    #[table(primary_key)]
    id: i64,
    text: String,
    url: Option<String>,
}

#[derive(Table)]
#[table(name = "neighborhoods")]
struct Neighborhood {
    #[table(primary_key)]
    id: i64,
}

fn main() -> Result<(), Error> {
    Offline::default().from::<Post>().order(Neighborhood::ID.desc()).call()?;
    Ok(())
}
