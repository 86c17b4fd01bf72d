//! The network of a world: streams of bytes that are cut into frames, each with its own fate.
//!
//! A stream keeps its order, as TCP does: what is late holds up what is behind it. So frames are
//! re-ordered only between connections. A frame that is lost while its connection goes on is what a
//! careless middle box does; the protocol must bear it.

use std::collections::VecDeque;
use std::task::Waker;

use foldhash::HashMap;
use rpc::id::{ClientId, SessionId};
use rpc::testing::{Direction, FrameView, ResponseStatus, inspect};

use super::fault::{Fault, Step};
use super::hub::{Event, State};
use super::plan::Plan;
use super::trace::{End, Line};

/// Names a connection.
pub(super) type LinkId = usize;

/// All connections, and who waits for new ones.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) links: Vec<Link>,
    pub(super) doors: Vec<Door>,
    partitions: Vec<Partition>,
    /// What was answered as committed, by client and call.
    committed: HashMap<(ClientId, u64), (ResponseStatus, Vec<u8>)>,
}

/// Where a server takes its connections.
#[derive(Debug, Default)]
pub(super) struct Door {
    pub(super) waiting: VecDeque<LinkId>,
    pub(super) waker: Option<Waker>,
}

/// A connection between a life of a client and a life of a server.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) client: u8,
    pub(super) server: u8,
    pub(super) client_life: u32,
    pub(super) server_life: u32,
    pub(super) session: Option<SessionId>,
    pub(super) to_server: Way,
    pub(super) to_client: Way,
}

/// One direction of a connection.
#[derive(Debug, Default)]
pub(super) struct Way {
    /// Bytes that are no whole frame yet.
    cutting: Vec<u8>,
    flight: VecDeque<(u64, Flight)>,
    last_at: u64,
    /// Nothing that is sent from now on arrives.
    is_cut: bool,
    pub(super) inbox: Vec<u8>,
    pub(super) reader: Option<Waker>,
    pub(super) is_over: bool,
    pub(super) is_broken: bool,
}

/// What is on its way.
#[derive(Debug)]
enum Flight {
    /// Bytes; and the call that they ask for once more, if they do.
    Bytes(Vec<u8>, Option<u8>),
    /// The writer has closed its end.
    End,
    /// The connection is broken from here on.
    Break,
}

#[derive(Clone, Copy, Debug)]
struct Partition {
    client: u8,
    server: u8,
    to: End,
    until: u64,
    /// Whether what was sent meanwhile is lost; else it arrives afterwards.
    loses: bool,
}

impl Network {
    pub(super) fn new(plan: &Plan) -> Network {
        Network {
            links: Vec::new(),
            doors: (0..plan.servers).map(|_| Door::default()).collect(),
            partitions: Vec::new(),
            committed: HashMap::default(),
        }
    }
}

impl Link {
    pub(super) fn way(&mut self, to: End) -> &mut Way {
        match to {
            End::Server => &mut self.to_server,
            End::Client => &mut self.to_client,
        }
    }
}

impl State {
    /// Connects a client to a server, if one listens.
    pub(super) fn connect(&mut self, client: u8, server: u8) -> Option<LinkId> {
        let process = *self.servers.get(usize::from(server))?;
        if !process.alive {
            return None;
        }
        let id = self.network.links.len();
        self.network.links.push(Link {
            client,
            server,
            client_life: self.clients[usize::from(client)].life,
            server_life: process.life,
            session: None,
            to_server: Way::default(),
            to_client: Way::default(),
        });
        let door = &mut self.network.doors[usize::from(server)];
        door.waiting.push_back(id);
        self.wakers.extend(door.waker.take());
        Some(id)
    }

    /// Whether the process at an end still lives the life that it had when it connected.
    pub(super) fn is_alive(&self, link: LinkId, end: End) -> bool {
        let link = &self.network.links[link];
        let (process, life) = match end {
            End::Client => (self.clients[usize::from(link.client)], link.client_life),
            End::Server => (self.servers[usize::from(link.server)], link.server_life),
        };
        process.alive && process.life == life
    }

