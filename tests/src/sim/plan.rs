//! What is to happen in a world: drawn from a seed, and made smaller when it fails.

use std::fmt;

use fastrand::Rng;

use super::fault::{Fault, Step, pairs};
use crate::history::Ask;

/// What is to happen in a world. The same plan is the same world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What all that is not said here is drawn from: latencies, and how long a fault lasts.
    pub seed: u64,
    /// What keeps the documents.
    pub store: StoreKind,
    /// How many servers there are.
    pub servers: u8,
    /// The entries that the first accounts have at the start; 0: not open yet.
    pub accounts: Vec<u8>,
    /// The clients with their calls.
    pub clients: Vec<ClientPlan>,
    /// The longest way of a frame, in milliseconds.
    pub frame_ms: u8,
    /// The longest store operation, in milliseconds; 0: it takes no time.
    pub store_ms: u8,
    /// Faults that strike by chance.
    pub rates: Vec<Rate>,
    /// Faults that strike at one point.
    pub triggers: Vec<Trigger>,
    /// How long a session lives without traffic, in milliseconds.
    pub lease_ms: u32,
    /// By how much the wall clock of each server is ahead, in milliseconds.
    pub skew_ms: Vec<i32>,
    /// How often clients look after a silent connection, in milliseconds.
    pub keepalive_ms: u16,
}

/// What keeps the documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// The store protocol over compare-and-swap, on a simulated store; each server has its own end.
    Cas,
    /// The memory store, shared by all servers. It answers at once and has no faults.
    Memory,
}

/// A client and its calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientPlan {
    /// Its calls, in the order in which they are made.
    pub calls: Vec<CallPlan>,
    /// What becomes of it after a crash.
    pub comes_back: ComesBack,
    /// Whether it ends its session in order; else it is dropped.
    pub closes: bool,
    /// The bits of the servers that it knows.
    pub knows: u8,
}

/// What becomes of a client after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ComesBack {
    /// It stays away.
    Never,
    /// It comes back with nothing, and makes the calls that it had not made yet.
    Forgetful,
    /// It has a journal, comes back with it, and goes on with all its calls.
    Remembering,
}

/// A call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallPlan {
    /// When it is made, in milliseconds after the client has begun.
    pub at_ms: u32,
    /// What is asked for.
    pub ask: Ask,
    /// How long it may be tried, in milliseconds.
    pub deadline_ms: u16,
    /// When a second server is asked, in milliseconds; 0: never.
    pub hedge_ms: u16,
    /// When its caller drops it, in milliseconds; 0: never.
    pub drop_ms: u16,
    /// How long the business works before it begins and before it returns, in milliseconds.
    pub work_ms: [u16; 2],
}

/// A fault that strikes by chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Which.
    pub fault: Fault,
    /// How often, in thousandths of all steps where it can strike.
    pub per_mille: u16,
    /// How many more such steps it may strike in a row.
    pub burst: u8,
}

/// A fault that strikes at one point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trigger {
    /// Which.
    pub fault: Fault,
    /// In which step.
    pub step: Step,
    /// The how-manieth time that the step is taken, from 1.
    pub nth: u8,
}

/// The most accounts of a world.
pub(super) const ACCOUNTS: u8 = 4;
/// Longer than any world: a lease of this length never ends.
const LONG_LEASE_MS: u32 = 30 * 60 * 1000;

impl Plan {
    /// Whether the wall clocks keep to what leases need.
    pub(super) fn keeps_margin(&self) -> bool {
        let (least, most) = (self.skew_ms.iter().min(), self.skew_ms.iter().max());
        let margin = rpc::store::Lease::MARGIN.as_millis() as i64;
        least.zip(most).is_none_or(|(least, most)| i64::from(*most) - i64::from(*least) <= margin)
    }

