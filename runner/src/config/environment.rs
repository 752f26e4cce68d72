//! The process's environment, read once, with a `.env` file beneath it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::ConfigError;

/// Environment variables, those of `.env` beneath those of the process.
///
/// Its `Debug` form names the variables and never their values.
#[derive(Clone, Default)]
pub struct Environment {
    variables: HashMap<String, String>,
}

impl Environment {
    /// Reads the process's environment and `./.env` where it exists.
    ///
    /// # Errors
    /// A `.env` file that cannot be read or is malformed.
    pub fn read() -> Result<Self, ConfigError> {
        let mut variables = read_file(Path::new(".env"))?;
        variables.extend(std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        }));
        Ok(Self { variables })
    }

    /// The value of a variable; one that is empty counts as unset.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables
            .get(name)
            .map(|value| value.trim())
            .filter(|value| !value.is_empty())
    }

    /// The first of several names that is set, with its name.
    pub fn first<'a>(&self, names: &[&'a str]) -> Option<(&'a str, &str)> {
        names
            .iter()
            .find_map(|name| self.get(name).map(|value| (*name, value)))
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        let variables = variables
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()));
        Self {
            variables: variables.collect(),
        }
    }
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_set()
            .entries(self.variables.keys())
            .finish()
    }
}

fn read_file(path: &Path) -> Result<HashMap<String, String>, ConfigError> {
    if !path.exists() {
        return Ok(HashMap::new());
    }
    // The parser's own message would quote the line, and with it perhaps a key.
    let malformed = |_| ConfigError::Malformed {
        path: PathBuf::from(path),
        message: "a line is not NAME=value (quote values that hold spaces or #)".to_owned(),
    };
    dotenvy::from_path_iter(path)
        .map_err(malformed)?
        .map(|entry| entry.map_err(malformed))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_variable_counts_as_unset() {
        let environment = Environment::from_iter([("A", " "), ("B", "b")]);
        assert_eq!(environment.get("A"), None);
        assert_eq!(environment.first(&["A", "B"]), Some(("B", "b")));
    }

    #[test]
    fn debug_names_variables_and_hides_values() {
        let environment = Environment::from_iter([("OPENAI_API_KEY", "sk-hidden")]);
        let shown = format!("{environment:?}");
        assert!(shown.contains("OPENAI_API_KEY") && !shown.contains("sk-hidden"));
    }
}
