//! Reading responses: what a line says about its rows.

use uuid::Uuid;

use crate::db::BatchRow;
use crate::engine::{BatchResult, Deferred, Item, RowFailure, StopReason};
use crate::provider::ErrorKind;
use crate::provider::batch::{LineError, OutputLine};

/// How a flow reads the responses to the requests about some rows.
pub(in crate::flow) trait Reader: Send + Sync + 'static {
    /// What a row becomes.
    type Output: Item;

    /// What the responses to the requests about some rows say. A request without a response is left out.
    fn read(&self, rows: &[BatchRow], responses: &[OutputLine<'_>]) -> Verdict<Self::Output>;

    /// Whether a response shows that requests of the batch can succeed, so that rows may be blamed if theirs do not.
    fn is_usable(&self, response: &OutputLine<'_>) -> bool {
        response.is_success()
    }
}

/// What the responses say about the rows of a line.
pub(in crate::flow) enum Verdict<O> {
    /// A result, or why there is none, for each row. A row that failed is tried again later.
    Read(Vec<(Uuid, Result<O, String>)>),
    /// None of the responses can be used, for the first of these reasons.
    Unread(LineError),
}

impl Item for BatchRow {
    fn id(&self) -> Uuid {
        self.post_id
    }
}

/// Turns a verdict into what becomes of the rows. Rows are blamed only if another request of the batch has succeeded,
/// or if they were blamed before and went alone. They are blamed for good only if they were alone in their request.
pub(super) fn settle<O>(
    rows: &[BatchRow],
    verdict: Verdict<O>,
    another_succeeded: bool,
) -> BatchResult<O> {
    let may_blame = another_succeeded || rows.iter().all(|row| row.attempts > 0);
    let mut result = BatchResult::default();
    let nobody = |ids, why: &str| Deferred {
        ids,
        reason: StopReason::Refused(format!(
            "no request of the batch has succeeded, so no row is blamed: {why}"
        )),
    };
    let error = match verdict {
        Verdict::Read(read) => {
            for (id, row) in read {
                match row {
                    Ok(output) => result.outputs.push(output),
                    Err(reason) if may_blame => result.failures.push(RowFailure {
                        id,
                        reason,
                        permanent: false,
                    }),
                    Err(reason) => result.deferred.push(nobody(vec![id], &reason)),
                }
            }
            return result;
        }
        Verdict::Unread(error) => error,
    };
    let ids = || rows.iter().map(Item::id).collect::<Vec<_>>();
    let defer = |reason| Deferred { ids: ids(), reason };
    let error = match error {
        LineError::Undone(why) => {
            let reason = format!("the provider did not get to some rows of a batch: {why}");
            result.deferred.push(defer(StopReason::Deferred(reason)));
            return result;
        }
        LineError::Failed(error) => error,
    };
    let why = error.to_string();
    match error.kind() {
        ErrorKind::Refused(_) => result.deferred.push(defer(StopReason::Refused(why))),
        ErrorKind::Overloaded { .. } | ErrorKind::Adapted => {
            result.deferred.push(defer(StopReason::Deferred(why)));
        }
        ErrorKind::Broken(_) if may_blame => result.failures = failures(ids(), &why, false),
        ErrorKind::BadInput
        | ErrorKind::TooLarge { .. }
        | ErrorKind::TooManyInputs { .. }
        | ErrorKind::AboveLimit { .. }
            if may_blame =>
        {
            result.failures = failures(ids(), &why, rows.len() == 1);
        }
        _ => result.deferred.push(nobody(ids(), &why)),
    }
    result
}

fn failures(ids: Vec<Uuid>, reason: &str, permanent: bool) -> Vec<RowFailure> {
    let failure = |id| RowFailure {
        id,
        reason: reason.to_owned(),
        permanent,
    };
    ids.into_iter().map(failure).collect()
}
