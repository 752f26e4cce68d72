//! Reading posts from a file or stdin, in bounded memory: JSONL or CSV, plain or packed.
//!
//! A thread reads, unpacks and splits, because the decoders block. It is a few lines ahead at most.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;
use std::rc::Rc;

use clap::ValueEnum;
use flate2::read::MultiGzDecoder;
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use super::line::MAX_LINE_BYTES;
use super::zstd::ZstdFrames;
use crate::error::Error;
use crate::text::{count, is_utf16};

/// How many lines the thread reads ahead.
const LINES_AHEAD: usize = 8;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The form of the posts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum InputFormat {
    /// One JSON object a line
    Jsonl,
    /// Comma-separated values below a header
    Csv,
}

/// Lines of an input, numbered from 1.
pub(super) struct Lines {
    receiver: mpsc::Receiver<Result<Line, InputError>>,
}

/// A line of JSON, or why there is none. A line above the bound is truncated to a byte more than the bound, so that the
/// parser sees that it is too long.
pub(super) struct Line {
    pub(super) number: u64,
    pub(super) content: Result<Vec<u8>, String>,
}

/// Why there is no next line.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InputError {
    #[error("failed to read the input: {0}")]
    Read(#[from] io::Error),
    #[error("failed to unpack the input: {0}; the file is damaged or not complete")]
    Packed(io::Error),
    #[error("the input is not CSV: {0}")]
    Csv(String),
    #[error(
        "the input is UTF-16; convert it to UTF-8: `iconv -f UTF-16 -t UTF-8 FILE | sluice store -`"
    )]
    Utf16,
}

/// Where the thread puts lines. It ends when nobody takes them any more.
type Sender = mpsc::Sender<Result<Line, InputError>>;

impl Lines {
    /// Opens a file; `-` is stdin. Without a format, the name of the file decides.
    pub(super) fn open(path: &Path, format: Option<InputFormat>) -> Result<Self, Error> {
        let format = format.unwrap_or_else(|| format_of(path));
        if path == Path::new("-") {
            return Ok(Self::new(io::stdin(), format));
        }
        let failed = |source| Error::File {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(failed)?;
        // A folder can be opened. It fails only when it is read.
        if file.metadata().map_err(failed)?.is_dir() {
            return Err(failed(io::Error::from(io::ErrorKind::IsADirectory)));
        }
        Ok(Self::new(file, format))
    }

    /// Lines of anything that can be read.
    pub(super) fn new(input: impl Read + Send + 'static, format: InputFormat) -> Self {
        let (sender, receiver) = mpsc::channel(LINES_AHEAD);
        std::thread::spawn(move || {
            if let Err(error) = read_all(input, format, &sender) {
                let _nobody_listens = sender.blocking_send(Err(error));
            }
        });
        Self { receiver }
    }

    /// The next line, without its end.
    ///
    /// # Errors
    /// If the input cannot be read, or no line of it can be understood.
    pub(super) async fn next(&mut self) -> Result<Option<Line>, InputError> {
        self.receiver.recv().await.transpose()
    }
}

/// The format by a name such as `posts.csv.gz`.
fn format_of(path: &Path) -> InputFormat {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = name.to_ascii_lowercase();
    let name = name.trim_end_matches(".gz").trim_end_matches(".zst");
    match name.rsplit_once('.') {
        Some((_, "csv")) => InputFormat::Csv,
        _ => InputFormat::Jsonl,
    }
}

fn read_all(
    input: impl Read + 'static,
    format: InputFormat,
    lines: &Sender,
) -> Result<(), InputError> {
    let (start, input) = peek(BufReader::with_capacity(1 << 16, input))?;
    let unpacked: Box<dyn Read> = match start.as_slice() {
        [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(input)),
        [0x28, 0xb5, 0x2f, 0xfd] => Box::new(ZstdFrames::new(input)?),
        _ => return read_text(&start, input, format, lines),
    };
    let (start, unpacked) = peek(BufReader::new(unpacked)).map_err(InputError::Packed)?;
    read_text(&start, unpacked, format, lines).map_err(|error| match error {
        InputError::Read(error) => InputError::Packed(error),
        error => error,
    })
}

/// The first four bytes of an input, and all of it.
fn peek<R: BufRead>(mut input: R) -> io::Result<(Vec<u8>, impl BufRead + use<R>)> {
    let mut start = Vec::new();
    (&mut input).take(4).read_to_end(&mut start)?;
    Ok((start.clone(), Cursor::new(start).chain(input)))
}

fn read_text(
    start: &[u8],
    mut input: impl BufRead,
    format: InputFormat,
    lines: &Sender,
) -> Result<(), InputError> {
    if is_utf16(start) {
        return Err(InputError::Utf16);
    }
    if start.starts_with(BYTE_ORDER_MARK) {
        input.read_exact(&mut [0; BYTE_ORDER_MARK.len()])?;
    }
    match format {
        InputFormat::Jsonl => read_lines(input, lines),
        InputFormat::Csv => read_records(input, lines),
    }
}

fn read_lines(mut input: impl BufRead, lines: &Sender) -> Result<(), InputError> {
    let bound = MAX_LINE_BYTES as u64 + 2;
    for number in 1.. {
        let mut bytes = Vec::new();
        let read = (&mut input).take(bound).read_until(b'\n', &mut bytes)?;
        if read == 0 {
            break;
        }
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
        } else if read as u64 == bound {
            input.skip_until(b'\n')?;
        }
        let content = Ok(bytes);
        if lines.blocking_send(Ok(Line { number, content })).is_err() {
            break;
        }
    }
    Ok(())
}

