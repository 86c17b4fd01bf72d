//! The wait until changes are durable, shared by all who wait for the same changes; and the answers
//! that hold only from then on.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use super::{Committed, StoreError};

/// What went wrong, as a [`StoreError`] carries it.
type Cause = Arc<dyn std::error::Error + Send + Sync>;

/// The wait until some changes are durable.
#[derive(Debug, Default)]
pub(crate) struct Flush {
    end: OnceLock<Result<(), FlushError>>,
    waiters: Mutex<Waiters>,
    /// Whether it has ended and somebody waits who was not woken.
    has_rest: AtomicBool,
}

/// Who is to be woken when a flush ends.
#[derive(Debug, Default)]
struct Waiters {
    /// `None` where somebody waits no more.
    wakers: Vec<Option<Waker>>,
    /// Where in the list that is.
    free: Vec<usize>,
}

/// Somebody's wait for a flush.
#[derive(Debug)]
struct Wait {
    flush: Arc<Flush>,
    /// The place of its waker in the list, from the first time that it was pending.
    place: Option<usize>,
}

/// The wait until a [`Deferred`] answer has ended, apart from it.
#[derive(Debug)]
pub(crate) struct Ended {
    wait: Wait,
    /// Who has the flush begin, until it was told to.
    store: Option<Arc<dyn BeginFlush>>,
}

/// How a flush ended that did not make its changes durable.
#[derive(Clone, Debug)]
pub(crate) enum FlushError {
    /// Certainly nothing of them is in the files.
    NotWritten(Cause),
    /// They may be in the files, whole, or not at all.
    Unknown(Cause),
}

/// An answer that a store knows, and that holds once what it rests on is durable.
///
/// Whoever has many of them waits for their flushes instead of for each: one wake-up tells of all
/// that became durable together.
#[derive(Debug)]
pub struct Deferred<T> {
    answer: T,
    wait: Wait,
    /// The answer if the flush fails.
    failed: fn(FlushError) -> T,
    /// Who must see to it that the flush begins; `None` if somebody does already.
    /// Boxed, since it is rare, and answers are moved a lot.
    beginner: Option<Box<Beginner>>,
}

/// The wait until what was applied is durable, for an answer that is kept elsewhere.
#[derive(Debug)]
pub struct UntilDurable {
    flush: Arc<Flush>,
    /// As for [`Deferred`].
    beginner: Option<Box<Beginner>>,
}

/// What can begin a flush.
pub(crate) trait BeginFlush: std::fmt::Debug + Send + Sync {
    /// Makes the changes durable before it returns, if that is not left to somebody else.
    fn begin_here(&self);

    /// Leaves it to somebody else.
    fn begin_elsewhere(&self);
}

/// Begins a flush at the latest when it is dropped, so that nothing that was applied stays behind.
#[derive(Debug)]
struct Beginner {
    store: Arc<dyn BeginFlush>,
    flush: Arc<Flush>,
}

impl Drop for Beginner {
    fn drop(&mut self) {
        if !self.flush.has_ended() {
            self.store.begin_elsewhere();
        }
    }
}

impl Flush {
    /// Says how the flush ended. Only the first end counts.
    pub(crate) fn finish(&self, end: Result<(), FlushError>) {
        if self.end.set(end).is_err() {
            return;
        }
        self.wake_all();
    }

    /// Says that the changes are durable, and wakes one of those who wait. It wakes the others when it
    /// is polled, or gone: where they are on its thread, that is cheaper by far than from another one.
    ///
    /// Whoever says so must [`wake_rest`](Flush::wake_rest) before long, whatever becomes of the one.
    pub(crate) fn finish_and_wake_one(&self) {
        // Before the end can be seen: whoever sees it by chance, and is the one, has the others woken.
        self.has_rest.store(true, Ordering::Release);
        if self.end.set(Ok(())).is_err() {
            return;
        }
        let first = self.waiters().wakers.iter_mut().find_map(Option::take);
        if let Some(first) = first {
            first.wake();
        }
    }

    /// Wakes those who were not woken when it ended.
    pub(crate) fn wake_rest(&self) {
        if self.has_rest.load(Ordering::Acquire) && self.has_rest.swap(false, Ordering::AcqRel) {
            self.wake_all();
        }
    }

    /// Wakes all who wait. It has ended, so whoever comes later does not.
    fn wake_all(&self) {
        let waiters = std::mem::take(&mut *self.waiters());
        waiters.wakers.into_iter().flatten().for_each(Waker::wake);
    }

