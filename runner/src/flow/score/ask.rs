//! Asks about posts in several runs, as few times as the model allows.
//!
//! A model with `n` gives several answers to one request, whose input is paid for once. For another model, the first
//! run goes alone. The others follow it, and find their common beginning in the provider's cache. A model that is told
//! what to keep there keeps the rubric and never the posts, because to write them would cost more than to read them.

use futures_util::future::join_all;

use super::super::preview::Preview;
use super::super::requester::{RequestCost, RequestError, Requester};
use super::scorer::{Part, Scorer};
use crate::db::LeasedPost;
use crate::provider::{AnswerFormat, ChatCompletion, ChatRequest, input_tokens};
use crate::scoring::{AnswerError, PostScore, Prompt, Question, Rubric, Texts, combine_batch};

/// A shorter common beginning is not cached.
const CACHED_TOKENS_MIN: u32 = 1_024;

/// What one run says about each post of a part.
pub(super) type Answers = Vec<Result<PostScore, AnswerError>>;

/// Requests that are sent at once, after those before have been answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wave {
    pub(super) requests: usize,
    /// Runs in each request.
    pub(super) answers: usize,
    /// Whether the answers leave out the texts.
    pub(super) is_brief: bool,
}

/// The runs about a part so far.
#[derive(Debug)]
pub(super) struct Runs<E> {
    answers: Vec<Answers>,
    /// Runs that were sent, whether they were answered or not.
    sent: usize,
    /// The place of the run whose texts are kept, if only one writes them.
    writer: Option<usize>,
    failure: Option<E>,
}

impl<E> Default for Runs<E> {
    fn default() -> Self {
        Self {
            answers: Vec::new(),
            sent: 0,
            writer: None,
            failure: None,
        }
    }
}

impl<E> Runs<E> {
    /// Adds what one request gave.
    pub(super) fn add(&mut self, wave: Wave, given: Result<Vec<Answers>, E>) {
        match given {
            Ok(given) => {
                // A model may give fewer answers than were asked for.
                self.sent += given.len().clamp(1, wave.answers);
                for answers in given.into_iter().take(wave.answers) {
                    let is_usable = answers.iter().any(Result::is_ok);
                    if !wave.is_brief && is_usable {
                        self.writer.get_or_insert(self.answers.len());
                    }
                    self.answers.push(answers);
                }
            }
            Err(error) => {
                self.sent += wave.answers;
                self.failure.get_or_insert(error);
            }
        }
    }

    /// Whether a run has written texts.
    pub(super) fn has_writer(&self) -> bool {
        self.writer.is_some()
    }

    /// What all runs say together about so many posts. If only some runs have failed, the others are used. If all
    /// have, this is the first error.
    pub(super) fn combined(
        self,
        rubric: &Rubric,
        posts: usize,
        has_one_writer: bool,
    ) -> Result<Answers, E> {
        match self.failure {
            Some(error) if self.answers.is_empty() => Err(error),
            _ => {
                let writer = self.writer.filter(|_| has_one_writer);
                Ok(combine_batch(rubric, posts, &self.answers, writer))
            }
        }
    }
}

/// Whether one run alone writes the texts.
pub(super) fn has_one_writer(rubric: &Rubric, dimension: Option<&str>) -> bool {
    dimension.is_none() && rubric.runs > 1 && rubric.texts() == Texts::OneRun
}

/// The question about a whole rubric, or about one dimension of it.
pub(super) fn question<'r>(
    rubric: &'r Rubric,
    dimension: Option<&str>,
    is_brief: bool,
) -> Question<'r> {
    let whole = Question::whole(rubric);
    match dimension {
        // Whoever asks has checked that the dimension exists.
        Some(name) => Question::dimension(rubric, name).unwrap_or(whole),
        None if is_brief => Question::brief(rubric),
        None => whole,
    }
}

impl Scorer {
    /// The next requests about a part, whose prompt has so many tokens.
    fn wave<E>(&self, prompt_tokens: u32, runs: &Runs<E>) -> Wave {
        let left = self.rubric.runs - runs.sent;
        let has_one_writer = self.has_one_writer();
        let is_brief = has_one_writer && runs.writer.is_some();
        let together = |requests, answers| Wave {
            requests,
            answers,
            is_brief,
        };
        if has_one_writer && !is_brief {
            together(1, 1)
        } else if self.client.takes_n(self.model()) {
            together(1, left)
        } else if runs.sent > 0 || !self.is_cached(prompt_tokens) {
            together(left, 1)
        } else {
            together(1, 1)
        }
    }

    /// The requests about a part with such a prompt, if each is answered.
    pub(super) fn waves(&self, prompt_tokens: u32) -> Vec<Wave> {
        let (mut runs, mut waves) = (Runs::<()>::default(), Vec::new());
        while runs.sent < self.rubric.runs {
            let wave = self.wave(prompt_tokens, &runs);
            runs.sent += wave.requests * wave.answers;
            runs.writer = Some(0);
            waves.push(wave);
        }
        waves
    }

    fn has_one_writer(&self) -> bool {
        has_one_writer(&self.rubric, self.dimension.as_deref())
    }

    /// Whether a run finds a whole prompt of so many tokens in the provider's cache once another has been answered,
    /// and pays less for it.
    fn is_cached(&self, prompt_tokens: u32) -> bool {
        let model = self.client.model(self.model());
        let price = model.price().filter(|_| !model.prompt_cache());
        let is_cheaper = price.is_some_and(|price| price.cached_input < Some(price.input));
        is_cheaper && prompt_tokens >= CACHED_TOKENS_MIN
    }

