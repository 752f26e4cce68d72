//! Headers with secrets, which logs do not show.

use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

use crate::error::Error;

pub(super) fn bearer(token: &SecretString) -> Result<HeaderValue, Error> {
    sensitive(&format!("Bearer {}", token.expose_secret()))
}

pub(super) fn sensitive(text: &str) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_str(text).map_err(|_| {
        Error::invalid("the key or token has a character that cannot be sent in a header; check it for line breaks")
    })?;
    value.set_sensitive(true);
    Ok(value)
}
