//! Sends requests to the provider: within the budget and the rate limit, as often as it takes.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::MutexGuard;
use tokio::time::Instant;

use super::ledger::{Hold, Ledger};
use super::price::{Tariff, Tiering, price_of};
use crate::db::RunRate;
use crate::engine::{
    Bisection, Blame, Fault, GaveUp, Patience, Setback, Stop, StopReason, Wait, backoff,
};
use crate::provider::limiter::{Limiter, NotSent, Permit, TooLarge};
use crate::provider::{Breakage, Error, ErrorKind, Response, ServiceTier, Tier, Usage};
use crate::report::Requests;
use crate::traffic::Traffic;

/// If this many responses to a request are unreadable, the request is taken to be the cause.
const BROKEN_MAX: u32 = 3;
/// The limits of a minute are kept, however short the patience is.
const MINUTE: Duration = Duration::from_secs(90);
/// What to do about a request that is above the limit of a minute.
const RAISE: &str = "raise OPENAI_TPM (limits.tokens_per_minute) or the account's limit";
/// The first pause after a response that cannot be read.
const PAUSE_MIN: Duration = Duration::from_millis(250);
/// The longest of these pauses.
const PAUSE_MAX: Duration = Duration::from_secs(20);

/// The most that a request may cost, in tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct RequestCost {
    /// Tokens that the model reads.
    pub(super) input_tokens: u32,
    /// The most tokens that it writes, in all answers. They count against the rate limit too.
    pub(super) output_tokens: u32,
    /// How many answers the request has, if it is more than one.
    answers: u32,
}

/// One attempt of a request, as it is to be sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempt {
    /// What was reserved for it.
    pub(super) cost: RequestCost,
    /// The tier that it names.
    pub(super) tier: Option<ServiceTier>,
}

/// Why a request has no result.
#[derive(Debug)]
pub(super) enum RequestError {
    /// The provider refuses this input, for this reason. One of its rows may be the cause.
    Rejected(String),
    /// None of the responses could be read. One of the rows may be the cause.
    Unreadable(String),
    /// The request has too many tokens or bytes.
    TooLarge(String),
    /// The request has more inputs than this.
    TooManyInputs(usize, String),
    /// The request is above the rate limit of a whole minute, so it can never be sent.
    AboveLimit(StopReason),
    /// The provider fails only this request, for as long as the patience. Its rows stay due.
    Deferred(StopReason),
    /// The flow is stopping, so its rows are released.
    Stopped,
    /// The flow cannot go on.
    Halt(StopReason),
}

/// The requests of a run so far. The requester writes, the report and the progress bar read.
#[derive(Debug)]
pub struct RequestMetrics {
    /// When the run began.
    started: Instant,
    sent: AtomicU64,
    retried: AtomicU64,
    rate_limited: AtomicU64,
    traffic: Mutex<Traffic>,
    /// The model has no price.
    is_unpriced: AtomicBool,
}

impl RequestMetrics {
    pub(super) fn new(started: Instant) -> Self {
        Self {
            started,
            sent: AtomicU64::new(0),
            retried: AtomicU64::new(0),
            rate_limited: AtomicU64::new(0),
            traffic: Mutex::default(),
            is_unpriced: AtomicBool::new(false),
        }
    }