    /// Takes what an end has written. `false`: the connection is broken.
    pub(super) fn write(&mut self, plan: &Plan, id: LinkId, to: End, bytes: &[u8]) -> bool {
        let from = if to == End::Server { End::Client } else { End::Server };
        if !self.is_alive(id, from) {
            return true;
        }
        let link = &mut self.network.links[id];
        if link.way(from).is_broken {
            return false;
        }
        let mut cutting = std::mem::take(&mut link.way(to).cutting);
        cutting.extend_from_slice(bytes);
        let mut taken = 0;
        while let Some(len) = frame_len(&cutting[taken..]) {
            self.send(plan, id, to, &cutting[taken..taken + len]);
            taken += len;
        }
        cutting.drain(..taken);
        self.network.links[id].way(to).cutting = cutting;
        true
    }

    /// An end was closed: the other one reads to the end.
    pub(super) fn close(&mut self, plan: &Plan, id: LinkId, to: End) {
        let from = if to == End::Server { End::Client } else { End::Server };
        if self.is_alive(id, from) {
            self.launch(plan, id, to, 0, Flight::End);
        }
    }

    /// Decides what becomes of a frame.
    fn send(&mut self, plan: &Plan, id: LinkId, to: End, frame: &[u8]) {
        let direction = if to == End::Server { Direction::ToServer } else { Direction::ToClient };
        let view = match inspect(frame, direction) {
            Ok(view) => view,
            Err(error) => return self.fail("a frame that is none was sent", || error),
        };
        let Link { client, server, client_life, .. } = self.network.links[id];
        let call = seq_of(&view).and_then(|seq| self.calls.of_seq(client, client_life, seq));
        let step = step_of(&view);
        let again = call.filter(|_| step == Some(Step::Retry));
        let fault = step.and_then(|step| self.take(plan, step, server));
        let fault = fault.filter(|fault| !fault.is_of_store());
        self.digest_frame(id, to, frame, &view, fault);
        self.trace.push(self.now, || Line::Frame {
            client,
            server,
            to,
            text: text_of(&view, call),
            fault,
        });
        self.observe(plan, id, frame, &view);
        let (Some(step), Some(fault)) = (step, fault) else {
            return self.launch(plan, id, to, 0, Flight::Bytes(frame.to_vec(), again));
        };
        if fault.is_of_frames() {
            self.coverage.struck(fault, step);
            return self.misdeliver(plan, id, to, (frame, again), fault);
        }
        // A process may stop before the frame has left it, or after.
        let leaves_first = self.rng.bool();
        if leaves_first {
            self.launch(plan, id, to, 0, Flight::Bytes(frame.to_vec(), again));
        }
        if self.strike(fault, server, client, call) {
            self.coverage.struck(fault, step);
        }
        if !leaves_first {
            self.launch(plan, id, to, 0, Flight::Bytes(frame.to_vec(), again));
        }
    }

    fn misdeliver(
        &mut self,
        plan: &Plan,
        id: LinkId,
        to: End,
        (frame, again): (&[u8], Option<u8>),
        fault: Fault,
    ) {
        let Link { client, server, .. } = self.network.links[id];
        let whole = || Flight::Bytes(frame.to_vec(), again);
        match fault {
            Fault::Loss => {}
            Fault::Delay => {
                let most = [30, 300, 3_000][self.rng.usize(0..3)];
                let late = self.rng.u64(1..most);
                self.launch(plan, id, to, late, whole());
            }
            Fault::Duplicate => {
                self.launch(plan, id, to, 0, whole());
                let late = self.rng.u64(0..400);
                let way = self.latest_way(id);
                self.launch(plan, way, to, late, whole());
            }
            Fault::CutBefore => self.launch(plan, id, to, 0, Flight::Break),
            Fault::CutInside => {
                let part = frame[..self.rng.usize(0..frame.len())].to_vec();
                self.launch(plan, id, to, 0, Flight::Bytes(part, None));
                self.launch(plan, id, to, 0, Flight::Break);
            }
            Fault::CutAfter => {
                self.launch(plan, id, to, 0, whole());
                self.launch(plan, id, to, 0, Flight::Break);
            }
            _ => {
                let to_side =
                    if fault == Fault::PartitionToServer { End::Server } else { End::Client };
                let until = self.now + self.rng.u64(20..2_500);
                let loses = self.rng.bool();
                let partition = Partition { client, server, to: to_side, until, loses };
                self.network.partitions.push(partition);
                self.launch(plan, id, to, 0, whole());
            }
        }
    }

