//! Leases, records on their anchor, and what need not be remembered.

use super::action::Chore;
use super::machine::Protocol;
use super::plan::Bug;
use super::run::Step;
use super::state::{
    Answer, Body, CLIENTS, Cas, Clear, Doc, Janitor, LeaseState, Never, Op, Record, Set, State,
    Write, has, members,
};
use super::turn::Turn;

impl Turn<'_> {
    /// A server that knows of a lease executes until that ends, without asking again.
    pub(super) fn is_refused_by_lease(&self, slot: usize) -> bool {
        let lease = self.state.leases[usize::from(self.plan(slot).client)];
        self.model.config.sessions && lease != LeaseState::Lasts
    }

    pub(super) fn check_session(&mut self, slot: usize) {
        if self.is_refused_by_lease(slot) {
            return self.answer(slot, Answer::Never(Never::SessionClosed));
        }
        self.begin_commit(slot);
    }

    /// Where no lease ever ends, looking at it is no step.
    pub(super) fn skip_session_check(&mut self, slot: usize) {
        if !self.model.config.sessions && self.run(slot).step == Step::CheckSession {
            self.check_session(slot);
        }
    }

    /// Writes a run's record on its anchor, with what is trimmed on the way.
    pub(super) fn write_record(&mut self, slot: usize, record: Record, body: Option<Body>) {
        let (call, plan) = (self.call(slot), self.plan(slot));
        let (place, run) = (self.place(slot), *self.run(slot));
        let server = self.model.server(self.attempt(slot));
        let cleared = self.state.cleared[server];
        let (unseen, forgets) =
            (self.has_bug(Bug::ToDoListClearedUnseen), self.has_bug(Bug::TrimmingWithoutWatermark));
        let client = usize::from(plan.client);
        let doc = &mut self.state.docs[usize::from(plan.anchor)];
        doc.there = true;
        doc.fence = None;
        doc.wish.take_if(|wish| *wish <= place);
        if let Some(body) = body {
            doc.body = body;
        }
        let entry = &mut doc.entries[client];
        entry.known = true;
        entry.incarnation = entry.incarnation.max(run.incarnation);
        entry.watermark = entry.watermark.max(run.watermark);
        apply_seen(self.model, doc, if unseen { Set::MAX } else { cleared }, 0);
        doc.records[usize::from(call)] = Some(record);
        if forgets {
            doc.entries[client].watermark = 0;
        }
        // What the anchor itself says by now need not be remembered.
        let to_do =
            |call: &u8| doc.records[usize::from(*call)].is_some_and(|record| record.to_do != 0);
        let on_other =
            |call: &u8| self.model.config.calls[usize::from(*call)].anchor != plan.anchor;
        let kept = members(cleared).filter(|call| to_do(call) || on_other(call));
        self.state.cleared[server] = kept.fold(0, |set, call| set | 1 << call);
    }

    /// Does a chore of the janitor.
    pub(super) fn tidy(mut self, chore: Chore) -> Option<State> {
        match chore {
            Chore::Collect(doc) => {
                let cas = self.state.docs[usize::from(doc)].cas();
                self.state.janitor = Janitor { at: Some((doc, cas)), cleared: 0, over: 0 };
            }
            Chore::Clear(doc, call) => {
                let stage = self.state.docs[usize::from(doc)].stage?;
                debug_assert_eq!(stage.call, call, "the chore names the stage");
                let op = Op::Clear { token: stage.token, how: Clear::Forward };
                self.apply(0, &Write { doc, over: Cas::Current, op });
            }
            Chore::SeeCleared(call) => self.state.janitor.cleared |= 1 << call,
            Chore::SeeOver(client) => self.state.janitor.over |= 1 << client,
            Chore::Write => {
                let janitor = std::mem::take(&mut self.state.janitor);
                let (doc, cas) = janitor.at?;
                if cas == self.state.docs[usize::from(doc)].cas() {
                    let found = &mut self.state.docs[usize::from(doc)];
                    apply_seen(self.model, found, janitor.cleared, janitor.over);
                    if found.is_void() {
                        *found = Doc::default();
                    }
                    self.state.touch(doc);
                }
            }
            Chore::RemoveEmpty(doc) => {
                self.state.docs[usize::from(doc)] = Doc::default();
                self.state.touch(doc);
            }
        }
        Some(self.state)
    }
}

