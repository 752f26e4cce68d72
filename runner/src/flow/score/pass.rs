//! A pass over every post. The database records it, so that an interrupted pass is continued.

use jiff::Timestamp;

use super::super::run::Run;
use super::super::session::Session;
use super::super::work::ScoreScope;
use crate::db::{BeginScorePass, DatabaseError, EndScorePass, OpenScorePass};
use crate::error::Error;
use crate::exit::Exit;
use crate::report::Outcome;
use crate::scoring::Rubric;

/// A pass that has not ended.
#[derive(Debug)]
pub(super) struct ScorePass {
    /// Scores from before this time are due.
    pub(super) started_at: Timestamp,
    fingerprint: String,
}

impl ScorePass {
    /// Begins a pass if the scope is every post, or continues the one that was interrupted.
    pub(super) async fn begin(
        session: &Session,
        run: &Run,
        rubric: &Rubric,
        scope: ScoreScope,
    ) -> Result<Option<Self>, DatabaseError> {
        let anew = match scope {
            ScoreScope::Missing | ScoreScope::Stale => return Ok(None),
            ScoreScope::All => false,
            ScoreScope::AllAnew => true,
        };
        let fingerprint = rubric.fingerprint();
        let begin = BeginScorePass {
            p_fingerprint: fingerprint.clone(),
            p_anew: anew,
        };
        let pass = session.database.call_shaped(begin).await?;
        if pass.resumed {
            run.metrics.warn(format!(
                "continuing the pass over all posts that began at {:.0}; posts that it has scored are not \
                 scored again (--restart scores them again)",
                pass.started_at
            ));
        }
        Ok(Some(Self {
            started_at: pass.started_at,
            fingerprint,
        }))
    }

    /// When the interrupted pass began, if there is one.
    pub(super) async fn open(
        session: &Session,
        rubric: &Rubric,
    ) -> Result<Option<Timestamp>, DatabaseError> {
        let open = OpenScorePass {
            p_fingerprint: rubric.fingerprint(),
        };
        session.database.call(open).await
    }

    /// Ends the pass if the run has left nothing. If posts have failed it stays open, because they are left to
    /// do. An error of the database keeps the report, because the scores are paid for.
    pub(super) async fn end(self, session: &Session, outcome: Outcome) -> Outcome {
        if outcome.exit != Exit::Complete {
            return outcome;
        }
        let end = EndScorePass {
            p_fingerprint: self.fingerprint,
            p_started_at: self.started_at,
        };
        match session.database.call(end).await.map_err(Error::from) {
            Ok(_was_open) => outcome,
            Err(error) => Outcome::stopped(outcome.report, error.exit(), error.to_string()),
        }
    }
}
