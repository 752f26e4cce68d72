//! Embedding: posts in, vectors out, each text once.

use std::marker::PhantomData;
use std::sync::Arc;

use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::price::Tariff;
use super::session::{Run, Session};
use super::sink::EmbeddingSink;
use super::source::{Due, DuePosts};
use super::{Preview, preview};
use crate::config::EmbeddingSettings;
use crate::db::{LeasedPost, PipelineStatus};
use crate::engine::{
    Ask, Batch, Bisection, Bounds, Done, Flow, Input, Lane, Likeness, Measured, Plan, RowFailure,
    Sink, Source, Step, Text, Undone, Work, pack_onto,
};
use crate::error::Error;
use crate::limiter::Limiter;
use crate::openai::{Client, EmbeddingRequest, MAX_INPUT_TOKENS, Prices, Tokenizer, Usage};
use crate::report::Outcome;
use crate::store::digest::sha256_hex;

/// Batches at the provider at once: the memory of a run is theirs, and at half a second an answer four of a
/// hundred are 800 rows a second, more than a database with a vector index takes.
const BATCHES_MAX: usize = 4;

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

/// Embeds posts until none lacks a current embedding.
///
/// # Errors
/// Where the provider is not configured, or the column cannot hold the configured dimensions;
/// everything later is in the outcome.
pub async fn embed(session: &Session, run: &Run, refresh: bool) -> Result<Outcome, Error> {
    let settings = &session.settings.embedding;
    let due = due(settings, refresh);
    let embedder: Embedder<LeasedPost> = Embedder::of(session)?;
    let status = session.database.call(PipelineStatus {}).await?;
    check_column(&status, settings)?;
    if let Some(rows) = about_due(&status) {
        run.expect(rows);
    }
    if run.options.dry_run {
        let measure = |posts: &[LeasedPost], sum: &mut Preview| embedder.preview(posts, sum);
        let preview = preview(session, &due, run.options.limit, measure).await?;
        return Ok(session.previewed("embed", run, &preview));
    }
    let worker = Uuid::new_v4();
    let database = session.database.clone();
    let source = DuePosts::new(
        database.clone(),
        due.clone(),
        worker,
        session.settings.leases,
    );
    let sink = EmbeddingSink {
        database,
        worker,
        model: settings.model.as_str().into(),
    };
    let flow = Flow {
        source,
        work: embedder,
        sink,
    };
    session
        .drive(run, &settings.model, settings.chunk_size, flow)
        .await;
    Ok(session.finish("embed", run, &due).await)
}

/// Embeds rows of any table, from a source of your own into a sink of your own, as [`embed`] does posts: each
/// text in a chunk once, within the limits and the budget, bad rows set aside. `runner/examples/own_table` shows
/// it over a second table.
///
/// A run that comes to its limit of rows ends with `MoreRemains` whether or not more is due, which only its
/// source could say.
///
/// # Errors
/// Where the provider is not configured; everything later is in the outcome.
pub async fn embed_rows<S, K>(
    session: &Session,
    run: &Run,
    source: S,
    sink: K,
) -> Result<Outcome, Error>
where
    S: Source<Item: Text>,
    K: Sink<Output = Embedded>,
{
    let settings = &session.settings.embedding;
    let flow = Flow {
        source,
        work: Embedder::of(session)?,
        sink,
    };
    session
        .drive(run, &settings.model, settings.chunk_size, flow)
        .await;
    let limit = run.options.limit;
    let at_limit = limit.is_some_and(|limit| run.tally.rows().selected >= limit);
    Ok(session.outcome("embed", run, at_limit))
}

/// What `embed` would do.
///
/// # Errors
/// As [`embed`].
pub async fn plan_embed(session: &Session) -> Result<Preview, Error> {
    let embedder: Embedder<LeasedPost> = Embedder::of(session)?;
    let due = due(&session.settings.embedding, false);
    preview(session, &due, None, |posts, sum| {
        embedder.preview(posts, sum);
    })
    .await
}

