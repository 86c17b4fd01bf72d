//! What can happen.

/// A request on its way, or its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Letter {
    pub(super) call: u8,
    /// Where it lies.
    pub(super) place: u8,
    /// Which life of the client has sent it, from 0.
    pub(super) life: u8,
    pub(super) attempt: u8,
}

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallsAction {
    /// The client sends the next attempt of a call to a server.
    Send(u8, u8),
    /// Its caller drops or cancels a call.
    Drop(u8),
    /// The cancellation of a call reaches the server that it went to.
    Cancel(u8),
    /// An acknowledgement, sent alone, reaches a server.
    Ack(u8),
    /// A request reaches its server.
    Request(Letter),
    /// A request reaches its server, which refuses it.
    Refuse(Letter),
    /// A request or its response gets lost.
    Lose(Letter),
    /// A response reaches the client.
    Response(Letter),
    /// A server does the next step of a call's run.
    Run(u8, u8),
    /// The run's commit is done or not, and the store does not say.
    RunUnknown(u8, u8, bool),
    /// The commit of a run that was stopped gets to the store; whether the server hears of it.
    Stray(u8, u8, bool),
    /// A call's deadline passes on a server.
    Deadline(u8, u8),
    /// A server forgets a response that was not acknowledged.
    Forget(u8, u8),
    /// A server crashes.
    Crash(u8),
    /// Somebody else's deposit.
    Deposit,
    /// A caller makes the call of this name, which gets this number.
    Make(u8, u8),
    /// The next attempt of a call is to be written down.
    AskAttempt(u8),
    /// The journal is given all that waits to be written.
    Write,
    /// What it was given is durable.
    Written,
    /// The client crashes, with what it was writing written or not, and comes back.
    ClientCrash(bool),
    /// The caller of an ended call lets go of its name.
    ForgetName(u8),
}

impl CallsAction {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            CallsAction::Send(..) => "send",
            CallsAction::Drop(_) => "drop",
            CallsAction::Cancel(_) => "handle_cancel",
            CallsAction::Ack(_) => "handle_ack",
            CallsAction::Request(_) => "handle_request",
            CallsAction::Refuse(_) => "refuse",
            CallsAction::Lose(_) => "lose",
            CallsAction::Response(_) => "handle_response",
            CallsAction::Run(..) => "run",
            CallsAction::RunUnknown(..) => "run: unknown",
            CallsAction::Stray(..) => "a stopped run's commit",
            CallsAction::Deadline(..) => "handle_timeout",
            CallsAction::Forget(..) => "forget_oldest",
            CallsAction::Crash(_) => "crash",
            CallsAction::Deposit => "deposit",
            CallsAction::Make(..) => "start_journalled",
            CallsAction::AskAttempt(_) => "must_journal_attempt",
            CallsAction::Write => "poll_journal",
            CallsAction::Written => "handle_journalled",
            CallsAction::ClientCrash(_) => "the client crashes",
            CallsAction::ForgetName(_) => "forget_named",
        }
    }

    pub(super) fn describe(&self) -> String {
        let at = |server: &u8| format!("server {}", server + 1);
        match self {
            CallsAction::Send(call, server) => format!("send: call {} to {}", call + 1, at(server)),
            CallsAction::Request(letter)
            | CallsAction::Refuse(letter)
            | CallsAction::Lose(letter)
            | CallsAction::Response(letter) => {
                let Letter { call, life, attempt, .. } = letter;
                let life = if *life > 0 { format!(" of life {}", life + 1) } else { String::new() };
                format!("{}: call {}, attempt {attempt}{life}", self.kind(), call + 1)
            }
            CallsAction::Run(server, call)
            | CallsAction::Deadline(server, call)
            | CallsAction::Forget(server, call) => {
                format!("{}, call {}: {}", at(server), call + 1, self.kind())
            }
            CallsAction::RunUnknown(server, call, done) => {
                let done = if *done { "done" } else { "not done" };
                format!("{}, call {}: commit {done}, answer unknown", at(server), call + 1)
            }
            CallsAction::Stray(server, call, heard) => {
                let heard = if *heard { "heard" } else { "not heard" };
                format!("{}, call {}: {}, {heard}", at(server), call + 1, self.kind())
            }
            CallsAction::Drop(call)
            | CallsAction::Cancel(call)
            | CallsAction::AskAttempt(call)
            | CallsAction::ForgetName(call) => {
                format!("{}: call {}", self.kind(), call + 1)
            }
            CallsAction::Ack(server) | CallsAction::Crash(server) => {
                format!("{}: {}", self.kind(), at(server))
            }
            CallsAction::Deposit => "a deposit".to_owned(),
            CallsAction::Make(name, call) => {
                format!("{}: {} as call {}", self.kind(), named(*name), call + 1)
            }
            CallsAction::ClientCrash(written) => {
                let written = if *written { "the batch is written" } else { "no batch is written" };
                format!("{}: {written}", self.kind())
            }
            CallsAction::Write | CallsAction::Written => self.kind().to_owned(),
        }
    }
}

/// The name that a call is made under.
pub(super) fn named(name: u8) -> char {
    char::from(b'A' + name)
}
