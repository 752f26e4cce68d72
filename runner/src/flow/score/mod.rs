//! The flows over scores: score, rescore and backfill. Posts in, scores under the rubric out.

mod ask;
mod batch;
mod compare;
mod model;
mod pass;
mod probe;
mod row;
mod scorer;
mod work;

use jiff::Timestamp;
use uuid::Uuid;

pub(super) use self::batch::ScoreCollector;
use self::batch::ScoreLines;
pub use self::compare::{Comparison, compare};
use self::pass::ScorePass;
pub use self::probe::{Tried, try_scoring};
use self::row::{Origin, dimension_row, dimension_sink, score_sink};
use self::scorer::Scorer;
use self::work::ScoreWork;
use super::batch::BatchFlow;
use super::preview::{Preview, preview};
use super::recompute::{RecomputeOptions, recompute};
use super::run::{FlowOptions, Run};
use super::session::Session;
use super::work::{ScoreScope, WorkKind};
use crate::db::{LeasedPost, RefreshTopicFrequencies};
use crate::engine::{Item, Sink, StopReason};
use crate::error::Error;
use crate::exit::Exit;
use crate::provider::Tier;
use crate::report::Outcome;
use crate::scoring::{PostScore, Rubric};
use crate::text::sha256_hex;

/// Scores posts until none in the scope is left.
///
/// # Errors
/// If the provider is not configured, or the database cannot begin a pass over all posts. Later errors are in
/// the outcome.
pub async fn score(session: &Session, run: &Run, scope: ScoreScope) -> Result<Outcome, Error> {
    let name = match scope {
        ScoreScope::Missing => "score",
        ScoreScope::Stale | ScoreScope::All | ScoreScope::AllAnew => "rescore",
    };
    session
        .recorded(name, run, score_posts(session, run, scope, name))
        .await
}

