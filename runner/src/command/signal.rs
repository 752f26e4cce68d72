//! Signals: the first one drains, the second one gives up.

use crate::engine::{Stop, StopReason};

/// Stops a flow on SIGINT or SIGTERM, until dropped.
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
    // Where no handler can be set, the process ends by itself at a signal.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
