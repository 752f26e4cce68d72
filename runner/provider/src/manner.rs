//! How a model is asked: by what the table says about it, and by what it has refused in this run.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::classify::ErrorBody;
use super::parameter::Parameter;
use super::{Model, ReasoningEffort, TokenLimit};

/// What a model has refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Refused {
    parameters: u8,
    /// The effort that is sent in place of one that was refused.
    effort: Option<ReasoningEffort>,
}

impl Refused {
    fn has(self, parameter: Parameter) -> bool {
        self.parameters & (1 << parameter as u8) != 0
    }
}

/// What a client has learnt from refusals, by model. Clones of the client share it.
#[derive(Debug, Default)]
pub(super) struct Learnt(Mutex<HashMap<String, Refused>>);

impl Learnt {
    /// What is known about a model.
    pub(super) fn about(&self, model: &str) -> Refused {
        let learnt = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        learnt.get(model).copied().unwrap_or_default()
    }

    /// Learns from the refusal of a request that was sent in this manner and named this effort. True if the next
    /// request will differ from that one. Each parameter is changed once.
    pub(super) fn learn(
        &self,
        sent: &Manner<'_>,
        named: Option<ReasoningEffort>,
        error: &ErrorBody,
    ) -> bool {
        let Some(parameter) = error.refused_parameter() else {
            return false;
        };
        let before = sent.refused;
        let other = parameter.other_name();
        if before.has(parameter) || other.is_some_and(|other| before.has(other)) {
            return false;
        }
        let is_effort = parameter == Parameter::ReasoningEffort;
        if is_effort && before.effort.is_some() {
            return false;
        }
        let effort = named.filter(|_| is_effort);
        let effort = effort.and_then(|named| named.nearest(&error.efforts_taken(named)));
        let mut learnt = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let refused = learnt.entry(sent.model.name.clone()).or_default();
        match effort {
            Some(effort) => refused.effort = Some(effort),
            None => refused.parameters |= 1 << parameter as u8,
        }
        true
    }
}

/// How a model is asked now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner<'m> {
    model: &'m Model,
    refused: Refused,
}

impl<'m> Manner<'m> {
    pub(super) fn new(model: &'m Model, refused: Refused) -> Self {
        Self { model, refused }
    }

