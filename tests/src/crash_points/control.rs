//! Counts the steps of all servers of a run, and strikes at the points that were planned.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rpc::testing::FrameView;
use tokio::sync::{Notify, mpsc, watch};

use super::step::{Blow, Point, Side, Step, side_of};
use crate::world::{Fate, Frame};

/// More steps than any run takes; one that takes more does not end.
const MAX_STEPS: u64 = 20_000;

/// One life of a server: from its start to its crash.
#[derive(Clone, Debug)]
pub(super) struct Life {
    pub(super) server: Arc<str>,
    /// Unlike that of any other life.
    pub(super) number: u64,
    frozen: watch::Sender<bool>,
}

/// What a server, or the store on its behalf, is to do at a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Go,
    /// Its life is over.
    Never,
    Strike(Blow, Side),
}

/// What has been struck, for whoever must act on it.
#[derive(Clone, Debug)]
pub(super) enum Struck {
    Crash(Arc<str>),
    Stall(Arc<str>),
}

/// Steps and blows of one run.
#[derive(Debug)]
pub(super) struct Control {
    state: Mutex<State>,
    struck: mpsc::UnboundedSender<Struck>,
    /// Told when the caller is to drop its call.
    pub(super) drop_call: Notify,
    /// Changes whenever a server is welcomed, or crashes.
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    blow: Blow,
    plan: Vec<Point>,
    /// Whether steps count now.
    armed: bool,
    next: usize,
    /// Steps since the last blow.
    since: Vec<Step>,
    hit: Vec<(Step, Side)>,
    /// By server: the life that it has now, unless it is down.
    alive: Vec<Life>,
    lives: u64,
    /// Servers that have welcomed the client in this life.
    welcomed: BTreeSet<Arc<str>>,
    /// Whether the very first request is lost on its way.
    loses_first: bool,
    /// Whether the server crashes that first answers with what it has recorded.
    crashes_at_answer: bool,
    /// Whether goodbyes are lost.
    loses_goodbyes: bool,
    /// Whether nothing comes from the client any more, nor gets there.
    is_client_gone: bool,
    total: u64,
    endless: bool,
}

impl Control {
    pub(super) fn new(
        blow: Blow,
        plan: &[Point],
    ) -> (Arc<Control>, mpsc::UnboundedReceiver<Struck>) {
        let (struck, events) = mpsc::unbounded_channel();
        let state = State { blow, plan: plan.to_vec(), ..State::default() };
        let control = Control {
            state: Mutex::new(state),
            struck,
            drop_call: Notify::new(),
            changes: watch::Sender::new(0),
        };
        (Arc::new(control), events)
    }

    /// A server starts.
    pub(super) fn begin_life(&self, server: &str) -> Life {
        let mut state = self.lock();
        state.lives += 1;
        let life =
            Life { server: server.into(), number: state.lives, frozen: watch::Sender::new(false) };
        state.alive.push(life.clone());
        life
    }

    /// Loses the very first request of all on its way.
    pub(super) fn lose_first_request(&self) {
        self.lock().loses_first = true;
    }

    /// Lets the server crash that first answers with what it has recorded, in place of its answer.
    pub(super) fn crash_at_answer(&self) {
        self.lock().crashes_at_answer = true;
    }

    /// Loses all goodbyes from now on.
    pub(super) fn lose_goodbyes(&self) {
        self.lock().loses_goodbyes = true;
    }

    pub(super) fn is_alive(&self, life: &Life) -> bool {
        self.lock().alive.iter().any(|alive| alive.number == life.number)
    }

    /// Steps count from now on.
    pub(super) fn arm(&self) {
        self.lock().armed = true;
    }

    /// Nothing happens to anybody any more.
    pub(super) fn disarm(&self) {
        self.lock().armed = false;
    }

    /// The steps since the last blow.
    pub(super) fn steps(&self) -> Vec<Step> {
        self.lock().since.clone()
    }

    /// What was struck.
    pub(super) fn hit(&self) -> Vec<(Step, Side)> {
        self.lock().hit.clone()
    }

    /// Whether all that was planned has happened.
    pub(super) fn is_through(&self) -> bool {
        let state = self.lock();
        state.next == state.plan.len()
    }

    pub(super) fn is_endless(&self) -> bool {
        self.lock().endless
    }

