//! Scoring: posts in, scores under the rubric out; also one dimension alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;
use jiff::Timestamp;
use uuid::Uuid;

use super::price::Tariff;
use super::recompute::{RecomputeOptions, recompute};
use super::session::{Run, Session};
use super::sink::{DimensionSink, ScoreSink};
use super::source::{Due, DuePosts};
use super::{Preview, preview};
use crate::db::{DimensionRow, LeasedPost, RefreshTopicFrequencies, ScoreMode, ScoreRow};
use crate::digest::sha256_hex;
use crate::engine::{
    Ask, Done, Flow, Item, Lane, Plan, RowFailure, Sink, StopReason, Undone, Work,
};
use crate::error::Error;
use crate::exit::Exit;
use crate::openai::{
    AnswerFormat, ChatCompletion, ChatRequest, Client, Prices, ReasoningEffort, Tokenizer,
};
use crate::report::Outcome;
use crate::scoring::{
    AnswerError, AnswerSchema, PROMPT_VERSION, PostScore, Prompt, Question, Rubric, combine_batch,
};

/// Which scores a run makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScoreScope {
    /// Of posts that have none.
    Missing,
    /// Those, and those from another rubric or model.
    Stale,
    /// Those of every post.
    All,
}

/// Scores posts until none in the scope is left.
///
/// # Errors
/// Where the provider is not configured; everything later is in the outcome.
pub async fn score(session: &Session, run: &Run, scope: ScoreScope) -> Result<Outcome, Error> {
    let (name, due) = due_scores(session, scope);
    let scorer = Scorer::new(session, Asked::Whole)?;
    if run.options.dry_run {
        return dry(session, run, name, &due, &scorer).await;
    }
    let worker = Uuid::new_v4();
    let fingerprint = session.settings.rubric.fingerprint();
    let work = Scoring {
        scorer,
        form: WholeRow { fingerprint },
    };
    let sink = ScoreSink {
        database: session.database.clone(),
        worker,
    };
    drive(session, run, worker, due.clone(), work, sink).await;
    count_topics(session, run).await;
    Ok(session.finish(name, run, &due).await)
}

/// What `score` or `rescore` would do.
///
/// # Errors
/// As [`score`].
pub async fn plan_score(session: &Session, scope: ScoreScope) -> Result<Preview, Error> {
    let scorer = Scorer::new(session, Asked::Whole)?;
    let (_, due) = due_scores(session, scope);
    preview(session, &due, None, |posts, sum| scorer.preview(posts, sum)).await
}

/// What a scope is called, and what is due in it.
pub(crate) fn due_scores(session: &Session, scope: ScoreScope) -> (&'static str, Due) {
    let (name, mode) = match scope {
        ScoreScope::Missing => ("score", ScoreMode::Missing),
        ScoreScope::Stale => ("rescore", ScoreMode::Stale),
        ScoreScope::All => ("rescore", ScoreMode::All),
    };
    let fingerprint = session.settings.rubric.fingerprint();
    let before = (scope == ScoreScope::All).then(Timestamp::now);
    (
        name,
        Due::Score {
            mode,
            fingerprint,
            before,
        },
    )
}

/// Scores one dimension where it is missing, and recomputes the final scores.
///
/// # Errors
/// Where the rubric has no such dimension, or the provider is not configured; everything later is in
/// the outcome.
pub async fn backfill(session: &Session, run: &Run, dimension: &str) -> Result<Outcome, Error> {
    let scorer = Scorer::new(session, Asked::Dimension(dimension.to_owned()))?;
    let due = Due::Dimension(dimension.to_owned());
    if run.options.dry_run {
        return dry(session, run, "backfill", &due, &scorer).await;
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
        due.clone(),
        Scoring { scorer, form },
        sink,
    )
    .await;
    let outcome = session.finish("backfill", run, &due).await;
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
    due: Due,
    work: Scoring<F>,
    sink: K,
) where
    F: Form,
    K: Sink<Output = F::Row>,
{
    let rubric = &session.settings.rubric;
    let source = DuePosts::new(
        session.database.clone(),
        due,
        worker,
        session.settings.leases,
    );
    let chunk = u32::try_from(rubric.posts_per_call * 20).unwrap_or(u32::MAX);
    session
        .drive(run, &rubric.model, chunk, Flow { source, work, sink })
        .await;
}

async fn dry(
    session: &Session,
    run: &Run,
    name: &str,
    due: &Due,
    scorer: &Scorer,
) -> Result<Outcome, Error> {
    let preview = preview(session, due, run.options.limit, |posts, sum| {
        scorer.preview(posts, sum);
    })
    .await?;
    Ok(session.previewed(name, run, &preview))
}

/// What a flow over scores asks for.
#[derive(Debug, Clone)]
enum Asked {
    Whole,
    Dimension(String),
}

