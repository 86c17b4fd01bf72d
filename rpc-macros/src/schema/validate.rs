//! From syntax to the model: which parts of a type travel, and in which form.

use std::collections::HashSet;

use syn::ext::IdentExt as _;
use syn::visit::{self, Visit};
use syn::{
    Data, DataEnum, DeriveInput, Fields, GenericParam, Generics, Ident, Path, Type, TypePath,
    parse_quote,
};

use super::serde::{self, Container};
use super::{Described, Field, Form, Variant};
use crate::errors::Errors;
use crate::options;

/// Checks a type and builds its model. Returns `None` for what cannot have one.
pub(super) fn described(
    input: &DeriveInput,
    runtime: &Path,
    errors: &mut Errors,
) -> Option<Described> {
    let mut given = None;
    options::of_attributes(&input.attrs, "schema", errors, |entry| {
        match entry.key.to_string().as_str() {
            "crate" => entry.set_runtime(&mut given),
            _ => Err(entry.unknown("the option is `crate = path` (where the runtime is)")),
        }
    });
    let runtime = given.unwrap_or_else(|| runtime.clone());
    let container = serde::container(&input.attrs, errors);
    let form = form(input, container, errors)?;
    let generics = with_bounds(&input.generics, &form, &runtime);
    Some(Described { runtime, ident: input.ident.clone(), generics, form })
}

fn form(input: &DeriveInput, container: Container, errors: &mut Errors) -> Option<Form> {
    let parts = match &input.data {
        Data::Struct(data) => Form::Product(fields(&data.fields, container.transparent, errors)),
        Data::Enum(data) => Form::Sum(variants(data, errors)),
        Data::Union(data) => {
            errors.on(
                data.union_token,
                "a union does not know what it holds, so it cannot travel: write an enum",
            );
            return None;
        }
    };
    if let Some(ty) = container.form {
        return Some(Form::Like(Box::new(Field { name: String::new(), ty, with: None })));
    }
    match parts {
        Form::Product(mut fields) if container.transparent => {
            // Serde refuses any other number, and says so.
            let field = fields.pop()?;
            fields.is_empty().then(|| Form::Like(Box::new(field)))
        }
        parts => Some(parts),
    }
}

fn fields(fields: &Fields, transparent: bool, errors: &mut Errors) -> Vec<Field> {
    let mut described = Vec::new();
    for (index, field) in fields.iter().enumerate() {
        let part = serde::part(&field.attrs, errors);
        let passed_over = transparent && (part.has_default || is_phantom(&field.ty));
        if part.skipped || passed_over {
            continue;
        }
        let name = match &field.ident {
            Some(ident) => ident.unraw().to_string(),
            None => index.to_string(),
        };
        described.push(Field { name, ty: field.ty.clone(), with: part.with });
    }
    described
}

fn variants(data: &DataEnum, errors: &mut Errors) -> Vec<Variant> {
    let mut described = Vec::new();
    let mut skipped: Option<&syn::Variant> = None;
    for variant in &data.variants {
        let part = serde::part(&variant.attrs, errors);
        let fields = fields(&variant.fields, false, errors);
        if part.skipped {
            skipped = skipped.or(Some(variant));
            continue;
        }
        if let Some(skipped) = skipped.take() {
            errors.on(
                &skipped.ident,
                "variants travel by their number, and serde counts a skipped one in one direction \
                 only: move it behind all that travel",
            );
        }
        let name = variant.ident.unraw().to_string();
        match part.with {
            Some(_) => errors.on(
                &variant.ident,
                "the form of this variant is not known: put `with` on its field instead",
            ),
            None => described.push(Variant { name, fields }),
        }
    }
    described
}

/// The parameters of the type, with `T: Schema` for each one that the structure depends on.
fn with_bounds(generics: &Generics, form: &Form, runtime: &Path) -> Generics {
    let types: HashSet<Ident> = generics.type_params().map(|it| it.ident.clone()).collect();
    let mut used = UsedParameters { types: &types, used: HashSet::new() };
    for ty in form.types() {
        used.visit_type(ty);
    }
    let used = used.used;
    let mut generics = generics.clone();
    for parameter in &mut generics.params {
        if let GenericParam::Type(parameter) = parameter
            && used.contains(&parameter.ident)
        {
            parameter.bounds.push(parse_quote!(#runtime::Schema));
        }
    }
    generics
}

struct UsedParameters<'a> {
    types: &'a HashSet<Ident>,
    used: HashSet<Ident>,
}

impl Visit<'_> for UsedParameters<'_> {
    fn visit_type(&mut self, ty: &Type) {
        // A phantom is described without its parameter.
        if !is_phantom(ty) {
            visit::visit_type(self, ty);
        }
    }

    fn visit_type_path(&mut self, path: &TypePath) {
        if let Some(first) = path.path.segments.first().filter(|_| path.qself.is_none()) {
            self.used.extend(self.types.get(&first.ident).cloned());
        }
        visit::visit_type_path(self, path);
    }
}

fn is_phantom(ty: &Type) -> bool {
    let Type::Path(TypePath { path, .. }) = ty else { return false };
    path.segments.last().is_some_and(|last| last.ident == "PhantomData")
}

impl Form {
    fn types(&self) -> Vec<&Type> {
        let fields: Vec<&Field> = match self {
            Form::Like(field) => vec![field],
            Form::Product(fields) => fields.iter().collect(),
            Form::Sum(variants) => variants.iter().flat_map(|it| &it.fields).collect(),
        };
        fields.into_iter().map(|field| &field.ty).collect()
    }
}
