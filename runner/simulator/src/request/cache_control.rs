//! What a request says about the prompt cache. Source: "Prompt caching".

use serde_json::Value;

use super::fields::BodyFields;
use crate::error_response::ErrorResponse;

/// Where the beginnings of a prompt end that are cached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CacheMode {
    /// Every so many tokens: models that do not charge for writes.
    Steps,
    /// At the end of the latest message and at breakpoints: later models.
    Implicit,
    /// At breakpoints alone.
    Explicit,
}

impl CacheMode {
    /// What the request says in `prompt_cache_options`.
    pub(super) fn read(
        fields: &mut BodyFields,
        charges_writes: bool,
    ) -> Result<Self, ErrorResponse> {
        let invalid = |param, message: &str| {
            Err(ErrorResponse::invalid(param, message).with_code("invalid_value"))
        };
        let Some(options) = fields.take("prompt_cache_options") else {
            return Ok(if charges_writes {
                Self::Implicit
            } else {
                Self::Steps
            });
        };
        if !charges_writes {
            return Err(unsupported("prompt_cache_options"));
        }
        if options.get("ttl").is_some_and(|ttl| ttl != "30m") {
            return invalid("prompt_cache_options.ttl", "Supported values are: '30m'.");
        }
        match options.get("mode").and_then(Value::as_str) {
            None | Some("implicit") => Ok(Self::Implicit),
            Some("explicit") => Ok(Self::Explicit),
            Some(_) => invalid(
                "prompt_cache_options.mode",
                "Supported values are: 'implicit' and 'explicit'.",
            ),
        }
    }

    /// Refuses breakpoints for a model that does not take them.
    pub(super) fn check(
        self,
        read: (String, Vec<usize>),
    ) -> Result<(String, Vec<usize>), ErrorResponse> {
        if self == Self::Steps && !read.1.is_empty() {
            return Err(unsupported("prompt_cache_breakpoint"));
        }
        Ok(read)
    }
}

fn unsupported(param: &'static str) -> ErrorResponse {
    let message = format!("Unsupported parameter: '{param}' is not supported with this model.");
    ErrorResponse::invalid(param, message).with_code("unsupported_parameter")
}

/// A content: a text, or parts of this type. Returns the text, and where it has breakpoints, in bytes.
pub(super) fn read_content(content: &Value, part: &str) -> Option<(String, Vec<usize>)> {
    if let Some(text) = content.as_str() {
        return Some((text.to_owned(), Vec::new()));
    }
    let (mut text, mut breakpoints) = (String::new(), Vec::new());
    for each in content.as_array()? {
        let is_text = each.get("type").is_some_and(|kind| kind == part);
        text.push_str(each.get("text")?.as_str().filter(|_| is_text)?);
        if let Some(breakpoint) = each.get("prompt_cache_breakpoint") {
            breakpoint.get("mode").filter(|mode| *mode == "explicit")?;
            breakpoints.push(text.len());
        }
    }
    Some((text, breakpoints))
}
