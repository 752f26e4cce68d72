//! Error responses in `OpenAI`'s form.

use std::time::Duration;

use axum::{
    Json,
    http::StatusCode,
    response::{AppendHeaders, IntoResponse, Response},
};
use serde_json::{Value, json};

/// Names of headers and their values.
pub(crate) type HeaderPairs = Vec<(&'static str, String)>;

/// Why a request is not answered. Source: "Error codes".
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ErrorResponse {
    pub(crate) status: StatusCode,
    pub(crate) kind: &'static str,
    pub(crate) code: Option<&'static str>,
    pub(crate) param: Option<&'static str>,
    pub(crate) message: String,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) headers: HeaderPairs,
}

const INVALID: &str = "invalid_request_error";

impl ErrorResponse {
    fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            kind,
            code: None,
            param: None,
            message: message.into(),
            retry_after: None,
            headers: HeaderPairs::new(),
        }
    }

    /// Something in the request is wrong; `param` names the field.
    pub(crate) fn invalid(param: &'static str, message: impl Into<String>) -> Self {
        Self {
            param: Some(param),
            ..Self::new(StatusCode::BAD_REQUEST, INVALID, message)
        }
    }

    pub(crate) fn with_code(self, code: &'static str) -> Self {
        Self {
            code: Some(code),
            ..self
        }
    }

    pub(crate) fn unparsable() -> Self {
        let message = "The body of the request is not a JSON object.";
        Self::new(StatusCode::BAD_REQUEST, INVALID, message)
    }

    pub(crate) fn unknown_parameter(name: &str) -> Self {
        let message = format!("Unrecognized request argument supplied: {name}");
        Self::new(StatusCode::BAD_REQUEST, INVALID, message).with_code("unknown_parameter")
    }

    pub(crate) fn unknown_model(model: &str) -> Self {
        let message = format!("The model `{model}` does not exist, or not for this endpoint.");
        Self {
            status: StatusCode::NOT_FOUND,
            ..Self::invalid("model", message).with_code("model_not_found")
        }
    }

    pub(crate) fn unknown_url(method: &str, path: &str) -> Self {
        let message = format!("Unknown request URL: {method} {path}.");
        Self::new(StatusCode::NOT_FOUND, INVALID, message).with_code("unknown_url")
    }

    /// There is no file or batch with this id.
    pub(crate) fn no_such(what: &str, id: &str) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            ..Self::invalid("id", format!("No such {what} object: {id}"))
        }
    }

    /// The state of a batch does not permit it.
    pub(crate) fn conflict(message: String) -> Self {
        Self::new(StatusCode::CONFLICT, INVALID, message)
    }

    /// The queue of batches has no place. There is no wait: it depends on other batches.
    pub(crate) fn queue_full(message: String) -> Self {
        let kind = "token_limit_exceeded";
        Self::new(StatusCode::TOO_MANY_REQUESTS, kind, message).with_code(kind)
    }

    /// Azure's response to a request without an `api-version`.
    pub(crate) fn no_version() -> Self {
        Self::new(StatusCode::NOT_FOUND, INVALID, "Resource not found").with_code("404")
    }

    pub(crate) fn no_key() -> Self {
        let message = "No API key was given: it belongs into the header Authorization: Bearer KEY \
                       (in Azure's style: api-key: KEY).";
        Self::new(StatusCode::UNAUTHORIZED, INVALID, message)
    }

    /// The message repeats part of the key, as `OpenAI`'s does: clients must not show it.
    pub(crate) fn bad_key(key: &str) -> Self {
        let head: String = key.chars().take(8).collect();
        let message = format!("Incorrect API key provided: {head}***. Find yours in the settings.");
        Self::new(StatusCode::UNAUTHORIZED, INVALID, message).with_code("invalid_api_key")
    }

    pub(crate) fn quota() -> Self {
        let message = "The current quota is exceeded: check plan and billing.";
        let kind = "insufficient_quota";
        Self::new(StatusCode::TOO_MANY_REQUESTS, kind, message).with_code(kind)
    }

    pub(crate) fn missing_scopes() -> Self {
        let message = "You have insufficient permissions for this operation. Missing scopes: \
                       model.request.";
        Self::new(StatusCode::UNAUTHORIZED, INVALID, message)
    }

    pub(crate) fn ip_not_authorized() -> Self {
        let message = "Your IP address is not authorized to access this API.";
        Self::new(StatusCode::UNAUTHORIZED, INVALID, message).with_code("ip_not_authorized")
    }

    /// The model exists, but not for this project.
    pub(crate) fn no_access(model: &str) -> Self {
        let message = format!("Project `proj_simulated` does not have access to model `{model}`.");
        Self {
            status: StatusCode::FORBIDDEN,
            ..Self::invalid("model", message).with_code("model_not_found")
        }
    }

    /// The model has ended.
    pub(crate) fn ended_model(model: &str) -> Self {
        let message = format!("The model `{model}` has been deprecated.");
        Self {
            message,
            ..Self::unknown_model(model)
        }
    }

    /// Flex has no capacity. Nobody knows for how long.
    pub(crate) fn resource_unavailable() -> Self {
        let kind = "resource_unavailable";
        let message = "Resources are unavailable for flex processing: try again later.";
        Self::new(StatusCode::TOO_MANY_REQUESTS, kind, message).with_code(kind)
    }

    /// `kind` says what there is too much of: `requests` or `tokens`. Without a wait the request can
    /// never succeed.
    pub(crate) fn rate_limit(kind: &'static str, message: String, wait: Option<Duration>) -> Self {
        Self {
            retry_after: wait,
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, kind, message)
                .with_code("rate_limit_exceeded")
        }
    }

    pub(crate) fn overloaded() -> Self {
        let message = "The servers are overloaded: try again later.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "server_error", message)
            .with_code("server_is_overloaded")
    }

    pub(crate) fn server_error() -> Self {
        let message = "The server had an error while it worked on the request.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", message)
    }
}

impl ErrorResponse {
    /// The body.
    pub(crate) fn to_json(&self) -> Value {
        json!({"error": {
            "message": self.message,
            "type": self.kind,
            "param": self.param,
            "code": self.code,
        }})
    }
}

impl IntoResponse for ErrorResponse {
    fn into_response(self) -> Response {
        let body = self.to_json();
        let retry_after = self.retry_after.into_iter().flat_map(|wait| {
            // The standard header takes whole seconds only, so they are rounded up.
            let ms = wait.as_micros().div_ceil(1000);
            let seconds = ms.div_ceil(1000);
            [
                ("retry-after", seconds.to_string()),
                ("retry-after-ms", ms.to_string()),
            ]
        });
        let headers = AppendHeaders(self.headers.into_iter().chain(retry_after));
        (self.status, headers, Json(body)).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_is_given_in_milliseconds_and_in_whole_seconds() {
        let wait = Duration::from_micros(1_200_100);
        let error = ErrorResponse::rate_limit("tokens", "slowly".to_owned(), Some(wait));
        let response = error.into_response();
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()["retry-after"], "2");
        assert_eq!(response.headers()["retry-after-ms"], "1201");
        let quota = ErrorResponse::quota().into_response();
        assert!(!quota.headers().contains_key("retry-after"));
    }
}
