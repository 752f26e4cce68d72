//! Scoring by batches: a line is the posts of one call, with the requests that the flow that sends them one by one
//! makes if each is answered.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::batch::{
    BatchOutput, Collector, Line, Lines, Reader, Request, Verdict, note, settings, store,
};
use super::super::run::Run;
use super::super::session::Session;
use super::ask::{Answers, Runs, Wave, has_one_writer, question, read};
use super::row::{Origin, dimension_row, dimension_sink, score_sink};
use super::scorer::Scorer;
use crate::db::{BatchRecord, BatchRow, DimensionRow, LeasedPost, ScoreRow};
use crate::engine::{Item, Metrics, Packing, RowWarning, Stop};
use crate::error::Error;
use crate::provider::batch::{BatchEndpoint, BatchLine, LineError, LineManner, OutputLine};
use crate::provider::{ChatRequest, Client, ErrorKind};
use crate::scoring::{PostScore, Rubric};
use crate::text::sha256_hex;

/// The warning about posts whose texts were not written.
const UNWRITTEN: &str =
    "scored by some runs, but not by the one that writes the texts, so they are due again";
/// The warning about posts whose request had a parameter that the model refuses.
const ADAPTED: &str = "asked about with a parameter that the model refuses, so they are due again; the next batch of \
                       the same run leaves it out";

/// What any run needs to know to read the scores, whatever its own configuration says.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct BatchedRubric {
    model: String,
    manner: LineManner,
    rubric: Rubric,
    dimension: Option<String>,
    origin: Origin,
}

/// What the name of a request says: how many posts it is about, and whether its answers leave out the texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Asked {
    posts: usize,
    is_brief: bool,
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let brief = if self.is_brief { "b" } else { "" };
        write!(f, "{}{brief}", self.posts)
    }
}

impl Asked {
    fn parse(note: &str) -> Option<Self> {
        let posts = note.strip_suffix('b');
        Some(Self {
            posts: posts.unwrap_or(note).parse().ok()?,
            is_brief: posts.is_some(),
        })
    }
}

/// Makes lines of posts, with a scorer whose tier is that of batches.
pub(super) struct ScoreLines(pub(super) Scorer);

impl ScoreLines {
    fn manner(&self) -> LineManner {
        let scorer = &self.0;
        scorer
            .client
            .line_manner(scorer.model(), scorer.rubric.effort())
    }

    /// The requests of a wave, the first of which has this number.
    fn requests(
        &self,
        line: u32,
        first: u32,
        posts: &[LeasedPost],
        wave: Wave,
    ) -> (Vec<BatchLine>, f64) {
        let scorer = &self.0;
        let prompt = scorer.prompt(posts, None, wave.is_brief);
        let cost = scorer.cost(&prompt, posts.len(), wave);
        let asked = Asked {
            posts: posts.len(),
            is_brief: wave.is_brief,
        };
        let manner = self.manner();
        let requests = (first..).take(wave.requests).map(|number| {
            let request = ChatRequest {
                max_output_tokens: Some(cost.answer_tokens()),
                ..scorer.request(&prompt, number as usize, wave)
            };
            let id = Request { line, number };
            scorer
                .client
                .chat_line(&id.custom_id(&asked.to_string()), &request, &manner)
        });
        let most = scorer.tariff.usd_at_most(&cost.usage(), scorer.tier);
        (requests.collect(), most * wave.requests as f64)
    }
}

impl Lines for ScoreLines {
    type Unit = Vec<LeasedPost>;

    fn pack(
        &self,
        open: Option<Vec<LeasedPost>>,
        rows: Vec<LeasedPost>,
    ) -> Packing<Vec<LeasedPost>> {
        self.0.pack(open, rows)
    }

    fn line(&self, number: u32, posts: Vec<LeasedPost>) -> Line {
        let prompt = self.0.prompt(&posts, None, false);
        let (mut requests, mut usd) = (Vec::new(), 0.0);
        for wave in self.0.waves(self.0.input_tokens(&prompt, false)) {
            let first = u32::try_from(requests.len()).unwrap_or(u32::MAX);
            let (more, most) = self.requests(number, first, &posts, wave);
            requests.extend(more);
            usd += most;
        }
        let rows = (0..).zip(&posts);
        let rows = rows.map(|(place, post)| (place, post.id, sha256_hex(&post.text)));
        Line {
            requests,
            // Only requests for embeddings have a limit of inputs.
            inputs: 0,
            usd,
            rows: rows.collect(),
        }
    }

    fn endpoint(&self) -> BatchEndpoint {
        self.manner().endpoint()
    }

    fn settings(&self) -> Value {
        let scorer = &self.0;
        json!(BatchedRubric {
            model: scorer.model().to_owned(),
            manner: self.manner(),
            rubric: (*scorer.rubric).clone(),
            dimension: scorer.dimension.clone(),
            origin: Origin::of(&scorer.rubric),
        })
    }
}

