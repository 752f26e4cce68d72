//! `#[derive(Table)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{DeriveInput, Field, Ident, LitStr, Result, Type};

use crate::attribute::{self, fields, has_serde_word, is_skipped, option_inner, parts};
use crate::name;

struct Column<'a> {
    constant: Ident,
    name: String,
    kind: &'a Type,
    nullable: bool,
    primary_key: bool,
}

pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let ident = &input.ident;
    let visibility = &input.vis;
    let (table, schema) = table_name(input)?;
    let columns = columns(input)?;
    let schema = attribute::optional(schema.as_ref());
    let infos = columns.iter().map(|column| {
        let Column {
            name,
            nullable,
            primary_key,
            ..
        } = column;
        quote!(::sluice_sdk::schema::ColumnInfo::new(#name, #nullable, #primary_key))
    });
    let constants = columns.iter().map(|column| {
        let Column {
            constant,
            name,
            kind,
            ..
        } = column;
        let marker = marker(column);
        let doc = format!("The column `{name}` of `{}`.", table.value());
        quote! {
            #[doc = #doc]
            #visibility const #constant: ::sluice_sdk::Column<#ident, #kind, #marker> =
                ::sluice_sdk::Column::new(#name);
        }
    });
    let selected = columns.iter().map(|column| &column.constant);
    Ok(quote! {
        #[automatically_derived]
        impl ::sluice_sdk::Table for #ident {
            const NAME: &'static str = #table;
            const SCHEMA: ::core::option::Option<&'static str> = #schema;
            const COLUMNS: &'static [::sluice_sdk::schema::ColumnInfo] = &[#(#infos),*];
        }

        #[automatically_derived]
        #[allow(dead_code, reason = "a table has a constant for every column, used or not")]
        impl #ident {
            #(#constants)*
        }

        #[automatically_derived]
        impl ::sluice_sdk::Select for #ident {
            type From = #ident;

            fn selection() -> ::sluice_sdk::query::Selection {
                ::sluice_sdk::query::Selection::new()#(.column(#ident::#selected))*
            }
        }

        #[automatically_derived]
        impl ::sluice_sdk::query::ShapeOf<#ident> for #ident {}
    })
}

fn marker(column: &Column<'_>) -> TokenStream {
    if column.nullable {
        quote!(::sluice_sdk::schema::Nullable)
    } else {
        quote!(::sluice_sdk::schema::NotNull)
    }
}

fn table_name(input: &DeriveInput) -> Result<(LitStr, Option<LitStr>)> {
    let (mut name, mut schema) = (None, None);
    parts(&input.attrs, "table", |part| {
        if part.path.is_ident("name") {
            name = Some(part.value()?.parse()?);
        } else if part.path.is_ident("schema") {
            schema = Some(part.value()?.parse()?);
        } else {
            return Err(part.error("expected `name = \"…\"` or `schema = \"…\"`"));
        }
        Ok(())
    })?;
    let missing =
        || syn::Error::new_spanned(&input.ident, "name the table: `#[table(name = \"…\")]`");
    Ok((name.ok_or_else(missing)?, schema))
}

fn columns(input: &DeriveInput) -> Result<Vec<Column<'_>>> {
    let rule = name::rename_all(input)?;
    let mut columns = Vec::new();
    for field in fields(input)? {
        if is_skipped(field)? {
            continue;
        }
        if has_serde_word(&field.attrs, "flatten")? {
            return Err(syn::Error::new_spanned(
                field,
                "a table's columns are its fields: write out what is flattened",
            ));
        }
        let Some(ident) = &field.ident else { continue };
        let inner = option_inner(&field.ty);
        columns.push(Column {
            constant: name::constant(ident),
            name: name::in_json(field, ident, rule)?,
            kind: inner.unwrap_or(&field.ty),
            nullable: inner.is_some(),
            primary_key: is_primary_key(field)?,
        });
    }
    Ok(columns)
}

fn is_primary_key(field: &Field) -> Result<bool> {
    let mut primary_key = false;
    parts(&field.attrs, "table", |part| {
        if part.path.is_ident("primary_key") {
            primary_key = true;
            Ok(())
        } else if part.path.is_ident("rename") {
            Err(part.error("rename the column for serde too, by `#[serde(rename = \"…\")]` alone"))
        } else {
            Err(part.error("expected `primary_key`"))
        }
    })?;
    Ok(primary_key)
}
