//! What models take and what they cost: a table, which the configuration can override.

mod effort;
mod name;
mod settings;
mod table;

use std::collections::BTreeMap;

use jiff::civil::Date;

use self::name::{Pattern, is_fine_tuned, names};
use self::table::TABLE;
use super::{Price, Tokenizer};

pub use self::effort::ReasoningEffort;
pub use self::settings::{ModelSettings, TokenLimit, Vocabulary};

/// One model: what it takes and what it costs.
///
/// A name that the table does not know may be anything, such as a deployment. It gets what every server understands
/// and what was configured. The client learns the rest from refusals.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// Its name.
    pub name: String,
    /// Whether the table or the configuration has it.
    pub is_known: bool,
    settings: ModelSettings,
}

/// The table of models, with the configuration's models above it.
///
/// ```
/// use sluice_provider::{Models, ReasoningEffort};
///
/// let luna = Models::default().get("gpt-6-luna");
/// assert!(luna.takes_effort(ReasoningEffort::None) && luna.flex());
/// assert!(!Models::default().get("our-deployment").is_known);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Models {
    overrides: BTreeMap<String, ModelSettings>,
}

impl Models {
    /// The table, with these models in place of its own or beside them.
    pub fn with(overrides: BTreeMap<String, ModelSettings>) -> Self {
        Self { overrides }
    }

    /// What is known about a model.
    pub fn get(&self, model: &str) -> Model {
        let mut settings = ModelSettings::default();
        let mut is_known = false;
        for layer in [&TABLE.models, &self.overrides] {
            for (exact, above) in matching(layer, model) {
                is_known = true;
                // A fine-tune takes what its base takes, but only the configuration knows its price.
                let price = settings.price.take();
                settings.put(above);
                if is_fine_tuned(model) && !exact {
                    settings.price = price;
                } else {
                    settings.price = settings.price.or(price);
                }
            }
        }
        Model {
            name: model.to_owned(),
            is_known,
            settings,
        }
    }

    /// The day on which the table was last compared with the provider's pages.
    pub fn read_on() -> Date {
        TABLE.read
    }

    /// The names of the models that the table has a price for.
    pub fn priced() -> impl Iterator<Item = &'static str> {
        let priced = TABLE
            .models
            .iter()
            .filter(|(_, model)| model.price.is_some());
        priced.map(|(name, _)| name.as_str())
    }
}

/// The settings whose pattern matches the model, the least specific first, and whether the pattern is the whole name.
fn matching<'s>(
    layer: &'s BTreeMap<String, ModelSettings>,
    model: &str,
) -> Vec<(bool, &'s ModelSettings)> {
    let names = names(model);
    let mut found: Vec<(usize, bool, &ModelSettings)> = layer
        .iter()
        .filter_map(|(pattern, settings)| {
            let compiled = Pattern::new(pattern);
            let matches = names.iter().any(|name| compiled.matches(name));
            matches.then(|| (compiled.letters(), pattern == model, settings))
        })
        .collect();
    found.sort_by_key(|(letters, exact, _)| (*letters, *exact));
    found
        .into_iter()
        .map(|(_, exact, settings)| (exact, settings))
        .collect()
}

impl Model {
    /// Counts tokens as the model does.
    pub fn tokenizer(&self) -> Tokenizer {
        match self.settings.vocabulary.unwrap_or_default() {
            Vocabulary::Cl100k => Tokenizer::cl100k(),
            Vocabulary::O200k => Tokenizer::o200k(),
        }
    }

    /// The efforts that it is known to take. Empty if it does not reason, or if nothing is known about it.
    pub fn efforts(&self) -> &[ReasoningEffort] {
        self.settings.efforts.as_deref().unwrap_or_default()
    }

    /// Whether a request may name this effort. A model that nothing is known about gets what is configured.
    pub fn takes_effort(&self, effort: ReasoningEffort) -> bool {
        match &self.settings.efforts {
            Some(efforts) => efforts.contains(&effort),
            None => !self.is_known,
        }
    }

    /// The effort with which it answers a request that names this one or none. `None` if it does not reason.
    pub fn effort(&self, named: Option<ReasoningEffort>) -> Option<ReasoningEffort> {
        if let Some(named) = named.filter(|named| self.takes_effort(*named)) {
            return Some(named);
        }
        let default = self
            .settings
            .default_effort
            .unwrap_or(ReasoningEffort::Medium);
        (!self.efforts().is_empty()).then_some(default)
    }

    /// Whether it takes a temperature at this effort.
    pub fn samples(&self, effort: Option<ReasoningEffort>) -> bool {
        let Some(effort) = effort.filter(|_| !self.efforts().is_empty()) else {
            return true;
        };
        let sampling = self.settings.sampling.as_deref();
        sampling.unwrap_or_default().contains(&effort)
    }

    /// The name under which a request limits the tokens of its answer.
    pub fn token_limit(&self) -> TokenLimit {
        self.settings.token_limit.unwrap_or_default()
    }

    /// Whether one request may have several answers.
    pub fn n(&self) -> bool {
        self.settings.n.unwrap_or_default()
    }

    /// Whether a request may name what it shares with others.
    pub fn prompt_cache(&self) -> bool {
        self.settings.prompt_cache.unwrap_or_default()
    }

    /// Whether it can make shorter vectors.
    pub fn dimensions(&self) -> bool {
        self.settings.dimensions.unwrap_or_default()
    }

    /// Whether it has the service tier `flex`. A model that nothing is known about may have it.
    pub fn flex(&self) -> bool {
        self.settings.flex.unwrap_or(!self.is_known)
    }

    /// Whether it takes part in batches. A model that nothing is known about may.
    pub fn batch(&self) -> bool {
        self.settings.batch.unwrap_or(!self.is_known)
    }

    /// Its price; `None` if it is not known.
    pub fn price(&self) -> Option<Price> {
        self.settings.price
    }

    /// The day from which on the provider no longer serves it, as far as is known.
    pub fn ends(&self) -> Option<Date> {
        self.settings.ends
    }
}

#[cfg(test)]
mod tests;
