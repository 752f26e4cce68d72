//! The provider's calls for a parcel, and a vector for each row.

use std::marker::PhantomData;
use std::sync::Arc;

use uuid::Uuid;

use super::super::requester::{RequestCost, RequestError, Requester};
use super::oversized::{Parts, average};
use super::pack::{Input, pack};
use super::packer::{Packer, Parcel, Prepared, Row};
use crate::engine::{
    BatchResult, Bisection, Deferred, Item, Packing, RowFailure, Step, StopReason, Text, Work,
};
use crate::provider::Client;

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
        parcel.ids()
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
        let has_succeeded = self.requester.has_succeeded();
        let mut search = Bisection::doubting(inputs, self.packer.inputs_max(), has_succeeded);
        let mut turn = None;
        loop {
            match search.step() {
                Step::Done => return Ok(()),
                Step::AllRefused => {
                    self.requester.blame_rows(&refusal.reason).await?;
                    search.blame_rows();
                    turn = None;
                }
                Step::Bad(input) => {
                    let rows = input.items().map(|text| &text.row);
                    result.failures.extend(refusal.failures(rows));
                }
                Step::Send(inputs) => match self.vectors(inputs).await {
                    Ok(vectors) => {
                        result.outputs.extend(outputs(inputs, vectors));
                        search.accepted();
                        turn = None;
                    }
                    Err(RequestError::TooManyInputs(most, _)) => {
                        self.packer.learn(most);
                        search.at_most(most);
                    }
                    Err(RequestError::AboveLimit(_)) if inputs.len() > 1 => search.too_large(),
                    Err(RequestError::AboveLimit(reason) | RequestError::Deferred(reason)) => {
                        let rows = inputs.iter().flat_map(Input::items).map(|text| &text.row);
                        result.deferred.push(deferred(rows, reason));
                        search.accepted();
                    }
                    Err(RequestError::TooLarge(reason)) => {
                        refusal = Refusal::permanent(reason);
                        search.too_large();
                    }
                    Err(error) => {
                        refusal = Refusal::of(error)?;
                        search.refused();
                        self.requester.doubt(&mut search, &mut turn).await;
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
        let weighted = match self.weighted(parts).await {
            Err(RequestError::TooManyInputs(most, _)) => {
                self.packer.learn(most);
                self.weighted(parts).await
            }
            weighted => weighted,
        };
        match weighted {
            Ok(weighted) => {
                let vector: Arc<[f32]> = average(&weighted).into();
                result.outputs = rows.iter().map(|row| embedded(row, &vector)).collect();
            }
            Err(RequestError::AboveLimit(reason) | RequestError::Deferred(reason)) => {
                result.deferred.push(deferred(rows, reason));
            }
            Err(error) => {
                let refusal = Refusal::of(error)?;
                self.requester.blame_rows(&refusal.reason).await?;
                result.failures = refusal.failures(rows);
            }
        }
        Ok(())
    }

    /// The vector of each part, with its tokens.
    async fn weighted(&self, parts: &Parts) -> Result<Vec<(f64, Vec<f32>)>, RequestError> {
        let mut weighted = Vec::new();
        for request in pack(parts.measured(), self.packer.bounds()) {
            let vectors = self.vectors(&request.inputs).await?;
            let inputs = request.inputs.iter();
            let weights = inputs.map(|part| (part.items().count() * part.tokens) as f64);
            weighted.extend(weights.zip(vectors));
        }
        Ok(weighted)
    }

    /// One request for these texts. Returns a vector for each of them.
    async fn vectors<I: AsRef<str> + Sync>(
        &self,
        inputs: &[Input<I>],
    ) -> Result<Vec<Vec<f32>>, RequestError> {
        let texts: Vec<&str> = inputs.iter().map(|input| input.item.as_ref()).collect();
        let request = self.packer.settings.request(&texts);
        let cost = RequestCost::new(inputs.iter().map(|input| input.tokens).sum(), 0);
        let sent = self
            .requester
            .send(|| cost, |_| self.client.embed(&request));
        Ok(sent.await?.vectors)
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
    fn permanent(reason: String) -> Self {
        Self {
            reason,
            permanent: true,
        }
    }

    /// The refusal that an error is. `Err` if it is none, because the run is stopping.
    fn of(error: RequestError) -> Result<Self, Option<StopReason>> {
        match error {
            RequestError::Rejected(reason)
            | RequestError::TooLarge(reason)
            | RequestError::TooManyInputs(_, reason) => Ok(Self::permanent(reason)),
            RequestError::Unreadable(reason) => Ok(Self {
                reason,
                permanent: false,
            }),
            RequestError::Stopped => Err(None),
            RequestError::Halt(reason)
            | RequestError::AboveLimit(reason)
            | RequestError::Deferred(reason) => Err(Some(reason)),
        }
    }

    fn failures<'a>(&self, rows: impl IntoIterator<Item = &'a Row>) -> Vec<RowFailure> {
        let failure = |row: &Row| RowFailure {
            id: row.id,
            reason: self.reason.clone(),
            permanent: self.permanent,
        };
        rows.into_iter().map(failure).collect()
    }
}

fn deferred<'a>(rows: impl IntoIterator<Item = &'a Row>, reason: StopReason) -> Deferred {
    Deferred {
        ids: rows.into_iter().map(|row| row.id).collect(),
        reason,
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