/// Makes a line of JSON of each record of a CSV.
fn read_records(input: impl Read, lines: &Sender) -> Result<(), InputError> {
    let left = Rc::new(Cell::new(RECORD_BYTES));
    let bounded = Bounded {
        input,
        left: Rc::clone(&left),
    };
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .from_reader(bounded);
    let header = header(reader.byte_headers().map_err(csv_error)?)?;
    // The parser leaves the second byte of a Windows line end for the next record.
    let end_lines = reader.position().line().saturating_sub(1).min(1);
    let mut record = csv::ByteRecord::new();
    loop {
        left.set(RECORD_BYTES);
        if !reader.read_byte_record(&mut record).map_err(csv_error)? {
            return Ok(());
        }
        let breaks = record.as_slice().iter().filter(|byte| **byte == b'\n');
        let by_end = (reader.position().line() - end_lines).saturating_sub(breaks.count() as u64);
        let by_start = record.position().map_or(0, csv::Position::line);
        // The start is before blank lines, and the end of a last line without a line end is on the same line.
        let number = by_end.max(by_start);
        let content = object(&header, &record);
        if lines.blocking_send(Ok(Line { number, content })).is_err() {
            return Ok(());
        }
    }
}

/// The names of the columns.
fn header(record: &csv::ByteRecord) -> Result<Vec<String>, InputError> {
    let names = record.iter();
    let names: Vec<String> = names
        .map(|name| String::from_utf8_lossy(name).trim().to_owned())
        .collect();
    if !names.iter().any(|name| name == "content") {
        return Err(InputError::Csv(
            "its first line names no column `content`; it must be a header, with commas between the names".to_owned(),
        ));
    }
    let mut seen = BTreeSet::new();
    match names.iter().find(|name| !seen.insert(name.as_str())) {
        Some(twice) => Err(InputError::Csv(format!("its header has `{twice}` twice"))),
        None => Ok(names),
    }
}

/// A record as an object. An empty cell is absent, and a cell with an array is an array.
fn object(header: &[String], record: &csv::ByteRecord) -> Result<Vec<u8>, String> {
    if record.len() != header.len() {
        let (cells, columns) = (count(record.len() as u64, "cell"), header.len());
        return Err(format!(
            "{cells} below a header of {columns}; put quotes around a text that contains a comma"
        ));
    }
    let mut object = Map::new();
    for (name, cell) in header.iter().zip(record) {
        let cell = std::str::from_utf8(cell)
            .map_err(|_| format!("the column `{name}` is not UTF-8; save the file as UTF-8"))?;
        if cell.is_empty() {
            continue;
        }
        let array = || serde_json::from_str(cell).ok().filter(Value::is_array);
        let is_list = matches!(name.as_str(), "image_urls" | "comments");
        let value = is_list.then(array).flatten();
        object.insert(name.clone(), value.unwrap_or_else(|| cell.into()));
    }
    Ok(Value::Object(object).to_string().into_bytes())
}

/// What may be read for one record: a line, and what the parser reads ahead.
const RECORD_BYTES: usize = MAX_LINE_BYTES + (1 << 16);

/// An input of which only so much is read for one record. An open quote would otherwise read all of it into memory.
struct Bounded<R> {
    input: R,
    left: Rc<Cell<usize>>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        let left = self
            .left
            .get()
            .checked_sub(read)
            .ok_or_else(|| io::Error::other(TooLong))?;
        self.left.set(left);
        Ok(read)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("a record has more than {MAX_LINE_BYTES} bytes; a quote that is never closed does that")]
struct TooLong;

