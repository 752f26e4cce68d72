//! Numbers of the configuration: whole, and within bounds.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::{ConfigError, Environment};

/// The whole number in a variable, if it is set.
pub(super) fn number<N: FromStr>(
    environment: &Environment,
    name: &str,
) -> Result<Option<N>, ConfigError> {
    let parse = |text: &str| {
        let number = text.parse();
        number.map_err(|_| ConfigError::invalid(name, format!("`{text}` is not a whole number")))
    };
    environment.get(name).map(parse).transpose()
}

/// Refuses a value outside its range.
pub(super) fn bounded<N: PartialOrd + Display>(
    key: &str,
    value: N,
    range: RangeInclusive<N>,
) -> Result<N, ConfigError> {
    if range.contains(&value) {
        return Ok(value);
    }
    let (low, high) = range.into_inner();
    let message = format!("is {value}, must be from {low} to {high}");
    Err(ConfigError::invalid(key, message))
}
