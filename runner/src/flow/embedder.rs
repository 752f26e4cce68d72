//! What becomes of texts: packed, sent, and each given its vector.

use std::marker::PhantomData;
use std::sync::Arc;

use uuid::Uuid;

use super::Preview;
use super::overlong::{Parted, average};
use super::pack::{Batch, Bounds, Input, Measured, pack, pack_onto};
use super::price::Tariff;
use super::requester::{Ask, Requester, Undone};
use super::session::Session;
use crate::config::{EmbeddingSettings, Overlong};
use crate::digest::sha256_hex;
use crate::engine::{BatchResult, Bisection, Packing, RowFailure, RowWarning, Step, Text, Work};
use crate::error::Error;
use crate::provider::limiter::Limiter;
use crate::provider::{Client, EmbeddingRequest, MAX_INPUT_TOKENS, Prices, Tokenizer, Usage};

/// Batches in flight at once, from when they are sent until they are written: the memory of a run is theirs.
/// At half a second an answer four of a hundred are 600 rows a second, more than a database with a vector
/// index takes.
const BATCHES_MAX: usize = 4;

/// What is said of a row of whose text only the beginning is embedded.
const CUT: &str = "longer than 8192 tokens, of which only the beginning is embedded";
/// What is said of a row whose text is embedded in parts.
const AVERAGED: &str = "longer than 8192 tokens, embedded as the average of their parts";

/// A row's vector.
#[derive(Debug, Clone)]
pub struct Embedded {
    /// The row.
    pub id: Uuid,
    /// Its vector; rows with the same text share it.
    pub vector: Arc<[f32]>,
    /// SHA-256 (hex) of the whole text, also where only its head was embedded.
    pub text_hash: Arc<str>,
}

/// Embeds rows that have a text, of any table.
#[derive(Debug)]
pub struct Embedder<T> {
    client: Client,
    settings: EmbeddingSettings,
    tokenizer: Tokenizer,
    tariff: Tariff,
    limiter: Limiter,
    rows: PhantomData<fn(T)>,
}

/// A row's text, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    row: Hashed,
    /// What is sent: the text, or its head where it is too long.
    text: String,
}

/// A row, and the SHA-256 (hex) of its whole text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hashed {
    pub(super) id: Uuid,
    pub(super) hash: Arc<str>,
}

/// What goes to the provider as one piece of work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parcel {
    /// Texts that are sent together, in one request.
    Texts(Batch<Prepared>),
    /// One text that is sent in parts, in as many requests as they need.
    Parts(Parted),
}

impl<T: Text> Embedder<T> {
    /// An embedder for a provider and a model, whose requests that limiter lets out.
    pub fn new(
        client: Client,
        settings: EmbeddingSettings,
        prices: Prices,
        limiter: Limiter,
    ) -> Self {
        let tokenizer = Tokenizer::for_model(&settings.model);
        let tariff = Tariff::new(prices, &settings.model);
        Self {
            client,
            settings,
            tokenizer,
            tariff,
            limiter,
            rows: PhantomData,
        }
    }

    pub(super) fn of(session: &Session) -> Result<Self, Error> {
        let prices = Prices::with(session.settings.prices.clone());
        let settings = session.settings.embedding.clone();
        let limiter = session.limiter(&settings.model);
        Ok(Self::new(
            session.provider()?.clone(),
            settings,
            prices,
            limiter,
        ))
    }

    pub(super) fn preview(&self, rows: &[T], sum: &mut Preview)
    where
        T: Clone,
    {
        let plan = self.pack(None, rows.to_vec());
        for parcel in plan.batches.iter().chain(&plan.open) {
            match parcel {
                Parcel::Texts(batch) => self.add(batch.tokens, sum),
                Parcel::Parts(parted) => {
                    for request in pack(parted.measured(), self.bounds()) {
                        self.add(request.tokens, sum);
                    }
                }
            }
        }
        sum.rows += (rows.len() - plan.skipped.len()) as u64;
        sum.price_known = self.tariff.is_known();
    }