/// Asks about posts, as the rubric says.
#[derive(Debug, Clone)]
pub(super) struct Scorer {
    client: Client,
    rubric: Arc<Rubric>,
    asked: Asked,
    schema: Arc<AnswerSchema>,
    /// The model reads the schema as well, with every request.
    schema_tokens: usize,
    tokenizer: Tokenizer,
    tariff: Tariff,
}

/// Some posts of a batch, and what was wrong with the last answer about them.
struct Part {
    posts: Vec<LeasedPost>,
    complaint: Option<AnswerError>,
}

/// What became of the posts of a part.
type Verdicts = Vec<(LeasedPost, Result<PostScore, AnswerError>)>;

impl Scorer {
    fn new(session: &Session, asked: Asked) -> Result<Self, Error> {
        let rubric = Arc::new(session.settings.rubric.clone());
        let schema = match &asked {
            Asked::Whole => Question::whole(&rubric).schema(),
            Asked::Dimension(name) => Question::dimension(&rubric, name)
                .map_err(|error| Error::Usage(error.to_string()))?
                .schema(),
        };
        let tariff = Tariff::new(Prices::with(session.settings.prices.clone()), &rubric.model);
        let tokenizer = Tokenizer::for_model(&rubric.model);
        Ok(Self {
            client: session.provider()?.clone(),
            schema_tokens: tokenizer.count(&schema.schema.to_string()),
            tokenizer,
            tariff,
            rubric,
            asked,
            schema: Arc::new(schema),
        })
    }

    fn question(&self) -> Question<'_> {
        match &self.asked {
            // `new` has made this question already, so the dimension is there.
            Asked::Dimension(name) => Question::dimension(&self.rubric, name)
                .unwrap_or_else(|_| Question::whole(&self.rubric)),
            Asked::Whole => Question::whole(&self.rubric),
        }
    }

    /// What scoring these posts would cost, added to what others would.
    fn preview(&self, posts: &[LeasedPost], sum: &mut Preview) {
        for batch in posts.chunks(self.rubric.posts_per_call) {
            let ask = self.ask(&self.prompt(batch, None), batch.len());
            let runs = self.rubric.runs as u64;
            sum.requests += runs;
            sum.input_tokens += u64::from(ask.input_tokens) * runs;
            sum.output_tokens += u64::from(ask.output_tokens) * runs;
            sum.usd += ask.usd * runs as f64;
        }
        sum.rows += posts.len() as u64;
        sum.price_known = self.tariff.is_known();
    }

    fn prompt(&self, posts: &[LeasedPost], complaint: Option<&AnswerError>) -> Prompt {
        let texts: Vec<&str> = posts.iter().map(|post| post.text.as_str()).collect();
        let prompt = self.question().prompt(&texts);
        match complaint {
            Some(error) => prompt.complain(error),
            None => prompt,
        }
    }

    fn ask(&self, prompt: &Prompt, posts: usize) -> Ask {
        // Each message costs a few tokens beside its words.
        let messages = prompt.messages.iter();
        let input: usize = messages
            .map(|message| self.tokenizer.count(&message.content) + 4)
            .sum();
        let input_tokens = u32::try_from(input + self.schema_tokens + 3).unwrap_or(u32::MAX);
        let output_tokens = self.output_tokens(posts);
        Ask {
            input_tokens,
            output_tokens,
            usd: self.tariff.at_most(input_tokens, output_tokens),
        }
    }

    fn output_tokens(&self, posts: usize) -> u32 {
        let reasoning = if crate::openai::is_reasoning(&self.rubric.model) {
            self.rubric
                .reasoning_effort
                .unwrap_or(ReasoningEffort::Medium)
                .tokens()
        } else {
            0
        };
        u32::try_from(self.question().answer_tokens(posts) + reasoning).unwrap_or(u32::MAX)
    }

    /// Asks about some posts in all runs at once, and combines the answers. A run that fails costs only
    /// itself; where every run fails, the first failure is the batch's.
    async fn judge(
        &self,
        lane: &Lane,
        part: &Part,
    ) -> Result<Vec<Result<PostScore, AnswerError>>, Undone> {
        let prompt = self.prompt(&part.posts, part.complaint.as_ref());
        let runs = (0..self.rubric.runs).map(|run| self.once(lane, &prompt, part.posts.len(), run));
        let (mut answers, mut failure) = (Vec::new(), None);
        for run in join_all(runs).await {
            match run {
                Ok(answer) => answers.push(answer),
                Err(undone) => {
                    failure.get_or_insert(undone);
                }
            }
        }
        match failure {
            Some(undone) if answers.is_empty() => Err(undone),
            // A flow that halts keeps what was paid for.
            _ => Ok(combine_batch(&self.rubric, part.posts.len(), &answers)),
        }
    }

    /// One run: one request and its answer.
    async fn once(
        &self,
        lane: &Lane,
        prompt: &Prompt,
        posts: usize,
        run: usize,
    ) -> Result<Vec<Result<PostScore, AnswerError>>, Undone> {
        let ask = self.ask(prompt, posts);
        let request = ChatRequest {
            model: &self.rubric.model,
            messages: &prompt.messages,
            format: Some(AnswerFormat {
                name: &self.schema.name,
                schema: &self.schema.schema,
            }),
            max_output_tokens: Some(ask.output_tokens),
            temperature: self.rubric.temperature,
            reasoning_effort: self.rubric.reasoning_effort,
            seed: i64::try_from(run).ok(),
        };
        let completion = lane
            .send(
                ask,
                |usage| self.tariff.usd(usage),
                || self.client.chat(&request),
            )
            .await?;
        Ok(match completion {
            ChatCompletion::Content(content) => self.question().read(&content, posts),
            other => {
                let error = AnswerError::Withheld {
                    why: withheld(&other).to_owned(),
                };
                vec![Err(error); posts]
            }
        })
    }

    /// Scores a batch: at first together; what no run has answered once more together with the error
    /// said, then each post alone. Answers what was scored and what was not.
    async fn score(&self, lane: &Lane, batch: Vec<LeasedPost>) -> (Verdicts, Option<StopReason>) {
        let mut verdicts = Verdicts::new();
        let mut parts = vec![Part {
            posts: batch,
            complaint: None,
        }];
        while let Some(part) = parts.pop() {
            let failed = match self.judge(lane, &part).await {
                Ok(scores) => settle(&part, scores, &mut verdicts),
                Err(Undone::Stopped) => return (verdicts, None),
                Err(Undone::Halt(reason)) => return (verdicts, Some(reason)),
                Err(Undone::Rejected(why) | Undone::Unreadable(why)) => {
                    let error = AnswerError::Withheld { why };
                    part.posts
                        .iter()
                        .map(|post| (post.clone(), error.clone()))
                        .collect()
                }
            };
            if !failed.is_empty() {
                again(&part, failed, &mut parts, &mut verdicts);
            }
        }
        (verdicts, None)
    }
}

