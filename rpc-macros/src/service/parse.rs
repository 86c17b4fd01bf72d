//! From tokens to syntax: the options of the attribute, and the trait.

use proc_macro2::{Span, TokenStream};
use syn::{ItemTrait, LitStr, Path};

use crate::errors::Errors;
use crate::options;

const KNOWN_OPTIONS: &str = "the options are `name = \"Bank\"` (the name in the handshake) and \
     `crate = path` (where the runtime is)";

/// What stands in the parentheses of `#[rpc::service(…)]`.
#[derive(Debug, Default)]
pub(crate) struct Options {
    /// `name = "…"`.
    pub(crate) name: Option<LitStr>,
    /// `crate = …`.
    pub(crate) runtime: Option<Path>,
}

/// Reads the options. What cannot be read is reported and left out.
pub(crate) fn options(tokens: TokenStream, errors: &mut Errors) -> Options {
    let mut found = Options::default();
    options::of_list(tokens, errors, |entry| match entry.key.to_string().as_str() {
        "name" => entry.set(&mut found.name, "a text: write `name = \"Bank\"`"),
        "crate" => entry.set_runtime(&mut found.runtime),
        _ => Err(entry.unknown(KNOWN_OPTIONS)),
    });
    found
}

/// Reads the trait.
pub(crate) fn item(tokens: TokenStream) -> syn::Result<ItemTrait> {
    syn::parse2(tokens.clone()).map_err(|error| match syn::parse2::<syn::Item>(tokens) {
        Ok(_) => syn::Error::new(
            Span::call_site(),
            "`#[rpc::service]` describes a service by its trait: write it on a trait, as in \
             `#[rpc::service] pub trait Bank { … }`",
        ),
        Err(_) => error,
    })
}
