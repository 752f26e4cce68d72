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
    let returns_set = !is_one_value(&returns);
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

/// Whether a type is clearly one value. Any other type may be a set of rows under another name.
fn is_one_value(kind: &Type) -> bool {
    match kind {
        Type::Tuple(tuple) => tuple.elems.is_empty(),
        Type::Path(path) => path.path.segments.last().is_some_and(|last| {
            let name = last.ident.to_string();
            matches!(
                name.as_str(),
                "Option" | "bool" | "i16" | "i32" | "i64" | "f32" | "f64" | "String" | "Uuid"
            )
        }),
        _ => false,
    }
}
