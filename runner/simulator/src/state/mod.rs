//! What the simulator remembers between requests, and its decisions. The caller passes the time.

mod batch;

use std::{collections::HashMap, time::Duration};

use secrecy::ExposeSecret;

use crate::{
    answer::{AnswerTerms, SimulatedResponse},
    batch::BatchStore,
    cache::{CacheUse, PromptCache},
    config::{Config, ConfigChange, Style},
    error_response::{ErrorResponse, HeaderPairs},
    fault::Fault,
    ledger::{Account, Ledger, Tier},
    rate::{LimitExceeded, LimitKind, ModelAllowances, azure_headers},
    request::{ParsedRequest, Route},
    stats::{Stats, count_text},
};

/// What the simulator remembers. Times count from its start.
#[derive(Debug)]
pub(crate) struct SimulatorState {
    config: Config,
    stats: Stats,
    models: HashMap<String, ModelAllowances>,
    batches: BatchStore,
    account: Account,
    cache: PromptCache,
}

/// A request that gets a response.
#[derive(Debug)]
pub(crate) struct AdmittedRequest {
    pub(crate) route: Route,
    pub(crate) request: ParsedRequest,
    pub(crate) terms: AnswerTerms,
    /// What the prompt cache learns from it.
    cache: CacheUse,
}

