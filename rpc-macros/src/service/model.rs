//! What a service is, once every rule has been checked: nothing that is wrong can be said here.

use proc_macro2::Span;
use syn::{Attribute, Generics, Ident, Path, Type, Visibility};

/// A service.
#[derive(Debug)]
pub(crate) struct Service {
    /// The path of the runtime.
    pub(crate) runtime: Path,
    /// Its name in the handshake.
    pub(crate) name: String,
    /// The trait.
    pub(crate) ident: Ident,
    /// The visibility of the trait, and of all that is generated beside it.
    pub(crate) visibility: Visibility,
    /// The `#[cfg]`s of the trait.
    pub(crate) gates: Vec<Attribute>,
    /// The type and const parameters of the trait. No bound in it speaks of `Self`.
    pub(crate) generics: Generics,
    /// What the type parameter of the server is called: a name that the trait does not use.
    pub(crate) business: Ident,
    /// Its sound methods, by ascending id.
    pub(crate) methods: Vec<Method>,
}

/// A method of a service.
#[derive(Debug)]
pub(crate) struct Method {
    /// Its position in the trait. A method that a `#[cfg]` leaves out leaves a gap.
    pub(crate) id: u16,
    /// Its name, raw if the user wrote it so.
    pub(crate) ident: Ident,
    /// What the client's method carries: docs, deprecation, gates.
    pub(crate) usage: Vec<Attribute>,
    /// The `#[cfg]`s of the method.
    pub(crate) gates: Vec<Attribute>,
    /// What it may do.
    pub(crate) kind: Kind,
    /// What travels to the server: at most [`MAX_ARGUMENTS`](super::validate::MAX_ARGUMENTS).
    pub(crate) arguments: Vec<Argument>,
    /// What travels back.
    pub(crate) output: Output,
}

/// What a method may do, and where its first parameter says so.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// It has `&mut Tx`.
    Write {
        /// Where that stands.
        context: Span,
        /// Which argument names the document that carries the record.
        anchor: Option<usize>,
    },
    /// It has `&View`.
    Read {
        /// Where that stands.
        context: Span,
    },
    /// It has neither.
    Plain,
}

/// An argument of a method.
#[derive(Debug)]
pub(crate) struct Argument {
    /// Its name.
    pub(crate) ident: Ident,
    /// Its type, which owns its data; of a reference, the type that it refers to.
    pub(crate) ty: Type,
    /// Whether the method is lent it.
    pub(crate) is_lent: bool,
}

/// What a method returns.
#[derive(Debug)]
pub(crate) enum Output {
    /// `Result<value, error>`.
    Result {
        /// What success carries.
        value: Box<Type>,
        /// The typed error.
        error: Box<Type>,
    },
    /// Anything else: it cannot fail.
    Value(Box<Type>),
}
