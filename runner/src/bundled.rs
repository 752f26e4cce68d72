//! Files of `supabase/` that the binary carries.

macro_rules! optional {
    ($file:literal) => {
        (
            $file,
            include_str!(concat!("../../supabase/optional/", $file)),
        )
    };
}

/// The migrations as (file name, SQL), in the order in which they apply.
pub const MIGRATIONS: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/migrations.rs"));

/// Migrations that a project may ask for, as (file name, SQL).
pub const TRIGGERS: (&str, &str) = optional!("20261125007500_triggers.sql");
/// See [`TRIGGERS`].
pub const CRON: (&str, &str) = optional!("20261125007510_cron.sql");
/// See [`TRIGGERS`].
pub const REALTIME: (&str, &str) = optional!("20261125007520_realtime.sql");

/// The sample posts of `sluice demo`, as JSONL.
#[cfg(all(feature = "local", feature = "simulator"))]
pub const SAMPLE_POSTS: &str = include_str!("../../supabase/sample/posts.jsonl");
