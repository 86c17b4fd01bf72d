//! Requests and responses of the memcached binary protocol, as bytes.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Operations, by their codes.
pub(super) mod op {
    pub(crate) const GET: u8 = 0x00;
    pub(crate) const SET: u8 = 0x01;
    pub(crate) const ADD: u8 = 0x02;
    pub(crate) const REPLACE: u8 = 0x03;
    pub(crate) const DELETE: u8 = 0x04;
    pub(crate) const NOOP: u8 = 0x0a;
    pub(crate) const HELLO: u8 = 0x1f;
    pub(crate) const SASL_LIST: u8 = 0x20;
    pub(crate) const SASL_AUTH: u8 = 0x21;
    pub(crate) const SASL_STEP: u8 = 0x22;
    pub(crate) const SELECT_BUCKET: u8 = 0x89;
    pub(crate) const GET_META: u8 = 0xa0;
    pub(crate) const GET_CLUSTER_CONFIG: u8 = 0xb5;
    pub(crate) const GET_MANIFEST: u8 = 0xba;
    pub(crate) const GET_COLLECTION_ID: u8 = 0xbb;
    pub(crate) const SUBDOC_GET: u8 = 0xc5;
    pub(crate) const SUBDOC_EXISTS: u8 = 0xc6;
    pub(crate) const SUBDOC_DICT_ADD: u8 = 0xc7;
    pub(crate) const SUBDOC_DICT_UPSERT: u8 = 0xc8;
    pub(crate) const SUBDOC_DELETE: u8 = 0xc9;
    pub(crate) const SUBDOC_REPLACE: u8 = 0xca;
    pub(crate) const MULTI_LOOKUP: u8 = 0xd0;
    pub(crate) const MULTI_MUTATION: u8 = 0xd1;
    pub(crate) const GET_ERROR_MAP: u8 = 0xfe;

    /// What an operation is called in counts and control.
    pub(crate) fn name(code: u8) -> &'static str {
        match code {
            GET => "get",
            SET => "set",
            ADD => "add",
            REPLACE => "replace",
            DELETE => "delete",
            GET_META => "get-meta",
            MULTI_LOOKUP => "lookup-in",
            MULTI_MUTATION => "mutate-in",
            HELLO | SASL_LIST | SASL_AUTH | SASL_STEP | SELECT_BUCKET | GET_ERROR_MAP => {
                "bootstrap"
            }
            GET_CLUSTER_CONFIG | GET_MANIFEST | GET_COLLECTION_ID => "configuration",
            NOOP => "noop",
            _ => "unknown",
        }
    }
}

/// The states that a response may report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Status(pub(super) u16);

