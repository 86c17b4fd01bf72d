//! Which data server has which vBucket.

use super::DataServer;

/// The map: one data server for each vBucket, and the revision that changes with it.
pub(super) struct Map {
    owners: Vec<DataServer>,
    servers: usize,
    revision: u64,
}

impl Map {
    /// The vBuckets go round the servers.
    pub(super) fn new(vbuckets: u16, servers: usize) -> Map {
        let owners = (0..usize::from(vbuckets)).map(|number| DataServer(number % servers));
        Map { owners: owners.collect(), servers, revision: 1 }
    }

    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    pub(super) fn owners(&self) -> &[DataServer] {
        &self.owners
    }

    /// Who has a vBucket; `None` if there is no such vBucket.
    pub(super) fn owner(&self, vbucket: u16) -> Option<DataServer> {
        self.owners.get(usize::from(vbucket)).copied()
    }

    /// Gives one vBucket to the next server. With a single one the map stays, but is newer.
    pub(super) fn pass_on(&mut self, vbucket: u16) {
        if let Some(owner) = self.owners.get_mut(usize::from(vbucket)) {
            *owner = DataServer((owner.0 + 1) % self.servers);
        }
        self.revision += 1;
    }

    /// Gives all that one server has to another one.
    pub(super) fn hand_over(&mut self, from: DataServer, to: DataServer) {
        if to.0 < self.servers {
            self.owners.iter_mut().filter(|owner| **owner == from).for_each(|owner| *owner = to);
        }
        self.revision += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vbuckets_move_and_the_map_is_newer_each_time() {
        let mut map = Map::new(5, 2);
        assert_eq!(map.owners().iter().filter(|owner| owner.0 == 0).count(), 3);
        map.pass_on(0);
        assert_eq!(map.owner(0), Some(DataServer(1)));
        map.hand_over(DataServer(1), DataServer(0));
        assert!(map.owners().iter().all(|owner| owner.0 == 0));
        map.hand_over(DataServer(0), DataServer(2));
        assert!(map.owners().iter().all(|owner| owner.0 == 0), "there are two servers");
        assert_eq!((map.revision(), map.owner(5)), (4, None));
    }
}
