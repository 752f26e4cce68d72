//! Exit codes, for shells, cron and CI.

use std::process::ExitCode;

use crate::engine::StopReason;

/// How a command ended, as its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Everything that was asked for is done.
    Complete = 0,
    /// An unexpected error.
    Unexpected = 1,
    /// The arguments or the configuration are wrong. Nothing was started.
    Usage = 2,
    /// The limit, the deadline or the budget was reached. Another run continues.
    MoreRemains = 3,
    /// Finished, but some rows failed. `sluice failures list` names them.
    SomeFailed = 4,
    /// The provider refuses the key, or the quota is used up.
    ProviderRefuses = 5,
    /// The database cannot be reached, refuses the key, or its schema lacks the migrations.
    Database = 6,
    /// Interrupted by a signal. Results in flight are written and leases released.
    Interrupted = 130,
    /// The reader of stdout went away (`sluice rank | head -1`). Other tools end with this code then, too.
    ClosedPipe = 141,
}

impl Exit {
    /// Every code with its meaning, in ascending order. `sluice --help` prints this table.
    pub const TABLE: &'static str = "\
Exit codes:
  0    complete
  1    unexpected error
  2    usage or configuration error
  3    more work remains (limit, deadline or budget reached)
  4    finished, but some rows failed (see `sluice failures list`)
  5    the provider refuses (key, quota)
  6    database unreachable, refuses the key, or lacks the migrations
  130  interrupted, drained
  141  nobody reads stdout any more (as after `| head -1`)";

    /// The worse of two codes: what somebody has to look at first.
    #[must_use]
    pub fn worse(self, other: Self) -> Self {
        let rank = |exit: Self| match exit {
            Self::Complete => 0,
            Self::MoreRemains => 1,
            Self::SomeFailed => 2,
            Self::ProviderRefuses => 3,
            Self::Database => 4,
            Self::Usage => 5,
            Self::Unexpected => 6,
            Self::ClosedPipe => 7,
            Self::Interrupted => 8,
        };
        if rank(other) > rank(self) {
            other
        } else {
            self
        }
    }

    /// The number that the process exits with.
    pub const fn code(self) -> u8 {
        self as u8
    }
}

impl From<&StopReason> for Exit {
    fn from(reason: &StopReason) -> Self {
        match reason {
            StopReason::Limit(_)
            | StopReason::Deadline(_)
            | StopReason::Budget(_)
            | StopReason::Deferred(_)
            | StopReason::Outage(_) => Self::MoreRemains,
            StopReason::Settings(_) => Self::Usage,
            StopReason::Interrupted | StopReason::JobGone(_) => Self::Interrupted,
            StopReason::Refused(_) => Self::ProviderRefuses,
            StopReason::Database(_) => Self::Database,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_in_the_table() {
        for exit in [
            Exit::Complete,
            Exit::Unexpected,
            Exit::Usage,
            Exit::MoreRemains,
            Exit::SomeFailed,
            Exit::ProviderRefuses,
            Exit::Database,
            Exit::Interrupted,
            Exit::ClosedPipe,
        ] {
            let row = format!("\n  {:<5}", exit.code());
            assert!(Exit::TABLE.contains(&row), "{exit:?} is missing");
        }
    }
}
