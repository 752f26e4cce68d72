//! How the stand-in behaves.

use std::{collections::BTreeMap, time::Duration};

use secrecy::SecretString;
use serde::Deserialize;

use super::Faults;

/// How the stand-in behaves. By default it takes any key, has no limits and never fails.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The port to listen on; 0 takes a free one.
    pub port: u16,
    /// The only key that is accepted. Without it any key is, but not none at all.
    pub key: Option<SecretString>,
    /// The limits that each model has for itself.
    pub limits: Limits,
    /// Limits of single models, in place of `limits`.
    pub model_limits: BTreeMap<String, Limits>,
    /// How long answers take.
    pub latency: Latency,
    /// What goes wrong, and how often.
    pub faults: Faults,
    /// Which server's manners to copy.
    pub style: Style,
    /// Whether to count how often each text was billed. It takes some 100 bytes a text: turn it
    /// off where millions of them are sent.
    pub count_texts: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            port: 0,
            key: None,
            limits: Limits::default(),
            model_limits: BTreeMap::new(),
            latency: Latency::default(),
            faults: Faults::default(),
            style: Style::default(),
            count_texts: true,
        }
    }
}

/// What may be sent in a minute. Allowance flows back all the time, not once a minute.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Requests a minute, those that fail included; no limit where it is not given.
    pub requests_per_minute: Option<u64>,
    /// Tokens a minute, input and output together; no limit where it is not given.
    pub tokens_per_minute: Option<u64>,
    /// How much allowance can gather, as seconds of it: 60 lets a whole minute's worth through at
    /// once, less stands for the shorter windows over which limits may be enforced.
    pub burst_seconds: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            requests_per_minute: None,
            tokens_per_minute: None,
            burst_seconds: 60.0,
        }
    }
}

/// How long an answer takes: `fixed_ms` + tokens · `per_token_us`, and up to `jitter` times as much
/// on top.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Latency {
    /// Milliseconds that every answer takes.
    pub fixed_ms: u64,
    /// Microseconds for each token of input and output.
    pub per_token_us: u64,
    /// From 0 (always the same) to 1 (up to twice as long).
    pub jitter: f64,
}

impl Latency {
    /// The time for this many tokens; `luck`, from 0 to 1, decides how much of the jitter is added.
    pub(super) fn of(&self, tokens: u64, luck: f64) -> Duration {
        let steady = Duration::from_millis(self.fixed_ms)
            + Duration::from_micros(self.per_token_us.saturating_mul(tokens));
        steady.mul_f64(1.0 + self.jitter * luck)
    }
}

/// Which server's manners to copy. What it checks of texts and what it answers are the same in all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Style {
    /// Rate-limit headers, base64 where it is asked for, usage in every answer.
    #[default]
    OpenAi,
    /// As `OpenAI`, but the key stands in `api-key`, the address names an `api-version`, and what is left of
    /// the limits is always given as `-1`.
    Azure,
    /// A small server at home: no rate-limit headers, vectors always as numbers, no usage.
    Local,
}

/// What can be changed while the stand-in runs; what is not given stays as it is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Change {
    /// Replaces the faults.
    pub faults: Option<Faults>,
    /// Replaces the limits of all models; every allowance is full again.
    pub limits: Option<Limits>,
    /// Replaces the limits of single models; every allowance is full again.
    pub model_limits: Option<BTreeMap<String, Limits>>,
    /// Replaces the latency.
    pub latency: Option<Latency>,
}

impl Config {
    /// The limits that the model has.
    pub(super) fn limits_of(&self, model: &str) -> &Limits {
        self.model_limits.get(model).unwrap_or(&self.limits)
    }

    /// Applies a change, or says what is wrong with it and stays as it was. True where the limits
    /// changed.
    pub(super) fn apply(&mut self, change: Change) -> Result<bool, String> {
        let relimited = change.limits.is_some() || change.model_limits.is_some();
        let changed = Self {
            faults: change.faults.unwrap_or_else(|| self.faults.clone()),
            limits: change.limits.unwrap_or_else(|| self.limits.clone()),
            model_limits: change
                .model_limits
                .unwrap_or_else(|| self.model_limits.clone()),
            latency: change.latency.unwrap_or_else(|| self.latency.clone()),
            ..self.clone()
        };
        changed.check()?;
        *self = changed;
        Ok(relimited)
    }

    /// Says what is wrong, if anything is.
    pub(super) fn check(&self) -> Result<(), String> {
        self.faults.check()?;
        if !(0.0..=1.0).contains(&self.latency.jitter) {
            return Err("latency.jitter must be from 0 to 1".to_owned());
        }
        for limits in self.model_limits.values().chain([&self.limits]) {
            if !(limits.burst_seconds > 0.0 && limits.burst_seconds <= 3600.0) {
                return Err("burst_seconds must be above 0 and at most 3600".to_owned());
            }
            if [limits.requests_per_minute, limits.tokens_per_minute].contains(&Some(0)) {
                return Err("a limit of 0 lets nothing through; leave it out for none".to_owned());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Fault;

    fn change(json: &str) -> Change {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_change_leaves_the_rest_alone() {
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
    fn a_wrong_change_changes_nothing() {
        for wrong in [
            r#"{"faults":{"drop":1.5}}"#,
            r#"{"latency":{"jitter":-1}}"#,
            r#"{"limits":{"burst_seconds":0}}"#,
            r#"{"model_limits":{"o3":{"tokens_per_minute":0}}}"#,
        ] {
            let mut config = Config::default();
            assert!(config.apply(change(wrong)).is_err(), "{wrong}");
            assert_eq!(config.limits, Limits::default());
            assert_eq!(config.faults, Faults::default());
        }
        assert!(serde_json::from_str::<Change>(r#"{"fault":{}}"#).is_err());
    }

    #[test]
    fn the_whole_configuration_can_be_written_as_toml() {
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
    fn a_model_can_have_limits_of_its_own() {
        let config: Config = serde_json::from_str(
            r#"{"limits":{"tokens_per_minute":10},"model_limits":{"o3":{"tokens_per_minute":5}}}"#,
        )
        .unwrap();
        assert_eq!(config.limits_of("o3").tokens_per_minute, Some(5));
        assert_eq!(config.limits_of("o4-mini").tokens_per_minute, Some(10));
    }
}
