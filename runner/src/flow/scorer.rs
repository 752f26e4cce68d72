//! Asking a model about posts: in several runs, and again where an answer cannot be used.

use std::sync::Arc;

use futures_util::future::join_all;

use super::Preview;
use super::price::Tariff;
use super::requester::{Ask, Requester, Undone};
use super::session::Session;
use crate::db::LeasedPost;
use crate::engine::StopReason;
use crate::error::Error;
use crate::provider::{
    AnswerFormat, ChatCompletion, ChatRequest, Client, Prices, ReasoningEffort, Tokenizer,
};
use crate::scoring::{
    AnswerError, AnswerSchema, PostScore, Prompt, Question, Rubric, combine_batch,
};

/// What a flow over scores asks for.
#[derive(Debug, Clone)]
pub(super) enum Asked {
    /// Every dimension, the categories and the texts.
    Whole,
    /// One dimension alone.
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
pub(super) type Verdicts = Vec<(LeasedPost, Result<PostScore, AnswerError>)>;

impl Scorer {
    pub(super) fn new(session: &Session, asked: Asked) -> Result<Self, Error> {
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

    /// How many posts a request holds.
    pub(super) fn posts_per_call(&self) -> usize {
        self.rubric.posts_per_call
    }

    /// The model that is asked.
    pub(super) fn model(&self) -> &str {
        &self.rubric.model
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
    pub(super) fn preview(&self, posts: &[LeasedPost], sum: &mut Preview) {
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
        let reasoning = if crate::provider::is_reasoning(&self.rubric.model) {
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
        requester: &Requester,
        part: &Part,
    ) -> Result<Vec<Result<PostScore, AnswerError>>, Undone> {
        let prompt = self.prompt(&part.posts, part.complaint.as_ref());
        let runs =
            (0..self.rubric.runs).map(|run| self.once(requester, &prompt, part.posts.len(), run));
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
        requester: &Requester,
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
        let completion = requester
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
    pub(super) async fn score(
        &self,
        requester: &Requester,
        batch: Vec<LeasedPost>,
    ) -> (Verdicts, Option<StopReason>) {
        let mut verdicts = Verdicts::new();
        let mut parts = vec![Part {
            posts: batch,
            complaint: None,
        }];
        while let Some(part) = parts.pop() {
            let failed = match self.judge(requester, &part).await {
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
