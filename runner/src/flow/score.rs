//! The flows over scores: posts in, scores under the rubric out; also one dimension alone.

use std::collections::BTreeMap;

use jiff::Timestamp;
use uuid::Uuid;

use super::pass::Pass;
use super::recompute::{RecomputeOptions, recompute};
use super::requester::Requester;
use super::scorer::{Asked, Scorer};
use super::session::{Run, Session};
use super::sink::{DimensionSink, ScoreSink};
use super::source::DuePosts;
use super::work::{ScoreScope, WorkKind};
use super::{Preview, preview};
use crate::db::{DimensionRow, LeasedPost, RefreshTopicFrequencies, ScoreRow};
use crate::digest::sha256_hex;
use crate::engine::{BatchResult, Flow, Item, Packing, RowFailure, Sink, StopReason, Work};
use crate::error::Error;
use crate::exit::Exit;
use crate::report::Outcome;
use crate::scoring::{PROMPT_VERSION, PostScore};

/// Scores posts until none in the scope is left.
///
/// # Errors
/// Where the provider is not configured, or the database does not tell where a pass over all posts
/// stands; everything later is in the outcome.
pub async fn score(session: &Session, run: &Run, scope: ScoreScope) -> Result<Outcome, Error> {
    let name = name_of(scope);
    let scorer = Scorer::new(session, Asked::Whole)?;
    if run.options.dry_run {
        let kind = next_scores(session, scope).await?;
        return dry(session, run, name, &kind, &scorer).await;
    }
    let pass = Pass::begin(session, run, scope).await?;
    let before = pass.as_ref().map(|pass| pass.started_at);
    let kind = score_work(session, scope, before);
    let worker = Uuid::new_v4();
    let fingerprint = session.settings.rubric.fingerprint();
    let work = Scoring {
        scorer,
        requester: session.requester(run, &session.settings.rubric.model),
        form: WholeRow { fingerprint },
    };
    let sink = ScoreSink {
        database: session.database.clone(),
        worker,
    };
    drive(session, run, worker, kind.clone(), work, sink).await;
    count_topics(session, run).await;
    let outcome = session.finish(name, run, &kind).await;
    Ok(match pass {
        Some(pass) => pass.end(session, outcome).await,
        None => outcome,
    })
}

/// What `score` or `rescore` would do.
///
/// # Errors
/// As [`score`].
pub async fn plan_score(session: &Session, scope: ScoreScope) -> Result<Preview, Error> {
    let scorer = Scorer::new(session, Asked::Whole)?;
    let kind = next_scores(session, scope).await?;
    preview(session, &kind, None, |posts, sum| {
        scorer.preview(posts, sum);
    })
    .await
}

fn name_of(scope: ScoreScope) -> &'static str {
    match scope {
        ScoreScope::Missing => "score",
        ScoreScope::Stale | ScoreScope::All | ScoreScope::AllAnew => "rescore",
    }
}

/// The work of a scope for a plan, which begins no pass.
async fn next_scores(session: &Session, scope: ScoreScope) -> Result<WorkKind, Error> {
    let before = match scope {
        ScoreScope::Missing | ScoreScope::Stale => None,
        ScoreScope::All => Some(Pass::open(session).await?.unwrap_or_else(Timestamp::now)),
        ScoreScope::AllAnew => Some(Timestamp::now()),
    };
    Ok(score_work(session, scope, before))
}

/// The work of a scope. In a scope of every post, scores from before `before` are due.
pub(crate) fn score_work(
    session: &Session,
    scope: ScoreScope,
    before: Option<Timestamp>,
) -> WorkKind {
    WorkKind::Score {
        scope,
        fingerprint: session.settings.rubric.fingerprint(),
        before,
    }
}

/// Scores one dimension where it is missing, and recomputes the final scores.
///
/// # Errors
/// Where the rubric has no such dimension, or the provider is not configured; everything later is in
/// the outcome.
pub async fn backfill(session: &Session, run: &Run, dimension: &str) -> Result<Outcome, Error> {
    let scorer = Scorer::new(session, Asked::Dimension(dimension.to_owned()))?;
    let kind = WorkKind::Backfill(dimension.to_owned());
    if run.options.dry_run {
        return dry(session, run, "backfill", &kind, &scorer).await;
    }
    let worker = Uuid::new_v4();
    let form = DimensionOnly {
        dimension: dimension.to_owned(),
    };
    let sink = DimensionSink {
        database: session.database.clone(),
        worker,
        dimension: dimension.to_owned(),
    };
    drive(
        session,
        run,
        worker,
        kind.clone(),
        Scoring {
            scorer,
            requester: session.requester(run, &session.settings.rubric.model),
            form,
        },
        sink,
    )
    .await;
    let outcome = session.finish("backfill", run, &kind).await;
    // Half a dimension is no reason to move the ranking: the run that completes it recomputes.
    Ok(match outcome.exit {
        Exit::Complete | Exit::SomeFailed => recomputed(session, run, outcome).await,
        _ => outcome,
    })
}

/// Counts the categories afresh. Also where this run wrote nothing: the window moves on by itself, and
/// a run before this one may have ended between its last write and its count.
async fn count_topics(session: &Session, run: &Run) {
    if matches!(run.stop.reason(), Some(StopReason::Database(_))) {
        return;
    }
    if let Err(error) = session.database.call(RefreshTopicFrequencies {}).await {
        // The scores are stored and paid for, so this ends the run and not its report.
        run.stop.stop(StopReason::Database(error.to_string()));
    }
}

