//! `/v1/models`

use axum::{
    Json, Router,
    extract::{Path, State},
    http::HeaderMap,
    routing::get,
};
use serde_json::{Value, json};

use super::{AxumState, SharedRoutes, handler::key};
use crate::{
    error_response::ErrorResponse,
    model::{MODELS, find},
};

pub(super) fn routes() -> SharedRoutes {
    Router::new()
        .route("/v1/models", get(list))
        .route("/v1/models/{id}", get(retrieve))
}

async fn list(State(shared): AxumState, headers: HeaderMap) -> Result<Json<Value>, ErrorResponse> {
    let state = shared.state();
    let key = key(state.style(), &headers);
    state.check_reader(key)?;
    let models = MODELS.iter();
    let models = models.filter(|model| state.check_model(key, model.name).is_ok());
    let data: Vec<Value> = models.map(|model| model.to_json(model.name)).collect();
    Ok(Json(json!({"object": "list", "data": data})))
}

async fn retrieve(
    State(shared): AxumState,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Json<Value>, ErrorResponse> {
    let state = shared.state();
    state.check_model(key(state.style(), &headers), &id)?;
    let model = find(&id).ok_or_else(|| ErrorResponse::unknown_model(&id))?;
    Ok(Json(model.to_json(&id)))
}
