//! `/v1/batches`

use axum::{
    Router,
    body::Bytes,
    extract::{Path, Query, State},
    http::HeaderMap,
    response::Response,
    routing::{get, post},
};

use super::{
    AxumState, SharedRoutes,
    handler::compute,
    step::{json_step, respond_json, step},
    worker::work,
};
use crate::{
    batch::{Batch, BatchInput, BatchRequest, BatchStep, PageQuery},
    error_response::ErrorResponse,
};

pub(super) fn routes() -> SharedRoutes {
    Router::new()
        .route("/v1/batches", post(create).get(list))
        .route("/v1/batches/{id}", get(retrieve))
        .route("/v1/batches/{id}/cancel", post(cancel))
}

async fn create(
    State(shared): AxumState,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ErrorResponse> {
    let read = BatchRequest::read(&body).and_then(|request| {
        let mut state = shared.state();
        let content = state
            .batches()
            .files
            .get(&request.input_file_id)?
            .content
            .clone();
        let counts_tokens = state.batch_config().max_enqueued_tokens.is_some();
        Ok((request, content, counts_tokens))
    });
    let read = compute(move || {
        let (request, content, counts_tokens) = read?;
        let input = BatchInput::read(&content, request.route);
        let counted = input.as_ref().ok().filter(|_| counts_tokens);
        let tokens = counted.map_or(0, |input| input.tokens(request.route));
        Ok((request, input, tokens))
    })
    .await;
    let now = shared.unix_now();
    let ((json, plan), lost) = step(
        &shared,
        BatchStep::Create,
        &headers,
        |store, config, luck| {
            let (request, input, tokens) = read?;
            store.create(request, input, tokens, config, luck, now)
        },
    )?;
    tokio::spawn(work(shared, plan));
    Ok(respond_json(&json, lost))
}

async fn list(
    State(shared): AxumState,
    headers: HeaderMap,
    Query(query): Query<PageQuery>,
) -> Result<Response, ErrorResponse> {
    json_step(&shared, BatchStep::List, &headers, |store| {
        store.list(&query)
    })
}

async fn retrieve(
    State(shared): AxumState,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, ErrorResponse> {
    json_step(&shared, BatchStep::Poll, &headers, |store| {
        store.get(&id).map(Batch::to_json)
    })
}

async fn cancel(
    State(shared): AxumState,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, ErrorResponse> {
    let now = shared.unix_now();
    json_step(&shared, BatchStep::Cancel, &headers, |store| {
        store.cancel(&id, now)
    })
}
