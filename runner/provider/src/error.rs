//! What can come of a request besides an answer, and what to do about it.

use std::{fmt, time::Duration};

use secrecy::{ExposeSecret, SecretString};

use super::{RateHeaders, Usage, reply::Head};

/// A request that was sent and brought no usable answer.
///
/// [`kind`](Self::kind) says what to do next; the rest is there to report it. Neither the key nor
/// more than a short cut of what the provider said is in it.
#[derive(Clone, Debug)]
pub struct Error(Box<Inner>);

/// What to do about a failed request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Stop: no request with this key and these settings can succeed.
    Refused(Refusal),
    /// Wait, then send the same request again; the rows in it are not at fault.
    Overloaded {
        /// What kept the provider from answering.
        cause: Overload,
        /// How long it asks to be left alone, where it says.
        retry_after: Option<Duration>,
    },
    /// Send less at a time.
    TooLarge {
        /// The most tokens that one request may have, where the provider says.
        limit: Option<u64>,
    },
    /// Something in the input is refused: halve the batch until the row that causes it is found.
    BadInput,
    /// The answer cannot be used, and may have been billed: send the same request again.
    Broken(Breakage),
}

/// Why the provider refuses whatever is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The key is missing, wrong or revoked.
    Key,
    /// The account's credit, quota or spend limit is used up.
    Quota,
    /// The account, project or region may not do this.
    Permission,
    /// The model, the address or another setting is not accepted, whatever the input.
    Settings,
}

/// What kept the provider from answering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overload {
    /// A limit on requests or tokens was passed.
    RateLimit,
    /// The provider is overloaded, or failed.
    Busy,
    /// No connection was made, so nothing was asked.
    Unreachable,
    /// No answer in time. It may have been billed all the same.
    Timeout,
    /// The connection broke. What was asked may have been billed all the same.
    Connection,
}

/// What is wrong with an answer that came with a status of success.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Breakage {
    /// The body ends before its JSON does.
    #[error("the answer's JSON is cut off")]
    Truncated,
    /// The body is something else, such as a proxy's page.
    #[error("the answer is not JSON")]
    NotJson,
    /// The body is JSON, but not an answer to this question.
    #[error("the answer has another shape than expected: {0}")]
    Shape(String),
    /// Too many bytes to be an answer.
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

/// All that is known about a failure; `Error` is the box around it.
#[derive(Clone, Debug)]
pub(super) struct Inner {
    pub(super) kind: ErrorKind,
    pub(super) head: Head,
    pub(super) code: Option<String>,
    pub(super) message: Option<String>,
    pub(super) usage: Option<Usage>,
    pub(super) body: Option<String>,
}

impl Error {
    /// What to do about it.
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// Whether the same request can succeed when it is sent again.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.0.kind,
            ErrorKind::Overloaded { .. } | ErrorKind::Broken(_)
        )
    }

    /// Whether a limit on requests or tokens was passed.
    pub fn is_rate_limited(&self) -> bool {
        matches!(
            self.0.kind,
            ErrorKind::Overloaded {
                cause: Overload::RateLimit,
                ..
            }
        )
    }

    /// Whether the request may have been billed although there is no usable answer: one was sent, or
    /// may have been.
    pub fn may_have_been_billed(&self) -> bool {
        match self.0.kind {
            ErrorKind::Broken(_) => true,
            ErrorKind::Overloaded { cause, .. } => {
                matches!(cause, Overload::Timeout | Overload::Connection)
            }
            ErrorKind::Refused(_) | ErrorKind::TooLarge { .. } | ErrorKind::BadInput => false,
        }
    }

    /// How long the provider asks to be left alone, where it says.
    pub fn retry_after(&self) -> Option<Duration> {
        match self.0.kind {
            ErrorKind::Overloaded { retry_after, .. } => retry_after,
            _ => None,
        }
    }

    /// The HTTP status, where an answer came at all.
    pub fn status(&self) -> Option<u16> {
        self.0.head.status
    }

    /// The provider's own name for it: `error.code`, else `error.type`.
    pub fn code(&self) -> Option<&str> {
        self.0.code.as_deref()
    }

    /// What the provider or the network said, cut short and without the key.
    pub fn message(&self) -> Option<&str> {
        self.0.message.as_deref()
    }

    /// The name under which the provider's support finds the request.
    pub fn request_id(&self) -> Option<&str> {
        self.0.head.request_id.as_deref()
    }

    /// The state of the limits, which failures count against as well.
    pub fn rate(&self) -> &RateHeaders {
        &self.0.head.rate
    }

    /// What was billed for an answer that cannot be used, where it could be read.
    pub fn usage(&self) -> Option<Usage> {
        self.0.usage
    }

    /// The head of a body that could not be read, cut short and without the key.
    pub fn body(&self) -> Option<&str> {
        self.0.body.as_deref()
    }

    pub(super) fn new(inner: Inner) -> Self {
        Self(Box::new(inner))
    }
}

