//! The rules of types: which say what a method may do, and which can travel.

use proc_macro2::Span;
use quote::ToTokens;
use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};
use syn::{GenericArgument, Lifetime, PathArguments, Type, TypePath, TypeReference};

use crate::errors::Errors;

/// `Tx` or `View`, however it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Context {
    Tx,
    View,
}

/// How a context is passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passing {
    Value,
    Shared,
    Exclusive,
    /// By a reference with a lifetime that the user named.
    Named,
}

impl Context {
    /// The one way to write it.
    pub(super) fn spelling(self) -> &'static str {
        match self {
            Context::Tx => "&mut Tx",
            Context::View => "&View",
        }
    }

    pub(super) fn passing(self) -> Passing {
        match self {
            Context::Tx => Passing::Exclusive,
            Context::View => Passing::Shared,
        }
    }
}

/// Whether a parameter is the context of the call, by the last segment of its path.
pub(super) fn context(ty: &Type) -> Option<(Context, Passing)> {
    let (passing, inner) = match peel(ty) {
        Type::Reference(TypeReference { lifetime, mutability, elem, .. }) => {
            let passing = match (lifetime, mutability) {
                (Some(lifetime), _) if lifetime.ident != "_" => Passing::Named,
                (_, Some(_)) => Passing::Exclusive,
                (_, None) => Passing::Shared,
            };
            (passing, peel(elem))
        }
        other => (Passing::Value, other),
    };
    let Type::Path(TypePath { qself: None, path, .. }) = inner else { return None };
    let last = path.segments.last()?;
    let context = match last.ident.to_string().as_str() {
        "Tx" => Context::Tx,
        "View" => Context::View,
        _ => return None,
    };
    Some((context, passing))
}

/// The type arguments of a `Result`, by the last segment of its path; `None` if it is none.
pub(super) fn result_arguments(ty: &Type) -> Option<Vec<&Type>> {
    let Type::Path(TypePath { path, .. }) = peel(ty) else { return None };
    let last = path.segments.last().filter(|last| last.ident == "Result")?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return Some(Vec::new()) };
    let types = arguments.args.iter().map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    });
    Some(types.collect::<Option<_>>().unwrap_or_default())
}

/// What an argument lends, if it is a reference that the method may look at while it runs.
pub(super) fn lent(ty: &Type) -> Option<&Type> {
    match peel(ty) {
        Type::Reference(TypeReference { lifetime, mutability: None, elem, .. })
            if lifetime.as_ref().is_none_or(|lifetime| lifetime.ident == "_") =>
        {
            Some(elem)
        }
        _ => None,
    }
}

/// What a type is for, as its messages call it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Role {
    Argument,
    Result,
    Error,
}

/// Reports all that keeps a type from travelling as far as its text shows it. The rest (whether it
/// is a message) rustc says.
pub(super) fn check_travels(ty: &Type, role: Role, errors: &mut Errors) {
    let mut travel = Travel { role, errors };
    match (role, peel(ty)) {
        (Role::Argument, Type::Reference(reference)) => travel.refuse_to_lend(reference),
        _ => travel.visit_type(ty),
    }
}

/// The type inside the invisible groups of a `macro_rules!` and inside parentheses.
pub(super) fn peel(mut ty: &Type) -> &Type {
    loop {
        ty = match ty {
            Type::Group(group) => &group.elem,
            Type::Paren(paren) => &paren.elem,
            _ => return ty,
        };
    }
}

struct Travel<'a> {
    role: Role,
    errors: &'a mut Errors,
}

impl Travel<'_> {
    fn refuse(&mut self, tokens: impl ToTokens, why: &str) {
        let what = match self.role {
            Role::Argument => "an argument travels to another machine",
            Role::Result => "a result travels to another machine",
            Role::Error => "an error travels to another machine",
        };
        self.errors.on(tokens, format_args!("{what}, {why}"));
    }

    /// A reference that [`lent`] does not take.
    fn refuse_to_lend(&mut self, reference: &TypeReference) {
        let referent = text(&reference.elem);
        let why = match reference.mutability {
            Some(_) => "from where nothing here can be changed",
            None => "so it is lent for as long as the call takes",
        };
        self.refuse(reference, &format!("{why}: write `&{referent}`"));
        self.visit_type(&reference.elem);
    }
}

