//! Signals: the first one lets requests in flight finish, the second one does not wait for them.

use crate::engine::{Stop, StopReason};

/// Until it is dropped, SIGINT or SIGTERM stops a flow.
pub(super) struct Watch {
    task: tokio::task::JoinHandle<()>,
}

impl Watch {
    pub(super) fn new(stop: Stop) -> Self {
        let task = tokio::spawn(async move {
            signalled().await;
            tracing::warn!("interrupted: finishing what is in flight");
            tokio::select! {
                () = stop.interrupt(StopReason::Interrupted) => {}
                () = signalled() => stop.abort(),
            }
        });
        Self { task }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Resolves at the next SIGINT or SIGTERM.
pub(super) async fn signalled() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminated) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminated.recv() => {}
            }
            return;
        }
    }
    // If no handler can be set, a signal ends the process anyway.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
