//! Why a request has no usable response, and what to do about it.

use std::{fmt, time::Duration};

use secrecy::{ExposeSecret, SecretString};

use super::{RateHeaders, Usage, head::ResponseHead};

/// A request without a usable response.
///
/// [`kind`](Self::kind) says what to do next. The rest is for reports. It holds neither the key nor
/// more than an excerpt of the provider's message.
#[derive(Clone, Debug)]
pub struct Error(Box<Failure>);

/// What to do about a failed request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Stop: no request with this key and these settings can succeed.
    Refused(RefusalCause),
    /// Wait, then send the same request again. The rows in it are not at fault.
    Overloaded {
        /// Why the provider did not respond.
        cause: Overload,
        /// The pause that it asks for, if it names one.
        retry_after: Option<Duration>,
    },
    /// Send less at a time.
    TooLarge {
        /// The most tokens that one request may have, if the provider says so.
        limit: Option<u64>,
    },
    /// The request has more tokens than the account's limit of a minute: send less at a time, or raise the limit.
    AboveLimit {
        /// The tokens that a minute allows, if the provider says so.
        limit: Option<u64>,
    },
    /// One request may have this many inputs, and this one has more.
    TooManyInputs {
        /// The most inputs.
        limit: usize,
    },
    /// The model does not take a parameter of the request. The client has learnt it: send the same request again.
    Adapted,
    /// Something in the input is refused: halve the batch until the row that causes it is found.
    BadInput,
    /// The response cannot be used, and may have been billed: send the same request again.
    Broken(Breakage),
}

/// Why the provider refuses every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalCause {
    /// The key is missing, wrong or revoked.
    Key,
    /// The account's credit, quota or spend limit is used up.
    Quota,
    /// The account, project or region may not do this.
    Permission,
    /// The model, the address or another setting is not accepted, whatever the input.
    Settings,
}

/// Why the provider did not respond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overload {
    /// A limit on requests or tokens is reached.
    RateLimit,
    /// The provider is overloaded, or failed.
    Busy,
    /// The requested service tier has no capacity. The account's limits are not reached.
    NoCapacity,
    /// No connection was made, so nothing was sent.
    Unreachable,
    /// No response in time. The request may have been billed.
    Timeout,
    /// The connection broke. The request may have been billed.
    Connection,
}

/// What is wrong with a response whose status is a success.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Breakage {
    /// The body ends before its JSON does.
    #[error("the answer's JSON is cut off")]
    Truncated,
    /// The body is something else, such as a proxy's page.
    #[error("the answer is not JSON")]
    NotJson,
    /// The body is JSON, but no response to this request.
    #[error("the answer has another shape than expected: {0}")]
    Shape(String),
    /// The body has too many bytes.
    #[error("the answer is longer than {limit} bytes")]
    TooLong {
        /// The most that is read.
        limit: usize,
    },
    /// There are more or fewer vectors than inputs.
    #[error("the answer has {found} vectors for {expected} inputs")]
    Count {
        /// The number of inputs.
        expected: usize,
        /// The number of vectors.
        found: usize,
    },
    /// Two vectors claim the same input.
    #[error("the answer has two vectors for input {0}")]
    RepeatedIndex(usize),
    /// A vector claims an input that was not sent.
    #[error("the answer has a vector for input {0}, which was not sent")]
    UnknownIndex(usize),
    /// A vector has no index, and its place does not show which input it belongs to.
    #[error("the vector at place {0} has no index")]
    MissingIndex(usize),
    /// All vectors have the same length, but another one than was asked for.
    #[error("the vectors have {found} dimensions, not {expected}")]
    AllDimensions {
        /// The length that was asked for.
        expected: usize,
        /// The length that came.
        found: usize,
    },
    /// A vector has another length than was asked for.
    #[error("the vector of input {index} has {found} dimensions, not {expected}")]
    Dimensions {
        /// The input's place.
        index: usize,
        /// The length that was asked for.
        expected: usize,
        /// The length that came.
        found: usize,
    },
    /// A vector holds NaN or an infinity.
    #[error("the vector of input {0} holds something that is not a finite number")]
    NotFinite(usize),
}

/// What is known about a failed request. `Error` is the box around it.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) kind: ErrorKind,
    pub(super) head: ResponseHead,
    pub(super) code: Option<String>,
    pub(super) message: Option<String>,
    pub(super) usage: Option<Usage>,
}

impl Failure {
    pub(super) fn new(kind: ErrorKind, head: ResponseHead) -> Self {
        Self {
            kind,
            head,
            code: None,
            message: None,
            usage: None,
        }
    }
}

