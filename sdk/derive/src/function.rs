//! `#[derive(Function)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{DeriveInput, LitStr, Result, Type, parse_quote};

use crate::attribute::{self, parts};

pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let ident = &input.ident;
    let (mut name, mut schema) = (None::<LitStr>, None::<LitStr>);
    let (mut returns, mut read_only) = (None::<Type>, false);
    parts(&input.attrs, "function", |part| {
        if part.path.is_ident("name") {
            name = Some(part.value()?.parse()?);
        } else if part.path.is_ident("schema") {
            schema = Some(part.value()?.parse()?);
        } else if part.path.is_ident("returns") {
            returns = Some(part.value()?.parse()?);
        } else if part.path.is_ident("read_only") {
            read_only = true;
        } else {
            return Err(part
                .error("expected `name = \"…\"`, `returns = …`, `schema = \"…\"` or `read_only`"));
        }
        Ok(())
    })?;
    let missing =
        || syn::Error::new_spanned(ident, "name the function: `#[function(name = \"…\")]`");
    let name = name.ok_or_else(missing)?;
    let returns = returns.unwrap_or_else(|| parse_quote!(()));
    let returns_set = is_list(&returns);
    let schema = attribute::optional(schema.as_ref());
    let (of_impl, of_type, of_where) = input.generics.split_for_impl();
    let marker = read_only.then(|| {
        quote! {
            #[automatically_derived]
            impl #of_impl ::sluice_sdk::schema::ReadOnly for #ident #of_type #of_where {}
        }
    });
    Ok(quote! {
        #[automatically_derived]
        impl #of_impl ::sluice_sdk::Function for #ident #of_type #of_where {
            const NAME: &'static str = #name;
            const SCHEMA: ::core::option::Option<&'static str> = #schema;
            const READ_ONLY: bool = #read_only;
            const RETURNS_SET: bool = #returns_set;
            type Output = #returns;
        }

        #marker
    })
}

/// Whether a type is a `Vec`.
fn is_list(kind: &Type) -> bool {
    let Type::Path(path) = kind else { return false };
    path.path
        .segments
        .last()
        .is_some_and(|last| last.ident == "Vec")
}
