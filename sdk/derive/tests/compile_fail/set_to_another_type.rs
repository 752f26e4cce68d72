//! A column is set to a value of another type.

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
    Offline::default().from::<Post>().update().set(Post::ID, "seven").all_rows().call()?;
    Ok(())
}
