//! Checked settings: what the rest of the program may rely on.

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::SecretString;

use super::raw::{Overlong, Raw, RawEmbedding, RawLeases, RawLimits, RawOpenAi, RawSupabase};
use super::{ConfigError, Environment};
use crate::provider::{DEFAULT_BASE_URL, KeyHeader, MAX_INPUTS, Price, VectorEncoding};
use crate::scoring::Rubric;

/// Everything that can be configured, checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the database is; `None` until configured.
    pub database: Option<DatabaseSettings>,
    /// The provider.
    pub openai: OpenAiSettings,
    /// The embed flow.
    pub embedding: EmbeddingSettings,
    /// How fast to go.
    pub limits: LimitSettings,
    /// How rows are leased and tried again.
    pub leases: LeaseSettings,
    /// The rubric.
    pub rubric: Rubric,
    /// Prices that override the table.
    pub prices: BTreeMap<String, Price>,
    /// The app whose cache is told of a cut-over, where configured.
    pub app: Option<AppHook>,
}

/// Where the database is.
#[derive(Debug, Clone)]
pub struct DatabaseSettings {
    /// PostgREST's root, such as `https://abc.supabase.co/rest/v1`.
    pub postgrest_url: String,
    /// The service key.
    pub key: SecretString,
    /// The schema of the tables.
    pub schema: String,
}

/// The provider.
#[derive(Debug, Clone)]
pub struct OpenAiSettings {
    /// The API's base URL, without a slash at its end.
    pub base_url: String,
    /// The key; `None` until configured.
    pub key: Option<SecretString>,
    /// The header that carries the key.
    pub key_header: KeyHeader,
    /// Added to every address as `api-version`.
    pub api_version: Option<String>,
    /// When a request is given up.
    pub timeout: Duration,
    /// How long to go on while the provider is overloaded or unreachable.
    pub patience: Duration,
}

/// The embed flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddingSettings {
    /// The model.
    pub model: String,
    /// The dimensions of its vectors.
    pub dimensions: u32,
    /// Inputs a request.
    pub batch_size: u32,
    /// Rows claimed at once.
    pub chunk_size: u32,
    /// How vectors are asked for.
    pub encoding_format: VectorEncoding,
    /// Whether the dimensions are sent; `None` = the model's name decides.
    pub send_dimensions: Option<bool>,
    /// What is embedded of a text that is longer than the provider takes.
    pub overlong: Overlong,
}

/// How fast to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitSettings {
    /// Requests a minute; `None` = told by the provider's first answer.
    pub requests_per_minute: Option<u32>,
    /// Tokens a minute; `None` = told by the provider's first answer.
    pub tokens_per_minute: Option<u32>,
    /// Requests in flight at once.
    pub concurrency: u32,
}

/// How rows are leased and tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseSettings {
    /// How long a lease holds without a heartbeat.
    pub lease: Duration,
    /// Attempts until a row is set aside.
    pub max_attempts: u32,
    /// Before the second attempt; doubled for each further one.
    pub backoff: Duration,
}

/// The app whose cache of the active weights is told of a cut-over.
#[derive(Debug, Clone)]
pub struct AppHook {
    /// The app's URL, without a slash at its end.
    pub url: String,
    /// The secret that it expects in `x-internal-secret`.
    pub secret: SecretString,
}

impl DatabaseSettings {
    /// The schema `public` of a Supabase project, whose PostgREST is at `/rest/v1`.
    pub fn of_project(url: &str, key: SecretString) -> Self {
        let url = url.trim_end_matches(['/', ' ']);
        let root = url.strip_suffix(REST_PATH).unwrap_or(url);
        Self {
            postgrest_url: format!("{root}{REST_PATH}"),
            key,
            schema: "public".to_owned(),
        }
    }
}

/// The path of PostgREST in a Supabase project.
const REST_PATH: &str = "/rest/v1";

const KEY_VARIABLES: [&str; 3] = [
    "SUPABASE_SERVICE_KEY",
    "SUPABASE_SECRET_KEY",
    "SUPABASE_SERVICE_ROLE_KEY",
];

