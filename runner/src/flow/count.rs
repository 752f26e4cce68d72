//! How much is due, for a progress that knows its end.

use serde_json::{Value, json};

use super::session::{Run, Session};
use super::source::Due;
use crate::db::{CountWork, DatabaseError};

/// Posts looked at in one request: some hundred milliseconds.
const SCAN: u32 = 20_000;

/// Counts what a run will take up, unless it is stopped meanwhile.
///
/// # Errors
/// Whatever the database answers.
pub(crate) async fn count(session: &Session, run: &Run, due: &Due) -> Result<(), DatabaseError> {
    let (mut total, mut after) = (0, None);
    while !run.stop.is_stopped() {
        let count = CountWork {
            p_kind: due.kind(),
            p_after: after,
            p_scan: SCAN,
            p_rule: rule(due),
        };
        let counted = session.database.call(count).await?;
        total += counted.due;
        after = counted.next_after;
        if after.is_none() {
            run.expect(total);
            break;
        }
    }
    Ok(())
}

/// The arguments of the rule, as the database names them.
fn rule(due: &Due) -> Value {
    match due {
        Due::Embedding {
            model,
            dimensions,
            refresh,
        } => json!({ "model": model, "dimensions": dimensions, "refresh": refresh }),
        Due::Score {
            mode,
            fingerprint,
            before,
        } => json!({ "mode": mode, "fingerprint": fingerprint, "before": before }),
        Due::Dimension(dimension) => json!({ "dimension": dimension }),
    }
}
