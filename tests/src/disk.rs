//! A disk in memory that fails when it is told to, with the two files of an embedded store on it.
//!
//! It knows what a real one knows: what a read sees (the page cache), what would be found after a
//! power cut (only what was synced, plus any part of the rest), and how far it got. Every write,
//! change of length and sync is a *step*, and a [`Fault`] strikes at a step.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use redb::StorageBackend;

/// A disk. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct Disk(Arc<Inner>);

/// One of the files on a disk.
#[derive(Clone, Debug)]
pub struct DiskFile {
    disk: Disk,
    /// Its place among the files.
    file: usize,
}

/// How many files there are.
const FILES: usize = 2;

/// Syncs wait while this is there. Make it after the store, so that it goes first: a store that is
/// dropped waits for its last sync.
#[derive(Debug)]
#[must_use = "syncs go on when this is dropped"]
pub struct HeldSyncs(Disk);

impl Drop for HeldSyncs {
    fn drop(&mut self) {
        self.0.lock().held = false;
        self.0.0.gate.notify_all();
    }
}

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    /// Told when a sync begins to wait, and when it may go on.
    gate: Condvar,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The power fails at this step: nothing works from here on.
    PowerCut,
    /// The disk is full from this step on: only syncs and reads work.
    Full,
    /// The first sync from this step on fails, although its data arrived.
    SyncFailsArrived,
    /// The first sync from this step on fails, and its data is lost, in the page cache, too.
    SyncFailsLost,
}

/// What of the unsynced changes is found after a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survival {
    /// None of them.
    Nothing,
    /// All of them.
    Everything,
    /// All but the last.
    AllButLast,
    /// The last one alone.
    LastOnly,
    /// Some of them, and one of them in part, chosen by this seed.
    Some(u64),
}

#[derive(Debug, Default)]
struct State {
    /// What reads of each file see.
    seen: [Vec<u8>; FILES],
    /// What of each file was synced.
    synced: [Vec<u8>; FILES],
    /// What came after the last sync of its file, in its order.
    unsynced: Vec<(usize, Change)>,
    steps: u64,
    syncs: u64,
    /// Whether syncs wait.
    held: bool,
    /// How many do.
    waiting: u64,
    fault: Option<(u64, Fault)>,
    struck: bool,
    /// Whether the step that the power cut met first was a sync.
    struck_sync: Option<bool>,
}

#[derive(Clone, Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

impl Disk {
    /// The file with the tree of a store.
    #[must_use]
    pub fn tree(&self) -> DiskFile {
        DiskFile { disk: self.clone(), file: 0 }
    }

    /// The file with the log of a store.
    #[must_use]
    pub fn log(&self) -> DiskFile {
        DiskFile { disk: self.clone(), file: 1 }
    }

    /// Lets this fault strike at that step, counted from now on: 1 is the next.
    pub fn plan(&self, step: u64, fault: Fault) {
        let mut state = self.lock();
        state.fault = Some((state.steps + step, fault));
        state.struck = false;
    }

    /// Whether the planned fault has struck.
    #[must_use]
    pub fn has_struck(&self) -> bool {
        self.lock().struck
    }

    /// Whether the step at which the fault struck first was a sync.
    #[must_use]
    pub fn struck_sync(&self) -> Option<bool> {
        self.lock().struck_sync
    }

    /// Lets every sync wait from now on, until what this returns is dropped.
    pub fn hold_syncs(&self) -> HeldSyncs {
        self.lock().held = true;
        HeldSyncs(self.clone())
    }

    /// Blocks until a sync waits.
    pub fn wait_for_held_sync(&self) {
        let state = self.lock();
        let waiting = self.0.gate.wait_while(state, |state| state.waiting == 0);
        drop(waiting.expect("no test panics while it holds a disk"));
    }