impl Settings {
    /// Checks a raw configuration together with the environment.
    ///
    /// # Errors
    /// The first value that is out of bounds, by its key.
    pub fn check(raw: Raw, environment: &Environment) -> Result<Self, ConfigError> {
        raw.scoring.check()?;
        Ok(Self {
            database: check_database(raw.supabase, environment)?,
            openai: check_openai(raw.openai, environment)?,
            embedding: check_embedding(raw.embedding, environment)?,
            limits: check_limits(&raw.limits, environment)?,
            leases: check_leases(&raw.leases)?,
            rubric: raw.scoring,
            prices: raw.prices,
            app: check_app(environment)?,
        })
    }

    /// Where the database is.
    ///
    /// # Errors
    /// Where it is not configured.
    pub fn database(&self) -> Result<&DatabaseSettings, ConfigError> {
        self.database.as_ref().ok_or(ConfigError::Missing {
            what: "SUPABASE_URL",
            way_out: "set SUPABASE_URL and SUPABASE_SERVICE_KEY (or put them into .env); \
                      `sluice local up` runs a Supabase on this machine and prints both",
        })
    }

    /// The provider's key.
    ///
    /// # Errors
    /// Where it is not configured.
    pub fn openai_key(&self) -> Result<&SecretString, ConfigError> {
        self.openai.key.as_ref().ok_or(ConfigError::Missing {
            what: "OPENAI_API_KEY",
            way_out: "set it to your key; or run `sluice simulate`, and set OPENAI_BASE_URL to the \
                      address that it prints and OPENAI_API_KEY to any word",
        })
    }
}

fn check_database(
    raw: RawSupabase,
    environment: &Environment,
) -> Result<Option<DatabaseSettings>, ConfigError> {
    let project = environment.get("SUPABASE_URL").map(str::to_owned);
    let plain = environment.get("POSTGREST_URL").map(str::to_owned);
    // Within one source the plain PostgREST URL is the more specific; the environment precedes the file.
    let postgrest_url = match (plain, project, raw.postgrest_url, raw.url) {
        (Some(plain), ..) => check_url("POSTGREST_URL", &plain)?,
        (_, Some(project), ..) => rest_url("SUPABASE_URL", &project)?,
        (_, _, Some(plain), _) => check_url("supabase.postgrest_url", &plain)?,
        (.., Some(project)) => rest_url("supabase.url", &project)?,
        _ => return Ok(None),
    };
    let Some((_, key)) = environment.first(&KEY_VARIABLES) else {
        return Err(ConfigError::Missing {
            what: "SUPABASE_SERVICE_KEY",
            way_out: "set it to the project's secret key (Supabase: Settings, API keys); \
                      SUPABASE_SECRET_KEY and SUPABASE_SERVICE_ROLE_KEY are read too",
        });
    };
    let schema = raw.schema.unwrap_or_else(|| "public".to_owned());
    Ok(Some(DatabaseSettings {
        postgrest_url,
        key: SecretString::from(key),
        schema,
    }))
}

fn check_openai(raw: RawOpenAi, environment: &Environment) -> Result<OpenAiSettings, ConfigError> {
    let base_url = match (environment.get("OPENAI_BASE_URL"), raw.base_url) {
        (Some(url), _) => check_url("OPENAI_BASE_URL", url)?,
        (None, Some(url)) => check_url("openai.base_url", &url)?,
        (None, None) => DEFAULT_BASE_URL.to_owned(),
    };
    let timeout = bounded(
        "openai.timeout_seconds",
        raw.timeout_seconds,
        120,
        1..=3_600,
    )?;
    let patience = bounded(
        "openai.patience_seconds",
        raw.patience_seconds,
        600,
        1..=86_400,
    )?;
    Ok(OpenAiSettings {
        base_url,
        key: environment.get("OPENAI_API_KEY").map(SecretString::from),
        key_header: raw.key_header.unwrap_or_default(),
        api_version: raw.api_version,
        timeout: Duration::from_secs(timeout),
        patience: Duration::from_secs(patience),
    })
}

