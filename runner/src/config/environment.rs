//! The environment of the process, and a `.env` file below it.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// The variables that we read. A broken line of `.env` with one of these names is worth a warning.
const OURS: &[&str] = &[
    "APP_URL",
    "EMBEDDING_BATCH_SIZE",
    "EMBEDDING_CHUNK_SIZE",
    "EMBEDDING_MODEL",
    "INTERNAL_API_SECRET",
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "OPENAI_RPM",
    "OPENAI_TPM",
    "POSTGREST_URL",
    "SLUICE_CONFIG",
    "SUPABASE_SECRET_KEY",
    "SUPABASE_SERVICE_KEY",
    "SUPABASE_SERVICE_ROLE_KEY",
    "SUPABASE_URL",
];

/// Environment variables. Those of the process override those of `.env`.
///
/// The `Debug` form has the names without the values.
#[derive(Clone, Default)]
pub struct Environment {
    variables: HashMap<String, (String, Source)>,
    allows_http: bool,
}

/// Where a setting comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Source {
    /// The environment of the process, or a configuration file that the user named.
    #[default]
    User,
    /// The nearest `.env`
    DotEnv,
    /// The nearest `sluice.toml`, which nobody named
    Folder,
}

impl Source {
    /// Whether it is a file that was found and not named, so that it may be a stranger's.
    pub(super) fn is_found(self) -> bool {
        self != Self::User
    }
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::User => "the environment",
            Self::DotEnv => ".env",
            Self::Folder => "sluice.toml",
        })
    }
}

/// What to log, from `SLUICE_LOG`: `debug`, or `sluice=debug,hyper=info`. The log starts before any file is read.
#[expect(
    clippy::disallowed_methods,
    reason = "this module reads the environment"
)]
pub fn log_filter() -> Option<String> {
    let filter = std::env::var("SLUICE_LOG").ok();
    filter.filter(|filter| !filter.trim().is_empty())
}

/// Whether the spans of runs are sent to a collector, by OpenTelemetry's own variables. Its exporter reads the rest of
/// them. A `.env` has no say, because it may be a stranger's.
#[cfg(feature = "otel")]
#[expect(
    clippy::disallowed_methods,
    reason = "this module reads the environment"
)]
pub fn exports_traces() -> bool {
    let value = |name: &str| std::env::var(name).unwrap_or_default();
    let is = |name: &str, wanted: &str| value(name).trim().eq_ignore_ascii_case(wanted);
    let is_set = |name: &str| !value(name).trim().is_empty();
    if is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none") {
        return false;
    }
    is("OTEL_TRACES_EXPORTER", "otlp")
        || is_set("OTEL_EXPORTER_OTLP_ENDPOINT")
        || is_set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
}

impl Environment {
    /// Reads the environment of the process, and the nearest `.env`.
    ///
    /// No line of `.env` stops a command: other programs read the file, too. Lines that cannot be read are logged.
    pub fn read() -> Self {
        let mut variables = HashMap::new();
        let file = nearest(".env");
        for (name, value) in file.as_deref().map(read_file).unwrap_or_default() {
            variables.insert(name, (value, Source::DotEnv));
        }
        for (name, value) in std::env::vars_os() {
            if let (Ok(name), Ok(value)) = (name.into_string(), value.into_string()) {
                variables.insert(name, (value, Source::User));
            }
        }
        Self {
            variables,
            allows_http: false,
        }
    }

    /// Whether keys may be sent over plain `http://` to hosts outside this machine and private networks.
    #[must_use]
    pub fn allow_http(mut self, allow: bool) -> Self {
        self.allows_http = allow;
        self
    }

    pub(super) fn allows_http(&self) -> bool {
        self.allows_http
    }

    /// The value of a variable. An empty one counts as unset.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.find(name).map(|(value, _)| value)
    }

    /// The value of a variable, and where it comes from.
    pub(super) fn find(&self, name: &str) -> Option<(&str, Source)> {
        let (value, source) = self.variables.get(name)?;
        let value = value.trim();
        (!value.is_empty()).then_some((value, *source))
    }

    /// The first of these variables that is set: its name, its value, and where it comes from.
    pub(super) fn first<'n>(&self, names: &[&'n str]) -> Option<(&'n str, &str, Source)> {
        let found = names.iter().map(|name| (*name, self.find(name)));
        let mut set =
            found.filter_map(|(name, found)| found.map(|(value, from)| (name, value, from)));
        set.next()
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        let variables = variables
            .into_iter()
            .map(|(name, value)| (name.into(), (value.into(), Source::User)));
        Self {
            variables: variables.collect(),
            allows_http: false,
        }
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_set()
            .entries(self.variables.keys())
            .finish()
    }
}

/// A line of `.env` that cannot be read. It has no text of the line, which may contain a key.
#[derive(Debug, PartialEq, Eq)]
struct SkippedLine {
    number: usize,
    /// The variable, if it is one of ours.
    name: Option<&'static str>,
}

