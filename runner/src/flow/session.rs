//! What every flow needs, and the shell around each of them: signals, deadline, counters, report.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::Instant;

use super::preview::{Preview, any_due};
use super::requester::{RequestMetrics, Requester};
use super::work::WorkKind;
use crate::config::Settings;
use crate::db::Database;
use crate::engine::{self, Flow, Metrics, Pace, Sink, Source, Stop, StopReason, Work};
use crate::error::Error;
use crate::exit::Exit;
use crate::provider::limiter::{Limiter, Limiters, Limits};
use crate::provider::{self, Budget, Client, Deadlines, Prices, http_client};
use crate::report::{Counts, Outcome, Report};

/// The services that flows use, and the settings that they run by.
#[derive(Debug, Clone)]
pub struct Session {
    /// The settings.
    pub settings: Arc<Settings>,
    /// The database.
    pub database: Database,
    provider: Option<Client>,
    limiters: Limiters,
}

/// How one run of a flow is bounded.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct FlowOptions {
    /// Rows taken up at most.
    pub limit: Option<u64>,
    /// When to stop claiming.
    pub deadline: Option<Duration>,
    /// Dollars spent at most.
    pub max_usd: Option<f64>,
    /// Spend and write nothing.
    pub dry_run: bool,
}

/// One run of a flow: what stops it, and what it has done so far. Clones share both.
#[derive(Debug, Clone)]
pub struct Run {
    /// Its bounds.
    pub options: FlowOptions,
    /// What stops it.
    pub stop: Stop,
    /// What it has done so far.
    pub metrics: Arc<Metrics>,
    /// What it has asked of the provider so far.
    pub requests: Arc<RequestMetrics>,
    budget: Budget,
    limiter: Arc<OnceLock<Limiter>>,
    priced: Arc<OnceLock<bool>>,
    total: Arc<OnceLock<u64>>,
    staged: Arc<AtomicU64>,
    started: Instant,
    requests_before: (u64, u64),
}

impl Session {
    /// Connects settings to services. Nothing is sent yet.
    ///
    /// # Errors
    /// Where the database is not configured, or an address cannot be used.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let database = Database::new(settings.database()?)?;
        let has_key = settings.openai.key.is_some();
        let provider = has_key.then(|| provider(&settings)).transpose()?;
        let limits = Limits {
            requests_per_minute: settings.limits.requests_per_minute,
            tokens_per_minute: settings.limits.tokens_per_minute,
            max_concurrency: settings.limits.concurrency,
            ..Limits::default()
        };
        let limiters = Limiters::new(BTreeMap::new(), limits);
        Ok(Self {
            settings: Arc::new(settings),
            database,
            provider,
            limiters,
        })
    }

    /// The provider's client.
    ///
    /// # Errors
    /// Where no key is configured.
    pub fn provider(&self) -> Result<&Client, Error> {
        self.settings.openai_key()?;
        self.provider
            .as_ref()
            .ok_or_else(|| Error::Unexpected("no provider".to_owned()))
    }

    /// The limiter of a model, shared by all flows of this session.
    pub(super) fn limiter(&self, model: &str) -> Limiter {
        self.limiters.of(model)
    }

    /// Begins a run of a flow.
    pub fn begin(&self, options: FlowOptions, stop: Stop) -> Run {
        Run {
            options,
            stop,
            metrics: Arc::default(),
            requests: Arc::default(),
            budget: Budget::new(options.max_usd),
            limiter: Arc::default(),
            priced: Arc::default(),
            total: Arc::default(),
            staged: Arc::default(),
            started: Instant::now(),
            requests_before: self.database.requests(),
        }
    }

    /// What sends a run's requests for a model. A budget that cannot be kept stops the run.
    pub(super) fn requester(&self, run: &Run, model: &str) -> Requester {
        let prices = Prices::with(self.settings.prices.clone());
        let has_price = *run.priced.get_or_init(|| prices.price(model).is_some());
        if run.options.max_usd.is_some() && !has_price {
            run.stop.stop(StopReason::Settings(format!(
                "the budget cannot be kept: `{model}` has no price; \
                 set input and output under [prices.\"{model}\"] (USD per million tokens)"
            )));
        }
        let limiter = run.limiter.get_or_init(|| self.limiter(model)).clone();
        Requester::new(
            limiter,
            run.budget.clone(),
            run.stop.clone(),
            run.requests.clone(),
            self.settings.openai.patience,
        )
    }

    /// Runs a flow on the engine, from its first claim until nothing is due or it is stopped.
    pub(super) async fn drive<S, W, K>(&self, run: &Run, chunk: u32, flow: Flow<S, W, K>)
    where
        S: Source,
        W: Work<Item = S::Item>,
        K: Sink<Output = W::Output>,
    {
        let concurrency = self.settings.limits.concurrency as usize;
        let pace = Pace {
            chunk,
            concurrency: concurrency.min(flow.work.batches_max()),
            limit: run.options.limit,
            patience: Duration::from_secs(60),
        };
        let mut work = Box::pin(engine::run(
            flow,
            pace,
            run.stop.clone(),
            run.metrics.clone(),
        ));
        let Some(deadline) = run.options.deadline else {
            return work.await;
        };
        tokio::select! {
            () = work.as_mut() => return,
            () = tokio::time::sleep_until(run.started + deadline) => {}
        }
        run.stop.stop(StopReason::Deadline(deadline));
        work.await;
    }

    /// The report of a run that has ended. `more_due` tells whether a run that came to its limit left
    /// anything to do.
    pub(crate) fn outcome(&self, flow: &str, run: &Run, more_due: bool) -> Outcome {
        let report = self.report(flow, run);
        match (run.stop.reason(), run.options.limit) {
            (Some(reason), _) => Outcome::stopped(report, Exit::from(reason), reason.to_string()),
            (None, Some(limit)) if more_due && report.failed() == 0 => Outcome::stopped(
                report,
                Exit::MoreRemains,
                StopReason::Limit(limit).to_string(),
            ),
            (None, _) => Outcome::ended(report),
        }
    }

    /// The outcome of a flow on the engine. A run that came to its limit looks whether anything is left.
    pub(super) async fn finish(&self, flow: &str, run: &Run, kind: &WorkKind) -> Outcome {
        let at_limit = run
            .options
            .limit
            .is_some_and(|limit| run.metrics.rows().selected >= limit);
        if !at_limit || run.stop.reason().is_some() {
            return self.outcome(flow, run, false);
        }
        match any_due(self, kind).await {
            Ok(more_due) => self.outcome(flow, run, more_due),
            // What was done is reported, whatever keeps us from looking for more.
            Err(error) => {
                let report = self.report(flow, run);
                Outcome::stopped(report, error.exit(), error.to_string())
            }
        }
    }

    /// The outcome of a dry run.
    pub(super) fn previewed(&self, flow: &str, run: &Run, preview: &Preview) -> Outcome {
        run.metrics
            .selected(usize::try_from(preview.rows).unwrap_or(usize::MAX));
        let mut report = self.report(flow, run);
        report.tokens = preview.input_tokens + preview.output_tokens;
        report.output_tokens = preview.output_tokens;
        report.usd = preview.price_known.then_some(preview.usd);
        Outcome::ended(report)
    }

    fn report(&self, flow: &str, run: &Run) -> Report {
        let mut report = Report::new(flow, Counts::Rows(run.metrics.rows().into()));
        let (sent, retried) = self.database.requests();
        report.requests = run.requests.requests();
        report.requests.supabase = sent - run.requests_before.0;
        report.requests.retried += retried - run.requests_before.1;
        let (input, output) = run.requests.tokens();
        report.tokens = input + output;
        report.output_tokens = output;
        let priced = run.priced.get().is_none_or(|priced| *priced);
        report.usd = priced.then(|| run.budget.spent());
        let (failures, warnings) = run.metrics.take_notes();
        report.failures = failures.into_iter().map(Into::into).collect();
        report.warnings = warnings;
        report.dry_run = run.options.dry_run;
        report.finished(run.started.elapsed(), crate::memory::peak_bytes())
    }
}

