//! Looks after worlds that spin: their clock stands still, so nothing within them can notice.
//!
//! A thread of its own wakes every running world now and then. A world that has not moved between
//! two of these is stuck. Waking does nothing else to it, so it changes no world that goes on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError, Weak};
use std::task::Waker;
use std::time::Duration;

/// One world's watch; the thread forgets it when it is dropped.
#[derive(Debug, Default)]
pub(super) struct Watch {
    rings: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

static WATCHES: Mutex<Vec<Weak<Watch>>> = Mutex::new(Vec::new());

/// How often worlds are looked at: much longer than any takes.
const PERIOD: Duration = Duration::from_secs(4);

impl Watch {
    pub(super) fn begin() -> Arc<Watch> {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            std::thread::spawn(ring_for_ever);
        });
        let watch = Arc::new(Watch::default());
        let mut watches = WATCHES.lock().unwrap_or_else(PoisonError::into_inner);
        watches.retain(|watch| watch.strong_count() > 0);
        watches.push(Arc::downgrade(&watch));
        watch
    }

    /// Whether it rings; registers who is woken when it does.
    pub(super) fn rings(&self, waker: &Waker) -> bool {
        let mut known = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
        self.rings.swap(false, Ordering::AcqRel)
    }
}

fn ring_for_ever() {
    loop {
        std::thread::sleep(PERIOD);
        let watches = WATCHES.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for watch in watches.iter().filter_map(Weak::upgrade) {
            watch.rings.store(true, Ordering::Release);
            let waker = watch.waker.lock().unwrap_or_else(PoisonError::into_inner).clone();
            waker.inspect(Waker::wake_by_ref);
        }
    }
}
