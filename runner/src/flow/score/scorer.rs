//! Scores batches of posts, and asks again if a response is unusable.

use std::sync::Arc;

use super::super::price::Tariff;
use super::super::requester::{RequestError, Requester};
use super::super::session::Session;
use crate::db::LeasedPost;
use crate::engine::{Bisection, Blame, Deferred, Fault, Item, Packing, Step, StopReason};
use crate::error::Error;
use crate::provider::{Client, Tier, Tokenizer};
use crate::scoring::{AnswerError, AnswerSchema, PostScore, Question, Rubric};

/// Asks about posts, as the rubric says.
#[derive(Debug, Clone)]
pub(super) struct Scorer {
    pub(super) client: Client,
    pub(super) rubric: Arc<Rubric>,
    /// The only dimension to ask about, or `None` for the whole rubric.
    pub(super) dimension: Option<String>,
    /// The form of an answer with all that is asked for.
    whole: Arc<Form>,
    /// The form of an answer without texts.
    brief: Arc<Form>,
    /// What all requests about the rubric share in the provider's cache.
    pub(super) cache_key: Arc<str>,
    pub(super) tokenizer: Tokenizer,
    pub(super) tariff: Tariff,
    /// The dearest tier at which requests are billed.
    pub(super) tier: Tier,
    /// Whether posts may be blamed for answers that cannot be used.
    usable: Arc<Blame>,
}

/// The form of an answer.
#[derive(Debug)]
pub(super) struct Form {
    pub(super) schema: AnswerSchema,
    /// The model reads the schema with every request.
    pub(super) tokens: usize,
}

impl Form {
    fn of(question: &Question<'_>, tokenizer: Tokenizer) -> Arc<Self> {
        let schema = question.schema();
        let tokens = tokenizer.count(&schema.schema.to_string());
        Arc::new(Self { schema, tokens })
    }
}

/// Posts to ask about together, and what was wrong with the last answer about them.
pub(super) struct Part {
    pub(super) posts: Vec<LeasedPost>,
    pub(super) complaint: Option<AnswerError>,
}

/// Posts, each with its score or the reason why it has none.
type Scored = Vec<(LeasedPost, Result<PostScore, AnswerError>)>;

/// What became of a batch of posts.
#[derive(Default)]
pub(super) struct Scores {
    pub(super) posts: Scored,
    /// Posts that stay due.
    pub(super) deferred: Vec<Deferred>,
    /// Why the run cannot go on, if so.
    pub(super) halt: Option<StopReason>,
}

impl Scores {
    fn defer(&mut self, part: &Part, reason: StopReason) {
        self.deferred.push(Deferred {
            ids: part.posts.iter().map(|post| post.id).collect(),
            reason,
        });
    }
}

impl Scorer {
    /// Asks about one dimension, or about the whole rubric.
    pub(super) fn new(
        session: &Session,
        rubric: Arc<Rubric>,
        dimension: Option<&str>,
    ) -> Result<Self, Error> {
        let question = match dimension {
            None => Question::whole(&rubric),
            Some(name) => Question::dimension(&rubric, name)
                .map_err(|error| Error::Usage(error.to_string()))?,
        };
        let client = session.provider()?.clone();
        let tokenizer = client.model(rubric.model()).tokenizer();
        Ok(Self {
            whole: Form::of(&question, tokenizer),
            brief: Form::of(&Question::brief(&rubric), tokenizer),
            cache_key: format!("sluice-{}", rubric.fingerprint()).into(),
            tokenizer,
            tariff: session.tariff(rubric.model()),
            tier: session.tiering().dearest(),
            client,
            rubric,
            dimension: dimension.map(str::to_owned),
            usable: Arc::default(),
        })
    }

    /// The posts in one request.
    pub(super) fn posts_per_call(&self) -> usize {
        self.rubric.posts_per_call
    }

    /// Packs posts into parts of one request each, continuing the one that was left open.
    pub(super) fn pack(
        &self,
        open: Option<Vec<LeasedPost>>,
        rows: Vec<LeasedPost>,
    ) -> Packing<Vec<LeasedPost>> {
        let (blank, due): (Vec<_>, Vec<_>) = rows
            .into_iter()
            .partition(|post| post.text.trim().is_empty());
        let posts: Vec<_> = open.into_iter().flatten().chain(due).collect();
        let size = self.posts_per_call();
        let mut batches: Vec<_> = posts.chunks(size).map(<[LeasedPost]>::to_vec).collect();
        let open = batches.pop_if(|batch| batch.len() < size);
        Packing {
            batches,
            open,
            skipped: blank.iter().map(Item::id).collect(),
            warnings: Vec::new(),
        }
    }

    pub(super) fn model(&self) -> &str {
        self.rubric.model()
    }

    pub(super) fn form(&self, is_brief: bool) -> &Form {
        if is_brief { &self.brief } else { &self.whole }
    }

    /// What was done otherwise than configured, because the model refused it.
    pub(super) fn adaptations(&self) -> Vec<String> {
        self.client.adaptations(self.model(), self.rubric.effort())
    }

    /// Scores a batch. If the provider refuses it, this finds the bad posts and scores the others. Posts without
    /// a usable answer are asked about again, with the error in the prompt, and then each alone. If the run is
    /// stopping, the other posts are missing from the result.
    pub(super) async fn score(&self, requester: &Requester, batch: Vec<LeasedPost>) -> Scores {
        let mut scores = Scores::default();
        let ended = match self.first(requester, batch, &mut scores).await {
            Ok(parts) => self.again(requester, parts, &mut scores).await,
            Err(reason) => Err(reason),
        };
        scores.halt = ended.err().flatten();
        scores
    }

