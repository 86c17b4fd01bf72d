//! The metadata of a document: JSON, in one hidden attribute.
//!
//! Names are short, since every document carries them. `docs/store-protocol.md` has the table.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::id::{CallId, ClientId, Seq};
use crate::rule::{Rule, kept};
use crate::store::{AbortReason, Encoded, Outcome};

/// All that is kept beside a document's body.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Meta {
    /// There is no document: this holds only what must not be forgotten.
    #[serde(rename = "x", default, skip_serializing_if = "is_false")]
    pub(super) absent: bool,
    /// What the document knows of clients whose calls it is the anchor of.
    #[serde(rename = "c", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) clients: BTreeMap<u64, ClientEntry>,
    /// A write that is not yet committed.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub(super) stage: Option<Stage>,
    /// The run that this anchor was last fenced against, and who won.
    #[serde(rename = "f", default, skip_serializing_if = "Option::is_none")]
    pub(super) fence: Option<Fence>,
    /// The oldest call that wants the document and has lost it before. A courtesy: younger calls
    /// let it go first, for a while.
    #[serde(rename = "w", default, skip_serializing_if = "Option::is_none")]
    pub(super) wish: Option<Wish>,
    /// Which write made this state, on documents of our own (sessions, client ids).
    #[serde(rename = "m", default, skip_serializing_if = "Option::is_none")]
    pub(super) mark: Option<Token>,
}

/// One client's calls on their anchor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ClientEntry {
    /// The highest incarnation that has committed here.
    #[serde(rename = "i")]
    pub(super) incarnation: u32,
    /// All calls below are acknowledged.
    #[serde(rename = "w")]
    pub(super) watermark: u64,
    #[serde(rename = "r", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) records: BTreeMap<u64, Record>,
}

/// A commit record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    #[serde(rename = "h")]
    pub(super) hash: u64,
    #[serde(rename = "o")]
    pub(super) outcome: RecordedOutcome,
    /// The run whose stages this record commits. Outcomes without writes have none.
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    pub(super) token: Option<Token>,
    /// The documents that carry, or may still carry, a stage of that run.
    #[serde(rename = "d", default, skip_serializing_if = "Vec::is_empty")]
    pub(super) to_do: Vec<String>,
}

/// A result as it lies in a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum RecordedOutcome {
    #[serde(rename = "s")]
    Success(Blob),
    #[serde(rename = "e")]
    BusinessError(Blob),
    #[serde(rename = "d")]
    AbortedByDeadline,
    #[serde(rename = "c")]
    AbortedByCaller,
    #[serde(rename = "f")]
    AbortedByFailure,
}

/// A write that becomes the document's body if its run's record appears on its anchor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stage {
    #[serde(rename = "a")]
    pub(super) anchor: String,
    /// The state of the anchor that the run read: if the anchor is in any other, and has no record
    /// of the run, the run has lost. `None`: the run found no anchor; it has lost once there is one with
    /// an entry of its client.
    #[serde(rename = "v", default, skip_serializing_if = "Option::is_none")]
    pub(super) anchor_cas: Option<u64>,
    #[serde(rename = "c")]
    pub(super) client: u64,
    #[serde(rename = "q")]
    pub(super) seq: u64,
    #[serde(rename = "n")]
    pub(super) attempt: u32,
    /// When the call was first sent, in milliseconds of the Unix epoch.
    #[serde(rename = "b")]
    pub(super) born: u64,
    #[serde(rename = "t")]
    pub(super) token: Token,
    #[serde(rename = "w")]
    pub(super) change: Change,
}

/// What a stage does when it is rolled forward.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Change {
    /// Nothing: the run has read the document, and it must not change until the run has ended.
    #[serde(rename = "g")]
    Guard,
    #[serde(rename = "d")]
    Delete,
    #[serde(rename = "p")]
    Put(Blob),
}

/// A run that can no longer commit, and the call that it made way for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fence {
    #[serde(rename = "t")]
    pub(super) token: Token,
    #[serde(rename = "c")]
    pub(super) winner_client: u64,
    #[serde(rename = "q")]
    pub(super) winner_seq: u64,
    #[serde(rename = "a")]
    pub(super) winner_anchor: String,
}

