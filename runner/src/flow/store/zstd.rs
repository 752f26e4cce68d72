//! Unpacking Zstandard. A file may have several frames, one after the other.

use std::io::{self, BufRead, Read};

use ruzstd::decoding::StreamingDecoder;

type Decoder<R> = StreamingDecoder<R, ruzstd::decoding::FrameDecoder>;

/// The contents of all frames of an input.
pub(super) struct ZstdFrames<R: BufRead> {
    /// `None` only after an error.
    frame: Option<Decoder<R>>,
}

impl<R: BufRead> ZstdFrames<R> {
    pub(super) fn new(input: R) -> io::Result<Self> {
        let frame = Some(frame(input)?);
        Ok(Self { frame })
    }
}

fn frame<R: BufRead>(input: R) -> io::Result<Decoder<R>> {
    StreamingDecoder::new(input).map_err(io::Error::other)
}

impl<R: BufRead> Read for ZstdFrames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let Some(current) = &mut self.frame else {
                return Ok(0);
            };
            let read = current.read(buffer)?;
            if read > 0 || buffer.is_empty() || current.get_mut().fill_buf()?.is_empty() {
                return Ok(read);
            }
            let ended = self.frame.take().map(StreamingDecoder::into_inner);
            self.frame = ended.map(frame).transpose()?;
        }
    }
}
