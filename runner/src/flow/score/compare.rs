//! Scores a sample of scored posts with another model, and stores nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use sluice_sdk::col;
use uuid::Uuid;

use super::super::run::Run;
use super::super::session::Session;
use super::scorer::Scorer;
use crate::db::{DatabaseError, LeasedPost};
use crate::error::Error;
use crate::scoring::{Agreement, DEFAULT_MODEL, Judgement, Rubric};

/// The most posts of a sample: what a database returns at once.
const SAMPLE_MAX: u64 = 1_000;

/// How another model agrees with the stored scores, and what it costs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The model.
    pub model: String,
    /// Posts that both have scored.
    pub posts: usize,
    /// Posts that the model gave no usable answer about.
    pub failed: usize,
    /// How far they agree. A positive difference means that the model scores higher.
    #[serde(flatten)]
    pub agreement: Agreement,
    /// Tokens that were billed.
    pub tokens: u64,
    /// What they cost in US dollars. Null if the model has no price.
    pub usd: Option<f64>,
    /// Wall time in seconds.
    pub elapsed_seconds: f64,
    /// Why not all of the sample was scored, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A stored score.
#[derive(Debug, Deserialize)]
struct Stored {
    post_id: Uuid,
    /// Scores of the earlier implementation may be something else than numbers.
    scores: BTreeMap<String, serde_json::Value>,
    categories: Option<Vec<String>>,
}

impl Stored {
    fn judgement(&self) -> Judgement {
        let scores = self.scores.iter();
        let scores = scores.filter_map(|(name, score)| Some((name.clone(), score.as_f64()?)));
        (
            scores.collect(),
            self.categories.clone().unwrap_or_default(),
        )
    }
}

/// Scores at most as many posts as the run's limit with another model, under the configured rubric, and compares that
/// with what is stored. The run's budget holds.
///
/// # Errors
/// If the database does not answer, nothing is scored, or the model does not take what is configured.
pub async fn compare(session: &Session, run: &Run, model: &str) -> Result<Comparison, Error> {
    let mut compared = None;
    let work = async {
        compared = Some(score_sample(session, run, model).await?);
        Ok(session.outcome("compare", run, false))
    };
    session.recorded("compare", run, work).await?;
    compared.ok_or_else(|| Error::Unexpected("nothing was compared".to_owned()))
}

async fn score_sample(session: &Session, run: &Run, model: &str) -> Result<Comparison, Error> {
    let session = &session.within(run);
    let rubric = Rubric {
        // What goes with the default model goes with it here too.
        model: (model != DEFAULT_MODEL).then(|| model.to_owned()),
        ..session.settings.rubric.clone()
    };
    session.settings.check_model(&rubric)?;
    let asks = Scorer::new(session, Arc::new(rubric), None)?;
    let requester = session.requester(run, model, session.tiering());
    let limit = run.options.limit.unwrap_or(200).min(SAMPLE_MAX);
    let stored = sample(session, limit).await?;
    let posts = posts(session, &stored).await?;
    let concurrency = session.settings.limits.concurrency as usize;
    let batches: Vec<Vec<LeasedPost>> = posts
        .chunks(asks.posts_per_call())
        .map(<[LeasedPost]>::to_vec)
        .collect();
    let mut answers = stream::iter(batches)
        .map(|batch| asks.score(&requester, batch))
        .buffer_unordered(concurrency);
    let (mut pairs, mut failed) = (Vec::new(), 0);
    while let Some(scores) = answers.next().await {
        for (post, score) in scores.posts {
            match (stored.get(&post.id), score) {
                (Some(before), Ok(score)) => {
                    pairs.push((before.judgement(), (score.scores, score.categories)));
                }
                _ => failed += 1,
            }
        }
        if let Some(reason) = scores.halt {
            run.stop.stop(reason);
        }
    }
    Ok(Comparison {
        model: model.to_owned(),
        posts: pairs.len(),
        failed,
        agreement: Agreement::of(&pairs),
        tokens: run.requests.usage().total(),
        usd: run.requests.is_priced().then(|| run.usd()),
        elapsed_seconds: run.started.elapsed().as_secs_f64(),
        reason: run.stop.reason().map(ToString::to_string),
    })
}

/// Stored scores by post. Ids are random, so the first ones are a fair sample.
async fn sample(session: &Session, limit: u64) -> Result<HashMap<Uuid, Stored>, Error> {
    let read = session.database.client().table("llm_scores");
    let read = read
        .rows::<Stored>()
        .order(col("post_id").asc())
        .limit(limit);
    let rows: Vec<Stored> = read.await.map_err(DatabaseError::from)?;
    if rows.is_empty() {
        let message = "no post has a score to compare with: run `sluice score` first";
        return Err(Error::Usage(message.to_owned()));
    }
    Ok(rows.into_iter().map(|row| (row.post_id, row)).collect())
}

/// The texts of these posts, without blank ones.
async fn posts(
    session: &Session,
    stored: &HashMap<Uuid, Stored>,
) -> Result<Vec<LeasedPost>, Error> {
    let mut ids: Vec<Uuid> = stored.keys().copied().collect();
    ids.sort_unstable();
    let read = session.database.client().table("posts");
    let found = read.rows::<LeasedPost>().filter_in(col("id"), ids);
    let mut found: Vec<LeasedPost> = found.await.map_err(DatabaseError::from)?;
    found.retain(|post| !post.text.trim().is_empty());
    found.sort_by_key(|post| post.id);
    Ok(found)
}