/// A call that wants a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Wish {
    #[serde(rename = "c")]
    pub(super) client: u64,
    #[serde(rename = "q")]
    pub(super) seq: u64,
    /// Which of its runs: the later attempt goes first, so the earlier ones let it.
    #[serde(rename = "n", default)]
    pub(super) attempt: u32,
    #[serde(rename = "b")]
    pub(super) born: u64,
    #[serde(rename = "a")]
    pub(super) anchor: String,
}

/// The unique name of one run of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Token(pub(super) u64, pub(super) u64);

/// Bytes, in JSON as base64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Blob(pub(super) Encoded);

impl Meta {
    pub(super) fn decode(bytes: &[u8]) -> Result<Meta, serde_json::Error> {
        if bytes.is_empty() { Ok(Meta::default()) } else { serde_json::from_slice(bytes) }
    }

    pub(super) fn encode(&self) -> Bytes {
        if *self == Meta::default() {
            return Bytes::new();
        }
        serde_json::to_vec(self).expect("metadata has no keys that JSON cannot have").into()
    }

    /// Leaves the document to a call that has lost it, unless an older one wants it too. Returns
    /// whether that is news.
    pub(super) fn wish(&mut self, wish: Wish) -> bool {
        let is_news = self.wish.as_ref().is_none_or(|other| wish.age() < other.age());
        if is_news {
            self.wish = Some(wish);
        }
        is_news
    }

    /// Whether the document can be removed: it is no document, and nothing here must be remembered.
    pub(super) fn is_void(&self) -> bool {
        let forgets = self.clients.is_empty() || !kept(Rule::KeepEmptyDocuments);
        self.absent && forgets && self.stage.is_none() && self.wish.is_none()
    }

    pub(super) fn record(&self, call: CallId) -> Option<&Record> {
        self.clients.get(&call.client.0)?.records.get(&call.seq.0)
    }

    /// Whether the anchor knows that a call is over: by its record, or by its client's
    /// acknowledgement after which the record may have gone.
    pub(super) fn has_ended(&self, call: CallId) -> bool {
        let entry = self.clients.get(&call.client.0);
        entry.is_some_and(|entry| {
            call.seq.0 < entry.watermark || entry.records.contains_key(&call.seq.0)
        })
    }

    /// Whether the anchor holds the record of this very run.
    pub(super) fn commits(&self, call: CallId, token: Token) -> bool {
        self.record(call).is_some_and(|record| record.token == Some(token))
    }
}

impl Stage {
    pub(super) fn call(&self) -> CallId {
        CallId { client: ClientId(self.client), seq: Seq(self.seq) }
    }
}

impl Stage {
    /// What its call wants if the run has lost.
    pub(super) fn wish(&self) -> Wish {
        Wish {
            client: self.client,
            seq: self.seq,
            attempt: self.attempt,
            born: self.born,
            anchor: self.anchor.clone(),
        }
    }
}

impl Wish {
    pub(super) fn call(&self) -> CallId {
        CallId { client: ClientId(self.client), seq: Seq(self.seq) }
    }

    /// What the right of way goes by.
    pub(super) fn age(&self) -> (u64, CallId, Reverse<u32>) {
        (self.born, self.call(), Reverse(self.attempt))
    }
}

impl RecordedOutcome {
    pub(super) fn of(outcome: &Outcome) -> RecordedOutcome {
        match outcome {
            Outcome::Success(value) => RecordedOutcome::Success(Blob(value.clone())),
            Outcome::BusinessError(error) => RecordedOutcome::BusinessError(Blob(error.clone())),
            Outcome::Aborted(AbortReason::Deadline) => RecordedOutcome::AbortedByDeadline,
            Outcome::Aborted(AbortReason::Cancelled) => RecordedOutcome::AbortedByCaller,
            Outcome::Aborted(AbortReason::Failed) => RecordedOutcome::AbortedByFailure,
        }
    }

