//! The structure of messages, and its fingerprint: how two ends find out, before the first call,
//! that they mean the same by a method.
//!
//! Derive it: `#[derive(rpc::Schema)]`. What counts is the structure (field names, their order and
//! types, the variants of enums), not the names of the types, so a type may be renamed or moved.

use std::fmt::Write as _;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A type whose structure can be described.
///
/// Derive it beside serde's traits. For a type of another crate, wrap it in a newtype of your own
/// and derive it there, or implement it by naming the form that serde gives it:
///
/// ```
/// use rpc::schema::{Schema, SchemaWriter};
///
/// /// Travels as a string.
/// struct Currency(&'static str);
///
/// impl Schema for Currency {
///     fn describe(writer: &mut SchemaWriter) {
///         String::describe(writer);
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be part of an rpc message: its structure is unknown",
    label = "needs `#[derive(rpc::Schema)]`",
    note = "add `#[derive(serde::Serialize, serde::Deserialize, rpc::Schema)]` to `{Self}`; wrap a type of another crate in a newtype of your own"
)]
pub trait Schema {
    /// Writes the structure of `Self`.
    fn describe(writer: &mut SchemaWriter);
}

/// What travels as an argument, a result or an error of a call.
///
/// Implemented for every type with serde's traits and [`Schema`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot travel in an rpc message",
    label = "not a message type",
    note = "add `#[derive(serde::Serialize, serde::Deserialize, rpc::Schema)]` to `{Self}`"
)]
pub trait Message: Serialize + DeserializeOwned + Schema + Send + Sync + 'static {}

impl<T: Serialize + DeserializeOwned + Schema + Send + Sync + 'static> Message for T {}

/// Describes one type; how derived code names the types of fields.
pub type Describe = fn(&mut SchemaWriter);

/// A 64-bit hash over a structure, compared in the handshake.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub u64);

impl std::fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Takes down a structure as text, in which `{}` are structs, `<>` enums, `()` tuples, `[]`
/// sequences.
#[derive(Debug, Default)]
pub struct SchemaWriter {
    text: String,
    /// The types being described, outermost first: a type inside itself is named by its depth.
    open: Vec<&'static str>,
}

impl SchemaWriter {
    /// The structure of one type, as text.
    #[must_use]
    pub fn text_of<T: Schema + ?Sized>() -> String {
        let mut writer = SchemaWriter::default();
        T::describe(&mut writer);
        writer.text
    }

    /// The text written so far.
    #[must_use]
    pub fn into_text(self) -> String {
        self.text
    }

    /// A type that serde handles as one value.
    pub fn primitive(&mut self, name: &str) {
        self.text.push_str(name);
    }

    /// A struct: its fields in their order, by name, or by index for a tuple struct. A struct of
    /// one unnamed field is described as that field.
    pub fn product<T: ?Sized>(&mut self, fields: &[(&str, Describe)]) {
        if let [("0", inner)] = fields {
            return self.nested::<T>(inner);
        }
        self.nested::<T>(|writer| writer.fields(fields));
    }

    /// An enum: its variants in their order, each with its fields as in
    /// [`product`](SchemaWriter::product).
    pub fn sum<T: ?Sized>(&mut self, variants: &[(&str, &[(&str, Describe)])]) {
        self.nested::<T>(|writer| {
            writer.text.push('<');
            for (index, (name, fields)) in variants.iter().enumerate() {
                if index > 0 {
                    writer.text.push('|');
                }
                writer.text.push_str(name);
                if !fields.is_empty() {
                    writer.fields(fields);
                }
            }
            writer.text.push('>');
        });
    }

    /// A tuple.
    pub fn tuple(&mut self, parts: &[Describe]) {
        self.text.push('(');
        for (index, part) in parts.iter().enumerate() {
            if index > 0 {
                self.text.push(',');
            }
            part(self);
        }
        self.text.push(')');
    }

    /// Something around other types, such as `option` or `seq`.
    pub fn wrapper(&mut self, name: &str, parts: &[Describe]) {
        self.text.push_str(name);
        self.text.push('[');
        for (index, part) in parts.iter().enumerate() {
            if index > 0 {
                self.text.push(',');
            }
            part(self);
        }
        self.text.push(']');
    }

    fn fields(&mut self, fields: &[(&str, Describe)]) {
        self.text.push('{');
        for (index, (name, describe)) in fields.iter().enumerate() {
            if index > 0 {
                self.text.push(',');
            }
            self.text.push_str(name);
            self.text.push(':');
            describe(self);
        }
        self.text.push('}');
    }

    fn nested<T: ?Sized>(&mut self, inside: impl FnOnce(&mut Self)) {
        let name = std::any::type_name::<T>();
        if let Some(depth) = self.open.iter().rev().position(|open| *open == name) {
            write!(self.text, "^{depth}").expect("writing to a string cannot fail");
            return;
        }
        self.open.push(name);
        inside(self);
        self.open.pop();
    }
}

