//! `#[derive(Select)]`.

mod field;

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{DeriveInput, Result, Type};

use crate::attribute::{fields, is_skipped, parts};
use crate::name;

use field::{Embedding, FieldAttributes};

pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let ident = &input.ident;
    let visibility = &input.vis;
    let table = table(input)?;
    let rule = name::rename_all(input)?;
    let (mut steps, mut relations) = (Vec::new(), Vec::new());
    for field in fields(input)? {
        if is_skipped(field)? {
            continue;
        }
        let Some(field_ident) = &field.ident else {
            continue;
        };
        let name = name::in_json(field, field_ident, rule)?;
        let attributes = FieldAttributes::parse(field)?;
        let kind = &field.ty;
        if attributes
            .embedding
            .as_ref()
            .is_some_and(|embedding| !embedding.spread)
        {
            let constant = name::constant(field_ident);
            let doc = format!("The embedded relation `{name}`.");
            let row = row(kind);
            relations.push(quote! {
                #[doc = #doc]
                #visibility const #constant: ::sluice_sdk::query::Relation<
                    #table,
                    <#row as ::sluice_sdk::Select>::From,
                > = ::sluice_sdk::query::Relation::new(#name);
            });
        }
        steps.push(step(&table, &name, kind, field_ident, &attributes));
    }
    Ok(quote! {
        #[automatically_derived]
        impl ::sluice_sdk::Select for #ident {
            type From = #table;

            fn selection() -> ::sluice_sdk::query::Selection {
                ::sluice_sdk::query::Selection::new()#(#steps)*
            }
        }

        #[automatically_derived]
        impl ::sluice_sdk::query::ShapeOf<#table> for #ident {}

        #[automatically_derived]
        #[allow(dead_code, reason = "a shape has a constant for every relation, used or not")]
        impl #ident {
            #(#relations)*
        }
    })
}

/// The method call on the selection for a field.
fn step(
    table: &Type,
    name: &str,
    kind: &Type,
    field: &syn::Ident,
    attributes: &FieldAttributes,
) -> TokenStream {
    if let Some(embedding) = &attributes.embedding {
        return embed(name, kind, embedding);
    }
    let constant = name::constant(attributes.column.as_ref().unwrap_or(field));
    let column = quote_spanned!(constant.span()=> <#table>::#constant);
    let path = attributes
        .path
        .as_ref()
        .map(|steps| quote!(.typed::<::sluice_sdk::serde_json::Value>()#(#steps)*));
    let aggregate = attributes
        .aggregate
        .as_ref()
        .map(|function| quote!(.#function()));
    let cast = attributes.cast.as_ref().map(|cast| quote!(.cast(#cast)));
    // A path, an aggregate and a cast have other types than their column.
    let is_plain = path.is_none() && aggregate.is_none() && cast.is_none();
    if attributes.row_count {
        quote!(.column(::sluice_sdk::query::Expression::row_count()#cast.alias(#name)))
    } else if is_plain && !attributes.unchecked {
        quote_spanned!(kind.span()=> .column(#column.read_as::<#kind>().alias(#name)))
    } else {
        quote!(.column(#column #path #aggregate #cast.alias(#name)))
    }
}

fn embed(name: &str, kind: &Type, embedding: &Embedding) -> TokenStream {
    let row = row(kind);
    let table = quote!(<<#row as ::sluice_sdk::Select>::From as ::sluice_sdk::Table>::NAME);
    let relation = embedding
        .relation
        .as_ref()
        .map_or(table, |relation| quote!(#relation));
    let hint = embedding.hint.iter().map(|hint| quote!(.hint(#hint)));
    let join = embedding.join.iter();
    let selection = quote!(<#row as ::sluice_sdk::Select>::selection());
    let rows =
        quote!(::sluice_sdk::query::Embedding::of(#relation, #selection)#(#hint)* #(.#join())*);
    if embedding.spread {
        quote!(.spread(#rows))
    } else {
        quote!(.embed(#rows.alias(#name)))
    }
}

/// The shape of the rows that a field embeds.
fn row(kind: &Type) -> TokenStream {
    quote_spanned!(kind.span()=> <#kind as ::sluice_sdk::query::Embed>::Row)
}

fn table(input: &DeriveInput) -> Result<Type> {
    let mut table = None;
    parts(&input.attrs, "select", |part| {
        if part.path.is_ident("from") {
            table = Some(part.value()?.parse()?);
            Ok(())
        } else {
            Err(part.error("expected `from = …`"))
        }
    })?;
    table.ok_or_else(|| {
        syn::Error::new_spanned(&input.ident, "name the table's type: `#[select(from = …)]`")
    })
}
