//! Whether a connection that has nothing to read asks once more before it sleeps.
//!
//! With many calls in flight the next answers are there, nearly always, before a sleep and a wake-up
//! would have passed; and while the client sleeps, the server runs out of requests and sleeps, too. So
//! the connection lets other tasks have their turn and asks again, a number of times. Where that was
//! in vain it is done less and less often, so that a slow server costs next to nothing.
//!
//! Only on a runtime of one thread: one of several wakes another thread for a task that has yielded, and
//! the connection would wander between them.

use tokio::runtime::{Handle, RuntimeFlavor};

/// With fewer calls in flight than this, an answer is a matter of how fast the server is.
const ENOUGH_CALLS: u64 = 16;
/// How often it asks before it sleeps: some 100 µs, two or three times what a sleep and a wake-up take.
/// (The runtime looks at its sockets at every sixtieth turn or so.) With a quarter of it, 64 calls in
/// flight were made half as fast; with four times as much, no faster.
const TURNS: u32 = 1024;
/// The most sleeps in a row that begin without asking, where asking was in vain.
const MAX_SKIPPED: u32 = 64;

/// How much a connection expects of asking.
#[derive(Debug)]
pub(super) struct Patience {
    /// How often it will ask before it sleeps, if it has begun to.
    left: Option<u32>,
    /// How many sleeps begin without asking.
    skipped: u32,
    /// How many will the next time that it was in vain.
    to_skip: u32,
    /// Whether the runtime has but one thread.
    has_one_thread: bool,
}

impl Patience {
    /// That of a connection of this task's runtime.
    pub(super) fn here() -> Patience {
        Patience::with(Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread)
    }

    fn with(has_one_thread: bool) -> Patience {
        Patience { left: None, skipped: 0, to_skip: 1, has_one_thread }
    }

    /// There is nothing to read: whether to ask again instead of going to sleep.
    pub(super) fn asks_again(&mut self, calls_in_flight: u64) -> bool {
        match &mut self.left {
            Some(0) => {
                self.left = None;
                self.skipped = self.to_skip;
                self.to_skip = (2 * self.to_skip).min(MAX_SKIPPED);
                false
            }
            Some(left) => {
                *left -= 1;
                true
            }
            None if self.skipped > 0 => {
                self.skipped -= 1;
                false
            }
            None if calls_in_flight >= ENOUGH_CALLS && self.has_one_thread => {
                self.left = Some(TURNS);
                true
            }
            None => false,
        }
    }

    /// There was something to read.
    pub(super) fn was_answered(&mut self) {
        if self.left.take().is_some() {
            self.to_skip = 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks until it sleeps, and says how often it asked.
    fn ask(patience: &mut Patience, calls_in_flight: u64) -> u32 {
        let mut asked = 0;
        while patience.asks_again(calls_in_flight) {
            asked += 1;
        }
        asked
    }

    #[test]
    fn few_calls_are_not_worth_asking() {
        let mut patience = Patience::with(true);
        assert_eq!(ask(&mut patience, ENOUGH_CALLS - 1), 0);
        assert_eq!(ask(&mut patience, ENOUGH_CALLS), TURNS + 1);
    }

    #[test]
    fn nobody_asks_on_several_threads() {
        assert_eq!(ask(&mut Patience::with(false), u64::MAX), 0);
    }

    #[test]
    fn who_asks_in_vain_asks_less_and_less() {
        let mut patience = Patience::with(true);
        let sleeps = 100 * MAX_SKIPPED;
        let asking = (0..sleeps).filter(|_| ask(&mut patience, ENOUGH_CALLS) > 0).count() as u32;
        assert!(asking <= sleeps / MAX_SKIPPED + MAX_SKIPPED.ilog2() + 1, "{asking} of {sleeps}");
        assert!(asking >= sleeps / MAX_SKIPPED - 1, "it never gives up asking: {asking}");
    }

    #[test]
    fn an_answer_makes_it_ask_again() {
        let mut patience = Patience::with(true);
        let asks = |patience: &mut Patience| patience.asks_again(ENOUGH_CALLS);
        for _ in 0..10 * MAX_SKIPPED {
            ask(&mut patience, ENOUGH_CALLS);
        }
        while !asks(&mut patience) {}
        patience.was_answered();
        assert_eq!(ask(&mut patience, ENOUGH_CALLS), TURNS + 1);
        patience.was_answered();
        assert_eq!(ask(&mut patience, ENOUGH_CALLS), 0, "once in vain, once not");
        assert_eq!(ask(&mut patience, ENOUGH_CALLS), TURNS + 1);
    }
}
