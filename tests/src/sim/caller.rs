//! What the callers of a client do: make their calls, drop some, ask again for the unknown ones.

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bank_business::{Amount, BankClient, PageNumber, Receipt, Reference};
use rpc::client::Stub as _;
use rpc::error::{CallError, Unknown};
use rpc::id::CallId;
use rpc::schema::Message;
use rpc::{Call, Hedge};

use super::calls::reference;
use super::hub::{Hub, State};
use super::journal::WRITE_MS;
use super::plan::CallPlan;
use super::trace::Line;
use crate::history::{Ask, Ended, No, account_name};

/// One call of one client.
pub(super) struct Caller {
    pub(super) hub: Arc<Hub>,
    pub(super) bank: BankClient,
    pub(super) client: u8,
    pub(super) life: u32,
    pub(super) number: u8,
}

/// How one attempt to learn the outcome ended.
pub(super) enum Told {
    Ended(Ended),
    /// Not known yet: ask again.
    Unknown(CallId),
}

/// Which of the times is meant that a call is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    First,
    /// In the next life of its client, which remembers its name.
    InNextLife,
    Again(CallId),
}

/// How much later than its deadline and grace a call may end: its timers count whole milliseconds,
/// and there are a few of them.
const LATENESS_MS: u64 = 20;
/// How much later still where the end is written down before it is told: one write that is under
/// way, and its own.
const JOURNAL_LATENESS_MS: u64 = 4 * WRITE_MS;
/// How long a caller waits before it asks again.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(100);
/// How often a caller asks again while faults strike.
const QUESTIONS_AMID_FAULTS: u32 = 2;
/// How long calls may be asked again once no fault strikes any more, in milliseconds.
const SETTLED_WITHIN_MS: u64 = 10_000;

impl Caller {
    /// Makes the call at its time, and asks again until its outcome is known.
    pub(super) async fn run(self) {
        let (plan, asked) = self.hub.with(|state| {
            let plan = state.calls.all[usize::from(self.number)].plan;
            let is_known = state.calls.invoke(self.number, state.now);
            state.figures.gone_on_with += u64::from(is_known);
            let how = if is_known { " again, in the next life" } else { "" };
            self.say(state, || format!("{} {:?}{how}", reference(self.number), plan.ask));
            (plan, if is_known { Asked::InNextLife } else { Asked::First })
        });
        let mut told = self.ask(&plan, asked).await;
        let mut questions = 0;
        while let Some(Told::Unknown(id)) = told {
            self.hub.with(|state| {
                state.figures.unknown += 1;
                state.calls.all[usize::from(self.number)].id = Some(id);
                self.say(state, || format!("{} is unknown", reference(self.number)));
            });
            tokio::time::sleep(ASK_AGAIN_AFTER).await;
            questions += 1;
            self.wait_for_calm(questions).await;
            told = self.ask(&plan, Asked::Again(id)).await;
        }
        let ended = match told {
            Some(Told::Ended(ended)) => ended,
            _ => Ended::Dropped,
        };
        self.hub.with(|state| {
            let text = ended.to_string();
            self.say(state, || format!("{} {text}", reference(self.number)));
            state.digest(b'e', [self.number.into(), 0, 0], text.as_bytes());
            state.calls.end(self.number, ended);
        });
    }

    /// A call whose end was told in an earlier life of its client: it has ended so in this one too.
    pub(super) async fn run_again(self, known: Ended) {
        let plan = self.hub.with(|state| state.calls.all[usize::from(self.number)].plan);
        let told = self.ask(&plan, Asked::InNextLife).await;
        if !matches!(&told, Some(Told::Ended(ended)) if *ended == known) {
            self.hub.with(|state| {
                let now = match told {
                    Some(Told::Ended(ended)) => ended.to_string(),
                    _ => "unknown".to_owned(),
                };
                state.fail("the next life is told the same", || {
                    format!("{} was {known}, and is {now}", reference(self.number))
                });
            });
        }
    }

    fn say(&self, state: &mut State, text: impl FnOnce() -> String) {
        let client = self.client;
        state.trace.push(state.now, || Line::Call { client, text: text() });
    }

    async fn wait_for_calm(&self, questions: u32) {
        if questions <= QUESTIONS_AMID_FAULTS {
            return;
        }
        while self.hub.with(|state| state.faulty) {
            tokio::time::sleep(ASK_AGAIN_AFTER).await;
        }
        self.hub.with(|state| {
            let calm = state.now.saturating_sub(state.figures.calm_since);
            if calm > SETTLED_WITHIN_MS {
                state.fail("asking again settles it", || {
                    format!("{} is unknown {calm} ms after the last fault", reference(self.number))
                });
            }
        });
    }

