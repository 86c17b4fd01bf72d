//! Frame boundaries, in a stream that arrives in pieces.

use super::varint::Sink;
use super::{WireError, varint};

/// A frame's length takes at most this many bytes.
pub(crate) const MAX_LENGTH_BYTES: usize = 5;

/// Cuts a byte stream into frames. Frames that arrive whole are lent from the input without a
/// copy; only an unfinished tail is kept.
#[derive(Debug)]
pub(crate) struct FrameDecoder {
    max_frame: usize,
    /// The bytes of an unfinished frame, with its length prefix. Never grows past one frame.
    partial: Vec<u8>,
}

impl FrameDecoder {
    pub(crate) fn new(max_frame: usize) -> FrameDecoder {
        FrameDecoder { max_frame, partial: Vec::new() }
    }

    pub(crate) fn set_max_frame(&mut self, max_frame: usize) {
        self.max_frame = max_frame;
    }

    /// Takes the next frame's body off `input`, or keeps all of `input` until more arrives.
    ///
    /// `finished` is scratch space for a frame that arrived in pieces.
    #[inline]
    pub(crate) fn next<'a: 'b, 'b>(
        &mut self,
        input: &mut &'a [u8],
        finished: &'b mut Vec<u8>,
    ) -> Result<Option<&'b [u8]>, WireError> {
        if self.partial.is_empty() {
            if let Some(frame) = self.whole(input) {
                return Ok(Some(frame));
            }
            if input.is_empty() {
                return Ok(None);
            }
        }
        self.next_slowly(input, finished)
    }

    /// As [`next`](FrameDecoder::next), once no unfinished frame is kept: each frame is lent from
    /// the input itself.
    #[inline]
    pub(crate) fn next_lent<'a>(
        &mut self,
        input: &mut &'a [u8],
    ) -> Result<Option<&'a [u8]>, WireError> {
        debug_assert!(self.partial.is_empty(), "a kept frame comes first");
        if let Some(frame) = self.whole(input) {
            return Ok(Some(frame));
        }
        if input.is_empty() {
            return Ok(None);
        }
        self.next_measured(input)
    }

    /// Most frames are shorter than 128 bytes, and here as a whole.
    #[inline]
    fn whole<'a>(&self, input: &mut &'a [u8]) -> Option<&'a [u8]> {
        let (&size, behind) = input.split_first()?;
        if !(1..0x80).contains(&size) || usize::from(size) > self.max_frame {
            return None;
        }
        let (frame, rest) = behind.split_at_checked(usize::from(size))?;
        *input = rest;
        Some(frame)
    }

    fn next_slowly<'a: 'b, 'b>(
        &mut self,
        input: &mut &'a [u8],
        finished: &'b mut Vec<u8>,
    ) -> Result<Option<&'b [u8]>, WireError> {
        if self.partial.is_empty() {
            return self.next_measured(input);
        }
        self.next_from_partial(input, finished)
    }

    /// A frame of any length that is here as a whole; else keeps what there is of it.
    fn next_measured<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<&'a [u8]>, WireError> {
        let measured = self.measure(input)?;
        let Some((prefix, body)) = measured.filter(|(prefix, body)| prefix + body <= input.len())
        else {
            self.partial.extend_from_slice(input);
            *input = &[];
            return Ok(None);
        };
        let frame = &input[prefix..prefix + body];
        *input = &input[prefix + body..];
        Ok(Some(frame))
    }

    /// How much memory an unfinished frame takes.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.partial.capacity()
    }

    /// Completes the kept frame with just the bytes that it lacks.
    fn next_from_partial<'b>(
        &mut self,
        input: &mut &[u8],
        finished: &'b mut Vec<u8>,
    ) -> Result<Option<&'b [u8]>, WireError> {
        loop {
            let missing = match self.measure(&self.partial)? {
                Some((prefix, body)) => prefix + body - self.partial.len(),
                None => 1,
            };
            if missing == 0 {
                std::mem::swap(finished, &mut self.partial);
                self.partial.clear();
                let (prefix, _) = self.measure(finished)?.expect("a complete frame has a length");
                return Ok(Some(&finished[prefix..]));
            }
            let taken = missing.min(input.len());
            if taken == 0 {
                return Ok(None);
            }
            self.partial.extend_from_slice(&input[..taken]);
            *input = &input[taken..];
        }
    }

    /// The sizes of the length prefix and of the body, once the prefix is complete.
    fn measure(&self, bytes: &[u8]) -> Result<Option<(usize, usize)>, WireError> {
        let head = &bytes[..bytes.len().min(MAX_LENGTH_BYTES)];
        let Some(last) = head.iter().position(|byte| byte & 0x80 == 0) else {
            if head.len() == MAX_LENGTH_BYTES {
                return Err(WireError::BadInteger("frame length"));
            }
            return Ok(None);
        };
        let size = super::Reader::new(&head[..=last]).u64("frame length")?;
        match usize::try_from(size) {
            Ok(0) => Err(WireError::Truncated("frame")),
            Ok(body) if body <= self.max_frame => Ok(Some((last + 1, body))),
            _ => Err(WireError::FrameTooLarge { size, limit: self.max_frame }),
        }
    }
}

