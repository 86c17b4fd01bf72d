//! The embedded store on a disk whose power is cut before every write, change of length and sync,
//! and again at every such step of what comes after; and on one that is full, or cannot sync.

use std::collections::BTreeMap;

use rpc::store::embedded::{EmbeddedConfig, EmbeddedStore, OpenError};

use super::{Counts, Settings, Side, Step, Violation};
use crate::disk::{Disk, Fault, Survival};
use crate::disk_script::Log;
use crate::world::quietly_with_threads;

/// What is found of unsynced changes after a power cut.
const SURVIVALS: [Survival; 4] =
    [Survival::Nothing, Survival::Everything, Survival::AllButLast, Survival::LastOnly];
/// What goes wrong with a disk beside a power cut.
const TROUBLES: [Fault; 3] = [Fault::Full, Fault::SyncFailsArrived, Fault::SyncFailsLost];
/// How large the log may be: the script's large document goes right to the tree, and nothing else
/// does until the store is closed, so a run is the same each time.
const LOG_BYTES: usize = 1 << 20;
/// The time that a run may take: it takes milliseconds.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(60);

/// One run: what goes wrong at which step, what is found then, and at which step of the recovery
/// the power is cut again.
#[derive(Clone, Copy, Debug)]
struct Place {
    fault: Fault,
    step: u64,
    survival: usize,
    again: Option<u64>,
}

/// What became of a run.
struct Ran {
    /// Whether the fault struck, and the second one if there is one.
    has_struck: bool,
    kind: Option<Step>,
}

pub(super) fn explore(
    settings: &Settings,
    hit: &mut BTreeMap<(Step, Side), u64>,
    progress: &mut dyn FnMut(&str),
) -> Result<Counts, Box<Violation>> {
    let prepared = prepared();
    let mut counts = Counts::default();
    let mut go = |place: Place| {
        let ran = run(&prepared, place);
        progress(&place.name());
        ran
    };
    for fault in TROUBLES {
        for step in 1.. {
            if !go(Place { fault, step, survival: 0, again: None })?.has_struck {
                break;
            }
            counts.others += 1;
        }
    }
    'steps: for step in 1.. {
        for survival in 0..SURVIVALS.len() {
            let place = Place { fault: Fault::PowerCut, step, survival, again: None };
            let ran = go(place)?;
            if !ran.has_struck {
                counts.steps = step - 1;
                break 'steps;
            }
            counts.points += 1;
            let kind = ran.kind.unwrap_or(Step::DiskWrite);
            // That of the unsynced changes nothing is left, or everything, is the same as a cut
            // before the change, or after it.
            let side = if survival == 0 { Side::Before } else { Side::After };
            *hit.entry((kind, side)).or_default() += 1;
        }
    }
    for step in 1..=counts.steps {
        for again in 1.. {
            if counts.pairs >= settings.pairs {
                counts.is_cut = true;
                return Ok(counts);
            }
            let survival = (step + again) as usize % SURVIVALS.len();
            let place = Place { fault: Fault::PowerCut, step, survival, again: Some(again) };
            if !go(place)?.has_struck {
                break;
            }
            counts.pairs += 1;
        }
    }
    Ok(counts)
}

/// Runs one place again: `cut:17/2`, `cut:17/2,5`, `full:3`.
pub(super) fn replay(place: &str) -> Result<String, String> {
    let place = Place::parse(place).ok_or(
        "a fault of the disk is named cut:STEP/SURVIVAL[,STEP], full:STEP, arrived:STEP or lost:STEP",
    )?;
    let ran = run(&prepared(), place).map_err(|violation| violation.what)?;
    let struck = if ran.has_struck { "" } else { ", and has fewer steps" };
    Ok(format!("{} holds{struck}", place.name()))
}

fn run(prepared: &Disk, place: Place) -> Result<Ran, Box<Violation>> {
    let ran = quietly_with_threads(LIMIT, async || {
        let disk = prepared.repaired();
        disk.plan(place.step, place.fault);
        let mut log = Log::default();
        match open(&disk) {
            Ok(store) => {
                let ended = match place.again {
                    Some(_) => log.run_short(&store).await,
                    None => log.run(&store).await,
                };
                assert!(disk.has_struck() || ended.is_ok(), "without a fault: {ended:?}");
            }
            Err(error) => assert!(disk.has_struck(), "the store must open: {error}"),
        }
        let kind = disk.struck_sync().map(|is_sync| match is_sync {
            true => Step::DiskSync,
            false => Step::DiskWrite,
        });
        let mut has_struck = disk.has_struck();
        let mut found = found(&disk, place.fault, SURVIVALS[place.survival]);
        if let Some(again) = place.again.filter(|_| has_struck) {
            found.plan(again, Fault::PowerCut);
            if let Ok(store) = open(&found) {
                let _trouble_is_expected = log.check(&store).await;
            }
            has_struck = found.has_struck();
            found = found.after_power_cut(SURVIVALS[place.survival]);
        }
        // Once as it is found, and once after a clean close.
        for _ in 0..2 {
            let store = open(&found).expect("what is found after a fault can be opened");
            log.check(&store).await.expect("the disk works again");
        }
        Ran { has_struck, kind }
    });
    ran.map_err(|what| Box::new(Violation { place: place.name(), what }))
}

/// A disk with an empty store that was closed cleanly.
fn prepared() -> Disk {
    let disk = Disk::default();
    drop(open(&disk).expect("a new store can be made"));
    disk
}

fn open(disk: &Disk) -> Result<EmbeddedStore, OpenError> {
    let config = EmbeddedConfig::default().log_bytes(LOG_BYTES);
    EmbeddedStore::open_on(disk.tree(), disk.log(), config)
}

fn found(disk: &Disk, fault: Fault, survival: Survival) -> Disk {
    match fault {
        Fault::PowerCut => disk.after_power_cut(survival),
        _ => disk.repaired(),
    }
}

impl Place {
    fn name(self) -> String {
        let step = self.step;
        match (self.fault, self.again) {
            (Fault::Full, _) => format!("power/full:{step}"),
            (Fault::SyncFailsArrived, _) => format!("power/arrived:{step}"),
            (Fault::SyncFailsLost, _) => format!("power/lost:{step}"),
            (Fault::PowerCut, None) => format!("power/cut:{step}/{}", self.survival),
            (Fault::PowerCut, Some(again)) => {
                format!("power/cut:{step}/{},{again}", self.survival)
            }
        }
    }

    fn parse(text: &str) -> Option<Place> {
        let (fault, rest) = text.split_once(':')?;
        let fault = match fault {
            "cut" => Fault::PowerCut,
            "full" => Fault::Full,
            "arrived" => Fault::SyncFailsArrived,
            "lost" => Fault::SyncFailsLost,
            _ => return None,
        };
        let (rest, again) = match rest.split_once(',') {
            Some((rest, again)) => (rest, Some(again.parse().ok()?)),
            None => (rest, None),
        };
        let (step, survival) = rest.split_once('/').unwrap_or((rest, "0"));
        let survival = survival.parse().ok().filter(|number| *number < SURVIVALS.len())?;
        Some(Place { fault, step: step.parse().ok()?, survival, again })
    }
}
