//! `contains`, which is for arrays, is used on a text column.

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
    Offline::default().from::<Post>().filter(Post::TEXT.contains("rain")).call()?;
    Ok(())
}