/// Stores the scores of a batch, or one dimension of them.
#[derive(Debug, Clone, Copy)]
pub(in crate::flow) struct ScoreCollector;

impl Collector for ScoreCollector {
    async fn store(
        &self,
        session: &Session,
        run: &Run,
        record: &BatchRecord,
        output: Arc<BatchOutput>,
        stop: &Stop,
    ) -> Result<(), Error> {
        let batched: BatchedRubric = settings(record)?;
        let client = session.provider()?.clone();
        let metrics = run.metrics.clone();
        match batched.dimension.clone() {
            None => {
                let sink = score_sink(session, record.id);
                let origin = batched.origin.clone();
                let to_row: ToRow<ScoreRow> = Box::new(move |row, score| {
                    origin.row(row.post_id, row.text_hash.clone(), score.clone())
                });
                let reader = ScoreReader {
                    client,
                    batched,
                    to_row,
                    metrics,
                };
                store(session, run, record, (reader, sink), output, stop).await;
            }
            Some(dimension) => {
                let sink = dimension_sink(session, record.id, &dimension);
                let to_row: ToRow<DimensionRow> = Box::new(move |row, score| {
                    dimension_row(&dimension, row.post_id, row.text_hash.clone(), score)
                });
                let reader = ScoreReader {
                    client,
                    batched,
                    to_row,
                    metrics,
                };
                store(session, run, record, (reader, sink), output, stop).await;
            }
        }
        Ok(())
    }
}

/// Makes the row that is stored for a score.
type ToRow<R> = Box<dyn Fn(&BatchRow, &PostScore) -> R + Send + Sync>;

struct ScoreReader<R> {
    client: Client,
    batched: BatchedRubric,
    to_row: ToRow<R>,
    metrics: Arc<Metrics>,
}

impl<R: Item> Reader for ScoreReader<R> {
    type Output = R;

    fn read(&self, rows: &[BatchRow], responses: &[OutputLine<'_>]) -> Verdict<R> {
        let rubric = &self.batched.rubric;
        let has_one_writer = has_one_writer(rubric, self.batched.dimension.as_deref());
        let (mut runs, mut brief) = (Runs::default(), Vec::new());
        let mut posts = 0;
        for response in responses {
            let Some(asked) = Asked::parse(note(&response.custom_id)) else {
                continue;
            };
            posts = asked.posts;
            let wave = Wave {
                requests: 1,
                answers: rubric.runs,
                is_brief: asked.is_brief,
            };
            match (asked.is_brief, self.answers(asked, response)) {
                (true, Ok(answers)) => brief.push((wave, answers)),
                (_, given) => runs.add(wave, given),
            }
        }
        if !has_one_writer || runs.has_writer() {
            for (wave, answers) in brief {
                runs.add(wave, Ok(answers));
            }
        } else if !brief.is_empty() {
            self.warn(rows, UNWRITTEN);
        }
        match runs.combined(rubric, posts, has_one_writer) {
            Err(error) => {
                if matches!(&error, LineError::Failed(error) if *error.kind() == ErrorKind::Adapted)
                {
                    self.warn(rows, ADAPTED);
                }
                Verdict::Unread(error)
            }
            Ok(_) if posts == 0 => Verdict::Unread(LineError::Undone("no response".to_owned())),
            Ok(scores) => {
                let read = rows.iter().map(|row| {
                    let score = match scores.get(row.place as usize) {
                        Some(Ok(score)) => Ok((self.to_row)(row, score)),
                        Some(Err(error)) => Err(error.to_string()),
                        None => Err("the response has no answer about it".to_owned()),
                    };
                    (row.post_id, score)
                });
                Verdict::Read(read.collect())
            }
        }
    }

    fn is_usable(&self, response: &OutputLine<'_>) -> bool {
        Asked::parse(note(&response.custom_id)).is_some_and(|asked| {
            let answers = self.answers(asked, response).unwrap_or_default();
            answers.iter().flatten().any(Result::is_ok)
        })
    }
}

impl<R> ScoreReader<R> {
    /// What the answers of one request say.
    fn answers(&self, asked: Asked, response: &OutputLine<'_>) -> Result<Vec<Answers>, LineError> {
        let BatchedRubric {
            rubric, dimension, ..
        } = &self.batched;
        let response = self.client.read_chat_line(&self.batched.manner, response)?;
        let question = question(rubric, dimension.as_deref(), asked.is_brief);
        let read = |completion| read(&question, completion, asked.posts);
        Ok(response.value.into_iter().map(read).collect())
    }

    fn warn(&self, rows: &[BatchRow], what: &'static str) {
        for row in rows {
            self.metrics.warn_of_row(RowWarning {
                id: row.post_id,
                what,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_request_says_what_it_asks() {
        for is_brief in [false, true] {
            let asked = Asked { posts: 5, is_brief };
            assert_eq!(Asked::parse(&asked.to_string()), Some(asked));
        }
        assert_eq!(Asked::parse(""), None);
    }
}
