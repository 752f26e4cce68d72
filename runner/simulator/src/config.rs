//! How the simulator behaves.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use secrecy::SecretString;
use serde::Deserialize;

use crate::{batch::BatchConfig, error_response::ErrorResponse, fault::Faults, model::find};

/// How the simulator behaves. By default it accepts any key, has no limits and never fails.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The port to listen on; 0 takes a free one.
    pub port: u16,
    /// The only key that is accepted. Without it, any key is accepted, but a key must be sent.
    pub key: Option<SecretString>,
    /// The limits of each model.
    pub limits: SimulatedLimits,
    /// Limits of single models, in place of `limits`.
    pub model_limits: BTreeMap<String, SimulatedLimits>,
    /// How long responses take.
    pub latency: Latency,
    /// What goes wrong, and how often.
    pub faults: Faults,
    /// How batches behave.
    pub batches: BatchConfig,
    /// Which models are there.
    pub models: ModelAccess,
    /// How many requests with the same beginning and the same key find the same prompt cache in a
    /// minute.
    pub cache_requests_per_minute: u64,
    /// Which kind of server to imitate.
    pub style: Style,
    /// Whether to count how often each text was billed. Each text takes about 150 bytes, so turn it
    /// off for millions of them.
    pub count_texts: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            port: 0,
            key: None,
            limits: SimulatedLimits::default(),
            model_limits: BTreeMap::new(),
            latency: Latency::default(),
            faults: Faults::default(),
            batches: BatchConfig::default(),
            models: ModelAccess::default(),
            cache_requests_per_minute: 15,
            style: Style::default(),
            count_texts: true,
        }
    }
}

/// How much a client may send. The allowance of a minute refills continuously.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SimulatedLimits {
    /// Requests a minute, including those that fail. No limit if absent.
    pub requests_per_minute: Option<u64>,
    /// Tokens a minute, input and output together. No limit if absent.
    pub tokens_per_minute: Option<u64>,
    /// Requests a day. The day of a model begins with its first request. No limit if absent.
    pub requests_per_day: Option<u64>,
    /// Tokens a day, input and output together. No limit if absent.
    pub tokens_per_day: Option<u64>,
    /// The largest allowance that can gather, in seconds: 60 lets a whole minute's worth through at
    /// once. Less imitates a server that enforces its limits over shorter windows.
    pub burst_seconds: f64,
}

impl Default for SimulatedLimits {
    fn default() -> Self {
        Self {
            requests_per_minute: None,
            tokens_per_minute: None,
            requests_per_day: None,
            tokens_per_day: None,
            burst_seconds: 60.0,
        }
    }
}

/// How long a response takes: `fixed_ms` + tokens · `per_token_us`, and up to `jitter` times as much
/// on top.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Latency {
    /// Milliseconds that every response takes.
    pub fixed_ms: u64,
    /// Microseconds for each token of input and output.
    pub per_token_us: u64,
    /// From 0 (always the same) to 1 (up to twice as long).
    pub jitter: f64,
}

impl Latency {
    /// The time for this many tokens. `luck`, from 0 to 1, is the share of the jitter to add.
    pub(crate) fn of(&self, tokens: u64, luck: f64) -> Duration {
        let steady = Duration::from_millis(self.fixed_ms)
            + Duration::from_micros(self.per_token_us.saturating_mul(tokens));
        steady.mul_f64(1.0 + self.jitter * luck)
    }
}

/// Which models are there. By default all of the table are, also those that have ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelAccess {
    /// Models that the project may not use: 403 `model_not_found`.
    pub forbidden: BTreeSet<String>,
    /// The day, as YYYY-MM-DD. Models that end on it or before are not found.
    pub today: Option<String>,
}

impl ModelAccess {
    /// Refuses a model that is not there.
    pub(crate) fn check(&self, model: &str) -> Result<(), ErrorResponse> {
        if self.forbidden.contains(model) {
            return Err(ErrorResponse::no_access(model));
        }
        let end = find(model).and_then(|model| model.shutdown_date);
        match (end, &self.today) {
            (Some(end), Some(today)) if end <= today.as_str() => {
                Err(ErrorResponse::ended_model(model))
            }
            _ => Ok(()),
        }
    }
}

/// Which kind of server to imitate. All of them check the same and return the same results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Style {
    /// Rate-limit headers, base64 on request, usage in every response.
    #[default]
    OpenAi,
    /// As `OpenAI`, with three differences: the key is in `api-key`, the URL needs an `api-version`,
    /// and all rate-limit headers are `-1`.
    Azure,
    /// A small local server: no rate-limit headers, vectors as numbers only, no usage.
    Local,
}

/// What can change while the simulator runs. An absent part stays as it is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConfigChange {
    /// Replaces the faults.
    pub faults: Option<Faults>,
    /// Replaces the limits of all models and refills every allowance.
    pub limits: Option<SimulatedLimits>,
    /// Replaces the limits of single models and refills every allowance.
    pub model_limits: Option<BTreeMap<String, SimulatedLimits>>,
    /// Replaces the latency.
    pub latency: Option<Latency>,
    /// Replaces how batches behave, for those that are created from then on.
    pub batches: Option<BatchConfig>,
    /// Replaces which models are there.
    pub models: Option<ModelAccess>,
}

