//! Reads values in postcard's format: as `postcard` itself does, and for less.
//!
//! A call's arguments and its result are read here, and with small calls that is a good part of what
//! they cost. Integers are nearly always one byte, which `postcard` reads in a loop that it does not
//! inline; and text is checked where it lies in the new string, since the standard library looks at
//! aligned text a word at a time and at other text byte by byte. What is accepted, and which error
//! is given for the rest, is the same; `tests` compares the two.

use postcard::{Error, Result};
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer as _, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

/// The bytes that are still to be read.
pub(crate) struct Decoder<'de> {
    rest: &'de [u8],
}

impl<'de> Decoder<'de> {
    #[inline]
    pub(crate) fn new(bytes: &'de [u8]) -> Decoder<'de> {
        Decoder { rest: bytes }
    }

    /// What was not read.
    #[inline]
    pub(crate) fn rest(&self) -> &'de [u8] {
        self.rest
    }

    #[inline]
    fn byte(&mut self) -> Result<u8> {
        let (&byte, rest) = self.rest.split_first().ok_or(Error::DeserializeUnexpectedEnd)?;
        self.rest = rest;
        Ok(byte)
    }

    #[inline]
    fn take(&mut self, len: usize) -> Result<&'de [u8]> {
        let split = self.rest.split_at_checked(len);
        let (taken, rest) = split.ok_or(Error::DeserializeUnexpectedEnd)?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let split = self.rest.split_first_chunk();
        let (taken, rest) = split.ok_or(Error::DeserializeUnexpectedEnd)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// An integer of at most `BITS` bits: seven bits a byte, low ones first. Zeros may be padded, but
    /// not beyond the bytes that the largest integer takes.
    #[inline]
    fn integer<const BITS: u32>(&mut self) -> Result<u64> {
        match self.rest.split_first() {
            Some((&byte, rest)) if byte < 0x80 => {
                self.rest = rest;
                Ok(u64::from(byte))
            }
            _ => self.long_integer::<BITS>(),
        }
    }

    #[cold]
    fn long_integer<const BITS: u32>(&mut self) -> Result<u64> {
        let mut value = 0;
        for shift in (0..BITS).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                let fits = BITS - shift >= 7 || byte >> (BITS - shift) == 0;
                return if fits { Ok(value) } else { Err(Error::DeserializeBadVarint) };
            }
        }
        Err(Error::DeserializeBadVarint)
    }

    fn integer_128(&mut self) -> Result<u128> {
        let mut value = 0;
        for shift in (0..128).step_by(7) {
            let byte = self.byte()?;
            value |= u128::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                let fits = 128 - shift >= 7 || byte >> (128 - shift) == 0;
                return if fits { Ok(value) } else { Err(Error::DeserializeBadVarint) };
            }
        }
        Err(Error::DeserializeBadVarint)
    }

    /// A length, and as many bytes.
    #[inline]
    fn bytes(&mut self) -> Result<&'de [u8]> {
        let len = self.len()?;
        self.take(len)
    }

    /// Text that is checked once it lies in its string.
    fn text(&mut self) -> Result<String> {
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_| Error::DeserializeBadUtf8)
    }

    #[inline]
    fn len(&mut self) -> Result<usize> {
        let len = self.integer::<{ usize::BITS }>()?;
        Ok(usize::try_from(len).expect("it has no more bits than a length"))
    }

    /// Some values in a row, as many as the type or their number before them says.
    #[inline]
    fn some<V: Visitor<'de>>(&mut self, left: usize, visitor: V) -> Result<V::Value> {
        visitor.visit_seq(Row { decoder: self, left })
    }
}

/// What a zigzag integer stands for.
#[inline]
fn signed(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

/// Values that follow one another.
struct Row<'a, 'de> {
    decoder: &'a mut Decoder<'de>,
    left: usize,
}

impl<'de> SeqAccess<'de> for Row<'_, 'de> {
    type Error = Error;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(&mut *self.decoder).map(Some)
    }

    /// A peer that names more elements than there are bytes gets no memory for them.
    #[inline]
    fn size_hint(&self) -> Option<usize> {
        (self.left <= self.decoder.rest.len()).then_some(self.left)
    }
}