    fn has_ended(&self) -> bool {
        self.end.get().is_some()
    }

    // It is whole whatever panicked.
    fn waiters(&self) -> MutexGuard<'_, Waiters> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiters {
    fn add(&mut self, waker: Waker) -> usize {
        match self.free.pop() {
            Some(place) => {
                self.wakers[place] = Some(waker);
                place
            }
            None => {
                self.wakers.push(Some(waker));
                self.wakers.len() - 1
            }
        }
    }

    fn renew(&mut self, place: usize, waker: &Waker) {
        match &mut self.wakers[place] {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }

    fn remove(&mut self, place: usize) -> Option<Waker> {
        self.free.push(place);
        self.wakers[place].take()
    }
}

impl Wait {
    fn of(flush: Arc<Flush>) -> Wait {
        Wait { flush, place: None }
    }

    fn poll(&mut self, context: &Context<'_>) -> Poll<()> {
        if self.flush.has_ended() {
            self.flush.wake_rest();
            return Poll::Ready(());
        }
        let mut waiters = self.flush.waiters();
        // The list is taken after the end is set: with none set yet, the waker is in time.
        if self.flush.has_ended() {
            return Poll::Ready(());
        }
        match self.place {
            Some(place) => waiters.renew(place, context.waker()),
            None => self.place = Some(waiters.add(context.waker().clone())),
        }
        Poll::Pending
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let Some(place) = self.place else { return };
        if self.flush.has_ended() {
            return self.flush.wake_rest();
        }
        let mut waiters = self.flush.waiters();
        if self.flush.has_ended() {
            drop(waiters);
            return self.flush.wake_rest();
        }
        let waker = waiters.remove(place);
        drop(waiters);
        drop(waker);
    }
}

impl Future for Ended {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if let Some(store) = self.store.take() {
            store.begin_here();
        }
        // How it ended, the answer tells.
        self.wait.poll(context)
    }
}

impl FlushError {
    /// What a write is told.
    fn for_write(self) -> StoreError {
        match self {
            FlushError::NotWritten(cause) => StoreError::Unavailable { cause },
            FlushError::Unknown(cause) => StoreError::Unknown { cause },
        }
    }

    /// What an operation is told that itself changes nothing.
    fn for_read(self) -> StoreError {
        let (FlushError::NotWritten(cause) | FlushError::Unknown(cause)) = self;
        StoreError::Unavailable { cause }
    }
}

impl UntilDurable {
    /// The wait for this flush; whoever waits first has it begun by that store.
    #[cfg(feature = "embedded")]
    pub(super) fn new(flush: Arc<Flush>, store: Option<Arc<dyn BeginFlush>>) -> UntilDurable {
        let beginner = store.map(|store| Box::new(Beginner { store, flush: Arc::clone(&flush) }));
        UntilDurable { flush, beginner }
    }

    /// That it is durable, if it is by now, or why it is not.
    pub(crate) fn end(&self) -> Option<Result<Committed<()>, StoreError>> {
        let end = self.flush.end.get()?;
        Some(match end {
            Ok(()) => Ok(Committed::new(())),
            Err(error) => Err(error.clone().for_write()),
        })
    }

    /// Whether there is an end by now.
    pub(crate) fn has_ended(&self) -> bool {
        self.flush.has_ended()
    }

    /// The wait for it.
    pub(crate) fn ended(&self) -> Ended {
        let store = self.beginner.as_ref().map(|beginner| Arc::clone(&beginner.store));
        Ended { wait: Wait::of(Arc::clone(&self.flush)), store }
    }

    /// Waits until it is durable.
    ///
    /// # Errors
    /// Why it is not.
    pub async fn durable(self) -> Result<(), StoreError> {
        self.ended().await;
        self.end().expect("it has ended").map(Committed::into_inner)
    }

    /// The wait together with the answer to the write.
    pub(crate) fn with<T>(self, answer: T) -> Deferred<Result<T, StoreError>> {
        Deferred { beginner: self.beginner, ..Deferred::of_write(answer, self.flush) }
    }
}

impl<T> Deferred<Result<T, StoreError>> {
    /// The answer to a write, which the flush makes durable.
    pub(crate) fn of_write(answer: T, flush: Arc<Flush>) -> Self {
        let failed = |error: FlushError| Err(error.for_write());
        Deferred { answer: Ok(answer), wait: Wait::of(flush), failed, beginner: None }
    }

