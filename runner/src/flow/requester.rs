//! The way to the provider: the budget, the limiter and the retries of one request.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::engine::{Stop, StopReason, backoff};
use crate::provider::limiter::{Cost, Limiter, Observed, Permit, TooLarge};
use crate::provider::{Answer, Budget, Error, ErrorKind, RateHeaders, Reservation, Usage};
use crate::report::Requests;

/// Unreadable answers are asked for again this often before the batch is taken to be the cause.
const BROKEN_MAX: u32 = 3;
/// The first pause after an answer that named none; doubled each time.
const PAUSE_MIN: Duration = Duration::from_millis(250);
/// The longest of these pauses.
const PAUSE_MAX: Duration = Duration::from_secs(20);

/// What a request may cost at most.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Ask {
    /// Tokens that the model reads.
    pub input_tokens: u32,
    /// Tokens that it writes at most; they count against the limit as well.
    pub output_tokens: u32,
    /// Dollars at most.
    pub usd: f64,
}

/// Why a request has no result.
#[derive(Debug)]
pub enum Undone {
    /// The provider refuses this input, for this reason: bisect, or set the row aside.
    Rejected(String),
    /// The answers could not be read, however often it was asked.
    Unreadable(String),
    /// The flow is stopping; the rows are to be given back.
    Stopped,
    /// The flow cannot go on.
    Halt(StopReason),
}

/// What a flow has asked of the provider so far.
#[derive(Debug, Default)]
pub struct RequestMetrics {
    sent: AtomicU64,
    retried: AtomicU64,
    rate_limited: AtomicU64,
    input_tokens: AtomicU64,
    output_tokens: AtomicU64,
}

impl RequestMetrics {
    fn sent(&self, is_retry: bool) {
        self.sent.fetch_add(1, Ordering::Relaxed);
        self.retried.fetch_add(is_retry.into(), Ordering::Relaxed);
    }

    fn rate_limited(&self) {
        self.rate_limited.fetch_add(1, Ordering::Relaxed);
    }

    fn billed(&self, input: u64, output: u64) {
        self.input_tokens.fetch_add(input, Ordering::Relaxed);
        self.output_tokens.fetch_add(output, Ordering::Relaxed);
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

    /// Tokens billed so far: read by the model, written by it.
    pub fn tokens(&self) -> (u64, u64) {
        (
            self.input_tokens.load(Ordering::Relaxed),
            self.output_tokens.load(Ordering::Relaxed),
        )
    }
}

/// What all requests of a flow share.
#[derive(Debug, Clone)]
pub struct Requester {
    limiter: Limiter,
    budget: Budget,
    stop: Stop,
    metrics: Arc<RequestMetrics>,
    patience: Duration,
    /// Since when nothing but overload has been answered.
    outage: Arc<Mutex<Option<Instant>>>,
}

impl Requester {
    /// A requester for one flow. `patience` bounds how long an outage of the provider is waited out.
    pub fn new(
        limiter: Limiter,
        budget: Budget,
        stop: Stop,
        metrics: Arc<RequestMetrics>,
        patience: Duration,
    ) -> Self {
        Self {
            limiter,
            budget,
            stop,
            metrics,
            patience,
            outage: Arc::default(),
        }
    }

    /// Sends a request, as often as it takes: at the limiter's pace, within the budget, waiting out
    /// overload. `price` says what a usage costs.
    ///
    /// # Errors
    /// [`Undone`] says what to do with the rows of a request that has no result.
    pub async fn send<T, C, F>(
        &self,
        ask: Ask,
        price: impl Fn(&Usage) -> f64 + Send,
        mut call: C,
    ) -> Result<T, Undone>
    where
        C: FnMut() -> F + Send,
        F: Future<Output = Result<Answer<T>, Error>> + Send,
    {
        let mut broken = 0;
        let mut attempt = 0;
        loop {
            let (permit, reservation) = self.admit(ask).await?;
            self.metrics.sent(attempt > 0);
            let answer = tokio::select! {
                () = self.stop.aborted() => {
                    // It left, so it may be billed.
                    self.metrics.billed(ask.input_tokens.into(), 0);
                    reservation.settle_in_full();
                    return Err(Undone::Stopped);
                }
                answer = call() => answer,
            };
            match answer {
                Ok(answer) => return Ok(self.accept(ask, permit, reservation, &price, answer)),
                Err(error) => {
                    broken += u32::from(matches!(error.kind(), ErrorKind::Broken(_)));
                    let judged = self.judge(&error, broken);
                    if let Err(Undone::Halt(reason)) = &judged {
                        // Before the permit goes back: whoever waits for it would be refused too.
                        self.stop.stop(reason.clone());
                    }
                    self.account(ask, permit, reservation, &price, &error);
                    judged?;
                }
            }
            if !self
                .stop
                .sleep(backoff(attempt, PAUSE_MIN, PAUSE_MAX))
                .await
            {
                return Err(Undone::Stopped);
            }
            attempt += 1;
        }
    }

