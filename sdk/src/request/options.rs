//! What a caller may ask for beside the query itself: preferences, headers, retries, a deadline.

use std::fmt;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Prefer, RetryPolicy};
use crate::error::Error;

/// The options of one call. Every builder has them.
#[derive(Clone, Default)]
pub(crate) struct Options {
    pub(crate) prefer: Prefer,
    pub(crate) headers: HeaderMap,
    pub(crate) retry: Option<RetryPolicy>,
    pub(crate) deadline: Option<Duration>,
    /// The first header that cannot be sent.
    invalid: Option<Error>,
}

impl Options {
    /// Adds a header. One that cannot be sent is reported by [`validate`](Self::validate).
    pub(crate) fn header(&mut self, name: &str, value: &str) {
        if let Err(error) = insert_header(&mut self.headers, name, value) {
            self.invalid.get_or_insert(error);
        }
    }

    pub(crate) fn validate(&self) -> Result<(), Error> {
        self.invalid.clone().map_or(Ok(()), Err)
    }
}

/// Adds a header of the caller. Those that this crate writes itself are refused.
pub(crate) fn insert_header(headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), Error> {
    const OWN: [&str; 9] = [
        "accept",
        "accept-profile",
        "apikey",
        "authorization",
        "content-length",
        "content-profile",
        "content-type",
        "host",
        "prefer",
    ];
    let shown = name.escape_debug();
    let name = HeaderName::try_from(name)
        .map_err(|_| Error::invalid(format!("`{shown}` cannot be the name of a header")))?;
    if OWN.contains(&name.as_str()) {
        return Err(Error::invalid(format!(
            "the header `{name}` is written by the client; use its own methods (`key`, `as_user`, `schema`, `timezone` and others)"
        )));
    }
    // The value may be a secret, so no error shows it.
    let value = HeaderValue::from_str(value)
        .map_err(|_| Error::invalid(format!("the value of the header `{name}` cannot be sent")))?;
    headers.insert(name, value);
    Ok(())
}

/// Shows the names of the headers only.
impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("prefer", &self.prefer)
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .field("retry", &self.retry)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headers_of_the_client_itself_and_unsendable_ones_are_refused() {
        let mut options = Options::default();
        options.header("x-tenant", "seven");
        options.validate().unwrap();
        for (name, value) in [
            ("Prefer", "x"),
            ("apikey", "x"),
            ("a b", "x"),
            ("x-a", "secret\n"),
        ] {
            let mut options = Options::default();
            options.header(name, value);
            let error = options.validate().unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
        assert!(!format!("{options:?}").contains("seven"));
    }
}
