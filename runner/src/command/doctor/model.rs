//! The model that scores, by one call, and what is known about the models.

use super::super::models::warnings;
use super::check::{Check, Finding};
use crate::config::{LimitSettings, Settings};
use crate::exit::Exit;
use crate::flow::{self, Session, Tried};
use crate::provider::RateHeaders;

/// Has one post scored, and says what that cost. A warning about a model is no failure.
pub(super) async fn checks(settings: &Settings, asks_database: bool) -> Vec<Check> {
    let Ok(session) = Session::new(settings.clone()) else {
        return Vec::new();
    };
    let Ok(provider) = session.provider() else {
        return Vec::new();
    };
    // Without a database, the configuration decides.
    let settled = if asks_database {
        session.rubric().await.ok()
    } else {
        None
    };
    let rubric = settled.unwrap_or_else(|| settings.rubric.clone().into());
    let tried = flow::try_scoring(&session, &rubric).await;
    let stated = tried.as_ref().ok().map(|tried| tried.limits);
    let tried = tried.map(|Tried { usd, .. }| {
        let cost = usd.map_or_else(String::new, |usd| format!(" (this call cost ${usd:.6})"));
        let model = rubric.model();
        format!("`{model}` answers under the schema of the rubric{cost}")
    });
    // A limit that is too high is no failure, because the provider's is kept.
    let limits = stated.map(|stated| Check {
        exit: Exit::Complete,
        ..Check::of("rate limits", limits(settings.limits, stated))
    });
    let warning = |found| Check {
        what: "models",
        ok: false,
        found,
        cure: None,
        exit: Exit::Complete,
    };
    let said = warnings(provider, settings, Some(&*rubric)).await;
    let said = session.kept_model(&rubric).into_iter().chain(said);
    std::iter::once(Check::of("scoring", tried.map_err(Finding::from)))
        .chain(limits)
        .chain(said.map(warning))
        .collect()
}

/// The limits of a minute that the provider states for the scoring model, beside those that are configured.
fn limits(configured: LimitSettings, stated: RateHeaders) -> Result<String, Finding> {
    let mut said = Vec::new();
    for (noun, key, configured, stated) in [
        (
            "requests",
            "requests_per_minute",
            configured.requests_per_minute,
            stated.limit_requests,
        ),
        (
            "tokens",
            "tokens_per_minute",
            configured.tokens_per_minute,
            stated.limit_tokens,
        ),
    ] {
        said.push(match (configured, stated) {
            (Some(configured), Some(stated)) if configured > stated => {
                let found = format!(
                    "{configured} {noun} a minute are configured, but the provider allows {stated}"
                );
                let cure = format!("set limits.{key} = {stated}, or leave it out");
                return Err(Finding::new(Exit::Complete, found, &cure));
            }
            (Some(configured), Some(stated)) => {
                format!("{configured} of the {stated} {noun} a minute that the provider allows")
            }
            (None, Some(stated)) => format!("{stated} {noun} a minute, as the provider states"),
            (Some(configured), None) => format!("{configured} {noun} a minute, as configured"),
            (None, None) => format!("no limit of {noun} is stated or configured"),
        });
    }
    Ok(said.join("; "))
}
