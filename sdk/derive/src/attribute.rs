//! Reads attributes: those of the derives, and those of serde that name fields.

use proc_macro2::TokenStream;
use quote::quote;
use syn::meta::ParseNestedMeta;
use syn::{Attribute, Data, DeriveInput, Field, Fields, LitStr, Result, Type};

/// The named fields of a struct without type parameters.
pub(crate) fn fields(input: &DeriveInput) -> Result<Vec<&Field>> {
    if !input.generics.params.is_empty() {
        return Err(syn::Error::new_spanned(
            &input.generics,
            "a row type cannot be generic",
        ));
    }
    match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) => Ok(fields.named.iter().collect()),
            _ => Err(syn::Error::new_spanned(
                &input.ident,
                "a row type needs named fields",
            )),
        },
        _ => Err(syn::Error::new_spanned(
            &input.ident,
            "a row type must be a struct",
        )),
    }
}

/// Reads each part of `#[name(part, part = …)]` with `read`.
pub(crate) fn parts(
    attributes: &[Attribute],
    name: &str,
    mut read: impl FnMut(ParseNestedMeta<'_>) -> Result<()>,
) -> Result<()> {
    let own = attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident(name));
    for attribute in own {
        attribute.parse_nested_meta(&mut read)?;
    }
    Ok(())
}

/// The value of `key = "…"` in serde's attributes.
pub(crate) fn serde_value(attributes: &[Attribute], key: &str) -> Result<Option<LitStr>> {
    let mut found = None;
    parts(attributes, "serde", |part| {
        if part.path.is_ident(key) && part.input.peek(syn::token::Paren) {
            return Err(part.error(format!(
                "columns need one name for reading and writing: use `{key} = \"…\"`"
            )));
        }
        if part.path.is_ident(key) {
            found = Some(part.value()?.parse()?);
            return Ok(());
        }
        skip(&part)
    })?;
    Ok(found)
}

/// Whether serde's attributes hold the word `key`.
pub(crate) fn has_serde_word(attributes: &[Attribute], key: &str) -> Result<bool> {
    let mut found = false;
    parts(attributes, "serde", |part| {
        found |= part.path.is_ident(key);
        skip(&part)
    })?;
    Ok(found)
}

/// Whether serde leaves a field out, so that it is not a column.
pub(crate) fn is_skipped(field: &Field) -> Result<bool> {
    Ok(
        has_serde_word(&field.attrs, "skip")?
            || has_serde_word(&field.attrs, "skip_deserializing")?,
    )
}

/// `V` of `Option<V>`.
pub(crate) fn option_inner(kind: &Type) -> Option<&Type> {
    let Type::Path(path) = kind else { return None };
    let last = path.path.segments.last()?;
    if last.ident != "Option" {
        return None;
    }
    let syn::PathArguments::AngleBracketed(arguments) = &last.arguments else {
        return None;
    };
    match arguments.args.first()? {
        syn::GenericArgument::Type(inner) => Some(inner),
        _ => None,
    }
}

/// An `Option` of a text, as an expression.
pub(crate) fn optional(text: Option<&LitStr>) -> TokenStream {
    text.map_or_else(
        || quote!(::core::option::Option::None),
        |text| quote!(::core::option::Option::Some(#text)),
    )
}

/// Skips a part that is not used.
fn skip(part: &ParseNestedMeta<'_>) -> Result<()> {
    if part.input.peek(syn::Token![=]) {
        part.value()?.parse::<syn::Expr>()?;
    } else if part.input.peek(syn::token::Paren) {
        part.parse_nested_meta(|inner| skip(&inner))?;
    }
    Ok(())
}