    /// Adds a request of so many tokens.
    fn add(&self, tokens: u32, sum: &mut Preview) {
        sum.requests += 1;
        sum.input_tokens += u64::from(tokens);
        sum.usd += self.tariff.at_most(tokens, 0);
    }

    fn bounds(&self) -> Bounds {
        Bounds::new(
            self.settings.batch_size as usize,
            self.limiter.batch_tokens(),
        )
    }

    /// One request for these texts; answers a vector for each.
    async fn vectors<I: AsRef<str> + Sync>(
        &self,
        requester: &Requester,
        inputs: &[Input<I>],
    ) -> Result<Vec<Vec<f32>>, Undone> {
        let texts: Vec<&str> = inputs.iter().map(|input| input.item.as_ref()).collect();
        let request = EmbeddingRequest {
            model: &self.settings.model,
            inputs: &texts,
            dimensions: Some(self.settings.dimensions as usize),
        };
        let input_tokens = inputs.iter().map(|input| input.tokens).sum();
        let ask = Ask {
            input_tokens,
            output_tokens: 0,
            usd: self.tariff.at_most(input_tokens, 0),
        };
        let price = |usage: &Usage| self.tariff.usd(usage);
        let answer = requester
            .send(ask, price, || self.client.embed(&request))
            .await?;
        Ok(answer.vectors)
    }

    /// Embeds texts together. If the provider refuses them, it finds out which are at fault and embeds the
    /// others.
    async fn embed_texts(
        &self,
        requester: &Requester,
        inputs: Vec<Input<Prepared>>,
    ) -> BatchResult<Embedded> {
        let mut done = BatchResult::default();
        let mut why = None;
        let mut search = Bisection::new(inputs, usize::MAX);
        loop {
            match search.step() {
                Step::Done => return done,
                Step::Bad(input) => {
                    let rows = input.items().map(|text| &text.row);
                    done.failures.extend(failures(rows, why.as_ref()));
                }
                Step::Send(inputs) => match self.vectors(requester, inputs).await {
                    Ok(vectors) => {
                        done.outputs.extend(outputs(inputs, vectors));
                        search.accepted();
                    }
                    Err(Undone::Stopped) => return done,
                    Err(Undone::Halt(reason)) => {
                        done.halt = Some(reason);
                        return done;
                    }
                    Err(refused) => {
                        why = Some(refused);
                        search.refused();
                    }
                },
            }
        }
    }

    /// A text in parts: each part once, then their average. A part that is refused is the whole text's failure.
    async fn embed_parts(&self, requester: &Requester, parted: Parted) -> BatchResult<Embedded> {
        let mut weighed = Vec::new();
        for request in pack(parted.measured(), self.bounds()) {
            let vectors = match self.vectors(requester, &request.inputs).await {
                Ok(vectors) => vectors,
                Err(Undone::Stopped) => return BatchResult::default(),
                Err(Undone::Halt(reason)) => {
                    return BatchResult {
                        halt: Some(reason),
                        ..BatchResult::default()
                    };
                }
                Err(why) => {
                    return BatchResult {
                        failures: failures(&parted.rows, Some(&why)),
                        ..BatchResult::default()
                    };
                }
            };
            let weights = request
                .inputs
                .iter()
                .map(|part| part.items().count() as f64 * f64::from(part.tokens));
            weighed.extend(weights.zip(vectors));
        }
        let vector: Arc<[f32]> = average(&weighed).into();
        let embedded = |row: &Hashed| Embedded {
            id: row.id,
            vector: vector.clone(),
            text_hash: row.hash.clone(),
        };
        BatchResult {
            outputs: parted.rows.iter().map(embedded).collect(),
            ..BatchResult::default()
        }
    }
}

/// Embeds the batches of one run.
#[derive(Debug)]
pub struct EmbedWork<T> {
    /// What a batch becomes.
    pub embedder: Embedder<T>,
    /// What sends the requests.
    pub requester: Requester,
}

impl<T: Text> Work for EmbedWork<T> {
    type Item = T;
    type Batch = Parcel;
    type Output = Embedded;

    fn batches_max(&self) -> usize {
        BATCHES_MAX
    }

    fn pack(&self, open: Option<Parcel>, rows: Vec<T>) -> Packing<Parcel> {
        self.embedder.pack(open, rows)
    }

