//! Reading responses: what a line says about its rows.

use uuid::Uuid;

use crate::db::BatchRow;
use crate::engine::{BatchResult, Deferred, Item, RowFailure, StopReason};
use crate::provider::ErrorKind;
use crate::provider::batch::LineError;

/// How a flow reads the responses to the requests about some rows.
pub(in crate::flow) trait Reader: Send + Sync + 'static {
    /// What a row becomes.
    type Output: Item;

    /// How many requests there are about the rows of a line.
    fn requests(&self) -> u32 {
        1
    }

    /// What the responses say about the rows. A request without a response has `None`.
    fn read(&self, rows: &[BatchRow], lines: &[Option<String>]) -> Verdict<Self::Output>;
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

/// Turns a verdict into what becomes of the rows. Rows are blamed for a refusal only if another request of the batch
/// has succeeded, and for good only if they were alone in their request.
pub(super) fn settle<O>(
    rows: &[BatchRow],
    verdict: Verdict<O>,
    another_succeeded: bool,
) -> BatchResult<O> {
    let mut result = BatchResult::default();
    let error = match verdict {
        Verdict::Read(read) => {
            for (id, row) in read {
                match row {
                    Ok(output) => result.outputs.push(output),
                    Err(reason) => result.failures.push(RowFailure {
                        id,
                        reason,
                        permanent: false,
                    }),
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
        ErrorKind::Broken(_) => result.failures = failures(ids(), &why, false),
        ErrorKind::BadInput
        | ErrorKind::TooLarge { .. }
        | ErrorKind::TooManyInputs { .. }
        | ErrorKind::AboveLimit { .. } => {
            if another_succeeded {
                result.failures = failures(ids(), &why, rows.len() == 1);
            } else {
                let reason =
                    format!("no request of the batch has succeeded, so no row is blamed: {why}");
                result.deferred.push(defer(StopReason::Refused(reason)));
            }
        }
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
