//! Embedding: posts in, vectors out, each text once.

use std::sync::Arc;

use serde_json::Value;
use uuid::Uuid;

use super::count::about_embeddings;
use super::embedder::{EmbedWork, Embedded, Embedder};
use super::session::{Run, Session};
use super::sink::EmbeddingSink;
use super::source::DuePosts;
use super::work::WorkKind;
use super::{Preview, preview};
use crate::config::EmbeddingSettings;
use crate::db::{LeasedPost, PipelineStatus};
use crate::engine::{Flow, Sink, Source, Text};
use crate::error::Error;
use crate::provider::{Client, EmbeddingRequest, MAX_INPUT_TOKENS, Tokenizer};
use crate::report::Outcome;

/// Embeds posts until none lacks a current embedding.
///
/// # Errors
/// Where the provider is not configured, or the column cannot hold the configured dimensions;
/// everything later is in the outcome.
pub async fn embed(session: &Session, run: &Run, refresh: bool) -> Result<Outcome, Error> {
    let settings = &session.settings.embedding;
    let kind = WorkKind::embed(settings, refresh);
    let embedder: Embedder<LeasedPost> = Embedder::of(session)?;
    let status = session.database.call(PipelineStatus {}).await?;
    check_column(&status, settings)?;
    if let Some(rows) = about_embeddings(&status) {
        run.expect(rows);
    }
    if run.options.dry_run {
        let measure = |posts: &[LeasedPost], sum: &mut Preview| embedder.preview(posts, sum);
        let preview = preview(session, &kind, run.options.limit, measure).await?;
        return Ok(session.previewed("embed", run, &preview));
    }
    let worker = Uuid::new_v4();
    let database = session.database.clone();
    let source = DuePosts::new(
        database.clone(),
        kind.clone(),
        worker,
        session.settings.leases,
    );
    let sink = EmbeddingSink {
        database,
        worker,
        model: settings.model.as_str().into(),
    };
    let work = EmbedWork {
        embedder,
        requester: session.requester(run, &settings.model),
    };
    let flow = Flow { source, work, sink };
    session.drive(run, settings.chunk_size, flow).await;
    Ok(session.finish("embed", run, &kind).await)
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
    let work = EmbedWork {
        embedder: Embedder::of(session)?,
        requester: session.requester(run, &settings.model),
    };
    let flow = Flow { source, work, sink };
    session.drive(run, settings.chunk_size, flow).await;
    let limit = run.options.limit;
    let at_limit = limit.is_some_and(|limit| run.metrics.rows().selected >= limit);
    Ok(session.outcome("embed", run, at_limit))
}

/// What `embed` would do.
///
/// # Errors
/// As [`embed`].
pub async fn plan_embed(session: &Session) -> Result<Preview, Error> {
    let embedder: Embedder<LeasedPost> = Embedder::of(session)?;
    let kind = WorkKind::embed(&session.settings.embedding, false);
    preview(session, &kind, None, |posts, sum| {
        embedder.preview(posts, sum);
    })
    .await
}

/// Embeds one text, for a search.
///
/// # Errors
/// Where the provider refuses or does not answer.
pub async fn embed_query(
    provider: &Client,
    settings: &EmbeddingSettings,
    text: &str,
) -> Result<Arc<[f32]>, Error> {
    let text = Tokenizer::for_model(&settings.model)
        .cut(text, MAX_INPUT_TOKENS)
        .text;
    let request = EmbeddingRequest {
        model: &settings.model,
        inputs: &[text],
        dimensions: Some(settings.dimensions as usize),
    };
    let answer = provider.embed(&request).await?;
    let vector = answer.value.vectors.into_iter().next();
    vector
        .map(Arc::from)
        .ok_or_else(|| Error::Unexpected("no vector was answered".to_owned()))
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
