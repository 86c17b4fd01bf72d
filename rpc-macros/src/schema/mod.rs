//! `#[derive(rpc::Schema)]`: parse → model → expand.
//!
//! | file | what stands in it |
//! | --- | --- |
//! | `serde.rs` | what serde's attributes say about the form of a value |
//! | `validate.rs` | syntax to model |
//! | `expand.rs` | the model to tokens |

mod expand;
mod serde;
mod validate;

use proc_macro2::TokenStream;
use quote::quote;
use syn::{DeriveInput, Generics, Ident, Path, Type};

use crate::errors::Errors;

/// A type whose structure is known.
struct Described {
    runtime: Path,
    ident: Ident,
    /// With a bound on every parameter that the structure depends on.
    generics: Generics,
    form: Form,
}

/// How a type travels.
enum Form {
    /// As this type.
    Like(Box<Field>),
    /// As its fields.
    Product(Vec<Field>),
    /// As one of its variants.
    Sum(Vec<Variant>),
}

/// A field that travels.
struct Field {
    /// Its name without `r#`, or its index.
    name: String,
    ty: Type,
    /// The modules that define its form, if serde is told of some.
    with: Option<String>,
}

/// A variant that travels.
struct Variant {
    name: String,
    fields: Vec<Field>,
}

/// Expands the derive; `runtime` is the path of the runtime unless an option names another.
pub(crate) fn expand(item: TokenStream, runtime: &Path) -> TokenStream {
    let mut errors = Errors::default();
    let described = match syn::parse2::<DeriveInput>(item) {
        Ok(input) => validate::described(&input, runtime, &mut errors),
        Err(error) => {
            errors.add(error);
            None
        }
    };
    let implementation = described.map(|described| expand::implement(&described));
    let errors = errors.into_compile_errors();
    quote! { #errors #implementation }
}
