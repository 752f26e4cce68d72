//! Tokens of a user that end, and are renewed before they do.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::HeaderValue;
use secrecy::SecretString;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::secret::bearer;
use crate::error::{Error, ErrorKind};

/// Supplies tokens to [`Client::with_token_source`](crate::Client::with_token_source), for a script that runs
/// longer than one token lives. A function that returns a future is one.
///
/// ```no_run
/// use std::time::Duration;
/// use sluice_sdk::{Client, SecretString, client::Token};
///
/// # async fn sign_in() -> Result<String, std::io::Error> { Ok(String::new()) }
/// # fn run(db: Client) {
/// let user = db.with_token_source(|| async {
///     let jwt = sign_in().await?; // by a refresh token, a service account …
///     Ok(Token::new(SecretString::from(jwt)).lives(Duration::from_secs(3600)))
/// });
/// # }
/// ```
pub trait TokenSource: Send + Sync + 'static {
    /// Gets a new token. The client calls it when it needs the first one, when the last one is about
    /// to end, and when the server refused the last one. It never runs twice at once for one client.
    fn token(&self) -> BoxFuture<'_, Result<Token, Box<dyn StdError + Send + Sync>>>;
}

impl<F, R> TokenSource for F
where
    F: Fn() -> R + Send + Sync + 'static,
    R: Future<Output = Result<Token, Box<dyn StdError + Send + Sync>>> + Send + 'static,
{
    fn token(&self) -> BoxFuture<'_, Result<Token, Box<dyn StdError + Send + Sync>>> {
        Box::pin(self())
    }
}

/// A JWT of a user, and how long it lives.
#[derive(Clone, Debug)]
pub struct Token {
    secret: SecretString,
    lives: Option<Duration>,
}

impl Token {
    /// A token that never ends, or whose end is unknown: it is renewed only after the server has
    /// refused it.
    pub fn new(secret: SecretString) -> Self {
        Self {
            secret,
            lives: None,
        }
    }

    /// How long it is valid from now on. It is renewed a minute before its end, or after four fifths
    /// of a life shorter than five minutes.
    #[must_use]
    pub fn lives(mut self, lives: Duration) -> Self {
        self.lives = Some(lives);
        self
    }
}

/// The current token of a source.
pub(super) struct Tokens {
    source: Box<dyn TokenSource>,
    /// The lock is held while a token is got, so that there is one renewal at a time.
    held: Mutex<Option<Held>>,
}

#[derive(Clone)]
struct Held {
    header: HeaderValue,
    renew_at: Option<Instant>,
    ends_at: Option<Instant>,
}

impl Tokens {
    pub(super) fn new(source: impl TokenSource) -> Arc<Self> {
        Arc::new(Self {
            source: Box::new(source),
            held: Mutex::new(None),
        })
    }

    /// The header of a token that is valid now.
    pub(super) async fn header(&self) -> Result<HeaderValue, Error> {
        let mut held = self.held.lock().await;
        let is_before = |at: Option<Instant>| at.is_none_or(|at| Instant::now() < at);
        if let Some(fresh) = held.as_ref().filter(|held| is_before(held.renew_at)) {
            return Ok(fresh.header.clone());
        }
        match self.source.token().await {
            Ok(token) => {
                let new = Held::new(&token)?;
                let header = new.header.clone();
                *held = Some(new);
                Ok(header)
            }
            Err(error) => match held.as_ref().filter(|held| is_before(held.ends_at)) {
                // The renewal came early, so there is time to try again.
                Some(old) => Ok(old.header.clone()),
                None => Err(
                    Error::new(ErrorKind::Token, "the source of tokens gave none")
                        .with_source(error),
                ),
            },
        }
    }

    /// Forgets a token that the server has refused, unless there is a newer one.
    pub(super) async fn refused(&self, header: &HeaderValue) {
        let mut held = self.held.lock().await;
        if held.as_ref().is_some_and(|held| held.header == *header) {
            *held = None;
        }
    }
}

impl Held {
    fn new(token: &Token) -> Result<Self, Error> {
        const EARLY: Duration = Duration::from_secs(60);
        let since = Instant::now();
        let early = |lives: Duration| lives.saturating_sub(EARLY.min(lives / 5));
        Ok(Self {
            header: bearer(&token.secret)?,
            renew_at: token.lives.map(|lives| since + early(lives)),
            ends_at: token.lives.map(|lives| since + lives),
        })
    }
}
