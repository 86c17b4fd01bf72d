//! What is not in the tree: the newest state of documents, and the sessions whose rows have changed.

use std::mem::swap;

use crate::id::ClientId;
use crate::store::{DocKey, Encoded, HashMap, Version, Write};

/// Documents that are not in the tree; a deletion is one too.
pub(super) type Documents = HashMap<DocKey, Document>;

/// The newest state of a document.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) version: Version,
    /// `None` if it was deleted.
    pub(super) body: Option<Encoded>,
}

/// What is not in the tree and not on its way into it.
#[derive(Debug, Default)]
pub(super) struct Young {
    pub(super) documents: Documents,
    /// The sessions whose row is to be written, each once.
    pub(super) changed: Vec<ClientId>,
    /// The sessions whose rows are to go.
    pub(super) closed: Vec<ClientId>,
}

impl Young {
    /// Takes over what was written, and leaves there what was before.
    pub(super) fn put(&mut self, version: Version, Write { key, body }: &mut Write) {
        match self.documents.get_mut(key) {
            Some(document) => document.replace(version, body),
            None => {
                let document = Document { version, body: body.take() };
                self.documents.insert(key.clone(), document);
            }
        }
    }
}

impl Document {
    /// Its version, if it is there.
    pub(super) fn present(&self) -> Option<Version> {
        self.body.as_ref().map(|_| self.version)
    }

    /// Takes over what was written, and leaves there what was before.
    pub(super) fn replace(&mut self, version: Version, body: &mut Option<Encoded>) {
        self.version = version;
        swap(&mut self.body, body);
    }
}
