//! The rules of one method.

use proc_macro2::{Ident, Span};
use quote::ToTokens;
use syn::ext::IdentExt as _;
use syn::{
    Attribute, FnArg, Meta, Pat, PatType, Receiver, ReceiverKind, ReturnType, Safety, Signature,
    TraitItemFn, Type,
};

use super::types::{self, Context, Passing, Role};
use super::{MAX_ARGUMENTS, check_name_length};
use crate::attributes::{gates, usage};
use crate::errors::Errors;
use crate::service::model::{Argument, Kind, Method, Output};

/// Checks a method. Returns its model if nothing was wrong.
pub(super) fn check(function: &TraitItemFn, id: u16, errors: &mut Errors) -> Option<Method> {
    let before = errors.count();
    let signature = &function.sig;
    check_name_length(&signature.ident.unraw().to_string(), &signature.ident, errors);
    check_attributes(&function.attrs, errors);
    check_modifiers(signature, errors);
    check_generics(signature, errors);
    check_receiver(signature, errors);
    let mut parameters = Parameters::default();
    for (position, parameter) in typed(signature).enumerate() {
        parameters.take(parameter, position, errors);
    }
    let kind = parameters.kind(errors);
    parameters.check_count(errors);
    let output = check_output(signature, errors);
    if let Some(body) = &function.default {
        errors.on(
            body,
            "a service says what can be asked, its `impl` does it: end this with `;` and move the \
             body there",
        );
    }
    let output = output.filter(|_| errors.count() == before)?;
    Some(Method {
        id,
        ident: signature.ident.clone(),
        usage: usage(&function.attrs),
        gates: gates(&function.attrs),
        kind,
        arguments: parameters.arguments,
        output,
    })
}

fn typed(signature: &Signature) -> impl Iterator<Item = &PatType> {
    signature.inputs.iter().filter_map(|input| match input {
        FnArg::Typed(parameter) => Some(parameter),
        FnArg::Receiver(_) => None,
    })
}

fn check_attributes(attributes: &[Attribute], errors: &mut Errors) {
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("anchor")) {
        errors.on(
            attribute,
            "`#[anchor]` marks an argument: write it before the argument that names the document, \
             as in `#[anchor] name: AccountName`",
        );
    }
}

fn check_modifiers(signature: &Signature, errors: &mut Errors) {
    let name = &signature.ident;
    if signature.asyncness.is_none() {
        errors.on(
            signature.fn_token,
            format_args!("a call takes time, so every method is async: write `async fn {name}`"),
        );
    }
    if let Some(token) = &signature.constness {
        errors.on(token, "a call cannot be made while compiling: remove `const`");
    }
    if let Safety::Unsafe(token) = &signature.safety {
        errors.on(token, "a call asks nothing unsafe of its caller: remove `unsafe`");
    }
    if let Some(abi) = &signature.abi {
        errors.on(abi, "a call travels in a message, not by a calling convention: remove `extern`");
    }
    if let Some(variadic) = &signature.variadic {
        errors.on(
            variadic,
            "a call has a fixed list of arguments: write a `Vec` for what may be many",
        );
    }
}

fn check_generics(signature: &Signature, errors: &mut Errors) {
    let generics = &signature.generics;
    for parameter in &generics.params {
        let message = match parameter {
            syn::GenericParam::Lifetime(_) => {
                "what a method is lent lasts as long as its call, so a method has no lifetimes: \
                 remove it, and write `&T` for an argument that is only looked at"
            }
            _ => {
                "a method has one message format, so it cannot be generic: write the type itself, \
                 or move the parameter to the trait"
            }
        };
        errors.on(parameter, message);
    }
    if let Some(clause) = generics.where_clause.as_ref().filter(|_| generics.params.is_empty()) {
        errors.on(
            clause,
            "a method can always be called, so it has no `where`: remove it, or move it to the \
             trait",
        );
    }
}

