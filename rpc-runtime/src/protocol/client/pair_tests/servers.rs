//! The servers of a pair: call tables with the store behind them, and runs that come to their commit
//! when they are told to.

use std::collections::VecDeque;
use std::time::Duration;

use super::{
    DEADLINE, DEPOSIT, EndpointId, Pair, WINDOW, at_once, cut, effect_of, funds, number_in,
};
use crate::id::{ArgumentHash, CallId, Identity, MethodId, Seq, SessionId, SessionSecret};
use crate::protocol::server::handshake::negotiate;
use crate::protocol::server::{
    Admission, Agreement, Answer, CallTable, Duty, Incoming, Payload, RunNumber, TableLimits,
};
use crate::service::Kind;
use crate::store::{
    CallRef, Commit, CommitOutcome, DocKey, Encoded, Lease, LookUp, Outcome, ReadVersion, Resume,
    Store as _, Versioned, Write,
};
use crate::time::WallTime;
use crate::wire::frame::put_frame;
use crate::wire::handshake::{Hello, Welcome};
use crate::wire::request::{ClientFrame, RequestHeader};
use crate::wire::response::{ServerFrame, Status};

const SECRET: SessionSecret = SessionSecret([7; 16]);

#[derive(Default)]
pub(super) struct Server {
    /// Counts its restarts: runs of an earlier life report to nobody.
    pub(super) life: u32,
    /// The client wants a connection.
    pub(super) wanted: bool,
    pub(super) table: Option<(SessionId, CallTable<u64>)>,
    pub(super) link: Option<Link>,
}

#[derive(Default)]
pub(super) struct Link {
    pub(super) agreement: Option<Agreement>,
    pub(super) session: Option<SessionId>,
    pub(super) to_server: VecDeque<Vec<u8>>,
    pub(super) to_client: VecDeque<Vec<u8>>,
    pub(super) requests: Vec<Vec<u8>>,
}

/// A run, a recording or an abort on its way to the store.
pub(super) struct Job {
    pub(super) number: u64,
    pub(super) server: usize,
    pub(super) life: u32,
    /// Stopped: what it does is done, but nobody hears of it.
    pub(super) orphan: bool,
    pub(super) run: RunNumber,
    pub(super) call: CallRef,
    pub(super) work: Work,
}

pub(super) enum Work {
    Business { method: MethodId, retry: bool, read: Box<[(DocKey, Versioned); 2]> },
    Record(Outcome),
}

impl Pair {
    pub(super) fn connect(&mut self, server: usize) {
        let end = &mut self.servers[server];
        if std::mem::take(&mut end.wanted) {
            end.link = Some(Link::default());
            self.core.handle_connected(self.now, EndpointId(server as u16));
            self.settle();
        }
    }

    pub(super) fn cut(&mut self, server: usize) {
        if self.servers[server].link.take().is_some() {
            let id = EndpointId(server as u16);
            self.core.handle_disconnected(self.now, id, "cut".to_owned());
        }
    }

    pub(super) fn reach_client(&mut self, server: usize) {
        let Some(link) = &mut self.servers[server].link else { return };
        let Some(frame) = link.to_client.pop_front() else { return };
        let mut bytes = Vec::new();
        put_frame(&mut bytes, |out| out.extend_from_slice(&frame));
        let taken = self.core.handle_bytes(self.now, EndpointId(server as u16), &bytes);
        if taken.is_err() {
            // A handshake that was lost or overtaken.
            self.cut(server);
        }
    }

    pub(super) fn reach_server(&mut self, server: usize) {
        let Some(link) = &mut self.servers[server].link else { return };
        let Some(frame) = link.to_server.pop_front() else { return };
        if link.agreement.is_none() {
            return self.greet(server, &frame);
        }
        let session = link.session.expect("it was greeted");
        let Some((of, table)) = &mut self.servers[server].table else { return };
        assert_eq!(*of, session);
        match ClientFrame::decode(&frame) {
            Ok(ClientFrame::Request(header, arguments)) => {
                let (header, arguments) = (header, arguments.to_vec());
                self.servers[server].link.as_mut().unwrap().requests.push(frame.clone());
                self.request(server, session, &header, &arguments);
            }
            Ok(ClientFrame::Ack(ack)) => table.handle_ack(ack),
            Ok(ClientFrame::Cancel(seq)) => table.handle_cancel(seq),
            Ok(ClientFrame::Ping) => table.send(ServerFrame::Pong),
            Ok(ClientFrame::Bye) => panic!("the client is not closed"),
            Err(_) => self.cut(server),
        }
        self.serve(server);
    }