impl<'ast> Visit<'ast> for Travel<'_> {
    fn visit_type(&mut self, ty: &'ast Type) {
        match ty {
            Type::Reference(reference) => {
                let owned = owned(&reference.elem);
                self.refuse(reference, &format!("so it owns its data: write `{owned}`"));
            }
            Type::ImplTrait(_) => {
                self.refuse(ty, "so its type must be known there: write the type itself");
            }
            Type::TraitObject(_) => {
                self.refuse(ty, "which cannot know what is behind a `dyn`: write an enum");
            }
            Type::Ptr(_) | Type::FnPtr(_) => {
                self.refuse(ty, "where a pointer means nothing: write what it points to");
            }
            Type::Infer(_) => {
                self.refuse(ty, "so its type must be known there: write it out");
            }
            _ => visit::visit_type(self, ty),
        }
    }

    fn visit_type_path(&mut self, path: &'ast TypePath) {
        let first = path.path.segments.first();
        let about_self = path.qself.is_none() && first.is_some_and(|first| first.ident == "Self");
        if about_self {
            self.refuse(path, "where there is no `Self`: write the type itself");
        } else {
            visit::visit_type_path(self, path);
        }
    }

    fn visit_lifetime(&mut self, lifetime: &'ast Lifetime) {
        if lifetime.ident != "static" {
            self.refuse(lifetime, "so it owns its data: write a type without this lifetime");
        }
    }

    /// An expression in a type (the length of an array) is not part of the message.
    fn visit_expr(&mut self, _: &'ast syn::Expr) {}
}

/// What to write instead of a reference to this.
fn owned(ty: &Type) -> String {
    match peel(ty) {
        Type::Slice(slice) => format!("Vec<{}>", text(&slice.elem)),
        other => match text(other).as_str() {
            "str" => "String".to_owned(),
            "Path" => "PathBuf".to_owned(),
            text => text.to_owned(),
        },
    }
}

/// A type as its author would write it: with no spaces but those that keep words apart.
fn text(ty: &Type) -> String {
    let spaced = ty.to_token_stream().to_string();
    let mut text = String::with_capacity(spaced.len());
    let mut characters = spaced.chars().peekable();
    while let Some(character) = characters.next() {
        let word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        let needed = word(text.chars().last()) && word(characters.peek().copied());
        if character != ' ' || needed || text.ends_with(',') {
            text.push(character);
        }
    }
    text
}

/// Where a type stands.
pub(super) fn span(ty: &Type) -> Span {
    peel(ty).span()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Type {
        syn::parse_str(text).unwrap()
    }

    #[test]
    fn contexts_are_known_by_their_last_segment() {
        assert_eq!(context(&parse("&mut Tx")), Some((Context::Tx, Passing::Exclusive)));
        assert_eq!(context(&parse("&'_ mut a::Tx")), Some((Context::Tx, Passing::Exclusive)));
        assert_eq!(context(&parse("&'a mut Tx")), Some((Context::Tx, Passing::Named)));
        assert_eq!(context(&parse("&(rpc::View)")), Some((Context::View, Passing::Shared)));
        assert_eq!(context(&parse("View")), Some((Context::View, Passing::Value)));
        assert_eq!(context(&parse("&TxId")), None);
        assert_eq!(context(&parse("Tx::Id")), None);
    }

    #[test]
    fn the_owned_form_of_a_borrow_is_named() {
        assert_eq!(owned(&parse("str")), "String");
        assert_eq!(owned(&parse("[Option<u8>]")), "Vec<Option<u8>>");
        assert_eq!(owned(&parse("HashMap<u8, a::B>")), "HashMap<u8, a::B>");
    }

    #[test]
    fn results_are_known_by_their_last_segment() {
        assert_eq!(result_arguments(&parse("std::result::Result<u8, ()>")).unwrap().len(), 2);
        assert_eq!(result_arguments(&parse("Result<u8>")).unwrap().len(), 1);
        assert_eq!(result_arguments(&parse("fmt::Result")).unwrap().len(), 0);
        assert!(result_arguments(&parse("Vec<Result<u8, u8>>")).is_none());
    }
}
