//! What serde's attributes say about the form of a value.
//!
//! The wire format is not self-describing: both ends read the same fields in the same order. So
//! `rename`, `rename_all`, `alias` and `default` change nothing and are passed over, and what
//! would make the two directions differ, or needs names on the wire, is refused.

use proc_macro2::TokenStream;
use quote::ToTokens as _;
use syn::ext::IdentExt as _;
use syn::parse::{ParseStream, Parser as _};
use syn::{Attribute, Ident, LitStr, Meta, Token, Type};

use crate::attributes::split_at_commas;
use crate::errors::Errors;

/// What a container's attributes say.
#[derive(Default)]
pub(super) struct Container {
    /// `#[serde(transparent)]`: the value travels as its one field.
    pub(super) transparent: bool,
    /// `from`, `try_from` or `into`: the value travels as this type.
    pub(super) form: Option<Type>,
}

/// What a field's or a variant's attributes say.
#[derive(Default)]
pub(super) struct Part {
    /// `#[serde(skip)]`: it does not travel.
    pub(super) skipped: bool,
    /// `with` or its halves: it travels in a form that these modules define.
    pub(super) with: Option<String>,
    /// `default`: serde does not count it as the field of a transparent struct.
    pub(super) has_default: bool,
}

/// Reads the attributes of a struct or an enum.
pub(super) fn container(attributes: &[Attribute], errors: &mut Errors) -> Container {
    let mut container = Container::default();
    let mut into: Option<Type> = None;
    for word in words(attributes) {
        match word.key.to_string().as_str() {
            "transparent" => container.transparent = true,
            "from" | "try_from" => container.form = word.ty(errors).or(container.form),
            "into" => into = word.ty(errors),
            "tag" | "untagged" | "content" => word.refuse(
                "needs a format with names, and messages have none: remove it, or send a type of \
                 its own",
                errors,
            ),
            _ => {}
        }
    }
    if let (Some(from), Some(into)) = (&container.form, &into) {
        let text = |ty: &Type| ty.to_token_stream().to_string();
        if text(from) != text(into) {
            errors.on(
                into,
                "a value is sent as this type and received as another: name one type in both \
                 attributes, or implement `rpc::Schema` by hand",
            );
        }
    }
    container.form = container.form.or(into);
    container
}

/// Reads the attributes of a field or a variant.
pub(super) fn part(attributes: &[Attribute], errors: &mut Errors) -> Part {
    let mut part = Part::default();
    let mut one_way = Vec::new();
    for word in words(attributes) {
        match word.key.to_string().as_str() {
            "skip" => part.skipped = true,
            "skip_serializing" | "skip_deserializing" => one_way.push(word),
            "with" | "serialize_with" | "deserialize_with" => {
                let module = word.text().unwrap_or_default();
                part.with = Some(part.with.map_or(module.clone(), |it| format!("{it},{module}")));
            }
            "default" => part.has_default = true,
            "skip_serializing_if" => word.refuse(
                "leaves out bytes that the other end waits for: remove it; `None` takes one byte",
                errors,
            ),
            "flatten" | "untagged" | "other" => {
                word.refuse("needs a format with names, and messages have none: remove it", errors)
            }
            _ => {}
        }
    }
    match one_way.as_slice() {
        [] => {}
        [word] => word.refuse("leaves it out in one direction only: write `skip`", errors),
        _ => part.skipped = true,
    }
    part
}

/// One entry of a `#[serde(…)]`.
struct Word {
    key: Ident,
    rest: TokenStream,
}

impl Word {
    fn refuse(&self, why: &str, errors: &mut Errors) {
        let key = &self.key;
        errors.at(key.span(), format_args!("`#[serde({key})]` {why}"));
    }

    /// The text behind `=`.
    fn literal(&self) -> Option<LitStr> {
        let read = |input: ParseStream<'_>| {
            input.parse::<Token![=]>()?;
            input.parse::<LitStr>()
        };
        read.parse2(self.rest.clone()).ok()
    }

    fn text(&self) -> Option<String> {
        self.literal().map(|literal| literal.value())
    }

    /// The type that the text names. What serde does not take either, serde reports.
    fn ty(&self, errors: &mut Errors) -> Option<Type> {
        let literal = self.literal()?;
        literal
            .parse()
            .map_err(|_| errors.on(&literal, "this is no type: write `from = \"String\"`"))
            .ok()
    }
}

fn words(attributes: &[Attribute]) -> Vec<Word> {
    let mut words = Vec::new();
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("serde")) {
        let Meta::List(list) = &attribute.meta else { continue };
        for part in split_at_commas(list.tokens.clone()) {
            let read = |input: ParseStream<'_>| {
                Ok(Word { key: input.call(Ident::parse_any)?, rest: input.parse()? })
            };
            // What is no word at all, serde reports.
            words.extend(read.parse2(part));
        }
    }
    words
}
