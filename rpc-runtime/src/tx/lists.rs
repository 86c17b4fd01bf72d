//! What a run has read and written, in lists that its thread lends to one run after the other.

use std::cell::RefCell;
use std::sync::Arc;

use super::run::RunSignal;
use crate::io_buffer::KEPT_MESSAGE_BYTES;
use crate::store::{DocKey, Encoded, ReadVersion, Store, StoreError, Versioned, Write};

/// What a run has read and written.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    pub(crate) reads: Vec<ReadVersion>,
    /// `bodies[i]` is that of `reads[i]`.
    bodies: Vec<Option<Encoded>>,
    pub(crate) writes: Vec<Write>,
    /// Where documents are encoded.
    pub(super) scratch: Vec<u8>,
    /// The signal of the next run, twice, for the run and for whoever polls it: to count it up and down for
    /// every run is not free.
    signals: (Option<Arc<RunSignal>>, Option<Arc<RunSignal>>),
}

impl Lists {
    /// The body of a document that was read.
    pub(super) fn body(&self, key: &DocKey) -> Option<Option<&Encoded>> {
        let index = self.reads.iter().position(|read| read.key == *key)?;
        Some(self.bodies[index].as_ref())
    }

    /// Takes a document that was read.
    pub(super) fn add(&mut self, key: DocKey, document: Versioned) {
        let (read, body) = ReadVersion::taken(key, document);
        self.reads.push(read);
        self.bodies.push(body);
    }

    /// Reads a document to where it stays; `None` if the store must wait for it.
    #[inline]
    pub(super) fn read_at_hand(
        &mut self,
        store: &dyn Store,
        key: &DocKey,
    ) -> Option<Result<(), StoreError>> {
        push_with(&mut self.bodies, || Some(Encoded::empty()));
        let body = self.bodies.last_mut().expect("it was just put there");
        let document = match store.read_at_hand(key, body) {
            Some(Ok(document)) => document,
            other => {
                self.bodies.pop();
                return other.map(|read| read.map(drop));
            }
        };
        let present = body.is_some();
        push_with(&mut self.reads, || ReadVersion::at_hand(key.clone(), document, present));
        Some(Ok(()))
    }

    /// What was read last.
    pub(super) fn last(&self) -> (&DocKey, Option<&Encoded>) {
        let last = self.reads.len() - 1;
        (&self.reads[last].key, self.bodies[last].as_ref())
    }
}

/// How many lists are kept on each thread: runs that end where they begin need one.
const KEPT_LISTS: usize = 16;

thread_local! {
    // Boxed, so that they stay where they are: what is moved is waited for.
    #[allow(clippy::vec_box)]
    static SPARE: RefCell<Vec<Box<Lists>>> = const { RefCell::new(Vec::new()) };
}

impl Lists {
    /// What a run needs: its signal, the same for whoever polls it, and empty lists.
    pub(super) fn take() -> (Arc<RunSignal>, Arc<RunSignal>, Box<Lists>) {
        let mut lists = SPARE.with_borrow_mut(Vec::pop).unwrap_or_default();
        match (lists.signals.0.take(), lists.signals.1.take()) {
            (Some(signal), Some(polled)) => (signal, polled, lists),
            _ => {
                let signal = Arc::<RunSignal>::default();
                (Arc::clone(&signal), signal, lists)
            }
        }
    }

    /// Gives back what a run needed that is over. A signal that was raised is not used again.
    pub(crate) fn put(mut self: Box<Lists>, signal: Arc<RunSignal>, polled: Arc<RunSignal>) {
        if signal.is_raised() {
            return;
        }
        self.reads.clear();
        self.bodies.clear();
        self.writes.clear();
        if self.scratch.capacity() > KEPT_MESSAGE_BYTES {
            self.scratch = Vec::new();
        }
        (self.signals.0, self.signals.1) = (Some(signal), Some(polled));
        SPARE.with_borrow_mut(|spare| {
            if spare.len() < KEPT_LISTS {
                spare.push(self);
            }
        });
    }
}

/// Puts a value at the end of a list, made where it stays: [`Vec::push`] has it made elsewhere, and waits
/// until it is written before it moves it.
#[inline]
pub(super) fn push_with<T>(list: &mut Vec<T>, make: impl FnOnce() -> T) {
    list.extend(std::iter::once_with(make));
}
