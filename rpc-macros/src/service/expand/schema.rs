//! The structure of the service, which both ends compare.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::Type;
use syn::ext::IdentExt as _;
use syn::spanned::Spanned as _;

use super::has_parameters;
use crate::service::model::{Method, Output, Service};

/// `__schema`, which the client and the server share, and the checks that only rustc can make.
pub(super) fn function(service: &Service) -> TokenStream {
    let Service { name, generics, .. } = service;
    let (parameters, _, bounds) = generics.split_for_impl();
    let methods = service.methods.iter().map(method);
    let probes = service.methods.iter().filter_map(|method| probe(service, method));
    let made = quote! {
        __rpc::service::ServiceSchema { name: #name, methods: ::std::vec![#(#methods,)*] }
    };
    // Every connection asks for it, and it is always the same. Of a generic service there are many.
    let schema = if has_parameters(generics) {
        made
    } else {
        quote! {
            static MADE: ::std::sync::OnceLock<__rpc::service::ServiceSchema> =
                ::std::sync::OnceLock::new();
            ::core::clone::Clone::clone(MADE.get_or_init(|| #made))
        }
    };
    quote! {
        fn __schema #parameters () -> __rpc::service::ServiceSchema #bounds {
            #schema
        }
        #(#probes)*
    }
}

fn method(method: &Method) -> TokenStream {
    let Method { id, gates, .. } = method;
    let name = method.ident.unraw().to_string();
    let kind = method.kind.name();
    let arguments = method.arguments.iter().map(|argument| describe(&argument.ty));
    let (value, error) = match &method.output {
        Output::Result { value, error } => (describe(value), describe(error)),
        Output::Value(value) => {
            (describe(value), quote!(<__rpc::service::NoError as __rpc::Schema>::describe))
        }
    };
    quote! {
        #(#gates)*
        __rpc::service::MethodSchema::new(
            #id, #name, __rpc::service::Kind::#kind, &[#(#arguments),*], #value, #error
        )
    }
}

/// Names a type's description, so that a type without one is reported where the user wrote it.
fn describe(ty: &Type) -> TokenStream {
    quote_spanned!(ty.span()=> <#ty as __rpc::Schema>::describe)
}

/// Refuses a `Result` behind an alias: its error would be taken for a success, and what the method
/// wrote before it would be kept.
fn probe(service: &Service, method: &Method) -> Option<TokenStream> {
    let Output::Value(ty) = &method.output else { return None };
    if has_parameters(&service.generics) {
        return None;
    }
    let gates = &method.gates;
    let message = format!(
        "`{}` returns an alias of `Result`: write `Result<T, E>` with both types, so that its \
         errors are known as errors",
        method.ident.unraw()
    );
    let is_result = quote_spanned!(ty.span()=> <__rpc::service::ReturnProbe<#ty>>::IS_RESULT);
    let check = quote_spanned!(ty.span()=> ::core::assert!(!#is_result, #message));
    Some(quote! {
        #(#gates)*
        const _: () = {
            use __rpc::service::NotResult as _;
            #check
        };
    })
}
