//! What a bulk write does about a failed request.

use crate::error::{Error, ErrorKind};
use crate::request::Safety;

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

pub(super) fn action_for(error: &Error, rows: usize, safety: Safety) -> FailureAction {
    let too_large = error.is_statement_timeout()
        || error.is_payload_too_large()
        // A gateway's timeout leaves open whether the rows were written.
        || (safety != Safety::Write && is_gateway_giving_up(error));
    match (too_large, error.is_data_error(), rows) {
        (true, _, 2..) => FailureAction::Shrink,
        (_, true, 2..) => FailureAction::Bisect,
        (true, _, _) | (_, true, _) => FailureAction::Refuse,
        _ => FailureAction::Stop,
    }
}

/// Whether a failure leaves open whether the rows were written.
pub(super) fn is_outcome_unknown(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::Timeout)
        || error.code() == Some("PGRST001")
        || is_gateway_giving_up(error)
}

fn is_gateway_giving_up(error: &Error) -> bool {
    error.kind() == ErrorKind::Gateway
        && matches!(
            error.status().map(|status| status.as_u16()),
            Some(502 | 504)
        )
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

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
                [Shrink, Refuse],
            ),
            (error(Gateway, 413, None), Safety::Write, [Shrink, Refuse]),
            (
                error(Gateway, 504, None),
                Safety::Idempotent,
                [Shrink, Refuse],
            ),
            (error(Gateway, 504, None), Safety::Write, [Stop, Stop]),
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
