//! What `#[rpc::service]` generates against: the two ends of a service, as the runtime sees them.
//!
//! Nothing here is written by hand. A generated [`Service`] turns bytes into typed calls of the
//! business and back; a generated [`Stub`](rpc::client::Stub) turns typed calls into
//! [`Call`](rpc::Call)s.

use std::fmt;
use std::future::Future;

use crate::id::MethodId;
use crate::schema::{Describe, Fingerprint, SchemaWriter};
use crate::store::{DocKey, KeyError};
use crate::tx::{Tx, View};

/// What a method may do, as its first parameter says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `&mut Tx` first: takes effect exactly once.
    Write,
    /// `&View` first: reads documents, is retried freely.
    Read,
    /// Neither: touches no document. Is retried freely, so it must be harmless to run twice.
    Plain,
}

/// One method, as both ends compare it in the handshake.
#[derive(Clone, Debug)]
pub struct MethodSchema {
    /// Its position in the trait.
    pub id: MethodId,
    /// Its name, without `r#`.
    pub name: &'static str,
    /// What it may do.
    pub kind: Kind,
    /// The structure of its arguments, result and error as text.
    pub structure: String,
    /// The fingerprint of kind and structure.
    pub fingerprint: Fingerprint,
}

impl MethodSchema {
    /// Describes a method by its arguments (in their order), its result and its error.
    #[must_use]
    pub fn new(
        id: u16,
        name: &'static str,
        kind: Kind,
        arguments: &[Describe],
        result: Describe,
        error: Describe,
    ) -> MethodSchema {
        let mut writer = SchemaWriter::default();
        writer.primitive(match kind {
            Kind::Write => "write",
            Kind::Read => "read",
            Kind::Plain => "plain",
        });
        writer.tuple(arguments);
        writer.primitive("->");
        writer.tuple(&[result, error]);
        let structure = writer.into_text();
        let fingerprint = Fingerprint::of(&structure);
        MethodSchema { id: MethodId(id), name, kind, structure, fingerprint }
    }
}

/// A service as both ends compare it in the handshake.
#[derive(Clone, Debug)]
pub struct ServiceSchema {
    /// Its name: that of the trait, or what `#[rpc::service(name = "…")]` says.
    pub name: &'static str,
    /// Its methods, by ascending id. A method that a `#[cfg]` leaves out is not among them.
    pub methods: Vec<MethodSchema>,
}

/// A generated dispatcher: decodes the arguments of a call, runs the business, encodes its answer.
///
/// The futures of the business borrow from the encoded arguments, so that what a method is lent is
/// looked at where it lies.
pub trait Service: Send + Sync + 'static {
    /// What the methods return.
    type Response: Send + 'static;

    /// The service's structure.
    fn schema() -> ServiceSchema;

    /// The document that the call's anchor argument names; `None` if the method has none.
    ///
    /// # Errors
    /// If the bytes do not begin with its arguments, or the argument cannot be a document's name.
    fn anchor(method: MethodId, arguments: &[u8]) -> Result<Option<DocKey>, ArgumentError>;

    /// Runs a write.
    ///
    /// # Errors
    /// If it is none, or the bytes are not its arguments: then the business has not begun.
    fn write(
        &self,
        method: MethodId,
        arguments: &[u8],
        tx: &mut Tx,
    ) -> impl Future<Output = Result<Self::Response, ArgumentError>> + Send;

    /// Runs a read.
    ///
    /// # Errors
    /// As for [`write`](Service::write).
    fn read(
        &self,
        method: MethodId,
        arguments: &[u8],
        view: &View,
    ) -> impl Future<Output = Result<Self::Response, ArgumentError>> + Send;

    /// Runs a method with neither.
    ///
    /// # Errors
    /// As for [`write`](Service::write).
    fn plain(
        &self,
        method: MethodId,
        arguments: &[u8],
    ) -> impl Future<Output = Result<Self::Response, ArgumentError>> + Send;

    /// Appends the encoded value or error to `out`, and says which it was.
    ///
    /// # Errors
    /// If serde fails on it.
    fn encode(response: &Self::Response, out: &mut Vec<u8>) -> Result<Verdict, EncodeError>;
}

/// How the business ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// With `Ok`.
    Success,
    /// With `Err`: whatever it wrote is thrown away.
    BusinessError,
}

/// The error type of a method that returns no `Result`: it has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum NoError {}

impl crate::schema::Schema for NoError {
    fn describe(writer: &mut SchemaWriter) {
        writer.primitive("never");
    }
}