    /// How many syncs there were.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.lock().syncs
    }

    /// The disk once what was wrong with it is repaired: with what a process that opens it now
    /// finds.
    #[must_use]
    pub fn repaired(&self) -> Disk {
        let state = self.lock();
        Disk::with(State {
            seen: state.seen.clone(),
            synced: state.synced.clone(),
            unsynced: state.unsynced.clone(),
            ..State::default()
        })
    }

    /// The disk as it is found after a power cut.
    #[must_use]
    pub fn after_power_cut(&self, survival: Survival) -> Disk {
        let state = self.lock();
        let mut found = state.synced.clone();
        for (file, change) in survivors(&state.unsynced, survival) {
            change.apply(&mut found[file]);
        }
        Disk::with(State { seen: found.clone(), synced: found, ..State::default() })
    }

    fn with(state: State) -> Disk {
        Disk(Arc::new(Inner { state: Mutex::new(state), gate: Condvar::new() }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("no test panics while it holds a disk")
    }

    /// Takes a step that changes the disk.
    fn change(&self, file: usize, change: Change) -> io::Result<()> {
        let mut state = self.lock();
        match state.step(false) {
            Some(Fault::PowerCut) => return Err(off()),
            Some(Fault::Full) => {
                state.struck = true;
                return Err(io::ErrorKind::StorageFull.into());
            }
            _ => {}
        }
        change.apply(&mut state.seen[file]);
        state.unsynced.push((file, change));
        Ok(())
    }
}

impl State {
    /// Counts a step. Gives the fault that it meets.
    fn step(&mut self, is_sync: bool) -> Option<Fault> {
        self.steps += 1;
        let (at, fault) = self.fault?;
        if self.steps < at {
            return None;
        }
        self.struck_sync.get_or_insert(is_sync);
        self.struck |= fault == Fault::PowerCut;
        Some(fault)
    }

    fn is_off(&self) -> bool {
        self.struck && matches!(self.fault, Some((_, Fault::PowerCut)))
    }

    fn sync(&mut self, file: usize) {
        let State { seen, synced, unsynced, .. } = self;
        unsynced.retain(|(of, change)| {
            if *of == file {
                change.apply(&mut synced[file]);
            }
            *of != file
        });
        debug_assert!(seen[file] == synced[file], "all that is seen was written");
    }

    /// Forgets what was written to a file since its last sync.
    fn lose(&mut self, file: usize) {
        self.seen[file] = self.synced[file].clone();
        self.unsynced.retain(|(of, _)| *of != file);
    }
}

impl Change {
    fn apply(&self, image: &mut Vec<u8>) {
        match self {
            Change::Write(offset, data) => {
                let end = offset + data.len();
                if image.len() < end {
                    image.resize(end, 0);
                }
                image[*offset..end].copy_from_slice(data);
            }
            Change::Length(length) => image.resize(*length, 0),
        }
    }
}

impl StorageBackend for DiskFile {
    fn len(&self) -> io::Result<u64> {
        let state = self.disk.lock();
        if state.is_off() { Err(off()) } else { Ok(state.seen[self.file].len() as u64) }
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.disk.lock();
        if state.is_off() {
            return Err(off());
        }
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let found = state.seen[self.file].get(start..start + out.len());
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.change(self.file, Change::Length(usize::try_from(len).map_err(io::Error::other)?))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.lock();
        if state.held {
            state.waiting += 1;
            self.disk.0.gate.notify_all();
            let passed = self.disk.0.gate.wait_while(state, |state| state.held);
            state = passed.expect("no test panics while it holds a disk");
            state.waiting -= 1;
        }
        state.syncs += 1;
        let fault = state.step(true).filter(|_| !state.struck || state.is_off());
        match fault {
            Some(Fault::PowerCut) => Err(off()),
            Some(Fault::SyncFailsArrived) => {
                state.struck = true;
                state.sync(self.file);
                Err(io::Error::other("the disk could not write (simulated)"))
            }
            Some(Fault::SyncFailsLost) => {
                state.struck = true;
                state.lose(self.file);
                Err(io::Error::other("the disk could not write (simulated)"))
            }
            Some(Fault::Full) | None => {
                state.sync(self.file);
                Ok(())
            }
        }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        self.disk.change(self.file, Change::Write(offset, data.to_vec()))
    }
}

fn off() -> io::Error {
    io::Error::other("the power is off (simulated)")
}

fn survivors(changes: &[(usize, Change)], survival: Survival) -> Vec<(usize, Change)> {
    let last = changes.len().saturating_sub(1);
    match survival {
        Survival::Nothing => Vec::new(),
        Survival::Everything => changes.to_vec(),
        Survival::AllButLast => changes[..last].to_vec(),
        Survival::LastOnly => changes[last.min(changes.len())..].to_vec(),
        Survival::Some(seed) => {
            let mut random = seed.wrapping_mul(2) + 1;
            let mut draw = move |below: usize| {
                // xorshift64*
                random ^= random >> 12;
                random ^= random << 25;
                random ^= random >> 27;
                (random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % below.max(1)
            };
            let torn = draw(changes.len());
            let mut kept = Vec::new();
            for (number, (file, change)) in changes.iter().enumerate() {
                match change {
                    // A disk writes whole sectors.
                    Change::Write(offset, data) if number == torn => {
                        let sectors = draw(data.len() / 512 + 1);
                        let torn = Change::Write(*offset, data[..sectors * 512].to_vec());
                        kept.push((*file, torn));
                    }
                    _ if draw(2) == 0 => kept.push((*file, change.clone())),
                    _ => {}
                }
            }
            kept
        }
    }
}