    pub(super) fn model_name(&self) -> &'m str {
        &self.model.name
    }

    fn takes(&self, parameter: Parameter) -> bool {
        !self.refused.has(parameter)
    }

    /// The effort that the request names.
    pub(super) fn effort(&self, named: Option<ReasoningEffort>) -> Option<ReasoningEffort> {
        let named = named.filter(|named| self.model.takes_effort(*named))?;
        self.takes(Parameter::ReasoningEffort)
            .then(|| self.refused.effort.unwrap_or(named))
    }

    /// How many tokens to allow for reasoning, beside the answer's.
    pub(super) fn reasoning_tokens(&self, named: Option<ReasoningEffort>) -> usize {
        // Only models that reason refuse the older name.
        let is_reasoning = !self.model.is_known && !self.takes(Parameter::MaxTokens);
        let unsaid = is_reasoning.then_some(ReasoningEffort::Medium);
        let effort = self.effort(named);
        let effort = effort.or_else(|| self.model.effort(None)).or(unsaid);
        effort.map_or(0, ReasoningEffort::tokens)
    }

    pub(super) fn temperature(
        &self,
        temperature: Option<f64>,
        named: Option<ReasoningEffort>,
    ) -> Option<f64> {
        let effort = self.effort(named).or_else(|| self.model.effort(None));
        temperature.filter(|_| self.model.samples(effort) && self.takes(Parameter::Temperature))
    }

    pub(super) fn seed(&self, seed: Option<i64>) -> Option<i64> {
        seed.filter(|_| self.takes(Parameter::Seed))
    }

    /// Whether one request may have several answers.
    pub(super) fn n(&self) -> bool {
        self.model.n() && self.takes(Parameter::N)
    }

    pub(super) fn cache_key<'k>(&self, key: Option<&'k str>) -> Option<&'k str> {
        key.filter(|_| self.model.prompt_cache() && self.takes(Parameter::PromptCache))
    }

    /// The name of the limit on an answer's tokens. If the usual one was refused, it is the other.
    pub(super) fn token_limit(&self) -> TokenLimit {
        match self.model.token_limit() {
            TokenLimit::MaxTokens if self.takes(Parameter::MaxTokens) => TokenLimit::MaxTokens,
            TokenLimit::MaxCompletionTokens if !self.takes(Parameter::MaxCompletionTokens) => {
                TokenLimit::MaxTokens
            }
            _ => TokenLimit::MaxCompletionTokens,
        }
    }

    /// What is done otherwise than configured, for people.
    pub(super) fn adaptations(&self, named: Option<ReasoningEffort>) -> Vec<String> {
        let model = &self.model.name;
        let mut said = Vec::new();
        if let (Some(named), Some(effort)) = (named, self.refused.effort) {
            said.push(format!(
                "the model `{model}` refuses reasoning_effort `{named}`, so this run uses `{effort}`: set \
                 scoring.reasoning_effort to an effort that it takes"
            ));
        }
        for parameter in [Parameter::ReasoningEffort, Parameter::Temperature] {
            if self.refused.has(parameter) {
                let name = parameter.names().first().copied().unwrap_or_default();
                said.push(format!(
                    "the model `{model}` refuses {name}, so this run leaves it out: remove it from [scoring]"
                ));
            }
        }
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Models;

    fn refusal(param: &str, code: &str, message: &str) -> ErrorBody {
        ErrorBody {
            message: Some(message.to_owned()),
            param: Some(param.to_owned()),
            code: Some(code.to_owned()),
            kind: None,
        }
    }

    fn parameter(param: &str) -> ErrorBody {
        refusal(param, "unsupported_parameter", "m")
    }

    #[test]
    fn a_refused_parameter_is_left_out_and_the_limit_gets_its_other_name() {
        let (models, learnt) = (Models::default(), Learnt::default());
        let any = models.get("any");
        let first = Manner::new(&any, learnt.about("any"));
        assert_eq!(first.token_limit(), TokenLimit::MaxTokens);
        assert!(learnt.learn(&first, None, &parameter("max_tokens")));
        // A request that was sent before learns nothing new, but is sent again too.
        assert!(learnt.learn(&first, None, &parameter("max_tokens")));
        assert!(learnt.learn(&first, None, &parameter("seed")));
        let second = Manner::new(&any, learnt.about("any"));
        assert_eq!(second.token_limit(), TokenLimit::MaxCompletionTokens);
        assert_eq!(second.seed(Some(1)), None);
        // The other name is refused too: nothing is left to try.
        assert!(!learnt.learn(&second, None, &parameter("max_completion_tokens")));
        assert_eq!(learnt.about("other"), Refused::default());
        assert_eq!(
            second.reasoning_tokens(None),
            ReasoningEffort::Medium.tokens()
        );
    }

    #[test]
    fn a_refused_effort_is_replaced_by_the_nearest_that_is_named() {
        let (models, learnt) = (Models::default(), Learnt::default());
        let ours = models.get("ours");
        let named = Some(ReasoningEffort::None);
        let error = refusal(
            "reasoning_effort",
            "unsupported_value",
            "Unsupported value: 'none' is not supported with this model. Supported values are: 'low', 'medium', and 'high'.",
        );
        let first = Manner::new(&ours, learnt.about("ours"));
        assert_eq!(
            (first.effort(named), first.reasoning_tokens(named)),
            (named, 0)
        );
        assert!(learnt.learn(&first, named, &error));
        let second = Manner::new(&ours, learnt.about("ours"));
        assert_eq!(second.effort(named), Some(ReasoningEffort::Low));
        assert_eq!(
            second.reasoning_tokens(named),
            ReasoningEffort::Low.tokens()
        );
        assert!(second.adaptations(named)[0].contains("`low`"));
        assert!(!learnt.learn(&second, named, &error), "one repeat");
    }

    #[test]
    fn an_effort_that_is_refused_without_others_is_left_out() {
        let (models, learnt) = (Models::default(), Learnt::default());
        let ours = models.get("ours");
        let named = Some(ReasoningEffort::None);
        let first = Manner::new(&ours, learnt.about("ours"));
        let error = refusal(
            "reasoning_effort",
            "unsupported_value",
            "'none' is not supported",
        );
        assert!(learnt.learn(&first, named, &error));
        let second = Manner::new(&ours, learnt.about("ours"));
        assert_eq!(second.effort(named), None);
        assert!(second.adaptations(named)[0].contains("leaves it out"));
    }

    #[test]
    fn the_service_tier_is_never_left_out() {
        let (models, learnt) = (Models::default(), Learnt::default());
        let ours = models.get("ours");
        let first = Manner::new(&ours, Refused::default());
        assert!(!learnt.learn(&first, None, &parameter("service_tier")));
    }
}