impl SimulatorState {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            config,
            stats: Stats::default(),
            models: HashMap::new(),
            batches: BatchStore::default(),
            account: Account::default(),
            cache: PromptCache::default(),
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        self.stats.clone()
    }

    /// Forgets all requests, files and batches, refills every allowance and starts the sequence of
    /// faults again.
    pub(crate) fn reset(&mut self) {
        *self = Self {
            batches: self.batches.emptied(),
            ..Self::new(self.config.clone())
        };
    }

    pub(crate) fn change(&mut self, change: ConfigChange) -> Result<(), String> {
        if self.config.apply(change)? {
            self.models.clear();
        }
        Ok(())
    }

    pub(crate) fn ledger(&self) -> Ledger {
        self.account.ledger()
    }

    pub(crate) fn style(&self) -> Style {
        self.config.style
    }

    /// Counts a request, and decides whether it gets a response.
    pub(crate) fn admit(
        &mut self,
        route: Route,
        key: Option<&str>,
        request: Result<ParsedRequest, ErrorResponse>,
        now: Duration,
    ) -> Result<AdmittedRequest, ErrorResponse> {
        let number = self.stats.requests;
        self.stats.requests += 1;
        match route {
            Route::Embeddings => self.stats.embedding_requests += 1,
            Route::Chat => self.stats.chat_requests += 1,
            Route::Responses => self.stats.response_requests += 1,
        }
        let admitted = self.check_key(key).and(request).and_then(|request| {
            let decided = self.decide(number, route, key, &request, now);
            let fault = decided.map_err(|error| ErrorResponse {
                headers: self.headers(request.model(), now),
                ..error
            })?;
            let tier = request.tier();
            Ok(self.admitted(route, request, (number, fault, tier), now))
        });
        admitted.map_err(|mut error| {
            self.count_error(&error);
            error.headers.push(request_id(number));
            error
        })
    }

    /// A request that gets a response, with what the prompt cache does for it.
    fn admitted(
        &mut self,
        route: Route,
        request: ParsedRequest,
        (number, fault, tier): (u64, Option<Fault>, Tier),
        now: Duration,
    ) -> AdmittedRequest {
        let per_minute = self.config.cache_requests_per_minute;
        let asked = request.cache_request();
        let charges_writes = asked.is_some_and(|asked| asked.charges_writes);
        let cache = asked.map(|asked| self.cache.look_up(asked, per_minute, now));
        let cache = cache.unwrap_or_default();
        let terms = AnswerTerms {
            number,
            fault,
            style: self.config.style,
            tier,
            cached: cache.cached,
            written: charges_writes.then_some(cache.written),
            unix_time: 0,
        };
        AdmittedRequest {
            route,
            request,
            terms,
            cache,
        }
    }

    /// Learns that a response was sent.
    pub(crate) fn sent(&mut self, admitted: &AdmittedRequest, now: Duration) {
        self.cache.keep(&admitted.cache, now);
    }

    /// Whether this key may see the model.
    pub(crate) fn check_model(&self, key: Option<&str>, model: &str) -> Result<(), ErrorResponse> {
        self.check_reader(key)?;
        self.config.models.check(model)
    }

    /// Whether this key may read at all.
    pub(crate) fn check_reader(&self, key: Option<&str>) -> Result<(), ErrorResponse> {
        self.check_key(key)?;
        let faults = &self.config.faults;
        let rates = faults.rates.iter().filter(|(fault, _)| fault.is_of_keys());
        let rates = rates.map(|(fault, rate)| (*fault, *rate)).collect();
        match faults.choose(&rates, self.stats.requests, (Route::Chat, Tier::Default)) {
            Some(fault) => self.refuse_for(fault, "", key),
            None => Ok(()),
        }
    }

    /// Bills a response, and returns when to send it after the request and with which headers.
    pub(crate) fn bill(
        &mut self,
        admitted: &AdmittedRequest,
        response: &SimulatedResponse,
        now: Duration,
    ) -> (Duration, HeaderPairs) {
        let request = &admitted.request;
        let (input, output) = (response.usage.input, response.usage.output);
        self.stats.answered += 1;
        self.count_usage(admitted, response);
        self.model(request.model(), now).take_output(output, now);
        let Config {
            faults, latency, ..
        } = &self.config;
        let mut delay = latency.of(input + output, faults.luck(admitted.terms.number));
        if admitted.terms.fault == Some(Fault::Slow) {
            delay += Duration::from_millis(faults.slow_ms);
        }
        let mut headers = self.headers(request.model(), now);
        headers.push(request_id(admitted.terms.number));
        (delay, headers)
    }

    /// Counts the tokens and the texts of a response.
    fn count_usage(&mut self, admitted: &AdmittedRequest, response: &SimulatedResponse) {
        let request = &admitted.request;
        self.stats.input_tokens += response.usage.input;
        self.stats.output_tokens += response.usage.output;
        if let Some(model) = request.found_model() {
            let (tier, endpoint) = (admitted.terms.tier, admitted.route.url());
            let model = (request.model(), &model.price);
            self.account.bill(model, tier, endpoint, response.usage);
        }
        if self.config.count_texts {
            let counts = match request {
                ParsedRequest::Embeddings(_) => &mut self.stats.embedded,
                ParsedRequest::Chat(_) | ParsedRequest::Responses(_) => &mut self.stats.scored,
            };
            for text in request.texts().repeat(request.times()) {
                count_text(counts, text);
            }
        }
    }

    /// The rate-limit headers of a response about this model.
    fn headers(&mut self, model: &str, now: Duration) -> HeaderPairs {
        match self.config.style {
            Style::OpenAi => self.model(model, now).headers(now),
            Style::Azure => azure_headers(),
            Style::Local => HeaderPairs::new(),
        }
    }

    /// The fault of the response, or why there is no response.
    fn decide(
        &mut self,
        number: u64,
        route: Route,
        key: Option<&str>,
        request: &ParsedRequest,
        now: Duration,
    ) -> Result<Option<Fault>, ErrorResponse> {
        self.config.models.check(request.model())?;
        self.check_limits(request, now)?;
        self.check_poison(request)?;
        let faults = &self.config.faults;
        let Some(fault) = faults.choose(&faults.rates, number, (route, request.tier())) else {
            return Ok(None);
        };
        *self.stats.faults.entry(fault).or_default() += 1;
        let refused = self.refuse_for(fault, request.model(), key);
        if let Some(wait) = refused.as_ref().err().and_then(|error| error.retry_after) {
            self.model(request.model(), now).send_retry_after(wait, now);
        }
        refused.map(|()| Some(fault))
    }

    fn check_poison(&self, request: &ParsedRequest) -> Result<(), ErrorResponse> {
        let faults = &self.config.faults;
        if request.texts().iter().any(|text| faults.poisons(text)) {
            let message = "The request was refused for what its texts hold.";
            return Err(ErrorResponse::invalid(request.texts_param(), message));
        }
        Ok(())
    }

    /// The refusal that a fault is, if it is one.
    fn refuse_for(
        &self,
        fault: Fault,
        model: &str,
        key: Option<&str>,
    ) -> Result<(), ErrorResponse> {
        match fault {
            Fault::RateLimit => {
                let wait = Duration::from_millis(self.config.faults.retry_after_ms);
                let message = format!("Rate limit reached for {model} on requests per min (RPM).");
                Err(ErrorResponse::rate_limit("requests", message, Some(wait)))
            }
            Fault::Overloaded => Err(ErrorResponse::overloaded()),
            Fault::ServerError => Err(ErrorResponse::server_error()),
            Fault::Quota => Err(ErrorResponse::quota()),
            Fault::BadKey => Err(ErrorResponse::bad_key(key.unwrap_or_default())),
            Fault::MissingScopes => Err(ErrorResponse::missing_scopes()),
            Fault::IpNotAuthorized => Err(ErrorResponse::ip_not_authorized()),
            Fault::ResourceUnavailable => Err(ErrorResponse::resource_unavailable()),
            _ => Ok(()),
        }
    }

    fn check_key(&self, key: Option<&str>) -> Result<(), ErrorResponse> {
        let key = key.filter(|key| !key.is_empty());
        let key = key.ok_or_else(ErrorResponse::no_key)?;
        match &self.config.key {
            Some(expected) if expected.expose_secret() != key => Err(ErrorResponse::bad_key(key)),
            _ => Ok(()),
        }
    }

    fn check_limits(
        &mut self,
        request: &ParsedRequest,
        now: Duration,
    ) -> Result<(), ErrorResponse> {
        let (model, tokens) = (request.model(), request.input_tokens());
        let allowances = self.model(model, now);
        let early = allowances.is_early(now);
        let admitted = allowances.admit(tokens, now);
        self.stats.too_early += u64::from(early);
        let Err(LimitExceeded { kind, limit, wait }) = admitted else {
            return Ok(());
        };
        let problem = match wait {
            Some(_) => "Rate limit reached",
            None => "Request too large",
        };
        let (kind, what, cost) = match kind {
            LimitKind::Requests => ("requests", "requests per min (RPM)", None),
            LimitKind::RequestsOfDay => ("requests", "requests per day (RPD)", None),
            LimitKind::Tokens => ("tokens", "tokens per min (TPM)", Some(tokens)),
            LimitKind::TokensOfDay => ("tokens", "tokens per day (TPD)", Some(tokens)),
        };
        let cost = cost
            .map(|tokens| format!(", Requested {tokens}"))
            .unwrap_or_default();
        let message = format!("{problem} for {model} on {what}: Limit {limit}{cost}.");
        Err(ErrorResponse::rate_limit(kind, message, wait))
    }

    fn count_error(&mut self, error: &ErrorResponse) {
        if error.status.is_server_error() {
            self.stats.failed += 1;
        } else if error.retry_after.is_some() {
            self.stats.rate_limited += 1;
        } else {
            self.stats.refused += 1;
        }
    }

    fn model(&mut self, model: &str, now: Duration) -> &mut ModelAllowances {
        let limits = self.config.limits_of(model);
        let full = || ModelAllowances::new(limits, now);
        self.models.entry(model.to_owned()).or_insert_with(full)
    }
}