impl Error {
    /// What to do about it.
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// Whether the same request can succeed if it is sent again.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.0.kind,
            ErrorKind::Overloaded { .. } | ErrorKind::Broken(_) | ErrorKind::Adapted
        )
    }

    /// Whether a limit on requests or tokens is reached.
    pub fn is_rate_limited(&self) -> bool {
        matches!(
            self.0.kind,
            ErrorKind::Overloaded {
                cause: Overload::RateLimit,
                ..
            }
        )
    }

    /// Whether the requested service tier has no capacity, which says nothing about the account's limits.
    pub fn lacks_capacity(&self) -> bool {
        matches!(
            self.0.kind,
            ErrorKind::Overloaded {
                cause: Overload::NoCapacity,
                ..
            }
        )
    }

    /// Whether the request may have been billed although it has no usable response: the provider
    /// responded, or may have.
    pub fn may_have_been_billed(&self) -> bool {
        match self.0.kind {
            ErrorKind::Broken(_) => true,
            ErrorKind::Overloaded { cause, .. } => {
                matches!(cause, Overload::Timeout | Overload::Connection)
            }
            ErrorKind::Refused(_)
            | ErrorKind::TooLarge { .. }
            | ErrorKind::AboveLimit { .. }
            | ErrorKind::TooManyInputs { .. }
            | ErrorKind::Adapted
            | ErrorKind::BadInput => false,
        }
    }

    /// The pause that the provider asks for, if it names one.
    pub fn retry_after(&self) -> Option<Duration> {
        match self.0.kind {
            ErrorKind::Overloaded { retry_after, .. } => retry_after,
            _ => None,
        }
    }

    /// Whether the provider does not have what was asked for.
    pub fn is_missing(&self) -> bool {
        self.status() == Some(404)
    }

    /// Whether the account's queue has no room for another batch now.
    pub fn is_queue_full(&self) -> bool {
        self.code() == Some("token_limit_exceeded")
    }

    /// The HTTP status, if there was a response.
    pub fn status(&self) -> Option<u16> {
        self.0.head.status
    }

    /// The provider's own name for the error: `error.code`, else `error.type`.
    pub fn code(&self) -> Option<&str> {
        self.0.code.as_deref()
    }

    /// An excerpt of the provider's or the network's message, without the key.
    pub fn message(&self) -> Option<&str> {
        self.0.message.as_deref()
    }

    /// The name by which the provider's support finds the request.
    pub fn request_id(&self) -> Option<&str> {
        self.0.head.request_id.as_deref()
    }

    /// The state of the limits. Failures count against them as well.
    pub fn rate(&self) -> &RateHeaders {
        &self.0.head.rate
    }

    /// What was billed for a response that cannot be used, if it could be read.
    pub fn usage(&self) -> Option<Usage> {
        self.0.usage
    }

    pub(super) fn new(failure: Failure) -> Self {
        Self(Box::new(failure))
    }
}

impl std::error::Error for Error {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let detail = Detail(self.message());
        match &self.0.kind {
            ErrorKind::Refused(cause) => write!(f, "{}{detail}", cause.advice())?,
            ErrorKind::Overloaded { cause, retry_after } => match retry_after {
                _ if cause.is_network() => match self.message() {
                    Some(why) => write!(f, "{}: {why}", cause.name())?,
                    None => f.write_str(cause.name())?,
                },
                Some(wait) => write!(f, "{}: try again in {wait:?}{detail}", cause.name())?,
                None => write!(f, "{}: try again later{detail}", cause.name())?,
            },
            ErrorKind::TooLarge { limit: Some(limit) } => write!(
                f,
                "the request is too large: send at most {limit} tokens at a time"
            )?,
            ErrorKind::TooLarge { limit: None } => write!(
                f,
                "the request is too large: send fewer inputs at a time{detail}"
            )?,
            ErrorKind::AboveLimit { .. } => write!(
                f,
                "the request is above the account's limit of a minute: raise that limit{detail}"
            )?,
            ErrorKind::TooManyInputs { limit } => write!(
                f,
                "the request has too many inputs: send at most {limit} at a time{detail}"
            )?,
            ErrorKind::Adapted => write!(
                f,
                "the model does not take a parameter: send the request again{detail}"
            )?,
            ErrorKind::BadInput => write!(f, "the provider refuses the input{detail}")?,
            ErrorKind::Broken(breakage) => write!(f, "{breakage}: ask again")?,
        }
        self.write_reference(f)
    }
}

impl RefusalCause {
    fn advice(self) -> &'static str {
        match self {
            Self::Key => "the provider refuses the key: set OPENAI_API_KEY to one that is valid",
            Self::Quota => "the account's quota is used up: add credit or raise its spend limit",
            Self::Permission => {
                "the provider refuses permission: check the key's scopes, and the account's project, region and access"
            }
            Self::Settings => "the provider refuses the settings: check the model and the base URL",
        }
    }
}

impl Overload {
    /// Whether the provider did not respond at all.
    fn is_network(self) -> bool {
        matches!(self, Self::Unreachable | Self::Timeout | Self::Connection)
    }

    fn name(self) -> &'static str {
        match self {
            Self::RateLimit => "the rate limit is reached",
            Self::Busy => "the provider is overloaded or failing",
            Self::NoCapacity => "the service tier has no capacity",
            Self::Unreachable => "the provider cannot be reached",
            Self::Timeout => "no answer came in time",
            Self::Connection => "the connection broke",
        }
    }
}

