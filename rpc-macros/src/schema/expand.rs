//! From the model to tokens: tables of names and descriptions.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::Path;
use syn::spanned::Spanned as _;

use super::{Described, Field, Form};

pub(super) fn implement(described: &Described) -> TokenStream {
    let Described { runtime, ident, generics, form } = described;
    let (parameters, arguments, bounds) = generics.split_for_impl();
    let body = match form {
        Form::Like(field) => {
            let description = description(field, runtime);
            quote!((#description)(writer))
        }
        Form::Product(fields) => {
            let fields = table(fields, runtime);
            quote!(writer.product::<Self>(#fields))
        }
        Form::Sum(variants) => {
            let variants = variants.iter().map(|variant| {
                let name = &variant.name;
                let fields = table(&variant.fields, runtime);
                quote!((#name, #fields))
            });
            quote!(writer.sum::<Self>(&[#(#variants),*]))
        }
    };
    quote! {
        #[automatically_derived]
        impl #parameters #runtime::Schema for #ident #arguments #bounds {
            fn describe(writer: &mut #runtime::schema::SchemaWriter) {
                #body;
            }
        }
    }
}

fn table(fields: &[Field], runtime: &Path) -> TokenStream {
    let rows = fields.iter().map(|field| {
        let name = &field.name;
        let description = description(field, runtime);
        quote!((#name, #description))
    });
    quote!(&[#(#rows),*])
}

/// What describes a field: reported at the user's type if there is nothing that does.
fn description(field: &Field, runtime: &Path) -> TokenStream {
    let ty = &field.ty;
    let plain = quote_spanned!(ty.span()=> <#ty as #runtime::Schema>::describe);
    match &field.with {
        None => plain,
        Some(modules) => {
            let name = format!("with {modules}");
            quote! {
                |writer: &mut #runtime::schema::SchemaWriter| writer.wrapper(#name, &[#plain])
            }
        }
    }
}
