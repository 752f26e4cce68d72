//! A pass over every post, whatever its score is: recorded in the database, so that what was interrupted
//! goes on where it stopped.

use jiff::Timestamp;

use super::ScoreScope;
use super::session::{Run, Session};
use crate::db::{BeginScorePass, DatabaseError, EndScorePass, OpenScorePass};
use crate::error::Error;
use crate::exit::Exit;
use crate::report::Outcome;

/// A pass that has not ended.
#[derive(Debug)]
pub(super) struct Pass {
    /// Scores from before this are due.
    pub(super) started_at: Timestamp,
    fingerprint: String,
}

impl Pass {
    /// Begins one where the scope is every post, or goes on with the one that was interrupted.
    pub(super) async fn begin(
        session: &Session,
        run: &Run,
        scope: ScoreScope,
    ) -> Result<Option<Self>, DatabaseError> {
        let anew = match scope {
            ScoreScope::Missing | ScoreScope::Stale => return Ok(None),
            ScoreScope::All => false,
            ScoreScope::AllAnew => true,
        };
        let fingerprint = session.settings.rubric.fingerprint();
        let begin = BeginScorePass {
            p_fingerprint: fingerprint.clone(),
            p_anew: anew,
        };
        let pass = session.database.call(begin).await?;
        if pass.resumed {
            run.metrics.warn(format!(
                "going on with the pass over all posts that began at {:.0} and has not ended; posts scored \
                 since are left as they are (--restart scores them again)",
                pass.started_at
            ));
        }
        Ok(Some(Self {
            started_at: pass.started_at,
            fingerprint,
        }))
    }

    /// When the pass began that a run would go on with.
    pub(super) async fn open(session: &Session) -> Result<Option<Timestamp>, DatabaseError> {
        let open = OpenScorePass {
            p_fingerprint: session.settings.rubric.fingerprint(),
        };
        session.database.call(open).await
    }

    /// Ends it with a run that has left nothing. Where posts have failed it stays open: those are what is
    /// left to do. The report is kept where the database does not answer: what is in it is paid for.
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
