//! What a connection has taken from its core and writes.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite as _;

use crate::io_buffer;
use crate::transport::Io;

/// Bytes on their way out. Whoever fills them is asked once for all that there is, together with
/// whatever else is asked of it, and not once more to hear that this was all.
#[derive(Debug)]
pub(crate) struct Outgoing {
    bytes: Vec<u8>,
    /// They are written up to here.
    written: usize,
    /// Whether the transport may hold back some of what was written.
    is_held_back: bool,
    /// Whether there may be more that nobody will tell of.
    is_stale: bool,
}

impl Outgoing {
    /// Nothing yet; there may be something.
    pub(crate) fn new() -> Outgoing {
        Outgoing { bytes: Vec::new(), written: 0, is_held_back: false, is_stale: true }
    }

    /// Lets `fill` put what there is into an empty buffer, unless something is still to be written.
    /// Whatever comes up later must be told of by waking the connection.
    #[inline]
    pub(crate) fn take<T>(&mut self, fill: impl FnOnce(&mut Vec<u8>) -> T) {
        self.is_stale = !self.is_written();
        if self.is_stale {
            return;
        }
        fill(&mut self.bytes);
    }

    /// There may be more, of which nobody will tell.
    #[inline]
    pub(crate) fn note_more(&mut self) {
        self.is_stale = true;
    }

    /// Whether [`take`](Outgoing::take) might find more than it did.
    #[inline]
    pub(crate) fn is_stale(&self) -> bool {
        self.is_stale
    }

    /// Whether all that was taken is on its way.
    #[inline]
    pub(crate) fn is_written(&self) -> bool {
        self.written == self.bytes.len() && !self.is_held_back
    }

    /// Writes what was taken, to the last byte: a transport that encrypts may take more than it can pass on.
    #[inline]
    pub(crate) fn poll_write(
        &mut self,
        io: &mut Box<dyn Io>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        while self.written < self.bytes.len() {
            let rest = &self.bytes[self.written..];
            match ready!(Pin::new(&mut *io).poll_write(context, rest))? {
                0 => return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into())),
                count => self.written += count,
            }
            self.is_held_back = true;
        }
        if self.is_held_back {
            ready!(Pin::new(&mut *io).poll_flush(context))?;
            self.is_held_back = false;
        }
        // Now, since whoever is idle afterwards is to hold no more than it needs.
        self.bytes.clear();
        self.written = 0;
        io_buffer::shed(&mut self.bytes);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::io::AsyncReadExt as _;

    use super::*;

    /// Fills in the next word, if there is one.
    fn words(words: &mut Vec<&str>) -> impl FnOnce(&mut Vec<u8>) {
        |bytes| bytes.extend_from_slice(words.pop().unwrap_or_default().as_bytes())
    }

    #[tokio::test]
    async fn what_is_taken_is_written_before_more_is_taken() {
        let (near, mut far) = tokio::io::duplex(4);
        let mut io: Box<dyn Io> = Box::new(near);
        let context = &mut Context::from_waker(Waker::noop());
        let mut left = vec!["second", "first"];
        let mut outgoing = Outgoing::new();
        assert!(outgoing.is_stale() && outgoing.is_written());
        outgoing.take(words(&mut left));
        assert!(!outgoing.is_stale(), "it has just been asked for");
        assert!(outgoing.poll_write(&mut io, context).is_pending(), "the peer takes four bytes");
        outgoing.take(words(&mut left));
        assert!(outgoing.is_stale(), "there is something to write still: nothing was taken");
        assert_eq!(left, ["second"]);
        let mut received = [0; 5];
        far.read_exact(&mut received[..4]).await.unwrap();
        assert!(outgoing.poll_write(&mut io, context).is_ready());
        assert!(outgoing.is_written() && outgoing.is_stale());
        far.read_exact(&mut received[4..]).await.unwrap();
        assert_eq!(&received, b"first");
        outgoing.take(words(&mut left));
        assert!(!outgoing.is_stale() && !outgoing.is_written());
    }

    #[tokio::test]
    async fn what_the_transport_holds_back_is_not_written() {
        let (near, mut far) = tokio::io::duplex(4);
        let mut io: Box<dyn Io> = Box::new(tokio::io::BufWriter::new(near));
        let context = &mut Context::from_waker(Waker::noop());
        let mut outgoing = Outgoing::new();
        outgoing.take(|bytes| bytes.extend_from_slice(b"first"));
        assert!(outgoing.poll_write(&mut io, context).is_pending(), "four bytes are on their way");
        outgoing.take(|_| panic!("a byte is held back still"));
        let mut received = [0; 5];
        far.read_exact(&mut received[..4]).await.unwrap();
        assert!(outgoing.poll_write(&mut io, context).is_ready());
        far.read_exact(&mut received[4..]).await.unwrap();
        assert_eq!(&received, b"first");
        assert!(outgoing.is_written());
    }

    #[tokio::test]
    async fn what_a_burst_has_made_large_is_not_kept() {
        let (near, _far) = tokio::io::duplex(1 << 20);
        let mut io: Box<dyn Io> = Box::new(near);
        let context = &mut Context::from_waker(Waker::noop());
        let mut outgoing = Outgoing::new();
        outgoing.take(|bytes| bytes.resize(1 << 20, 7));
        assert!(outgoing.poll_write(&mut io, context).is_ready());
        assert_eq!(outgoing.bytes.capacity(), 0, "there may never be a next time");
    }

    #[tokio::test]
    async fn nothing_is_written_if_there_is_nothing() {
        let (near, _far) = tokio::io::duplex(4);
        let mut io: Box<dyn Io> = Box::new(near);
        let mut outgoing = Outgoing::new();
        outgoing.take(words(&mut Vec::new()));
        assert!(outgoing.is_written() && !outgoing.is_stale());
        let context = &mut Context::from_waker(Waker::noop());
        assert!(outgoing.poll_write(&mut io, context).is_ready());
        outgoing.note_more();
        assert!(outgoing.is_stale());
    }
}