impl Error {
    /// Status, code and request id, for looking the failure up.
    fn write_reference(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { head, code, .. } = &*self.0;
        let parts: Vec<String> = [
            head.status.map(|status| format!("status {status}")),
            code.clone(),
            head.request_id.as_ref().map(|id| format!("request {id}")),
        ]
        .into_iter()
        .flatten()
        .collect();
        if parts.is_empty() {
            return Ok(());
        }
        write!(f, " ({})", parts.join(", "))
    }
}

/// What the provider said, after a semicolon, or nothing.
struct Detail<'m>(Option<&'m str>);

impl fmt::Display for Detail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(message) => write!(f, "; it said: {message}"),
            None => Ok(()),
        }
    }
}

/// The most characters of another program's text that an error holds.
const MAX_EXCERPT_CHARS: usize = 200;

/// The beginning of what the provider or the network said, on one line, without the key or a part of
/// it.
pub(super) fn excerpt(text: &str, key: &SecretString) -> String {
    // Providers repeat the key, often with a masked middle. So every word that starts like a key goes.
    let head: String = text.chars().take(MAX_EXCERPT_CHARS * 8).collect();
    let key = key.expose_secret();
    let unkeyed = if key.is_empty() {
        head
    } else {
        head.replace(key, "[key]")
    };
    let words = unkeyed.split_whitespace().map(|word| {
        let bare = word.trim_start_matches(|c: char| !c.is_alphanumeric());
        if bare.starts_with("sk-") || word.contains("**") || is_part_of(bare, key) {
            "[key]"
        } else {
            word
        }
    });
    let line = words.collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MAX_EXCERPT_CHARS) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}

/// Whether a word shows the beginning or the end of a key, as in `AIza...c4f9`.
fn is_part_of(word: &str, key: &str) -> bool {
    const SHOWN: usize = 4;
    const SHORTEST_KEY: usize = 16;
    let word = word.trim_end_matches(|c: char| !c.is_alphanumeric());
    if key.len() < SHORTEST_KEY || word.len() < SHOWN {
        return false;
    }
    let (head, tail) = (key.get(..SHOWN), key.get(key.len() - SHOWN..));
    head.is_some_and(|head| word.starts_with(head)) || tail.is_some_and(|tail| word.ends_with(tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: ErrorKind) -> Error {
        let head = ResponseHead {
            status: Some(429),
            request_id: Some("req_1".to_owned()),
            ..ResponseHead::default()
        };
        Error::new(Failure {
            code: Some("slow_down".to_owned()),
            message: Some("easy now".to_owned()),
            ..Failure::new(kind, head)
        })
    }

    #[test]
    fn only_an_overload_and_a_broken_response_are_sent_again() {
        let retry_after = Some(Duration::from_millis(20));
        let overload = error(ErrorKind::Overloaded {
            cause: Overload::RateLimit,
            retry_after,
        });
        assert!(overload.is_retryable() && overload.is_rate_limited());
        assert_eq!(overload.retry_after(), retry_after);
        let broken = error(ErrorKind::Broken(Breakage::NotJson));
        assert!(broken.is_retryable() && !broken.is_rate_limited());
        for kind in [
            ErrorKind::Refused(RefusalCause::Quota),
            ErrorKind::TooLarge { limit: None },
            ErrorKind::BadInput,
        ] {
            assert!(!error(kind).is_retryable());
        }
    }

    #[test]
    fn a_message_says_what_to_do_and_where_to_look() {
        let retry_after = Some(Duration::from_secs(2));
        let kind = ErrorKind::Overloaded {
            cause: Overload::RateLimit,
            retry_after,
        };
        assert_eq!(
            error(kind).to_string(),
            "the rate limit is reached: try again in 2s; it said: easy now \
             (status 429, slow_down, request req_1)"
        );
        // The reason is shown for a key as well: it may be valid and lack a scope.
        let key = error(ErrorKind::Refused(RefusalCause::Key)).to_string();
        assert!(
            key.contains("OPENAI_API_KEY") && key.contains("easy now"),
            "{key}"
        );
    }

    #[test]
    fn an_excerpt_is_short_and_without_the_key() {
        let key = SecretString::from("hunter2");
        assert_eq!(excerpt("bad key hunter2!", &key), "bad key [key]!");
        assert_eq!(
            excerpt("provided: 'sk-proj-abc***xyz'.\n See", &key),
            "provided: [key] See"
        );
        let long_key = SecretString::from("AIzaSyD-9tSrke72PouQMnMX-a7eZSW0jkFMBWY");
        for shown in ["AIza...MBWY", "'AIzaSyD-9tSrke72***", "...MBWY", "****"] {
            let said = format!("Incorrect API key provided: {shown}. Look it up.");
            let hidden = excerpt(&said, &long_key);
            assert_eq!(hidden, "Incorrect API key provided: [key] Look it up.");
        }
        assert_eq!(excerpt("plain", &SecretString::from("")), "plain");
        let long = excerpt(&"é ".repeat(5_000), &key);
        assert_eq!(long.chars().count(), MAX_EXCERPT_CHARS + 1);
    }
}
