//! `#[derive(Select)]`.

mod field;

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{DeriveInput, Result, Type};

use crate::attribute::{fields, has_serde_word, parts, rename_all};
use crate::name;

use field::{Embedding, Reading, Shape};

pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let ident = &input.ident;
    let visibility = &input.vis;
    let table = table(input)?;
    let rule = rename_all(input)?;
    let (mut steps, mut relations) = (Vec::new(), Vec::new());
    for field in fields(input)? {
        if has_serde_word(&field.attrs, "skip")?
            || has_serde_word(&field.attrs, "skip_deserializing")?
        {
            continue;
        }
        let Some(field_ident) = &field.ident else {
            continue;
        };
        let name = name::in_json(field, field_ident, rule)?;
        let reading = Reading::parse(field)?;
        let kind = &field.ty;
        if let Shape::Embed(embedding) = &reading.shape
            && !embedding.spread
        {
            let constant = name::constant(field_ident);
            let doc = format!("The embedded relation `{name}`.");
            let row = row(kind);
            relations.push(quote! {
                #[doc = #doc]
                #visibility const #constant: ::sluice_sdk::Relation<
                    #table,
                    <#row as ::sluice_sdk::Select>::From,
                > = ::sluice_sdk::Relation::new(#name);
            });
        }
        steps.push(step(&table, &name, kind, field_ident, &reading));
    }
    Ok(quote! {
        #[automatically_derived]
        impl ::sluice_sdk::Select for #ident {
            type From = #table;

            fn selection() -> ::sluice_sdk::Selection {
                ::sluice_sdk::Selection::new()#(#steps)*
            }
        }

        #[automatically_derived]
        #[allow(dead_code, reason = "a shape has a constant for every relation, used or not")]
        impl #ident {
            #(#relations)*
        }
    })
}

/// One call on the selection: what a field reads.
fn step(
    table: &Type,
    name: &str,
    kind: &Type,
    field: &syn::Ident,
    reading: &Reading,
) -> TokenStream {
    let constant = name::constant(reading.column.as_ref().unwrap_or(field));
    let column = quote_spanned!(constant.span()=> <#table>::#constant);
    match &reading.shape {
        Shape::Column if reading.unchecked => quote!(.field(#name, #column)),
        Shape::Column => {
            quote_spanned!(kind.span()=> .field(#name, #column.read_as::<#kind>()))
        }
        Shape::Path(steps) => {
            quote!(.aliased(#name, #column.typed::<::sluice_sdk::serde_json::Value>()#(#steps)*))
        }
        Shape::Cast(cast) => quote!(.cast(#name, #column, #cast)),
        Shape::Aggregate(function) => {
            quote!(.aggregate(#name, ::sluice_sdk::Aggregate::#function, #column))
        }
        Shape::Count => quote!(.row_count(#name)),
        Shape::Embed(embedding) => embed(name, kind, embedding),
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
    let options = quote!(#(#hint)* #(.#join())*);
    if embedding.spread {
        quote! {
            .spread(#relation, <#row as ::sluice_sdk::Select>::selection(), |embed| embed #options)
        }
    } else {
        quote! {
            .embed(
                #name,
                <#row as ::sluice_sdk::Select>::selection(),
                |embed| embed.relation(#relation) #options,
            )
        }
    }
}

/// The shape of the rows that a field embeds.
fn row(kind: &Type) -> TokenStream {
    quote_spanned!(kind.span()=> <#kind as ::sluice_sdk::Embed>::Row)
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
