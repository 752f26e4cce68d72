//! What a bulk write does about a failed request.

use crate::error::Error;
use crate::request::{Cause, Safety};

/// What to do about a failed request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FailureAction {
    /// Send it in two halves, because it is too large or too slow.
    Shrink,
    /// Send it in two halves, to find the rows at fault.
    Bisect,
    /// Report its only row as refused.
    Refuse,
    /// End the write, because no row is at fault and every request would fail.
    Stop,
}

/// A row is at fault if the database says so of a request with this row alone. A row that is too
/// slow alone waits for somebody else.
pub(super) fn action_for(error: &Error, rows: usize, safety: Safety) -> FailureAction {
    // If a gateway gave up, the rows may have been written.
    let too_slow =
        error.is_statement_timeout() || (safety.is_repeatable() && error.cause() == Cause::GaveUp);
    let is_large = error.is_payload_too_large();
    match (too_slow, is_large, error.is_data_error(), rows) {
        (true, _, _, 2..) | (_, true, _, 2..) => FailureAction::Shrink,
        (true, ..) => FailureAction::Stop,
        (_, _, true, 2..) => FailureAction::Bisect,
        (_, true, _, _) | (_, _, true, _) => FailureAction::Refuse,
        _ => FailureAction::Stop,
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::error::ErrorKind;

    fn error(kind: ErrorKind, status: u16, code: Option<&str>) -> Error {
        let error = Error::new(kind, "x").with_status(StatusCode::from_u16(status).unwrap());
        match code {
            Some(code) => error.with_code(code),
            None => error,
        }
    }

    #[test]
    fn the_action_depends_on_the_code_and_the_number_of_rows() {
        use ErrorKind::{Api, Gateway};
        use FailureAction::{Bisect, Refuse, Shrink, Stop};
        let cases = [
            (
                error(Api, 500, Some("57014")),
                Safety::Write,
                [Shrink, Stop],
            ),
            (error(Gateway, 413, None), Safety::Write, [Shrink, Refuse]),
            (
                error(Gateway, 504, None),
                Safety::Idempotent,
                [Shrink, Stop],
            ),
            (error(Gateway, 504, None), Safety::Write, [Stop, Stop]),
            (error(Gateway, 524, None), Safety::Write, [Stop, Stop]),
            (error(Api, 500, Some("55P03")), Safety::Write, [Stop, Stop]),
            (
                error(Api, 409, Some("23505")),
                Safety::Write,
                [Bisect, Refuse],
            ),
            (
                error(Api, 400, Some("22P05")),
                Safety::Write,
                [Bisect, Refuse],
            ),
            (
                error(Api, 500, Some("21000")),
                Safety::Idempotent,
                [Bisect, Refuse],
            ),
            (error(Api, 401, Some("42501")), Safety::Write, [Stop, Stop]),
            (
                error(Api, 404, Some("PGRST205")),
                Safety::Write,
                [Stop, Stop],
            ),
            (error(Gateway, 503, None), Safety::Idempotent, [Stop, Stop]),
        ];
        for (error, safety, expected) in cases {
            let actual = [10, 1].map(|rows| action_for(&error, rows, safety));
            assert_eq!(actual, expected, "{error:?} {safety:?}");
        }
    }
}
