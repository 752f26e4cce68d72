//! Embedding by batches: a line is a request for embeddings, as the flow that sends requests one by one makes them.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::batch::{
    BatchOutput, Collector, Line, Lines, Reader, Request, Verdict, note, store,
};
use super::super::price::Tariff;
use super::super::requester::RequestCost;
use super::super::run::Run;
use super::super::session::Session;
use super::oversized::{Parts, average};
use super::pack::{Batch, Bounds, Input, pack};
use super::packer::{Packer, Parcel, Prepared, Row};
use super::sink::sink;
use super::work::Embedded;
use crate::db::{BatchRecord, BatchRow, LeasedPost};
use crate::engine::{Packing, Stop};
use crate::error::Error;
use crate::provider::batch::{BatchEndpoint, BatchLine, LineError, OutputLine};
use crate::provider::{Client, EmbeddingRequest, Tier};

/// What any run needs to know to read the vectors.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct BatchedModel {
    model: String,
    dimensions: u32,
}

/// Makes lines of posts.
pub(super) struct EmbeddingLines {
    pub(super) client: Client,
    pub(super) packer: Packer,
    pub(super) tariff: Tariff,
}

impl Lines for EmbeddingLines {
    type Unit = Parcel;

    fn pack(&self, open: Option<Parcel>, rows: Vec<LeasedPost>) -> Packing<Parcel> {
        self.packer.pack(open, &rows)
    }

    fn line(&self, number: u32, parcel: Parcel) -> Line {
        match parcel {
            Parcel::Texts(batch) => self.texts(number, &batch),
            Parcel::Oversized { rows, parts } => self.parts(number, &rows, &parts),
        }
    }

    fn endpoint(&self) -> BatchEndpoint {
        BatchEndpoint::Embeddings
    }

    fn settings(&self) -> Value {
        json!(BatchedModel {
            model: self.packer.settings.model.clone(),
            dimensions: self.packer.settings.dimensions,
        })
    }
}

impl EmbeddingLines {
    /// The line of texts: one request.
    fn texts(&self, line: u32, batch: &Batch<Prepared>) -> Line {
        let request = self.request(Request { line, number: 0 }, "", &batch.inputs);
        let places = (0..).zip(&batch.inputs);
        let rows = places.flat_map(|(place, input): (u32, &Input<_>)| {
            input
                .items()
                .map(move |text| (place, text.row.id, text.row.text_hash.to_string()))
        });
        Line {
            inputs: batch.inputs.len(),
            usd: self.usd_at_most(batch.tokens),
            rows: rows.collect(),
            requests: vec![request],
        }
    }

    /// The line of a text in parts: a request for each part, whose name has the part's weight.
    fn parts(&self, line: u32, rows: &[Row], parts: &Parts) -> Line {
        let parts = pack(parts.measured(), Bounds::new(1, None));
        let requests = (0..).zip(&parts).map(|(number, part)| {
            let items = part.inputs.iter().flat_map(Input::items);
            let share = Share {
                weight: items.count() * part.tokens,
                parts: parts.len(),
            };
            self.request(Request { line, number }, &share.to_string(), &part.inputs)
        });
        let rows = rows.iter();
        Line {
            inputs: parts.len(),
            usd: self.usd_at_most(parts.iter().map(|part| part.tokens).sum()),
            rows: rows
                .map(|row| (0, row.id, row.text_hash.to_string()))
                .collect(),
            requests: requests.collect(),
        }
    }

    fn request<T: AsRef<str>>(&self, id: Request, note: &str, inputs: &[Input<T>]) -> BatchLine {
        let texts: Vec<&str> = inputs.iter().map(|input| input.item.as_ref()).collect();
        let request = self.packer.settings.request(&texts);
        self.client.embedding_line(&id.custom_id(note), &request)
    }

    fn usd_at_most(&self, tokens: usize) -> f64 {
        let usage = RequestCost::new(tokens, 0).usage();
        self.tariff.usd_at_most(&usage, Tier::Batch)
    }
}

/// What the name of a request says about a part of a text: how much it counts, and how many parts there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Share {
    weight: usize,
    parts: usize,
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}of{}", self.weight, self.parts)
    }
}

impl Share {
    fn parse(note: &str) -> Option<Self> {
        let (weight, parts) = note.split_once("of")?;
        Some(Self {
            weight: weight.parse().ok()?,
            parts: parts.parse().ok()?,
        })
    }
}

/// Stores the vectors of a batch.
#[derive(Debug, Clone, Copy)]
pub(in crate::flow) struct EmbeddingCollector;

impl Collector for EmbeddingCollector {
    async fn store(
        &self,
        session: &Session,
        run: &Run,
        record: &BatchRecord,
        output: Arc<BatchOutput>,
        stop: &Stop,
    ) -> Result<(), Error> {
        let settings: BatchedModel = super::super::batch::settings(record)?;
        let sink = sink(session, record.id, &settings.model);
        let reader = EmbeddingReader {
            client: session.provider()?.clone(),
            settings,
        };
        store(session, run, record, (reader, sink), output, stop).await;
        Ok(())
    }
}

struct EmbeddingReader {
    client: Client,
    settings: BatchedModel,
}

impl Reader for EmbeddingReader {
    type Output = Embedded;

    fn read(&self, rows: &[BatchRow], responses: &[OutputLine<'_>]) -> Verdict<Embedded> {
        let vectors = match self.vectors(responses) {
            Ok(vectors) => vectors,
            Err(error) => return Verdict::Unread(error),
        };
        let vectors: Vec<Arc<[f32]>> = vectors.into_iter().map(Arc::from).collect();
        let read = rows.iter().map(|row| {
            let vector = vectors.get(row.place as usize);
            let embedded = vector.map(|vector| Embedded {
                id: row.post_id,
                vector: vector.clone(),
                text_hash: row.text_hash.as_str().into(),
            });
            (
                row.post_id,
                embedded.ok_or_else(|| "the response has no vector for it".to_owned()),
            )
        });
        Verdict::Read(read.collect())
    }
}

impl EmbeddingReader {
    /// A vector for each place of the line.
    fn vectors(&self, responses: &[OutputLine<'_>]) -> Result<Vec<Vec<f32>>, LineError> {
        let undone = || LineError::Undone("no response".to_owned());
        let first = responses.first().ok_or_else(undone)?;
        let Some(Share { parts, .. }) = Share::parse(note(&first.custom_id)) else {
            return self.of_request(first);
        };
        let mut weighted = Vec::new();
        for response in responses {
            let share = Share::parse(note(&response.custom_id)).ok_or_else(undone)?;
            let vectors = self.of_request(response)?;
            weighted.extend(
                vectors
                    .into_iter()
                    .map(|vector| (share.weight as f64, vector)),
            );
        }
        if weighted.len() < parts {
            return Err(undone());
        }
        Ok(vec![average(&weighted)])
    }

    fn of_request(&self, response: &OutputLine<'_>) -> Result<Vec<Vec<f32>>, LineError> {
        // Only their number counts: the response names its inputs by their places.
        let inputs = response.inputs().unwrap_or_default();
        let request = EmbeddingRequest {
            model: &self.settings.model,
            inputs: &vec![""; inputs],
            dimensions: Some(self.settings.dimensions as usize),
        };
        let response = self.client.read_embedding_line(&request, response)?;
        Ok(response.value.vectors)
    }
}
