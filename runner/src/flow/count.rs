//! How much is due, for a progress that knows its end.

use serde_json::{Value, json};

use super::ScoreScope;
use super::session::{Run, Session};
use super::source::Due;
use crate::db::{CountWork, PipelineStatus};

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

/// Tells a run about how many posts a scope of scores takes up, in one request however many they are. Where
/// the database does not answer, the flow says so itself.
pub async fn expect_scores(session: &Session, run: &Run, scope: ScoreScope) {
    let fingerprint = session.settings.rubric.fingerprint();
    match session.database.call(PipelineStatus {}).await {
        Ok(status) => {
            if let Some(rows) = about_scores(&status, scope, &fingerprint) {
                run.expect(rows);
            }
        }
        Err(error) => tracing::debug!(%error, "failed to count what is due"),
    }
}

/// Posts without an embedding or with a stale one. Blank posts are among them and posts of another model
/// are not: it is a number to show, not one to rely on.
pub(super) fn about_embeddings(status: &Value) -> Option<u64> {
    let count = |key: &str| status.get(key).and_then(Value::as_u64);
    let missing = count("posts")?.saturating_sub(count("embedded")?);
    Some(missing + count("embeddings_stale")?)
}

/// Posts in a scope of scores, by the same numbers and with the same reserve.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_is_told_from_the_status() {
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