/// Takes up what was scored; answers what was not, with the reasons.
fn settle(
    part: &Part,
    scores: Vec<Result<PostScore, AnswerError>>,
    verdicts: &mut Verdicts,
) -> Vec<(LeasedPost, AnswerError)> {
    let mut failed = Vec::new();
    for (post, score) in part.posts.iter().zip(scores) {
        match score {
            Ok(score) => verdicts.push((post.clone(), Ok(score))),
            Err(error) => failed.push((post.clone(), error)),
        }
    }
    failed
}

/// What to do with posts that got no score: ask again with the error said, then each alone, then give up.
fn again(
    part: &Part,
    failed: Vec<(LeasedPost, AnswerError)>,
    parts: &mut Vec<Part>,
    verdicts: &mut Verdicts,
) {
    let alone = part.posts.len() == 1;
    if part.complaint.is_none() {
        let complaint = failed.first().map(|(_, error)| error.clone());
        let posts = failed.into_iter().map(|(post, _)| post).collect();
        parts.push(Part { posts, complaint });
    } else if alone {
        verdicts.extend(failed.into_iter().map(|(post, error)| (post, Err(error))));
    } else {
        let single = |(post, error)| Part {
            posts: vec![post],
            complaint: Some(error),
        };
        parts.extend(failed.into_iter().map(single));
    }
}

fn withheld(completion: &ChatCompletion) -> &'static str {
    match completion {
        ChatCompletion::Refusal(_) => "the model refuses to answer",
        ChatCompletion::Length(_) => "the answer was longer than allowed",
        _ => "the provider's filter withheld the answer",
    }
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
    form: F,
}

impl<F: Form> Work for Scoring<F> {
    type Item = LeasedPost;
    type Batch = Vec<LeasedPost>;
    type Output = F::Row;

    fn plan(&self, open: Option<Vec<LeasedPost>>, rows: Vec<LeasedPost>) -> Plan<Vec<LeasedPost>> {
        let (blank, due): (Vec<_>, Vec<_>) = rows
            .into_iter()
            .partition(|post| post.text.trim().is_empty());
        let posts: Vec<_> = open.into_iter().flatten().chain(due).collect();
        let size = self.scorer.rubric.posts_per_call;
        let mut batches: Vec<_> = posts.chunks(size).map(<[LeasedPost]>::to_vec).collect();
        let open = batches.pop_if(|batch| batch.len() < size);
        Plan {
            batches,
            open,
            skipped: blank.iter().map(Item::id).collect(),
            remarks: Vec::new(),
        }
    }

    fn ids(&self, batch: &Vec<LeasedPost>) -> Vec<Uuid> {
        batch.iter().map(Item::id).collect()
    }

    async fn run(&self, lane: &Lane, batch: Vec<LeasedPost>) -> Done<F::Row> {
        let (verdicts, halt) = self.scorer.score(lane, batch).await;
        let mut done = Done {
            halt,
            ..Done::default()
        };
        for (post, verdict) in verdicts {
            match verdict {
                Ok(score) => {
                    let row = self.form.row(&post, score, &self.scorer.rubric.model);
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
