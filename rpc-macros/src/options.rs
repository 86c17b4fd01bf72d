//! `key = value` lists, as all macros take them: one error for each entry that is wrong.

use proc_macro2::{Ident, TokenStream};
use syn::ext::IdentExt as _;
use syn::parse::{Parse, ParseStream, Parser as _};
use syn::{Attribute, Error, Meta, Path, Result, Token};

use crate::attributes::split_at_commas;
use crate::errors::Errors;

/// One `key = value`, its value not read yet.
pub(crate) struct Entry {
    /// What stands before the `=`.
    pub(crate) key: Ident,
    /// All behind the key.
    rest: TokenStream,
}

impl Entry {
    /// Reads the value into its place. `expected` completes "`key` takes …".
    pub(crate) fn set<T: Parse>(self, place: &mut Option<T>, expected: &str) -> Result<()> {
        let read = |input: ParseStream<'_>| {
            input.parse::<Token![=]>()?;
            input.parse::<T>()
        };
        let Entry { key, rest } = self;
        let value = read
            .parse2(rest)
            .map_err(|_| Error::new(key.span(), format_args!("`{key}` takes {expected}")))?;
        if place.replace(value).is_some() {
            return Err(Error::new(key.span(), format_args!("`{key}` is given twice: keep one")));
        }
        Ok(())
    }

    /// Reads `crate = path`.
    pub(crate) fn set_runtime(self, place: &mut Option<Path>) -> Result<()> {
        self.set(place, "the path of the runtime, without quotes: write `crate = my::rpc`")
    }

    /// That there is no such option; `known` says which there are.
    pub(crate) fn unknown(&self, known: &str) -> Error {
        let key = &self.key;
        Error::new(key.span(), format_args!("there is no option `{key}`: {known}"))
    }
}

/// Hands every entry of a list to `take`.
pub(crate) fn of_list(
    tokens: TokenStream,
    errors: &mut Errors,
    mut take: impl FnMut(Entry) -> Result<()>,
) {
    for part in split_at_commas(tokens) {
        let read = |input: ParseStream<'_>| {
            let key = input.call(Ident::parse_any).map_err(|error| {
                Error::new(error.span(), "an option is written as `name = value`")
            })?;
            Ok(Entry { key, rest: input.parse()? })
        };
        if let Err(error) = read.parse2(part).and_then(&mut take) {
            errors.add(error);
        }
    }
}

/// Hands every entry of every `#[name(…)]` to `take`.
pub(crate) fn of_attributes(
    attributes: &[Attribute],
    name: &str,
    errors: &mut Errors,
    mut take: impl FnMut(Entry) -> Result<()>,
) {
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident(name)) {
        match &attribute.meta {
            Meta::List(list) => of_list(list.tokens.clone(), errors, &mut take),
            other => errors.on(other, format_args!("write `#[{name}(option = value)]`")),
        }
    }
}
