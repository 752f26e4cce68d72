//! A column that is never null is set to null.

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
    Offline::default().from::<Post>().update().set(Post::TEXT, None).all_rows().call()?;
    Ok(())
}
