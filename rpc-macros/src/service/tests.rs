//! What services expand to, as text to read, and how much of it there is.

use quote::{ToTokens, format_ident, quote};
use syn::parse_quote;

use super::*;

fn expanded(options: TokenStream, item: TokenStream) -> TokenStream {
    expand(options, item, &parse_quote!(::rpc))
}

fn pretty(tokens: TokenStream) -> String {
    prettyplease::unparse(&syn::parse2(tokens).expect("an expansion is a list of items"))
}

#[test]
fn a_bank() {
    let bank = quote! {
        /// A bank.
        pub trait Bank {
            /// Moves money.
            async fn transfer(
                &self,
                tx: &mut Tx,
                #[anchor] from: AccountName,
                to: AccountName,
                amount: Amount,
            ) -> Result<Receipt, TransferError>;
            #[cfg(feature = "audit")]
            async fn audit(&self, tx: &mut rpc::Tx);
            /// What an account holds.
            #[deprecated]
            async fn balance(&self, view: &View, name: AccountName) -> Result<Amount, BalanceError>;
            async fn r#type(&self) -> String;
        }
    };
    // `audit` lacks its return type: it is reported, and the others are there nevertheless.
    insta::assert_snapshot!(pretty(expanded(quote!(name = "bank"), bank)));
}

#[test]
fn a_read_only_service() {
    let library = quote! {
        pub(crate) trait Library: Debug {
            async fn find(&self, view: &View, title: &str, among: &[Shelf]) -> Option<Book>;
            async fn list(&self, _: &View, page: u32) -> Result<Vec<Book>, NoSuchPage>;
        }
    };
    insta::assert_snapshot!(pretty(expanded(quote!(), library)));
}

#[test]
fn a_generic_service() {
    let cache = quote! {
        trait Cache<T: rpc::Message + Clone, const N: usize>
        where
            Self: Sized,
            T: Ord,
        {
            async fn put(&self, tx: &mut Tx, #[anchor] key: Key, value: T) -> Result<T, Full>;
        }
    };
    insta::assert_snapshot!(pretty(expanded(quote!(crate = crate::bus), cache)));
}

#[test]
fn what_is_no_trait_stays_as_it_was() {
    let item = quote!(
        pub struct Bank;
    );
    let expanded = expanded(quote!(), item.clone()).to_string();
    assert!(expanded.contains("compile_error"), "{expanded}");
    assert!(expanded.ends_with(&item.to_string()), "{expanded}");
}

#[test]
fn every_mistake_is_reported_once() {
    let bank = quote! {
        pub trait Bank {
            async fn close(tx: &mut Tx, name: &mut Name);
            const LIMIT: u64;
        }
    };
    let expanded = expanded(quote!(nmae = "bank"), bank).to_string();
    assert_eq!(expanded.matches("compile_error").count(), 5, "{expanded}");
}

#[test]
fn more_methods_than_the_handshake_takes_are_refused() {
    let service = |methods: usize| {
        let methods = (0..methods).map(|index| {
            let name = format_ident!("m{index}");
            quote!(async fn #name(&self) -> ();)
        });
        let tokens = expanded(quote!(), quote!(trait Large { #(#methods)* }));
        tokens.to_string().matches("compile_error").count()
    };
    assert_eq!(service(4096), 0);
    assert_eq!(service(4098), 2);
}

/// A bank has hundreds of methods, and rustc reads every token of each: what one method adds is
/// bounded. The figure is for a write with an anchor, three arguments and a typed error.
#[test]
fn a_method_adds_few_tokens() {
    let size = |methods: usize| {
        let methods = (0..methods).map(|index| {
            let name = format_ident!("m{index}");
            quote! {
                async fn #name(&self, tx: &mut Tx, #[anchor] a: Aa, b: Bb, c: Cc) -> Result<Rr, Ee>;
            }
        });
        count(expanded(quote!(), quote!(pub trait Large { #(#methods)* })))
    };
    let one = size(2) - size(1);
    assert_eq!(size(200) - size(1), 199 * one, "each method adds as much as the first");
    assert!(one <= MAX_TOKENS_PER_METHOD, "a method adds {one} tokens");
}

/// The trait itself takes 63 of them; the rest is divided between the schema, the client's method, an
/// enum variant and three match arms.
const MAX_TOKENS_PER_METHOD: usize = 440;

fn count(tokens: TokenStream) -> usize {
    let of_token = |token| match token {
        proc_macro2::TokenTree::Group(group) => 2 + count(group.stream()),
        _ => 1,
    };
    tokens.into_token_stream().into_iter().map(of_token).sum()
}
