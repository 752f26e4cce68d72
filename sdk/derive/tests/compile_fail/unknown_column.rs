//! A row shape names a column that the table does not have.

use sluice_sdk::{Error, Offline, Table};

#[derive(Table)]
#[table(name = "posts")]
struct Post {
    #[table(primary_key)]
    id: i64,
    text: String,
    url: Option<String>,
}

#[derive(sluice_sdk::Select)]
#[select(from = Post)]
struct Shape {
    id: i64,
    title: String,
}

fn main() -> Result<(), Error> {
    Offline::default().from::<Post>().select::<Shape>().call()?;
    Ok(())
}