fn check_embedding(
    raw: RawEmbedding,
    environment: &Environment,
) -> Result<EmbeddingSettings, ConfigError> {
    let model = environment
        .get("EMBEDDING_MODEL")
        .map(str::to_owned)
        .or(raw.model);
    let batch_size = number(environment, "EMBEDDING_BATCH_SIZE")?.or(raw.batch_size);
    let chunk_size = number(environment, "EMBEDDING_CHUNK_SIZE")?.or(raw.chunk_size);
    let most_inputs = u32::try_from(MAX_INPUTS).unwrap_or(u32::MAX);
    Ok(EmbeddingSettings {
        model: model.unwrap_or_else(|| "text-embedding-3-small".to_owned()),
        dimensions: bounded("embedding.dimensions", raw.dimensions, 1_536, 1..=16_000)?,
        batch_size: bounded("embedding.batch_size", batch_size, 100, 1..=most_inputs)?,
        chunk_size: bounded("embedding.chunk_size", chunk_size, 500, 1..=10_000)?,
        encoding_format: raw.encoding_format.unwrap_or_default(),
        send_dimensions: raw.send_dimensions,
        overlong: raw.overlong.unwrap_or_default(),
    })
}

fn check_limits(raw: &RawLimits, environment: &Environment) -> Result<LimitSettings, ConfigError> {
    let requests = number(environment, "OPENAI_RPM")?.or(raw.requests_per_minute);
    let tokens = number(environment, "OPENAI_TPM")?.or(raw.tokens_per_minute);
    let positive = |key: &str, value: Option<u32>| match value {
        Some(0) => Err(ConfigError::invalid(
            key,
            "must be above 0 (leave it out for no limit)",
        )),
        value => Ok(value),
    };
    Ok(LimitSettings {
        requests_per_minute: positive("limits.requests_per_minute", requests)?,
        tokens_per_minute: positive("limits.tokens_per_minute", tokens)?,
        concurrency: bounded("limits.concurrency", raw.concurrency, 16, 1..=512)?,
    })
}

fn check_leases(raw: &RawLeases) -> Result<LeaseSettings, ConfigError> {
    let seconds = bounded("leases.seconds", raw.seconds, 90, 5..=3_600)?;
    let backoff = bounded("leases.backoff_seconds", raw.backoff_seconds, 2, 1..=3_600)?;
    Ok(LeaseSettings {
        lease: Duration::from_secs(seconds.into()),
        max_attempts: bounded("leases.max_attempts", raw.max_attempts, 5, 1..=100)?,
        backoff: Duration::from_secs(backoff.into()),
    })
}

fn check_app(environment: &Environment) -> Result<Option<AppHook>, ConfigError> {
    let (Some(url), Some(secret)) = (
        environment.get("APP_URL"),
        environment.get("INTERNAL_API_SECRET"),
    ) else {
        return Ok(None);
    };
    Ok(Some(AppHook {
        url: check_url("APP_URL", url)?,
        secret: SecretString::from(secret),
    }))
}

fn rest_url(key: &str, url: &str) -> Result<String, ConfigError> {
    let url = check_url(key, url)?;
    Ok(if url.ends_with("/rest/v1") {
        url
    } else {
        format!("{url}/rest/v1")
    })
}

fn check_url(key: &str, url: &str) -> Result<String, ConfigError> {
    let parsed = reqwest::Url::parse(url)
        .map_err(|error| ConfigError::invalid(key, format!("is not a URL: {error}")))?;
    if !matches!(parsed.scheme(), "http" | "https") || parsed.host().is_none() {
        return Err(ConfigError::invalid(
            key,
            "must start with https:// or http:// and name a host",
        ));
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(ConfigError::invalid(
            key,
            "must not hold a user or password",
        ));
    }
    Ok(url.trim_end_matches('/').to_owned())
}

fn number(environment: &Environment, name: &str) -> Result<Option<u32>, ConfigError> {
    let Some(text) = environment.get(name) else {
        return Ok(None);
    };
    let number = text.parse();
    number
        .map(Some)
        .map_err(|_| ConfigError::invalid(name, format!("`{text}` is not a whole number")))
}

