//! Frames: one generation each, as the log holds it. All integers are little-endian.
//!
//! | bytes | content |
//! | --- | --- |
//! | 0–7 | checksum of all that follows: XXH3, 64 bits, seeded with the id of the store |
//! | 8–15 | length of the changes in bytes |
//! | 16–23 | the number of the last change before it |
//! | 24–31 | the number of its last change |
//! | 32– | its changes, one after the other |
//!
//! | change | content |
//! | --- | --- |
//! | a commit | 0 u8 · client u64 · seq u64 · watermark u64 · record · number of writes u8 · writes |
//! | a session opened or changed | 1 u8 · client u64 · length u16 · its row, as in the table `sessions` |
//! | a session closed | 2 u8 · client u64 |
//!
//! | part of a commit | content |
//! | --- | --- |
//! | record | length u32 · its row, as in the table `records` |
//! | a write | length of the key u8 · key, UTF-8 · 1 u8 · length u32 · body |
//! | a deletion | length of the key u8 · key, UTF-8 · 0 u8 |

use bytes::{Buf, Bytes};

use super::error::RowError;
use super::generation::{Lsn, Span};
use super::layout;
use crate::id::{CallId, ClientId, Seq};
use crate::store::sessions::{Record, Session};
use crate::store::{CallRef, DocKey, Lent, MAX_DOCUMENTS_PER_CALL, Write};

/// What stands before the changes.
pub(super) const HEAD: usize = 32;

/// What stands before the payload of a commit's record.
const COMMIT_HEAD: usize = 1 + 3 * 8 + 4 + layout::RECORD_HEAD;

const COMMIT: u8 = 0;
const SESSION: u8 = 1;
const CLOSED: u8 = 2;

const MALFORMED: RowError = RowError { table: "log" };

/// A change, read back.
#[derive(Debug)]
pub(super) enum Change<X> {
    Commit { id: CallId, watermark: Seq, record: Record, writes: Vec<Write> },
    Session(ClientId, Session<X>),
    Closed(ClientId),
}

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    checksum: u64,
    pub(super) length: u64,
    pub(super) after: Lsn,
    pub(super) last: Lsn,
}

/// A frame without changes, and room for its head; in the room of an old one.
pub(super) fn begin(mut spare: Vec<u8>) -> Vec<u8> {
    spare.clear();
    spare.resize(HEAD, 0);
    spare
}

/// Fills the head in.
pub(super) fn seal(frame: &mut [u8], store: u64, span: &Span) {
    let length = (frame.len() - HEAD) as u64;
    frame[8..16].copy_from_slice(&length.to_le_bytes());
    frame[16..24].copy_from_slice(&span.after.0.to_le_bytes());
    frame[24..32].copy_from_slice(&span.last.0.to_le_bytes());
    let checksum = xxhash_rust::xxh3::xxh3_64_with_seed(&frame[8..], store);
    frame[..8].copy_from_slice(&checksum.to_le_bytes());
}

impl Head {
    pub(super) fn of(bytes: &[u8; HEAD]) -> Head {
        let mut rest = &bytes[..];
        Head {
            checksum: rest.get_u64_le(),
            length: rest.get_u64_le(),
            after: Lsn(rest.get_u64_le()),
            last: Lsn(rest.get_u64_le()),
        }
    }

    /// Whether this is the head of that whole frame of that store.
    pub(super) fn fits(&self, frame: &[u8], store: u64) -> bool {
        xxhash_rust::xxh3::xxh3_64_with_seed(&frame[8..], store) == self.checksum
    }
}

pub(super) fn put_commit(frame: &mut Vec<u8>, call: &CallRef, result: Lent<'_>, writes: &[Write]) {
    let (kind, payload) = layout::parts(result);
    let mut head = [COMMIT; COMMIT_HEAD];
    let numbers = [call.id.client.0, call.id.seq.0, call.watermark.0].map(u64::to_le_bytes);
    head[1..25].copy_from_slice(numbers.as_flattened());
    head[25..29].copy_from_slice(&length_of(layout::RECORD_HEAD + payload.len()));
    head[29..].copy_from_slice(&layout::record_head(call.hash, kind));
    frame.extend_from_slice(&head);
    frame.extend_from_slice(payload);
    frame.push(writes.len() as u8);
    for write in writes {
        let key = write.key.as_bytes();
        frame.push(key.len() as u8);
        frame.extend_from_slice(key);
        match &write.body {
            None => frame.push(0),
            Some(body) => {
                let [a, b, c, d] = length_of(body.len());
                frame.extend_from_slice(&[1, a, b, c, d]);
                frame.extend_from_slice(body);
            }
        }
    }
}

pub(super) fn put_session<X>(frame: &mut Vec<u8>, client: ClientId, session: &Session<X>) {
    frame.push(SESSION);
    frame.extend_from_slice(&client.0.to_le_bytes());
    let row = layout::session_row(session);
    let length = u16::try_from(row.len()).expect("an identity is far shorter");
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(&row);
}

pub(super) fn put_closed(frame: &mut Vec<u8>, client: ClientId) {
    frame.push(CLOSED);
    frame.extend_from_slice(&client.0.to_le_bytes());
}

fn length_of(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).expect("documents and results are limited").to_le_bytes()
}

/// Reads the changes of a frame, whose checksum was right.
pub(super) fn changes<X: Default>(mut rest: Bytes) -> Result<Vec<Change<X>>, RowError> {
    let mut changes = Vec::new();
    while rest.has_remaining() {
        changes.push(change(&mut rest)?);
    }
    Ok(changes)
}