    /// Waits for the money and for a place within the limits.
    async fn admit(&self, ask: Ask) -> Result<(Permit, Reservation), Undone> {
        let reserved = tokio::select! {
            biased;
            () = self.stop.stopped() => return Err(Undone::Stopped),
            reserved = self.budget.reserve(ask.usd) => reserved,
        };
        let reservation = reserved
            .map_err(|exhausted| Undone::Halt(StopReason::Budget(exhausted.to_string())))?;
        let cost = Cost::of_tokens(ask.input_tokens.saturating_add(ask.output_tokens));
        let permit = tokio::select! {
            biased;
            () = self.stop.stopped() => return Err(Undone::Stopped),
            permit = self.limiter.acquire(cost) => permit,
        };
        permit
            .map(|permit| (permit, reservation))
            .map_err(|error: TooLarge| Undone::Rejected(error.to_string()))
    }

    fn accept<T>(
        &self,
        ask: Ask,
        permit: Permit,
        reservation: Reservation,
        price: &impl Fn(&Usage) -> f64,
        answer: Answer<T>,
    ) -> T {
        permit.success(&observed(&answer.rate));
        // A server that tells no usage is taken to have read what was counted.
        let usage = answer.usage.unwrap_or_else(|| ask.read_only());
        self.metrics.billed(usage.input_tokens, usage.output_tokens);
        reservation.settle(price(&usage));
        *self.outage.lock().unwrap_or_else(PoisonError::into_inner) = None;
        answer.value
    }

    /// Books a failed attempt: with the limiter, and as spent where it may have been billed.
    fn account(
        &self,
        ask: Ask,
        permit: Permit,
        reservation: Reservation,
        price: &impl Fn(&Usage) -> f64,
        error: &Error,
    ) {
        match error.usage() {
            Some(usage) => {
                self.metrics.billed(usage.input_tokens, usage.output_tokens);
                reservation.settle(price(&usage));
            }
            None if error.may_have_been_billed() => {
                self.metrics.billed(ask.input_tokens.into(), 0);
                reservation.settle_in_full();
            }
            None => drop(reservation),
        }
        permit.observe(&observed(error.rate()));
        if matches!(error.kind(), ErrorKind::Overloaded { .. }) {
            if error.is_rate_limited() {
                self.metrics.rate_limited();
            }
            permit.overloaded(error.retry_after());
        }
    }

    /// Whether a failed request is sent again (`Ok`), and what it means where it is not.
    fn judge(&self, error: &Error, broken: u32) -> Result<(), Undone> {
        match error.kind() {
            ErrorKind::Refused(_) => Err(Undone::Halt(StopReason::Refused(error.to_string()))),
            ErrorKind::BadInput | ErrorKind::TooLarge { .. } => {
                Err(Undone::Rejected(error.to_string()))
            }
            ErrorKind::Broken(_) if broken >= BROKEN_MAX => {
                Err(Undone::Unreadable(error.to_string()))
            }
            ErrorKind::Broken(_) => Ok(()),
            ErrorKind::Overloaded { .. } => self.wait_out(error),
        }
    }

    /// An overloaded provider is waited for, but not for ever.
    fn wait_out(&self, error: &Error) -> Result<(), Undone> {
        let now = Instant::now();
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        let since = *outage.get_or_insert(now);
        if now.duration_since(since) <= self.patience {
            tracing::debug!(%error, "the provider is overloaded or unreachable; trying again");
            return Ok(());
        }
        let seconds = self.patience.as_secs();
        Err(Undone::Halt(StopReason::Outage(format!(
            "the provider has answered nothing for {seconds} s: {error}"
        ))))
    }
}

impl Ask {
    /// What is billed at least.
    fn read_only(self) -> Usage {
        Usage {
            input_tokens: self.input_tokens.into(),
            ..Usage::default()
        }
    }
}

/// The provider's headers, as the limiter reads them.
fn observed(rate: &RateHeaders) -> Observed {
    let count = |count: Option<u64>| count.map(|count| u32::try_from(count).unwrap_or(u32::MAX));
    Observed {
        limit_requests: count(rate.limit_requests),
        remaining_requests: count(rate.remaining_requests),
        reset_requests: rate.reset_requests,
        limit_tokens: count(rate.limit_tokens),
        remaining_tokens: count(rate.remaining_tokens),
        reset_tokens: rate.reset_tokens,
    }
}