    /// The connection on which a copy of a frame can arrive: the latest between the two. No copy
    /// gets to another server or to another life of it, since each has its own streams.
    fn latest_way(&self, id: LinkId) -> LinkId {
        let Link { client, client_life, server, server_life, session, .. } = self.network.links[id];
        let mut links = self.network.links.iter().enumerate().rev();
        let latest = links.find(|(_, link)| {
            (link.client, link.client_life) == (client, client_life)
                && (link.server, link.server_life) == (server, server_life)
                && link.session == session
        });
        latest.map_or(id, |(other, _)| other)
    }

    /// Sends something on its way, behind all that was sent before it.
    fn launch(&mut self, plan: &Plan, id: LinkId, to: End, late: u64, what: Flight) {
        let mut at = self.now + late + self.rng.u64(0..=u64::from(plan.frame_ms));
        let Link { client, server, .. } = self.network.links[id];
        let from = if to == End::Server { End::Client } else { End::Server };
        if from == End::Server {
            at = at.max(self.frozen_until(server));
        }
        let now = self.now;
        let partitions = &mut self.network.partitions;
        partitions.retain(|partition| partition.until > now);
        let between = partitions.iter().find(|partition| {
            (partition.client, partition.server, partition.to) == (client, server, to)
        });
        if let Some(Partition { until, loses, .. }) = between {
            if *loses && matches!(what, Flight::Bytes(..)) {
                return;
            }
            at = at.max(*until);
        }
        let way = self.network.links[id].way(to);
        if way.is_cut {
            return;
        }
        way.is_cut = !matches!(what, Flight::Bytes(..));
        at = at.max(way.last_at);
        way.last_at = at;
        way.flight.push_back((at, what));
        self.schedule(at, Event::Deliver(id, to));
    }

    /// What is due in a direction arrives.
    pub(super) fn deliver(&mut self, id: LinkId, to: End) {
        let server = self.network.links[id].server;
        let thaw = self.frozen_until(server);
        if to == End::Server && thaw > self.now {
            return self.schedule(thaw, Event::Deliver(id, to));
        }
        let now = self.now;
        let way = self.network.links[id].way(to);
        let mut breaks = false;
        while way.flight.front().is_some_and(|(at, _)| *at <= now) {
            match way.flight.pop_front() {
                Some((_, Flight::Bytes(bytes, again))) => {
                    way.inbox.extend_from_slice(&bytes);
                    self.documents.marks.extend(again.map(|call| (server, call)));
                }
                Some((_, Flight::End)) => way.is_over = true,
                Some((_, Flight::Break)) => breaks = true,
                None => {}
            }
        }
        self.wakers.extend(way.reader.take());
        if breaks {
            way.is_broken = true;
            let later = self.now + self.rng.u64(0..40);
            self.schedule(later, Event::Sever(id));
        }
    }

    /// Both ends learn that a connection is broken.
    pub(super) fn sever(&mut self, id: LinkId) {
        for to in [End::Client, End::Server] {
            let way = self.network.links[id].way(to);
            way.is_cut = true;
            way.is_broken = true;
            self.wakers.extend(way.reader.take());
        }
    }

    /// A process dies with its ends of connections. The others learn it soon or late.
    pub(super) fn lose_links(&mut self, is_its: impl Fn(&Link) -> bool, end: End) {
        for id in 0..self.network.links.len() {
            if !is_its(&self.network.links[id]) || self.network.links[id].to_server.is_broken {
                continue;
            }
            let from_it = if end == End::Server { End::Client } else { End::Server };
            let vanishes = self.rng.bool();
            let way = self.network.links[id].way(from_it);
            if vanishes {
                way.flight.clear();
            }
            way.is_cut = true;
            let most = if self.rng.u8(0..4) == 0 { 4_000 } else { 30 };
            let at = self.now + self.rng.u64(0..most);
            self.schedule(at, Event::Sever(id));
        }
    }

    /// Ends all trouble of the network.
    pub(super) fn heal(&mut self) {
        self.network.partitions.clear();
    }

