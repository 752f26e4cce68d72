//! `/v1/files`

use axum::{
    Router,
    body::Bytes,
    extract::{
        DefaultBodyLimit, Multipart, Path, Query, State,
        multipart::{Field, MultipartError, MultipartRejection},
    },
    http::HeaderMap,
    response::Response,
    routing::{get, post},
};

use super::{
    AxumState, SharedRoutes,
    step::{json_step, respond, step},
};
use crate::{
    batch::{BatchStep, PageQuery, StoredFile},
    error_response::ErrorResponse,
    limit::{MAX_FILE_BYTES, MAX_UPLOAD_BYTES},
};

pub(super) fn routes() -> SharedRoutes {
    let uploads = post(upload).layer(DefaultBodyLimit::max(MAX_UPLOAD_BYTES));
    Router::new()
        .route("/v1/files", uploads.get(list))
        .route("/v1/files/{id}", get(retrieve).delete(delete))
        .route("/v1/files/{id}/content", get(content))
}

/// What an upload contains.
#[derive(Default)]
struct Upload {
    purpose: Option<String>,
    name: Option<String>,
    content: Option<Bytes>,
    expires_after: Option<u64>,
}

async fn upload(
    State(shared): AxumState,
    headers: HeaderMap,
    form: Result<Multipart, MultipartRejection>,
) -> Result<Response, ErrorResponse> {
    let form = match form {
        Ok(form) => Upload::read(form).await,
        Err(_) => Err(ErrorResponse::invalid(
            "file",
            "The body of the request is not multipart/form-data.",
        )),
    };
    let now = shared.unix_now();
    json_step(&shared, BatchStep::Upload, &headers, |store| {
        let (name, content, expires_after) = form.and_then(Upload::checked)?;
        Ok(store.upload(name, content, expires_after, now))
    })
}

impl Upload {
    async fn read(mut form: Multipart) -> Result<Self, ErrorResponse> {
        let mut upload = Self::default();
        while let Some(field) = form
            .next_field()
            .await
            .map_err(|error| unreadable(&error))?
        {
            match field.name().unwrap_or_default() {
                "purpose" => {
                    upload.purpose = Some(field.text().await.map_err(|error| unreadable(&error))?);
                }
                "file" => {
                    upload.name = field.file_name().map(str::to_owned);
                    upload.content = Some(read_file(field).await?);
                }
                "expires_after[anchor]" => {}
                "expires_after[seconds]" => {
                    upload.expires_after = field
                        .text()
                        .await
                        .map_err(|error| unreadable(&error))?
                        .parse()
                        .ok();
                }
                unknown => return Err(ErrorResponse::unknown_parameter(unknown)),
            }
        }
        Ok(upload)
    }

    /// The name, the content, and how long it stays.
    fn checked(self) -> Result<(String, Bytes, Option<u64>), ErrorResponse> {
        let missing = |param: &'static str| {
            let message = format!("Missing required parameter: '{param}'.");
            ErrorResponse::invalid(param, message).with_code("missing_required_parameter")
        };
        let purpose = self.purpose.ok_or_else(|| missing("purpose"))?;
        if purpose != "batch" {
            let message =
                format!("'{purpose}' is not one of ['batch'], which the simulator knows.");
            return Err(ErrorResponse::invalid("purpose", message));
        }
        let content = self.content.ok_or_else(|| missing("file"))?;
        let name = self.name.ok_or_else(|| missing("file"))?;
        Ok((name, content, self.expires_after))
    }
}

/// Reads a file, as far as one may be long.
async fn read_file(mut field: Field<'_>) -> Result<Bytes, ErrorResponse> {
    let mut content = Vec::new();
    while let Some(part) = field.chunk().await.map_err(|error| unreadable(&error))? {
        if content.len() + part.len() > MAX_FILE_BYTES {
            return Err(too_large());
        }
        content.extend_from_slice(&part);
    }
    Ok(content.into())
}

fn unreadable(error: &MultipartError) -> ErrorResponse {
    match error.status().as_u16() {
        413 => too_large(),
        _ => ErrorResponse::invalid("file", format!("The upload is broken: {error}")),
    }
}

fn too_large() -> ErrorResponse {
    let message =
        format!("The file is too large: a batch's file has at most {MAX_FILE_BYTES} bytes.");
    ErrorResponse::invalid("file", message)
}

async fn list(
    State(shared): AxumState,
    headers: HeaderMap,
    Query(query): Query<PageQuery>,
) -> Result<Response, ErrorResponse> {
    json_step(&shared, BatchStep::ReadFiles, &headers, |store| {
        store.files.list(&query)
    })
}

async fn retrieve(
    State(shared): AxumState,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, ErrorResponse> {
    json_step(&shared, BatchStep::ReadFiles, &headers, |store| {
        store.files.get(&id).map(StoredFile::to_json)
    })
}

async fn delete(
    State(shared): AxumState,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, ErrorResponse> {
    json_step(&shared, BatchStep::Delete, &headers, |store| {
        store.files.delete(&id)
    })
}

async fn content(
    State(shared): AxumState,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, ErrorResponse> {
    let (content, lost) = step(&shared, BatchStep::Download, &headers, |store, _, _| {
        store.files.get(&id).map(|file| file.content.clone())
    })?;
    Ok(respond("application/octet-stream", content, lost))
}