impl Config {
    pub(crate) fn limits_of(&self, model: &str) -> &SimulatedLimits {
        self.model_limits.get(model).unwrap_or(&self.limits)
    }

    /// Applies a change and returns whether it set limits. An error leaves everything as it was.
    pub(crate) fn apply(&mut self, change: ConfigChange) -> Result<bool, String> {
        let sets_limits = change.limits.is_some() || change.model_limits.is_some();
        let mut changed = self.clone();
        replace(&mut changed.faults, change.faults);
        replace(&mut changed.limits, change.limits);
        replace(&mut changed.model_limits, change.model_limits);
        replace(&mut changed.latency, change.latency);
        replace(&mut changed.batches, change.batches);
        replace(&mut changed.models, change.models);
        changed.check()?;
        *self = changed;
        Ok(sets_limits)
    }

    /// Returns what is wrong, if anything is.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.faults.check()?;
        self.batches.check()?;
        if !(0.0..=1.0).contains(&self.latency.jitter) {
            return Err("latency.jitter must be from 0 to 1".to_owned());
        }
        for limits in self.model_limits.values().chain([&self.limits]) {
            if !(limits.burst_seconds > 0.0 && limits.burst_seconds <= 3600.0) {
                return Err("burst_seconds must be above 0 and at most 3600".to_owned());
            }
            let of_day = [limits.requests_per_day, limits.tokens_per_day];
            let of_minute = [limits.requests_per_minute, limits.tokens_per_minute];
            if of_day.contains(&Some(0)) || of_minute.contains(&Some(0)) {
                return Err("a limit of 0 lets nothing through; leave it out for none".to_owned());
            }
        }
        Ok(())
    }
}

fn replace<T>(value: &mut T, new: Option<T>) {
    if let Some(new) = new {
        *value = new;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Fault;

    fn change(json: &str) -> ConfigChange {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_change_replaces_only_what_it_contains() {
        let mut config = Config::default();
        let limits = r#"{"limits":{"requests_per_minute":60},"latency":{"fixed_ms":5}}"#;
        assert_eq!(config.apply(change(limits)), Ok(true));
        assert_eq!(
            config.apply(change(r#"{"faults":{"drop":0.5}}"#)),
            Ok(false)
        );
        assert_eq!(config.limits.requests_per_minute, Some(60));
        assert_eq!(config.latency.fixed_ms, 5);
        assert_ne!(config.faults, Faults::default());
    }

    #[test]
    fn an_invalid_change_changes_nothing() {
        for wrong in [
            r#"{"faults":{"drop":1.5}}"#,
            r#"{"latency":{"jitter":-1}}"#,
            r#"{"limits":{"burst_seconds":0}}"#,
            r#"{"batches":{"faults":{"lost":{"create":2}}}}"#,
            r#"{"batches":{"faults":{"lines":{"drop":1}}}}"#,
            r#"{"model_limits":{"o3":{"tokens_per_minute":0}}}"#,
        ] {
            let mut config = Config::default();
            assert!(config.apply(change(wrong)).is_err(), "{wrong}");
            assert_eq!(config.limits, SimulatedLimits::default());
            assert_eq!(config.faults, Faults::default());
        }
        assert!(serde_json::from_str::<ConfigChange>(r#"{"fault":{}}"#).is_err());
    }

    #[test]
    fn a_configuration_is_read_from_toml() {
        let config: Config = toml::from_str(
            r#"
            key = "sk-secret"
            style = "local"
            [limits]
            tokens_per_minute = 1000000
            [model_limits."gpt-5-mini"]
            requests_per_minute = 5
            [latency]
            fixed_ms = 200
            [faults]
            drop = 0.01
            seed = 7
            "#,
        )
        .unwrap();
        assert_eq!((config.port, config.count_texts), (0, true));
        assert_eq!(config.style, Style::Local);
        assert_eq!(config.limits_of("gpt-5-mini").requests_per_minute, Some(5));
        let faults = Faults {
            seed: 7,
            ..Faults::only(Fault::Drop, 0.01)
        };
        assert_eq!(config.faults, faults);
        assert!(!format!("{config:?}").contains("sk-secret"));
    }

    #[test]
    fn latency_grows_with_tokens_and_luck() {
        let latency = Latency {
            fixed_ms: 100,
            per_token_us: 500,
            jitter: 0.5,
        };
        assert_eq!(latency.of(0, 0.0), Duration::from_millis(100));
        assert_eq!(latency.of(200, 0.0), Duration::from_millis(200));
        assert_eq!(latency.of(200, 1.0), Duration::from_millis(300));
    }

    #[test]
    fn a_model_can_have_its_own_limits() {
        let config: Config = serde_json::from_str(
            r#"{"limits":{"tokens_per_minute":10},"model_limits":{"o3":{"tokens_per_minute":5}}}"#,
        )
        .unwrap();
        assert_eq!(config.limits_of("o3").tokens_per_minute, Some(5));
        assert_eq!(config.limits_of("o4-mini").tokens_per_minute, Some(10));
    }
}
