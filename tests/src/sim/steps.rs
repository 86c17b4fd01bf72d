//! Which step of the protocol an operation of the store is.
//!
//! The store protocol is not asked: what it writes tells. So a step is what `docs/store-protocol.md`
//! calls it, whatever the code is called.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::Range;

use rpc::store::DocKey;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::bank::account_key;
use super::fault::Step;
use super::hub::State;
use super::store::What;

thread_local! {
    /// The call whose business is being polled on this thread.
    pub(super) static RUNNING: Cell<Option<Running>> = const { Cell::new(None) };
}

/// A business that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Running {
    /// Of a read, whose caller is not known.
    Read,
    /// Of this write.
    Write(u8),
}

/// The metadata of a document, as far as calls and their records go.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Known {
    /// By client.
    #[serde(rename = "c", default)]
    pub(super) clients: BTreeMap<u64, Entry>,
}

/// What a document knows of one client.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Entry {
    /// By number.
    #[serde(rename = "r", default)]
    pub(super) records: BTreeMap<u64, IgnoredAny>,
}

impl Known {
    pub(super) fn of(meta: &[u8]) -> Known {
        if meta.is_empty() {
            return Known::default();
        }
        serde_json::from_slice(meta).expect("the store protocol writes metadata as documented")
    }

    fn has_all_of(&self, other: &Known) -> bool {
        other.clients.iter().all(|(client, entry)| {
            let mine = self.clients.get(client);
            entry.records.keys().all(|seq| mine.is_some_and(|mine| mine.records.contains_key(seq)))
        })
    }
}

impl State {
    /// The step that an operation is, and the call that it is for, as far as that can be told.
    pub(super) fn step_of(
        &mut self,
        server: u8,
        key: &DocKey,
        what: &What,
        new: &Fields,
    ) -> (Option<Step>, Option<u8>) {
        if key.as_str().starts_with("rpc_") {
            return (Some(Step::Session), None);
        }
        match what {
            What::Get => self.step_of_read(server, key),
            _ => (self.step_of_write(key, what, new), None),
        }
    }

    fn step_of_read(&mut self, server: u8, key: &DocKey) -> (Option<Step>, Option<u8>) {
        match RUNNING.get() {
            Some(Running::Read) => return (Some(Step::ReadOther), None),
            Some(Running::Write(call)) => {
                let anchor = self.calls.all[usize::from(call)].plan.ask.anchor();
                let is_anchor = key.as_str() == account_key(anchor);
                let step = if is_anchor { Step::ReadAnchor } else { Step::ReadOther };
                return (Some(step), Some(call));
            }
            None => {}
        }
        let calls = &self.calls;
        let is_meant = |(at, call): &(u8, u8)| {
            let ask = calls.all[usize::from(*call)].plan.ask;
            *at == server && ask.is_write() && key.as_str() == account_key(ask.anchor())
        };
        match self.documents.marks.iter().position(is_meant) {
            Some(position) => {
                let (_, call) = self.documents.marks.swap_remove(position);
                (Some(Step::LookUp), Some(call))
            }
            None => (Some(Step::ReRead), None),
        }
    }

    /// `new`: the fields of the metadata that it writes.
    fn step_of_write(&self, key: &DocKey, what: &What, new: &Fields) -> Option<Step> {
        const NONE: &Fields = &Fields { clients: None, stage: None, fence: None };
        let found = self.documents.get(key);
        let (before, old) = found.map_or((&[][..], NONE), |(found, old)| (&found.meta, old));
        let (body, meta) = match what {
            What::Get => return None,
            What::Remove { .. } => return old.stage(before).map(|_| Step::Back),
            What::Insert { body, meta } => (Some(body), meta),
            What::Replace { body, meta, .. } => (body.as_ref(), meta),
        };
        if new.stage(meta).is_some() {
            let is_new = new.stage(meta) != old.stage(before);
            return is_new.then_some(Step::Stage);
        }
        if old.stage(before).is_some() {
            return Some(if body.is_some() { Step::Forward } else { Step::Back });
        }
        if new.fence(meta).is_some() && new.fence(meta) != old.fence(before) {
            return Some(Step::Fence);
        }
        if new.clients(meta) == old.clients(before) {
            return None;
        }
        if body.is_some() && matches!(what, What::Replace { .. }) {
            return Some(Step::Commit);
        }
        let has_new = !Known::of(before).has_all_of(&Known::of(meta));
        let is_effect = body.is_some_and(|body| &body[..] != b"null");
        has_new.then_some(if is_effect { Step::Commit } else { Step::Outcome })
    }
}

/// Where the fields of a document's metadata lie.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields {
    clients: Option<Range<usize>>,
    stage: Option<Range<usize>>,
    fence: Option<Range<usize>>,
}

impl Fields {
    /// Finds the outermost fields of a JSON object without reading what is in them.
    pub(super) fn of(json: &[u8]) -> Fields {
        let mut fields = Fields::default();
        let (mut depth, mut begin, mut name) = (0u32, 0, 0u8);
        let mut index = 0;
        while index < json.len() {
            match json[index] {
                b'"' => index = end_of_text(json, index),
                b'{' | b'[' => {
                    depth += 1;
                    if depth == 1 {
                        begin = index + 1;
                    }
                }
                b':' if depth == 1 => {
                    // Names are one letter long: `"c":`.
                    name = json[index - 2];
                    begin = index + 1;
                }
                b',' if depth == 1 => fields.note(name, begin..index),
                b'}' | b']' => {
                    if depth == 1 {
                        fields.note(name, begin..index);
                    }
                    depth -= 1;
                }
                _ => {}
            }
            index += 1;
        }
        fields
    }

    fn note(&mut self, name: u8, range: Range<usize>) {
        match name {
            b'c' => self.clients = Some(range),
            b's' => self.stage = Some(range),
            b'f' => self.fence = Some(range),
            _ => {}
        }
    }

    fn clients<'a>(&self, json: &'a [u8]) -> Option<&'a [u8]> {
        self.clients.clone().map(|range| &json[range])
    }

    fn stage<'a>(&self, json: &'a [u8]) -> Option<&'a [u8]> {
        self.stage.clone().map(|range| &json[range])
    }

    fn fence<'a>(&self, json: &'a [u8]) -> Option<&'a [u8]> {
        self.fence.clone().map(|range| &json[range])
    }
}

/// Where a text ends that begins here.
fn end_of_text(json: &[u8], begin: usize) -> usize {
    let mut index = begin + 1;
    while let Some(byte) = json.get(index).filter(|byte| **byte != b'"') {
        index += if *byte == b'\\' { 2 } else { 1 };
    }
    index
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_names() {
        let json = br#"{"x":true,"c":{"1":{"i":1,"w":2,"r":{"3":{"h":1,"d":["s",":,"]}}}},"f":{"t":[1,2]}}"#;
        let fields = Fields::of(json);
        assert!(fields.clients(json).unwrap().starts_with(br#"{"1":"#));
        assert!(fields.clients(json).unwrap().ends_with(br#"]}}}}"#));
        assert_eq!(fields.fence(json), Some(&br#"{"t":[1,2]}"#[..]));
        assert_eq!(fields.stage(json), None);
        assert_eq!(Known::of(json).clients[&1].records.len(), 1);
        assert_eq!(Fields::of(b"").stage(b""), None);
    }
}