    fn greet(&mut self, server: usize, frame: &[u8]) {
        let Ok(hello) = Hello::decode(frame) else { return self.cut(server) };
        let agreement = negotiate(&hello, &self.schema).expect("both ends have one schema");
        let lease = Lease::from(WallTime(0), Duration::from_secs(3600));
        let identity = Identity::anonymous();
        let (session, watermark) = match hello.session {
            None => {
                (at_once(self.store.open_session(&identity, SECRET, lease)).unwrap(), Seq::FIRST)
            }
            Some((session, secret)) => {
                let resumed = at_once(self.store.resume_session(&identity, secret, session, lease));
                let Resume::Resumed { watermark } = resumed.unwrap() else { panic!("it is open") };
                (session, watermark)
            }
        };
        let end = &mut self.servers[server];
        if end.table.as_ref().is_none_or(|(of, _)| *of != session) {
            let limits = TableLimits { window: WINDOW, max_running: 64, max_held_bytes: 1 << 20 };
            end.table = Some((session, CallTable::new(limits, watermark)));
            // What runs for an earlier life reports to nobody.
            for job in self.jobs.iter_mut().filter(|job| job.server == server) {
                job.orphan = true;
            }
        }
        let (_, table) = end.table.as_mut().expect("made above");
        table.handle_attached();
        let link = end.link.as_mut().expect("the hello came on it");
        (link.agreement, link.session) = (Some(agreement), Some(session));
        let mut out = Vec::new();
        Welcome { session, secret: SECRET, lease: DEADLINE, window: WINDOW, max_frame: 1 << 20 }
            .put(&mut out);
        link.to_client.extend(cut(&out));
    }

    fn request(
        &mut self,
        server: usize,
        session: SessionId,
        header: &RequestHeader<'_>,
        arguments: &[u8],
    ) {
        let (_, table) = self.servers[server].table.as_mut().expect("it was greeted");
        if let Some(ack) = header.ack {
            table.handle_ack(ack);
        }
        let hash = ArgumentHash::of(u64::from(header.method.0), arguments);
        let deadline = self.now + header.deadline.unwrap_or(DEADLINE);
        let (seq, attempt, settle) = (header.seq, header.attempt, header.settle);
        let request = Incoming { seq, attempt, kind: Kind::Write, hash, deadline, settle };
        let admission = table.handle_request(self.now, &request);
        let call = CallRef {
            id: CallId { client: session.client, seq },
            incarnation: session.incarnation,
            attempt,
            born: WallTime(0),
            hash,
            anchor: None,
            watermark: table.watermark(),
        };
        match admission {
            Admission::Handled => {}
            Admission::Record(run, outcome) => {
                self.push(server, run, call, Work::Record(outcome));
            }
            Admission::Settle(run, reason) => {
                self.push(server, run, call, Work::Record(Outcome::Aborted(reason)));
            }
            Admission::Run(run) => {
                let retry = attempt.is_retry();
                if retry
                    && let LookUp::Recorded(outcome) = at_once(self.store.look_up(&call)).unwrap()
                {
                    self.report(server, seq, run, Answer::Recorded(outcome), &call);
                    return;
                }
                let read = Box::new(self.read(seq));
                let work = Work::Business { method: header.method, retry, read };
                let number = self.push(server, run, call, work);
                let (_, table) = self.servers[server].table.as_mut().expect("it was greeted");
                assert_eq!(table.handle_started(seq, run, number), None);
            }
        }
    }

    fn push(&mut self, server: usize, run: RunNumber, call: CallRef, work: Work) -> u64 {
        self.next_job += 1;
        let (number, life) = (self.next_job, self.servers[server].life);
        self.jobs.push(Job { number, server, life, orphan: false, run, call, work });
        number
    }

