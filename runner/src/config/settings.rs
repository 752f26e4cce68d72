//! Checked settings, on which the rest of the program relies.

use std::time::Duration;

use secrecy::SecretString;

use super::address::Address;
use super::bound::{bounded, number};
use super::environment::Source;
use super::raw::{RawConfig, RawLeases, RawOpenAi, RawSupabase, models};
use super::section::{BatchSettings, BudgetSettings, EmbeddingSettings, LimitSettings, most};
use super::{ConfigError, Environment, Workflow};
use crate::provider::batch::MAX_BATCH_REQUESTS;
use crate::provider::{ChatApi, DEFAULT_BASE_URL, KeyHeader, MAX_INPUTS, Models, ServiceTier};
use crate::scoring::Rubric;

/// All settings, checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The database; `None` if it is not configured.
    pub database: Option<DatabaseSettings>,
    /// The provider.
    pub openai: OpenAiSettings,
    /// The embed flow.
    pub embedding: EmbeddingSettings,
    /// The rate limits.
    pub limits: LimitSettings,
    /// How rows are leased and retried.
    pub leases: LeaseSettings,
    /// What all runners together may spend.
    pub budget: BudgetSettings,
    /// Batches at the provider.
    pub batch: BatchSettings,
    /// The rubric.
    pub rubric: Rubric,
    /// What models take and cost.
    pub models: Models,
    /// What `sluice run` does.
    pub workflow: Workflow,
    /// The app to notify of a cut-over, if one is configured.
    pub app: Option<AppHook>,
    /// Keys of the environment that go to an address from a file of the current folder.
    pub notices: Vec<String>,
}

/// The database.
#[derive(Debug, Clone)]
pub struct DatabaseSettings {
    /// PostgREST's root, such as `https://abc.supabase.co/rest/v1`.
    pub postgrest_url: String,
    /// The service key.
    pub key: SecretString,
    /// The schema of the tables.
    pub schema: String,
    /// How long to wait for a database that does not answer.
    pub patience: Duration,
}

/// The provider.
#[derive(Debug, Clone)]
pub struct OpenAiSettings {
    /// The API's base URL, without a slash at its end.
    pub base_url: String,
    /// The key; `None` if it is not configured.
    pub key: Option<SecretString>,
    /// The header of the key.
    pub key_header: KeyHeader,
    /// Added to every URL as `api-version`.
    pub api_version: Option<String>,
    /// The API that scores are requested from.
    pub api: ChatApi,
    /// The tier of requests that score.
    pub service_tier: Option<ServiceTier>,
    /// Whether a request goes to the standard tier if `flex` has no capacity.
    pub flex_fallback: bool,
    /// When a request times out.
    pub timeout: Duration,
    /// How long to wait for a provider that is overloaded or unreachable.
    pub patience: Duration,
}

/// How rows are leased and retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseSettings {
    /// How long a lease lasts without a heartbeat.
    pub lease: Duration,
    /// Attempts until a row becomes a dead letter.
    pub max_attempts: u32,
    /// The pause before the second attempt; doubled for each further one.
    pub backoff: Duration,
}

/// The app whose cache of the active weights is notified of a cut-over.
#[derive(Debug, Clone)]
pub struct AppHook {
    /// The app's URL, without a slash at its end.
    pub url: String,
    /// The secret that it expects in `x-internal-secret`.
    pub secret: SecretString,
}

const KEY_VARIABLES: [&str; 3] = [
    "SUPABASE_SERVICE_KEY",
    "SUPABASE_SECRET_KEY",
    "SUPABASE_SERVICE_ROLE_KEY",
];

const NO_DATABASE: &str = if cfg!(feature = "local") {
    "set SUPABASE_URL and SUPABASE_SERVICE_KEY (or put them into .env); \
     `sluice local up` runs a Supabase on this machine and prints both"
} else {
    "set SUPABASE_URL and SUPABASE_SERVICE_KEY (or put them into .env)"
};

const NO_OPENAI_KEY: &str = if cfg!(feature = "simulator") {
    "set it to your key; or run `sluice simulate`, and set OPENAI_BASE_URL to the URL that it prints \
     and OPENAI_API_KEY to any word"
} else {
    "set it to your key"
};

