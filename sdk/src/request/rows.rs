//! Reads the rows of a JSON array one by one from a body that arrives in pieces.

use std::marker::PhantomData;
use std::ops::Range;

use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::de::DeserializeOwned;

use super::Body;
use crate::error::{Error, ErrorKind};

/// Reads each element of the array in `body` into `V` as soon as it is complete.
pub(crate) fn rows<V>(body: Body) -> BoxStream<'static, Result<V, Error>>
where
    V: DeserializeOwned + Send + 'static,
{
    let state = RowReader {
        body,
        elements: Elements::default(),
        marker: PhantomData::<fn() -> V>,
    };
    stream::try_unfold(state, |mut state| async move {
        Ok(state.next().await?.map(|row| (row, state)))
    })
    .boxed()
}

struct RowReader<V> {
    body: Body,
    elements: Elements,
    marker: PhantomData<fn() -> V>,
}

impl<V: DeserializeOwned> RowReader<V> {
    async fn next(&mut self) -> Result<Option<V>, Error> {
        loop {
            if let Some(element) = self.elements.next()? {
                let row = serde_json::from_slice(element).map_err(|error| {
                    Error::decode("a row is not what the caller's type expects", &error)
                })?;
                return Ok(Some(row));
            }
            match self.body.try_next().await? {
                Some(bytes) => self.elements.feed(&bytes),
                None if self.elements.has_ended() => return Ok(None),
                None => {
                    return Err(Error::new(
                        ErrorKind::Interrupted,
                        "the response ended before its last row",
                    ));
                }
            }
        }
    }
}

/// Finds where the elements of a JSON array begin and end, without parsing them. Only the
/// incomplete element is kept when the next piece arrives.
#[derive(Default)]
struct Elements {
    buffer: Vec<u8>,
    /// How much of the buffer has been scanned.
    scanned: usize,
    /// Where the incomplete element begins.
    start: Option<usize>,
    /// How many brackets are open. One is the array itself.
    depth: usize,
    in_text: bool,
    escaped: bool,
    ended: bool,
}

impl Elements {
    fn feed(&mut self, bytes: &[u8]) {
        let kept = self.start.unwrap_or(self.scanned);
        self.buffer.drain(..kept);
        self.scanned -= kept;
        self.start = self.start.map(|_| 0);
        self.buffer.extend_from_slice(bytes);
    }

    /// Returns the next complete element, or `None` if more of the body is needed.
    fn next(&mut self) -> Result<Option<&[u8]>, Error> {
        while let Some(&byte) = self.buffer.get(self.scanned) {
            let found = self.step(byte)?;
            self.scanned += 1;
            if let Some(range) = found {
                return Ok(self.buffer.get(range));
            }
        }
        Ok(None)
    }

    fn has_ended(&self) -> bool {
        self.ended
    }

    /// Scans one byte. Returns the element that it ends.
    fn step(&mut self, byte: u8) -> Result<Option<Range<usize>>, Error> {
        if self.in_text {
            self.in_text = self.escaped || byte != b'"';
            self.escaped = !self.escaped && byte == b'\\';
            return Ok(None);
        }
        let is_blank = byte.is_ascii_whitespace();
        if self.depth == 0 {
            return match byte {
                _ if is_blank => Ok(None),
                b'[' if !self.ended => {
                    self.depth = 1;
                    Ok(None)
                }
                _ => Err(Error::new(
                    ErrorKind::Decode,
                    "the response is not an array of rows",
                )),
            };
        }
        let ends = self.depth == 1 && matches!(byte, b',' | b']');
        match byte {
            b'[' | b'{' => self.depth += 1,
            b']' | b'}' => self.depth -= 1,
            b'"' => self.in_text = true,
            _ => {}
        }
        self.ended = self.depth == 0;
        if ends {
            return Ok(self.start.take().map(|start| start..self.scanned));
        }
        if self.start.is_none() && !is_blank {
            self.start = Some(self.scanned);
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// The rows of a body that comes in pieces of `size` bytes.
    fn read(body: &[u8], size: usize) -> Result<Vec<Value>, Error> {
        let pieces: Vec<_> = body
            .chunks(size.max(1))
            .map(|piece| Ok(Bytes::copy_from_slice(piece)))
            .collect();
        let body: Body = stream::iter(pieces).boxed();
        let all = rows(body).try_collect::<Vec<Value>>();
        futures_util::FutureExt::now_or_never(all).unwrap()
    }

    #[test]
    fn rows_are_read_from_a_response_of_postgrest() {
        let body = b"[{\"id\":1,\"t\":\"a]},\\\"\"}, \n {\"id\":2,\"t\":[1,[2]]}]\n";
        let expected = [
            json!({"id": 1, "t": "a]},\""}),
            json!({"id": 2, "t": [1, [2]]}),
        ];
        assert_eq!(read(body, 3).unwrap(), expected);
        assert_eq!(
            read(b"[1, null,\"x\"]", 1).unwrap(),
            [json!(1), json!(null), json!("x")]
        );
        assert!(read(b" [ ] ", 1).unwrap().is_empty());
    }

    #[test]
    fn a_truncated_body_or_another_value_than_an_array_is_an_error() {
        assert_eq!(
            read(b"[{\"id\":1},", 4).unwrap_err().kind(),
            ErrorKind::Interrupted
        );
        assert_eq!(read(b"", 4).unwrap_err().kind(), ErrorKind::Interrupted);
        assert_eq!(
            read(b"{\"id\":1}", 4).unwrap_err().kind(),
            ErrorKind::Decode
        );
        assert_eq!(read(b"[1] 2", 4).unwrap_err().kind(), ErrorKind::Decode);
    }

    #[test]
    fn elements_are_dropped_once_they_are_read() {
        let mut elements = Elements::default();
        elements.feed(b"[");
        for _ in 0..1_000 {
            elements.feed(b"{\"id\":1},");
            assert!(elements.next().unwrap().is_some());
            assert!(elements.buffer.len() < 30);
        }
    }

    proptest! {
        #[test]
        fn any_rows_in_any_pieces(texts in prop::collection::vec("(?s).{0,8}", 0..5), size in 1_usize..9) {
            let rows: Vec<Value> = texts.iter().map(|text| json!({"t": text, "n": [text]})).collect();
            prop_assert_eq!(read(json!(rows).to_string().as_bytes(), size).unwrap(), rows);
        }
    }
}