impl Status {
    pub(super) const SUCCESS: Status = Status(0x00);
    pub(super) const KEY_ENOENT: Status = Status(0x01);
    pub(super) const KEY_EEXISTS: Status = Status(0x02);
    pub(super) const E2BIG: Status = Status(0x03);
    pub(super) const EINVAL: Status = Status(0x04);
    pub(super) const NOT_MY_VBUCKET: Status = Status(0x07);
    pub(super) const NO_BUCKET: Status = Status(0x08);
    pub(super) const LOCKED: Status = Status(0x09);
    pub(super) const AUTH_ERROR: Status = Status(0x20);
    pub(super) const AUTH_CONTINUE: Status = Status(0x21);
    pub(super) const EACCESS: Status = Status(0x24);
    pub(super) const UNKNOWN_COMMAND: Status = Status(0x81);
    pub(super) const NOT_SUPPORTED: Status = Status(0x83);
    pub(super) const EINTERNAL: Status = Status(0x84);
    pub(super) const ETMPFAIL: Status = Status(0x86);
    pub(super) const XATTR_EINVAL: Status = Status(0x87);
    pub(super) const UNKNOWN_COLLECTION: Status = Status(0x88);
    pub(super) const UNKNOWN_SCOPE: Status = Status(0x8c);
    pub(super) const DURABILITY_INVALID_LEVEL: Status = Status(0xa0);
    pub(super) const DURABILITY_IMPOSSIBLE: Status = Status(0xa1);
    pub(super) const SYNC_WRITE_IN_PROGRESS: Status = Status(0xa2);
    pub(super) const SYNC_WRITE_AMBIGUOUS: Status = Status(0xa3);
    pub(super) const SYNC_WRITE_RECOMMIT_IN_PROGRESS: Status = Status(0xa4);
    pub(super) const SUBDOC_PATH_ENOENT: Status = Status(0xc0);
    pub(super) const SUBDOC_PATH_MISMATCH: Status = Status(0xc1);
    pub(super) const SUBDOC_PATH_EINVAL: Status = Status(0xc2);
    pub(super) const SUBDOC_VALUE_CANTINSERT: Status = Status(0xc5);
    pub(super) const SUBDOC_DOC_NOT_JSON: Status = Status(0xc6);
    pub(super) const SUBDOC_PATH_EEXISTS: Status = Status(0xc9);
    pub(super) const SUBDOC_INVALID_COMBO: Status = Status(0xcb);
    pub(super) const SUBDOC_MULTI_PATH_FAILURE: Status = Status(0xcc);
    pub(super) const SUBDOC_XATTR_UNKNOWN_VATTR: Status = Status(0xd1);
    pub(super) const SUBDOC_XATTR_CANT_MODIFY_VATTR: Status = Status(0xd2);
    pub(super) const SUBDOC_INVALID_XATTR_ORDER: Status = Status(0xd4);
}

/// One request.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) opcode: u8,
    pub(super) vbucket: u16,
    pub(super) opaque: u32,
    pub(super) cas: u64,
    /// Frame infos, each as its number and its bytes.
    pub(super) frames: Vec<(u16, Bytes)>,
    pub(super) extras: Bytes,
    pub(super) key: Bytes,
    pub(super) value: Bytes,
}

/// What is answered.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: Status,
    pub(super) cas: u64,
    pub(super) datatype: u8,
    pub(super) extras: Bytes,
    pub(super) value: Bytes,
}

/// Bytes that are no request. A server closes the connection on them.
#[derive(Debug)]
pub(super) struct Malformed;

const HEADER_LEN: usize = 24;
/// The longest body of a request: the largest document, its attributes, and a little more.
const MAX_BODY_LEN: usize = 22 << 20;
const MAGIC_REQUEST: u8 = 0x80;
const MAGIC_FLEXIBLE_REQUEST: u8 = 0x08;
const MAGIC_RESPONSE: u8 = 0x81;

impl Request {
    /// Takes the first request off the buffer, once it is there as a whole.
    pub(super) fn take(buffer: &mut BytesMut) -> Result<Option<Request>, Malformed> {
        if buffer.len() < HEADER_LEN {
            return Ok(None);
        }
        let body_len = u32::from_be_bytes([buffer[8], buffer[9], buffer[10], buffer[11]]) as usize;
        if body_len > MAX_BODY_LEN {
            return Err(Malformed);
        }
        if buffer.len() < HEADER_LEN + body_len {
            return Ok(None);
        }
        let mut packet = buffer.split_to(HEADER_LEN + body_len).freeze();
        let magic = packet.get_u8();
        let opcode = packet.get_u8();
        let (frames_len, key_len) = match magic {
            MAGIC_REQUEST => (0, usize::from(packet.get_u16())),
            MAGIC_FLEXIBLE_REQUEST => (usize::from(packet.get_u8()), usize::from(packet.get_u8())),
            _ => return Err(Malformed),
        };
        let extras_len = usize::from(packet.get_u8());
        let _datatype = packet.get_u8();
        let vbucket = packet.get_u16();
        let _body_len = packet.get_u32();
        let opaque = packet.get_u32();
        let cas = packet.get_u64();
        if frames_len + extras_len + key_len > packet.len() {
            return Err(Malformed);
        }
        let frames = split_frames(packet.split_to(frames_len))?;
        let extras = packet.split_to(extras_len);
        let key = packet.split_to(key_len);
        Ok(Some(Request { opcode, vbucket, opaque, cas, frames, extras, key, value: packet }))
    }
}

