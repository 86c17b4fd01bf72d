//! The macros of rpc-runtime.
#![forbid(unsafe_code)]
use proc_macro::TokenStream;

/// Stub.
#[proc_macro_attribute]
pub fn service(_: TokenStream, item: TokenStream) -> TokenStream {
    item
}
/// Stub.
#[proc_macro_derive(Document, attributes(document))]
pub fn document(_: TokenStream) -> TokenStream {
    TokenStream::new()
}
/// Stub.
#[proc_macro_derive(Schema)]
pub fn schema(_: TokenStream) -> TokenStream {
    TokenStream::new()
}
