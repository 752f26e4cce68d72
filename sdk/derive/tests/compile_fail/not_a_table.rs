//! A struct without the derive is used as a table.

use sluice_sdk::{Error, Offline};

struct Post;

fn main() -> Result<(), Error> {
    Offline::default().from::<Post>().limit(1).call()?;
    Ok(())
}
