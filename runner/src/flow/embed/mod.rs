//! The embed flow: texts in, vectors out. Rows of one claim with the same text share one input.

mod batch;
mod oversized;
mod pack;
mod packer;
mod sink;
mod work;

use std::sync::Arc;

use serde_json::Value;
use uuid::Uuid;

pub(super) use self::batch::EmbeddingCollector;
use self::batch::EmbeddingLines;
use self::packer::Packer;
use self::work::EmbedWork;
pub use self::work::Embedded;
use super::batch::BatchFlow;
use super::count::about_embeddings;
use super::preview::{Preview, preview};
use super::price::Tiering;
use super::requester::setback;
use super::run::Run;
use super::session::Session;
use super::work::WorkKind;
use crate::config::EmbeddingSettings;
use crate::db::EstimateWork;
use crate::engine::{Flow, Patience, Sink, Source, Text};
use crate::error::Error;
use crate::provider::{Client, ErrorKind, MAX_INPUT_TOKENS, Tier};
use crate::report::Outcome;

/// Embeds posts until none lacks a current embedding.
///
/// # Errors
/// If the provider is not configured, or the column cannot hold the configured dimensions. Later errors are
/// in the outcome.
pub async fn embed(session: &Session, run: &Run, refresh: bool) -> Result<Outcome, Error> {
    session
        .recorded("embed", run, embed_posts(session, run, refresh))
        .await
}

async fn embed_posts(session: &Session, run: &Run, refresh: bool) -> Result<Outcome, Error> {
    let session = &session.within(run);
    let settings = &session.settings.embedding;
    let kind = WorkKind::embed(settings, refresh);
    let mut tier = Tier::Standard;
    if run.options.batch.is_some() {
        tier = Tier::Batch;
        session.check_batches(run, &settings.model)?;
    }
    let work = work(session, run)?;
    let status = session.database.call(EstimateWork {}).await?;
    check_column(&status, settings)?;
    if let Some(rows) = about_embeddings(&status) {
        run.expect(rows);
    }
    if run.options.dry_run {
        let preview = plan(session, &kind, run.options.limit, tier).await?;
        return Ok(session.previewed("embed", run, &preview));
    }
    if run.options.batch.is_some() {
        let lines = EmbeddingLines {
            client: session.provider()?.clone(),
            packer: packer(session),
            tariff: session.tariff(&settings.model),
        };
        BatchFlow::new(session, run, ("embed", &kind), lines, EmbeddingCollector)
            .drive()
            .await;
        return Ok(session.finish("embed", run, &kind).await);
    }
    let worker = Uuid::new_v4();
    let sink = sink::sink(session, worker, &settings.model);
    session
        .drive_posts(run, &kind, worker, settings.chunk_size, (work, sink))
        .await;
    Ok(session.finish("embed", run, &kind).await)
}

/// Embeds rows of any table, from a source of your own into a sink of your own. It keeps the limits and the
/// budget and finds bad rows, as [`embed`] does for posts. `runner/examples/own_table` shows it.
///
/// A run that reaches its limit of rows ends with `MoreRemains`, because only the source knows whether more
/// rows are due.
///
/// # Errors
/// If the provider is not configured. Later errors are in the outcome.
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
    let work = work(session, run)?;
    let flow = Flow { source, work, sink };
    let work = async {
        session
            .drive(run, session.settings.embedding.chunk_size, flow)
            .await;
        Ok(session.outcome("embed", run, run.is_at_limit()))
    };
    session.recorded("embed", run, work).await
}

/// What `embed` would do.
///
/// # Errors
/// If the provider is not configured, or the database does not answer.
pub async fn plan_embed(session: &Session) -> Result<Preview, Error> {
    session.provider()?;
    let kind = WorkKind::embed(&session.settings.embedding, false);
    plan(session, &kind, None, Tier::Standard).await
}

/// Embeds one text, for a search. It waits for the provider with this patience.
///
/// # Errors
/// If the provider refuses the text or does not answer.
pub async fn embed_query(
    provider: &Client,
    patience: &Patience,
    settings: &EmbeddingSettings,
    text: &str,
) -> Result<Arc<[f32]>, Error> {
    let tokenizer = provider.model(&settings.model).tokenizer();
    let text = tokenizer.truncate(text, MAX_INPUT_TOKENS).text;
    let inputs = [text];
    let request = settings.request(&inputs);
    let mut wait = patience.begin();
    let answer = loop {
        let error = match provider.embed(&request).await {
            Ok(answer) => break answer,
            Err(error) => error,
        };
        match error.kind() {
            ErrorKind::Overloaded { .. } => {
                let paused = wait.pause(setback(&error)).await;
                paused.map_err(|gave_up| Error::GaveUp(gave_up.to_string()))?;
            }
            ErrorKind::Adapted => {}
            _ => return Err(error.into()),
        }
    };
    let vector = answer.value.vectors.into_iter().next();
    vector
        .map(Arc::from)
        .ok_or_else(|| Error::Unexpected("the provider returned no vector".to_owned()))
}

fn work<T: Text>(session: &Session, run: &Run) -> Result<EmbedWork<T>, Error> {
    let settings = &session.settings.embedding;
    Ok(EmbedWork::new(
        session.provider()?.clone(),
        packer(session),
        session.requester(run, &settings.model, Tiering::default()),
    ))
}

fn packer(session: &Session) -> Packer {
    let settings = session.settings.embedding.clone();
    let limiter = session.limiter(&settings.model);
    let tokenizer = session.settings.models.get(&settings.model).tokenizer();
    Packer::new(settings, tokenizer, limiter)
}

async fn plan(
    session: &Session,
    kind: &WorkKind,
    limit: Option<u64>,
    tier: Tier,
) -> Result<Preview, Error> {
    let packer = packer(session);
    let tariff = session.tariff(&session.settings.embedding.model);
    preview(session, kind, limit, |posts, sum| {
        packer.preview(posts, (&tariff, tier), sum);
    })
    .await
}

/// Refuses dimensions that the column cannot hold, before their vectors are paid for.
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
