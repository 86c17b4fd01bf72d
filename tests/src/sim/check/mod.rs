//! What must be true of all that happened in a world.
//!
//! | file | what it checks |
//! | --- | --- |
//! | `lists.rs` | each call stands in the statements as often as its caller was told; no money is made |
//! | `order.rs` | there is one order of all calls that explains every result (by the statements) |
//! | `teller.rs` | the bank as a sequential object, and the same by an independent checker |
//! | `sessions.rs` | nothing is executed for a session that is over |
//!
//! What can be seen while it happens is checked there: that a call ends in time (`caller.rs`), that
//! every retry gets the same bytes (`network.rs`), that memory is bounded (`world.rs`).

mod lists;
mod order;
mod sessions;
mod teller;
#[cfg(test)]
mod tests;

use super::Figures;
use super::books::Book;
use super::calls::{Ended, Made, No};
use super::plan::{Ask, Plan};
use super::store::Change;

/// All that was seen of a world.
pub(super) struct Seen<'a> {
    pub(super) plan: &'a Plan,
    pub(super) calls: &'a [Made],
    pub(super) books: &'a [Option<Book>],
    pub(super) log: &'a [Change],
}

/// A rule that was broken, and how.
pub(super) type Broken = (&'static str, String);

/// What was asked and answered, as a checker of orders wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Operation {
    pub(super) number: u8,
    pub(super) ask: Ask,
    pub(super) invoked: u64,
    /// Never: the operation may take effect at any time after it was asked for.
    pub(super) returned: Option<u64>,
    pub(super) answer: Answer,
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It took effect; the balance of the anchor after it, in cents.
    Done(u64),
    /// It took effect, and nobody was told.
    Unheard,
    Balance(u64),
    /// The calls and balances on a page, and whether there is a next one.
    Page(Vec<Line>, bool),
    No(No),
}

/// A line of a statement: the call, and the balance after it.
pub(super) type Line = (u16, u64);

/// Checks everything.
pub(super) fn all(seen: &Seen<'_>, figures: &mut Figures) -> Result<(), Broken> {
    sessions::check(seen, figures)?;
    let taken = lists::check(seen)?;
    if !is_within_margin(seen.plan) {
        // Records of a session may go while a server still runs its calls: once is not promised.
        return Ok(());
    }
    let operations = operations(seen.calls, &taken);
    let statements = order::Statements::of(seen.plan, seen.books);
    order::check(&statements, &operations)?;
    if operations.len() <= teller::MOST_OPERATIONS {
        teller::check(seen.plan, &operations)?;
    }
    Ok(())
}

/// Whether the wall clocks keep to what leases need.
pub(super) fn is_within_margin(plan: &Plan) -> bool {
    let (least, most) = (plan.skew_ms.iter().min(), plan.skew_ms.iter().max());
    let margin = rpc::store::Lease::MARGIN.as_millis() as i64;
    least.zip(most).is_none_or(|(least, most)| i64::from(*most) - i64::from(*least) <= margin)
}

/// The calls that took effect or saw something. `taken`: those that stand in statements.
fn operations(calls: &[Made], taken: &[bool]) -> Vec<Operation> {
    let operation = |(number, call): (usize, &Made)| {
        let answer = match &call.ended {
            Some(Ended::Done { balance, .. }) => Answer::Done(*balance),
            Some(Ended::Balance(cents)) => Answer::Balance(*cents),
            Some(Ended::Page(page)) => {
                let lines = page.entries.iter().map(lists::line).collect();
                Answer::Page(lines, page.next.is_some())
            }
            Some(Ended::No(no)) => Answer::No(no.clone()),
            _ if taken[number] => Answer::Unheard,
            _ => return None,
        };
        let returned = call.returned.filter(|_| answer != Answer::Unheard);
        let (number, ask) = (number as u8, call.plan.ask);
        Some(Operation { number, ask, invoked: call.invoked?, returned, answer })
    };
    calls.iter().enumerate().filter_map(operation).collect()
}
