//! The models of the configuration, and whether they take what is configured.

use super::{ConfigError, Settings};
use crate::provider::ServiceTier;
use crate::scoring::Rubric;

impl Settings {
    /// Checks that the model of a rubric takes what is configured.
    ///
    /// # Errors
    /// An effort or a tier that it does not have.
    pub fn check_model(&self, rubric: &Rubric) -> Result<(), ConfigError> {
        let model = self.models.get(rubric.model());
        let name = &model.name;
        if let Some(effort) = rubric.effort()
            && !model.takes_effort(effort)
            && !model.efforts().is_empty()
        {
            let taken: Vec<&str> = model.efforts().iter().map(|it| it.as_str()).collect();
            let taken = taken.join(", ");
            let message = format!(
                "`{name}` does not take `{effort}`: choose one of {taken}, or set efforts under [models.\"{name}\"]"
            );
            return Err(ConfigError::invalid("scoring.reasoning_effort", message));
        }
        if self.openai.service_tier == Some(ServiceTier::Flex) && !model.flex() {
            let message = format!(
                "`{name}` has no tier `flex`: remove service_tier, choose another model, or set flex = true \
                 under [models.\"{name}\"]"
            );
            return Err(ConfigError::invalid("openai.service_tier", message));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn check(toml: &str) -> Result<Settings, ConfigError> {
        Settings::check(
            toml::from_str(toml).unwrap(),
            &std::iter::empty::<(&str, &str)>().collect(),
        )
    }

    #[test]
    fn what_the_model_does_not_take_is_refused_before_anything_is_sent() {
        for (file, key) in [
            (
                "[scoring]\nmodel = 'gpt-6-luna'\nreasoning_effort = 'minimal'",
                "scoring.reasoning_effort: `gpt-6-luna`",
            ),
            (
                "[scoring]\nmodel = 'gpt-4o-mini'\n[openai]\nservice_tier = 'flex'",
                "openai.service_tier: `gpt-4o-mini`",
            ),
            (
                "[models.m.price]\ninput = 1.0\n[prices.m]\ninput = 2.0",
                "prices.\"m\": is there twice",
            ),
        ] {
            let error = check(file).unwrap_err().to_string();
            assert!(error.starts_with(key), "{error}");
        }
        for file in [
            "[scoring]\nmodel = 'gpt-6-luna'\nreasoning_effort = 'max'",
            "[scoring]\nmodel = 'our-deployment'\nreasoning_effort = 'minimal'\n[openai]\nservice_tier = 'flex'",
            "[scoring]\nmodel = 'gpt-4o-mini'\n[openai]\nservice_tier = 'flex'\n[models.gpt-4o-mini]\nflex = true",
        ] {
            check(file).unwrap();
        }
        let flex = check("[openai]\nservice_tier = 'flex'").unwrap();
        assert_eq!(flex.openai.timeout, Duration::from_secs(900));
    }

    #[test]
    fn prices_written_the_earlier_way_are_prices_of_models() {
        let settings = check("[prices.ours]\ninput = 2.0").unwrap();
        assert!(
            settings
                .models
                .get("ours")
                .price()
                .is_some_and(|price| price.input > 1.9)
        );
    }
}
