//! The server: from bytes to the business and back.
//!
//! A call lies in the enum of its kind as the tuple of its arguments, under its method's name.

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::ext::IdentExt as _;
use syn::spanned::Spanned as _;
use syn::{Generics, parse_quote};

use super::{has_parameters, phantom, server_name, with_business};
use crate::service::model::{Kind, Method, Output, Service};

/// `pub struct BankServer<T>`.
pub(super) fn definition(service: &Service) -> TokenStream {
    let Service { ident, visibility, business, .. } = service;
    let server = server_name(service);
    let generics = with_business(service, parse_quote!(#business));
    let phantom = phantom(&service.generics);
    let bounds = &generics.where_clause;
    let docs = format!(
        "Serves a [`{ident}`]: what a server of the runtime runs. Cheap to clone; the clones share \
         one business."
    );
    quote! {
        #[doc = #docs]
        #[allow(dead_code)]
        #visibility struct #server #generics #bounds {
            business: ::std::sync::Arc<#business>,
            parameters: #phantom,
        }
    }
}

/// Everything that the server can do.
pub(super) fn implementation(service: &Service) -> TokenStream {
    let kinds = [Of::Write, Of::Read, Of::Plain].map(|of| messages(service, of));
    let responses = responses(service);
    let construction = construction(service);
    let dispatch = dispatch(service);
    quote! { #(#kinds)* #responses #construction #dispatch }
}

/// The kinds, as the enums of calls are named after them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Write,
    Read,
    Plain,
}

impl Of {
    fn kind_of(method: &Method) -> Of {
        match method.kind {
            Kind::Write { .. } => Of::Write,
            Kind::Read { .. } => Of::Read,
            Kind::Plain => Of::Plain,
        }
    }

    fn name(self) -> Ident {
        let name = match self {
            Of::Write => "__Write",
            Of::Read => "__Read",
            Of::Plain => "__Plain",
        };
        Ident::new(name, Span::call_site())
    }

    fn methods(self, service: &Service) -> impl Iterator<Item = &Method> {
        service.methods.iter().filter(move |method| Of::kind_of(method) == self)
    }
}

/// The enum of the calls of one kind.
fn messages(service: &Service, of: Of) -> TokenStream {
    let variants = of.methods(service).map(|Method { gates, ident, arguments, .. }| {
        let types = arguments.iter().map(|argument| &argument.ty);
        quote!(#(#gates)* #ident((#(#types,)*)),)
    });
    sum(&service.generics, &of.name(), variants)
}

/// The enum of what the methods return.
fn responses(service: &Service) -> TokenStream {
    let variants = service.methods.iter().map(|method| {
        let Method { gates, ident, .. } = method;
        let (value, error) = method.output.types();
        quote!(#(#gates)* #ident(::core::result::Result<#value, #error>),)
    });
    sum(&service.generics, &quote::format_ident!("__Response"), variants)
}

/// An enum over the parameters of the trait, whether its variants use them or not.
fn sum(
    generics: &Generics,
    name: &Ident,
    variants: impl Iterator<Item = TokenStream>,
) -> TokenStream {
    let bounds = &generics.where_clause;
    let phantom = phantom(generics);
    let unused = has_parameters(generics)
        .then(|| quote!(__Parameters(::core::convert::Infallible, #phantom)));
    quote! { pub enum #name #generics #bounds { #(#variants)* #unused } }
}

/// The arm for the variant that only speaks of the parameters.
fn unused_arm(service: &Service, name: &Ident) -> Option<TokenStream> {
    has_parameters(&service.generics)
        .then(|| quote!(#name::__Parameters(never, _) => match never {},))
}

fn construction(service: &Service) -> TokenStream {
    let Service { ident, visibility, business, .. } = service;
    let server = server_name(service);
    let name = server.to_string();
    let generics = with_business(service, parse_quote!(#business));
    let (parameters, arguments, bounds) = generics.split_for_impl();
    let docs = format!("Serves calls with this implementation of [`{}`].", ident.unraw());
    quote! {
        impl #parameters #server #arguments #bounds {
            #[doc = #docs]
            #[must_use]
            #visibility fn new(business: #business) -> Self {
                #server {
                    business: ::std::sync::Arc::new(business),
                    parameters: ::core::marker::PhantomData,
                }
            }
        }
        impl #parameters ::core::clone::Clone for #server #arguments #bounds {
            fn clone(&self) -> Self {
                #server {
                    business: ::std::sync::Arc::clone(&self.business),
                    parameters: ::core::marker::PhantomData,
                }
            }
        }
        impl #parameters ::core::fmt::Debug for #server #arguments #bounds {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.debug_struct(#name).finish_non_exhaustive()
            }
        }
    }
}

fn dispatch(service: &Service) -> TokenStream {
    let Service { ident, business, generics, .. } = service;
    let server = server_name(service);
    let (_, of_trait, _) = generics.split_for_impl();
    let turbofish = of_trait.as_turbofish();
    let with_business = with_business(service, parse_quote!(#business: #ident #of_trait));
    let (parameters, arguments, bounds) = with_business.split_for_impl();
    let decoding = service.methods.iter().map(decode);
    let anchors = service.methods.iter().filter_map(anchor);
    let encoding = service.methods.iter().map(encode);
    let unused_response = unused_arm(service, &quote::format_ident!("__Response"));
    let [writes, reads, plains] = [Of::Write, Of::Read, Of::Plain].map(|of| runs(service, of));
    quote! {
        impl #parameters __rpc::service::Service for #server #arguments #bounds {
            type Write = __Write #of_trait;
            type Read = __Read #of_trait;
            type Plain = __Plain #of_trait;
            type Response = __Response #of_trait;

            fn schema() -> __rpc::service::ServiceSchema {
                __schema #turbofish ()
            }
            fn decode(
                method: __rpc::id::MethodId,
                arguments: &[u8],
            ) -> ::core::result::Result<__rpc::service::ServiceCall<Self>, __rpc::service::DecodeError> {
                match method.0 {
                    #(#decoding)*
                    _ => ::core::result::Result::Err(
                        __rpc::service::DecodeError::NoSuchMethod(method)
                    ),
                }
            }
            fn anchor(
                call: &Self::Write,
                is_used: bool,
            ) -> ::core::result::Result<
                ::core::option::Option<__rpc::store::DocKey>, __rpc::store::KeyError
            > {
                match *call {
                    #(#anchors)*
                    _ => ::core::result::Result::Ok(::core::option::Option::None),
                }
            }
            async fn write(&self, call: Self::Write, tx: &mut __rpc::Tx) -> Self::Response {
                match call { #writes }
            }
            async fn read(&self, call: Self::Read, view: &__rpc::View) -> Self::Response {
                match call { #reads }
            }
            async fn plain(&self, call: Self::Plain) -> Self::Response {
                match call { #plains }
            }
            fn encode(
                response: &Self::Response,
                out: &mut ::std::vec::Vec<u8>,
            ) -> ::core::result::Result<__rpc::service::Verdict, __rpc::service::EncodeError> {
                match *response { #(#encoding)* #unused_response }
            }
        }
    }
}

fn decode(method: &Method) -> TokenStream {
    let Method { id, gates, ident, .. } = method;
    let kind = method.kind.name();
    let of = Of::kind_of(method).name();
    let decode = quote_spanned!(ident.span()=> __rpc::service::decode_as);
    let call = quote!(arguments, |call| __rpc::service::Request::#kind(#of::#ident(call)));
    let mut parameters = Group::new(Delimiter::Parenthesis, call);
    parameters.set_span(ident.span());
    quote! {
        #(#gates)*
        #id => #decode #parameters,
    }
}

fn encode(method: &Method) -> TokenStream {
    let Method { gates, ident, .. } = method;
    let encode = quote_spanned!(ident.span()=> __rpc::service::encode_result);
    quote!(#(#gates)* __Response::#ident(ref result) => #encode(result, out),)
}

/// The name of the document, asked from the argument at the user's type.
fn anchor(method: &Method) -> Option<TokenStream> {
    let Kind::Write { anchor: Some(index), .. } = method.kind else { return None };
    let Method { gates, ident, arguments, .. } = method;
    let before = std::iter::repeat_n(quote!(_,), index);
    let span = arguments[index].ty.span();
    let key = Ident::new("key", span);
    let name = quote_spanned!(span=> __rpc::DocumentKey::anchor(#key, is_used));
    Some(quote! {
        #(#gates)*
        __Write::#ident((#(#before)* ref #key, ..)) => #name,
    })
}

/// The arms that run the methods of one kind.
fn runs(service: &Service, of: Of) -> TokenStream {
    let arms = of.methods(service).map(|method| run(service, of, method));
    let unused = unused_arm(service, &of.name());
    quote!(#(#arms)* #unused)
}

/// A parameter of the server's method, handed on where the user wrote its type.
fn lent(name: &str, at: Span) -> TokenStream {
    let name = Ident::new(name, Span::call_site().located_at(at));
    quote!(#name,)
}

fn run(service: &Service, of: Of, method: &Method) -> TokenStream {
    let Service { ident: interface, business, generics, .. } = service;
    let Method { gates, ident, .. } = method;
    let (_, of_trait, _) = generics.split_for_impl();
    let enum_name = of.name();
    let names: Vec<_> = (0..method.arguments.len())
        .map(|index| Ident::new(&format!("a{index}"), Span::mixed_site()))
        .collect();
    let context = match method.kind {
        Kind::Write { context, .. } => lent("tx", context),
        Kind::Read { context } => lent("view", context),
        Kind::Plain => TokenStream::new(),
    };
    let call = quote!(
        <#business as #interface #of_trait>::#ident(&self.business, #context #(#names),*).await
    );
    let result = match &method.output {
        Output::Result { .. } => call,
        Output::Value(_) => quote!(::core::result::Result::Ok(#call)),
    };
    quote! {
        #(#gates)* #enum_name::#ident((#(#names,)*)) => __Response::#ident(#result),
    }
}
