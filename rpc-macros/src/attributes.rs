//! The attributes that generated items take over from the user's.

use proc_macro2::{TokenStream, TokenTree};
use quote::quote;
use syn::{Attribute, Meta, MetaList};

/// What decides whether an item exists: its `#[cfg]`s, and those inside a `#[cfg_attr]`.
/// Everything that is generated for the item carries them.
pub(crate) fn gates(attributes: &[Attribute]) -> Vec<Attribute> {
    attributes.iter().filter_map(gate).collect()
}

/// What says how an item is used: documentation, deprecation and gates.
pub(crate) fn usage(attributes: &[Attribute]) -> Vec<Attribute> {
    let carried = ["doc", "deprecated", "cfg", "cfg_attr"];
    let is_carried =
        |attribute: &&Attribute| carried.iter().any(|it| attribute.path().is_ident(it));
    attributes.iter().filter(is_carried).cloned().collect()
}

/// Whether there is a doc comment among them.
pub(crate) fn documented(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("doc") && matches!(attribute.meta, Meta::NameValue(_))
    })
}

fn gate(attribute: &Attribute) -> Option<Attribute> {
    if attribute.path().is_ident("cfg") {
        return Some(attribute.clone());
    }
    let Meta::List(list) = &attribute.meta else { return None };
    if !attribute.path().is_ident("cfg_attr") {
        return None;
    }
    let mut parts = split_at_commas(list.tokens.clone()).into_iter();
    let condition = parts.next()?;
    let inner: Vec<TokenStream> = parts
        .filter(|part| {
            let first = part.clone().into_iter().next();
            matches!(first, Some(TokenTree::Ident(name)) if name == "cfg")
        })
        .collect();
    if inner.is_empty() {
        return None;
    }
    let tokens = quote!(#condition, #(#inner),*);
    let meta = Meta::List(MetaList { tokens, ..list.clone() });
    Some(Attribute { meta, ..attribute.clone() })
}

/// The parts of a list between its outermost commas. A trailing comma opens no part.
pub(crate) fn split_at_commas(tokens: TokenStream) -> Vec<TokenStream> {
    let mut parts = Vec::new();
    let mut part = TokenStream::new();
    for token in tokens {
        match token {
            TokenTree::Punct(comma) if comma.as_char() == ',' => {
                parts.push(std::mem::take(&mut part));
            }
            other => part.extend([other]),
        }
    }
    if !part.is_empty() {
        parts.push(part);
    }
    parts
}

#[cfg(test)]
mod tests {
    use quote::ToTokens;

    use super::*;

    fn gates_of(item: TokenStream) -> Vec<String> {
        let item: syn::ItemFn = syn::parse2(item).unwrap();
        gates(&item.attrs).iter().map(|gate| gate.to_token_stream().to_string()).collect()
    }

    #[test]
    fn gates_are_cfgs_wherever_they_stand() {
        let found = gates_of(quote! {
            #[doc = "text"]
            #[cfg(unix)]
            #[cfg_attr(test, deprecated, cfg(feature = "a"))]
            #[cfg_attr(test, deprecated)]
            fn f() {}
        });
        assert_eq!(found, ["# [cfg (unix)]", "# [cfg_attr (test , cfg (feature = \"a\"))]"]);
    }

    #[test]
    fn a_trailing_comma_opens_no_part() {
        assert_eq!(split_at_commas(quote!(a = (b, c), d,)).len(), 2);
        assert_eq!(split_at_commas(quote!()).len(), 0);
    }
}
