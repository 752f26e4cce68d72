//! How much is due, for a progress that knows its end.

use serde_json::{Value, json};

use super::session::{Run, Session};
use super::source::Due;
use crate::db::CountWork;

/// Posts looked at in one request: some hundred milliseconds.
const SCAN: u32 = 20_000;

/// Counts what a run will take up, unless it is stopped meanwhile. It is told for a progress that knows its
/// end and for nothing else, so a database that does not answer is left to the flow.
pub(crate) async fn count(session: &Session, run: &Run, due: &Due) {
    let limit = run.options.limit.unwrap_or(u64::MAX);
    let (mut total, mut after) = (0, None);
    while !run.stop.is_stopped() {
        let count = CountWork {
            p_kind: due.kind(),
            p_after: after,
            p_scan: SCAN,
            p_rule: rule(due),
        };
        match session.database.call(count).await {
            Ok(counted) => {
                total += counted.due;
                after = counted.next_after;
            }
            Err(error) => {
                tracing::debug!(%error, "what is due is not counted");
                break;
            }
        }
        if after.is_none() || total >= limit {
            run.expect(total.min(limit));
            break;
        }
    }
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
