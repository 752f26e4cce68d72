//! The attributes of a field.

use proc_macro2::TokenStream;
use quote::quote;
use syn::parse::ParseStream;
use syn::punctuated::Punctuated;
use syn::{Field, Ident, Lit, LitStr, Result, Token};

use crate::attribute::parts;

/// How a field is read.
pub(super) struct Reading {
    /// The field of the table whose column it reads, where that is another.
    pub(super) column: Option<Ident>,
    pub(super) shape: Shape,
    pub(super) unchecked: bool,
}

pub(super) enum Shape {
    Column,
    /// The steps of a path into a JSON column, as calls.
    Path(Vec<TokenStream>),
    Cast(LitStr),
    Aggregate(Ident),
    Count,
    Embed(Embedding),
}

#[derive(Default)]
pub(super) struct Embedding {
    pub(super) spread: bool,
    pub(super) relation: Option<LitStr>,
    pub(super) hint: Option<LitStr>,
    pub(super) join: Option<Ident>,
}

impl Reading {
    pub(super) fn parse(field: &Field) -> Result<Self> {
        let (mut column, mut shape, mut unchecked) = (None, None, false);
        let (mut options, mut has_options) = (Embedding::default(), false);
        parts(&field.attrs, "select", |part| {
            let Some(word) = part.path.get_ident().map(ToString::to_string) else {
                return Err(part.error("expected a word"));
            };
            match word.as_str() {
                "column" => column = Some(part.value()?.parse()?),
                "unchecked" => unchecked = true,
                "json" => shape = Some(path(part.value()?, false)?),
                "json_text" => shape = Some(path(part.value()?, true)?),
                "cast" => shape = Some(Shape::Cast(part.value()?.parse()?)),
                "aggregate" => shape = Some(Shape::Aggregate(aggregate(&part.value()?.parse()?)?)),
                "count" => shape = Some(Shape::Count),
                "embed" => shape = Some(Shape::Embed(Embedding::default())),
                "spread" => {
                    shape = Some(Shape::Embed(Embedding {
                        spread: true,
                        ..Embedding::default()
                    }));
                }
                "relation" => {
                    (options.relation, has_options) = (Some(part.value()?.parse()?), true);
                }
                "hint" => (options.hint, has_options) = (Some(part.value()?.parse()?), true),
                "inner" | "left" => {
                    (options.join, has_options) = (part.path.get_ident().cloned(), true);
                }
                _ => return Err(part.error("not an attribute of a selected field")),
            }
            Ok(())
        })?;
        let shape = match shape {
            Some(Shape::Embed(Embedding { spread, .. })) => {
                Shape::Embed(Embedding { spread, ..options })
            }
            _ if has_options => {
                return Err(syn::Error::new_spanned(
                    field,
                    "`relation`, `hint`, `inner` and `left` go with `embed` or `spread`",
                ));
            }
            shape => shape.unwrap_or(Shape::Column),
        };
        Ok(Self {
            column,
            shape,
            unchecked,
        })
    }
}

/// The calls for a path: `["a", 0]` is `.key("a").index(0)`, as text `.key("a").text_at(0)`.
fn path(value: ParseStream<'_>, as_text: bool) -> Result<Shape> {
    let content;
    syn::bracketed!(content in value);
    let elements = Punctuated::<Lit, Token![,]>::parse_terminated(&content)?;
    let last = elements
        .len()
        .checked_sub(1)
        .ok_or_else(|| content.error("expected a key or an index"))?;
    let step = |(position, element): (usize, &Lit)| match (element, as_text && position == last) {
        (Lit::Str(key), false) => Ok(quote!(.key(#key))),
        (Lit::Str(key), true) => Ok(quote!(.text(#key))),
        (Lit::Int(index), false) => Ok(quote!(.index(#index))),
        (Lit::Int(index), true) => Ok(quote!(.text_at(#index))),
        _ => Err(syn::Error::new(
            element.span(),
            "expected a key or an index",
        )),
    };
    elements
        .iter()
        .enumerate()
        .map(step)
        .collect::<Result<_>>()
        .map(Shape::Path)
}

fn aggregate(name: &LitStr) -> Result<Ident> {
    let variant = match name.value().as_str() {
        "avg" => "Avg",
        "count" => "Count",
        "max" => "Max",
        "min" => "Min",
        "sum" => "Sum",
        _ => {
            return Err(syn::Error::new(
                name.span(),
                "expected avg, count, max, min or sum",
            ));
        }
    };
    Ok(Ident::new(variant, name.span()))
}
