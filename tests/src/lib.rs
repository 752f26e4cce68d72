//! Support for the integration tests: a real stack with a clean database for each test, the simulator, a recorder of
//! requests, a connection that can be cut, and the program as a process.
//!
//! The stack is the embedded Supabase, started once for each test binary. If `SLUICE_TEST_POSTGREST_URL` is set, the same
//! tests run against that server instead. `SLUICE_TEST_DATABASE_URL` then names its database, and
//! `SLUICE_TEST_SERVICE_KEY` its key. **The tests delete everything in that database.**

#![expect(
    clippy::missing_panics_doc,
    reason = "if a fixture does not start, the test ends"
)]
#![expect(
    clippy::unwrap_used,
    reason = "if a fixture does not start, the test ends"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "the environment names the outside stack"
)]

mod endless;
mod fault_proxy;
mod guide;
mod native;
mod odd_provider;
pub mod oracle;
mod outside;
mod own_stack;
mod program;
mod recorder;
mod repository;
mod service;
mod sql;
mod stack;
mod wire;

pub use endless::Endless;
pub use fault_proxy::{FaultProxy, Moment, Plan, ProxyFault};
pub use guide::assert_shown;
pub use native::{Native, Session as NativeSession, longest_lock, native_wanted};
pub use odd_provider::{OddProvider, Oddity, Refusal, When};
pub use outside::Outside;
pub use own_stack::OwnStack;
pub use program::{Program, Run, built, script, signal};
pub use recorder::{Exchange, Recorder};
pub use repository::{assert_generated, assert_generated_file, files, root, screenshots_wanted};
pub use service::Service;
pub use stack::Stack;
pub use wire::Wire;