async fn score_posts(
    session: &Session,
    run: &Run,
    scope: ScoreScope,
    name: &str,
) -> Result<Outcome, Error> {
    let session = &session.within(run);
    let rubric = session.rubric().await?;
    warn_of_kept_model(session, run, &rubric);
    let mut scorer = Scorer::new(session, rubric.clone(), None)?;
    if run.options.batch.is_some() {
        session.check_batches(run, rubric.model())?;
        scorer.tier = Tier::Batch;
    }
    if run.options.dry_run {
        let kind = next_scores(session, &rubric, scope).await?;
        return dry(session, run, name, &kind, &scorer).await;
    }
    let pass = ScorePass::begin(session, run, &rubric, scope).await?;
    let before = pass.as_ref().map(|pass| pass.started_at);
    let kind = score_work(&rubric, scope, before);
    if run.options.batch.is_some() {
        by_batches(session, run, (name, &kind), scorer).await;
    } else {
        let worker = Uuid::new_v4();
        let origin = Origin::of(&rubric);
        let to_row = move |post: &LeasedPost, score: PostScore| {
            origin.row(post.id, sha256_hex(&post.text), score)
        };
        let sink = score_sink(session, worker);
        drive(session, run, &kind, worker, scorer, to_row, sink).await;
    }
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
/// If the provider is not configured, or the database does not answer.
pub async fn plan_score(session: &Session, scope: ScoreScope) -> Result<Preview, Error> {
    let rubric = session.rubric().await?;
    let scorer = Scorer::new(session, rubric.clone(), None)?;
    let kind = next_scores(session, &rubric, scope).await?;
    preview(session, &kind, None, |posts, sum| {
        scorer.preview(posts, sum);
    })
    .await
}

/// What `backfill` would do.
///
/// # Errors
/// If the rubric has no such dimension, the provider is not configured, or the database does not answer.
pub async fn plan_backfill(session: &Session, dimension: &str) -> Result<Preview, Error> {
    let scorer = Scorer::new(session, session.rubric().await?, Some(dimension))?;
    let kind = WorkKind::Backfill(dimension.to_owned());
    preview(session, &kind, None, |posts, sum| {
        scorer.preview(posts, sum);
    })
    .await
}

/// The work of a scope for a plan, which begins no pass.
async fn next_scores(
    session: &Session,
    rubric: &Rubric,
    scope: ScoreScope,
) -> Result<WorkKind, Error> {
    let before = match scope {
        ScoreScope::Missing | ScoreScope::Stale => None,
        ScoreScope::All => {
            let open = ScorePass::open(session, rubric).await?;
            Some(open.unwrap_or_else(Timestamp::now))
        }
        ScoreScope::AllAnew => Some(Timestamp::now()),
    };
    Ok(score_work(rubric, scope, before))
}

/// The work of a scope. In a scope of every post, scores from before `before` are due.
pub(crate) fn score_work(
    rubric: &Rubric,
    scope: ScoreScope,
    before: Option<Timestamp>,
) -> WorkKind {
    WorkKind::Score {
        scope,
        fingerprint: rubric.fingerprint(),
        before,
    }
}

/// Scores one dimension of the posts that lack it, and recomputes the final scores.
///
/// # Errors
/// If the rubric has no such dimension, or the provider is not configured. Later errors are in the outcome.
pub async fn backfill(session: &Session, run: &Run, dimension: &str) -> Result<Outcome, Error> {
    session
        .recorded("backfill", run, backfill_posts(session, run, dimension))
        .await
}

async fn backfill_posts(session: &Session, run: &Run, dimension: &str) -> Result<Outcome, Error> {
    let session = &session.within(run);
    let rubric = session.rubric().await?;
    warn_of_kept_model(session, run, &rubric);
    let mut scorer = Scorer::new(session, rubric, Some(dimension))?;
    let kind = WorkKind::Backfill(dimension.to_owned());
    if run.options.batch.is_some() {
        session.check_batches(run, scorer.model())?;
        scorer.tier = Tier::Batch;
    }
    if run.options.dry_run {
        return dry(session, run, "backfill", &kind, &scorer).await;
    }
    if run.options.batch.is_some() {
        by_batches(session, run, ("backfill", &kind), scorer).await;
    } else {
        let worker = Uuid::new_v4();
        let name = dimension.to_owned();
        let to_row = move |post: &LeasedPost, score: PostScore| {
            dimension_row(&name, post.id, sha256_hex(&post.text), &score)
        };
        let sink = dimension_sink(session, worker, dimension);
        drive(session, run, &kind, worker, scorer, to_row, sink).await;
    }
    let outcome = session.finish("backfill", run, &kind).await;
    // A dimension that is only half filled in must not change the ranking. The run that completes it recomputes.
    Ok(match outcome.exit {
        Exit::Complete | Exit::SomeFailed => recomputed(session, run, outcome).await,
        _ => outcome,
    })
}

/// Counts how often each category was given. This is needed even if the run wrote nothing: the window moves
/// with time, and an earlier run may have ended before it counted.
pub(super) async fn count_topics(session: &Session, run: &Run) {
    if matches!(run.stop.reason(), Some(StopReason::Database(_))) {
        return;
    }
    if let Err(error) = session.database.call(RefreshTopicFrequencies {}).await {
        // The scores are stored and paid for, so the report is kept.
        run.stop.stop(StopReason::Database(error.to_string()));
    }
}

/// Recomputes the final scores after a backfill. This is needed even if nothing was due, because an earlier run
/// may have ended before its recompute.
async fn recomputed(session: &Session, run: &Run, filled: Outcome) -> Outcome {
    let second = session.begin(FlowOptions::default(), run.stop.clone());
    let Outcome { mut report, exit } = filled;
    let failure = match recompute(session, &second, RecomputeOptions::default()).await {
        Ok(done) => {
            let reason = done.report.reason.clone().unwrap_or_default();
            report.requests.supabase += done.report.requests.supabase;
            report.flows.push(done.report);
            (done.exit != Exit::Complete).then_some((done.exit, reason))
        }
        Err(error) => Some((error.exit(), error.to_string())),
    };
    match failure {
        None => Outcome { report, exit },
        Some((exit, reason)) => {
            let reason = format!("the final scores were not recomputed: {reason}");
            Outcome::stopped(report, exit, reason)
        }
    }
}

async fn drive<R, F, K>(
    session: &Session,
    run: &Run,
    kind: &WorkKind,
    worker: Uuid,
    scorer: Scorer,
    to_row: F,
    sink: K,
) where
    R: Item,
    F: Fn(&LeasedPost, PostScore) -> R + Send + Sync + 'static,
    K: Sink<Output = R>,
{
    let chunk = u32::try_from(scorer.posts_per_call() * 20).unwrap_or(u32::MAX);
    let requester = session.requester(run, scorer.model(), session.tiering());
    let asked = scorer.clone();
    let work = ScoreWork {
        scorer,
        requester,
        to_row,
    };
    Box::pin(session.drive_posts(run, kind, worker, chunk, (work, sink))).await;
    for adaptation in asked.adaptations() {
        run.metrics.warn(adaptation);
    }
}

/// Does the work of a kind by batches at the provider.
async fn by_batches(session: &Session, run: &Run, (name, kind): (&str, &WorkKind), scorer: Scorer) {
    let asked = scorer.clone();
    BatchFlow::new(
        session,
        run,
        (name, kind),
        ScoreLines(scorer),
        ScoreCollector,
    )
    .drive()
    .await;
    for adaptation in asked.adaptations() {
        run.metrics.warn(adaptation);
    }
}

fn warn_of_kept_model(session: &Session, run: &Run, rubric: &Rubric) {
    if let Some(warning) = session.kept_model(rubric) {
        run.metrics.warn(warning);
    }
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