    /// An answer that changes nothing, and rests on what the flush makes durable.
    pub(crate) fn of_read(answer: T, flush: Arc<Flush>) -> Self {
        let failed = |error: FlushError| Err(error.for_read());
        Deferred { answer: Ok(answer), wait: Wait::of(flush), failed, beginner: None }
    }
}

impl<T> Deferred<T> {
    /// The answer, if it holds by now.
    pub(crate) fn end(self) -> Result<T, Deferred<T>> {
        match self.wait.flush.end.get() {
            None => Err(self),
            Some(Ok(())) => Ok(self.answer),
            Some(Err(error)) => Ok((self.failed)(error.clone())),
        }
    }

    /// Whether there is an answer by now.
    pub(crate) fn has_ended(&self) -> bool {
        self.wait.flush.has_ended()
    }

    /// Waits until there is an answer.
    pub(super) fn poll_ended(&mut self, context: &Context<'_>) -> Poll<()> {
        if self.wait.place.is_none()
            && !self.has_ended()
            && let Some(beginner) = &self.beginner
        {
            beginner.store.begin_here();
        }
        self.wait.poll(context)
    }

    /// The wait until there is an answer, apart from it.
    pub(crate) fn ended(&self) -> Ended {
        let store = self.beginner.as_ref().map(|beginner| Arc::clone(&beginner.store));
        Ended { wait: Wait::of(Arc::clone(&self.wait.flush)), store }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn poll(wait: &mut Wait, woken: &Arc<Woken>) -> Poll<()> {
        wait.poll(&Context::from_waker(&Waker::from(Arc::clone(woken))))
    }

    #[test]
    fn the_end_wakes_everyone_who_still_waits_where_it_was_last_asked() {
        let flush = Arc::<Flush>::default();
        let [first, second, moved, gone] = [(); 4].map(|()| Arc::<Woken>::default());
        let [mut one, mut two, mut three] = [(); 3].map(|()| Wait::of(Arc::clone(&flush)));
        assert!(poll(&mut one, &first).is_pending());
        assert!(poll(&mut two, &gone).is_pending());
        drop(two);
        assert!(poll(&mut three, &second).is_pending());
        assert!(poll(&mut three, &moved).is_pending());
        flush.finish(Ok(()));
        flush.finish(Ok(()));
        let counts = [first, second, moved, gone].map(|woken| woken.0.load(Ordering::Relaxed));
        assert_eq!(counts, [1, 0, 1, 0]);
        assert!(poll(&mut one, &Arc::default()).is_ready());
        drop((one, three));
    }

    /// Whether the one who was woken wakes the others when it is polled, when it is gone, and when somebody
    /// comes who was not woken.
    #[test]
    fn the_one_who_is_woken_wakes_the_others() {
        for how in ["polled", "gone", "another comes", "told to"] {
            let flush = Arc::<Flush>::default();
            let woken = [(); 3].map(|()| Arc::<Woken>::default());
            let mut waits = [(); 3].map(|()| Wait::of(Arc::clone(&flush)));
            for (wait, woken) in waits.iter_mut().zip(&woken) {
                assert!(poll(wait, woken).is_pending());
            }
            flush.finish_and_wake_one();
            flush.finish_and_wake_one();
            let counts = || woken.each_ref().map(|woken| woken.0.load(Ordering::Relaxed));
            assert_eq!(counts(), [1, 0, 0]);
            let [mut first, mut second, _third] = waits;
            match how {
                "polled" => assert!(poll(&mut first, &woken[0]).is_ready()),
                "gone" => drop(first),
                "another comes" => assert!(poll(&mut second, &woken[1]).is_ready()),
                _ => flush.wake_rest(),
            }
            assert_eq!(counts(), [1, 1, 1], "{how}");
            flush.wake_rest();
            assert_eq!(counts(), [1, 1, 1], "once");
        }
    }

    #[test]
    fn who_waits_no_more_leaves_no_room_taken() {
        let flush = Arc::<Flush>::default();
        let mut stays = Wait::of(Arc::clone(&flush));
        for _ in 0..10 {
            let mut goes = Wait::of(Arc::clone(&flush));
            assert!(poll(&mut goes, &Arc::default()).is_pending());
            assert!(poll(&mut stays, &Arc::default()).is_pending());
        }
        assert_eq!(flush.waiters().wakers.len(), 2);
    }
}