fn change<X: Default>(rest: &mut Bytes) -> Result<Change<X>, RowError> {
    let kind = rest.try_get_u8().map_err(|_| MALFORMED)?;
    let client = ClientId(number(rest)?);
    match kind {
        COMMIT => {
            let (seq, watermark) = (Seq(number(rest)?), Seq(number(rest)?));
            let length = length(rest)?;
            let record = layout::record(&take(rest, length)?)?;
            let count = usize::from(rest.try_get_u8().map_err(|_| MALFORMED)?);
            let writes = (0..count).map(|_| write(rest)).collect::<Result<_, _>>()?;
            Ok(Change::Commit { id: CallId { client, seq }, watermark, record, writes })
        }
        SESSION => {
            let length = rest.try_get_u16_le().map_err(|_| MALFORMED)?;
            let row = take(rest, usize::from(length))?;
            Ok(Change::Session(client, layout::session(&row)?))
        }
        CLOSED => Ok(Change::Closed(client)),
        _ => Err(MALFORMED),
    }
}

fn write(rest: &mut Bytes) -> Result<Write, RowError> {
    let length_of_key = rest.try_get_u8().map_err(|_| MALFORMED)?;
    let key = take(rest, usize::from(length_of_key))?;
    let key = DocKey::stored(std::str::from_utf8(&key).map_err(|_| MALFORMED)?);
    let body = match rest.try_get_u8().map_err(|_| MALFORMED)? {
        0 => None,
        _ => {
            let length = length(rest)?;
            Some(take(rest, length)?.into())
        }
    };
    Ok(Write { key, body })
}

fn number(rest: &mut Bytes) -> Result<u64, RowError> {
    rest.try_get_u64_le().map_err(|_| MALFORMED)
}

fn length(rest: &mut Bytes) -> Result<usize, RowError> {
    Ok(rest.try_get_u32_le().map_err(|_| MALFORMED)? as usize)
}

fn take(rest: &mut Bytes, length: usize) -> Result<Bytes, RowError> {
    if rest.remaining() < length {
        return Err(MALFORMED);
    }
    Ok(rest.split_to(length))
}

const _: () = assert!(MAX_DOCUMENTS_PER_CALL <= u8::MAX as usize);
const _: () = assert!(DocKey::MAX_LEN <= u8::MAX as usize);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ArgumentHash, Attempt, Identity, Incarnation, SessionSecret};
    use crate::store::{Encoded, Lease, Outcome};
    use crate::time::WallTime;

    fn call() -> CallRef {
        CallRef {
            id: CallId { client: ClientId(1), seq: Seq(2) },
            incarnation: Incarnation::FIRST,
            attempt: Attempt::FIRST,
            born: WallTime(0),
            hash: ArgumentHash(3),
            anchor: None,
            watermark: Seq(4),
        }
    }

    fn record() -> Record {
        Record { hash: ArgumentHash(3), outcome: Outcome::Success(Encoded::from(b"r")) }
    }

    fn writes() -> Vec<Write> {
        let body = Some(Encoded::from(b"xy"));
        vec![
            Write { key: DocKey::stored("a:b"), body },
            Write { key: DocKey::stored("a:c"), body: None },
        ]
    }

    #[test]
    fn the_layout_of_a_commit_is_fixed() {
        let mut frame = Vec::new();
        put_commit(&mut frame, &call(), Lent::Whole(&record().outcome), &writes());
        let numbers = b"\0\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0";
        let record = b"\x0a\0\0\0\x03\0\0\0\0\0\0\0\0r";
        let rows = b"\x02\x03a:b\x01\x02\0\0\0xy\x03a:c\0";
        assert_eq!(frame, [&numbers[..], record, rows].concat());
        let mut lent = Vec::new();
        put_commit(&mut lent, &call(), Lent::Brief(b"r"), &writes());
        assert_eq!(lent, frame, "a lent value is laid out as any");
    }

    #[test]
    fn changes_round_trip() {
        let session = Session {
            identity: Identity::named("élan"),
            secret: SessionSecret([3; 16]),
            incarnation: Incarnation(4),
            watermark: Seq(5),
            lease: Lease { until: WallTime(6) },
            kept: (),
        };
        let mut frame = Vec::new();
        put_session(&mut frame, ClientId(8), &session);
        put_commit(&mut frame, &call(), Lent::Whole(&record().outcome), &writes());
        put_closed(&mut frame, ClientId(9));
        let back = changes::<()>(Bytes::from(frame)).unwrap();
        let [Change::Session(opened, row), Change::Commit { id, watermark, .. }, last] = &back[..]
        else {
            panic!("{back:?}")
        };
        assert_eq!((*opened, format!("{row:?}")), (ClientId(8), format!("{session:?}")));
        assert_eq!((*id, *watermark), (call().id, call().watermark));
        let Change::Commit { record: found, writes: written, .. } = &back[1] else { panic!() };
        assert_eq!((found, written), (&record(), &writes()));
        assert!(matches!(last, Change::Closed(ClientId(9))));
    }

    #[test]
    fn malformed_changes_are_refused() {
        let mut whole = Vec::new();
        put_commit(&mut whole, &call(), Lent::Whole(&record().outcome), &writes());
        for length in 1..whole.len() {
            let cut = Bytes::copy_from_slice(&whole[..length]);
            assert_eq!(changes::<()>(cut).err(), Some(MALFORMED), "of {length} bytes");
        }
        assert_eq!(changes::<()>(Bytes::from_static(&[3; 9])).err(), Some(MALFORMED));
    }
}