/// How long either service is waited for, unless the file says otherwise.
const PATIENCE: Duration = Duration::from_secs(600);

/// The path of PostgREST in a Supabase project.
const REST_PATH: &str = "/rest/v1";

impl Settings {
    /// Checks a configuration file together with the environment.
    ///
    /// # Errors
    /// The first invalid value, with its key.
    pub fn check(raw: RawConfig, environment: &Environment) -> Result<Self, ConfigError> {
        raw.scoring.check()?;
        let (file, mut notices) = (raw.source, Vec::new());
        let settings = Self {
            database: check_database(raw.supabase, file, environment, &mut notices)?,
            openai: check_openai(raw.openai, file, environment, &mut notices)?,
            embedding: check_embedding(raw.embedding, environment)?,
            limits: check_limits(raw.limits, environment)?,
            leases: check_leases(&raw.leases)?,
            budget: check_budget(raw.budget)?,
            batch: check_batch(raw.batch)?,
            rubric: raw.scoring,
            models: models(raw.models, raw.prices)?,
            workflow: raw.workflow.check()?,
            app: check_app(environment, &mut notices)?,
            notices,
        };
        settings.check_model(&settings.rubric)?;
        Ok(settings)
    }

    /// The database.
    ///
    /// # Errors
    /// If it is not configured.
    pub fn database(&self) -> Result<&DatabaseSettings, ConfigError> {
        self.database.as_ref().ok_or(ConfigError::Missing {
            what: "SUPABASE_URL",
            way_out: NO_DATABASE,
        })
    }

    /// The provider's key.
    ///
    /// # Errors
    /// If it is not configured.
    pub fn openai_key(&self) -> Result<&SecretString, ConfigError> {
        self.openai.key.as_ref().ok_or(ConfigError::Missing {
            what: "OPENAI_API_KEY",
            way_out: NO_OPENAI_KEY,
        })
    }
}

impl DatabaseSettings {
    /// The schema `public` of a Supabase project, whose PostgREST is at `/rest/v1`.
    pub fn of_project(url: &str, key: SecretString) -> Self {
        let root = url.strip_suffix(REST_PATH).unwrap_or(url);
        Self {
            postgrest_url: format!("{root}{REST_PATH}"),
            key,
            schema: "public".to_owned(),
            patience: PATIENCE,
        }
    }
}

fn check_database(
    raw: RawSupabase,
    file: Source,
    environment: &Environment,
    notices: &mut Vec<String>,
) -> Result<Option<DatabaseSettings>, ConfigError> {
    let in_file = |key: &'static str, value: Option<String>| Some((key, value?));
    // A PostgREST URL is more specific than a project's. The environment overrides the file.
    let mut address = Address::of_variables(environment, &["POSTGREST_URL", "SUPABASE_URL"])?;
    if address.is_none() {
        address = in_file("supabase.postgrest_url", raw.postgrest_url)
            .or_else(|| in_file("supabase.url", raw.url))
            .map(|(name, url)| Address::check(environment, name, &url, file))
            .transpose()?;
    }
    let Some(address) = address else {
        return Ok(None);
    };
    let (variable, key, source) =
        environment
            .first(&KEY_VARIABLES)
            .ok_or(ConfigError::Missing {
                what: "SUPABASE_SERVICE_KEY",
                way_out: "set it to the project's secret key (Supabase: Settings, API keys); \
                      SUPABASE_SECRET_KEY and SUPABASE_SERVICE_ROLE_KEY are read too",
            })?;
    notices.extend(address.notice(variable, source));
    let mut settings = DatabaseSettings::of_project(&address.url, key.into());
    if address.is_named("POSTGREST_URL") || address.is_named("supabase.postgrest_url") {
        settings.postgrest_url = address.url;
    }
    settings.schema = raw.schema.unwrap_or(settings.schema);
    settings.patience = patience("supabase.patience_seconds", raw.patience_seconds)?;
    Ok(Some(settings))
}