    /// Every committed response to a call says the same.
    fn observe(&mut self, plan: &Plan, id: LinkId, frame: &[u8], view: &FrameView) {
        match view {
            FrameView::Welcome { session, .. } => self.network.links[id].session = Some(*session),
            FrameView::Response { seq, status, committed: true, header_bytes, .. } => {
                let Some(session) = self.network.links[id].session else { return };
                let said = (*status, frame[*header_bytes..].to_vec());
                let key = (session.client, seq.0);
                let first = self.network.committed.entry(key).or_insert_with(|| said.clone());
                if *first != said && plan.keeps_margin() {
                    let detail = format!("call {}.{seq}: {first:?}, then {said:?}", session.client);
                    self.fail("every retry gets the same committed result", || detail);
                }
            }
            _ => {}
        }
    }

    /// Secrets are random; all else of a frame goes into the hash.
    fn digest_frame(
        &mut self,
        id: LinkId,
        to: End,
        frame: &[u8],
        view: &FrameView,
        fault: Option<Fault>,
    ) {
        let words = [id as u64, to as u64, fault.map_or(u64::MAX, |fault| fault as u64)];
        match view {
            FrameView::Hello { session: Some(session), .. }
            | FrameView::Welcome { session, .. } => {
                let session = [session.client.0, u64::from(session.incarnation.0)];
                self.digest(b'h', words, &session.map(u64::to_le_bytes).concat());
            }
            _ => self.digest(b'f', words, frame),
        }
    }
}

/// The length of the first frame with its length in front, if it is there.
fn frame_len(bytes: &[u8]) -> Option<usize> {
    let mut len = 0usize;
    for (index, byte) in bytes.iter().take(5).enumerate() {
        len |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let whole = index + 1 + len;
            return (bytes.len() >= whole).then_some(whole);
        }
    }
    None
}

fn seq_of(view: &FrameView) -> Option<u64> {
    match view {
        FrameView::Request { seq, .. }
        | FrameView::Response { seq, .. }
        | FrameView::Cancel { seq } => Some(seq.0),
        _ => None,
    }
}

fn step_of(view: &FrameView) -> Option<Step> {
    Some(match view {
        FrameView::Hello { .. } => Step::Hello,
        FrameView::Welcome { .. } | FrameView::Reject { .. } => Step::Welcome,
        FrameView::Request { settle: true, .. } => Step::Settle,
        FrameView::Request { attempt, .. } if attempt.0 > 1 => Step::Retry,
        FrameView::Request { .. } => Step::Request,
        FrameView::Response { .. } => Step::Response,
        FrameView::Ack { .. } => Step::Ack,
        FrameView::Cancel { .. } => Step::Cancel,
        FrameView::Ping | FrameView::Pong => Step::Probe,
        FrameView::Bye => Step::Close,
        _ => return None,
    })
}

/// What a frame says, for people.
fn text_of(view: &FrameView, call: Option<u8>) -> String {
    let name = call.map_or(String::new(), |call| format!(" ({})", super::calls::reference(call)));
    match view {
        FrameView::Hello { session: None, .. } => "hello".to_owned(),
        FrameView::Hello { session: Some(session), .. } => {
            format!("hello again {} {}", session.client, session.incarnation)
        }
        FrameView::Welcome { session, .. } => {
            format!("welcome {} {}", session.client, session.incarnation)
        }
        FrameView::Reject { reason, .. } => format!("reject {reason:?}"),
        FrameView::Request { seq, attempt, watermark, settle, .. } => {
            let settle = if *settle { " settle" } else { "" };
            let ack = watermark.map_or(String::new(), |seq| format!(" ack<{seq}"));
            format!("request {seq}.{attempt}{name}{settle}{ack}")
        }
        FrameView::Response { seq, attempt, status, committed, .. } => {
            let committed = if *committed { " committed" } else { "" };
            format!("response {seq}.{attempt}{name} {status:?}{committed}")
        }
        FrameView::Ack { watermark, .. } => format!("ack<{watermark}"),
        FrameView::Cancel { seq } => format!("cancel {seq}{name}"),
        other => format!("{other:?}"),
    }
}
