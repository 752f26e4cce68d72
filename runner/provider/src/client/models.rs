//! What a client knows about models, and what it asks the provider about them.

use jiff::civil::Date;
use serde::Deserialize;

use super::super::classify::classify;
use super::super::manner::Manner;
use super::super::{Error, Model, ReasoningEffort};
use super::{ChatApi, Client};

impl Client {
    /// The day on which a model ends, as the provider lists it. `None` if it announces none.
    ///
    /// Source: `GET /v1/models/{model}`.
    ///
    /// # Errors
    /// [`Error`], with the code `model_not_found` if there is no such model. Many servers have no such endpoint.
    pub async fn describe(&self, model: &str) -> Result<Option<Date>, Error> {
        #[derive(Deserialize)]
        struct Listed {
            shutdown_date: Option<Date>,
        }
        let mut address = self.address("models");
        if let Ok(mut path) = address.path_segments_mut() {
            path.push(model);
        }
        let response = self
            .send(self.http.get(address).headers(self.headers.clone()))
            .await;
        let response = response.map_err(|failure| {
            self.refused(failure, |error, status, retry_after| {
                classify(status, error, retry_after, 1)
            })
        })?;
        let listed: Result<Listed, _> = serde_json::from_slice(&response.body);
        Ok(listed.ok().and_then(|listed| listed.shutdown_date))
    }

    /// What is known about a model.
    pub fn model(&self, name: &str) -> Model {
        self.config.models.get(name)
    }

    /// Whether one request to a model may have several answers, as far as is known by now.
    pub fn takes_n(&self, model: &str) -> bool {
        let is_chat = self.config.chat_api == ChatApi::Chat;
        is_chat && Manner::new(&self.model(model), self.learnt.about(model)).n()
    }

    /// How many tokens to allow a model for reasoning, beside its answer's. They are billed as output. It grows if
    /// the model refuses the effort.
    pub fn reasoning_tokens(&self, model: &str, effort: Option<ReasoningEffort>) -> usize {
        Manner::new(&self.model(model), self.learnt.about(model)).reasoning_tokens(effort)
    }

    /// What requests to a model have otherwise than this effort and the configuration say, because the model refused
    /// it.
    pub fn adaptations(&self, model: &str, effort: Option<ReasoningEffort>) -> Vec<String> {
        Manner::new(&self.model(model), self.learnt.about(model)).adaptations(effort)
    }
}