fn check_openai(
    raw: RawOpenAi,
    file: Source,
    environment: &Environment,
    notices: &mut Vec<String>,
) -> Result<OpenAiSettings, ConfigError> {
    let address = match Address::of_variables(environment, &["OPENAI_BASE_URL"])? {
        Some(address) => Some(address),
        None => raw
            .base_url
            .map(|url| Address::check(environment, "openai.base_url", &url, file))
            .transpose()?,
    };
    let key = environment.find("OPENAI_API_KEY");
    let notice = |address: &Address<'_>| address.notice("OPENAI_API_KEY", key?.1);
    notices.extend(address.as_ref().and_then(notice));
    let base_url = address.map_or_else(|| DEFAULT_BASE_URL.to_owned(), |address| address.url);
    let usual_timeout = match raw.service_tier {
        Some(ServiceTier::Flex) => 900,
        _ => 120,
    };
    let timeout = raw.timeout_seconds.unwrap_or(usual_timeout);
    let timeout = bounded("openai.timeout_seconds", timeout, 1..=3_600)?;
    Ok(OpenAiSettings {
        base_url,
        key: key.map(|(key, _)| SecretString::from(key)),
        key_header: raw.key_header.unwrap_or_default(),
        api_version: raw.api_version,
        api: raw.api.unwrap_or_default(),
        service_tier: raw.service_tier,
        flex_fallback: raw.flex_fallback.unwrap_or_default(),
        timeout: Duration::from_secs(timeout),
        patience: patience("openai.patience_seconds", raw.patience_seconds)?,
    })
}

fn patience(key: &str, seconds: Option<u64>) -> Result<Duration, ConfigError> {
    let seconds = seconds.unwrap_or(PATIENCE.as_secs());
    bounded(key, seconds, 1..=86_400).map(Duration::from_secs)
}

fn check_embedding(
    mut settings: EmbeddingSettings,
    environment: &Environment,
) -> Result<EmbeddingSettings, ConfigError> {
    if let Some(model) = environment.get("EMBEDDING_MODEL") {
        model.clone_into(&mut settings.model);
    }
    if let Some(size) = number(environment, "EMBEDDING_BATCH_SIZE")? {
        settings.batch_size = size;
    }
    if let Some(size) = number(environment, "EMBEDDING_CHUNK_SIZE")? {
        settings.chunk_size = size;
    }
    let most_inputs = u32::try_from(MAX_INPUTS).unwrap_or(u32::MAX);
    bounded("embedding.dimensions", settings.dimensions, 1..=16_000)?;
    bounded("embedding.batch_size", settings.batch_size, 1..=most_inputs)?;
    bounded("embedding.chunk_size", settings.chunk_size, 1..=10_000)?;
    Ok(settings)
}

fn check_limits(
    mut settings: LimitSettings,
    environment: &Environment,
) -> Result<LimitSettings, ConfigError> {
    let requests = number(environment, "OPENAI_RPM")?.or(settings.requests_per_minute);
    let tokens = number(environment, "OPENAI_TPM")?.or(settings.tokens_per_minute);
    for (key, value) in [
        ("limits.requests_per_minute", requests),
        ("limits.tokens_per_minute", tokens),
    ] {
        if value == Some(0) {
            let message = "must be above 0 (leave it out for no limit)";
            return Err(ConfigError::invalid(key, message));
        }
    }
    (settings.requests_per_minute, settings.tokens_per_minute) = (requests, tokens);
    bounded("limits.concurrency", settings.concurrency, 1..=512)?;
    Ok(settings)
}

fn check_leases(raw: &RawLeases) -> Result<LeaseSettings, ConfigError> {
    let seconds = bounded("leases.seconds", raw.seconds.unwrap_or(90), 5..=3_600)?;
    let backoff = raw.backoff_seconds.unwrap_or(2);
    let backoff = bounded("leases.backoff_seconds", backoff, 1..=3_600)?;
    Ok(LeaseSettings {
        lease: Duration::from_secs(seconds.into()),
        max_attempts: bounded(
            "leases.max_attempts",
            raw.max_attempts.unwrap_or(5),
            1..=100,
        )?,
        backoff: Duration::from_secs(backoff.into()),
    })
}

fn check_batch(settings: BatchSettings) -> Result<BatchSettings, ConfigError> {
    bounded(
        "batch.requests",
        settings.requests,
        1..=most(MAX_BATCH_REQUESTS),
    )?;
    Ok(settings)
}

