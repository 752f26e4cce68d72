//! What the stand-in remembers from request to request, and its decisions. The time is told to it.

use std::{collections::HashMap, time::Duration};

use secrecy::ExposeSecret;

use super::{
    Change, Config, Fault, Stats, Style,
    meter::{Measure, Meter, REQUEST_HEADERS, TOKEN_HEADERS, Verdict},
    question::{Endpoint, Question, Reply},
    refusal::Refusal,
    stats::Counts,
};

/// What the stand-in remembers. Times are counted from its start.
#[derive(Debug)]
pub(super) struct State {
    config: Config,
    stats: Stats,
    embedded: Counts,
    scored: Counts,
    meters: HashMap<String, Meter>,
}

/// A request that will be answered.
#[derive(Debug)]
pub(super) struct Ticket {
    /// How many requests came before it.
    pub(super) number: u64,
    pub(super) question: Question,
    /// What goes wrong with the answer.
    pub(super) fault: Option<Fault>,
    pub(super) style: Style,
}

/// A request that will not be answered.
#[derive(Debug)]
pub(super) struct Rejection {
    /// How many requests came before it.
    pub(super) number: u64,
    pub(super) refusal: Refusal,
    pub(super) rate: RateHeaders,
}

/// An answer that was billed.
#[derive(Debug)]
pub(super) struct Receipt {
    /// How long the answer takes to come.
    pub(super) delay: Duration,
    pub(super) rate: RateHeaders,
}