    /// Asks about each post once, together with others. Returns what to ask again.
    async fn first(
        &self,
        requester: &Requester,
        batch: Vec<LeasedPost>,
        scores: &mut Scores,
    ) -> Result<Vec<Part>, Option<StopReason>> {
        let (mut parts, mut refusal) = (Vec::new(), String::new());
        let mut search = Bisection::doubting(batch, usize::MAX, requester.has_succeeded());
        let mut turn = None;
        loop {
            let posts = match search.step() {
                Step::Done => return Ok(parts),
                Step::AllRefused => {
                    requester.blame_rows(&refusal).await?;
                    search.blame_rows();
                    turn = None;
                    continue;
                }
                Step::Bad(post) => {
                    let why = refusal.clone();
                    scores
                        .posts
                        .push((post, Err(AnswerError::Withheld { why })));
                    continue;
                }
                Step::Send(posts) => posts.to_vec(),
            };
            let part = Part {
                posts,
                complaint: None,
            };
            match self.usable.watch(self.asked(requester, &part)).await {
                Ok(answers) => {
                    let failed = settle(&part, answers, &mut scores.posts);
                    if !failed.is_empty() {
                        retry(&part, failed, &mut parts, &mut scores.posts);
                    }
                    search.accepted();
                    turn = None;
                }
                Err(RequestError::Stopped) => return Err(None),
                Err(RequestError::Halt(reason)) => return Err(Some(reason)),
                Err(RequestError::AboveLimit(_)) if part.posts.len() > 1 => search.too_large(),
                Err(RequestError::AboveLimit(reason) | RequestError::Deferred(reason)) => {
                    scores.defer(&part, reason);
                    search.accepted();
                }
                Err(RequestError::TooLarge(why)) => {
                    refusal = why;
                    search.too_large();
                }
                Err(
                    RequestError::Rejected(why)
                    | RequestError::Unreadable(why)
                    | RequestError::TooManyInputs(_, why),
                ) => {
                    refusal = why;
                    search.refused();
                    requester.doubt(&mut search, &mut turn).await;
                }
            }
        }
    }

    /// Asks again about posts that have no usable answer.
    async fn again(
        &self,
        requester: &Requester,
        mut parts: Vec<Part>,
        scores: &mut Scores,
    ) -> Result<(), Option<StopReason>> {
        // Until an answer could be used, one batch finds out whether its posts are at fault.
        let _turn = if parts.is_empty() {
            None
        } else {
            self.usable.turn().await
        };
        while let Some(part) = parts.pop() {
            let failed = match self.usable.watch(self.asked(requester, &part)).await {
                Ok(answers) => {
                    let failed = settle(&part, answers, &mut scores.posts);
                    if let (1, [(_, error)]) = (part.posts.len(), failed.as_slice()) {
                        self.blame_post(requester, error).await?;
                    }
                    failed
                }
                Err(RequestError::Stopped) => return Err(None),
                Err(RequestError::Halt(reason)) => return Err(Some(reason)),
                Err(RequestError::AboveLimit(reason) | RequestError::Deferred(reason)) => {
                    scores.defer(&part, reason);
                    continue;
                }
                Err(
                    RequestError::Rejected(why)
                    | RequestError::Unreadable(why)
                    | RequestError::TooLarge(why)
                    | RequestError::TooManyInputs(_, why),
                ) => {
                    let error = AnswerError::Withheld { why };
                    part.posts
                        .iter()
                        .map(|post| (post.clone(), error.clone()))
                        .collect()
                }
            };
            if !failed.is_empty() {
                retry(&part, failed, &mut parts, &mut scores.posts);
            }
        }
        Ok(())
    }
}

impl Scorer {
    /// Asks about posts, and notes if an answer can be used.
    async fn asked(
        &self,
        requester: &Requester,
        part: &Part,
    ) -> Result<Vec<Result<PostScore, AnswerError>>, RequestError> {
        let answers = self.ask(requester, part).await?;
        if answers.iter().any(Result::is_ok) {
            self.usable.succeeded();
        }
        Ok(answers)
    }

    /// Decides about a post whose answer cannot be used although it was asked about alone. `Err` if no answer of the
    /// run could be used.
    async fn blame_post(
        &self,
        requester: &Requester,
        error: &AnswerError,
    ) -> Result<(), Option<StopReason>> {
        match self.usable.fault().await {
            Fault::Row => Ok(()),
            Fault::Everyone => Err(Some(requester.halt(format!(
                "no answer of this run can be used, so no post is blamed: check scoring.model and the rubric; {error}"
            )))),
        }
    }
}

/// Adds the posts that have a score. Returns the others with the reasons.
fn settle(
    part: &Part,
    answers: Vec<Result<PostScore, AnswerError>>,
    scored: &mut Scored,
) -> Vec<(LeasedPost, AnswerError)> {
    let mut failed = Vec::new();
    for (post, answer) in part.posts.iter().zip(answers) {
        match answer {
            Ok(score) => scored.push((post.clone(), Ok(score))),
            Err(error) => failed.push((post.clone(), error)),
        }
    }
    failed
}

/// Asks again about posts without a score: first with the error in the prompt, then each alone. Then they fail.
fn retry(
    part: &Part,
    failed: Vec<(LeasedPost, AnswerError)>,
    parts: &mut Vec<Part>,
    scored: &mut Scored,
) {
    let alone = part.posts.len() == 1;
    if part.complaint.is_none() {
        let complaint = failed.first().map(|(_, error)| error.clone());
        let posts = failed.into_iter().map(|(post, _)| post).collect();
        parts.push(Part { posts, complaint });
    } else if alone {
        scored.extend(failed.into_iter().map(|(post, error)| (post, Err(error))));
    } else {
        let single = |(post, error)| Part {
            posts: vec![post],
            complaint: Some(error),
        };
        parts.extend(failed.into_iter().map(single));
    }
}
