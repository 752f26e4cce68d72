//! Opening what a command needs: settings and a session.

use crate::cli::{GlobalArgs, SpendArgs};
use crate::config::{self, Environment, Settings};
use crate::error::Error;
use crate::flow::Session;

pub(super) fn settings(global: &GlobalArgs) -> Result<Settings, Error> {
    let environment = Environment::read().allow_http(global.allow_http);
    Ok(config::load(global.config.as_deref(), &environment)?)
}

/// A session for what spends money. Its flags override the configuration.
pub(super) fn spending_session(global: &GlobalArgs, flags: &SpendArgs) -> Result<Session, Error> {
    let mut settings = settings(global)?;
    if let Some(concurrency) = flags.concurrency {
        settings.limits.concurrency = concurrency;
    }
    Session::new(settings)
}

pub(super) fn session(global: &GlobalArgs) -> Result<Session, Error> {
    Session::new(settings(global)?)
}
