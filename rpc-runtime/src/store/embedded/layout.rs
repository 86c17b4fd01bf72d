//! How rows are laid out in the file. All integers are little-endian and of fixed width.
//!
//! | table | key | value |
//! | --- | --- | --- |
//! | `meta` | name | u64: `format`, `next_client`, `last_lsn`, `store`, `segment_bytes` |
//! | `documents` | key, UTF-8 | version u64 · body |
//! | `records` | (client u64, seq u64) | hash u64 · kind u8 · payload |
//! | `sessions` | client u64 | secret 16 bytes · incarnation u32 · watermark u64 · lease end u64 · identity, UTF-8 |
//!
//! The kind of a record is 0 success, 1 business error (payload: the encoded value) or 2 aborted
//! (payload: u8, 1 deadline, 2 cancelled, 3 failed).

use redb::TableDefinition;

use super::error::RowError;
use crate::id::{ArgumentHash, Identity, Incarnation, Seq, SessionSecret};
use crate::store::sessions::{Record, Session};
use crate::store::{AbortReason, Encoded, Lease, Lent, Outcome, Version, Versioned};
use crate::time::WallTime;

/// The format that this version reads and writes; see `docs/embedded-store.md`.
pub(super) const FORMAT: u64 = 2;

pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
pub(super) const DOCUMENTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("documents");
pub(super) const RECORDS: TableDefinition<'_, (u64, u64), &[u8]> = TableDefinition::new("records");
pub(super) const SESSIONS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("sessions");

/// The row of `meta` with the format of the file.
pub(super) const META_FORMAT: &str = "format";
/// The row of `meta` with the client id that the next session gets.
pub(super) const META_NEXT_CLIENT: &str = "next_client";
/// The row of `meta` with the number of the last change that is in the tables.
pub(super) const META_LAST_LSN: &str = "last_lsn";
/// The row of `meta` with the id of the store, drawn by chance, which its log has, too.
pub(super) const META_STORE: &str = "store";
/// The row of `meta` with the length of a segment of the log.
pub(super) const META_SEGMENT_BYTES: &str = "segment_bytes";

/// A row of `meta` is missing.
pub(super) const MALFORMED_META: RowError = RowError { table: "meta" };

const DOCUMENT_HEAD: usize = 8;
pub(super) const RECORD_HEAD: usize = 9;
const SESSION_HEAD: usize = 16 + 4 + 8 + 8;

const SUCCESS: u8 = 0;
const BUSINESS_ERROR: u8 = 1;
const ABORTED: u8 = 2;

/// The length of a document's row.
pub(super) fn document_len(body: &[u8]) -> usize {
    DOCUMENT_HEAD + body.len()
}

/// Fills a document's row.
pub(super) fn put_document(row: &mut [u8], version: Version, body: &[u8]) {
    let (head, rest) = row.split_at_mut(DOCUMENT_HEAD);
    head.copy_from_slice(&version.0.to_le_bytes());
    rest.copy_from_slice(body);
}

/// The version of a document's row.
pub(super) fn document_version(row: &[u8]) -> Result<Version, RowError> {
    let (version, _) = take::<8>(row, "documents")?;
    Ok(Version(u64::from_le_bytes(version)))
}

/// Decodes a document's row.
pub(super) fn document(row: &[u8]) -> Result<Versioned, RowError> {
    let version = document_version(row)?;
    Ok(Versioned::new(version, Some(Encoded::from(&row[DOCUMENT_HEAD..]))))
}

/// The kind and the payload of a record's row.
pub(super) fn parts(result: Lent<'_>) -> (u8, &[u8]) {
    match result {
        Lent::Brief(bytes) => (SUCCESS, bytes),
        Lent::Whole(Outcome::Success(bytes)) => (SUCCESS, bytes),
        Lent::Whole(Outcome::BusinessError(bytes)) => (BUSINESS_ERROR, bytes),
        Lent::Whole(Outcome::Aborted(AbortReason::Deadline)) => (ABORTED, &[1]),
        Lent::Whole(Outcome::Aborted(AbortReason::Cancelled)) => (ABORTED, &[2]),
        Lent::Whole(Outcome::Aborted(AbortReason::Failed)) => (ABORTED, &[3]),
    }
}

/// Decodes the kind and the payload of a record's row.
fn outcome(kind: u8, payload: &[u8]) -> Result<Outcome, RowError> {
    match (kind, payload) {
        (SUCCESS, bytes) => Ok(Outcome::Success(bytes.into())),
        (BUSINESS_ERROR, bytes) => Ok(Outcome::BusinessError(bytes.into())),
        (ABORTED, [1]) => Ok(Outcome::Aborted(AbortReason::Deadline)),
        (ABORTED, [2]) => Ok(Outcome::Aborted(AbortReason::Cancelled)),
        (ABORTED, [3]) => Ok(Outcome::Aborted(AbortReason::Failed)),
        _ => Err(RowError { table: "records" }),
    }
}

/// What stands before the payload in a record's row.
pub(super) fn record_head(hash: ArgumentHash, kind: u8) -> [u8; RECORD_HEAD] {
    let mut head = [kind; RECORD_HEAD];
    head[..8].copy_from_slice(&hash.0.to_le_bytes());
    head
}

