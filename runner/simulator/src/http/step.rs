//! Answers requests about files and batches.

use std::sync::Arc;

use axum::{
    body::Bytes,
    http::{HeaderMap, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use serde_json::Value;

use super::handler::{SharedState, half, key};
use crate::{
    batch::{BatchConfig, BatchStep, BatchStore},
    error_response::ErrorResponse,
    fault::Faults,
};

/// Does a step, and returns what it returned beside whether the response is lost.
pub(super) fn step<T>(
    shared: &SharedState,
    step: BatchStep,
    headers: &HeaderMap,
    act: impl FnOnce(&mut BatchStore, &BatchConfig, &Faults) -> Result<T, ErrorResponse>,
) -> Result<(T, bool), ErrorResponse> {
    let mut state = shared.state();
    let key = key(state.style(), headers);
    let done = state.step(step, key, act)?;
    Ok((done.value, done.lost))
}

/// Does a step that returns JSON and needs no configuration.
pub(super) fn json_step(
    shared: &Arc<SharedState>,
    kind: BatchStep,
    headers: &HeaderMap,
    act: impl FnOnce(&mut BatchStore) -> Result<Value, ErrorResponse>,
) -> Result<Response, ErrorResponse> {
    let (json, lost) = step(shared, kind, headers, |store, _, _| act(store))?;
    Ok(respond_json(&json, lost))
}

pub(super) fn respond_json(json: &Value, lost: bool) -> Response {
    respond("application/json", json.to_string().into(), lost)
}

pub(super) fn respond(content_type: &'static str, body: Bytes, lost: bool) -> Response {
    if lost {
        return half(&body);
    }
    ([(CONTENT_TYPE, content_type)], body).into_response()
}