impl std::error::Error for Error {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = Said(self.0.message.as_deref());
        match &self.0.kind {
            ErrorKind::Refused(refusal) => match refusal {
                Refusal::Key => f.write_str(
                    "the provider refuses the key: set OPENAI_API_KEY to one that is valid",
                ),
                Refusal::Quota => write!(
                    f,
                    "the account's quota is used up: add credit or raise its spend limit{said}"
                ),
                Refusal::Permission => write!(
                    f,
                    "the provider refuses this account: check its project, region and access{said}"
                ),
                Refusal::Settings => write!(
                    f,
                    "the provider refuses the settings: check the model and the base URL{said}"
                ),
            },
            ErrorKind::Overloaded { cause, retry_after } => {
                match cause {
                    Overload::RateLimit => f.write_str("the rate limit is reached: ")?,
                    Overload::Busy => f.write_str("the provider is overloaded or failing: ")?,
                    Overload::Unreachable => f.write_str("the provider cannot be reached: ")?,
                    Overload::Timeout => f.write_str("no answer came in time: ")?,
                    Overload::Connection => f.write_str("the connection broke: ")?,
                }
                match retry_after {
                    Some(wait) => write!(f, "try again in {wait:?}{said}"),
                    None => write!(f, "try again later{said}"),
                }
            }
            ErrorKind::TooLarge { limit: Some(limit) } => {
                write!(
                    f,
                    "the request is too large: send at most {limit} tokens at a time"
                )
            }
            ErrorKind::TooLarge { limit: None } => {
                write!(
                    f,
                    "the request is too large: send fewer inputs at a time{said}"
                )
            }
            ErrorKind::BadInput => {
                write!(
                    f,
                    "the provider refuses the input: change it or leave it out{said}"
                )
            }
            ErrorKind::Broken(breakage) => write!(f, "{breakage}: ask again"),
        }?;
        self.write_reference(f)
    }
}

impl Error {
    /// Status, code and request id, for whoever looks the failure up.
    fn write_reference(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = [
            self.0.head.status.map(|status| format!("status {status}")),
            self.0.code.clone(),
            self.0
                .head
                .request_id
                .as_ref()
                .map(|id| format!("request {id}")),
        ]
        .into_iter()
        .flatten()
        .collect();
        if parts.is_empty() {
            Ok(())
        } else {
            write!(f, " ({})", parts.join(", "))
        }
    }
}

/// What the provider said, behind a semicolon, or nothing.
struct Said<'m>(Option<&'m str>);

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(message) => write!(f, "; it said: {message}"),
            None => Ok(()),
        }
    }
}

/// The most characters of foreign text that an error carries.
const MAX_SAID_CHARS: usize = 200;

/// A short, safe cut of what the provider or the network said: one line, without the key, whole or
/// in part.
pub(super) fn short(text: &str, key: &SecretString) -> String {
    // Providers repeat the key, often masked in the middle; whatever starts as a key does goes.
    let head: String = text.chars().take(MAX_SAID_CHARS * 8).collect();
    let key = key.expose_secret();
    let unkeyed = if key.is_empty() {
        head
    } else {
        head.replace(key, "[key]")
    };
    let words = unkeyed.split_whitespace().map(|word| {
        let bare = word.trim_start_matches(|c: char| !c.is_alphanumeric());
        if bare.starts_with("sk-") {
            "[key]"
        } else {
            word
        }
    });
    let line = words.collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MAX_SAID_CHARS) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: ErrorKind) -> Error {
        Error::new(Inner {
            kind,
            head: Head {
                status: Some(429),
                request_id: Some("req_1".to_owned()),
                ..Head::default()
            },
            code: Some("slow_down".to_owned()),
            message: Some("easy now".to_owned()),
            usage: None,
            body: None,
        })
    }

    #[test]
    fn only_an_overload_and_a_broken_answer_are_sent_again() {
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
            ErrorKind::Refused(Refusal::Quota),
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
        // What is said about a key often repeats a part of it.
        assert!(
            !error(ErrorKind::Refused(Refusal::Key))
                .to_string()
                .contains("easy now")
        );
    }

    #[test]
    fn foreign_text_is_cut_and_loses_the_key() {
        let key = SecretString::from("hunter2");
        assert_eq!(short("bad key hunter2!", &key), "bad key [key]!");
        assert_eq!(
            short("provided: 'sk-proj-abc***xyz'.\n See", &key),
            "provided: [key] See"
        );
        assert_eq!(short("plain", &SecretString::from("")), "plain");
        let long = short(&"é ".repeat(5_000), &key);
        assert_eq!(long.chars().count(), MAX_SAID_CHARS + 1);
    }
}
