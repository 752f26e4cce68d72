//! A service of a test's own on a free port.

use axum::Router;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A running service; it ends when this is dropped.
pub struct Service {
    url: String,
    task: JoinHandle<()>,
}

impl Service {
    /// Starts to serve.
    pub async fn start(router: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, task }
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.task.abort();
    }
}
