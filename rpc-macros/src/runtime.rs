//! Finds the name under which the user's crate knows the runtime.

use proc_macro_crate::{FoundCrate, crate_name};
use proc_macro2::Span;
use syn::Path;

/// The package that holds what generated code calls.
const PACKAGE: &str = "rpc-runtime";

/// The path of the runtime in the crate that is being compiled.
///
/// A crate that reaches the runtime only through another one names it with `crate = …`; until it
/// does, rustc says that `rpc` was not found.
pub(crate) fn path() -> Path {
    path_of(crate_name(PACKAGE).ok())
}

/// From what stands in `Cargo.toml` to what stands in code.
///
/// The library of the package is called `rpc`, so a dependency under the package's own name is
/// `rpc` in code. The runtime itself is `rpc` too: it has `extern crate self as rpc`.
fn path_of(found: Option<FoundCrate>) -> Path {
    let name = match found {
        Some(FoundCrate::Name(name)) if name != "rpc_runtime" => name,
        _ => "rpc".to_owned(),
    };
    let ident = syn::Ident::new(&name, Span::call_site());
    syn::parse_quote!(::#ident)
}

#[cfg(test)]
mod tests {
    use quote::ToTokens;

    use super::*;

    fn shown(found: Option<FoundCrate>) -> String {
        path_of(found).to_token_stream().to_string()
    }

    #[test]
    fn a_renamed_dependency_keeps_its_name() {
        assert_eq!(shown(Some(FoundCrate::Name("bus".to_owned()))), ":: bus");
        assert_eq!(shown(Some(FoundCrate::Name("rpc".to_owned()))), ":: rpc");
    }

    #[test]
    fn a_dependency_under_the_name_of_the_package_is_its_library() {
        assert_eq!(shown(Some(FoundCrate::Name("rpc_runtime".to_owned()))), ":: rpc");
    }

    #[test]
    fn the_runtime_and_the_unknown_are_rpc() {
        assert_eq!(shown(Some(FoundCrate::Itself)), ":: rpc");
        assert_eq!(shown(None), ":: rpc");
    }
}