fn check_receiver(signature: &Signature, errors: &mut Errors) {
    let name = &signature.ident;
    let Some(receiver) = signature.receiver() else {
        return errors.on(
            name,
            format_args!("a method is called on the service: write `async fn {name}(&self, …)`"),
        );
    };
    for attribute in &receiver.attrs {
        errors.on(
            attribute,
            "no attribute belongs before `&self`: remove it; `#[anchor]` marks an argument",
        );
    }
    let Receiver { mutability, kind, .. } = receiver;
    match kind {
        ReceiverKind::Reference(_, None, None) if mutability.is_none() => {}
        ReceiverKind::Reference(_, _, Some(_)) => errors.on(
            receiver_tokens(receiver),
            "calls run side by side, so none has the service for itself: write `&self`, and keep \
             what changes in documents",
        ),
        ReceiverKind::Reference(..) => {
            errors.on(receiver_tokens(receiver), "a method has no lifetimes: write `&self`");
        }
        _ => errors.on(
            receiver_tokens(receiver),
            "the service is there for the next call too: write `&self`",
        ),
    }
}

/// A receiver without its attributes.
fn receiver_tokens(receiver: &Receiver) -> Receiver {
    Receiver { attrs: Vec::new(), ..receiver.clone() }
}

fn check_output(signature: &Signature, errors: &mut Errors) -> Option<Output> {
    let ReturnType::Type(_, ty) = &signature.output else {
        let name = &signature.ident;
        errors.on(
            name,
            format_args!(
                "`{name}` must say what it returns: write `-> Result<T, E>`, or `-> ()` if it \
                 returns nothing and cannot fail"
            ),
        );
        return None;
    };
    if signature.asyncness.is_none() && matches!(types::peel(ty), Type::ImplTrait(_)) {
        // What it should return shows only once it is an `async fn`, which was reported.
        return None;
    }
    match types::result_arguments(ty).as_deref() {
        None => {
            types::check_travels(ty, Role::Result, errors);
            Some(Output::Value(ty.clone()))
        }
        Some([value, error]) => {
            types::check_travels(value, Role::Result, errors);
            types::check_travels(error, Role::Error, errors);
            let owned = |ty: &Type| Box::new(ty.clone());
            Some(Output::Result { value: owned(value), error: owned(error) })
        }
        Some(_) => {
            errors.on(
                ty,
                "both types of a result travel, so both must be seen here: write `Result<T, E>` \
                 with the error type, not an alias",
            );
            None
        }
    }
}

/// The parameters behind the receiver, sorted.
#[derive(Debug, Default)]
struct Parameters {
    context: Option<(Context, Span)>,
    arguments: Vec<Argument>,
    anchors: Vec<Anchor>,
}

/// An `#[anchor]` and the argument that it stands before.
#[derive(Debug)]
struct Anchor {
    attribute: Attribute,
    argument: usize,
}

impl Parameters {
    fn take(&mut self, parameter: &PatType, position: usize, errors: &mut Errors) {
        match types::context(&parameter.ty) {
            Some((context, passing)) => {
                self.take_context(parameter, position, context, passing, errors);
            }
            None => self.take_argument(parameter, errors),
        }
    }

    fn take_context(
        &mut self,
        parameter: &PatType,
        position: usize,
        context: Context,
        passing: Passing,
        errors: &mut Errors,
    ) {
        let spelling = context.spelling();
        for attribute in &parameter.attrs {
            errors.on(
                attribute,
                format_args!(
                    "`{spelling}` is not an argument and has no attributes: remove this; \
                     `#[anchor]` marks the argument that names the document"
                ),
            );
        }
        if self.context.is_some() {
            return errors.on(
                parameter_tokens(parameter),
                "a method has one of `&mut Tx` and `&View`: `&mut Tx` alone both reads and writes",
            );
        }
        if passing != context.passing() {
            let lent = match context {
                Context::Tx => "a write is lent its transaction, to change it",
                Context::View => "a read is lent its view, to look only",
            };
            errors.on(
                &parameter.ty,
                format_args!(
                    "{lent}: write `{spelling}`; if this is a type of your own, rename it or use \
                     it under another name"
                ),
            );
        } else if position > 0 {
            errors.on(
                parameter_tokens(parameter),
                format_args!(
                    "`{spelling}` says what the method may do, so it stands first: move it right \
                     behind `&self`"
                ),
            );
        }
        if !matches!(*parameter.pat, Pat::Wild(_)) {
            let _ = plain_name(&parameter.pat, errors);
        }
        self.context = Some((context, types::span(&parameter.ty)));
    }

