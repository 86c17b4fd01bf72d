//! The documents of the bucket, and the operations on whole ones.

use std::collections::{BTreeMap, HashMap};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{BufMut, Bytes, BytesMut};

use super::manifest::Manifest;
use super::packet::{Answer, Request, Status, op};

/// The largest document, in bytes: its body and its user attributes.
const MAX_DOCUMENT_BYTES: usize = 20 << 20;
/// The most that its system attributes, those with a leading underscore, may take in addition.
const MAX_SYSTEM_BYTES: usize = 1 << 20;
/// How many low bits of a CAS count; those above are time.
const LOGICAL_BITS: u32 = 16;
pub(super) const VBUCKET_UUID: u64 = 0x6e6f_6465;
const DATATYPE_JSON: u8 = 0x01;

/// Where a document lies: the number of its collection, and its key there.
pub(super) type Place = (u32, Bytes);

/// All that the bucket holds.
#[derive(Default)]
pub(super) struct Data {
    documents: HashMap<Place, Document>,
    pub(super) manifest: Manifest,
    last_cas: u64,
    seqno: u64,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Document {
    pub(super) body: Bytes,
    pub(super) xattrs: BTreeMap<String, Bytes>,
    pub(super) flags: u32,
    pub(super) cas: u64,
    pub(super) seqno: u64,
    pub(super) revision: u64,
}

impl Data {
    pub(super) fn len(&self) -> usize {
        self.documents.len()
    }

    pub(super) fn document(&self, place: &Place) -> Option<&Document> {
        self.documents.get(place)
    }

    /// Puts a document, as a new state that no document ever had.
    pub(super) fn put(&mut self, place: Place, mut document: Document) -> Result<Answer, Status> {
        if document.is_too_large() {
            return Err(Status::E2BIG);
        }
        let (cas, seqno) = self.next_state();
        document.cas = cas;
        document.seqno = seqno;
        document.revision += 1;
        self.documents.insert(place, document);
        Ok(mutated(cas, seqno))
    }

    pub(super) fn delete(&mut self, place: &Place, cas: u64) -> Result<Answer, Status> {
        self.check(place, cas)?;
        self.documents.remove(place).ok_or(Status::KEY_ENOENT)?;
        let (cas, seqno) = self.next_state();
        Ok(mutated(cas, seqno))
    }

    pub(super) fn drop_collections(&mut self, gone: &[u32]) {
        self.documents.retain(|(collection, _), _| !gone.contains(collection));
    }

    pub(super) fn get(&self, place: &Place) -> Result<Answer, Status> {
        let document = self.document(place).ok_or(Status::KEY_ENOENT)?;
        Ok(Answer {
            cas: document.cas,
            datatype: document.datatype(),
            extras: Bytes::copy_from_slice(&document.flags.to_be_bytes()),
            value: document.body.clone(),
            ..Answer::of(Status::SUCCESS)
        })
    }

    /// Whether a document is there, and its state.
    pub(super) fn get_meta(&self, place: &Place) -> Result<Answer, Status> {
        let document = self.document(place).ok_or(Status::KEY_ENOENT)?;
        let mut extras = BytesMut::new();
        extras.put_u32(0);
        extras.put_u32(document.flags);
        extras.put_u32(0);
        extras.put_u64(document.seqno);
        extras.put_u8(document.datatype());
        Ok(Answer { cas: document.cas, extras: extras.freeze(), ..Answer::of(Status::SUCCESS) })
    }

    /// Set, add and replace.
    pub(super) fn store(&mut self, place: Place, request: &Request) -> Result<Answer, Status> {
        let (flags, expiry) = match request.extras[..] {
            [a, b, c, d, ref expiry @ ..] if expiry.len() == 4 => {
                (u32::from_be_bytes([a, b, c, d]), expiry != [0; 4])
            }
            _ => return Err(Status::EINVAL),
        };
        if expiry {
            return Err(Status::NOT_SUPPORTED);
        }
        let old = self.document(&place);
        match (request.opcode, old) {
            (op::ADD, _) if request.cas != 0 => return Err(Status::EINVAL),
            (op::ADD, Some(_)) => return Err(Status::KEY_EEXISTS),
            (op::REPLACE, None) => return Err(Status::KEY_ENOENT),
            _ => {}
        }
        let document =
            Document { body: request.value.clone(), flags, ..old.cloned().unwrap_or_default() };
        self.check(&place, request.cas)?;
        self.put(place, document)
    }

    /// Whether the document is in the state that a request names; 0 names any.
    pub(super) fn check(&self, place: &Place, cas: u64) -> Result<(), Status> {
        match self.document(place) {
            _ if cas == 0 => Ok(()),
            None => Err(Status::KEY_ENOENT),
            Some(document) if document.cas == cas => Ok(()),
            Some(_) => Err(Status::KEY_EEXISTS),
        }
    }

    /// A CAS as the servers make it, a hybrid logical clock: nanoseconds, with low bits that count
    /// where the clock has not moved.
    fn next_state(&mut self) -> (u64, u64) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let physical = u64::try_from(now).unwrap_or(u64::MAX) >> LOGICAL_BITS << LOGICAL_BITS;
        self.last_cas = physical.max(self.last_cas + 1);
        self.seqno += 1;
        (self.last_cas, self.seqno)
    }
}

impl Document {
    fn datatype(&self) -> u8 {
        if self.is_json() { DATATYPE_JSON } else { 0 }
    }

    pub(super) fn is_json(&self) -> bool {
        serde_json::from_slice::<serde::de::IgnoredAny>(&self.body).is_ok()
    }

    fn is_too_large(&self) -> bool {
        let (mut user, mut system) = (self.body.len(), 0);
        for (name, value) in &self.xattrs {
            let size = name.len() + value.len();
            if name.starts_with('_') { system += size } else { user += size }
        }
        user > MAX_DOCUMENT_BYTES || system > MAX_SYSTEM_BYTES
    }
}

fn mutated(cas: u64, seqno: u64) -> Answer {
    let mut extras = BytesMut::with_capacity(16);
    extras.put_u64(VBUCKET_UUID);
    extras.put_u64(seqno);
    Answer { cas, extras: extras.freeze(), ..Answer::of(Status::SUCCESS) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        (0, Bytes::from_static(b"a"))
    }

    #[test]
    fn no_state_comes_twice() {
        let mut data = Data::default();
        let mut last = 0;
        for _ in 0..1000 {
            let cas = data.put(place(), Document::default()).unwrap().cas;
            assert!(cas > last);
            last = cas;
        }
    }

    #[test]
    fn only_the_named_state_is_deleted() {
        let mut data = Data::default();
        let first = data.put(place(), Document::default()).unwrap().cas;
        let second = data.put(place(), Document::default()).unwrap().cas;
        assert_eq!(data.delete(&place(), first).unwrap_err(), Status::KEY_EEXISTS);
        data.delete(&place(), second).unwrap();
        assert_eq!(data.delete(&place(), second).unwrap_err(), Status::KEY_ENOENT);
    }
}