/// Embeds one text, for a search.
///
/// # Errors
/// Where the provider is not configured or does not answer.
pub async fn embed_query(session: &Session, text: &str) -> Result<Arc<[f32]>, Error> {
    let settings = &session.settings.embedding;
    let text = Tokenizer::for_model(&settings.model)
        .cut(text, MAX_INPUT_TOKENS)
        .text;
    let request = EmbeddingRequest {
        model: &settings.model,
        inputs: &[text],
        dimensions: Some(settings.dimensions as usize),
    };
    let answer = session.provider()?.embed(&request).await?;
    let vector = answer.value.vectors.into_iter().next();
    vector
        .map(Arc::from)
        .ok_or_else(|| Error::Unexpected("no vector was answered".to_owned()))
}

fn due(settings: &EmbeddingSettings, refresh: bool) -> Due {
    Due::Embedding {
        model: settings.model.clone(),
        dimensions: settings.dimensions,
        refresh,
    }
}

/// Posts without an embedding or with a stale one. Blank posts are among them and posts of another model
/// are not: it is a number to show, not one to rely on.
fn about_due(status: &Value) -> Option<u64> {
    let count = |key: &str| status.get(key).and_then(Value::as_u64);
    let missing = count("posts")?.saturating_sub(count("embedded")?);
    Some(missing + count("embeddings_stale")?)
}

/// Vectors that the column cannot hold are refused before they are paid for.
fn check_column(status: &Value, settings: &EmbeddingSettings) -> Result<(), Error> {
    let holds = status.get("embedding_dimensions").and_then(Value::as_u64);
    let (Some(holds), wanted) = (holds, u64::from(settings.dimensions)) else {
        return Ok(());
    };
    if holds == wanted {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "embedding.dimensions is {wanted}, but post_embeddings.embedding holds {holds}: set it to \
         {holds}, or change the column first (its vectors are lost): `truncate post_embeddings; \
         alter table post_embeddings alter column embedding type vector({wanted})`"
    )))
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
#[derive(Debug, Clone)]
pub struct Prepared {
    id: Uuid,
    /// What is sent: the text, or its head where it is too long.
    text: String,
    /// Of the whole text.
    hash: Arc<str>,
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

    fn of(session: &Session) -> Result<Self, Error> {
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

    fn preview(&self, rows: &[T], sum: &mut Preview)
    where
        T: Clone,
    {
        let plan = self.plan(None, rows.to_vec());
        for batch in plan.batches.iter().chain(&plan.open) {
            let ask = self.ask(&batch.inputs);
            sum.requests += 1;
            sum.input_tokens += u64::from(ask.input_tokens);
            sum.usd += ask.usd;
        }
        sum.rows += (rows.len() - plan.skipped.len()) as u64;
        sum.price_known = self.tariff.is_known();
    }

    fn bounds(&self) -> Bounds {
        Bounds::new(
            self.settings.batch_size as usize,
            self.limiter.batch_tokens(),
        )
    }

    fn ask(&self, inputs: &[Input<Prepared>]) -> Ask {
        let input_tokens = inputs.iter().map(|input| input.tokens).sum();
        Ask {
            input_tokens,
            output_tokens: 0,
            usd: self.tariff.at_most(input_tokens, 0),
        }
    }

    /// One request for these texts.
    async fn vectors(
        &self,
        lane: &Lane,
        inputs: &[Input<Prepared>],
    ) -> Result<Vec<Vec<f32>>, Undone> {
        let texts: Vec<&str> = inputs
            .iter()
            .map(|input| input.item.text.as_str())
            .collect();
        let request = EmbeddingRequest {
            model: &self.settings.model,
            inputs: &texts,
            dimensions: Some(self.settings.dimensions as usize),
        };
        let price = |usage: &Usage| self.tariff.usd(usage);
        let answer = lane
            .send(self.ask(inputs), price, || self.client.embed(&request))
            .await?;
        Ok(answer.vectors)
    }

    /// What is sent of a row's text, and whether something is left out.
    fn prepare(&self, row: &T) -> Option<(Measured<Prepared>, bool)> {
        let cut = self.tokenizer.cut(row.text(), MAX_INPUT_TOKENS);
        let hash = sha256_hex(row.text()).into();
        let prepared = Prepared {
            id: row.id(),
            text: cut.text.to_owned(),
            hash,
        };
        let tokens = u32::try_from(cut.tokens).unwrap_or(u32::MAX);
        Some((Measured::new(prepared, cut.text, tokens)?, cut.shortened))
    }

    /// Finds out which texts of a refused batch are at fault, and embeds the others.
    async fn isolate(
        &self,
        lane: &Lane,
        batch: Vec<Input<Prepared>>,
        why: Undone,
    ) -> Done<Embedded> {
        let mut done = Done::default();
        let mut why = why;
        let mut search = Bisection::new(batch);
        loop {
            match search.step() {
                Step::Done => return done,
                Step::Bad(input) => done.failures.extend(failures(&input, &why)),
                Step::Send(inputs) => match self.vectors(lane, &inputs).await {
                    Ok(vectors) => {
                        done.outputs.extend(outputs(&inputs, vectors));
                        search.accepted();
                    }
                    Err(Undone::Stopped) => return done,
                    Err(Undone::Halt(reason)) => {
                        done.halt = Some(reason);
                        return done;
                    }
                    Err(refused) => {
                        why = refused;
                        search.refused();
                    }
                },
            }
        }
    }
}

impl<T: Text> Work for Embedder<T> {
    type Item = T;
    type Batch = Batch<Prepared>;
    type Output = Embedded;