    fn take_argument(&mut self, parameter: &PatType, errors: &mut Errors) {
        for attribute in &parameter.attrs {
            self.take_attribute(attribute, errors);
        }
        let (ty, is_lent) = match types::lent(&parameter.ty) {
            Some(ty) => (ty, true),
            None => (&*parameter.ty, false),
        };
        types::check_travels(ty, Role::Argument, errors);
        // An argument without a name keeps its place, so that anchors point at the right one.
        let ident = plain_name(&parameter.pat, errors)
            .unwrap_or_else(|| Ident::new("unnamed", Span::call_site()));
        self.arguments.push(Argument { ident, ty: ty.clone(), is_lent });
    }

    fn take_attribute(&mut self, attribute: &Attribute, errors: &mut Errors) {
        if attribute.path().is_ident("doc") {
            errors.on(
                attribute,
                "an argument has no comment of its own: describe it in that of the method",
            );
        } else if !attribute.path().is_ident("anchor") {
            errors.on(
                attribute,
                "only `#[anchor]` may stand before an argument: remove this attribute",
            );
        } else if !matches!(attribute.meta, Meta::Path(_)) {
            errors.on(attribute, "`#[anchor]` takes no options: write `#[anchor]`");
        } else {
            let argument = self.arguments.len();
            self.anchors.push(Anchor { attribute: attribute.clone(), argument });
        }
    }

    fn kind(&self, errors: &mut Errors) -> Kind {
        let misplaced = match self.context {
            Some((Context::Tx, context)) => {
                for Anchor { attribute, .. } in self.anchors.iter().skip(1) {
                    errors.on(
                        attribute,
                        "the record of a call lies in one document, so there is one `#[anchor]`: \
                         keep the one on the document that the call always changes",
                    );
                }
                let anchor = self.anchors.first().map(|anchor| anchor.argument);
                return Kind::Write { context, anchor };
            }
            Some((Context::View, context)) => (
                Kind::Read { context },
                "a read leaves no record, so it has no anchor: remove `#[anchor]`, or write \
                 `&mut Tx` if the method changes documents",
            ),
            None => (
                Kind::Plain,
                "a method without documents leaves no record, so it has no anchor: remove \
                 `#[anchor]`, or write `tx: &mut Tx` behind `&self`",
            ),
        };
        let (kind, message) = misplaced;
        for Anchor { attribute, .. } in &self.anchors {
            errors.on(attribute, message);
        }
        kind
    }

    fn check_count(&self, errors: &mut Errors) {
        if let Some(argument) = self.arguments.get(MAX_ARGUMENTS) {
            let count = self.arguments.len();
            errors.on(
                &argument.ty,
                format_args!(
                    "a method has at most {MAX_ARGUMENTS} arguments, this one has {count}: put \
                     some that belong together into a struct"
                ),
            );
        }
    }
}

/// The name of a parameter that is written as a plain name.
fn plain_name(pattern: &Pat, errors: &mut Errors) -> Option<Ident> {
    let message = match pattern {
        Pat::Ident(name) if name.by_ref.is_none() && name.subpat.is_none() => {
            match &name.mutability {
                None => return Some(name.ident.clone()),
                Some(_) => {
                    "`mut` is a matter of the `impl`: write the name alone here, and `mut` there"
                }
            }
        }
        Pat::Wild(_) => "the client's method has this argument too: give it a name",
        _ => {
            "an argument is written as a name and a type, as in `from: AccountName`; take it apart \
             in the `impl`"
        }
    };
    errors.on(pattern, message);
    None
}

/// A parameter without its attributes.
fn parameter_tokens(parameter: &PatType) -> impl ToTokens {
    PatType { attrs: Vec::new(), ..parameter.clone() }
}
