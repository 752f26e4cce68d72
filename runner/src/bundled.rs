//! Files of `supabase/` that the binary carries.

/// The migrations as (file name, SQL), in the order in which they apply.
pub const MIGRATIONS: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/migrations.rs"));

/// The sample posts of `sluice demo`, as JSONL.
#[cfg(all(feature = "local", feature = "simulator"))]
pub const SAMPLE_POSTS: &str = include_str!("../../supabase/sample/posts.jsonl");