    fn ids(&self, parcel: &Parcel) -> Vec<Uuid> {
        match parcel {
            Parcel::Texts(batch) => {
                let texts = batch.inputs.iter().flat_map(Input::items);
                texts.map(|text| text.row.id).collect()
            }
            Parcel::Parts(parted) => parted.rows.iter().map(|row| row.id).collect(),
        }
    }

    async fn run(&self, parcel: Parcel) -> BatchResult<Embedded> {
        match parcel {
            Parcel::Texts(batch) => {
                self.embedder
                    .embed_texts(&self.requester, batch.inputs)
                    .await
            }
            Parcel::Parts(parted) => self.embedder.embed_parts(&self.requester, parted).await,
        }
    }
}

impl<T: Text> Embedder<T> {
    fn pack(&self, open: Option<Parcel>, rows: Vec<T>) -> Packing<Parcel> {
        let (mut skipped, mut warnings) = (Vec::new(), Vec::new());
        let (mut texts, mut long) = (Vec::with_capacity(rows.len()), Vec::<Parted>::new());
        for row in rows {
            let (id, text) = (row.id(), row.text());
            if text.trim().is_empty() {
                skipped.push(id);
                continue;
            }
            let cut = self.tokenizer.cut(text, MAX_INPUT_TOKENS);
            let row = Hashed {
                id,
                hash: sha256_hex(text).into(),
            };
            if cut.shortened && self.settings.overlong == Overlong::Average {
                warnings.push(RowWarning { id, what: AVERAGED });
                match long.iter_mut().find(|twin| twin.is_of(&row)) {
                    Some(twin) => twin.rows.push(row),
                    None => long.push(Parted::new(row, text, self.tokenizer)),
                }
                continue;
            }
            let tokens = u32::try_from(cut.tokens).unwrap_or(u32::MAX);
            let prepared = Prepared {
                row,
                text: cut.text.to_owned(),
            };
            match Measured::new(prepared, cut.text, tokens) {
                Some(measured) => texts.push(measured),
                None => skipped.push(id),
            }
            if cut.shortened {
                warnings.push(RowWarning { id, what: CUT });
            }
        }
        let open = match open {
            Some(Parcel::Texts(batch)) => Some(batch),
            // Parts are never left open.
            Some(Parcel::Parts(_)) | None => None,
        };
        let bounds = self.bounds();
        let mut batches = pack_onto(open, texts, bounds);
        let open = batches.pop_if(|last| !last.is_full(bounds));
        let parts = long.into_iter().map(Parcel::Parts);
        Packing {
            batches: batches
                .into_iter()
                .map(Parcel::Texts)
                .chain(parts)
                .collect(),
            open: open.map(Parcel::Texts),
            skipped,
            warnings,
        }
    }
}

impl AsRef<str> for Prepared {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

/// Each vector for every row that has its text.
fn outputs(inputs: &[Input<Prepared>], vectors: Vec<Vec<f32>>) -> Vec<Embedded> {
    let shared = vectors.into_iter().map(Arc::<[f32]>::from);
    let texts = inputs
        .iter()
        .zip(shared)
        .flat_map(|(input, vector)| input.items().map(move |text| (text, vector.clone())));
    let embedded = |(text, vector): (&Prepared, _)| Embedded {
        id: text.row.id,
        vector,
        text_hash: text.row.hash.clone(),
    };
    texts.map(embedded).collect()
}

/// A refused text is set aside at once; one whose answers were unreadable is tried again later.
fn failures<'a>(
    rows: impl IntoIterator<Item = &'a Hashed>,
    why: Option<&Undone>,
) -> Vec<RowFailure> {
    let (reason, permanent) = match why {
        Some(Undone::Rejected(why)) => (why, true),
        Some(Undone::Unreadable(why)) => (why, false),
        Some(Undone::Stopped | Undone::Halt(_)) | None => return Vec::new(),
    };
    let failure = |row: &Hashed| RowFailure {
        id: row.id,
        reason: reason.clone(),
        permanent,
    };
    rows.into_iter().map(failure).collect()
}
