//! The client: a struct around the runtime's, with one call into it per method.

use proc_macro2::{Ident, TokenStream};
use quote::{quote, quote_spanned};
use syn::ext::IdentExt as _;

use super::{client_name, phantom};
use crate::attributes::documented;
use crate::service::model::{Argument, Method, Service};

/// `pub struct BankClient`.
pub(super) fn definition(service: &Service) -> TokenStream {
    let Service { runtime, ident, visibility, generics, .. } = service;
    let client = client_name(service);
    let phantom = phantom(generics);
    let bounds = &generics.where_clause;
    let docs = format!(
        "Calls a [`{ident}`] on its servers: the same methods, without the transaction or the view.\
         \n\nConnect one with `rpc::Client::builder().connect::<{client}>(…)`. Cheap to clone; the \
         clones share one session."
    );
    quote! {
        #[doc = #docs]
        #[allow(dead_code)]
        #visibility struct #client #generics #bounds {
            client: #runtime::Client,
            parameters: #phantom,
        }
    }
}

/// Everything that the client can do.
pub(super) fn implementation(service: &Service) -> TokenStream {
    let Service { generics, .. } = service;
    let client = client_name(service);
    let name = client.to_string();
    let (parameters, arguments, bounds) = generics.split_for_impl();
    let turbofish = arguments.as_turbofish();
    let methods = service.methods.iter().map(|it| method(service, it));
    quote! {
        impl #parameters #client #arguments #bounds {
            #(#methods)*
        }
        impl #parameters ::core::clone::Clone for #client #arguments #bounds {
            fn clone(&self) -> Self {
                <Self as __rpc::client::Stub>::from_client(::core::clone::Clone::clone(&self.client))
            }
        }
        impl #parameters ::core::fmt::Debug for #client #arguments #bounds {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.debug_tuple(#name).field(&self.client).finish()
            }
        }
        impl #parameters __rpc::client::Stub for #client #arguments #bounds {
            fn schema() -> __rpc::service::ServiceSchema {
                __schema #turbofish ()
            }
            fn from_client(client: __rpc::Client) -> Self {
                #client { client, parameters: ::core::marker::PhantomData }
            }
            fn client(&self) -> &__rpc::Client {
                &self.client
            }
        }
    }
}

fn method(service: &Service, method: &Method) -> TokenStream {
    let Method { id, ident, usage, .. } = method;
    let visibility = &service.visibility;
    let kind = method.kind.name();
    let names: Vec<_> = method.arguments.iter().map(|argument| &argument.ident).collect();
    let types: Vec<_> = method.arguments.iter().map(given).collect();
    let lifetime = method.arguments.iter().any(|argument| argument.is_lent).then(|| quote!(<'a>));
    let (value, error) = method.output.types();
    let docs = (!documented(usage)).then(|| {
        let docs = format!("Calls [`{}::{}`].", service.ident.unraw(), ident.unraw());
        quote!(#[doc = #docs])
    });
    // What is no message is reported at the method, besides at its type.
    let call = Ident::new("call", ident.span());
    let values = quote_spanned!(ident.span()=> (#(#names,)*));
    quote! {
        #docs
        #(#usage)*
        #visibility fn #ident #lifetime (&self, #(#names: #types),*) -> __rpc::Call<(#(#types,)*), #value, #error> {
            self.client.#call(__rpc::id::MethodId(#id), __rpc::service::Kind::#kind, #values)
        }
    }
}

/// The type of an argument as the caller gives it.
fn given(Argument { ty, is_lent, .. }: &Argument) -> TokenStream {
    if *is_lent { quote!(&'a #ty) } else { quote!(#ty) }
}
