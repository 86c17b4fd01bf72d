//! From the model to tokens.
//!
//! Beside the trait stand two types, the client and the server; all else is inside one
//! `const _: () = { … }`, where it is in nobody's way. There the runtime is called `__rpc`.

mod client;
mod interface;
mod schema;
mod server;

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::ext::IdentExt as _;
use syn::{GenericParam, Generics, Ident};

pub(super) use self::interface::interface;
use super::model::{Kind, Output, Service};

/// All that is generated beside the trait.
pub(super) fn generated(service: &Service) -> TokenStream {
    let Service { runtime, gates, .. } = service;
    let client_type = client::definition(service);
    let server_type = server::definition(service);
    let schema = schema::function(service);
    let client = client::implementation(service);
    let server = server::implementation(service);
    quote! {
        #(#gates)* #client_type
        #(#gates)* #server_type
        #(#gates)*
        #[allow(
            deprecated, dead_code, non_camel_case_types, non_snake_case, private_interfaces,
            unreachable_code, unreachable_patterns, unused_imports, unused_variables,
            clippy::all, clippy::pedantic, clippy::nursery
        )]
        const _: () = {
            use #runtime as __rpc;
            #schema
            #client
            #server
        };
    }
}

/// `BankClient`.
fn client_name(service: &Service) -> Ident {
    format_ident!("{}Client", service.ident.unraw(), span = service.ident.span())
}

/// `BankServer`.
fn server_name(service: &Service) -> Ident {
    format_ident!("{}Server", service.ident.unraw(), span = service.ident.span())
}

/// A type that speaks of every parameter and holds nothing.
fn phantom(generics: &Generics) -> TokenStream {
    let types = generics.type_params().map(|parameter| &parameter.ident);
    quote!(::core::marker::PhantomData<(#(fn() -> #types,)*)>)
}

fn has_parameters(generics: &Generics) -> bool {
    !generics.params.is_empty()
}

/// The parameters of the trait behind one for whoever implements it.
fn with_business(service: &Service, parameter: GenericParam) -> Generics {
    let mut generics = service.generics.clone();
    generics.params.insert(0, parameter);
    generics
}

impl Kind {
    fn name(self) -> Ident {
        let name = match self {
            Kind::Write { .. } => "Write",
            Kind::Read { .. } => "Read",
            Kind::Plain => "Plain",
        };
        format_ident!("{name}")
    }
}

impl Output {
    /// The types of value and error, as the client sees them.
    fn types(&self) -> (TokenStream, TokenStream) {
        match self {
            Output::Result { value, error } => (quote!(#value), quote!(#error)),
            Output::Value(value) => (quote!(#value), quote!(__rpc::service::NoError)),
        }
    }
}