impl<'de> MapAccess<'de> for Row<'_, 'de> {
    type Error = Error;

    #[inline]
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>> {
        self.next_element_seed(seed)
    }

    #[inline]
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value> {
        seed.deserialize(&mut *self.decoder)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        SeqAccess::size_hint(self)
    }
}

/// Methods that read an integer: what serde asks for, what to visit, bits, and what is made of them.
macro_rules! integers {
    ($($read:ident $visit:ident $bits:literal $from:expr;)*) => {$(
        #[inline]
        fn $read<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            let from: fn(u64) -> _ = $from;
            visitor.$visit(from(self.integer::<$bits>()?))
        }
    )*};
}

impl<'de> Deserializer<'de> for &mut Decoder<'de> {
    type Error = Error;

    integers! {
        deserialize_u16 visit_u16 16 |value| value as u16;
        deserialize_u32 visit_u32 32 |value| value as u32;
        deserialize_u64 visit_u64 64 |value| value;
        deserialize_i16 visit_i16 16 |value| signed(value) as i16;
        deserialize_i32 visit_i32 32 |value| signed(value) as i32;
        deserialize_i64 visit_i64 64 signed;
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }

    #[inline]
    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_u8(self.byte()?)
    }

    #[inline]
    fn deserialize_i8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_i8(self.byte()?.cast_signed())
    }

    #[inline]
    fn deserialize_u128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_u128(self.integer_128()?)
    }

    #[inline]
    fn deserialize_i128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let value = self.integer_128()?;
        visitor.visit_i128((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    #[inline]
    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_f32(f32::from_le_bytes(self.array()?))
    }

    #[inline]
    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_f64(f64::from_le_bytes(self.array()?))
    }

    #[inline]
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.byte()? {
            0 => visitor.visit_bool(false),
            1 => visitor.visit_bool(true),
            _ => Err(Error::DeserializeBadBool),
        }
    }

    #[inline]
    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let len = self.len()?;
        if len > 4 {
            return Err(Error::DeserializeBadChar);
        }
        let text = std::str::from_utf8(self.take(len)?).map_err(|_| Error::DeserializeBadChar)?;
        visitor.visit_char(text.chars().next().ok_or(Error::DeserializeBadChar)?)
    }

    #[inline]
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let text = std::str::from_utf8(self.bytes()?);
        visitor.visit_borrowed_str(text.map_err(|_| Error::DeserializeBadUtf8)?)
    }

    #[inline]
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_string(self.text()?)
    }

    #[inline]
    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_borrowed_bytes(self.bytes()?)
    }

    #[inline]
    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_bytes(self.bytes()?)
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.byte()? {
            0 => visitor.visit_none(),
            1 => visitor.visit_some(self),
            _ => Err(Error::DeserializeBadOption),
        }
    }

    #[inline]
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value> {
        visitor.visit_newtype_struct(self)
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let len = self.len()?;
        self.some(len, visitor)
    }

    #[inline]
    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value> {
        self.some(len, visitor)
    }

    #[inline]
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value> {
        self.some(len, visitor)
    }

    #[inline]
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let left = self.len()?;
        visitor.visit_map(Row { decoder: self, left })
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.some(fields.len(), visitor)
    }

    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        visitor.visit_enum(self)
    }

    // The format does not say what it holds, so nothing is read whose type is not known.

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value> {
        Err(Error::WontImplement)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, _: V) -> Result<V::Value> {
        Err(Error::WontImplement)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value> {
        Err(Error::WontImplement)
    }
}

impl<'de> EnumAccess<'de> for &mut Decoder<'de> {
    type Error = Error;
    type Variant = Self;

    #[inline]
    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self)> {
        let variant = self.integer::<32>()? as u32;
        Ok((seed.deserialize(variant.into_deserializer())?, self))
    }
}

