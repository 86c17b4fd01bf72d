//! Counts the panics of each thread, those in tasks among them, which a runtime swallows.

use std::cell::{Cell, RefCell};
use std::sync::Once;

thread_local! {
    /// Whether panics of this thread are expected, and so not printed.
    static QUIET: Cell<bool> = const { Cell::new(false) };
    static COUNT: Cell<u32> = const { Cell::new(0) };
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// How often this thread has panicked since somebody first asked.
pub(crate) fn count() -> u32 {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            COUNT.set(COUNT.get() + 1);
            LAST.set(Some(info.to_string()));
            if !QUIET.get() {
                print(info);
            }
        }));
    });
    COUNT.get()
}

/// What the last panic of this thread said.
pub(crate) fn last() -> Option<String> {
    LAST.take()
}

/// Whether panics of this thread are expected now.
pub(crate) fn are_expected() -> bool {
    QUIET.get()
}

/// Does not print the panics of this thread while `act` runs: they are expected.
pub(crate) fn quietly<T>(act: impl FnOnce() -> T) -> T {
    let before = QUIET.replace(true);
    let done = act();
    QUIET.set(before);
    done
}
