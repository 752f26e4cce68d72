//! The services that flows use: settings, the database, the provider's client and its rate limits.

use std::sync::Arc;

use tokio::sync::OnceCell;

use super::ledger::Ledger;
use super::price::{Tariff, Tiering};
use super::requester::Requester;
use super::run::{FlowOptions, Run};
use crate::config::Settings;
use crate::db::Database;
use crate::engine::{Patience, Stop, StopReason};
use crate::error::Error;
use crate::provider::limiter::{Limiter, Limiters, RateLimits};
use crate::provider::{self, Client, Deadlines, http_client};
use crate::report::Outcome;
use crate::scoring::Rubric;

/// The services that flows use, and the settings that they run by.
#[derive(Debug, Clone)]
pub struct Session {
    /// The settings.
    pub settings: Arc<Settings>,
    /// The database.
    pub database: Database,
    provider: Option<Client>,
    limiters: Limiters,
    /// The patience with the provider.
    patience: Patience,
    /// Written once, by the first flow that asks for it.
    pub(super) settled_rubric: Arc<OnceCell<Arc<Rubric>>>,
}

impl Session {
    /// Connects settings to services. Sends nothing yet.
    ///
    /// # Errors
    /// If the database is not configured, or an address is unusable.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let database = Database::new(settings.database()?)?;
        let has_key = settings.openai.key.is_some();
        let provider = has_key.then(|| provider(&settings)).transpose()?;
        let limits = RateLimits {
            requests_per_minute: settings.limits.requests_per_minute,
            tokens_per_minute: settings.limits.tokens_per_minute,
            max_concurrency: settings.limits.concurrency,
            ..RateLimits::default()
        };
        let limiters = Limiters::new(limits);
        let patience = patience(&settings);
        Ok(Self {
            settings: Arc::new(settings),
            database,
            provider,
            limiters,
            patience,
            settled_rubric: Arc::default(),
        })
    }

    /// The same session for one run: waits for the database end when the run is stopped.
    pub(super) fn within(&self, run: &Run) -> Self {
        Self {
            database: self.database.until_stopped(&run.stop),
            ..self.clone()
        }
    }

    /// The outcome of a run that was stopped while it waited for the database, before or after its rows.
    pub(crate) fn or_stopped(
        &self,
        flow: &str,
        run: &Run,
        result: Result<Outcome, Error>,
    ) -> Result<Outcome, Error> {
        match result {
            Err(Error::Database(error)) if error.is_stopped() => Ok(self.outcome(flow, run, false)),
            result => result,
        }
    }

    /// The patience with the provider.
    pub fn patience(&self) -> &Patience {
        &self.patience
    }

    /// The provider's client.
    ///
    /// # Errors
    /// If no key is configured.
    pub fn provider(&self) -> Result<&Client, Error> {
        self.settings.openai_key()?;
        self.provider
            .as_ref()
            .ok_or_else(|| Error::Unexpected("no provider".to_owned()))
    }

    /// Begins a run of a flow.
    pub fn begin(&self, options: FlowOptions, stop: Stop) -> Run {
        let budget = self.settings.budget;
        let ledger = Ledger::new(&self.database, budget, options.max_usd);
        Run::new(options, stop, self.database.requests(), ledger)
    }

    /// The limiter of a model. All flows of this session share it.
    pub(super) fn limiter(&self, model: &str) -> Limiter {
        self.limiters.of(model)
    }

    /// The price of a model.
    pub(super) fn tariff(&self, model: &str) -> Tariff {
        Tariff::new(self.settings.models.get(model).price())
    }

    /// The tier of requests that score.
    pub(super) fn tiering(&self) -> Tiering {
        let openai = &self.settings.openai;
        Tiering {
            named: openai.service_tier,
            falls_back: openai.flex_fallback,
        }
    }

    /// The price of the model that a run is billed for. If a budget cannot be kept, the run is stopped.
    fn priced(&self, run: &Run, model: &str) -> Tariff {
        let tariff = self.tariff(model);
        if run.ledger.is_limited() && !tariff.is_known() {
            run.stop.stop(StopReason::Settings(format!(
                "the budget cannot be kept: `{model}` has no price; \
                 set price = {{ input = …, output = … }} under [models.\"{model}\"] (USD per million tokens)"
            )));
        }
        run.requests.of_model(model);
        tariff
    }

    /// Prepares a run for batches of a model.
    ///
    /// # Errors
    /// If the model takes no part in batches.
    pub(super) fn check_batches(&self, run: &Run, model: &str) -> Result<(), Error> {
        if !self.settings.models.get(model).batch() {
            return Err(Error::Usage(format!(
                "`{model}` takes no part in batches: leave out --batch, choose another model, or set batch = true \
                 under [models.\"{model}\"] if it does by now"
            )));
        }
        self.priced(run, model);
        Ok(())
    }

    /// What sends the requests of a run to a model. If the model has no price, a budget cannot be kept, so the
    /// run is stopped.
    pub(super) fn requester(&self, run: &Run, model: &str, tiering: Tiering) -> Requester {
        let tariff = self.priced(run, model);
        Requester::new(
            self.limiter(model),
            run.ledger.clone(),
            (tariff, tiering),
            run.stop.clone(),
            run.requests.clone(),
            self.patience.clone(),
        )
    }
}

/// The patience with the provider, for commands that need nothing else of a session.
pub fn patience(settings: &Settings) -> Patience {
    Patience::new(
        "the provider",
        "openai.patience_seconds",
        settings.openai.patience,
    )
}

/// The provider's client, for commands that need nothing else of a session.
///
/// # Errors
/// If no key is configured, or the address is unusable.
pub fn provider(settings: &Settings) -> Result<Client, Error> {
    let key = settings.openai_key()?.clone();
    let unusable = |error: &dyn std::error::Error| Error::Usage(error.to_string());
    let deadlines = Deadlines {
        total: settings.openai.timeout,
        // A model sends nothing until its answer is whole.
        read: settings.openai.timeout,
        ..Deadlines::default()
    };
    let http = http_client(&deadlines).map_err(|error| unusable(&error))?;
    let config = provider::ClientConfig {
        base_url: settings.openai.base_url.clone(),
        key_header: settings.openai.key_header,
        api_version: settings.openai.api_version.clone(),
        vectors: settings.embedding.encoding_format,
        send_dimensions: settings.embedding.send_dimensions,
        models: settings.models.clone(),
        chat_api: settings.openai.api,
        ..provider::ClientConfig::new(key)
    };
    Client::new(http, config).map_err(|error| unusable(&error))
}
