//! A reader of the active ranking. It must only ever see all old or all new scores.

use std::cell::Cell;
use std::time::Duration;

use serde_json::Value;
use sluice_tests::Stack;

/// The time between two reads.
const PAUSE: Duration = Duration::from_millis(250);

/// The score of every post before the work, which no computation has.
pub(crate) const OLD_SCORE: i32 = -1;

/// How often it saw what.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Every post with its old score.
    pub(crate) old: u32,
    /// Every post with its new score.
    pub(crate) new: u32,
    /// Anything else.
    pub(crate) mixed: u32,
}

/// Does the work and reads during it, and once more after it.
pub(crate) async fn watched<T>(
    stack: &Stack,
    posts: u32,
    work: impl Future<Output = T>,
) -> (T, Seen) {
    let query = format!(
        "select count(*) as posts, count(*) filter (where final_score = {OLD_SCORE}) as old
         from post_scores where weight_config_id = active_weight_config()"
    );
    let done = Cell::new(false);
    let work = async {
        let result = work.await;
        done.set(true);
        result
    };
    let read = async {
        let mut seen = Seen::default();
        loop {
            let last = done.get();
            let rows = stack.rows(&query).await;
            let count = |key| rows.first()?.get(key).and_then(Value::as_u64);
            let (all, old) = (count("posts"), count("old"));
            match old {
                _ if all != Some(u64::from(posts)) => seen.mixed += 1,
                Some(0) => seen.new += 1,
                old if old == all => seen.old += 1,
                _ => seen.mixed += 1,
            }
            if last {
                return seen;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::join!(work, read)
}