    fn batches_max(&self) -> usize {
        BATCHES_MAX
    }

    fn likeness(&self, row: &T) -> Option<Likeness> {
        Some(Sha256::digest(row.text()).into())
    }

    fn plan(&self, open: Option<Batch<Prepared>>, rows: Vec<T>) -> Plan<Batch<Prepared>> {
        let mut plan = Plan {
            batches: Vec::new(),
            open: None,
            skipped: Vec::new(),
            warnings: Vec::new(),
        };
        let mut measured = Vec::with_capacity(rows.len());
        for row in rows {
            let Some((text, shortened)) = self.prepare(&row) else {
                plan.skipped.push(row.id());
                continue;
            };
            if shortened {
                plan.warnings.push(format!(
                    "row {} is longer than {MAX_INPUT_TOKENS} tokens: its beginning is embedded",
                    row.id()
                ));
            }
            measured.push(text);
        }
        let bounds = self.bounds();
        plan.batches = pack_onto(open, measured, bounds);
        plan.open = plan.batches.pop_if(|last| !last.is_full(bounds));
        plan
    }

    fn ids(&self, batch: &Batch<Prepared>) -> Vec<Uuid> {
        batch
            .inputs
            .iter()
            .flat_map(Input::items)
            .map(|row| row.id)
            .collect()
    }

    async fn run(&self, lane: &Lane, batch: Batch<Prepared>) -> Done<Embedded> {
        let inputs = batch.inputs;
        match self.vectors(lane, &inputs).await {
            Ok(vectors) => Done {
                outputs: outputs(&inputs, vectors),
                ..Done::default()
            },
            Err(Undone::Stopped) => Done::default(),
            Err(Undone::Halt(reason)) => Done {
                halt: Some(reason),
                ..Done::default()
            },
            Err(why) => self.isolate(lane, inputs, why).await,
        }
    }
}

/// Each vector for every row that has its text.
fn outputs(inputs: &[Input<Prepared>], vectors: Vec<Vec<f32>>) -> Vec<Embedded> {
    let shared = vectors.into_iter().map(Arc::<[f32]>::from);
    let rows = inputs
        .iter()
        .zip(shared)
        .flat_map(|(input, vector)| input.items().map(move |row| (row, vector.clone())));
    let embedded = |(row, vector): (&Prepared, _)| Embedded {
        id: row.id,
        vector,
        text_hash: row.hash.clone(),
    };
    rows.map(embedded).collect()
}

/// A refused text is set aside at once; one whose answers were unreadable is tried again later.
fn failures(input: &Input<Prepared>, why: &Undone) -> Vec<RowFailure> {
    let (reason, permanent) = match why {
        Undone::Rejected(why) => (why, true),
        Undone::Unreadable(why) => (why, false),
        Undone::Stopped | Undone::Halt(_) => return Vec::new(),
    };
    let failure = |row: &Prepared| RowFailure {
        id: row.id,
        reason: reason.clone(),
        permanent,
    };
    input.items().map(failure).collect()
}
