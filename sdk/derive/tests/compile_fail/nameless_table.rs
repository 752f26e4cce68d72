//! A table is not named.

use sluice_sdk::Table;

#[derive(Table)]
struct Post {
    id: i64,
}

fn main() {}
