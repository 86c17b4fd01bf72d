//! From syntax to the model: every rule of a service is checked here, and every breach is reported.

mod method;
mod types;

use std::collections::HashSet;

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::{ToTokens, format_ident};
use syn::ext::IdentExt as _;
use syn::{GenericParam, Generics, ItemTrait, Path, TraitItem, TraitItemFn, WherePredicate};

use super::model::{Method, Service};
use super::parse::Options;
use crate::attributes::gates;
use crate::errors::Errors;

/// The most arguments of a method: they travel as a tuple, and the traits of tuples end there.
pub(crate) const MAX_ARGUMENTS: usize = 12;

/// The most methods of a service: what the handshake takes.
const MAX_METHODS: usize = 4096;

/// The longest name of a service or a method, in bytes: what the handshake takes.
const MAX_NAME: usize = 256;

/// Checks a trait and builds the model of its sound methods.
///
/// Returns `None` if the trait itself is not one that can be generated for; otherwise the model,
/// even if methods were reported and left out of it.
pub(crate) fn service(
    options: &Options,
    item: &ItemTrait,
    runtime: &Path,
    errors: &mut Errors,
) -> Option<Service> {
    let name = service_name(options, item, errors);
    let before = errors.count();
    check_modifiers(item, errors);
    let generics = check_generics(item, errors);
    let sound = errors.count() == before;
    let methods = check_items(item, errors);
    sound.then(|| Service {
        runtime: options.runtime.clone().unwrap_or_else(|| runtime.clone()),
        name,
        ident: item.ident.clone(),
        visibility: item.vis.clone(),
        gates: gates(&item.attrs),
        generics,
        business: unused_name("T", item),
        methods,
    })
}

fn service_name(options: &Options, item: &ItemTrait, errors: &mut Errors) -> String {
    let Some(literal) = &options.name else {
        let name = item.ident.unraw().to_string();
        check_name_length(&name, &item.ident, errors);
        return name;
    };
    let name = literal.value();
    if name.is_empty() {
        errors.on(literal, "a service needs a name: write `name = \"Bank\"`, or leave it out");
    }
    check_name_length(&name, literal, errors);
    name
}

fn check_name_length(name: &str, at: impl ToTokens, errors: &mut Errors) {
    if name.len() > MAX_NAME {
        let length = name.len();
        errors.on(at, format_args!("a name of {length} bytes is too long: use at most {MAX_NAME}"));
    }
}

fn check_modifiers(item: &ItemTrait, errors: &mut Errors) {
    if let Some(token) = &item.unsafety {
        errors.on(token, "a service asks nothing unsafe of whoever implements it: remove `unsafe`");
    }
    if let Some(token) = &item.modifiers.auto_token {
        errors.on(token, "a service has methods, an auto trait has none: remove `auto`");
    }
}

/// The parameters of the trait, as generated items take them over.
fn check_generics(item: &ItemTrait, errors: &mut Errors) -> Generics {
    let mut generics = item.generics.clone();
    for parameter in &item.generics.params {
        if let GenericParam::Lifetime(lifetime) = parameter {
            errors.on(
                lifetime,
                "a service outlives every borrow, so it has no lifetime parameters: remove it and \
                 use owned types",
            );
        } else {
            check_bound(parameter, errors);
        }
    }
    if let Some(clause) = &mut generics.where_clause {
        // A bound on `Self` is a supertrait: whoever has the trait has it too.
        clause.predicates = std::mem::take(&mut clause.predicates)
            .into_iter()
            .filter(|predicate| !is_about_self(predicate))
            .inspect(|predicate| check_bound(predicate, errors))
            .collect();
    }
    generics
}

fn check_bound(bound: &impl ToTokens, errors: &mut Errors) {
    if idents(bound.to_token_stream()).contains("Self") {
        errors.on(
            bound,
            "this bound speaks of `Self`, which a client does not have: write a bound on the type \
             parameter alone",
        );
    }
}

fn is_about_self(predicate: &WherePredicate) -> bool {
    matches!(predicate, WherePredicate::Type(bound)
        if bound.bounded_ty.to_token_stream().to_string() == "Self")
}

fn check_items(item: &ItemTrait, errors: &mut Errors) -> Vec<Method> {
    if item.items.is_empty() {
        errors.on(
            &item.ident,
            "a service needs at least one method: write `async fn name(&self, …) -> Result<T, E>;`",
        );
    }
    let mut seen = HashSet::new();
    let mut methods = Vec::new();
    for (index, item) in item.items.iter().enumerate() {
        let TraitItem::Fn(function) = item else {
            not_a_method(item, errors);
            continue;
        };
        if !seen.insert(identity(function)) {
            let name = &function.sig.ident;
            errors.on(name, format_args!("there is a method `{name}` already: rename one of them"));
            continue;
        }
        match u16::try_from(index) {
            Ok(id) if index < MAX_METHODS => methods.extend(method::check(function, id, errors)),
            _ => errors.on(
                &function.sig.ident,
                format_args!("a service has at most {MAX_METHODS} methods: split it into several"),
            ),
        }
    }
    methods
}

/// What no two methods may share. Methods that have different `#[cfg]`s may share a name: rustc
/// tells if both are there.
fn identity(function: &TraitItemFn) -> (String, String) {
    let gates = gates(&function.attrs);
    (function.sig.ident.unraw().to_string(), quote::quote!(#(#gates)*).to_string())
}

fn not_a_method(item: &TraitItem, errors: &mut Errors) {
    match item {
        TraitItem::Const(item) => errors.on(
            item,
            "a service has methods only: remove the constant, or write it outside of the trait",
        ),
        TraitItem::Type(item) => errors.on(
            item,
            "a service has methods only: remove the associated type, and write the type itself \
             where it is used",
        ),
        TraitItem::Macro(item) => errors.on(
            item,
            "a service must show its methods: write what this macro expands to in its place",
        ),
        other => errors.on(
            other,
            "this is no method of a service: write `async fn name(&self, …) -> Result<T, E>;`, \
             without `pub` or `default`",
        ),
    }
}

/// A name that begins like this and does not occur in the trait.
fn unused_name(wanted: &str, item: &ItemTrait) -> Ident {
    let used = idents(item.to_token_stream());
    let numbered = (1..).map(|number| format!("{wanted}{number}"));
    let name = std::iter::once(wanted.to_owned()).chain(numbered).find(|it| !used.contains(it));
    format_ident!("{}", name.expect("a trait has finitely many names"))
}

fn idents(tokens: TokenStream) -> HashSet<String> {
    let mut found = HashSet::new();
    let mut open = vec![tokens];
    while let Some(tokens) = open.pop() {
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    found.insert(ident.to_string());
                }
                TokenTree::Group(group) => open.push(group.stream()),
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
        }
    }
    found
}