    /// Asks once; `None`: the caller has dropped the call.
    async fn ask(&self, plan: &CallPlan, asked: Asked) -> Option<Told> {
        let name = account_name(plan.ask.anchor());
        let mine: Reference = reference(self.number).parse().expect("a short reference");
        let bank = &self.bank;
        match plan.ask {
            Ask::Open(_) => self.one(plan, asked, bank.open(name, mine), done).await,
            Ask::Deposit(_, cents) => {
                let call = bank.deposit(name, amount(cents), mine);
                self.one(plan, asked, call, done).await
            }
            Ask::Withdraw(_, cents) => {
                let call = bank.withdraw(name, amount(cents), mine);
                self.one(plan, asked, call, done).await
            }
            Ask::Transfer(_, to, cents) => {
                let call = bank.transfer(name, account_name(to), amount(cents), mine);
                self.one(plan, asked, call, done).await
            }
            Ask::Close(_) => self.one(plan, asked, bank.close(name, mine), done).await,
            Ask::Balance(_) => {
                let balance = |balance: bank_business::Balance| Ended::Balance(balance.cents());
                self.one(plan, asked, bank.balance(name), balance).await
            }
            Ask::Statement(_, page) => {
                let page = (1..page).fold(PageNumber::FIRST, |page, _| page.next());
                self.one(plan, asked, bank.statement(name, page), Ended::Page).await
            }
            Ask::Last(_) => unreachable!("plans ask for pages by their numbers"),
        }
    }

    async fn one<A: Message, T: Message, E: Message>(
        &self,
        plan: &CallPlan,
        asked: Asked,
        call: Call<A, T, E>,
        done: impl FnOnce(T) -> Ended,
    ) -> Option<Told>
    where
        No: From<E>,
    {
        // Who asks again wants to know, and takes the time for it.
        let is_first = asked == Asked::First;
        let deadline_ms = if is_first { plan.deadline_ms } else { plan.deadline_ms.max(2_000) };
        let mut call = call.deadline(Duration::from_millis(deadline_ms.into()));
        if plan.hedge_ms > 0 {
            call = call.hedge(Hedge::After(Duration::from_millis(plan.hedge_ms.into())));
        }
        let (began, remembers) =
            self.hub.with(|state| (state.now, state.calls.remembers(self.client)));
        if remembers && plan.ask.is_write() {
            call = call.named(reference(self.number));
        } else if let Asked::Again(id) = asked {
            call = call.ask_again(id);
        }
        let ended = self.until_dropped(plan, is_first, call).await?;
        self.hub.with(|state| {
            let took = state.now - began;
            let grace = super::clients::SETTLE_GRACE.as_millis() as u64;
            let lateness = LATENESS_MS + if remembers { JOURNAL_LATENESS_MS } else { 0 };
            let most = u64::from(deadline_ms) + grace + lateness;
            if took > most {
                let number = reference(self.number);
                state.fail("a call ends in time", || format!("{number} took {took} of {most} ms"));
            }
        });
        if let Err(CallError::OutcomeUnknown(_, Unknown::JournalFailed(_))) = ended {
            // Its client is dead, and it is about to go too.
            std::future::pending::<()>().await;
        }
        Some(match ended {
            Ok(value) => Told::Ended(done(value)),
            Err(CallError::Business(error)) => Told::Ended(Ended::No(error.into())),
            Err(CallError::NotExecuted(why)) => Told::Ended(Ended::NotExecuted(why.to_string())),
            Err(CallError::OutcomeUnknown(id, Unknown::NoAnswer)) => Told::Unknown(id),
            Err(CallError::OutcomeUnknown(_, why)) => Told::Ended(Ended::Lost(why.to_string())),
            // A new sort of answer: the lists tell at least whether it happened twice.
            Err(_) => Told::Ended(Ended::Lost("in a way that no rule knows".to_owned())),
        })
    }

    async fn until_dropped<F: Future + Unpin>(
        &self,
        plan: &CallPlan,
        may_drop: bool,
        mut call: F,
    ) -> Option<F::Output> {
        let after = Duration::from_millis(plan.drop_ms.into());
        let mut timer = pin!((may_drop && plan.drop_ms > 0).then(|| tokio::time::sleep(after)));
        std::future::poll_fn(|context| {
            let polled = pin!(&mut call).poll(context);
            self.learn_number();
            if let Poll::Ready(ended) = polled {
                return Poll::Ready(Some(ended));
            }
            let mut is_due =
                self.hub.with(|state| state.calls.is_to_drop(self.number, context.waker()));
            if let Some(timer) = timer.as_mut().as_pin_mut() {
                is_due |= timer.poll(context).is_ready();
            }
            if is_due { Poll::Ready(None) } else { Poll::Pending }
        })
        .await
    }
}

impl Caller {
    /// Notes which number the call has, where that is in its client's journal.
    fn learn_number(&self) {
        if !self.hub.with(|state| state.calls.remembers(self.client)) {
            return;
        }
        let name = reference(self.number);
        let journalled = self.bank.client().journalled();
        let its = journalled.iter().find(|call| call.name.as_ref() == Some(&name));
        if let Some(call) = its {
            let (client, life, seq) = (self.client, self.life, call.id.seq.0);
            self.hub.with(|state| state.calls.learn(client, life, seq, self.number));
        }
    }
}

fn amount(cents: u16) -> Amount {
    Amount::from_cents(cents.into()).expect("plans have amounts above zero")
}

fn done(receipt: Receipt) -> Ended {
    Ended::Done { reference: receipt.reference.into(), balance: receipt.balance.cents() }
}