/// The outcome of a backfill after the final scores are recomputed: also where nothing was due, since a
/// run before this one may have ended between its last write and its recompute.
async fn recomputed(session: &Session, run: &Run, filled: Outcome) -> Outcome {
    let after = session.begin(super::FlowOptions::default(), run.stop.clone());
    let (mut report, exit) = (filled.report, filled.exit);
    let why = match recompute(session, &after, RecomputeOptions::default()).await {
        Ok(done) => {
            let why =
                (done.exit != Exit::Complete).then_some((done.exit, done.report.reason.clone()));
            report.requests.supabase += done.report.requests.supabase;
            report.flows.push(done.report);
            why
        }
        Err(error) => Some((error.exit(), Some(error.to_string()))),
    };
    let Some((exit, reason)) = why else {
        return Outcome { report, exit };
    };
    let reason = reason.unwrap_or_default();
    Outcome::stopped(
        report,
        exit,
        format!("the final scores are as before: {reason}"),
    )
}

async fn drive<F, K>(
    session: &Session,
    run: &Run,
    worker: Uuid,
    kind: WorkKind,
    work: Scoring<F>,
    sink: K,
) where
    F: Form,
    K: Sink<Output = F::Row>,
{
    let rubric = &session.settings.rubric;
    let source = DuePosts::new(
        session.database.clone(),
        kind,
        worker,
        session.settings.leases,
    );
    let chunk = u32::try_from(rubric.posts_per_call * 20).unwrap_or(u32::MAX);
    session.drive(run, chunk, Flow { source, work, sink }).await;
}

async fn dry(
    session: &Session,
    run: &Run,
    name: &str,
    kind: &WorkKind,
    scorer: &Scorer,
) -> Result<Outcome, Error> {
    let preview = preview(session, kind, run.options.limit, |posts, sum| {
        scorer.preview(posts, sum);
    })
    .await?;
    Ok(session.previewed(name, run, &preview))
}

/// How a score becomes a row.
trait Form: Send + Sync + 'static {
    type Row: Send + Sync + 'static;

    fn row(&self, post: &LeasedPost, score: PostScore, model: &str) -> Self::Row;
}

struct WholeRow {
    fingerprint: String,
}

impl Form for WholeRow {
    type Row = ScoreRow;

    fn row(&self, post: &LeasedPost, score: PostScore, model: &str) -> ScoreRow {
        ScoreRow {
            post_id: post.id,
            scores: score.scores,
            categories: score.categories,
            summary: Some(score.summary),
            why_podcast_worthy: Some(score.why_podcast_worthy),
            model_version: model.to_owned(),
            prompt_version: PROMPT_VERSION.to_owned(),
            fingerprint: self.fingerprint.clone(),
            text_hash: sha256_hex(&post.text),
        }
    }
}

struct DimensionOnly {
    dimension: String,
}

impl Form for DimensionOnly {
    type Row = DimensionRow;

    fn row(&self, post: &LeasedPost, score: PostScore, _model: &str) -> DimensionRow {
        let scores: BTreeMap<String, f64> = score.scores;
        // A score that was read has every dimension that was asked for.
        let score = scores.get(&self.dimension).copied().unwrap_or_default();
        DimensionRow {
            post_id: post.id,
            score,
        }
    }
}

/// The work of the flows over scores.
struct Scoring<F> {
    scorer: Scorer,
    requester: Requester,
    form: F,
}

impl<F: Form> Work for Scoring<F> {
    type Item = LeasedPost;
    type Batch = Vec<LeasedPost>;
    type Output = F::Row;

    fn pack(
        &self,
        open: Option<Vec<LeasedPost>>,
        rows: Vec<LeasedPost>,
    ) -> Packing<Vec<LeasedPost>> {
        let (blank, due): (Vec<_>, Vec<_>) = rows
            .into_iter()
            .partition(|post| post.text.trim().is_empty());
        let posts: Vec<_> = open.into_iter().flatten().chain(due).collect();
        let size = self.scorer.posts_per_call();
        let mut batches: Vec<_> = posts.chunks(size).map(<[LeasedPost]>::to_vec).collect();
        let open = batches.pop_if(|batch| batch.len() < size);
        Packing {
            batches,
            open,
            skipped: blank.iter().map(Item::id).collect(),
            warnings: Vec::new(),
        }
    }

    fn ids(&self, batch: &Vec<LeasedPost>) -> Vec<Uuid> {
        batch.iter().map(Item::id).collect()
    }

    async fn run(&self, batch: Vec<LeasedPost>) -> BatchResult<F::Row> {
        let (verdicts, halt) = self.scorer.score(&self.requester, batch).await;
        let mut done = BatchResult {
            halt,
            ..BatchResult::default()
        };
        for (post, verdict) in verdicts {
            match verdict {
                Ok(score) => {
                    let row = self.form.row(&post, score, self.scorer.model());
                    done.outputs.push(row);
                }
                Err(error) => done.failures.push(RowFailure {
                    id: post.id,
                    reason: error.to_string(),
                    permanent: true,
                }),
            }
        }
        done
    }
}