    /// Adds what scoring these posts would cost.
    pub(super) fn preview(&self, posts: &[LeasedPost], sum: &mut Preview) {
        for batch in posts.chunks(self.rubric.posts_per_call) {
            let prompt_tokens = self.input_tokens(&self.prompt(batch, None, false), false);
            for wave in self.waves(prompt_tokens) {
                let prompt = self.prompt(batch, None, wave.is_brief);
                let cost = self.cost(&prompt, batch.len(), wave);
                sum.add(cost, wave.requests as u64, &self.tariff, self.tier);
            }
        }
        sum.rows += posts.len() as u64;
    }

    /// Asks about posts in all runs, and [combines](Runs::combined) the answers.
    pub(super) async fn ask(
        &self,
        requester: &Requester,
        part: &Part,
    ) -> Result<Answers, RequestError> {
        let complaint = part.complaint.as_ref();
        let prompt_tokens = self.input_tokens(&self.prompt(&part.posts, complaint, false), false);
        let mut runs = Runs::default();
        let mut goes_on = true;
        while goes_on && runs.sent < self.rubric.runs {
            let wave = self.wave(prompt_tokens, &runs);
            let prompt = self.prompt(&part.posts, complaint, wave.is_brief);
            let first = runs.sent;
            let requests = (0..wave.requests)
                .map(|at| self.once(requester, &prompt, &part.posts, (first + at, wave)));
            for given in join_all(requests).await {
                goes_on &= matches!(given, Ok(_) | Err(RequestError::Unreadable(_)));
                runs.add(wave, given);
            }
        }
        // Answers are kept even if the flow halts, because they are paid for.
        runs.combined(&self.rubric, part.posts.len(), self.has_one_writer())
    }

    /// One request, and what each of its answers says.
    async fn once(
        &self,
        requester: &Requester,
        prompt: &Prompt,
        posts: &[LeasedPost],
        (run, wave): (usize, Wave),
    ) -> Result<Vec<Answers>, RequestError> {
        let posts = posts.len();
        let request = self.request(prompt, run, wave);
        let client = &self.client;
        let completions = requester.send(
            || self.cost(prompt, posts, wave),
            |attempt| {
                let request = ChatRequest {
                    max_output_tokens: Some(attempt.cost.answer_tokens()),
                    service_tier: attempt.tier,
                    ..request.clone()
                };
                async move { client.chat(&request).await }
            },
        );
        let completions = completions.await?;
        let question = self.question(wave.is_brief);
        let read = |completion| read(&question, completion, posts);
        Ok(completions.into_iter().map(read).collect())
    }

    /// The request of a run, without what may change from one attempt to the next.
    pub(super) fn request<'a>(
        &'a self,
        prompt: &'a Prompt,
        run: usize,
        wave: Wave,
    ) -> ChatRequest<'a> {
        let schema = &self.form(wave.is_brief).schema;
        ChatRequest {
            model: self.model(),
            messages: &prompt.messages,
            format: Some(AnswerFormat {
                name: &schema.name,
                schema: &schema.schema,
            }),
            temperature: self.rubric.temperature,
            reasoning_effort: self.rubric.effort(),
            seed: i64::try_from(run).ok(),
            answers: u32::try_from(wave.answers).ok(),
            cache_key: Some(&self.cache_key),
            ..ChatRequest::default()
        }
    }

    pub(super) fn prompt(
        &self,
        posts: &[LeasedPost],
        complaint: Option<&AnswerError>,
        is_brief: bool,
    ) -> Prompt {
        let texts: Vec<&str> = posts.iter().map(|post| post.text.as_str()).collect();
        self.question(is_brief).prompt(&texts, complaint)
    }

    fn question(&self, is_brief: bool) -> Question<'_> {
        question(&self.rubric, self.dimension.as_deref(), is_brief)
    }

    pub(super) fn input_tokens(&self, prompt: &Prompt, is_brief: bool) -> u32 {
        let schema = self.form(is_brief).tokens;
        let input = input_tokens(&prompt.messages, schema, self.tokenizer);
        u32::try_from(input).unwrap_or(u32::MAX)
    }

    pub(super) fn cost(&self, prompt: &Prompt, posts: usize, wave: Wave) -> RequestCost {
        let effort = self.rubric.effort();
        let reasoning = self.client.reasoning_tokens(self.model(), effort);
        let answer = self.question(wave.is_brief).answer_tokens(posts) + reasoning;
        let takes_n = self.client.takes_n(self.model());
        let answers = if takes_n { wave.answers } else { 1 };
        let input = self.input_tokens(prompt, wave.is_brief);
        RequestCost::of_answers(input, answer, answers)
    }
}

/// What one answer says about each post.
pub(super) fn read(question: &Question<'_>, completion: ChatCompletion, posts: usize) -> Answers {
    let why = match completion {
        ChatCompletion::Content(content) => return question.read(&content, posts),
        ChatCompletion::Refusal(_) => "the model refuses to answer",
        ChatCompletion::Length(_) => "the answer was longer than allowed",
        ChatCompletion::ContentFilter => "the provider's filter withheld the answer",
    };
    let error = AnswerError::Withheld {
        why: why.to_owned(),
    };
    vec![Err(error); posts]
}