impl Fingerprint {
    /// The fingerprint of a structure as [`SchemaWriter`] takes it down.
    #[must_use]
    pub fn of(text: &str) -> Fingerprint {
        Fingerprint(xxhash_rust::xxh3::xxh3_64(text.as_bytes()))
    }
}

macro_rules! primitives {
    ($($type:ty => $name:literal),* $(,)?) => {$(
        impl Schema for $type {
            fn describe(writer: &mut SchemaWriter) {
                writer.primitive($name);
            }
        }
    )*};
}

primitives! {
    bool => "bool", char => "char", str => "string", String => "string", () => "unit",
    u8 => "u8", u16 => "u16", u32 => "u32", u64 => "u64", u128 => "u128", usize => "u64",
    i8 => "i8", i16 => "i16", i32 => "i32", i64 => "i64", i128 => "i128", isize => "i64",
    f32 => "f32", f64 => "f64",
    std::time::Duration => "duration", std::time::SystemTime => "time",
    std::net::IpAddr => "ip", std::net::SocketAddr => "address",
    std::num::NonZeroU32 => "u32+", std::num::NonZeroU64 => "u64+",
}

macro_rules! transparent {
    ($($type:ident),*) => {$(
        impl<T: Schema + ?Sized> Schema for $type<T> {
            fn describe(writer: &mut SchemaWriter) {
                T::describe(writer);
            }
        }
    )*};
}

use std::rc::Rc;
use std::sync::Arc;
transparent!(Box, Arc, Rc);

macro_rules! wrappers {
    ($($type:ty [$($part:ident),+] => $name:literal),* $(,)?) => {$(
        impl<$($part: Schema),+> Schema for $type {
            fn describe(writer: &mut SchemaWriter) {
                writer.wrapper($name, &[$($part::describe),+]);
            }
        }
    )*};
}

wrappers! {
    Option<T>[T] => "option", Vec<T>[T] => "seq", std::collections::VecDeque<T>[T] => "seq",
    std::collections::BTreeSet<T>[T] => "seq",
    std::collections::BTreeMap<K, V>[K, V] => "map",
    Result<T, E>[T, E] => "result",
}

impl<T: Schema + ?Sized> Schema for &T {
    fn describe(writer: &mut SchemaWriter) {
        T::describe(writer);
    }
}

impl<T: Schema> Schema for [T] {
    fn describe(writer: &mut SchemaWriter) {
        writer.wrapper("seq", &[T::describe]);
    }
}

impl<T: Schema, S> Schema for std::collections::HashSet<T, S> {
    fn describe(writer: &mut SchemaWriter) {
        writer.wrapper("seq", &[T::describe]);
    }
}

impl<K: Schema, V: Schema, S> Schema for std::collections::HashMap<K, V, S> {
    fn describe(writer: &mut SchemaWriter) {
        writer.wrapper("map", &[K::describe, V::describe]);
    }
}

impl<T: Schema, const N: usize> Schema for [T; N] {
    fn describe(writer: &mut SchemaWriter) {
        writer.wrapper(&format!("array{N}"), &[T::describe]);
    }
}

impl<T: ?Sized> Schema for std::marker::PhantomData<T> {
    fn describe(writer: &mut SchemaWriter) {
        writer.primitive("unit");
    }
}

macro_rules! tuples {
    ($(($($part:ident),+))*) => {$(
        impl<$($part: Schema),+> Schema for ($($part,)+) {
            fn describe(writer: &mut SchemaWriter) {
                writer.tuple(&[$($part::describe),+]);
            }
        }
    )*};
}

tuples! {
    (A) (A, B) (A, B, C) (A, B, C, D) (A, B, C, D, E) (A, B, C, D, E, F) (A, B, C, D, E, F, G)
    (A, B, C, D, E, F, G, H) (A, B, C, D, E, F, G, H, I) (A, B, C, D, E, F, G, H, I, J)
    (A, B, C, D, E, F, G, H, I, J, K) (A, B, C, D, E, F, G, H, I, J, K, L)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Tree;

    impl Schema for Tree {
        fn describe(writer: &mut SchemaWriter) {
            writer.product::<Self>(&[("value", u64::describe), ("next", <Vec<Tree>>::describe)]);
        }
    }

    #[test]
    fn structures_read_as_text() {
        assert_eq!(
            SchemaWriter::text_of::<(String, Option<u64>, [u8; 4])>(),
            "(string,option[u64],array4[u8])"
        );
        assert_eq!(SchemaWriter::text_of::<Tree>(), "{value:u64,next:seq[^0]}");
    }

    #[test]
    fn fingerprints_differ_with_structure() {
        let of = |text: String| Fingerprint::of(&text);
        assert_ne!(
            of(SchemaWriter::text_of::<(u64, String)>()),
            of(SchemaWriter::text_of::<(String, u64)>())
        );
    }
}
