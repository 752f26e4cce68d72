//! Refusals in the form in which `OpenAI` gives them.

use std::time::Duration;

use axum::{
    http::{HeaderName, HeaderValue, StatusCode, header::RETRY_AFTER},
    response::{IntoResponse, Response},
};
use serde_json::json;

/// Why a request is not answered. Source: "Error codes".
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) kind: &'static str,
    pub(super) code: Option<&'static str>,
    pub(super) param: Option<&'static str>,
    pub(super) message: String,
    pub(super) retry_after: Option<Duration>,
}

impl Refusal {
    /// Something in the request is wrong; `param` names the field.
    pub(super) fn invalid(param: &'static str, message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            kind: "invalid_request_error",
            code: None,
            param: Some(param),
            message: message.into(),
            retry_after: None,
        }
    }

    pub(super) fn with_code(self, code: &'static str) -> Self {
        Self {
            code: Some(code),
            ..self
        }
    }

    pub(super) fn unparsable() -> Self {
        let message = "The body of the request is not a JSON object.";
        Self {
            param: None,
            ..Self::invalid("", message)
        }
    }

    pub(super) fn unknown_model(model: &str) -> Self {
        let message = format!("The model `{model}` does not exist, or not for this endpoint.");
        let status = StatusCode::NOT_FOUND;
        Self {
            status,
            ..Self::invalid("model", message).with_code("model_not_found")
        }
    }

    /// What Azure says to a request that names no version.
    pub(super) fn no_version() -> Self {
        let message = "Resource not found";
        let status = StatusCode::NOT_FOUND;
        Self {
            status,
            param: None,
            ..Self::invalid("", message).with_code("404")
        }
    }

    pub(super) fn no_key() -> Self {
        let message = "No API key was given: it belongs into the header Authorization: Bearer KEY \
                       (in Azure's style: api-key: KEY).";
        let status = StatusCode::UNAUTHORIZED;
        Self {
            status,
            param: None,
            ..Self::invalid("", message)
        }
    }

    /// The message repeats the key in part, as `OpenAI` does: clients must not show it.
    pub(super) fn bad_key(key: &str) -> Self {
        let head: String = key.chars().take(8).collect();
        let message = format!("Incorrect API key provided: {head}***. Find yours in the settings.");
        let status = StatusCode::UNAUTHORIZED;
        Self {
            status,
            param: None,
            ..Self::invalid("", message).with_code("invalid_api_key")
        }
    }

    pub(super) fn quota() -> Self {
        Self {
            status: StatusCode::TOO_MANY_REQUESTS,
            kind: "insufficient_quota",
            code: Some("insufficient_quota"),
            param: None,
            message: "The current quota is exceeded: check plan and billing.".to_owned(),
            retry_after: None,
        }
    }

    pub(super) fn rate_limit(kind: &'static str, message: String, wait: Duration) -> Self {
        Self {
            status: StatusCode::TOO_MANY_REQUESTS,
            kind,
            code: Some("rate_limit_exceeded"),
            param: None,
            message,
            retry_after: Some(wait),
        }
    }

    pub(super) fn overloaded() -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code: Some("server_is_overloaded"),
            message: "The servers are overloaded: try again later.".to_owned(),
            ..Self::server_error()
        }
    }

    pub(super) fn server_error() -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            kind: "server_error",
            code: None,
            param: None,
            message: "The server had an error while it worked on the request.".to_owned(),
            retry_after: None,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let error = json!({
            "message": self.message,
            "type": self.kind,
            "param": self.param,
            "code": self.code,
        });
        let mut response = (self.status, axum::Json(json!({ "error": error }))).into_response();
        if let Some(wait) = self.retry_after {
            // Whole seconds are all that the standard header can say, so they are rounded up.
            let ms = wait.as_micros().div_ceil(1000);
            let headers = response.headers_mut();
            headers.insert(RETRY_AFTER, number(ms.div_ceil(1000)));
            headers.insert(HeaderName::from_static("retry-after-ms"), number(ms));
        }
        response
    }
}

fn number(number: u128) -> HeaderValue {
    HeaderValue::from(u64::try_from(number).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_said_in_milliseconds_and_in_whole_seconds() {
        let wait = Duration::from_micros(1_200_100);
        let refusal = Refusal::rate_limit("tokens", "slowly".to_owned(), wait).into_response();
        assert_eq!(refusal.status(), 429);
        assert_eq!(refusal.headers()["retry-after"], "2");
        assert_eq!(refusal.headers()["retry-after-ms"], "1201");
        assert!(
            !Refusal::quota()
                .into_response()
                .headers()
                .contains_key("retry-after")
        );
    }
}