fn bounded<N>(
    key: &str,
    value: Option<N>,
    default: N,
    range: std::ops::RangeInclusive<N>,
) -> Result<N, ConfigError>
where
    N: PartialOrd + Copy + std::fmt::Display,
{
    let value = value.unwrap_or(default);
    if range.contains(&value) {
        return Ok(value);
    }
    let (low, high) = (range.start(), range.end());
    Err(ConfigError::invalid(
        key,
        format!("is {value}, must be from {low} to {high}"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(toml: &str, variables: &[(&str, &str)]) -> Result<Settings, ConfigError> {
        let raw = toml::from_str(toml).unwrap();
        Settings::check(raw, &variables.iter().copied().collect())
    }

    #[test]
    fn the_defaults_are_those_of_the_guide() {
        let settings = check("", &[]).unwrap();
        assert_eq!(settings.embedding.model, "text-embedding-3-small");
        assert_eq!(
            (settings.embedding.batch_size, settings.embedding.chunk_size),
            (100, 500)
        );
        assert_eq!(settings.openai.base_url, "https://api.openai.com/v1");
        assert!(settings.database.is_none());
    }

    #[test]
    fn the_environment_precedes_the_file() {
        let file = "[embedding]\nbatch_size = 7\nmodel = 'a'";
        let settings = check(file, &[("EMBEDDING_BATCH_SIZE", "9")]).unwrap();
        assert_eq!(settings.embedding.batch_size, 9);
        assert_eq!(settings.embedding.model, "a");
    }

    #[test]
    fn a_project_url_gets_the_rest_path_and_a_plain_one_does_not() {
        let url = |variables: &[(&str, &str)]| {
            check("", variables)
                .unwrap()
                .database
                .unwrap()
                .postgrest_url
        };
        let key = ("SUPABASE_SERVICE_ROLE_KEY", "k");
        assert_eq!(
            url(&[("SUPABASE_URL", "https://a.supabase.co/"), key]),
            "https://a.supabase.co/rest/v1"
        );
        assert_eq!(
            url(&[("SUPABASE_URL", "https://a.b/rest/v1"), key]),
            "https://a.b/rest/v1"
        );
        assert_eq!(
            url(&[("POSTGREST_URL", "http://localhost:3000"), key]),
            "http://localhost:3000"
        );
    }

    #[test]
    fn a_url_without_a_key_says_which_variable_to_set() {
        let error = check("", &[("SUPABASE_URL", "https://a.supabase.co")]).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("SUPABASE_SERVICE_KEY is not set"),
            "{error}"
        );
    }

    #[test]
    fn other_providers_are_a_matter_of_configuration() {
        let file = "[openai]\nkey_header = 'api-key'\napi_version = '2024-10-21'\n\
            [embedding]\nencoding_format = 'float'\nsend_dimensions = true\noverlong = 'average'";
        let settings = check(file, &[]).unwrap();
        assert_eq!(settings.openai.key_header, KeyHeader::ApiKey);
        assert_eq!(settings.openai.api_version.as_deref(), Some("2024-10-21"));
        assert_eq!(settings.embedding.encoding_format, VectorEncoding::Float);
        assert_eq!(settings.embedding.send_dimensions, Some(true));
        assert_eq!(settings.embedding.overlong, Overlong::Average);
        let defaults = check("", &[]).unwrap();
        assert_eq!(defaults.openai.key_header, KeyHeader::Authorization);
        assert_eq!(defaults.embedding.encoding_format, VectorEncoding::Base64);
        assert_eq!(defaults.embedding.overlong, Overlong::Cut);
    }

    #[test]
    fn values_out_of_bounds_are_named_by_their_key() {
        let error = check("[embedding]\nbatch_size = 4096", &[]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "embedding.batch_size: is 4096, must be from 1 to 2048"
        );
        let error = check("", &[("OPENAI_TPM", "fast")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "OPENAI_TPM: `fast` is not a whole number"
        );
        let error = check("", &[("OPENAI_BASE_URL", "api.openai.com")]).unwrap_err();
        assert!(
            error.to_string().starts_with("OPENAI_BASE_URL: "),
            "{error}"
        );
    }

    #[test]
    fn no_secret_is_in_the_debug_form() {
        let variables = [
            ("SUPABASE_URL", "https://a.b"),
            ("SUPABASE_SERVICE_KEY", "hide-1"),
            ("OPENAI_API_KEY", "hide-2"),
        ];
        let shown = format!("{:?}", check("", &variables).unwrap());
        assert!(!shown.contains("hide-"), "{shown}");
    }
}