fn check_budget(settings: BudgetSettings) -> Result<BudgetSettings, ConfigError> {
    for (key, usd) in [
        ("budget.usd_per_day", settings.usd_per_day),
        ("budget.usd_per_month", settings.usd_per_month),
    ] {
        if usd.is_some_and(|usd| !usd.is_finite() || usd <= 0.0) {
            let message = "must be above 0 (leave it out for no limit)";
            return Err(ConfigError::invalid(key, message));
        }
    }
    Ok(settings)
}

fn check_app(
    environment: &Environment,
    notices: &mut Vec<String>,
) -> Result<Option<AppHook>, ConfigError> {
    let Some((secret, source)) = environment.find("INTERNAL_API_SECRET") else {
        return Ok(None);
    };
    let Some(address) = Address::of_variables(environment, &["APP_URL"])? else {
        return Ok(None);
    };
    notices.extend(address.notice("INTERNAL_API_SECRET", source));
    Ok(Some(AppHook {
        url: address.url,
        secret: SecretString::from(secret),
    }))
}

#[cfg(test)]
mod tests {
    use super::super::OversizedPolicy;
    use super::*;
    use crate::provider::VectorEncoding;

    fn check(toml: &str, variables: &[(&str, &str)]) -> Result<Settings, ConfigError> {
        let raw = toml::from_str(toml).unwrap();
        Settings::check(raw, &variables.iter().copied().collect())
    }

    #[test]
    fn defaults_are_those_of_the_guide() {
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
    fn environment_overrides_the_file() {
        let file = "[embedding]\nbatch_size = 7\nmodel = 'a'";
        let settings = check(file, &[("EMBEDDING_BATCH_SIZE", "9")]).unwrap();
        assert_eq!(settings.embedding.batch_size, 9);
        assert_eq!(settings.embedding.model, "a");
    }

    #[test]
    fn project_url_gets_the_rest_path_and_postgrest_url_does_not() {
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
    fn url_without_a_key_says_which_variable_to_set() {
        let error = check("", &[("SUPABASE_URL", "https://a.supabase.co")]).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("SUPABASE_SERVICE_KEY is not set"),
            "{error}"
        );
    }

    #[test]
    fn settings_of_other_providers_are_read() {
        let file = "[openai]\nkey_header = 'api-key'\napi_version = '2024-10-21'\n\
            [embedding]\nencoding_format = 'float'\nsend_dimensions = true\noversized = 'average'";
        let settings = check(file, &[]).unwrap();
        assert_eq!(settings.openai.key_header, KeyHeader::ApiKey);
        assert_eq!(settings.openai.api_version.as_deref(), Some("2024-10-21"));
        assert_eq!(settings.embedding.encoding_format, VectorEncoding::Float);
        assert_eq!(settings.embedding.send_dimensions, Some(true));
        assert_eq!(settings.embedding.oversized, OversizedPolicy::Average);
        let defaults = check("", &[]).unwrap();
        assert_eq!(defaults.openai.key_header, KeyHeader::Authorization);
        assert_eq!(defaults.embedding.encoding_format, VectorEncoding::Base64);
        assert_eq!(defaults.embedding.oversized, OversizedPolicy::Truncate);
        let earlier = check("[embedding]\noverlong = 'cut'", &[]).unwrap();
        assert_eq!(earlier.embedding, defaults.embedding);
    }

    #[test]
    fn error_of_an_invalid_value_names_its_key() {
        let error = check("[embedding]\nbatch_size = 4096", &[]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "embedding.batch_size: is 4096, must be from 1 to 2048"
        );
        let error = check("[budget]\nusd_per_day = 0", &[]).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("budget.usd_per_day: must be above 0"),
            "{error}"
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
    fn debug_form_has_no_secret() {
        let variables = [
            ("SUPABASE_URL", "https://a.b"),
            ("SUPABASE_SERVICE_KEY", "hide-1"),
            ("OPENAI_API_KEY", "hide-2"),
        ];
        let shown = format!("{:?}", check("", &variables).unwrap());
        assert!(!shown.contains("hide-"), "{shown}");
    }
}
