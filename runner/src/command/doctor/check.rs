//! The result of a check.

use serde::Serialize;

use crate::error::Error;
use crate::exit::Exit;

/// The result of one check.
#[derive(Debug, Serialize)]
pub(super) struct Check {
    pub(super) what: &'static str,
    pub(super) ok: bool,
    pub(super) found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cure: Option<String>,
    #[serde(skip)]
    pub(super) exit: Exit,
}

/// What is wrong, and the cure. The exit code is that of a command that would fail because of it.
#[derive(Debug)]
pub(super) struct Finding {
    exit: Exit,
    found: String,
    cure: String,
}

impl Finding {
    pub(super) fn new(exit: Exit, found: String, cure: &str) -> Self {
        let cure = cure.to_owned();
        Self { exit, found, cure }
    }
}

/// The messages of commands have their cure in them.
impl From<Error> for Finding {
    fn from(error: Error) -> Self {
        Self::new(error.exit(), error.to_string(), "")
    }
}

impl Check {
    pub(super) fn of(what: &'static str, result: Result<String, Finding>) -> Self {
        match result {
            Ok(found) => Self {
                what,
                ok: true,
                found,
                cure: None,
                exit: Exit::Complete,
            },
            Err(Finding { exit, found, cure }) => Self {
                what,
                ok: false,
                found,
                cure: Some(cure).filter(|cure| !cure.is_empty()),
                exit,
            },
        }
    }
}