impl<'de> VariantAccess<'de> for &mut Decoder<'de> {
    type Error = Error;

    #[inline]
    fn unit_variant(self) -> Result<()> {
        Ok(())
    }

    #[inline]
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value> {
        seed.deserialize(self)
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value> {
        self.some(len, visitor)
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.some(fields.len(), visitor)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fmt::Debug;

    use proptest::collection::vec;
    use proptest::prelude::*;
    use serde::de::DeserializeOwned;
    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Shape {
        Nothing,
        One(u64),
        Two(i16, String),
        Named { wide: i128, narrow: i8, rest: Vec<Shape> },
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Unit;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Wrapped(Option<Box<str>>);

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Pair(char, bool);

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Lent<'a> {
        text: &'a str,
        bytes: &'a [u8],
    }

    /// Both give the same value and leave the same rest, or the same error.
    fn agree<'a, T: Deserialize<'a> + Debug + PartialEq>(bytes: &'a [u8]) {
        let mut decoder = Decoder::new(bytes);
        let ours = T::deserialize(&mut decoder).map(|value| (value, decoder.rest()));
        assert_eq!(ours, postcard::take_from_bytes::<T>(bytes), "{bytes:?}");
    }

    /// As [`agree`], for bytes as a value of many types.
    fn agree_on_all(bytes: &[u8]) {
        fn together<A: DeserializeOwned + Debug + PartialEq>(bytes: &[u8]) {
            agree::<A>(bytes);
            agree::<(A, u8)>(bytes);
        }
        together::<u8>(bytes);
        together::<u16>(bytes);
        together::<u32>(bytes);
        together::<u64>(bytes);
        together::<u128>(bytes);
        together::<i8>(bytes);
        together::<i16>(bytes);
        together::<i32>(bytes);
        together::<i64>(bytes);
        together::<i128>(bytes);
        together::<bool>(bytes);
        together::<char>(bytes);
        together::<String>(bytes);
        together::<Shape>(bytes);
        together::<Option<Wrapped>>(bytes);
        together::<(Unit, Pair, ())>(bytes);
        together::<BTreeMap<u16, Vec<String>>>(bytes);
        together::<(f32, f64)>(&bytes.iter().map(|byte| byte & 0x3f).collect::<Vec<_>>());
        together::<serde_json::Value>(bytes);
        agree::<Lent<'_>>(bytes);
    }

    #[test]
    fn integers_end_where_their_type_ends() {
        for count in 0..20 {
            for last in [0, 1, 2, 3, 4, 7, 15, 16, 127] {
                for continued in [0x80, 0xff] {
                    let mut bytes = vec![continued; count];
                    bytes.push(last);
                    agree_on_all(&bytes);
                    bytes.pop();
                    agree_on_all(&bytes);
                }
            }
        }
    }

    #[test]
    fn a_length_gets_no_more_memory_than_there_are_bytes() {
        let bytes = postcard::to_stdvec(&u64::MAX).unwrap();
        let read = Vec::<u64>::deserialize(&mut Decoder::new(&bytes));
        assert_eq!(read, Err(Error::DeserializeUnexpectedEnd));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_as_postcard_reads_them(bytes in vec(any::<u8>(), 0..24)) {
            agree_on_all(&bytes);
        }

        #[test]
        fn small_bytes_are_read_as_postcard_reads_them(bytes in vec(0u8..6, 0..24)) {
            agree_on_all(&bytes);
        }

        #[test]
        fn what_postcard_writes_is_read(
            text in ".{0,40}",
            numbers in any::<(u64, i64, u32, i32, u16, i128)>(),
            letter in any::<char>(),
            floats in any::<(f32, f64)>(),
        ) {
            prop_assume!(!floats.0.is_nan() && !floats.1.is_nan());
            let shape = Shape::Named {
                wide: numbers.5,
                narrow: numbers.1 as i8,
                rest: vec![Shape::Two(numbers.3 as i16, text.clone()), Shape::One(numbers.0)],
            };
            let value = (text, numbers, letter, floats, Some(shape), Unit);
            let bytes = postcard::to_stdvec(&value).unwrap();
            let mut decoder = Decoder::new(&bytes);
            prop_assert_eq!(Deserialize::deserialize(&mut decoder), Ok(value));
            prop_assert!(decoder.rest().is_empty());
        }
    }
}
