//! What a journal's rows say, as bytes.

use serde::{Deserialize, Serialize};

use crate::id::{ClientId, Incarnation, SessionId, SessionSecret};
use crate::journal::Change;
use crate::service::{decode_value, encode_value};

/// The key of the client's own row; those of calls have their calls' numbers.
pub(super) const HEAD: u64 = 0;
/// The layout of the rows.
pub(super) const FORMAT: u32 = 1;

/// The client itself.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct HeadRow {
    /// First, so that another version can tell.
    pub(super) format: u32,
    pub(super) service: String,
    pub(super) session: Option<SessionRow>,
    /// No call has had this number, or a higher one.
    pub(super) numbers: u64,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SessionRow {
    client: u64,
    incarnation: u32,
    secret: [u8; 16],
}

/// A write call.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CallRow {
    pub(super) method: String,
    pub(super) fingerprint: u64,
    /// What its caller calls it.
    pub(super) name: Option<String>,
    pub(super) body: BodyRow,
}

/// How far the call has come.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum BodyRow {
    /// It may have been sent.
    Open {
        arguments: Vec<u8>,
        /// Microseconds since the epoch.
        made_at: u64,
        deadline: u64,
        /// No attempt had a higher number.
        attempts: u32,
    },
    /// It has ended.
    Ended {
        /// Whose session it was sent in.
        client: u64,
        /// A hash of its arguments.
        arguments: u64,
        attempts: u32,
        outcome: OutcomeRow,
        payload: Vec<u8>,
    },
}

/// How a call ended of which something is kept. One that was not executed is made anew, so nothing
/// is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum OutcomeRow {
    Success,
    BusinessError,
    /// Unknown for good: its record is gone.
    Stale,
    /// Unknown for good: its session is over.
    SessionOver,
}

impl SessionRow {
    pub(super) fn new(id: SessionId, secret: SessionSecret) -> SessionRow {
        let SessionId { client, incarnation } = id;
        SessionRow { client: client.0, incarnation: incarnation.0, secret: secret.0 }
    }

    pub(super) fn parts(&self) -> (SessionId, SessionSecret) {
        let (client, incarnation) = (ClientId(self.client), Incarnation(self.incarnation));
        (SessionId { client, incarnation }, SessionSecret(self.secret))
    }
}

/// The row of this key with this value.
pub(super) fn put(key: u64, row: &impl Serialize) -> Change {
    let mut value = Vec::new();
    encode_value(row, &mut value).expect("rows have neither maps nor types of their users");
    Change { key, value: Some(value) }
}

/// Takes the row of this key away.
pub(super) fn remove(key: u64) -> Change {
    Change { key, value: None }
}

/// Reads a row; what does not fit is said in words.
pub(super) fn read<T: serde::de::DeserializeOwned>(key: u64, value: &[u8]) -> Result<T, String> {
    decode_value(value).map_err(|error| format!("row {key}: {error}"))
}

/// The format that a client's own row names, whatever else is in it.
pub(super) fn format_of(value: &[u8]) -> Result<u32, String> {
    let format = postcard::take_from_bytes::<u32>(value);
    format.map(|(format, _)| format).map_err(|error| format!("row {HEAD}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_as_they_were_written() {
        let id = SessionId { client: ClientId(7), incarnation: Incarnation(3) };
        let session = Some(SessionRow::new(id, SessionSecret([9; 16])));
        let head = HeadRow { format: FORMAT, service: "Bank".to_owned(), session, numbers: 300 };
        let bytes = put(HEAD, &head).value.unwrap();
        assert_eq!(format_of(&bytes), Ok(FORMAT));
        assert_eq!(read::<HeadRow>(HEAD, &bytes).unwrap(), head);
        assert_eq!(head.session.unwrap().parts(), (id, SessionSecret([9; 16])));
        let cut = read::<HeadRow>(HEAD, &bytes[..bytes.len() - 1]).unwrap_err();
        assert!(cut.starts_with("row 0: "), "{cut}");
    }
}
