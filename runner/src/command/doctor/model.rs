//! The model that scores, by one call, and what is known about the models.

use super::super::models::warnings;
use super::{Check, Finding};
use crate::config::Settings;
use crate::exit::Exit;
use crate::flow::{self, Session};

/// Has one post scored, and says what that cost. A warning about a model is no failure.
pub(super) async fn checks(settings: &Settings) -> Vec<Check> {
    let Ok(session) = Session::new(settings.clone()) else {
        return Vec::new();
    };
    let Ok(provider) = session.provider() else {
        return Vec::new();
    };
    // Without a database, the configuration decides.
    let settled = session.rubric().await;
    let rubric = settled.unwrap_or_else(|_| settings.rubric.clone().into());
    let tried = flow::try_scoring(&session, &rubric).await;
    let tried = tried.map(|usd| {
        let cost = usd.map_or_else(String::new, |usd| format!(" (this call cost ${usd:.6})"));
        let model = rubric.model();
        format!("`{model}` answers under the schema of the rubric{cost}")
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
        .chain(said.map(warning))
        .collect()
}
