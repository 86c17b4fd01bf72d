//! The server: from bytes to the business and back.

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::ext::IdentExt as _;
use syn::parse_quote;
use syn::spanned::Spanned as _;

use super::{has_parameters, phantom, server_name, with_business};
use crate::service::model::{Argument, Kind, Method, Output, Service};

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
    let responses = responses(service);
    let construction = construction(service);
    let dispatch = dispatch(service);
    quote! { #responses #construction #dispatch }
}

/// The enum of what the methods return.
fn responses(service: &Service) -> TokenStream {
    let variants = service.methods.iter().map(|method| {
        let Method { gates, ident, .. } = method;
        let (value, error) = method.output.types();
        quote!(#(#gates)* #ident(::core::result::Result<#value, #error>),)
    });
    let generics = &service.generics;
    let bounds = &generics.where_clause;
    // Whether its variants use the parameters or not.
    let phantom = phantom(generics);
    let unused = has_parameters(generics)
        .then(|| quote!(__Parameters(::core::convert::Infallible, #phantom)));
    quote! { pub enum __Response #generics #bounds { #(#variants)* #unused } }
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
    let anchors = service.methods.iter().filter_map(anchor);
    let encoding = service.methods.iter().map(encode);
    let unused = has_parameters(generics)
        .then(|| quote!(__Response::__Parameters(never, _) => match never {},));
    let runs = |is_meant: fn(&Kind) -> bool| {
        let methods = service.methods.iter().filter(move |method| is_meant(&method.kind));
        methods.map(|method| run(service, method))
    };
    let writes = runs(|kind| matches!(kind, Kind::Write { .. }));
    let reads = runs(|kind| matches!(kind, Kind::Read { .. }));
    let plains = runs(|kind| matches!(kind, Kind::Plain));
    let unknown = quote! {
        _ => ::core::result::Result::Err(__rpc::service::ArgumentError::NoSuchMethod(method)),
    };
    let response = quote!(::core::result::Result<Self::Response, __rpc::service::ArgumentError>);
    quote! {
        impl #parameters __rpc::service::Service for #server #arguments #bounds {
            type Response = __Response #of_trait;

            fn schema() -> __rpc::service::ServiceSchema {
                __schema #turbofish ()
            }
            fn anchor(method: __rpc::id::MethodId, arguments: &[u8]) -> ::core::result::Result<
                ::core::option::Option<__rpc::store::DocKey>, __rpc::service::ArgumentError
            > {
                match method.0 {
                    #(#anchors)*
                    _ => ::core::result::Result::Ok(::core::option::Option::None),
                }
            }
            async fn write(
                &self, method: __rpc::id::MethodId, arguments: &[u8], tx: &mut __rpc::Tx
            ) -> #response {
                match method.0 { #(#writes)* #unknown }
            }
            async fn read(
                &self, method: __rpc::id::MethodId, arguments: &[u8], view: &__rpc::View
            ) -> #response {
                match method.0 { #(#reads)* #unknown }
            }
            async fn plain(
                &self, method: __rpc::id::MethodId, arguments: &[u8]
            ) -> #response {
                match method.0 { #(#plains)* #unknown }
            }
            fn encode(
                response: &Self::Response,
                out: &mut ::std::vec::Vec<u8>,
            ) -> ::core::result::Result<__rpc::service::Verdict, __rpc::service::EncodeError> {
                match *response { #(#encoding)* #unused }
            }
        }
    }
}

fn encode(method: &Method) -> TokenStream {
    let Method { gates, ident, .. } = method;
    let encode = quote_spanned!(ident.span()=> __rpc::service::encode_result);
    quote!(#(#gates)* __Response::#ident(ref result) => #encode(result, out),)
}

/// The name of the document, asked from the argument at the user's type, with no more decoded than
/// that takes.
fn anchor(method: &Method) -> Option<TokenStream> {
    let Kind::Write { anchor: Some(index), .. } = method.kind else { return None };
    let Method { id, gates, ident, arguments, .. } = method;
    let before = std::iter::repeat_n(quote!(_,), index);
    let types = arguments[..=index].iter().map(held);
    let decode = decoded("decode_first_arguments", ident);
    let span = arguments[index].ty.span();
    let key = Ident::new("key", span);
    let lent = lent(&key, &arguments[index], &key);
    let name = quote_spanned!(span=> __rpc::DocumentKey::doc_key(#lent)?);
    Some(quote! {
        #(#gates)*
        #id => {
            let (#(#before)* ref #key,): (#(#types,)*) = #decode;
            ::core::result::Result::Ok(::core::option::Option::Some(#name))
        }
    })
}

/// What a function of the runtime decodes, reported at the method if it cannot. The server's own
/// `arguments` stay its own: a method may be named by a macro of the user's.
fn decoded(function: &str, method: &Ident) -> TokenStream {
    let span = method.span();
    let function = Ident::new(function, span);
    let function = quote_spanned!(span=> __rpc::service::#function);
    let mut parameters = Group::new(Delimiter::Parenthesis, quote!(arguments));
    parameters.set_span(span);
    let or_return = quote_spanned!(span=> ?);
    quote!(#function #parameters #or_return)
}

/// The type of an argument as the server holds it.
fn held(Argument { ty, is_lent, .. }: &Argument) -> TokenStream {
    if *is_lent {
        quote_spanned!(ty.span()=> <#ty as __rpc::lend::Lend>::Held<'_>)
    } else {
        quote!(#ty)
    }
}

/// What is held behind this reference, lent if the method wants it so, else as `owned`.
fn lent(
    held: impl ToTokens,
    Argument { ty, is_lent, .. }: &Argument,
    owned: impl ToTokens,
) -> TokenStream {
    if *is_lent {
        quote_spanned!(ty.span()=> <#ty as __rpc::lend::Lend>::lend(#held))
    } else {
        quote!(#owned)
    }
}

/// A parameter of the server's method, handed on where the user wrote its type.
fn handed_on(name: &str, at: Span) -> TokenStream {
    let name = Ident::new(name, Span::call_site().located_at(at));
    quote!(#name,)
}

/// The arm that runs a method.
fn run(service: &Service, method: &Method) -> TokenStream {
    let Service { ident: interface, business, generics, .. } = service;
    let Method { id, gates, ident, arguments, .. } = method;
    let (_, of_trait, _) = generics.split_for_impl();
    let names: Vec<_> = (0..arguments.len())
        .map(|index| Ident::new(&format!("a{index}"), Span::mixed_site()))
        .collect();
    let types = arguments.iter().map(held);
    let decode = decoded("decode_arguments", ident);
    let context = match method.kind {
        Kind::Write { context, .. } => handed_on("tx", context),
        Kind::Read { context } => handed_on("view", context),
        Kind::Plain => TokenStream::new(),
    };
    let checked = match method.kind {
        Kind::Write { anchor: Some(index), .. } => {
            let (name, argument) = (&names[index], &arguments[index]);
            let span = argument.ty.span();
            let key = Ident::new("key", span);
            let lent = lent(&key, argument, &key);
            let check = quote_spanned!(span=> __rpc::DocumentKey::check_key(#lent)?);
            quote!(let ref #key = #name; #check;)
        }
        _ => TokenStream::new(),
    };
    let values = names.iter().zip(arguments).map(|(name, it)| lent(quote!(&#name), it, name));
    let call = quote!(
        <#business as #interface #of_trait>::#ident(&self.business, #context #(#values),*).await
    );
    let result = match &method.output {
        Output::Result { .. } => call,
        Output::Value(_) => quote!(::core::result::Result::Ok(#call)),
    };
    quote! {
        #(#gates)*
        #id => {
            let (#(#names,)*): (#(#types,)*) = #decode;
            #checked
            ::core::result::Result::Ok(__Response::#ident(#result))
        }
    }
}
