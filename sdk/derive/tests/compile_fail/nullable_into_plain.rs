//! A row shape reads a nullable column into a field that cannot be null.

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
    url: String,
}

fn main() -> Result<(), Error> {
    Offline::default().from::<Post>().select::<Shape>().call()?;
    Ok(())
}