    fn change(&self, change: impl FnOnce(&mut Traffic)) {
        change(&mut self.traffic.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn read<T>(&self, read: impl FnOnce(&Traffic) -> T) -> T {
        read(&self.traffic.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Counts what was billed for a request that was sent at this time of the run.
    fn billed(&self, at: Duration, usage: &Usage, bill: (Tier, f64)) {
        self.change(|traffic| traffic.billed(at, usage, bill));
    }

    /// Counts what was billed for a line of a batch.
    pub(super) fn billed_by_batch(&self, usage: &Usage, usd: f64) {
        self.billed(self.elapsed(), usage, (Tier::Batch, usd));
    }

    /// All requests of a run go to this model.
    pub(super) fn of_model(&self, model: &str) {
        self.change(|traffic| model.clone_into(&mut traffic.model));
    }

    /// How long ago the run began.
    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Requests to the provider. The database client counts those to Supabase.
    pub fn requests(&self) -> Requests {
        Requests {
            supabase: 0,
            openai: self.sent.load(Ordering::Relaxed),
            retried: self.retried.load(Ordering::Relaxed),
            rate_limited: self.rate_limited.load(Ordering::Relaxed),
        }
    }

    /// Tokens billed so far.
    pub fn usage(&self) -> Usage {
        self.read(|traffic| traffic.usage)
    }

    /// The rate limit, once a request was sent and the limit is known.
    pub fn tokens_per_minute(&self) -> Option<u64> {
        self.read(|traffic| traffic.tokens_per_minute.map(u64::from))
    }

    /// The requests and tokens of the last minute, and their limits, as the run's record has them.
    pub(super) fn rate(&self) -> RunRate {
        let now = self.elapsed();
        self.read(|traffic| {
            let rate = traffic.series.rate(now);
            RunRate {
                requests_per_minute: rate.requests.round(),
                tokens_per_minute: rate.tokens.round(),
                requests_limit: traffic.requests_per_minute,
                tokens_limit: traffic.tokens_per_minute,
            }
        })
    }

    /// All of it over time, if anything was sent.
    pub fn traffic(&self) -> Option<Traffic> {
        (self.sent.load(Ordering::Relaxed) > 0).then(|| self.read(Traffic::clone))
    }

    /// False if the model has no price.
    pub fn is_priced(&self) -> bool {
        !self.is_unpriced.load(Ordering::Relaxed)
    }
}

/// Sends the requests of one run to one model. Clones share its budget, limits and patience.
#[derive(Debug, Clone)]
pub(super) struct Requester {
    limiter: Limiter,
    ledger: Ledger,
    tariff: Tariff,
    tiering: Tiering,
    stop: Stop,
    metrics: Arc<RequestMetrics>,
    patience: Patience,
    /// Whether rows may be blamed for refused requests.
    blame: Arc<Blame>,
    /// True once a request was given up because no response to it could be read.
    was_unreadable: Arc<AtomicBool>,
}

/// A request that may be sent: its place within the rate limit, and its money.
struct Admission {
    permit: Permit,
    reservation: Hold,
    /// When the request is sent, counted from the beginning of the run.
    at: Duration,
}

impl Requester {
    /// A requester for one run. `patience` is the one with the provider.
    pub(super) fn new(
        limiter: Limiter,
        ledger: Ledger,
        (tariff, tiering): (Tariff, Tiering),
        stop: Stop,
        metrics: Arc<RequestMetrics>,
        patience: Patience,
    ) -> Self {
        metrics
            .is_unpriced
            .store(!tariff.is_known(), Ordering::Relaxed);
        Self {
            limiter,
            ledger,
            tariff,
            tiering,
            stop,
            metrics,
            patience,
            blame: Arc::default(),
            was_unreadable: Arc::default(),
        }
    }

    /// True if a request of this run has succeeded, so that rows may be blamed for a refusal.
    pub(super) fn has_succeeded(&self) -> bool {
        self.blame.has_succeeded()
    }

    /// Prepares a search for its probes after a refusal: see [`Blame::doubt`].
    pub(super) async fn doubt<'r, T>(
        &'r self,
        search: &mut Bisection<T>,
        turn: &mut Option<MutexGuard<'r, ()>>,
    ) {
        self.blame.doubt(search, turn).await;
    }

    /// Decides about requests that were all refused, the last one for this reason. `Err` if no row is at fault.
    pub(super) async fn blame_rows(&self, why: &str) -> Result<(), StopReason> {
        match self.blame.fault().await {
            Fault::Row => Ok(()),
            Fault::Everyone => Err(self.halt(format!(
                "no request of this run has succeeded, so no row is blamed: check the key, the model and the \
                 base URL; {why}"
            ))),
        }
    }

    /// Stops the run at once, because the provider's answers are no row's fault.
    pub(super) fn halt(&self, why: String) -> StopReason {
        let reason = StopReason::Refused(why);
        self.stop.stop(reason.clone());
        reason
    }

    /// Sends a request until it has a result, or cannot have one. The most that it may cost is asked for before each
    /// attempt, because it changes if the model refuses a parameter.
    pub(super) async fn send<T, C, F>(
        &self,
        cost: impl Fn() -> RequestCost + Send + Sync,
        call: C,
    ) -> Result<T, RequestError>
    where
        C: FnMut(Attempt) -> F + Send,
        F: Future<Output = Result<Response<T>, Error>> + Send,
    {
        self.blame.watch(self.attempts(cost, call)).await
    }

    async fn attempts<T, C, F>(
        &self,
        cost: impl Fn() -> RequestCost + Send + Sync,
        mut call: C,
    ) -> Result<T, RequestError>
    where
        C: FnMut(Attempt) -> F + Send,
        F: Future<Output = Result<Response<T>, Error>> + Send,
    {
        let (mut broken, mut attempt) = (0, 0);
        let mut wait = self.patience.begin();
        let mut tier = self.tiering.named;
        loop {
            let cost = cost();
            let admission = self.admit(cost).await?;
            self.metrics.sent.fetch_add(1, Ordering::Relaxed);
            let is_retry = u64::from(attempt > 0);
            self.metrics.retried.fetch_add(is_retry, Ordering::Relaxed);
            let answer = tokio::select! {
                () = self.stop.aborted() => {
                    // It was sent, so it may be billed.
                    self.bill_in_full((admission.at, admission.reservation), cost, tier);
                    return Err(RequestError::Stopped);
                }
                answer = call(Attempt { cost, tier }) => answer,
            };
            let error = match answer {
                Ok(answer) => return Ok(self.accept((cost, tier), admission, answer)),
                Err(error) => error,
            };
            broken += u32::from(matches!(error.kind(), ErrorKind::Broken(_)));
            let decision = self.decide(&error, broken, &mut wait);
            if let Err(RequestError::Halt(reason)) = &decision {
                // Before the permit is free, because the next request would be refused too.
                self.stop.stop(reason.clone());
            }
            self.account((cost, tier), admission, &error);
            let mut pause = decision?;
            if error.lacks_capacity() {
                // The limiter does not hear of it.
                pause = pause.max(error.retry_after().unwrap_or_default());
                if self.tiering.falls_back {
                    (tier, pause) = (Some(ServiceTier::Default), Duration::ZERO);
                }
            }
            if !self.stop.sleep(pause).await {
                return Err(RequestError::Stopped);
            }
            attempt += 1;
        }
    }

    /// Waits for money and for a place within the rate limit.
    async fn admit(&self, cost: RequestCost) -> Result<Admission, RequestError> {
        let usd = self.usd_at_most(&cost);
        let reserved = tokio::select! {
            biased;
            () = self.stop.stopped() => return Err(RequestError::Stopped),
            reserved = self.ledger.reserve(usd) => reserved,
        };
        let reservation = reserved.map_err(RequestError::Halt)?;
        let tokens = cost.input_tokens.saturating_add(cost.output_tokens);
        let permit = tokio::select! {
            biased;
            () = self.stop.stopped() => return Err(RequestError::Stopped),
            permit = self.limiter.acquire_within(tokens, self.patience.most().max(MINUTE)) => permit,
        };
        let permit = permit.map_err(|not_sent| match not_sent {
            NotSent::Closed(wait) => {
                let gave_up = self.patience.come_back(wait, &"nothing is left of a limit");
                RequestError::Halt(StopReason::Outage(gave_up.to_string()))
            }
            NotSent::TooLarge(TooLarge { asked, limit }) => {
                RequestError::AboveLimit(StopReason::Deferred(format!(
                    "a text of {asked} tokens is above the limit of {limit} tokens a minute and stays due: {RAISE}"
                )))
            }
        })?;
        let at = self.metrics.elapsed();
        self.metrics.change(|traffic| {
            traffic.sent(at);
            traffic.tokens_per_minute = self.limiter.tokens_per_minute();
            traffic.requests_per_minute = self.limiter.requests_per_minute();
        });
        Ok(Admission {
            permit,
            reservation,
            at,
        })
    }

    fn accept<T>(
        &self,
        (cost, tier): (RequestCost, Option<ServiceTier>),
        admission: Admission,
        answer: Response<T>,
    ) -> T {
        self.blame.succeeded();
        admission.permit.success(&answer.rate);
        let at = admission.at;
        let took = self.metrics.elapsed().saturating_sub(at);
        self.metrics.change(|traffic| traffic.succeeded(took));
        // Some servers return no usage. They have read what was counted.
        let usage = answer.usage.unwrap_or_else(|| cost.input_usage());
        let tier = answer.tier.unwrap_or_else(|| price_of(tier));
        self.bill((at, admission.reservation), &usage, tier);
        self.patience.answered();
        answer.value
    }

    /// Counts and pays for what a request was billed for.
    fn bill(&self, (at, hold): (Duration, Hold), usage: &Usage, tier: Tier) {
        let usd = self.tariff.usd(usage, tier);
        self.metrics.billed(at, usage, (tier, usd));
        hold.settle(usd);
    }

    /// The same if nobody said what it was billed for: it counts as the most that it can be.
    fn bill_in_full(
        &self,
        (at, hold): (Duration, Hold),
        cost: RequestCost,
        tier: Option<ServiceTier>,
    ) {
        let usd = self.usd_at_most(&cost);
        let bill = (price_of(tier), usd);
        self.metrics.billed(at, &cost.input_usage(), bill);
        hold.settle_in_full();
    }

    /// The most that a request can cost.
    fn usd_at_most(&self, cost: &RequestCost) -> f64 {
        self.tariff
            .usd_at_most(&cost.usage(), self.tiering.dearest())
    }

    /// Accounts for a failed attempt. If it may have been billed, its reservation is spent.
    fn account(
        &self,
        (cost, tier): (RequestCost, Option<ServiceTier>),
        admission: Admission,
        error: &Error,
    ) {
        let at = admission.at;
        self.metrics.change(|traffic| traffic.failed(at, error));
        let Admission {
            permit,
            reservation,
            ..
        } = admission;
        match error.usage() {
            Some(usage) => self.bill((at, reservation), &usage, price_of(tier)),
            None if error.may_have_been_billed() => {
                self.bill_in_full((at, reservation), cost, tier);
            }
            None => drop(reservation),
        }
        permit.observe(error.rate());
        if matches!(error.kind(), ErrorKind::Overloaded { .. }) {
            if error.is_rate_limited() {
                self.metrics.rate_limited.fetch_add(1, Ordering::Relaxed);
            }
            // A tier without capacity says nothing about the limits of this account.
            if !error.lacks_capacity() {
                permit.overloaded(error.retry_after());
            }
        }
    }

    /// Decides whether a failed request is sent again, and after which pause, or why not.
    fn decide(
        &self,
        error: &Error,
        broken: u32,
        wait: &mut Wait,
    ) -> Result<Duration, RequestError> {
        match error.kind() {
            ErrorKind::Refused(_) => {
                Err(RequestError::Halt(StopReason::Refused(error.to_string())))
            }
            ErrorKind::BadInput => Err(RequestError::Rejected(error.to_string())),
            ErrorKind::TooLarge { .. } => Err(RequestError::TooLarge(error.to_string())),
            ErrorKind::AboveLimit { .. } => Err(RequestError::AboveLimit(StopReason::Deferred(
                format!("a text stays due: {RAISE}; {error}"),
            ))),
            ErrorKind::TooManyInputs { limit } => {
                Err(RequestError::TooManyInputs(*limit, error.to_string()))
            }
            ErrorKind::Broken(Breakage::AllDimensions { expected, found })
                if !self.has_succeeded() =>
            {
                Err(RequestError::Halt(StopReason::Settings(format!(
                    "embedding.dimensions is {expected}, but the model gives vectors of {found}: set \
                     embedding.dimensions to {found}, or choose a model that gives {expected}"
                ))))
            }
            ErrorKind::Broken(_) if broken >= self.broken_max() => {
                self.was_unreadable.store(true, Ordering::Relaxed);
                Err(RequestError::Unreadable(error.to_string()))
            }
            ErrorKind::Broken(_) => Ok(backoff(broken, PAUSE_MIN, PAUSE_MAX)),
            ErrorKind::Adapted => Ok(Duration::ZERO),
            ErrorKind::Overloaded { .. } => outlast(error, wait),
        }
    }

    /// How many unreadable responses a request may have. One is enough if no request has ever had another.
    fn broken_max(&self) -> u32 {
        if self.was_unreadable.load(Ordering::Relaxed) && !self.has_succeeded() {
            1
        } else {
            BROKEN_MAX
        }
    }
}

/// The pause before a request is sent again to a provider that is overloaded. The limiter keeps the pause that the
/// provider asks for.
fn outlast(error: &Error, wait: &mut Wait) -> Result<Duration, RequestError> {
    wait.failed(setback(error))
        .map_err(|gave_up| match gave_up {
            // Others succeed meanwhile.
            GaveUp::Alone(why) => RequestError::Deferred(StopReason::Deferred(why)),
            gave_up => RequestError::Halt(StopReason::Outage(gave_up.to_string())),
        })
}

/// A provider that is overloaded, to be waited for.
pub(super) fn setback(error: &Error) -> Setback<'_> {
    Setback {
        why: error,
        asked: error.retry_after(),
        is_limit: error.is_rate_limited(),
    }
}

impl RequestCost {
    /// From counts of tokens.
    pub(super) fn new(input_tokens: usize, output_tokens: usize) -> Self {
        Self {
            input_tokens: u32::try_from(input_tokens).unwrap_or(u32::MAX),
            output_tokens: u32::try_from(output_tokens).unwrap_or(u32::MAX),
            answers: 1,
        }
    }

    /// Of a request with several answers of so many tokens each.
    pub(super) fn of_answers(input_tokens: u32, answer_tokens: usize, answers: usize) -> Self {
        Self {
            answers: u32::try_from(answers).unwrap_or(u32::MAX),
            ..Self::new(input_tokens as usize, answer_tokens * answers)
        }
    }

    /// The most tokens of one answer.
    pub(super) fn answer_tokens(self) -> u32 {
        self.output_tokens / self.answers.max(1)
    }

    /// The most that is billed.
    pub(super) fn usage(self) -> Usage {
        Usage {
            input_tokens: self.input_tokens.into(),
            output_tokens: self.output_tokens.into(),
            ..Usage::default()
        }
    }

    /// What is billed at least.
    fn input_usage(self) -> Usage {
        Usage {
            output_tokens: 0,
            ..self.usage()
        }
    }
}
