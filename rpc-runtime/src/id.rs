//! The names of things: sessions, calls, attempts, methods.
//!
//! Each is a type of its own, so that none is ever passed for another, and none can be made to wrap.

use std::fmt;

/// One client's name, allotted through the store and never given out twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u64);

/// Which life of a client is speaking: bumped when a client comes back after a crash, so that what
/// its earlier life still has on the wire is fenced.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u32);

impl Incarnation {
    /// The first life of a client.
    pub const FIRST: Incarnation = Incarnation(1);
}

/// The number of a call within its session. Counts from 1 and is never reused.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);

impl Seq {
    /// The first call of a session.
    pub const FIRST: Seq = Seq(1);

    /// The call after this one.
    #[must_use]
    pub fn next(self) -> Seq {
        Seq(self.0.checked_add(1).expect("a session does not make 2^64 calls"))
    }
}

/// A message id: which call of which client. Unique for ever, across all servers of one store.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId {
    /// The client that made the call.
    pub client: ClientId,
    /// The number of the call in the client's session.
    pub seq: Seq,
}

/// The number of the send of a call: 1 is the first, and every re-send, on whatever connection,
/// has the next.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt(pub u32);

impl Attempt {
    /// The first send of a call.
    pub const FIRST: Attempt = Attempt(1);

    /// The retry bit: whether the call may have run before, so that its record must be looked for.
    #[must_use]
    pub fn is_retry(self) -> bool {
        self.0 > 1
    }

    /// The attempt after this one. Saturates: after four billion sends only the name of the
    /// attempt stops moving, not its meaning (a retry).
    #[must_use]
    pub fn next(self) -> Attempt {
        Attempt(self.0.saturating_add(1))
    }
}

/// A method of a service: its position in the trait, as both ends agreed in the handshake.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MethodId(pub u16);

/// A hash over a call's method and encoded arguments: the same id with another hash is another
/// call, and refused.
///
/// The server computes it from the bytes it received (XXH3, 64 bits), so a client cannot claim one.
/// Records keep it, so it must not depend on anything that another build may number differently.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ArgumentHash(pub u64);

impl ArgumentHash {
    /// The hash of these encoded arguments of the method that `method` is the hash of.
    #[must_use]
    pub fn of(method: u64, arguments: &[u8]) -> ArgumentHash {
        ArgumentHash(xxhash_rust::xxh3::xxh3_64_with_seed(arguments, method))
    }
}

/// Who the peer is, as the transport has authenticated it. Sessions and tables are keyed by it: no
/// client can reach another identity's calls.
///
/// Plain TCP authenticates nobody, so its peers are all [`Identity::anonymous`], told apart by the
/// secret of each session alone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity(std::sync::Arc<str>);

impl Identity {
    /// The longest name, in bytes, that a server lets in: stores keep it with each session.
    pub const MAX_LEN: usize = 1024;

    /// The identity of a peer that the transport did not authenticate.
    #[must_use]
    pub fn anonymous() -> Identity {
        Identity("".into())
    }

    /// The identity of a peer that the transport has authenticated under this name.
    #[must_use]
    pub fn named(name: &str) -> Identity {
        Identity(name.into())
    }

    /// The authenticated name, empty for an anonymous peer.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }
}

/// What proves that a peer may speak for a session: 128 random bits, given out with the session's
/// id and asked for whenever it is resumed. Never printed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SessionSecret(pub [u8; 16]);

/// One client's logical life, as it is named in every message of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionId {
    /// The client.
    pub client: ClientId,
    /// Which of its lives.
    pub incarnation: Incarnation,
}

macro_rules! show {
    ($($name:ident $prefix:literal),* $(,)?) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    )*};
}

show!(ClientId "c", Incarnation "i", Seq "", Attempt "a", MethodId "m");

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.client, self.seq)
    }
}

impl fmt::Debug for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for ArgumentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{:016x}", self.0)
    }
}

impl fmt::Debug for SessionSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionSecret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_tells_methods_and_arguments_apart() {
        let one = ArgumentHash::of(1, b"ab");
        assert_eq!(one, ArgumentHash::of(1, b"ab"));
        assert_ne!(one, ArgumentHash::of(2, b"ab"));
        assert_ne!(one, ArgumentHash::of(1, b"ac"));
    }

    #[test]
    fn secret_is_never_printed() {
        assert_eq!(format!("{:?}", SessionSecret([7; 16])), "SessionSecret(..)");
    }
}
