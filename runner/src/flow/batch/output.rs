//! The responses of a batch: on disk, with an index, because they come in any order and may be larger than memory.

use std::collections::BTreeMap;

use tokio::fs::File;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncSeekExt, BufReader, SeekFrom};
use tokio::sync::Mutex;

use super::super::run::Run;
use super::super::session::Session;
use super::book::{HeldBatch, Trouble, patiently, provider};
use super::line::Request;
use crate::provider::Usage;
use crate::provider::batch::OutputLine;

/// Where a line stands.
#[derive(Debug, Clone, Copy)]
struct Spot {
    file: usize,
    start: u64,
    bytes: usize,
}

/// All responses of a batch.
#[derive(Debug)]
pub(in crate::flow) struct BatchOutput {
    files: Vec<Mutex<File>>,
    spots: BTreeMap<Request, Spot>,
    /// What each successful response says it was billed for.
    pub(super) usages: Vec<Usage>,
    /// Requests that have succeeded.
    pub(super) succeeded: u64,
}

impl BatchOutput {
    /// Downloads the files of a batch.
    pub(super) async fn download(
        session: &Session,
        run: &Run,
        held: &HeldBatch,
    ) -> Result<Self, Trouble> {
        let mut output = Self {
            files: Vec::new(),
            spots: BTreeMap::new(),
            usages: Vec::new(),
            succeeded: 0,
        };
        let record = &held.record;
        for id in [&record.output_file_id, &record.error_file_id]
            .into_iter()
            .flatten()
        {
            let file = patiently(session, &run.stop, async || {
                let file = tempfile::tempfile().map(File::from_std);
                let mut file = match file {
                    Ok(file) => file,
                    Err(error) => return Ok(Err(error)),
                };
                provider_file(session, id, &mut file)
                    .await
                    .map(|()| Ok(file))
            });
            output.add(file.await??).await?;
        }
        Ok(output)
    }

    /// Reads through a file once.
    async fn add(&mut self, mut file: File) -> Result<(), Trouble> {
        file.rewind().await?;
        let number = self.files.len();
        let mut reader = BufReader::new(file);
        let (mut start, mut line) = (0, String::new());
        loop {
            line.clear();
            let bytes = reader.read_line(&mut line).await?;
            if bytes == 0 {
                break;
            }
            self.index(&line, number, start);
            start += bytes as u64;
        }
        self.files.push(Mutex::new(reader.into_inner()));
        Ok(())
    }

    fn index(&mut self, line: &str, file: usize, start: u64) {
        let Ok(read) = OutputLine::read(line) else {
            tracing::debug!("a line of a batch's output cannot be read");
            return;
        };
        let Some(request) = Request::parse(&read.custom_id) else {
            return;
        };
        let spot = Spot {
            file,
            start,
            bytes: line.len(),
        };
        if self.spots.insert(request, spot).is_none() && read.is_success() {
            self.succeeded += 1;
            self.usages.extend(read.usage());
        }
    }

    /// The responses to the requests about the rows of a line, in the order of their numbers.
    pub(super) async fn of_line(&self, line: u32) -> std::io::Result<Vec<String>> {
        let mut responses = Vec::new();
        let requests = Request { line, number: 0 }..=Request {
            line,
            number: u32::MAX,
        };
        for (_, spot) in self.spots.range(requests) {
            responses.push(self.read(*spot).await?);
        }
        Ok(responses)
    }

    /// Whether any response is of some kind.
    pub(super) async fn any(&self, is: impl Fn(&OutputLine<'_>) -> bool) -> std::io::Result<bool> {
        for spot in self.spots.values() {
            let line = self.read(*spot).await?;
            if OutputLine::read(&line).is_ok_and(|line| is(&line)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn read(&self, spot: Spot) -> std::io::Result<String> {
        let Some(file) = self.files.get(spot.file) else {
            return Err(std::io::ErrorKind::NotFound.into());
        };
        let mut file = file.lock().await;
        file.seek(SeekFrom::Start(spot.start)).await?;
        let mut line = vec![0; spot.bytes];
        file.read_exact(&mut line).await?;
        String::from_utf8(line).map_err(std::io::Error::other)
    }
}

async fn provider_file(
    session: &Session,
    id: &str,
    file: &mut File,
) -> Result<(), crate::provider::Error> {
    // `step` has checked that there is a provider.
    if let Ok(client) = provider(session) {
        client.download(id, file).await?;
    }
    Ok(())
}
