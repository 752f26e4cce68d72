//! The provider's calls for a parcel, and a vector for each row.

use std::marker::PhantomData;
use std::sync::Arc;

use uuid::Uuid;

use super::super::requester::{RequestCost, RequestError, Requester};
use super::oversized::{Parts, average};
use super::pack::{Input, pack};
use super::packer::{Packer, Parcel, Prepared, Row};
use crate::engine::{
    BatchResult, Bisection, Item, Packing, RowFailure, Step, StopReason, Text, Work,
};
use crate::provider::{Client, EmbeddingRequest};

/// Batches in flight at once. They are most of a run's memory. At half a second a response, four batches of a
/// hundred are 800 rows a second, which is more than a database with a vector index takes.
const BATCHES_MAX: usize = 4;

/// A row's vector.
#[derive(Debug, Clone)]
pub struct Embedded {
    /// The row.
    pub id: Uuid,
    /// Its vector. Rows with the same text share it.
    pub vector: Arc<[f32]>,
    /// SHA-256 (hex) of the whole text, even if only its beginning was embedded.
    pub text_hash: Arc<str>,
}

impl Item for Embedded {
    fn id(&self) -> Uuid {
        self.id
    }
}

/// Embeds the rows of one run.
#[derive(Debug)]
pub(super) struct EmbedWork<T> {
    client: Client,
    packer: Packer,
    requester: Requester,
    rows: PhantomData<fn(T)>,
}

impl<T: Text> Work for EmbedWork<T> {
    type Item = T;
    type Batch = Parcel;
    type Output = Embedded;

    fn batches_max(&self) -> usize {
        BATCHES_MAX
    }

    fn pack(&self, open: Option<Parcel>, rows: Vec<T>) -> Packing<Parcel> {
        self.packer.pack(open, &rows)
    }

    fn ids(&self, parcel: &Parcel) -> Vec<Uuid> {
        match parcel {
            Parcel::Texts(batch) => {
                let texts = batch.inputs.iter().flat_map(Input::items);
                texts.map(|text| text.row.id).collect()
            }
            Parcel::Oversized { rows, .. } => rows.iter().map(|row| row.id).collect(),
        }
    }

    async fn run(&self, parcel: Parcel) -> BatchResult<Embedded> {
        let mut result = BatchResult::default();
        let ended = match parcel {
            Parcel::Texts(batch) => self.embed_texts(batch.inputs, &mut result).await,
            Parcel::Oversized { rows, parts } => self.embed_parts(&rows, &parts, &mut result).await,
        };
        result.halt = ended.err().flatten();
        result
    }
}

/// `Err` if the run is stopping, with the reason if the provider is the cause.
type Ended = Result<(), Option<StopReason>>;

impl<T> EmbedWork<T> {
    pub(super) fn new(client: Client, packer: Packer, requester: Requester) -> Self {
        Self {
            client,
            packer,
            requester,
            rows: PhantomData,
        }
    }

    /// Embeds texts in one request. If the provider refuses it, this finds the bad texts and embeds the others.
    async fn embed_texts(
        &self,
        inputs: Vec<Input<Prepared>>,
        result: &mut BatchResult<Embedded>,
    ) -> Ended {
        let mut refusal = Refusal::default();
        let mut search = Bisection::new(inputs, usize::MAX);
        loop {
            match search.step() {
                Step::Done => return Ok(()),
                Step::Bad(input) => {
                    let rows = input.items().map(|text| &text.row);
                    result.failures.extend(refusal.failures(rows));
                }
                Step::Send(inputs) => match self.vectors(inputs).await? {
                    Ok(vectors) => {
                        result.outputs.extend(outputs(inputs, vectors));
                        search.accepted();
                    }
                    Err(refused) => {
                        refusal = refused;
                        search.refused();
                    }
                },
            }
        }
    }

    /// Embeds an oversized text: each part, then their average. If a part is refused, the text has failed.
    async fn embed_parts(
        &self,
        rows: &[Row],
        parts: &Parts,
        result: &mut BatchResult<Embedded>,
    ) -> Ended {
        let mut weighted = Vec::new();
        for request in pack(parts.measured(), self.packer.bounds()) {
            match self.vectors(&request.inputs).await? {
                Ok(vectors) => {
                    let inputs = request.inputs.iter();
                    let weights = inputs.map(|part| (part.items().count() * part.tokens) as f64);
                    weighted.extend(weights.zip(vectors));
                }
                Err(refusal) => {
                    result.failures = refusal.failures(rows);
                    return Ok(());
                }
            }
        }
        let vector: Arc<[f32]> = average(&weighted).into();
        result.outputs = rows.iter().map(|row| embedded(row, &vector)).collect();
        Ok(())
    }

    /// One request for these texts. Returns a vector for each of them, or why the provider refuses them.
    async fn vectors<I: AsRef<str> + Sync>(
        &self,
        inputs: &[Input<I>],
    ) -> Result<Result<Vec<Vec<f32>>, Refusal>, Option<StopReason>> {
        let settings = &self.packer.settings;
        let texts: Vec<&str> = inputs.iter().map(|input| input.item.as_ref()).collect();
        let request = EmbeddingRequest {
            model: &settings.model,
            inputs: &texts,
            dimensions: Some(settings.dimensions as usize),
        };
        let cost = RequestCost::new(inputs.iter().map(|input| input.tokens).sum(), 0);
        let sent = self.requester.send(cost, || self.client.embed(&request));
        match sent.await {
            Ok(embeddings) => Ok(Ok(embeddings.vectors)),
            Err(RequestError::Rejected(reason)) => Ok(Err(Refusal {
                reason,
                permanent: true,
            })),
            Err(RequestError::Unreadable(reason)) => Ok(Err(Refusal {
                reason,
                permanent: false,
            })),
            Err(RequestError::Stopped) => Err(None),
            Err(RequestError::Halt(reason)) => Err(Some(reason)),
        }
    }
}

/// Why texts have no vectors. A rejected text is a dead letter at once. If its responses were unreadable, it is
/// tried again later.
#[derive(Debug, Default)]
struct Refusal {
    reason: String,
    permanent: bool,
}

impl Refusal {
    fn failures<'a>(&self, rows: impl IntoIterator<Item = &'a Row>) -> Vec<RowFailure> {
        let failure = |row: &Row| RowFailure {
            id: row.id,
            reason: self.reason.clone(),
            permanent: self.permanent,
        };
        rows.into_iter().map(failure).collect()
    }
}

/// Each vector for every row that has its text.
fn outputs(inputs: &[Input<Prepared>], vectors: Vec<Vec<f32>>) -> Vec<Embedded> {
    let shared = vectors.into_iter().map(Arc::<[f32]>::from);
    let texts = inputs
        .iter()
        .zip(shared)
        .flat_map(|(input, vector)| input.items().map(move |text| embedded(&text.row, &vector)));
    texts.collect()
}

fn embedded(row: &Row, vector: &Arc<[f32]>) -> Embedded {
    Embedded {
        id: row.id,
        vector: vector.clone(),
        text_hash: row.text_hash.clone(),
    }
}
