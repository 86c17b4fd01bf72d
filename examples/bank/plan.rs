//! The fault plan: what goes wrong, how often, and when. One seed makes one plan.

use std::time::Duration;

use fastrand::Rng;

/// How often something happens: 0 never, 1 always.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(crate) struct Rate(f64);

/// Something that happens to a server from time to time, for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outage {
    /// The mean time between two of them.
    pub(crate) every: Duration,
    /// How long one takes.
    pub(crate) length: Duration,
}

/// All that goes wrong in a run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FaultPlan {
    /// What all dice begin with.
    pub(crate) seed: u64,
    /// The share of messages that are lost.
    pub(crate) drop: Rate,
    /// The share of messages that are late.
    pub(crate) delay: Rate,
    /// How late a late message is at most.
    pub(crate) delay_up_to: Duration,
    /// The share of messages in which the connection is cut.
    pub(crate) cut: Rate,
    /// Servers that stop at once, and start again afterwards. `None`: never.
    pub(crate) stop: Option<Outage>,
    /// Servers that stand still, and go on afterwards. `None`: never.
    pub(crate) freeze: Option<Outage>,
}

/// One direction of one connection: what its dice are named by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Lane {
    /// The client's number.
    pub(crate) client: usize,
    /// The server's number.
    pub(crate) server: usize,
    /// How many connections there were before between the two.
    pub(crate) connection: u64,
    /// Whether from the client to the server.
    pub(crate) upstream: bool,
}

/// What becomes of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It arrives.
    Forward,
    /// It is lost.
    Drop,
    /// It arrives later, and all behind it too.
    Delay(Duration),
    /// Only this many bytes of it arrive, and the connection ends.
    Cut(usize),
}

/// The dice of one lane.
#[derive(Debug)]
pub(crate) struct Dice {
    rng: Rng,
    drop: Rate,
    delay: Rate,
    delay_up_to: Duration,
    cut: Rate,
}

/// What happens to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServerFault {
    /// It ends at once, its connections with it; it starts again on the same port.
    Stop,
    /// It stands still with all it holds, then goes on.
    Freeze,
}

/// One outage of one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ServerEvent {
    /// When it begins, from the start of the run.
    pub(crate) at: Duration,
    /// Which server.
    pub(crate) server: usize,
    /// What happens.
    pub(crate) fault: ServerFault,
    /// How long it takes.
    pub(crate) length: Duration,
}

/// The outages of all servers, by their beginning: no end to them if there are any.
#[derive(Debug)]
pub(crate) struct ServerSchedule {
    rng: Rng,
    busy_until: Vec<Duration>,
    streams: Vec<(ServerFault, Outage, Duration)>,
}

impl Rate {
    /// Never.
    pub(crate) const NEVER: Rate = Rate(0.0);

    /// A share, 0 to 1.
    pub(crate) fn new(share: f64) -> Option<Rate> {
        (0.0..=1.0).contains(&share).then_some(Rate(share))
    }
}

impl FaultPlan {
    /// A plan in which nothing goes wrong.
    pub(crate) fn calm(seed: u64) -> FaultPlan {
        FaultPlan {
            seed,
            drop: Rate::NEVER,
            delay: Rate::NEVER,
            delay_up_to: Duration::ZERO,
            cut: Rate::NEVER,
            stop: None,
            freeze: None,
        }
    }

    /// The dice of one lane: the same for the same seed and lane.
    pub(crate) fn dice(&self, lane: Lane) -> Dice {
        let name =
            [1, lane.client as u64, lane.server as u64, lane.connection, u64::from(lane.upstream)];
        Dice {
            rng: derive(self.seed, &name),
            drop: self.drop,
            delay: self.delay,
            delay_up_to: self.delay_up_to,
            cut: self.cut,
        }
    }

    /// What a worker of this number chooses by: also its calls are those of the seed.
    pub(crate) fn choices(&self, worker: usize) -> Rng {
        derive(self.seed, &[3, worker as u64])
    }

    /// The outages of this many servers.
    pub(crate) fn schedule(&self, servers: usize) -> ServerSchedule {
        let mut rng = derive(self.seed, &[2]);
        let outages = [(ServerFault::Stop, self.stop), (ServerFault::Freeze, self.freeze)];
        let streams = outages
            .into_iter()
            .filter_map(|(fault, outage)| Some((fault, outage?)))
            .map(|(fault, outage)| (fault, outage, next_time(&mut rng, outage, Duration::ZERO)))
            .collect();
        ServerSchedule { rng, busy_until: vec![Duration::ZERO; servers], streams }
    }
}

impl Dice {
    /// What becomes of the next message, of `len` bytes.
    pub(crate) fn roll(&mut self, len: usize) -> Fate {
        // Always three throws, so that one rate does not shift the others' luck.
        let [cut, drop, delay] = [self.rng.f64(), self.rng.f64(), self.rng.f64()];
        if cut < self.cut.0 {
            return Fate::Cut(self.rng.usize(..=len));
        }
        if drop < self.drop.0 {
            return Fate::Drop;
        }
        if delay < self.delay.0 {
            return Fate::Delay(self.delay_up_to.mul_f64(self.rng.f64()));
        }
        Fate::Forward
    }
}

