//! Arguments that are lent: a method that takes `&str`, `&[T]` or `&T` looks at what its caller keeps.
//!
//! On the wire a reference is what it refers to, so whether a method borrows is nobody's business but
//! its own: a client that lends talks to a server that was built with owned types, and the other way
//! round.
//!
//! The client's [`Call`](crate::Call) borrows what it is lent for as long as it lives, so one that is
//! spawned is made in the task that owns it. On the server a text lies among the encoded arguments;
//! anything else is decoded, and the method gets a reference to that.

use serde::{Deserialize, Serialize};

use crate::schema::{Message, Schema};

/// The arguments of a call as a client has them: a tuple of values and references that can be
/// encoded.
///
/// Implemented for everything that serde can write and whose structure is known.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot travel in an rpc message",
    label = "not a message type",
    note = "add `#[derive(serde::Serialize, serde::Deserialize, rpc::Schema)]` to the types in it"
)]
pub trait Arguments: Serialize + Schema {}

impl<A: Serialize + Schema> Arguments for A {}

/// What a method may take by reference: `str`, slices of messages, and messages.
///
/// ```
/// #[rpc::service]
/// pub trait Directory {
///     /// Finds a number.
///     async fn find(&self, name: &str, among: &[u64]) -> Option<u64>;
/// }
///
/// struct Ours;
///
/// impl Directory for Ours {
///     async fn find(&self, name: &str, among: &[u64]) -> Option<u64> {
///         among.iter().copied().find(|number| name.ends_with(&number.to_string()))
///     }
/// }
///
/// async fn ask(directory: &DirectoryClient, name: &str) {
///     assert_eq!(directory.find(name, &[7, 11]).await.unwrap(), Some(7));
/// }
/// # let _ = (DirectoryServer::new(Ours), ask);
/// ```
pub trait Lend: Schema {
    /// What the server holds while the method runs, decoded from bytes that it holds as well.
    type Held<'a>: Deserialize<'a> + Send + Sync;

    /// Lends what is held to the method.
    fn lend<'a>(held: &'a Self::Held<'_>) -> &'a Self;
}

impl<T: Message> Lend for T {
    type Held<'a> = T;

    #[inline]
    fn lend(held: &T) -> &T {
        held
    }
}

impl<T: Message> Lend for [T] {
    type Held<'a> = Vec<T>;

    #[inline]
    fn lend(held: &Vec<T>) -> &[T] {
        held
    }
}

impl Lend for str {
    /// Looked at where it lies, among the bytes of the arguments.
    type Held<'a> = &'a str;

    #[inline]
    fn lend<'a>(held: &'a &str) -> &'a str {
        held
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::SchemaWriter;
    use crate::service::{decode_value, encode_value};

    #[test]
    fn what_is_lent_is_on_the_wire_what_is_owned() {
        for text in ["", "alice", &"ß".repeat(200)] {
            let (mut lent, mut owned) = (Vec::new(), Vec::new());
            encode_value(&(text, &[1u64, 2][..], &Some(7u8)), &mut lent).unwrap();
            encode_value(&(text.to_owned(), vec![1u64, 2], Some(7u8)), &mut owned).unwrap();
            assert_eq!(lent, owned);
            let held: (&str, Vec<u64>, Option<u8>) = decode_value(&lent).unwrap();
            assert_eq!(<str as Lend>::lend(&held.0), text);
            assert_eq!(<[u64] as Lend>::lend(&held.1), [1, 2]);
            assert_eq!(<Option<u8> as Lend>::lend(&held.2), &Some(7));
        }
        assert_eq!(
            SchemaWriter::text_of::<(&str, &[u64], &Option<u8>)>(),
            SchemaWriter::text_of::<(String, Vec<u64>, Option<u8>)>()
        );
    }
}