    pub(super) fn outcome(&self) -> Outcome {
        match self {
            RecordedOutcome::Success(value) => Outcome::Success(value.0.clone()),
            RecordedOutcome::BusinessError(error) => Outcome::BusinessError(error.0.clone()),
            RecordedOutcome::AbortedByDeadline => Outcome::Aborted(AbortReason::Deadline),
            RecordedOutcome::AbortedByCaller => Outcome::Aborted(AbortReason::Cancelled),
            RecordedOutcome::AbortedByFailure => Outcome::Aborted(AbortReason::Failed),
        }
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD_NO_PAD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Blob, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        let bytes = STANDARD_NO_PAD.decode(text.as_bytes()).map_err(serde::de::Error::custom)?;
        Ok(Blob(bytes.into()))
    }
}

fn is_false(flag: &bool) -> bool {
    !flag
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_round_trips_and_nothing_is_nothing() {
        assert!(Meta::default().encode().is_empty());
        let record = Record {
            hash: u64::MAX,
            outcome: RecordedOutcome::Success(Blob(Encoded::from(&[0, 255, 7]))),
            token: Some(Token(1, 2)),
            to_do: vec!["account:bob".to_owned()],
        };
        let entry =
            ClientEntry { incarnation: 1, watermark: 4, records: BTreeMap::from([(5, record)]) };
        let stage = Stage {
            anchor: "account:eve".to_owned(),
            anchor_cas: Some(9),
            client: 3,
            seq: 8,
            attempt: 1,
            born: 1000,
            token: Token(7, 7),
            change: Change::Put(Blob(Encoded::from(b"{}"))),
        };
        let meta = Meta {
            absent: true,
            clients: BTreeMap::from([(3, entry)]),
            stage: Some(stage),
            fence: None,
            wish: Some(Wish {
                client: 3,
                seq: 7,
                attempt: 2,
                born: 900,
                anchor: "account:eve".to_owned(),
            }),
            mark: None,
        };
        assert_eq!(Meta::decode(&meta.encode()).unwrap(), meta);
    }

    #[test]
    fn what_is_not_there_takes_no_place() {
        let meta = Meta { mark: Some(Token(1, 2)), ..Meta::default() };
        assert_eq!(meta.encode(), r#"{"m":[1,2]}"#);
        let meta = Meta { absent: true, ..Meta::default() };
        assert_eq!(meta.encode(), r#"{"x":true}"#);
    }

    fn wish(born: u64, seq: u64, attempt: u32) -> Wish {
        Wish { client: 1, seq, attempt, born, anchor: "a:1".to_owned() }
    }

    #[test]
    fn a_document_is_left_to_the_oldest_call_that_wants_it() {
        let mut meta = Meta::default();
        assert!(meta.wish(wish(5, 5, 1)));
        assert!(!meta.wish(wish(5, 5, 1)), "it is known");
        assert!(!meta.wish(wish(6, 1, 1)), "it is younger");
        assert!(!meta.wish(wish(5, 6, 1)), "it has the higher id");
        assert_eq!(meta.wish, Some(wish(5, 5, 1)));
        assert!(meta.wish(wish(5, 5, 2)), "of one call the later attempt");
        assert!(meta.wish(wish(5, 4, 1)));
        assert!(meta.wish(wish(4, 9, 1)));
        assert_eq!(meta.wish, Some(wish(4, 9, 1)));
    }

    #[test]
    fn a_call_has_ended_once_it_is_recorded_or_acknowledged() {
        let record = Record {
            hash: 0,
            outcome: RecordedOutcome::AbortedByDeadline,
            token: None,
            to_do: Vec::new(),
        };
        let entry =
            ClientEntry { incarnation: 1, watermark: 4, records: BTreeMap::from([(6, record)]) };
        let meta = Meta { clients: BTreeMap::from([(1, entry)]), ..Meta::default() };
        let ended =
            |client, seq| meta.has_ended(CallId { client: ClientId(client), seq: Seq(seq) });
        assert_eq!([3, 4, 5, 6, 7].map(|seq| ended(1, seq)), [true, false, false, true, false]);
        assert!(!ended(2, 3), "it is another client's");
    }
}