impl Iterator for ServerSchedule {
    type Item = ServerEvent;

    /// The next outage. A server has one at a time, and where there are several servers one of
    /// them is always well: with none, there would be nothing to fail over to.
    fn next(&mut self) -> Option<ServerEvent> {
        loop {
            let (fault, outage, at) = self.streams.iter_mut().min_by_key(|stream| stream.2)?;
            let event_at = *at;
            let (fault, length) = (*fault, outage.length);
            *at = next_time(&mut self.rng, *outage, event_at);
            let well: Vec<usize> = (0..self.busy_until.len())
                .filter(|server| self.busy_until[*server] <= event_at)
                .collect();
            let keep = usize::from(self.busy_until.len() > 1);
            if well.len() <= keep {
                continue;
            }
            let server = well[self.rng.usize(..well.len())];
            self.busy_until[server] = event_at + length + REST;
            return Some(ServerEvent { at: event_at, server, fault, length });
        }
    }
}

/// How long a server is left alone after an outage: clients must have had the time to find it
/// again, or outages would only ever hit idle servers.
const REST: Duration = Duration::from_millis(500);

/// The shortest time between two outages of a kind, so that no flag makes the schedule spin.
const MIN_GAP: Duration = Duration::from_millis(10);

/// Half to one and a half times the mean gap after `last`.
fn next_time(rng: &mut Rng, outage: Outage, last: Duration) -> Duration {
    last + outage.every.mul_f64(0.5 + rng.f64()).max(MIN_GAP)
}

/// A generator named by these numbers, unrelated to those of other names.
fn derive(seed: u64, name: &[u64]) -> Rng {
    name.iter().fold(Rng::with_seed(seed), |mut rng, part| {
        let next = rng.u64(..) ^ part.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Rng::with_seed(next)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(seed: u64) -> FaultPlan {
        let outage = |every, length| {
            Some(Outage {
                every: Duration::from_millis(every),
                length: Duration::from_millis(length),
            })
        };
        FaultPlan {
            seed,
            drop: Rate::new(0.1).unwrap(),
            delay: Rate::new(0.2).unwrap(),
            delay_up_to: Duration::from_millis(20),
            cut: Rate::new(0.05).unwrap(),
            stop: outage(900, 700),
            freeze: outage(1100, 1500),
        }
    }

    fn lane(client: usize, upstream: bool) -> Lane {
        Lane { client, server: 1, connection: 0, upstream }
    }

    fn rolls(plan: &FaultPlan, lane: Lane) -> Vec<Fate> {
        let mut dice = plan.dice(lane);
        (0..2000).map(|_| dice.roll(40)).collect()
    }

    #[test]
    fn a_seed_repeats_the_plan() {
        assert_eq!(rolls(&plan(7), lane(3, true)), rolls(&plan(7), lane(3, true)));
        let events = |seed| plan(seed).schedule(3).take(50).collect::<Vec<_>>();
        assert_eq!(events(7), events(7));
        assert_ne!(events(7), events(8));
    }

    #[test]
    fn lanes_have_dice_of_their_own() {
        let first = rolls(&plan(7), lane(3, true));
        assert_ne!(first, rolls(&plan(7), lane(3, false)));
        assert_ne!(first, rolls(&plan(7), lane(4, true)));
        assert_ne!(first, rolls(&plan(8), lane(3, true)));
    }

    #[test]
    fn fates_come_at_their_rates() {
        let fates = rolls(&plan(1), lane(0, true));
        let count = |is: fn(&Fate) -> bool| fates.iter().filter(|fate| is(fate)).count();
        assert!((50..150).contains(&count(|fate| matches!(fate, Fate::Cut(0..=40)))));
        assert!((130..250).contains(&count(|fate| *fate == Fate::Drop)));
        assert!((270..410).contains(&count(|fate| matches!(fate, Fate::Delay(_)))));
    }

    #[test]
    fn one_server_is_always_well() {
        let events: Vec<ServerEvent> = plan(11).schedule(3).take(500).collect();
        assert!(events.iter().any(|event| event.fault == ServerFault::Stop));
        assert!(events.iter().any(|event| event.fault == ServerFault::Freeze));
        for (index, event) in events.iter().enumerate() {
            let down = |at: Duration| {
                let mut down: Vec<usize> = events[..=index]
                    .iter()
                    .filter(|earlier| earlier.at <= at && at < earlier.at + earlier.length)
                    .map(|earlier| earlier.server)
                    .collect();
                let all = down.len();
                down.sort_unstable();
                down.dedup();
                assert_eq!(down.len(), all, "a server has one outage at a time");
                all
            };
            assert!(down(event.at) < 3);
        }
        assert!(events.is_sorted_by_key(|event| event.at));
    }

    #[test]
    fn a_calm_plan_does_nothing() {
        let plan = FaultPlan::calm(3);
        assert!(rolls(&plan, lane(0, true)).iter().all(|fate| *fate == Fate::Forward));
        assert_eq!(plan.schedule(3).next(), None);
    }

    #[test]
    fn a_plan_for_one_server_takes_it_down() {
        assert!(plan(1).schedule(1).next().is_some());
    }
}