impl Run {
    /// Dollars spent so far.
    pub fn usd(&self) -> f64 {
        self.budget.spent()
    }

    /// The limit that is kept, in tokens a minute, once it is known.
    pub fn tokens_per_minute(&self) -> Option<u64> {
        self.limiter.get()?.snapshot().tokens_limit.map(u64::from)
    }

    /// Takes up rows that are computed, and wait for all the others before any of them is written.
    pub(super) fn staged(&self, rows: u64) {
        self.staged.fetch_add(rows, Ordering::Relaxed);
        self.metrics
            .selected(usize::try_from(rows).unwrap_or(usize::MAX));
    }

    /// Rows that the run is done with so far.
    pub fn progress(&self) -> u64 {
        let rows = self.metrics.rows();
        let ended = rows.written + rows.skipped + rows.failed;
        ended.max(self.staged.load(Ordering::Relaxed))
    }

    /// About how many rows were due when the flow began, where that is known.
    pub fn total(&self) -> Option<u64> {
        self.total.get().copied()
    }

    /// Tells about how many rows are due, for whoever shows the progress. What was told first stays: it was
    /// counted, or nothing was done yet.
    pub(super) fn expect(&self, rows: u64) {
        let rows = self.options.limit.map_or(rows, |limit| limit.min(rows));
        self.total.get_or_init(|| rows);
    }
}

/// The provider's client, for whoever needs nothing else of a session.
///
/// # Errors
/// Where no key is configured, or the address cannot be used.
pub fn provider(settings: &Settings) -> Result<Client, Error> {
    let key = settings.openai_key()?.clone();
    let unusable = |error: &dyn std::error::Error| Error::Usage(error.to_string());
    let deadlines = Deadlines {
        total: settings.openai.timeout,
        ..Deadlines::default()
    };
    let http = http_client(&deadlines).map_err(|error| unusable(&error))?;
    let settings = provider::Settings {
        base_url: settings.openai.base_url.clone(),
        key_header: settings.openai.key_header,
        api_version: settings.openai.api_version.clone(),
        vectors: settings.embedding.encoding_format,
        send_dimensions: settings.embedding.send_dimensions,
        ..provider::Settings::new(key)
    };
    Client::new(http, settings).map_err(|error| unusable(&error))
}