/// Takes out of an anchor's metadata what need not be remembered: to-do lists whose stages are
/// gone, acknowledged records, clients whose sessions are over.
fn apply_seen(model: &Protocol, doc: &mut Doc, cleared: Set, over: Set) {
    for (number, place) in doc.records.iter_mut().enumerate() {
        let Some(record) = place else { continue };
        if has(cleared, number as u8) {
            record.to_do = 0;
        }
        let plan = &model.config.calls[number];
        if plan.seq < doc.entries[usize::from(plan.client)].watermark && record.to_do == 0 {
            *place = None;
        }
    }
    doc.wish.take_if(|wish| has(over, model.client(wish.call)));
    for client in 0..CLIENTS {
        let own = |number: &usize| usize::from(model.config.calls[*number].client) == client;
        let calls = || (0..model.config.calls.len()).filter(own);
        let pinned = calls().any(|call| doc.records[call].is_some_and(|record| record.to_do != 0));
        if has(over, client as u8) && !pinned {
            calls().for_each(|call| doc.records[call] = None);
            doc.entries[client] = super::state::Entry::default();
        }
    }
}

/// What the janitor can do now.
pub(super) fn chores(model: &Protocol, state: &State, chores: &mut Vec<Chore>) {
    if !model.config.sessions {
        return;
    }
    let early = model.config.bug == Some(Bug::CollectedBeforeLeaseIsOver);
    let is_over = |client: usize| early || state.leases[client] == LeaseState::Over;
    let Some((at, _)) = state.janitor.at else {
        for doc in 0..state.docs.len() as u8 {
            let found = &state.docs[usize::from(doc)];
            if (0..CLIENTS).any(|client| is_remembered(model, found, client) && is_over(client))
                && can_collect(model, state, doc)
            {
                chores.push(Chore::Collect(doc));
            }
            let is_early = model.config.bug == Some(Bug::EmptyDocumentCollectedEarly);
            if is_early && found.there && found.body == 0 && found.stage.is_none() {
                chores.push(Chore::RemoveEmpty(doc));
            }
        }
        return;
    };
    let found = &state.docs[usize::from(at)];
    for (number, record) in found.records.iter().enumerate() {
        let call = number as u8;
        let Some(record) = record.filter(|record| record.to_do != 0) else { continue };
        if has(state.janitor.cleared, call) || !looks_after(model, found, call) {
            continue;
        }
        let staged = members(record.to_do).find(|doc| {
            let stage = state.docs[usize::from(*doc)].stage;
            stage.is_some_and(|stage| Some(stage.token) == record.token)
        });
        chores.push(match staged {
            Some(doc) => Chore::Clear(doc, call),
            None => Chore::SeeCleared(call),
        });
        return;
    }
    let unseen = |client: &usize| !has(state.janitor.over, *client as u8);
    let over = (0..CLIENTS)
        .filter(|client| is_remembered(model, found, *client) && is_over(*client))
        .find(unseen);
    chores.push(over.map_or(Chore::Write, |client| Chore::SeeOver(client as u8)));
}

fn is_remembered(model: &Protocol, doc: &Doc, client: usize) -> bool {
    let wishes = doc.wish.is_some_and(|wish| usize::from(model.client(wish.call)) == client);
    doc.entries[client].known || wishes
}

/// Whether anybody looks if the stages of a record are gone.
fn looks_after(model: &Protocol, doc: &Doc, call: u8) -> bool {
    let plan = &model.config.calls[usize::from(call)];
    let below = plan.seq < doc.entries[usize::from(plan.client)].watermark;
    below || model.config.bug != Some(Bug::DeadSessionStaysPinned)
}

/// Whether looking after a document would change anything.
fn can_collect(model: &Protocol, state: &State, doc: u8) -> bool {
    let found = &state.docs[usize::from(doc)];
    found.records.iter().enumerate().all(|(call, record)| {
        record.is_none_or(|record| record.to_do == 0 || looks_after(model, found, call as u8))
    })
}