/// The length of a record's row.
pub(super) fn record_len(record: &Record) -> usize {
    RECORD_HEAD + parts(Lent::Whole(&record.outcome)).1.len()
}

/// Fills a record's row.
pub(super) fn put_record(row: &mut [u8], record: &Record) {
    let (kind, payload) = parts(Lent::Whole(&record.outcome));
    let (head, rest) = row.split_at_mut(RECORD_HEAD);
    head.copy_from_slice(&record_head(record.hash, kind));
    rest.copy_from_slice(payload);
}

/// Decodes a record's row.
pub(super) fn record(row: &[u8]) -> Result<Record, RowError> {
    let (hash, rest) = take::<8>(row, "records")?;
    let (kind, payload) = rest.split_first().ok_or(RowError { table: "records" })?;
    let outcome = outcome(*kind, payload)?;
    Ok(Record { hash: ArgumentHash(u64::from_le_bytes(hash)), outcome })
}

/// Encodes a session's row.
pub(super) fn session_row<X>(session: &Session<X>) -> Vec<u8> {
    let name = session.identity.name().as_bytes();
    let mut row = Vec::with_capacity(SESSION_HEAD + name.len());
    row.extend_from_slice(&session.secret.0);
    row.extend_from_slice(&session.incarnation.0.to_le_bytes());
    row.extend_from_slice(&session.watermark.0.to_le_bytes());
    row.extend_from_slice(&session.lease.until.0.to_le_bytes());
    row.extend_from_slice(name);
    row
}

/// Decodes a session's row.
pub(super) fn session<X: Default>(row: &[u8]) -> Result<Session<X>, RowError> {
    let (secret, rest) = take::<16>(row, "sessions")?;
    let (incarnation, rest) = take::<4>(rest, "sessions")?;
    let (watermark, rest) = take::<8>(rest, "sessions")?;
    let (until, name) = take::<8>(rest, "sessions")?;
    let name = std::str::from_utf8(name).map_err(|_| RowError { table: "sessions" })?;
    Ok(Session {
        identity: Identity::named(name),
        secret: SessionSecret(secret),
        incarnation: Incarnation(u32::from_le_bytes(incarnation)),
        watermark: Seq(u64::from_le_bytes(watermark)),
        lease: Lease { until: WallTime(u64::from_le_bytes(until)) },
        kept: X::default(),
    })
}

fn take<'a, const N: usize>(
    row: &'a [u8],
    table: &'static str,
) -> Result<([u8; N], &'a [u8]), RowError> {
    let (head, rest) = row.split_first_chunk::<N>().ok_or(RowError { table })?;
    Ok((*head, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_round_trip() {
        let outcomes = [
            Outcome::Success(Encoded::from(b"value")),
            Outcome::BusinessError(Encoded::empty()),
            Outcome::Aborted(AbortReason::Deadline),
            Outcome::Aborted(AbortReason::Cancelled),
            Outcome::Aborted(AbortReason::Failed),
        ];
        for outcome in outcomes {
            let whole = Record { hash: ArgumentHash(u64::MAX - 1), outcome };
            let mut row = vec![0; record_len(&whole)];
            put_record(&mut row, &whole);
            assert_eq!(record(&row), Ok(whole));
        }
    }

    #[test]
    fn the_layout_of_a_record_is_fixed() {
        let whole = Record {
            hash: ArgumentHash(0x0102),
            outcome: Outcome::BusinessError(Encoded::from(&[9])),
        };
        let mut row = vec![0; record_len(&whole)];
        put_record(&mut row, &whole);
        assert_eq!(row, [2, 1, 0, 0, 0, 0, 0, 0, 1, 9]);
    }

    #[test]
    fn sessions_round_trip() {
        let whole = Session {
            identity: Identity::named("élan"),
            secret: SessionSecret([3; 16]),
            incarnation: Incarnation(4),
            watermark: Seq(5),
            lease: Lease { until: WallTime(6) },
            kept: (),
        };
        let row = session_row(&whole);
        assert_eq!(row.len(), SESSION_HEAD + 5);
        let back: Session<()> = session(&row).unwrap();
        assert_eq!(format!("{back:?}"), format!("{whole:?}"));
        assert_eq!(back.secret, whole.secret);
    }

    #[test]
    fn malformed_rows_are_refused() {
        assert_eq!(document(&[0; 7]), Err(RowError { table: "documents" }));
        assert_eq!(record(&[0; 8]), Err(RowError { table: "records" }));
        assert_eq!(record(&[0, 0, 0, 0, 0, 0, 0, 0, 2, 4]), Err(RowError { table: "records" }));
        assert_eq!(record(&[0, 0, 0, 0, 0, 0, 0, 0, 3]), Err(RowError { table: "records" }));
        assert!(session::<()>(&[0; SESSION_HEAD - 1]).is_err());
        let mut row = vec![0; SESSION_HEAD];
        row.push(0xff);
        assert!(session::<()>(&row).is_err());
    }
}