/// What a header takes at most, but for a bitmap.
const MAX_HEAD: usize = 80;

/// A frame's header, put together here and then appended at once.
pub(crate) struct Head {
    /// Room for the frame's length, then the header.
    bytes: [u8; MAX_LENGTH_BYTES + MAX_HEAD],
    end: usize,
}

impl Head {
    #[inline]
    pub(crate) fn new() -> Head {
        Head { bytes: [0; MAX_LENGTH_BYTES + MAX_HEAD], end: MAX_LENGTH_BYTES }
    }

    /// Appends the frame of this header and what follows it.
    pub(crate) fn put(mut self, rest: &[u8], out: &mut Vec<u8>) {
        let body = self.end - MAX_LENGTH_BYTES + rest.len();
        out.reserve(MAX_LENGTH_BYTES + body);
        if body < 0x80 {
            self.bytes[MAX_LENGTH_BYTES - 1] = body as u8;
            out.extend_from_slice(&self.bytes[MAX_LENGTH_BYTES - 1..self.end]);
        } else {
            varint::put(body as u64, out);
            out.extend_from_slice(&self.bytes[MAX_LENGTH_BYTES..self.end]);
        }
        out.extend_from_slice(rest);
    }
}

impl Sink for Head {
    #[inline]
    fn byte(&mut self, byte: u8) {
        self.bytes[self.end] = byte;
        self.end += 1;
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.bytes[self.end..][..bytes.len()].copy_from_slice(bytes);
        self.end += bytes.len();
    }
}

/// The header that nearly every frame has, put together in a register: its first byte and one or two
/// small integers.
pub(crate) struct ShortHead {
    /// The header's bytes, the first one lowest, behind a byte for the frame's length.
    word: u64,
    /// How many bits they take, with the length.
    bits: u32,
}

impl ShortHead {
    #[inline]
    pub(crate) fn new(first: u8) -> ShortHead {
        ShortHead { word: u64::from(first) << 8, bits: 16 }
    }

    /// Appends an integer of one byte, if it is one and there is room. If not, the header is of no more
    /// use.
    #[inline]
    pub(crate) fn small(&mut self, value: u64) -> bool {
        if value >= 0x80 || self.bits == u64::BITS {
            return false;
        }
        self.word |= value << self.bits;
        self.bits += 8;
        true
    }