    /// A store operation of a server.
    pub(super) fn take(&self, life: &Life, step: Step) -> Verdict {
        let mut state = self.lock();
        if !state.alive.iter().any(|alive| alive.number == life.number) {
            return Verdict::Never;
        }
        self.strike(&mut state, &life.server, step)
    }

    /// A frame from or to a server.
    pub(super) fn judge(&self, frame: &Frame) -> Fate {
        let mut state = self.lock();
        let Some(life) = state.alive.iter().find(|life| *life.server == *frame.server) else {
            return Fate::CutBefore;
        };
        let server = Arc::clone(&life.server);
        if state.loses_first && frame.is_any_request() {
            state.loses_first = false;
            return Fate::Lose;
        }
        if state.crashes_at_answer && frame.is_committed() {
            state.crashes_at_answer = false;
            self.crash(&mut state, &server);
            return Fate::CutBefore;
        }
        if state.is_client_gone {
            return Fate::Lose;
        }
        if state.loses_goodbyes && frame.view == FrameView::Bye {
            return Fate::Lose;
        }
        let step = Step::of(frame.direction, &frame.view);
        let fate = match self.strike(&mut state, &server, step) {
            Verdict::Go | Verdict::Strike(Blow::Drop, _) => Fate::Deliver,
            Verdict::Never | Verdict::Strike(Blow::Crash, Side::Before) => Fate::CutBefore,
            Verdict::Strike(Blow::Crash, Side::After) => Fate::CutAfter,
            Verdict::Strike(Blow::Stall | Blow::Outlive, Side::Before) => Fate::Hold,
            Verdict::Strike(Blow::Stall | Blow::Outlive, Side::After) => Fate::Deliver,
            Verdict::Strike(Blow::Trouble, Side::Before) => Fate::Lose,
            // A handshake is one frame each way; no transport repeats one.
            Verdict::Strike(Blow::Trouble, Side::After) => match step {
                Step::Hello | Step::Welcome | Step::Bye | Step::OtherFrame => Fate::CutAfter,
                _ => Fate::Twice,
            },
        };
        if matches!(frame.view, FrameView::Welcome { .. }) && fate != Fate::CutBefore {
            state.welcomed.insert(server);
            self.changes.send_modify(|count| *count += 1);
        }
        fate
    }

    /// Waits until every one of these servers has welcomed the client in its present life.
    pub(super) async fn until_connected(&self, servers: &[&str]) {
        let mut changes = self.changes.subscribe();
        let all = |state: &State| servers.iter().all(|server| state.welcomed.contains(*server));
        while !all(&self.lock()) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Lets all go on that stand still.
    pub(super) fn thaw(&self) {
        for life in &self.lock().alive {
            life.frozen.send_replace(false);
        }
    }

    fn strike(&self, state: &mut State, server: &Arc<str>, step: Step) -> Verdict {
        state.total += 1;
        if state.total > MAX_STEPS {
            state.endless = true;
            return Verdict::Never;
        }
        if !state.armed {
            return Verdict::Go;
        }
        let number = state.since.len() as Point;
        state.since.push(step);
        let Some(point) = state.plan.get(state.next).copied().filter(|at| at / 2 == number) else {
            return Verdict::Go;
        };
        state.next += 1;
        state.since.clear();
        state.hit.push((step, side_of(point)));
        match state.blow {
            Blow::Crash => self.crash(state, server),
            Blow::Stall => {
                for life in state.alive.iter().filter(|life| life.server == *server) {
                    life.frozen.send_replace(true);
                }
                let _nobody_freezes_it = self.struck.send(Struck::Stall(Arc::clone(server)));
            }
            Blow::Outlive => {
                for life in state.alive.iter().filter(|life| life.server == *server) {
                    life.frozen.send_replace(true);
                }
                state.is_client_gone = true;
                self.drop_call.notify_one();
            }
            Blow::Drop => self.drop_call.notify_one(),
            Blow::Trouble => {}
        }
        Verdict::Strike(state.blow, side_of(point))
    }

    fn crash(&self, state: &mut State, server: &Arc<str>) {
        state.alive.retain(|life| life.server != *server);
        state.welcomed.remove(server);
        let _nobody_restarts_it = self.struck.send(Struck::Crash(Arc::clone(server)));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Life {
    /// Waits while the server stands still.
    pub(super) async fn thawed(&self) {
        let mut frozen = self.frozen.subscribe();
        let _over = frozen.wait_for(|frozen| !*frozen).await;
    }
}
