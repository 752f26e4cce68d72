//! A column is compared with an `Option`, as if it could be equal to null.

use sluice_sdk::{Error, Offline, Table};

#[derive(Table)]
#[table(name = "posts")]
struct Post {
    #[table(primary_key)]
    id: i64,
    text: String,
    url: Option<String>,
}

fn main() -> Result<(), Error> {
    Offline::default().from::<Post>().filter(Post::URL.eq(None::<String>)).call()?;
    Ok(())
}
