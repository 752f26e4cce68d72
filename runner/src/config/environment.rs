//! The environment of the process, and a `.env` file below it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::ConfigError;

/// Environment variables. Those of the process override those of `.env`.
///
/// The `Debug` form has the names without the values.
#[derive(Clone, Default)]
pub struct Environment {
    variables: HashMap<String, String>,
}

impl Environment {
    /// Reads the environment of the process, and `./.env` if it exists.
    ///
    /// # Errors
    /// If `.env` cannot be read or is malformed.
    pub fn read() -> Result<Self, ConfigError> {
        let mut variables = read_file(Path::new(".env"))?;
        variables.extend(std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        }));
        Ok(Self { variables })
    }

    /// The value of a variable. An empty one counts as unset.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables
            .get(name)
            .map(|value| value.trim())
            .filter(|value| !value.is_empty())
    }

    /// The value of the first of these variables that is set.
    pub fn first(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| self.get(name))
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
    // The parser's message would quote the line, which may contain a key.
    let malformed = |_| ConfigError::Malformed {
        path: PathBuf::from(path),
        message: "a line is not NAME=value (quote values that contain spaces or #)".to_owned(),
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
    fn empty_variable_counts_as_unset() {
        let environment = Environment::from_iter([("A", " "), ("B", "b")]);
        assert_eq!(environment.get("A"), None);
        assert_eq!(environment.first(&["A", "B"]), Some("b"));
    }

    #[test]
    fn debug_form_hides_values() {
        let environment = Environment::from_iter([("OPENAI_API_KEY", "sk-hidden")]);
        let shown = format!("{environment:?}");
        assert!(shown.contains("OPENAI_API_KEY") && !shown.contains("sk-hidden"));
    }
}
