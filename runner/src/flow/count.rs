//! How much is due, for the progress bar.

use serde_json::Value;

use super::run::Run;
use super::session::Session;
use super::work::{ScoreScope, WorkKind};
use crate::db::EstimateWork;

/// The longest count before a run, in calls. A larger table has a run without a total.
const COUNTS_MAX: usize = 40;

/// Counts what a run will take up, unless it is stopped meanwhile or the table is large. Only the progress bar
/// reads this. Database errors are ignored here, because the flow reports them.
pub(crate) async fn count(session: &Session, run: &Run, kind: &WorkKind) {
    let session = &session.within(run);
    let limit = run.options.limit.unwrap_or(u64::MAX);
    let (mut total, mut after) = (0, None);
    for _ in 0..COUNTS_MAX {
        if run.stop.is_stopped() {
            break;
        }
        match kind.count(&session.database, after).await {
            Ok(counted) => {
                total += counted.due;
                after = counted.next_after;
            }
            Err(error) => {
                tracing::debug!(%error, "failed to count what is due");
                break;
            }
        }
        if after.is_none() || total >= limit {
            run.expect(total.min(limit));
            break;
        }
    }
}

/// Notes about how many posts a scope of scores takes up, for the progress bar. It is one request, however
/// many posts there are. Database errors are ignored here, because the flow reports them.
pub async fn expect_scores(session: &Session, run: &Run, scope: ScoreScope) {
    let session = &session.within(run);
    let Ok(rubric) = session.rubric().await else {
        return;
    };
    let fingerprint = rubric.fingerprint();
    match session.database.call(EstimateWork {}).await {
        Ok(status) => {
            if let Some(rows) = about_scores(&status, scope, &fingerprint) {
                run.expect(rows);
            }
        }
        Err(error) => tracing::debug!(%error, "failed to count what is due"),
    }
}

/// Posts without an embedding or with a stale one. This is an estimate to show: it includes blank posts, and
/// leaves out posts of another model.
pub(super) fn about_embeddings(status: &Value) -> Option<u64> {
    let count = |key: &str| status.get(key).and_then(Value::as_u64);
    let missing = count("posts")?.saturating_sub(count("embedded")?);
    Some(missing + count("embeddings_stale")?)
}

/// Posts in a scope of scores, as the same kind of estimate.
fn about_scores(status: &Value, scope: ScoreScope, fingerprint: &str) -> Option<u64> {
    let count = |key: &str| status.get(key).and_then(Value::as_u64);
    let posts = count("posts")?;
    let current = match scope {
        ScoreScope::Missing => count("scored")?,
        ScoreScope::Stale => {
            let by_fingerprint = status.get("by_fingerprint")?;
            let ours = by_fingerprint.get(fingerprint);
            ours.and_then(Value::as_u64).unwrap_or_default()
        }
        ScoreScope::All | ScoreScope::AllAnew => 0,
    };
    let due = posts.saturating_sub(current) + count("scores_stale")?;
    Some(due.min(posts))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn status_says_about_how_much_is_due() {
        let status = json!({
            "posts": 100, "embedded": 70, "embeddings_stale": 4,
            "scored": 60, "scores_stale": 3, "by_fingerprint": { "ours": 50, "old": 10 }
        });
        assert_eq!(about_embeddings(&status), Some(34));
        let scores = |scope| about_scores(&status, scope, "ours");
        assert_eq!(scores(ScoreScope::Missing), Some(43));
        assert_eq!(scores(ScoreScope::Stale), Some(53));
        assert_eq!(scores(ScoreScope::All), Some(100));
        assert_eq!(about_scores(&status, ScoreScope::Stale, "new"), Some(100));
        assert_eq!(about_scores(&json!({}), ScoreScope::All, "ours"), None);
    }
}
