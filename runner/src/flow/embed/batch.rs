//! Embedding by batches: a line is a request for embeddings, as the flow that sends requests one by one makes them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::batch::{BatchOutput, Collector, Line, Lines, Reader, Request, Verdict, store};
use super::super::price::Tariff;
use super::super::requester::RequestCost;
use super::super::run::Run;
use super::super::session::Session;
use super::pack::Input;
use super::packer::{Packer, Parcel};
use super::sink;
use super::work::Embedded;
use crate::db::{BatchRecord, BatchRow, LeasedPost};
use crate::engine::{Packing, Stop};
use crate::error::Error;
use crate::provider::batch::{BatchEndpoint, LineError, OutputLine};
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

    fn rows(&self, parcel: &Parcel) -> u64 {
        parcel.ids().len() as u64
    }

    fn line(&self, number: u32, parcel: Parcel) -> Option<Line> {
        let Parcel::Texts(batch) = parcel else {
            return None;
        };
        let settings = &self.packer.settings;
        let texts: Vec<&str> = batch
            .inputs
            .iter()
            .map(|input| input.item.as_ref())
            .collect();
        let request = EmbeddingRequest {
            model: &settings.model,
            inputs: &texts,
            dimensions: Some(settings.dimensions as usize),
        };
        let id = Request {
            line: number,
            number: 0,
        };
        let places = (0..).zip(&batch.inputs);
        let rows = places.flat_map(|(place, input): (u32, &Input<_>)| {
            input
                .items()
                .map(move |text| (place, text.row.id, text.row.text_hash.to_string()))
        });
        Some(Line {
            inputs: batch.inputs.len(),
            usd: self
                .tariff
                .usd_at_most(&RequestCost::new(batch.tokens, 0).usage(), Tier::Batch),
            rows: rows.collect(),
            requests: vec![self.client.embedding_line(&id.custom_id(), &request)],
        })
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

    fn unpackable(&self) -> &'static str {
        "they are embedded in parts (embedding.oversized); `sluice embed` without --batch does it"
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

    fn read(&self, rows: &[BatchRow], lines: &[Option<String>]) -> Verdict<Embedded> {
        let undone = |why: &str| Verdict::Unread(LineError::Undone(why.to_owned()));
        let Some(line) = lines.first().and_then(Option::as_deref) else {
            return undone("no response");
        };
        let Ok(line) = OutputLine::read(line) else {
            return undone("the response cannot be read");
        };
        // Only their number counts: the response names its inputs by their places.
        let inputs = line.inputs().unwrap_or_default();
        let request = EmbeddingRequest {
            model: &self.settings.model,
            inputs: &vec![""; inputs],
            dimensions: Some(self.settings.dimensions as usize),
        };
        let vectors = match self.client.read_embedding_line(&request, &line) {
            Ok(response) => response.value.vectors,
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