    /// The plan of a seed. Seeds that follow each other aim at one pair of fault and step after
    /// the other, so that a run of any length hits them evenly.
    #[must_use]
    pub fn of(seed: u64) -> Plan {
        let mut rng = Rng::with_seed(seed ^ 0x5eed_0f57_0125_u64.rotate_left(17));
        let pairs = pairs();
        let (fault, step) = pairs[(seed % pairs.len() as u64) as usize];
        let mut plan = Plan::calm(seed, &mut rng);
        if rng.u8(0..8) == 0 {
            // The store's own faults and steps have no place there.
            plan.store = StoreKind::Memory;
            plan.store_ms = 0;
        }
        if rng.u8(0..4) != 0 {
            plan.rates = rates(&mut rng);
        }
        let aims = if rng.u8(0..6) == 0 { 0 } else { 1 };
        if aims > 0 {
            plan.aim(&mut rng, fault, step);
            for _ in 0..rng.u8(0..3) {
                let (fault, step) = pairs[rng.usize(0..pairs.len())];
                plan.triggers.push(Trigger { fault, step, nth: rng.u8(1..4) });
            }
        }
        plan
    }

    /// A world without faults.
    fn calm(seed: u64, rng: &mut Rng) -> Plan {
        let servers = if rng.u8(0..3) == 0 { 3 } else { 2 };
        let is_large = rng.u8(0..40) == 0;
        let clients = if is_large { rng.u8(2..5) } else { rng.u8(1..3) };
        let full = rng.u8(0..10) == 0;
        let accounts = [2, if full { 31 + rng.u8(0..2) } else { 2 }, 2 * rng.u8(0..2)];
        let accounts = accounts[..rng.usize(2..4)].to_vec();
        let taste = Taste::of(rng, accounts.len() as u8);
        let clients = (0..clients).map(|_| {
            let calls = if is_large { rng.u32(8..24) } else { rng.u32(2..6) };
            ClientPlan::draw(rng, servers, calls, &taste)
        });
        let clients = clients.collect();
        Plan {
            seed,
            store: StoreKind::Cas,
            servers,
            accounts,
            clients,
            frame_ms: if rng.bool() { 1 } else { rng.u8(1..12) },
            store_ms: if rng.bool() { rng.u8(0..2) } else { rng.u8(1..8) },
            rates: Vec::new(),
            triggers: Vec::new(),
            lease_ms: LONG_LEASE_MS,
            skew_ms: Vec::new(),
            keepalive_ms: 15_000,
        }
    }

    /// Makes it likely that a fault strikes in a step.
    fn aim(&mut self, rng: &mut Rng, fault: Fault, step: Step) {
        let nth = if rng.bool() { 1 } else { rng.u8(1..6) };
        if !step.is_frame() {
            self.store = StoreKind::Cas;
        }
        match fault {
            Fault::SkewWithin => {
                self.skew_ms = (0..self.servers).map(|_| rng.i32(-25_000..25_000)).collect();
            }
            Fault::SkewBeyond => {
                self.skew_ms = (0..self.servers).map(|_| rng.i32(-300_000..300_000)).collect();
                self.lease_ms = rng.u32(60_000..LONG_LEASE_MS);
            }
            _ => self.triggers.push(Trigger { fault, step, nth }),
        }
        match step {
            Step::Retry | Step::LookUp => self.lose(rng),
            Step::Settle | Step::Outcome => self.hurry(rng),
            Step::Cancel => self.drop_one(rng),
            Step::Probe => {
                self.keepalive_ms = 200;
                self.silence(rng);
            }
            Step::Close => self.clients.iter_mut().for_each(|client| client.closes = true),
            Step::ReRead => {
                self.contend(rng);
                let fault = if rng.bool() { Fault::TimeoutBefore } else { Fault::TimeoutAfter };
                self.rates.push(Rate { fault, per_mille: 100, burst: 1 });
            }
            Step::Stage | Step::Forward => self.contend(rng),
            Step::Back => {
                self.contend(rng);
                self.rates.push(Rate { fault: Fault::Slow, per_mille: 60, burst: 1 });
            }
            Step::Fence => {
                self.contend(rng);
                let fault = [Fault::ServerCrash, Fault::ServerStall, Fault::Slow][rng.usize(0..3)];
                self.triggers.push(Trigger { fault, step: Step::Commit, nth: rng.u8(1..3) });
            }
            Step::Journal => {
                let remembering = |client: &mut ClientPlan| {
                    client.comes_back = ComesBack::Remembering;
                };
                self.clients.iter_mut().for_each(remembering);
            }
            _ => {}
        }
        if rng.u8(0..24) == 0 {
            self.let_leases_end(rng);
        }
    }

