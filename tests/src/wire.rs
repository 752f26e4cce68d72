//! A connection to a service that a test can cut and mend: an outage as the client sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Whether connections get through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Whole,
    Cut,
    Silent,
}

/// A TCP proxy in front of one service.
pub struct Wire {
    url: String,
    state: watch::Sender<State>,
    silenced: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Wire {
    /// Starts in front of the service at `http://HOST:PORT…` and keeps the path.
    pub async fn to(upstream: &str) -> Self {
        let authority = upstream.strip_prefix("http://").unwrap();
        let (host, path) = authority.split_once('/').unwrap_or((authority, ""));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/{path}", listener.local_addr().unwrap());
        let (state, seen) = watch::channel(State::Whole);
        let silenced = Arc::<AtomicUsize>::default();
        let line = Line {
            upstream: Arc::from(host),
            state: seen,
            silenced: Arc::clone(&silenced),
        };
        let task = tokio::spawn(serve(listener, line));
        Self {
            url,
            state,
            silenced,
            task,
        }
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        self.url.trim_end_matches('/')
    }

    /// Breaks every open connection at once, and every new one until the wire is mended.
    pub fn cut(&self) {
        self.state.send_replace(State::Cut);
    }

    /// Keeps connections open and carries nothing, like a service that hangs.
    pub fn silence(&self) {
        self.state.send_replace(State::Silent);
    }

    /// How many connections have become silent so far.
    pub fn silenced(&self) -> usize {
        self.silenced.load(Ordering::Relaxed)
    }

    /// Carries new connections again.
    pub fn mend(&self) {
        self.state.send_replace(State::Whole);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What all connections share.
#[derive(Clone)]
struct Line {
    upstream: Arc<str>,
    state: watch::Receiver<State>,
    silenced: Arc<AtomicUsize>,
}

async fn serve(listener: TcpListener, line: Line) {
    loop {
        let (client, _) = listener.accept().await.unwrap();
        tokio::spawn(carry(client, line.clone()));
    }
}

async fn carry(mut client: TcpStream, mut line: Line) {
    let at_start = *line.state.borrow_and_update();
    if at_start == State::Whole {
        let Ok(mut server) = TcpStream::connect(&*line.upstream).await else {
            return;
        };
        tokio::select! {
            // If either side ends, the connection ends.
            _ = copy_bidirectional(&mut client, &mut server) => return,
            _ = line.state.changed() => {}
        }
    }
    // A connection that had an outage carries nothing more. A silent one stays open.
    if *line.state.borrow_and_update() == State::Silent {
        line.silenced.fetch_add(1, Ordering::Relaxed);
    }
    let is_over = |state: &State| *state != State::Silent;
    let _ended = line.state.wait_for(is_over).await;
}
