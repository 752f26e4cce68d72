//! Which model scores a project.
//!
//! A project that has scores by the default model of an earlier version, and whose configuration names no model, keeps
//! that model: a new default must not make its scores stale, because that would spend money unasked.

use std::sync::Arc;

use super::super::session::Session;
use crate::db::EstimateWork;
use crate::error::Error;
use crate::scoring::{DEFAULT_MODEL, EARLIER_MODEL, Rubric};

impl Session {
    /// The rubric of this project, with the model that scores it. The database is asked once, and only if no model is
    /// configured.
    ///
    /// # Errors
    /// If the database does not answer, or the model does not take what is configured.
    pub async fn rubric(&self) -> Result<Arc<Rubric>, Error> {
        let rubric = self.settled_rubric.get_or_try_init(|| self.settle_rubric());
        rubric.await.cloned()
    }

    async fn settle_rubric(&self) -> Result<Arc<Rubric>, Error> {
        let configured = &self.settings.rubric;
        let earlier = configured.of_earlier_version();
        if earlier.model == configured.model {
            return Ok(Arc::new(configured.clone()));
        }
        let status = self.database.call(EstimateWork {}).await?;
        let scored = status.get("by_fingerprint");
        let has_earlier = scored.and_then(|scored| scored.get(earlier.fingerprint()));
        let rubric = match has_earlier {
            Some(_) => earlier,
            None => configured.clone(),
        };
        self.settings.check_model(&rubric)?;
        Ok(Arc::new(rubric))
    }

    /// What to say if the project keeps the default model of an earlier version.
    pub(crate) fn kept_model(&self, rubric: &Rubric) -> Option<String> {
        if self.settings.rubric.model == rubric.model {
            return None;
        }
        let ends = self.settings.models.get(EARLIER_MODEL).ends();
        let ends = ends.map_or_else(String::new, |day| format!(", which ends on {day}"));
        Some(format!(
            "[scoring] names no model. The default is `{DEFAULT_MODEL}` by now, but this project has scores by \
             `{EARLIER_MODEL}`{ends}, and keeps it: nothing is scored again unasked. To pin it, set \
             model = \"{EARLIER_MODEL}\". To change, set model = \"{DEFAULT_MODEL}\" and reasoning_effort = \"none\", \
             and run `sluice rescore` (`sluice plan rescore` says what that costs)"
        ))
    }
}