    /// Appends an integer as [`varint::put`] does, if there is room. If there is not, the header is
    /// of no more use.
    #[inline]
    pub(crate) fn varint(&mut self, value: u64) -> bool {
        let more = |least: u64| u32::from(value >= least);
        let extra = more(1 << 7) + more(1 << 14) + more(1 << 21);
        let bits = self.bits + 8 * (1 + extra);
        if value >= 1 << 28 || bits > u64::BITS {
            return false;
        }
        let spread = value & 0x7f
            | (value & 0x7f << 7) << 1
            | (value & 0x7f << 14) << 2
            | (value & 0x7f << 21) << 3;
        let continued = 0x0080_8080 & ((1 << (8 * extra)) - 1);
        self.word |= (spread | continued) << self.bits;
        self.bits = bits;
        true
    }

    /// Appends the frame of this header and what follows it, if its length is one byte.
    #[inline]
    pub(crate) fn put(self, rest: &[u8], out: &mut Vec<u8>) -> bool {
        let head = self.bits as usize / 8;
        let body = head - 1 + rest.len();
        if body >= 0x80 {
            return false;
        }
        // To append all eight bytes and take back what is too much costs less than to call a copy of
        // the right length.
        let start = out.len();
        out.extend_from_slice(&(self.word | body as u64).to_le_bytes());
        out.truncate(start + head);
        out.extend_from_slice(rest);
        true
    }
}

