//! `#[derive(rpc::Document)]`: parse → model → expand.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::ext::IdentExt as _;
use syn::spanned::Spanned as _;
use syn::{Data, DeriveInput, Ident, LitStr, Path, Type};

use crate::errors::Errors;
use crate::options::{self, Entry};

/// The longest name of a collection, in characters: it stands before every key, whose whole length
/// a store limits.
const MAX_COLLECTION: usize = 32;

/// A document type that keeps every rule.
struct Document {
    runtime: Path,
    ident: Ident,
    key: Type,
    collection: String,
}

/// Expands the derive; `runtime` is the path of the runtime unless an option names another.
pub(crate) fn expand(item: TokenStream, runtime: &Path) -> TokenStream {
    let mut errors = Errors::default();
    let document = match syn::parse2::<DeriveInput>(item) {
        Ok(input) => validate(&input, runtime, &mut errors),
        Err(error) => {
            errors.add(error);
            None
        }
    };
    let implementation = document.map(implement);
    let errors = errors.into_compile_errors();
    quote! { #errors #implementation }
}

#[derive(Default)]
struct Options {
    key: Option<Type>,
    collection: Option<LitStr>,
    runtime: Option<Path>,
}

const KNOWN_OPTIONS: &str = "the options are `key = AccountName` (the type that names a document), \
     `collection = \"account\"` and `crate = path` (where the runtime is)";

/// Checks everything; the model comes with a default in place of a bad collection name, so that
/// the type still is a document.
fn validate(input: &DeriveInput, runtime: &Path, errors: &mut Errors) -> Option<Document> {
    if let Data::Union(data) = &input.data {
        errors.on(data.union_token, "a union cannot be a document: write a struct or an enum");
    }
    if !input.generics.params.is_empty() {
        errors.on(
            &input.generics,
            "a document has one key type, so it cannot be generic: derive it on a type of your own \
             around this one, such as `struct Account(Generic<u64>);`",
        );
    }
    let sound = errors.count() == 0;
    let Options { key, collection, runtime: given } = read_options(input, errors);
    let collection = collection_name(input, collection.as_ref(), errors);
    if key.is_none() && errors.count() == 0 {
        errors.on(
            &input.ident,
            "a document needs a type that names it: add `#[document(key = AccountName)]` with the \
             type of its key",
        );
    }
    let key = key.filter(|_| sound)?;
    let runtime = given.unwrap_or_else(|| runtime.clone());
    Some(Document { runtime, ident: input.ident.clone(), key, collection })
}

fn read_options(input: &DeriveInput, errors: &mut Errors) -> Options {
    let mut found = Options::default();
    options::of_attributes(&input.attrs, "document", errors, |entry| {
        let Entry { key, .. } = &entry;
        match key.to_string().as_str() {
            "key" => entry.set(&mut found.key, "the type of the key: write `key = AccountName`"),
            "collection" => {
                entry.set(&mut found.collection, "a text: write `collection = \"account\"`")
            }
            "crate" => entry.set_runtime(&mut found.runtime),
            _ => Err(entry.unknown(KNOWN_OPTIONS)),
        }
    });
    found
}

fn collection_name(input: &DeriveInput, given: Option<&LitStr>, errors: &mut Errors) -> String {
    let name = given.map_or_else(|| snake_case(&input.ident), LitStr::value);
    let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let fault = if name.is_empty() {
        "is empty"
    } else if !name.chars().all(is_allowed) {
        "has other characters than a-z, 0-9 and _"
    } else if name.len() > MAX_COLLECTION {
        "is too long"
    } else {
        return name;
    };
    let rule = format!("1 to {MAX_COLLECTION} of a-z, 0-9 and _, as in `collection = \"account\"`");
    match given {
        Some(literal) => {
            errors.on(literal, format_args!("the collection name {name:?} {fault}: write {rule}"))
        }
        None => errors.on(
            &input.ident,
            format_args!(
                "the collection would be called {name:?} after its type, which {fault}: name it by \
                 {rule}"
            ),
        ),
    }
    name
}

/// `AccountPage` to `account_page`, `HTTPLog` to `http_log`.
fn snake_case(ident: &Ident) -> String {
    let letters: Vec<char> = ident.unraw().to_string().chars().collect();
    let mut name = String::new();
    for (index, letter) in letters.iter().enumerate() {
        let before = index.checked_sub(1).map(|before| letters[before]);
        let after = letters.get(index + 1);
        let begins_word = letter.is_uppercase()
            && before.is_some_and(|it| {
                it != '_' && (!it.is_uppercase() || after.is_some_and(|it| it.is_lowercase()))
            });
        if begins_word {
            name.push('_');
        }
        name.extend(letter.to_lowercase());
    }
    name
}

fn implement(document: Document) -> TokenStream {
    let Document { runtime, ident, key, collection } = document;
    // What serde lacks is said at the document, what the key lacks at the key.
    let of_document = quote_spanned! {ident.span()=>
        #[automatically_derived]
        impl #runtime::Document for #ident {
            type Key = #key;
        }
    };
    let of_key = quote_spanned! {key.span()=>
        #[automatically_derived]
        impl #runtime::DocumentKey for #key {
            type Document = #ident;
            const COLLECTION: &'static str = #collection;
        }
    };
    quote! { #of_document #of_key }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collections_are_named_after_their_types() {
        let named = |name: &str| snake_case(&Ident::new(name, proc_macro2::Span::call_site()));
        assert_eq!(named("Account"), "account");
        assert_eq!(named("AccountPage"), "account_page");
        assert_eq!(named("HTTPLog2"), "http_log2");
        assert_eq!(named("Old_Style"), "old_style");
    }
}
