//! Gathers every mistake of one item, so that its author sees them all at once.

use std::fmt::Display;

use proc_macro2::{Span, TokenStream};
use quote::ToTokens;

/// The mistakes found so far. Must be turned into tokens in the end: dropping it with mistakes in
/// it would hide them, so that panics.
#[derive(Debug, Default)]
pub(crate) struct Errors(Vec<syn::Error>);

impl Errors {
    /// A mistake in what these tokens say.
    pub(crate) fn on(&mut self, tokens: impl ToTokens, message: impl Display) {
        self.0.push(syn::Error::new_spanned(tokens, message));
    }

    /// A mistake at this place.
    pub(crate) fn at(&mut self, span: Span, message: impl Display) {
        self.0.push(syn::Error::new(span, message));
    }

    /// A mistake that a parser found.
    pub(crate) fn add(&mut self, error: syn::Error) {
        self.0.push(error);
    }

    /// How many there are: a part is sound if checking it has added none.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// One `compile_error!` for each, at its own place.
    pub(crate) fn into_compile_errors(mut self) -> TokenStream {
        std::mem::take(&mut self.0).iter().map(syn::Error::to_compile_error).collect()
    }
}

impl Drop for Errors {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(self.0.is_empty(), "mistakes were found and not reported: {:?}", self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "not reported")]
    fn mistakes_cannot_be_forgotten() {
        Errors::default().at(Span::call_site(), "a mistake");
    }
}
