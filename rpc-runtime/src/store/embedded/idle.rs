//! How the writer thread waits for work: it looks for it for a moment before it sleeps, as long as
//! that pays.
//!
//! Who commits alone commits again soon after a flush has ended. To put the thread to sleep and to
//! wake it would take longer than that.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long it looks: about what a sleep and a wake-up cost.
const LIMIT: Duration = Duration::from_micros(60);
/// After it has looked in vain it sleeps at once so many times. So looking costs an idle or a slow
/// caller's store at most four microseconds of CPU time a wait.
const REST: u32 = 16;

/// What the writer thread does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writer {
    Works,
    /// It looks at a [`Sign`] for work.
    Looks,
    /// It must be woken for work.
    Sleeps,
}

/// Tells a writer thread that looks that there is work. Only a hint: what there is, the state
/// tells, under its lock.
#[derive(Debug, Default)]
pub(super) struct Sign(AtomicBool);

impl Sign {
    pub(super) fn show(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Whether looking has paid lately; the writer thread's own.
#[derive(Debug, Default)]
pub(super) struct Looks {
    /// How many times it is to sleep at once.
    rest: u32,
}

impl Looks {
    /// Whether to look before the next sleep.
    pub(super) fn pay(&mut self) -> bool {
        let pay = self.rest == 0;
        self.rest = self.rest.saturating_sub(1);
        pay
    }

    /// Looks for the sign and takes it down. Others that want the core get it.
    pub(super) fn look(&mut self, sign: &Sign) {
        let begun = Instant::now();
        while !sign.0.swap(false, Ordering::Acquire) {
            if begun.elapsed() > LIMIT {
                self.rest = REST;
                return;
            }
            std::thread::yield_now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_looks_again_at_once_only_where_that_has_paid() {
        let (mut looks, sign) = (Looks::default(), Sign::default());
        for _ in 0..3 {
            assert!(looks.pay());
            sign.show();
            looks.look(&sign);
        }
        assert!(looks.pay());
        looks.look(&sign);
        let slept = (0..).take_while(|_| !looks.pay()).count();
        assert_eq!(slept, REST as usize);
    }
}
