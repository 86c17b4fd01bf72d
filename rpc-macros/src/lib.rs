//! The macros of rpc-runtime.
#![forbid(unsafe_code)]

mod attributes;
mod document;
mod errors;
mod options;
mod runtime;
mod schema;
mod service;

use proc_macro::TokenStream;

/// Service.
#[proc_macro_attribute]
pub fn service(options: TokenStream, item: TokenStream) -> TokenStream {
    service::expand(options.into(), item.into(), &runtime::path()).into()
}

/// Document.
#[proc_macro_derive(Document, attributes(document))]
pub fn document(item: TokenStream) -> TokenStream {
    document::expand(item.into(), &runtime::path()).into()
}

/// Schema.
#[proc_macro_derive(Schema, attributes(schema))]
pub fn schema(item: TokenStream) -> TokenStream {
    schema::expand(item.into(), &runtime::path()).into()
}
