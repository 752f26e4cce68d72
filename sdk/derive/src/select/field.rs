//! The attributes of a field.

use proc_macro2::TokenStream;
use quote::quote;
use syn::meta::ParseNestedMeta;
use syn::parse::ParseStream;
use syn::punctuated::Punctuated;
use syn::{Field, Ident, Lit, LitStr, Result, Token};

use crate::attribute::parts;

/// The attributes of a field that is read.
#[derive(Default)]
pub(super) struct FieldAttributes {
    /// The table's field whose column it reads, if the names differ.
    pub(super) column: Option<Ident>,
    /// The steps of a path into a JSON column, as calls.
    pub(super) path: Option<Vec<TokenStream>>,
    /// The function over each group.
    pub(super) aggregate: Option<Ident>,
    /// Whether it is the number of rows in each group.
    pub(super) row_count: bool,
    pub(super) cast: Option<LitStr>,
    pub(super) unchecked: bool,
    /// The related rows that it holds, if it is not a column.
    pub(super) embedding: Option<Embedding>,
}

#[derive(Default)]
pub(super) struct Embedding {
    pub(super) spread: bool,
    pub(super) relation: Option<LitStr>,
    pub(super) hint: Option<LitStr>,
    pub(super) join: Option<Ident>,
}

impl FieldAttributes {
    pub(super) fn parse(field: &Field) -> Result<Self> {
        let (mut attributes, mut options) = (Self::default(), Embedding::default());
        let mut spread = None;
        parts(&field.attrs, "select", |part| {
            let word = part.path.get_ident().map(ToString::to_string);
            let word = word.unwrap_or_default();
            match word.as_str() {
                "embed" | "spread" => spread = Some(word == "spread"),
                "relation" | "hint" | "inner" | "left" => options.read(&word, &part)?,
                _ => attributes.read(&word, &part)?,
            }
            Ok(())
        })?;
        let refuse = |message| Err(syn::Error::new_spanned(field, message));
        match spread {
            Some(_) if attributes.reads_a_column() => refuse(
                "a field holds related rows or reads a column: `embed` and `spread` go with \
                 `relation`, `hint`, `inner` and `left` alone",
            ),
            None if options.is_set() => {
                refuse("`relation`, `hint`, `inner` and `left` go with `embed` or `spread`")
            }
            _ => {
                let embedding = |spread| Embedding { spread, ..options };
                attributes.embedding = spread.map(embedding);
                Ok(attributes)
            }
        }
    }

    fn read(&mut self, word: &str, part: &ParseNestedMeta<'_>) -> Result<()> {
        match word {
            "column" => self.column = Some(part.value()?.parse()?),
            "unchecked" => self.unchecked = true,
            "json" => self.path = Some(path(part.value()?, false)?),
            "json_text" => self.path = Some(path(part.value()?, true)?),
            "cast" => self.cast = Some(part.value()?.parse()?),
            "aggregate" => self.aggregate = Some(aggregate(&part.value()?.parse()?)?),
            "count" => self.row_count = true,
            _ => return Err(part.error("not an attribute of a selected field")),
        }
        Ok(())
    }

    fn reads_a_column(&self) -> bool {
        let makes_something = self.path.is_some() || self.aggregate.is_some() || self.row_count;
        makes_something || self.column.is_some() || self.cast.is_some() || self.unchecked
    }
}

impl Embedding {
    fn read(&mut self, word: &str, part: &ParseNestedMeta<'_>) -> Result<()> {
        match word {
            "relation" => self.relation = Some(part.value()?.parse()?),
            "hint" => self.hint = Some(part.value()?.parse()?),
            _ => self.join = part.path.get_ident().cloned(),
        }
        Ok(())
    }

    fn is_set(&self) -> bool {
        self.relation.is_some() || self.hint.is_some() || self.join.is_some()
    }
}

/// The calls for a path: `["a", 0]` is `.key("a").index(0)`, as text `.key("a").text_at(0)`.
fn path(value: ParseStream<'_>, as_text: bool) -> Result<Vec<TokenStream>> {
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
    elements.iter().enumerate().map(step).collect()
}

/// The method for the name of an aggregate.
fn aggregate(name: &LitStr) -> Result<Ident> {
    match name.value().as_str() {
        word @ ("avg" | "count" | "max" | "min" | "sum") => Ok(Ident::new(word, name.span())),
        _ => Err(syn::Error::new(
            name.span(),
            "expected avg, count, max, min or sum",
        )),
    }
}