/// Headers that say what is left of a model's limits.
pub(super) type RateHeaders = Vec<(&'static str, String)>;

impl State {
    pub(super) fn new(config: Config) -> Self {
        Self {
            config,
            stats: Stats::default(),
            embedded: Counts::default(),
            scored: Counts::default(),
            meters: HashMap::new(),
        }
    }

    pub(super) fn stats(&self) -> Stats {
        let (embedded, scored) = (self.embedded.by_hex(), self.scored.by_hex());
        Stats {
            embedded,
            scored,
            ..self.stats.clone()
        }
    }

    /// Forgets all requests; every allowance is full again, and faults are dealt from the beginning.
    pub(super) fn reset(&mut self) {
        *self = Self::new(self.config.clone());
    }

    pub(super) fn change(&mut self, change: Change) -> Result<(), String> {
        if self.config.apply(change)? {
            self.meters.clear();
        }
        Ok(())
    }

    pub(super) fn style(&self) -> Style {
        self.config.style
    }

    /// Counts a request, and decides whether it is answered.
    pub(super) fn admit(
        &mut self,
        endpoint: Endpoint,
        key: Option<&str>,
        question: Result<Question, Refusal>,
        now: Duration,
    ) -> Result<Ticket, Box<Rejection>> {
        let number = self.stats.requests;
        self.stats.requests += 1;
        match endpoint {
            Endpoint::Embeddings => self.stats.embedding_requests += 1,
            Endpoint::Chat => self.stats.chat_requests += 1,
        }
        let question = self.check_key(key).and(question).map_err(|refusal| {
            self.count_refusal(&refusal);
            Box::new(Rejection {
                number,
                refusal,
                rate: RateHeaders::new(),
            })
        })?;
        match self.decide(number, endpoint, key, &question, now) {
            Ok(fault) => Ok(Ticket {
                number,
                question,
                fault,
                style: self.config.style,
            }),
            Err(refusal) => {
                self.count_refusal(&refusal);
                let rate = self.headers(question.model(), now);
                Err(Box::new(Rejection {
                    number,
                    refusal,
                    rate,
                }))
            }
        }
    }

    /// Bills an answer.
    pub(super) fn bill(&mut self, ticket: &Ticket, reply: &Reply, now: Duration) -> Receipt {
        let Ticket {
            number,
            question,
            fault,
            ..
        } = ticket;
        let (input, output) = (question.input_tokens(), reply.output_tokens);
        self.stats.answered += 1;
        self.stats.input_tokens += input;
        self.stats.output_tokens += output;
        self.meter(question.model(), now).charge_output(output, now);
        if self.config.count_texts {
            let counts = match question {
                Question::Embeddings(_) => &mut self.embedded,
                Question::Chat(_) => &mut self.scored,
            };
            question
                .texts()
                .into_iter()
                .for_each(|text| counts.add(text));
        }
        let Config {
            faults, latency, ..
        } = &self.config;
        let late_ms = if *fault == Some(Fault::Slow) {
            faults.slow_ms
        } else {
            0
        };
        let delay =
            latency.of(input + output, faults.luck(*number)) + Duration::from_millis(late_ms);
        Receipt {
            delay,
            rate: self.headers(question.model(), now),
        }
    }

    /// The headers of an answer about this model, be it a refusal.
    fn headers(&mut self, model: &str, now: Duration) -> RateHeaders {
        match self.config.style {
            Style::OpenAi => self.meter(model, now).headers(now),
            Style::Azure => {
                let names = REQUEST_HEADERS.into_iter().chain(TOKEN_HEADERS);
                names.map(|name| (name, "-1".to_owned())).collect()
            }
            Style::Local => RateHeaders::new(),
        }
    }

    /// The fault that befalls the answer, or why there is none.
    fn decide(
        &mut self,
        number: u64,
        endpoint: Endpoint,
        key: Option<&str>,
        question: &Question,
        now: Duration,
    ) -> Result<Option<Fault>, Refusal> {
        self.check_limits(question, now)?;
        let faults = &self.config.faults;
        if question.texts().iter().any(|text| faults.poisons(text)) {
            let message = "The request was refused for what its texts hold.";
            return Err(Refusal::invalid(question.texts_param(), message));
        }
        let fault = faults.deal(number, endpoint);
        if let Some(fault) = fault {
            *self.stats.faults.entry(fault).or_default() += 1;
        }
        self.refusal_for(fault, question.model(), key, now)
            .map_or(Ok(fault), Err)
    }

    fn check_key(&self, key: Option<&str>) -> Result<(), Refusal> {
        let key = key
            .filter(|key| !key.is_empty())
            .ok_or_else(Refusal::no_key)?;
        match &self.config.key {
            Some(expected) if expected.expose_secret() != key => Err(Refusal::bad_key(key)),
            _ => Ok(()),
        }
    }

    fn check_limits(&mut self, question: &Question, now: Duration) -> Result<(), Refusal> {
        let (model, tokens) = (question.model(), question.input_tokens());
        let meter = self.meter(model, now);
        let early = u64::from(meter.is_early(now));
        let verdict = meter.admit(tokens, now);
        if let Verdict::Wait { time, .. } = verdict {
            meter.tell(time, now);
        }
        self.stats.too_early += early;
        match verdict {
            Verdict::Admitted => Ok(()),
            Verdict::Wait {
                what: Measure::Requests,
                limit,
                time,
            } => {
                let message = format!(
                    "Rate limit reached for {model} on requests per min (RPM): Limit {limit}."
                );
                Err(Refusal::rate_limit("requests", message, time))
            }
            Verdict::Wait {
                what: Measure::Tokens,
                limit,
                time,
            } => {
                let message = format!(
                    "Rate limit reached for {model} on tokens per min (TPM): Limit {limit}, Requested {tokens}."
                );
                Err(Refusal::rate_limit("tokens", message, time))
            }
            Verdict::TooLarge { limit } => {
                let message = format!(
                    "Request too large for {model} on tokens per min (TPM): Limit {limit}, Requested {tokens}."
                );
                let refusal = Refusal::rate_limit("tokens", message, Duration::ZERO);
                Err(Refusal {
                    retry_after: None,
                    ..refusal
                })
            }
        }
    }

    /// The refusal that a fault consists in, if it is of that kind.
    fn refusal_for(
        &mut self,
        fault: Option<Fault>,
        model: &str,
        key: Option<&str>,
        now: Duration,
    ) -> Option<Refusal> {
        match fault? {
            Fault::RateLimit => {
                let wait = Duration::from_millis(self.config.faults.retry_after_ms);
                self.meter(model, now).tell(wait, now);
                let message = format!("Rate limit reached for {model} on requests per min (RPM).");
                Some(Refusal::rate_limit("requests", message, wait))
            }
            Fault::Overloaded => Some(Refusal::overloaded()),
            Fault::ServerError => Some(Refusal::server_error()),
            Fault::Quota => Some(Refusal::quota()),
            Fault::BadKey => Some(Refusal::bad_key(key.unwrap_or_default())),
            _ => None,
        }
    }

    fn count_refusal(&mut self, refusal: &Refusal) {
        let count = if refusal.status.is_server_error() {
            &mut self.stats.failed
        } else if refusal.retry_after.is_some() {
            &mut self.stats.rate_limited
        } else {
            &mut self.stats.refused
        };
        *count += 1;
    }

    fn meter(&mut self, model: &str, now: Duration) -> &mut Meter {
        let limits = self.config.limits_of(model);
        self.meters
            .entry(model.to_owned())
            .or_insert_with(|| Meter::new(limits, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Faults, Limits};

    const KEY: Option<&str> = Some("sk-1");

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn admit(state: &mut State, text: &str, now: Duration) -> Result<Ticket, Refusal> {
        let body = format!(r#"{{"model":"text-embedding-3-small","input":["{text}"]}}"#);
        let question = Question::read(Endpoint::Embeddings, body.as_bytes());
        let admitted = state.admit(Endpoint::Embeddings, KEY, question, now);
        admitted.map_err(|rejection| rejection.refusal)
    }

    #[test]
    fn the_key_is_checked_before_anything_else() {
        let config = Config {
            key: Some("sk-2".into()),
            ..Config::default()
        };
        let mut state = State::new(config);
        for (key, status) in [
            (None, 401),
            (Some(""), 401),
            (KEY, 401),
            (Some("sk-2"), 400),
        ] {
            let unparsable = Err(Refusal::unparsable());
            let rejection = state
                .admit(Endpoint::Chat, key, unparsable, ms(0))
                .unwrap_err();
            assert_eq!(rejection.refusal.status, status, "{key:?}");
        }
        assert_eq!((state.stats.requests, state.stats.refused), (4, 4));
    }

    #[test]
    fn who_comes_back_before_retry_after_is_counted() {
        let limits = Limits {
            requests_per_minute: Some(60),
            burst_seconds: 1.0,
            ..Limits::default()
        };
        let mut state = State::new(Config {
            limits,
            ..Config::default()
        });
        assert!(admit(&mut state, "a", ms(0)).is_ok());
        let refusal = admit(&mut state, "a", ms(10)).unwrap_err();
        assert_eq!(refusal.code, Some("rate_limit_exceeded"));
        assert!(
            refusal.message.contains("requests per min"),
            "{}",
            refusal.message
        );
        let wait = refusal.retry_after.unwrap();
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
    fn a_request_above_the_minutes_tokens_is_told_the_limit() {
        let limits = Limits {
            tokens_per_minute: Some(1),
            ..Limits::default()
        };
        let mut state = State::new(Config {
            limits,
            ..Config::default()
        });
        let refusal = admit(&mut state, "one two three", ms(0)).unwrap_err();
        assert!(
            refusal.message.contains("Limit 1, Requested 3"),
            "{}",
            refusal.message
        );
        assert_eq!((refusal.retry_after, state.stats.refused), (None, 1));
    }

    #[test]
    fn poison_and_faults_refuse_and_are_counted() {
        let mut faults = Faults::only(Fault::Overloaded, 1.0);
        faults.poison = Some("arsenic".to_owned());
        let mut state = State::new(Config {
            faults,
            ..Config::default()
        });
        let refusal = admit(&mut state, "arsenic and lace", ms(0)).unwrap_err();
        assert_eq!(
            (refusal.status.as_u16(), refusal.param),
            (400, Some("input"))
        );
        assert!(!refusal.message.contains("arsenic"));
        assert_eq!(
            admit(&mut state, "lace", ms(0)).unwrap_err(),
            Refusal::overloaded()
        );
        let counted = state.stats();
        assert_eq!((counted.refused, counted.failed), (1, 1));
        assert_eq!(counted.faults[&Fault::Overloaded], 1);
    }

    #[test]
    fn an_answer_is_billed_and_takes_its_time() {
        let mut faults = Faults::only(Fault::Slow, 1.0);
        faults.slow_ms = 70;
        let mut state = State::new(Config {
            faults,
            ..Config::default()
        });
        let ticket = admit(&mut state, "a", ms(0)).unwrap();
        let reply = ticket.question.answer(ticket.fault, ticket.style);
        assert_eq!(state.bill(&ticket, &reply, ms(0)).delay, ms(70));
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
    fn output_is_taken_from_the_allowance() {
        let limits = Limits {
            tokens_per_minute: Some(1_000),
            ..Limits::default()
        };
        let mut state = State::new(Config {
            limits,
            ..Config::default()
        });
        let ticket = admit(&mut state, "a", ms(0)).unwrap();
        let reply = Reply {
            body: Vec::new(),
            output_tokens: 99,
        };
        let receipt = state.bill(&ticket, &reply, ms(0));
        assert_eq!(
            receipt.rate[1],
            ("x-ratelimit-remaining-tokens", "900".to_owned())
        );
    }

    #[test]
    fn changed_limits_hold_at_once() {
        let mut state = State::new(Config::default());
        assert!(admit(&mut state, "a", ms(0)).is_ok());
        let limits = Limits {
            tokens_per_minute: Some(1),
            ..Limits::default()
        };
        state
            .change(Change {
                limits: Some(limits),
                ..Change::default()
            })
            .unwrap();
        assert!(admit(&mut state, "one two", ms(0)).is_err());
    }

    #[test]
    fn headers_follow_the_style() {
        let limits = Limits {
            requests_per_minute: Some(60),
            ..Limits::default()
        };
        let headers = |style| {
            let config = Config {
                limits: limits.clone(),
                style,
                ..Config::default()
            };
            State::new(config).headers("gpt-4o", ms(0))
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