fn csv_error(error: csv::Error) -> InputError {
    match error.into_kind() {
        csv::ErrorKind::Io(error)
            if error
                .get_ref()
                .is_some_and(<dyn std::error::Error + Send + Sync>::is::<TooLong>) =>
        {
            InputError::Csv(error.to_string())
        }
        csv::ErrorKind::Io(error) => InputError::Read(error),
        other => InputError::Csv(format!("{other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    type Content = Result<String, String>;

    /// Every line with its number, and how the input ended.
    async fn read(input: impl Into<Vec<u8>>, format: InputFormat) -> (Vec<(u64, Content)>, String) {
        let mut lines = Lines::new(Cursor::new(input.into()), format);
        let mut seen = Vec::new();
        loop {
            match lines.next().await {
                Ok(Some(line)) => {
                    let content = line.content.map(|bytes| String::from_utf8(bytes).unwrap());
                    seen.push((line.number, content));
                }
                Ok(None) => return (seen, String::new()),
                Err(error) => return (seen, error.to_string()),
            }
        }
    }

    async fn jsonl(input: impl Into<Vec<u8>>) -> Vec<(u64, usize)> {
        let (seen, error) = read(input, InputFormat::Jsonl).await;
        assert_eq!(error, "");
        let lengths = seen.into_iter();
        lengths
            .map(|(number, content)| (number, content.unwrap().len()))
            .collect()
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(text: &[u8]) -> Vec<u8> {
        ruzstd::encoding::compress_to_vec(text, ruzstd::encoding::CompressionLevel::Fastest)
    }

    #[tokio::test]
    async fn empty_lines_and_a_last_line_without_an_end_are_numbered() {
        assert_eq!(jsonl("ab\n\nc").await, [(1, 2), (2, 0), (3, 1)]);
        assert_eq!(jsonl("").await, []);
    }

    #[tokio::test]
    async fn utf_16_is_an_error_of_the_input() {
        let text: Vec<u8> = "\u{feff}{}\n{}\n"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        for format in [InputFormat::Jsonl, InputFormat::Csv] {
            let (_, error) = read(text.clone(), format).await;
            assert!(error.contains("iconv"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_line_over_the_bound_is_truncated_and_the_next_one_is_whole() {
        let mut text = vec![b'x'; MAX_LINE_BYTES * 2];
        text.extend(b"\nnext\n");
        let seen = jsonl(text).await;
        assert_eq!(seen.len(), 2);
        assert!(seen[0].1 > MAX_LINE_BYTES);
        assert_eq!(seen[1], (2, 4));
    }

    #[tokio::test]
    async fn packed_inputs_are_known_by_their_first_bytes() {
        let (one, two) = (b"one\ntw".as_slice(), b"o\n".as_slice());
        for pack in [gzip, zstd] {
            let parts = [pack(one), pack(two)].concat();
            assert_eq!(jsonl(parts).await, [(1, 3), (2, 3)]);
        }
    }

    #[tokio::test]
    async fn a_packed_input_that_is_cut_off_is_an_error() {
        let text = "some text, packed\n".repeat(9_000);
        for pack in [gzip, zstd] {
            let mut packed = pack(text.as_bytes());
            packed.truncate(packed.len() / 2);
            let (_, error) = read(packed, InputFormat::Jsonl).await;
            assert!(error.contains("not complete"), "{error}");
        }
    }

    #[tokio::test]
    async fn records_of_a_csv_are_objects_with_the_names_of_the_header() {
        for end in ["\n", "\r\n"] {
            let records = [
                "\u{feff}content,image_urls,author_id",
                "\"two\nlines, one post\",\"[\"\"a\"\"]\",7",
                "",
                "plain,,",
                "x,y",
            ];
            let (seen, error) = read(records.join(end), InputFormat::Csv).await;
            assert_eq!(error, "");
            let first = r#"{"content":"two\nlines, one post","image_urls":["a"],"author_id":"7"}"#;
            assert_eq!(seen[0], (2, Ok(first.to_owned())));
            assert_eq!(seen[1], (5, Ok(r#"{"content":"plain"}"#.to_owned())));
            assert_eq!(seen[2].0, 6);
            assert!(seen[2].1.as_ref().unwrap_err().contains("2 cells"));
        }
    }

    #[tokio::test]
    async fn a_csv_needs_a_header_that_names_the_content_once() {
        let (_, error) = read("a,b\n1,2\n", InputFormat::Csv).await;
        assert!(error.contains("no column `content`"), "{error}");
        let (_, error) = read("content,content\n1,2\n", InputFormat::Csv).await;
        assert!(error.contains("`content` twice"), "{error}");
    }

    #[tokio::test]
    async fn an_open_quote_does_not_read_the_whole_file_into_memory() {
        let text = format!(
            "content\n\"{}",
            "never closed\n".repeat(MAX_LINE_BYTES / 10)
        );
        let (seen, error) = read(text, InputFormat::Csv).await;
        assert!(seen.is_empty() && error.contains("quote"), "{error}");
    }

    #[test]
    fn the_name_says_what_a_csv_is() {
        for (name, format) in [
            ("posts.csv", InputFormat::Csv),
            ("POSTS.CSV.GZ", InputFormat::Csv),
            ("posts.jsonl.zst", InputFormat::Jsonl),
            ("-", InputFormat::Jsonl),
        ] {
            assert_eq!(format_of(Path::new(name)), format, "{name}");
        }
    }
}
