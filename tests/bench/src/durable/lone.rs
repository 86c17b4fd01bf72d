//! One commit at a time, beside a sync: by turns, one of each kind, since what a sync takes changes
//! within seconds, and a second of the one after a second of the other would compare the disk with
//! itself.
//!
//! In files of their own, so that no checkpoint of many commits runs meanwhile.

use std::error::Error;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rpc::store::EmbeddedConfig;

use super::bare::Bare;
use super::by_hand::ByHand;
use super::store::{Committer, commit_without_id, open_without_ids};
use super::without_ids::WithoutIds;
use super::{DOCUMENTS, Measured};

pub(super) struct Lone {
    sync: Bare,
    by_hand: ByHand,
    store: Rc<Committer>,
    /// The store that syncs where it is called.
    where_called: Rc<Committer>,
    without_ids: Rc<WithoutIds>,
    random: fastrand::Rng,
}

/// What is done by turns.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Sync,
    ByHand,
    Store,
    WhereCalled,
    WithoutIds,
}

const KINDS: [Kind; 5] =
    [Kind::Sync, Kind::ByHand, Kind::Store, Kind::WhereCalled, Kind::WithoutIds];

/// What one round found, by kind.
pub(super) struct LoneRound([Measured; KINDS.len()]);

impl LoneRound {
    pub(super) fn of(&self, kind: Kind) -> Measured {
        self.0[kind as usize]
    }
}

impl Lone {
    pub(super) async fn open(place: &Path) -> Result<Lone, Box<dyn Error>> {
        let config = EmbeddedConfig::default();
        let called = config.clone().sync_where_called(true);
        Ok(Lone {
            sync: Bare::open(&place.join("lone-sync"))?,
            by_hand: ByHand::open(&place.join("lone-by-hand"))?,
            store: Committer::open(&place.join("lone-store"), config).await?,
            where_called: Committer::open(&place.join("lone-where-called"), called).await?,
            without_ids: open_without_ids(&place.join("lone-without-ids")).await?,
            random: fastrand::Rng::with_seed(1),
        })
    }

    /// Does each by turns until each has had this long on average.
    pub(super) async fn run(&mut self, time: Duration) -> Result<LoneRound, Box<dyn Error>> {
        let mut each: [Vec<Duration>; KINDS.len()] = Default::default();
        let start = Instant::now();
        for first in 0.. {
            if start.elapsed() >= time * KINDS.len() as u32 {
                break;
            }
            // Each comes behind each other: the one before may leave something to do.
            for turn in 0..KINDS.len() {
                let kind = KINDS[(first + turn * (1 + first % 4)) % KINDS.len()];
                let begun = Instant::now();
                self.commit(kind).await?;
                each[kind as usize].push(begun.elapsed());
            }
        }
        Ok(LoneRound(each.map(Measured::one_by_one)))
    }

    async fn commit(&mut self, kind: Kind) -> Result<(), Box<dyn Error>> {
        let document = self.random.u64(..DOCUMENTS);
        match kind {
            Kind::Sync => self.sync.write().map_err(Into::into),
            Kind::ByHand => self.by_hand.write(&[document]),
            Kind::Store => self.store.commit(&[document]).await,
            Kind::WhereCalled => self.where_called.commit(&[document]).await,
            Kind::WithoutIds => commit_without_id(&self.without_ids, &[document]).await,
        }
    }
}
