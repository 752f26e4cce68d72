//! Reading lines from a file or stdin, in bounded memory.

use std::path::Path;

use tokio::fs::File;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, BufReader, stdin};

use super::line::MAX_LINE_BYTES;
use crate::error::Error;
use crate::text::is_utf16;

/// Lines of an input, numbered from 1.
pub(super) struct Lines {
    reader: Box<dyn AsyncBufRead + Send + Unpin>,
    buffer: Vec<u8>,
    number: u64,
}

/// A line. A line above the bound is truncated to a byte more than the bound, so that the parser sees that it is
/// too long.
pub(super) struct Line<'a> {
    pub(super) number: u64,
    pub(super) bytes: &'a [u8],
}

/// Why there is no next line.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InputError {
    #[error("failed to read the input: {0}")]
    Read(#[from] std::io::Error),
    #[error(
        "the input is UTF-16; convert it to UTF-8: `iconv -f UTF-16 -t UTF-8 FILE | sluice store -`"
    )]
    Utf16,
}

impl Lines {
    /// Opens a file; `-` is stdin.
    pub(super) async fn open(path: &Path) -> Result<Self, Error> {
        if path == Path::new("-") {
            return Ok(Self::new(BufReader::new(stdin())));
        }
        let failed = |source| Error::File {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).await.map_err(failed)?;
        // A folder can be opened. It fails only when it is read.
        if file.metadata().await.map_err(failed)?.is_dir() {
            return Err(failed(std::io::Error::from(
                std::io::ErrorKind::IsADirectory,
            )));
        }
        Ok(Self::new(BufReader::with_capacity(1 << 16, file)))
    }

    /// Lines of anything that can be read.
    pub(super) fn new(reader: impl AsyncBufRead + Send + Unpin + 'static) -> Self {
        Self {
            reader: Box::new(reader),
            buffer: Vec::new(),
            number: 0,
        }
    }

    /// The next line, without its end.
    ///
    /// # Errors
    /// If the input cannot be read, or is UTF-16: each of its lines would be an error.
    pub(super) async fn next(&mut self) -> Result<Option<Line<'_>>, InputError> {
        self.buffer.clear();
        let bound = MAX_LINE_BYTES as u64 + 2;
        let read = (&mut self.reader)
            .take(bound)
            .read_until(b'\n', &mut self.buffer)
            .await?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        if self.number == 1 && is_utf16(&self.buffer) {
            return Err(InputError::Utf16);
        }
        if self.buffer.last() == Some(&b'\n') {
            self.buffer.pop();
        } else if read as u64 == bound {
            self.skip_rest().await?;
        }
        Ok(Some(Line {
            number: self.number,
            bytes: &self.buffer,
        }))
    }

    /// Skips to the end of a line that is too long.
    async fn skip_rest(&mut self) -> std::io::Result<()> {
        loop {
            let available = self.reader.fill_buf().await?;
            let (used, ended) = match available.iter().position(|byte| *byte == b'\n') {
                Some(end) => (end + 1, true),
                None => (available.len(), available.is_empty()),
            };
            self.reader.consume(used);
            if ended {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(text: Vec<u8>) -> Vec<(u64, usize)> {
        let mut lines = Lines::new(BufReader::with_capacity(8, std::io::Cursor::new(text)));
        let mut seen = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            seen.push((line.number, line.bytes.len()));
        }
        seen
    }

    #[tokio::test]
    async fn empty_lines_and_a_last_line_without_an_end_are_numbered() {
        assert_eq!(read(b"ab\n\nc".to_vec()).await, [(1, 2), (2, 0), (3, 1)]);
        assert_eq!(read(Vec::new()).await, []);
    }

    #[tokio::test]
    async fn utf_16_is_an_error_of_the_input() {
        let text: Vec<u8> = "\u{feff}{}\n{}\n"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        let mut lines = Lines::new(std::io::Cursor::new(text));
        let error = lines.next().await.err().unwrap().to_string();
        assert!(error.contains("iconv"), "{error}");
    }

    #[tokio::test]
    async fn a_line_over_the_bound_is_truncated_and_the_next_one_is_whole() {
        let mut text = vec![b'x'; MAX_LINE_BYTES * 2];
        text.extend(b"\nnext\n");
        let seen = read(text).await;
        assert_eq!(seen.len(), 2);
        assert!(seen[0].1 > MAX_LINE_BYTES);
        assert_eq!(seen[1], (2, 4));
    }
}