impl fmt::Display for NoError {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

impl std::error::Error for NoError {}

/// Tells whether a method's return type is a `Result` behind an alias, which generated code
/// refuses: it would take the error for a success, and keep what the method wrote before it.
#[doc(hidden)]
#[derive(Debug)]
pub struct ReturnProbe<T>(std::marker::PhantomData<T>);

impl<T, E> ReturnProbe<Result<T, E>> {
    /// Found before [`NotResult::IS_RESULT`], since it is the type's own.
    pub const IS_RESULT: bool = true;
}

/// The answer of [`ReturnProbe`] for every other type.
#[doc(hidden)]
pub trait NotResult {
    /// Whether it is a `Result`.
    const IS_RESULT: bool = false;
}

impl<T> NotResult for ReturnProbe<T> {}

/// Bytes that are not what both ends agreed on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes are not a value of the expected type.
    #[error("the bytes are not what the handshake agreed on: {0}")]
    Malformed(#[from] postcard::Error),
    /// A value was followed by bytes that belong to nothing.
    #[error("{0} bytes are left over behind the value")]
    TrailingBytes(usize),
}

/// Why a call's arguments cannot be handed to its method.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArgumentError {
    /// No method of this kind has this number.
    #[error("the service has no such method {0}")]
    NoSuchMethod(MethodId),
    /// The bytes are not its arguments.
    #[error(transparent)]
    Undecodable(#[from] DecodeError),
    /// The anchor argument cannot be a document's name.
    #[error(transparent)]
    Unnameable(Box<KeyError>),
}

impl From<KeyError> for ArgumentError {
    fn from(error: KeyError) -> ArgumentError {
        ArgumentError::Unnameable(Box::new(error))
    }
}

/// A value that serde could not encode.
#[derive(Debug, thiserror::Error)]
#[error("the value cannot be encoded: {0}")]
pub struct EncodeError(#[from] postcard::Error);

/// Decodes one value (arguments as a tuple, a result, an error) that fills `bytes` to the end.
///
/// # Errors
/// If the bytes are anything else.
#[inline(always)]
pub fn decode_value<'de, T: serde::Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, DecodeError> {
    // As `postcard::take_from_bytes` does, which moves the value once more.
    let mut decoder = postcard::Deserializer::from_bytes(bytes);
    let value = T::deserialize(&mut decoder)?;
    match decoder.finalize()?.len() {
        0 => Ok(value),
        left => Err(DecodeError::TrailingBytes(left)),
    }
}

/// Decodes the arguments of a call: what a generated [`Service`] calls.
///
/// # Errors
/// If the bytes are anything else.
// Always, since what a function returns in memory and its caller moves on is waited for.
#[inline(always)]
pub fn decode_arguments<'de, T: serde::Deserialize<'de>>(
    bytes: &'de [u8],
) -> Result<T, ArgumentError> {
    decode_value(bytes).map_err(ArgumentError::Undecodable)
}

/// Decodes the first arguments of a call.
///
/// # Errors
/// If the bytes begin with anything else.
pub fn decode_first_arguments<'de, T: serde::Deserialize<'de>>(
    bytes: &'de [u8],
) -> Result<T, ArgumentError> {
    let (value, _) = postcard::take_from_bytes(bytes).map_err(DecodeError::from)?;
    Ok(value)
}

/// Appends the encoding of a value to `out`. On an error `out` is as it was.
///
/// # Errors
/// If serde fails on the value.
pub fn encode_value<T: serde::Serialize + ?Sized>(
    value: &T,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    struct Append<'a>(&'a mut Vec<u8>);

    impl postcard::ser_flavors::Flavor for Append<'_> {
        type Output = ();

        #[inline]
        fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
            // Nearly every integer is one byte, and too little to call a copy for.
            match data {
                [byte] => self.0.push(*byte),
                _ => self.0.extend_from_slice(data),
            }
            Ok(())
        }

        #[inline]
        fn try_push(&mut self, data: u8) -> postcard::Result<()> {
            self.0.push(data);
            Ok(())
        }

        #[inline]
        fn finalize(self) -> postcard::Result<()> {
            Ok(())
        }
    }

    let start = out.len();
    postcard::serialize_with_flavor(value, Append(out)).map_err(|error| {
        out.truncate(start);
        EncodeError(error)
    })
}

/// Appends the encoding of what a method returned to `out`, and says which it was: what a
/// generated [`Service::encode`] calls.
///
/// # Errors
/// If serde fails on the value.
pub fn encode_result<T: serde::Serialize, E: serde::Serialize>(
    result: &Result<T, E>,
    out: &mut Vec<u8>,
) -> Result<Verdict, EncodeError> {
    match result {
        Ok(value) => encode_value(value, out).map(|()| Verdict::Success),
        Err(error) => encode_value(error, out).map(|()| Verdict::BusinessError),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_round_trip_and_must_fill_their_bytes() {
        let mut bytes = Vec::new();
        encode_value(&("alice", 7u64), &mut bytes).unwrap();
        assert_eq!(decode_value::<(String, u64)>(&bytes).unwrap(), ("alice".to_owned(), 7));
        bytes.push(0);
        assert!(matches!(
            decode_value::<(String, u64)>(&bytes),
            Err(DecodeError::TrailingBytes(1))
        ));
    }
}
