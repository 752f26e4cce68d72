//! An HTTP/1.1 server on a real socket that does exactly what a test says, including what a correct
//! server would not do.

use std::io;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// The connection, counted from zero.
    pub(crate) connection: usize,
    /// The request line, and the headers in lowercase.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

/// What a server does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Reaction {
    Answer(Vec<u8>),
    /// Answers, and closes the connection.
    Last(Vec<u8>),
    /// Closes the connection without a response.
    HangUp,
}

pub(crate) struct Server {
    url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start(react: impl Fn(&Seen) -> Reaction + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let (kept, react) = (Arc::clone(&seen), Arc::new(react));
        let task = tokio::spawn(async move {
            for connection in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                let (kept, react) = (Arc::clone(&kept), Arc::clone(&react));
                tokio::spawn(async move { serve(stream, connection, &kept, &*react).await });
            }
        });
        Self { url, seen, task }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Seen {
    /// The value of a header, by its lowercase name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().skip(1);
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// An answer with these headers, each ending its line, and this body.
pub(crate) fn answer(status: u16, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status} x\r\n{headers}content-length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

async fn serve(
    mut stream: TcpStream,
    connection: usize,
    kept: &Mutex<Vec<Seen>>,
    react: &(impl Fn(&Seen) -> Reaction + Sync),
) {
    // The client may go away at any time.
    while let Ok(seen) = read(&mut stream, connection).await {
        kept.lock().unwrap().push(seen.clone());
        match react(&seen) {
            Reaction::Answer(bytes) => drop(stream.write_all(&bytes).await),
            Reaction::Last(bytes) => return drop(stream.write_all(&bytes).await),
            Reaction::HangUp => return,
        }
    }
}

async fn read(stream: &mut TcpStream, connection: usize) -> io::Result<Seen> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let mut seen = Seen {
        connection,
        head: String::from_utf8(head).unwrap(),
        body: Vec::new(),
    };
    let length = seen.header("content-length").unwrap_or("0");
    seen.body.resize(length.parse().unwrap(), 0);
    stream.read_exact(&mut seen.body).await?;
    Ok(seen)
}
