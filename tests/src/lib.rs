//! Support for the integration tests: a real stack, a clean database a test, the stand-in for the
//! provider, a recorder of requests, a wire that can be cut, and the program itself.
//!
//! The stack is the embedded Supabase, started once a test binary. Where `SLUICE_TEST_POSTGREST_URL` is
//! set, the same tests run against that server instead; `SLUICE_TEST_DATABASE_URL` prepares and empties its
//! database and `SLUICE_TEST_SERVICE_KEY` is its key. **Everything in that database is deleted.**

#![expect(
    clippy::missing_panics_doc,
    reason = "a fixture that does not come up ends the test"
)]
#![expect(
    clippy::unwrap_used,
    reason = "a fixture that does not come up ends the test"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "the outside stack is named by the environment"
)]

mod database;
mod endless;
mod guide;
mod program;
mod recorder;
mod stack;
mod wire;

pub use endless::Endless;
pub use guide::assert_shown;
pub use program::{Program, Run, script, signal};
pub use recorder::{Exchange, Recorder};
pub use stack::Stack;
pub use wire::Wire;