fn read_file(path: &Path) -> Vec<(String, String)> {
    let shown = path.display();
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) => {
            tracing::warn!("failed to read {shown}, so it is left out: {error}");
            return Vec::new();
        }
    };
    if crate::text::is_utf16(&bytes) {
        tracing::warn!(
            "{shown} is UTF-16, so it is left out; to convert it: iconv -f UTF-16 -t UTF-8 {shown}"
        );
        return Vec::new();
    }
    let (variables, skipped) = parse(&bytes);
    for SkippedLine { number, name } in skipped {
        if let Some(name) = name {
            tracing::warn!(
                "line {number} of {shown} is left out: {name} is not NAME=value on one line \
                 (quote values that contain spaces or #)"
            );
        } else {
            tracing::info!("line {number} of {shown} is left out: it is not NAME=value");
        }
    }
    variables
}

/// The variables of a `.env`, and the lines that are none. Each line is read alone, so that an open quote in one
/// does not swallow those below it.
fn parse(bytes: &[u8]) -> (Vec<(String, String)>, Vec<SkippedLine>) {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let (mut good, mut skipped) = (Vec::new(), Vec::new());
    for (at, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        // The parser refuses a last line that ends in white space.
        let line = [line.trim_ascii_end(), b"\n"].concat();
        let entries = dotenvy::from_read_iter(line.as_slice());
        if std::str::from_utf8(&line).is_ok() && entries.into_iter().all(|entry| entry.is_ok()) {
            good.extend(line);
        } else {
            let number = at + 1;
            let name = ours(&String::from_utf8_lossy(&line));
            skipped.push(SkippedLine { number, name });
        }
    }
    // Together, so that a value may refer to those above it.
    let variables = dotenvy::from_read_iter(good.as_slice()).filter_map(Result::ok);
    (variables.collect(), skipped)
}

/// The name of the variable that a line is about, if it is one of ours.
fn ours(line: &str) -> Option<&'static str> {
    let line = line.trim_start();
    let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
    let (name, _) = line.split_once('=')?;
    OURS.iter().find(|ours| **ours == name.trim_end()).copied()
}

/// The file of this name in the current folder, or in the nearest folder above it up to the root of its repository.
/// Outside a repository, only the current folder counts.
pub(super) fn nearest(name: &str) -> Option<PathBuf> {
    let here = std::env::current_dir().ok()?;
    let is_file = |path: &PathBuf| path.exists() && !path.is_dir();
    let of_here = PathBuf::from(name);
    if is_file(&of_here) {
        return Some(of_here);
    }
    let root = here
        .ancestors()
        .find(|folder| folder.join(".git").exists())?;
    let folders = here
        .ancestors()
        .take_while(|folder| folder.starts_with(root));
    folders.map(|folder| folder.join(name)).find(is_file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_variable_counts_as_unset() {
        let environment = Environment::from_iter([("A", " "), ("B", "b")]);
        assert_eq!(environment.get("A"), None);
        let first = environment.first(&["A", "B"]);
        assert_eq!(first, Some(("B", "b", Source::User)));
    }

    #[test]
    fn debug_form_hides_values() {
        let environment = Environment::from_iter([("OPENAI_API_KEY", "sk-hidden")]);
        let shown = format!("{environment:?}");
        assert!(shown.contains("OPENAI_API_KEY") && !shown.contains("sk-hidden"));
    }

    #[test]
    fn broken_lines_are_skipped_one_by_one() {
        let file = "\u{feff}SUPABASE_URL=https://${HOST}.test\nAPP_NAME=My App\r\nMOTD=It's here\n\
            HOST=a\nPOSTGREST_URL=https://${HOST}.test # ours\r\nKEY=\"-----BEGIN\nabc\n-----END\"\n\
            export OPENAI_API_KEY=two words\nOPENAI_BASE_URL='https://b.test'  \n\n# comment\nD=4 ";
        let mut bytes = file.as_bytes().to_vec();
        bytes.extend(b"\nNAME=caf\xe9");
        let (variables, skipped) = parse(&bytes);
        let of = |name: &str| {
            let mut found = variables.iter().filter(|(other, _)| other == name);
            found.next().map(|(_, value)| value.as_str())
        };
        assert_eq!(of("SUPABASE_URL"), Some("https://.test"));
        assert_eq!(of("POSTGREST_URL"), Some("https://a.test"));
        assert_eq!(of("OPENAI_BASE_URL"), Some("https://b.test"));
        assert_eq!(of("D"), Some("4"));
        let at: Vec<_> = skipped.iter().map(|line| line.number).collect();
        assert_eq!(at, [2, 3, 6, 7, 8, 9, 14]);
        let named: Vec<_> = skipped.iter().filter_map(|line| line.name).collect();
        assert_eq!(named, ["OPENAI_API_KEY"]);
    }
}
