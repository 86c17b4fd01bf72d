//! `#[rpc::service]`: parse → model → validate → expand.
//!
//! | file | what stands in it |
//! | --- | --- |
//! | `parse.rs` | tokens to syntax: the options, the trait |
//! | `validate/` | every rule, and what is said when it is broken: syntax to model |
//! | `model.rs` | a service that has passed every rule |
//! | `expand/` | the model to tokens: the trait, the client, the server, the schema |

mod expand;
mod model;
mod parse;
#[cfg(test)]
mod tests;
mod validate;

use proc_macro2::TokenStream;
use quote::quote;
use syn::Path;

use crate::errors::Errors;

/// Expands `#[rpc::service(options)] item`; `runtime` is the path of the runtime unless the options
/// name another.
///
/// Always emits the trait, so that a mistake in it is the only thing reported: whoever implements
/// it finds it, and its sound methods can be called and served.
pub(crate) fn expand(options: TokenStream, item: TokenStream, runtime: &Path) -> TokenStream {
    let mut errors = Errors::default();
    let options = parse::options(options, &mut errors);
    let (interface, generated) = match parse::item(item.clone()) {
        Ok(item) => {
            let service = validate::service(&options, &item, runtime, &mut errors);
            (expand::interface(&item), service.as_ref().map(expand::generated))
        }
        Err(error) => {
            errors.add(error);
            (item, None)
        }
    };
    let errors = errors.into_compile_errors();
    quote! { #errors #interface #generated }
}
