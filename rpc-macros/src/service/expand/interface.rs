//! The trait, as users implement it.

use std::collections::HashSet;

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::ext::IdentExt as _;
use syn::parse::{ParseStream, Parser as _};
use syn::visit::{self, Visit};
use syn::{
    Attribute, FnArg, GenericParam, ItemTrait, Pat, ReturnType, Signature, Token, TraitItem,
    TraitItemFn, Type, parse_quote,
};

use crate::attributes::gates;

/// The trait as written, but for what the rules of a service change: it is `Send`, `Sync` and
/// `'static`, and so is every future of it `Send`.
///
/// Works on syntax that may have broken any rule, and then stays as close to it as rustc allows: it
/// must be the trait that its `impl`s were written for.
pub(crate) fn interface(item: &ItemTrait) -> TokenStream {
    let mut item = item.clone();
    item.unsafety = None;
    item.modifiers.auto_token = None;
    item.colon_token.get_or_insert_with(Default::default);
    let borrows = item.generics.lifetimes().next().is_some();
    let mut supertraits: syn::punctuated::Punctuated<_, Token![+]> = Default::default();
    supertraits.push(parse_quote!(::core::marker::Send));
    supertraits.push(parse_quote!(::core::marker::Sync));
    if !borrows {
        supertraits.push(parse_quote!('static));
    }
    supertraits.extend(std::mem::take(&mut item.supertraits));
    item.supertraits = supertraits;
    let mut seen = HashSet::new();
    item.items.retain_mut(|item| match item {
        TraitItem::Fn(function) => {
            let gates = gates(&function.attrs);
            clean(function);
            seen.insert((function.sig.ident.unraw().to_string(), quote!(#(#gates)*).to_string()))
        }
        TraitItem::Verbatim(tokens) => {
            *tokens = without_visibility(std::mem::take(tokens));
            true
        }
        _ => true,
    });
    quote!(#item)
}

/// An item that syn does not know for one, such as a method with `pub`.
fn without_visibility(tokens: TokenStream) -> TokenStream {
    let behind_visibility = |input: ParseStream<'_>| {
        let attributes = input.call(Attribute::parse_outer)?;
        input.parse::<syn::Visibility>()?;
        let rest: TokenStream = input.parse()?;
        Ok(quote!(#(#attributes)* #rest))
    };
    behind_visibility.parse2(tokens.clone()).unwrap_or(tokens)
}

fn clean(function: &mut TraitItemFn) {
    let remove_anchor = |attributes: &mut Vec<Attribute>| {
        attributes.retain(|attribute| !attribute.path().is_ident("anchor"));
    };
    remove_anchor(&mut function.attrs);
    let signature = &mut function.sig;
    // These two rustc refuses as well, and once is enough.
    signature.constness = None;
    signature.variadic = None;
    for input in &mut signature.inputs {
        match input {
            FnArg::Receiver(receiver) => receiver.attrs.clear(),
            FnArg::Typed(parameter) => {
                parameter.attrs.clear();
                if function.default.is_none() {
                    simplify(&mut parameter.pat);
                }
            }
        }
    }
    if function.default.is_none() && can_promise_send(signature) {
        promise_send(signature);
    } else if signature.asyncness.is_some() {
        function.attrs.push(parse_quote!(#[allow(async_fn_in_trait)]));
    }
}

/// Only a name may stand where there is no body.
fn simplify(pattern: &mut Pat) {
    match pattern {
        Pat::Ident(name) if name.by_ref.is_none() && name.subpat.is_none() => {
            name.mutability = None;
        }
        Pat::Wild(_) => {}
        other => *other = parse_quote!(_),
    }
}

/// Whether the future of such a method can be asked to be `Send` with no bound that its `impl`s
/// were not written with.
fn can_promise_send(signature: &Signature) -> bool {
    struct FindsImpl(bool);
    impl Visit<'_> for FindsImpl {
        fn visit_type(&mut self, ty: &Type) {
            self.0 |= matches!(ty, Type::ImplTrait(_));
            visit::visit_type(self, ty);
        }
    }
    let mut finds_impl = FindsImpl(false);
    finds_impl.visit_signature(signature);
    let only_lifetimes = |parameter| matches!(parameter, &GenericParam::Lifetime(_));
    signature.asyncness.is_some()
        && signature.generics.params.iter().all(only_lifetimes)
        && !finds_impl.0
}

fn promise_send(signature: &mut Signature) {
    signature.asyncness = None;
    let (span, output) = match &signature.output {
        ReturnType::Default => (signature.paren_token.span.close(), quote!(())),
        ReturnType::Type(_, ty) => (syn::spanned::Spanned::span(ty), quote!(#ty)),
    };
    let future = quote_spanned! {span=>
        -> impl ::core::future::Future<Output = #output> + ::core::marker::Send
    };
    signature.output = syn::parse2(future).expect("a future of a type that was parsed is a type");
}