    /// A job comes to its commit.
    pub(super) fn end(&mut self, mut job: Job) {
        let seq = job.call.id.seq;
        let (reads, writes, result) = match &job.work {
            Work::Record(outcome) => (Vec::new(), Vec::new(), outcome.clone()),
            Work::Business { method, read, .. } => run(seq, *method, read),
        };
        let first = matches!(job.work, Work::Business { retry: false, .. });
        if writes.is_empty() && first {
            let Outcome::BusinessError(error) = result else { panic!("success writes") };
            let answer = Answer::Tentative(Status::BusinessError, Payload::Shared(error));
            return self.conclude(job, answer);
        }
        let commit = Commit { call: job.call.clone(), reads, writes, result };
        let answer = match at_once(self.store.commit(commit)).unwrap() {
            CommitOutcome::Committed(outcome) => Answer::Committed(outcome),
            CommitOutcome::Recorded(outcome) => Answer::Recorded(outcome),
            CommitOutcome::Refused(refusal) => Answer::Never(refusal),
            CommitOutcome::Conflict => {
                let fresh = self.read(seq);
                if let Work::Business { read, .. } = &mut job.work {
                    **read = fresh;
                }
                return self.jobs.push(job);
            }
        };
        self.conclude(job, answer);
    }

    fn conclude(&mut self, job: Job, answer: Answer) {
        if !job.orphan && self.servers[job.server].life == job.life {
            self.report(job.server, job.call.id.seq, job.run, answer, &job.call);
        }
        self.serve(job.server);
    }

    fn report(&mut self, server: usize, seq: Seq, run: RunNumber, answer: Answer, call: &CallRef) {
        let (_, table) = self.servers[server].table.as_mut().expect("it has runs");
        if let Some((run, outcome)) = table.handle_finished(self.now, seq, run, answer) {
            self.push(server, run, call.clone(), Work::Record(outcome));
        }
    }

    /// Carries out what a table wants.
    pub(super) fn serve(&mut self, server: usize) {
        let Some((_, table)) = &mut self.servers[server].table else { return };
        assert!(table.running() <= WINDOW as usize, "the table is bounded");
        let mut aborts = Vec::new();
        while let Some(duty) = table.poll_duty() {
            let (number, abort) = match duty {
                Duty::Abort(_, run, reason, number) => (number, Some((run, reason))),
                Duty::Forget(number) => (number, None),
            };
            // A run that is forgotten may have ended already, and only its record be under way.
            let Some(job) = self.jobs.iter_mut().find(|job| job.number == number) else {
                assert!(abort.is_none(), "only what runs is ended");
                continue;
            };
            job.orphan = true;
            aborts.extend(abort.map(|(run, reason)| (run, job.call.clone(), reason)));
        }
        for (run, call, reason) in aborts {
            self.push(server, run, call, Work::Record(Outcome::Aborted(reason)));
        }
        let end = &mut self.servers[server];
        let Some((_, table)) = &mut end.table else { return };
        if let Some(link) = end.link.as_mut().filter(|link| link.session.is_some()) {
            let mut bytes = Vec::new();
            table.poll_transmit(&mut bytes);
            link.to_client.extend(cut(&bytes));
        }
    }

    pub(super) fn read(&self, seq: Seq) -> [(DocKey, Versioned); 2] {
        [funds(), effect_of(seq)].map(|key| {
            let document = at_once(self.store.read(&key)).unwrap();
            (key, document)
        })
    }
}

/// The business: what a run makes of what it read.
fn run(
    seq: Seq,
    method: MethodId,
    read: &[(DocKey, Versioned); 2],
) -> (Vec<ReadVersion>, Vec<Write>, Outcome) {
    let reads =
        read.iter().map(|(key, document)| ReadVersion::new(key.clone(), document)).collect();
    let [funds, effect] = read;
    let left = match method {
        DEPOSIT => Some(number_in(&funds.1) + 1),
        _ => number_in(&funds.1).checked_sub(1),
    };
    let Some(left) = left else {
        let error = Outcome::BusinessError(Encoded::from(&[method.0 as u8]));
        return (reads, Vec::new(), error);
    };
    let write = |key: &DocKey, number: u64| Write {
        key: key.clone(),
        body: Some(Encoded::from(&number.to_le_bytes())),
    };
    let writes = vec![write(&funds.0, left), write(&effect.0, number_in(&effect.1) + 1)];
    (reads, writes, Outcome::Success(Encoded::from(&seq.0.to_le_bytes())))
}
