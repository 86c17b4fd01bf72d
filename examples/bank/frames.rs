//! Where one message ends and the next begins: all that the fault proxy knows of the protocol.

use bytes::{Buf as _, Bytes, BytesMut};

/// The longest frame that is taken for one. Longer ones show that the proxy and the two ends no
/// longer agree where frames begin.
const MAX_FRAME_BYTES: usize = 64 << 20;

/// The most bytes that a frame's length takes: a u32 in base 128.
const MAX_LENGTH_BYTES: usize = 5;

/// Cuts a stream of bytes into whole frames, each with its length in front.
#[derive(Debug, Default)]
pub(crate) struct FrameSplitter {
    buffer: BytesMut,
}

/// Bytes that begin no frame.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stream has no frame where one must begin")]
pub(crate) struct NotAFrame;

impl FrameSplitter {
    /// Where the bytes of the stream go.
    pub(crate) fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next frame that is complete, with its length in front.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, NotAFrame> {
        let Some(total) = frame_len(&self.buffer)? else { return Ok(None) };
        if self.buffer.remaining() < total {
            return Ok(None);
        }
        Ok(Some(self.buffer.split_to(total).freeze()))
    }
}

/// How long the first frame is, with its length in front; `None` if too little of it is there.
fn frame_len(bytes: &[u8]) -> Result<Option<usize>, NotAFrame> {
    let mut length = 0u64;
    for (index, byte) in bytes.iter().take(MAX_LENGTH_BYTES).enumerate() {
        length |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let body = usize::try_from(length).map_err(|_| NotAFrame)?;
            return if body > MAX_FRAME_BYTES {
                Err(NotAFrame)
            } else {
                Ok(Some(index + 1 + body))
            };
        }
    }
    if bytes.len() < MAX_LENGTH_BYTES { Ok(None) } else { Err(NotAFrame) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut length = body.len();
        while length >= 0x80 {
            bytes.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        bytes.push(length as u8);
        bytes.extend_from_slice(body);
        bytes
    }

    #[test]
    fn frames_come_out_whole_however_they_arrive() {
        let frames = [frame(b""), frame(b"hello"), frame(&[7; 300]), frame(&[9; 20_000])];
        let stream = frames.concat();
        for step in [1, 2, 3, 127, 128, 4096, stream.len()] {
            let mut splitter = FrameSplitter::default();
            let mut seen = Vec::new();
            for piece in stream.chunks(step) {
                splitter.buffer().extend_from_slice(piece);
                while let Some(frame) = splitter.next().unwrap() {
                    seen.push(frame.to_vec());
                }
            }
            assert_eq!(seen, frames, "in steps of {step}");
        }
    }

    #[test]
    fn what_is_no_frame_is_told_before_it_is_held() {
        let mut endless = FrameSplitter::default();
        endless.buffer().extend_from_slice(&[0xff; 5]);
        assert_eq!(endless.next(), Err(NotAFrame));
        let mut huge = FrameSplitter::default();
        huge.buffer().extend_from_slice(&[0xff, 0xff, 0xff, 0xff, 0x0f]);
        assert_eq!(huge.next(), Err(NotAFrame));
    }
}