impl Answer {
    pub(super) fn of(status: Status) -> Answer {
        Answer { status, cas: 0, datatype: 0, extras: Bytes::new(), value: Bytes::new() }
    }

    pub(super) fn value(value: impl Into<Bytes>) -> Answer {
        Answer { value: value.into(), ..Answer::of(Status::SUCCESS) }
    }

    pub(super) fn encode(&self, request: &Request) -> Bytes {
        let body_len = self.extras.len() + self.value.len();
        let mut packet = BytesMut::with_capacity(HEADER_LEN + body_len);
        packet.put_u8(MAGIC_RESPONSE);
        packet.put_u8(request.opcode);
        packet.put_u16(0);
        packet.put_u8(u8::try_from(self.extras.len()).expect("extras are a few bytes"));
        packet.put_u8(self.datatype);
        packet.put_u16(self.status.0);
        packet.put_u32(u32::try_from(body_len).expect("a body is at most some MiB"));
        packet.put_u32(request.opaque);
        packet.put_u64(self.cas);
        packet.put_slice(&self.extras);
        packet.put_slice(&self.value);
        packet.freeze()
    }
}

/// Four bits of number, four bits of length; 15 says that more of it follows in a byte.
fn split_frames(mut bytes: Bytes) -> Result<Vec<(u16, Bytes)>, Malformed> {
    let mut frames = Vec::new();
    while bytes.has_remaining() {
        let head = bytes.get_u8();
        let mut part = |nibble: u8| match nibble {
            15 if bytes.has_remaining() => Ok(15 + u16::from(bytes.get_u8())),
            15 => Err(Malformed),
            small => Ok(u16::from(small)),
        };
        let number = part(head >> 4)?;
        let len = usize::from(part(head & 0x0f)?);
        if len > bytes.len() {
            return Err(Malformed);
        }
        frames.push((number, bytes.split_to(len)));
    }
    Ok(frames)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flexible_request_is_taken_apart() {
        let mut buffer = BytesMut::new();
        buffer.put_slice(&[0x08, op::MULTI_MUTATION, 2, 3, 4, 0, 0, 7]);
        buffer.put_u32(2 + 4 + 3 + 6);
        buffer.put_u32(99);
        buffer.put_u64(42);
        buffer.put_slice(&[0x11, 0x01]);
        buffer.put_slice(&[0, 0, 0, 0]);
        buffer.put_slice(b"keyvalue!");
        let whole = buffer.clone();
        buffer.truncate(30);
        assert!(Request::take(&mut buffer).unwrap().is_none());
        let mut buffer = whole;
        let request = Request::take(&mut buffer).unwrap().unwrap();
        assert_eq!((request.opcode, request.vbucket, request.opaque), (op::MULTI_MUTATION, 7, 99));
        assert_eq!(request.frames, [(1, Bytes::from_static(&[1]))]);
        assert_eq!((&request.key[..], &request.value[..]), (&b"key"[..], &b"value!"[..]));
        assert_eq!(request.cas, 42);
    }

    #[test]
    fn what_is_no_request_is_malformed() {
        for bytes in [
            vec![0x42; HEADER_LEN],
            {
                let mut huge = vec![0x80; 8];
                huge.extend([0xff; 4]);
                huge.extend([0; 12]);
                huge
            },
            {
                let mut key_over_the_end = vec![0x80, 0, 0, 9];
                key_over_the_end.extend([0; 20]);
                key_over_the_end
            },
        ] {
            assert!(Request::take(&mut BytesMut::from(&bytes[..])).is_err(), "{bytes:?}");
        }
    }
}