    fn lose(&mut self, rng: &mut Rng) {
        self.rates.push(Rate { fault: Fault::Loss, per_mille: rng.u16(50..250), burst: 1 });
    }

    /// Calls whose time is short beside their work.
    fn hurry(&mut self, rng: &mut Rng) {
        for client in &mut self.clients {
            for call in &mut client.calls {
                if rng.bool() {
                    call.deadline_ms = rng.u16(30..200);
                    call.work_ms[rng.usize(0..2)] = rng.u16(20..300);
                }
            }
        }
        self.lose(rng);
    }

    fn drop_one(&mut self, rng: &mut Rng) {
        for client in &mut self.clients {
            let call = &mut client.calls[0];
            call.drop_ms = rng.u16(1..60);
            call.work_ms = [rng.u16(0..100), rng.u16(0..100)];
        }
    }

    /// A connection on which nothing happens for a while.
    fn silence(&mut self, rng: &mut Rng) {
        for client in &mut self.clients {
            if let Some(last) = client.calls.last_mut() {
                last.at_ms += rng.u32(300..1_500);
            }
        }
    }

    /// Transfers that want the same documents.
    fn contend(&mut self, rng: &mut Rng) {
        self.accounts[0] = 2;
        self.accounts[1] = self.accounts[1].max(2);
        for client in &mut self.clients {
            for call in &mut client.calls {
                let (from, to) = if rng.bool() { (0, 1) } else { (1, 0) };
                if rng.u8(0..4) != 0 {
                    call.ask = Ask::Transfer(from, to, rng.u16(1..100));
                    call.at_ms = rng.u32(0..60);
                }
            }
            client.calls.sort_by_key(|call| call.at_ms);
        }
    }

    /// Leases so short, and pauses so long, that some of them end.
    fn let_leases_end(&mut self, rng: &mut Rng) {
        self.lease_ms = rng.u32(1_000..5_000);
        let pause = if rng.bool() { rng.u32(1_000..8_000) } else { rng.u32(60_000..140_000) };
        for client in &mut self.clients {
            let half = client.calls.len() / 2;
            client.calls[half..].iter_mut().for_each(|call| call.at_ms += pause);
        }
    }
}

/// What the calls of a world are like.
struct Taste {
    accounts: u8,
    /// The longest pause between calls of a client.
    pause_ms: u32,
    /// How many of 16 calls are hedged, dropped, short, slow.
    odds: [u8; 4],
}

impl Taste {
    fn of(rng: &mut Rng, accounts: u8) -> Taste {
        let pause_ms = [1, 10, 100, 400][rng.usize(0..4)];
        let odds = [0; 4].map(|_: u8| if rng.bool() { 0 } else { rng.u8(0..5) });
        Taste { accounts, pause_ms, odds }
    }
}

impl ClientPlan {
    fn draw(rng: &mut Rng, servers: u8, calls: u32, taste: &Taste) -> ClientPlan {
        let mut at_ms = rng.u32(0..20);
        let calls = (0..calls).map(|_| {
            at_ms += rng.u32(0..=taste.pause_ms);
            CallPlan::draw(rng, at_ms, taste)
        });
        let calls = calls.collect();
        let all = (1 << servers) - 1;
        ClientPlan {
            calls,
            comes_back: match rng.u8(0..8) {
                0 | 1 => ComesBack::Never,
                2..=4 => ComesBack::Remembering,
                _ => ComesBack::Forgetful,
            },
            closes: rng.u8(0..4) != 0,
            knows: if rng.u8(0..4) == 0 { rng.u8(1..=all) } else { all },
        }
    }
}