fn request_id(number: u64) -> (&'static str, String) {
    ("x-request-id", format!("req_simulated_{number}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::SimulatedLimits, fault::Faults, ledger::TokenUsage};

    const KEY: Option<&str> = Some("sk-1");

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn admit(
        state: &mut SimulatorState,
        text: &str,
        now: Duration,
    ) -> Result<AdmittedRequest, ErrorResponse> {
        let body = format!(r#"{{"model":"text-embedding-3-small","input":["{text}"]}}"#);
        let request = ParsedRequest::read(Route::Embeddings, body.as_bytes());
        let admitted = state.admit(Route::Embeddings, KEY, request, now);
        admitted.map_err(|error| ErrorResponse {
            headers: HeaderPairs::new(),
            ..error
        })
    }

    #[test]
    fn the_key_is_checked_before_anything_else() {
        let config = Config {
            key: Some("sk-2".into()),
            ..Config::default()
        };
        let mut state = SimulatorState::new(config);
        for (key, status) in [
            (None, 401),
            (Some(""), 401),
            (KEY, 401),
            (Some("sk-2"), 400),
        ] {
            let unparsable = Err(ErrorResponse::unparsable());
            let error = state
                .admit(Route::Chat, key, unparsable, ms(0))
                .unwrap_err();
            assert_eq!(error.status, status, "{key:?}");
        }
        assert_eq!((state.stats.requests, state.stats.refused), (4, 4));
    }

    #[test]
    fn requests_before_the_end_of_retry_after_are_counted() {
        let limits = SimulatedLimits {
            requests_per_minute: Some(60),
            burst_seconds: 1.0,
            ..SimulatedLimits::default()
        };
        let mut state = SimulatorState::new(Config {
            limits,
            ..Config::default()
        });
        assert!(admit(&mut state, "a", ms(0)).is_ok());
        let error = admit(&mut state, "a", ms(10)).unwrap_err();
        assert_eq!(error.code, Some("rate_limit_exceeded"));
        assert!(
            error.message.contains("requests per min"),
            "{}",
            error.message
        );
        let wait = error.retry_after.unwrap();
        assert!(admit(&mut state, "a", ms(500)).is_err());
        assert_eq!(state.stats.too_early, 1);
        assert!(admit(&mut state, "a", ms(510) + wait).is_ok());
        let counted = state.stats();
        assert_eq!(
            (counted.requests, counted.rate_limited, counted.too_early),
            (4, 2, 1)
        );
    }

    #[test]
    fn the_error_of_a_request_above_the_limit_names_the_limit() {
        let limits = SimulatedLimits {
            tokens_per_minute: Some(1),
            ..SimulatedLimits::default()
        };
        let mut state = SimulatorState::new(Config {
            limits,
            ..Config::default()
        });
        let error = admit(&mut state, "one two three", ms(0)).unwrap_err();
        assert!(
            error.message.contains("Limit 1, Requested 3"),
            "{}",
            error.message
        );
        assert_eq!((error.retry_after, state.stats.refused), (None, 1));
    }

    #[test]
    fn poison_and_faults_refuse_and_are_counted() {
        let mut faults = Faults::only(Fault::Overloaded, 1.0);
        faults.poison = Some("arsenic".to_owned());
        let mut state = SimulatorState::new(Config {
            faults,
            ..Config::default()
        });
        let error = admit(&mut state, "arsenic and lace", ms(0)).unwrap_err();
        assert_eq!((error.status.as_u16(), error.param), (400, Some("input")));
        assert!(!error.message.contains("arsenic"));
        assert_eq!(
            admit(&mut state, "lace", ms(0)).unwrap_err(),
            ErrorResponse::overloaded()
        );
        let counted = state.stats();
        assert_eq!((counted.refused, counted.failed), (1, 1));
        assert_eq!(counted.faults[&Fault::Overloaded], 1);
    }

    #[test]
    fn a_response_is_billed_and_delayed() {
        let mut faults = Faults::only(Fault::Slow, 1.0);
        faults.slow_ms = 70;
        let mut state = SimulatorState::new(Config {
            faults,
            ..Config::default()
        });
        let admitted = admit(&mut state, "a", ms(0)).unwrap();
        let response = SimulatedResponse::to(&admitted.request, &admitted.terms);
        assert_eq!(state.bill(&admitted, &response, ms(0)).0, ms(70));
        let counted = state.stats();
        assert_eq!(
            (
                counted.answered,
                counted.input_tokens,
                counted.embedded_times("a")
            ),
            (1, 1, 1)
        );
        state.reset();
        assert_eq!(state.stats(), Stats::default());
    }

    #[test]
    fn output_counts_against_the_limit() {
        let limits = SimulatedLimits {
            tokens_per_minute: Some(1_000),
            ..SimulatedLimits::default()
        };
        let mut state = SimulatorState::new(Config {
            limits,
            ..Config::default()
        });
        let admitted = admit(&mut state, "a", ms(0)).unwrap();
        let response = SimulatedResponse {
            body: Vec::new(),
            usage: TokenUsage {
                output: 99,
                ..TokenUsage::default()
            },
        };
        let (_, headers) = state.bill(&admitted, &response, ms(0));
        assert_eq!(
            headers[1],
            ("x-ratelimit-remaining-tokens", "900".to_owned())
        );
    }

    #[test]
    fn changed_limits_apply_at_once() {
        let mut state = SimulatorState::new(Config::default());
        assert!(admit(&mut state, "a", ms(0)).is_ok());
        let limits = SimulatedLimits {
            tokens_per_minute: Some(1),
            ..SimulatedLimits::default()
        };
        state
            .change(ConfigChange {
                limits: Some(limits),
                ..ConfigChange::default()
            })
            .unwrap();
        assert!(admit(&mut state, "one two", ms(0)).is_err());
    }

    #[test]
    fn headers_follow_the_style() {
        let limits = SimulatedLimits {
            requests_per_minute: Some(60),
            ..SimulatedLimits::default()
        };
        let headers = |style| {
            let config = Config {
                limits: limits.clone(),
                style,
                ..Config::default()
            };
            SimulatorState::new(config).headers("gpt-4o", ms(0))
        };
        assert_eq!(
            headers(Style::OpenAi)[1],
            ("x-ratelimit-remaining-requests", "60".to_owned())
        );
        assert!(headers(Style::Azure).iter().all(|(_, value)| value == "-1"));
        assert_eq!(headers(Style::Azure).len(), 6);
        assert_eq!(headers(Style::Local), []);
    }
}
