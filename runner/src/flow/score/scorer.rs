//! Asks a model about posts: in several runs, and again if a response is unusable.

use std::sync::Arc;

use futures_util::future::join_all;

use super::super::preview::Preview;
use super::super::price::Tariff;
use super::super::requester::{RequestCost, RequestError, Requester};
use super::super::session::Session;
use crate::db::LeasedPost;
use crate::engine::{Bisection, Blame, Deferred, Fault, Step, StopReason};
use crate::error::Error;
use crate::provider::{
    AnswerFormat, ChatCompletion, ChatRequest, Client, Tokenizer, reasoning_tokens,
};
use crate::scoring::{
    AnswerError, AnswerSchema, PostScore, Prompt, Question, Rubric, combine_batch,
};

/// Asks about posts, as the rubric says.
#[derive(Debug, Clone)]
pub(super) struct Scorer {
    client: Client,
    rubric: Arc<Rubric>,
    /// The only dimension to ask about, or `None` for the whole rubric.
    dimension: Option<String>,
    schema: Arc<AnswerSchema>,
    /// The model reads the schema with every request.
    schema_tokens: usize,
    tokenizer: Tokenizer,
    tariff: Tariff,
    /// Whether posts may be blamed for answers that cannot be used.
    usable: Arc<Blame>,
}

/// Posts to ask about together, and what was wrong with the last answer about them.
struct Part {
    posts: Vec<LeasedPost>,
    complaint: Option<AnswerError>,
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
    pub(super) fn new(session: &Session, dimension: Option<&str>) -> Result<Self, Error> {
        let rubric = Arc::new(session.settings.rubric.clone());
        let question = match dimension {
            None => Question::whole(&rubric),
            Some(name) => Question::dimension(&rubric, name)
                .map_err(|error| Error::Usage(error.to_string()))?,
        };
        let schema = question.schema();
        let tokenizer = Tokenizer::for_model(&rubric.model);
        Ok(Self {
            client: session.provider()?.clone(),
            schema_tokens: tokenizer.count(&schema.schema.to_string()),
            tokenizer,
            tariff: session.tariff(&rubric.model),
            rubric,
            dimension: dimension.map(str::to_owned),
            schema: Arc::new(schema),
            usable: Arc::default(),
        })
    }

    /// The posts in one request.
    pub(super) fn posts_per_call(&self) -> usize {
        self.rubric.posts_per_call
    }

    pub(super) fn model(&self) -> &str {
        &self.rubric.model
    }

    pub(super) fn fingerprint(&self) -> String {
        self.rubric.fingerprint()
    }

    fn question(&self) -> Question<'_> {
        let whole = Question::whole(&self.rubric);
        // `new` has checked that the dimension exists.
        self.dimension.as_ref().map_or(whole, |name| {
            Question::dimension(&self.rubric, name).unwrap_or(whole)
        })
    }

    /// Adds what scoring these posts would cost.
    pub(super) fn preview(&self, posts: &[LeasedPost], sum: &mut Preview) {
        for batch in posts.chunks(self.rubric.posts_per_call) {
            let cost = self.cost(&self.prompt(batch, None), batch.len());
            let runs = self.rubric.runs as u64;
            sum.requests += runs;
            sum.input_tokens += u64::from(cost.input_tokens) * runs;
            sum.output_tokens += u64::from(cost.output_tokens) * runs;
            sum.usd += self.tariff.usd(&cost.usage()) * runs as f64;
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

    fn cost(&self, prompt: &Prompt, posts: usize) -> RequestCost {
        // Each message costs a few tokens besides its words.
        let messages = prompt.messages.iter();
        let input: usize = messages
            .map(|message| self.tokenizer.count(&message.content) + 4)
            .sum();
        RequestCost::new(input + self.schema_tokens + 3, self.output_tokens(posts))
    }

    fn output_tokens(&self, posts: usize) -> usize {
        let reasoning = reasoning_tokens(&self.rubric.model, self.rubric.reasoning_effort);
        self.question().answer_tokens(posts) + reasoning
    }

    /// Asks about posts in all runs at once, and combines the answers. If only some runs fail, the others are
    /// used. If all fail, this returns the first error.
    async fn ask(
        &self,
        requester: &Requester,
        part: &Part,
    ) -> Result<Vec<Result<PostScore, AnswerError>>, RequestError> {
        let prompt = self.prompt(&part.posts, part.complaint.as_ref());
        let runs =
            (0..self.rubric.runs).map(|run| self.once(requester, &prompt, part.posts.len(), run));
        let (mut answers, mut failure) = (Vec::new(), None);
        for run in join_all(runs).await {
            match run {
                Ok(answer) => answers.push(answer),
                Err(error) => {
                    failure.get_or_insert(error);
                }
            }
        }
        match failure {
            Some(error) if answers.is_empty() => Err(error),
            // Answers are kept even if the flow halts, because they are paid for.
            _ => Ok(combine_batch(&self.rubric, part.posts.len(), &answers)),
        }
    }

    /// One run: one request and its answer.
    async fn once(
        &self,
        requester: &Requester,
        prompt: &Prompt,
        posts: usize,
        run: usize,
    ) -> Result<Vec<Result<PostScore, AnswerError>>, RequestError> {
        let cost = self.cost(prompt, posts);
        let request = ChatRequest {
            model: &self.rubric.model,
            messages: &prompt.messages,
            format: Some(AnswerFormat {
                name: &self.schema.name,
                schema: &self.schema.schema,
            }),
            max_output_tokens: Some(cost.output_tokens),
            temperature: self.rubric.temperature,
            reasoning_effort: self.rubric.reasoning_effort,
            seed: i64::try_from(run).ok(),
        };
        let completion = requester.send(cost, || self.client.chat(&request)).await?;
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

fn withheld(completion: &ChatCompletion) -> &'static str {
    match completion {
        ChatCompletion::Refusal(_) => "the model refuses to answer",
        ChatCompletion::Length(_) => "the answer was longer than allowed",
        _ => "the provider's filter withheld the answer",
    }
}