impl CallPlan {
    fn draw(rng: &mut Rng, at_ms: u32, taste: &Taste) -> CallPlan {
        let [hedged, dropped, short, slow] = taste.odds.map(|odds| rng.u8(0..16) < odds);
        CallPlan {
            at_ms,
            ask: draw_ask(rng, taste.accounts),
            deadline_ms: if short { rng.u16(20..400) } else { rng.u16(2_000..6_000) },
            hedge_ms: if hedged { rng.u16(1..60) } else { 0 },
            drop_ms: if dropped { rng.u16(1..120) } else { 0 },
            work_ms: if slow { [rng.u16(0..200), rng.u16(0..200)] } else { [0, 0] },
        }
    }
}

fn draw_ask(rng: &mut Rng, accounts: u8) -> Ask {
    let one = rng.u8(0..accounts);
    let other = (one + rng.u8(1..accounts)) % accounts;
    let (one, other) = (one.into(), other.into());
    match rng.u8(0..16) {
        0 => Ask::Open(rng.u8(0..ACCOUNTS).into()),
        1..=3 => Ask::Deposit(one, rng.u16(1..200)),
        4..=5 => Ask::Withdraw(one, rng.u16(50..400)),
        6..=11 => Ask::Transfer(one, other, rng.u16(1..200)),
        12 => Ask::Close(rng.u8(0..ACCOUNTS).into()),
        13..=14 => Ask::Balance(one),
        _ => Ask::Statement(one, rng.u8(1..3)),
    }
}

fn rates(rng: &mut Rng) -> Vec<Rate> {
    let is_storm = rng.u8(0..4) == 0;
    let chosen = Fault::ALL.iter().filter(|fault| **fault < Fault::SkewWithin);
    let mut rates = Vec::new();
    for fault in chosen {
        if rng.u8(0..10) >= if is_storm { 6 } else { 2 } {
            continue;
        }
        let most = match fault {
            Fault::ServerStall | Fault::ServerCrash | Fault::ClientCrash => 12,
            Fault::PartitionToServer | Fault::PartitionToClient | Fault::CallerDrop => 15,
            Fault::CutBefore | Fault::CutInside | Fault::CutAfter => 40,
            _ => 120,
        };
        let per_mille = rng.u16(1..=most);
        rates.push(Rate { fault: *fault, per_mille, burst: rng.u8(0..4) });
    }
    rates
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plan { seed, store, servers, accounts, .. } = self;
        writeln!(
            f,
            "seed {seed}: {servers} servers, store {store:?}, accounts with {accounts:?} entries"
        )?;
        write!(
            f,
            "  frames take up to {} ms, store operations up to {} ms",
            self.frame_ms, self.store_ms
        )?;
        writeln!(f, ", leases {} ms, keepalive {} ms", self.lease_ms, self.keepalive_ms)?;
        if !self.skew_ms.is_empty() {
            writeln!(f, "  clocks are ahead by {:?} ms", self.skew_ms)?;
        }
        for Trigger { fault, step, nth } in &self.triggers {
            writeln!(f, "  fault: {} at {} number {nth}", fault.name(), step.name())?;
        }
        for Rate { fault, per_mille, burst } in &self.rates {
            writeln!(f, "  fault: {} {per_mille} ‰, bursts of up to {}", fault.name(), burst + 1)?;
        }
        for (number, client) in self.clients.iter().enumerate() {
            let ClientPlan { comes_back, closes, knows, .. } = client;
            writeln!(
                f,
                "  client {number}: knows servers {knows:#05b}, comes back {comes_back:?}, {}",
                if *closes { "closes its session" } else { "just goes" },
            )?;
            for call in &client.calls {
                write!(
                    f,
                    "    at {} ms: {:?}, deadline {} ms",
                    call.at_ms, call.ask, call.deadline_ms
                )?;
                for (what, value) in
                    [("hedged after", call.hedge_ms), ("dropped after", call.drop_ms)]
                {
                    if value > 0 {
                        write!(f, ", {what} {value} ms")?;
                    }
                }
                if call.work_ms != [0, 0] {
                    write!(f, ", works {:?} ms", call.work_ms)?;
                }
                writeln!(f)?;
            }
        }
        Ok(())
    }
}