/// Appends one frame: `write` appends its body.
pub(crate) fn put_frame(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    // Most frames are shorter than 128 bytes: one byte of length is set aside, and the body moves
    // up only if it needs more.
    out.push(0);
    write(out);
    let body = out.len() - start - 1;
    if body < 0x80 {
        out[start] = body as u8;
        return;
    }
    let extra = varint::len(body as u64) - 1;
    out.resize(out.len() + extra, 0);
    out.copy_within(start + 1..start + 1 + body, start + 1 + extra);
    let mut value = body;
    for slot in &mut out[start..start + extra] {
        *slot = (value as u8) | 0x80;
        value >>= 7;
    }
    out[start + extra] = value as u8;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode_in_pieces(
        stream: &[u8],
        piece: usize,
        max: usize,
    ) -> Result<Vec<Vec<u8>>, WireError> {
        let mut decoder = FrameDecoder::new(max);
        let mut frames = Vec::new();
        for chunk in stream.chunks(piece) {
            let mut input = chunk;
            loop {
                let mut finished = Vec::new();
                match decoder.next(&mut input, &mut finished)? {
                    Some(frame) => frames.push(frame.to_vec()),
                    None => break,
                }
            }
            assert!(input.is_empty(), "all input is taken");
        }
        Ok(frames)
    }

    #[test]
    fn frames_survive_any_cut() {
        let bodies: Vec<Vec<u8>> = [1, 2, 127, 128, 300, 20_000]
            .map(|size| (0..size).map(|byte| byte as u8).collect())
            .into();
        let mut stream = Vec::new();
        for body in &bodies {
            put_frame(&mut stream, |out| out.extend_from_slice(body));
        }
        for piece in [1, 2, 3, 7, 129, 4096, stream.len()] {
            assert_eq!(decode_in_pieces(&stream, piece, 1 << 20).unwrap(), bodies, "{piece}");
        }
    }

    #[test]
    fn a_frame_in_pieces_takes_no_more_than_it_lacks() {
        let frame = |byte: u8| {
            let mut out = Vec::new();
            put_frame(&mut out, |out| out.extend_from_slice(&[byte; 200]));
            out
        };
        let stream = [frame(1), frame(2), frame(3)].concat();
        for cut in 1..stream.len() {
            let mut decoder = FrameDecoder::new(200);
            let mut frames = Vec::new();
            for mut input in [&stream[..cut], &stream[cut..]] {
                let mut finished = Vec::new();
                while let Some(frame) = decoder.next(&mut input, &mut finished).unwrap() {
                    frames.push(frame.to_vec());
                }
            }
            assert_eq!(frames, [[1; 200], [2; 200], [3; 200]], "{cut}");
        }
    }

    #[test]
    fn a_short_header_is_as_a_long_one() {
        let edges = [0, 1, 0x7f, 0x80, 0x3fff, 0x4000, 0x1f_ffff, 0x20_0000, 0xfff_ffff, 1 << 28];
        for (first, second) in edges.into_iter().flat_map(|a| edges.map(|b| (a, b))) {
            for rest in [&[][..], &[7; 100], &[7; 119], &[7; 122], &[7; 200]] {
                let mut long = Head::new();
                long.byte(9);
                varint::put(first, &mut long);
                varint::put(second, &mut long);
                let mut expected = vec![1];
                long.put(rest, &mut expected);
                let mut short = ShortHead::new(9);
                let mut out = vec![1];
                let fits = short.varint(first)
                    && if second < 0x80 { short.small(second) } else { short.varint(second) };
                let is_put = fits && short.put(rest, &mut out);
                assert_eq!(is_put, is_put && out == expected, "{first} {second} {}", rest.len());
                let size = varint::len(first) + varint::len(second);
                let is_short = size <= 6 && first < 1 << 28 && second < 1 << 28;
                assert_eq!(is_put, is_short && 1 + size + rest.len() < 0x80);
            }
        }
    }

    #[test]
    fn a_short_header_takes_a_small_integer_only_where_it_is_one_and_there_is_room() {
        assert!(ShortHead::new(9).small(0x7f));
        assert!(!ShortHead::new(9).small(0x80), "it needs two bytes");
        let mut full = ShortHead::new(9);
        assert!((0..6).all(|_| full.small(1)));
        assert!(!full.small(1), "eight bytes are all there are");
    }

    #[test]
    fn a_frame_of_any_length_is_lent_once_it_is_whole() {
        for size in [1, 2, 127, 128, 300] {
            let mut decoder = FrameDecoder::new(300);
            let mut out = Vec::new();
            put_frame(&mut out, |out| out.extend((0..size).map(|byte| byte as u8)));
            let whole = [&out[..], &[7]].concat();
            let mut input = &whole[..];
            let body = &out[out.len() - size..];
            assert_eq!(decoder.next_lent(&mut input), Ok(Some(body)));
            assert_eq!(input, [7], "what comes after it is left");
            let (mut first, mut rest) = out.split_at(out.len() - 1);
            assert_eq!(decoder.next_lent(&mut first), Ok(None));
            assert!(first.is_empty(), "it is kept");
            assert_eq!(decoder.next(&mut rest, &mut Vec::new()), Ok(Some(body)));
        }
    }

    #[test]
    fn a_header_takes_no_more_room_than_its_frame() {
        let mut out = Vec::new();
        Head::new().put(&[7; 10_000], &mut out);
        assert!(out.capacity() < 10_100, "{}", out.capacity());
    }

    #[test]
    fn oversized_frame_is_refused_before_its_body_arrives() {
        let mut stream = Vec::new();
        varint::put(1 << 30, &mut stream);
        let refused = decode_in_pieces(&stream, 1, 1 << 20);
        assert_eq!(refused, Err(WireError::FrameTooLarge { size: 1 << 30, limit: 1 << 20 }));
    }

    #[test]
    fn endless_length_and_empty_frame_are_refused() {
        assert_eq!(
            decode_in_pieces(&[0xff; 8], 3, 1 << 20),
            Err(WireError::BadInteger("frame length"))
        );
        assert_eq!(decode_in_pieces(&[0], 1, 1 << 20), Err(WireError::Truncated("frame")));
    }

    #[test]
    fn the_largest_frame_can_be_changed() {
        let mut out = Vec::new();
        put_frame(&mut out, |out| out.extend_from_slice(&[7; 100]));
        let mut decoder = FrameDecoder::new(100);
        let (mut input, mut finished) = (&out[..], Vec::new());
        assert_eq!(decoder.next(&mut input, &mut finished).unwrap(), Some(&[7; 100][..]));
        decoder.set_max_frame(99);
        let mut input = &out[..];
        assert!(decoder.next(&mut input, &mut finished).is_err());
    }
}
