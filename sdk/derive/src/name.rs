//! The names of fields in serde's formats.

use syn::{DeriveInput, Field, Ident, LitStr, Result};

use crate::attribute::serde_value;

/// The rule of `#[serde(rename_all = "…")]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RenameRule {
    Lower,
    Upper,
    Pascal,
    Camel,
    Snake,
    ScreamingSnake,
    Kebab,
    ScreamingKebab,
}

impl RenameRule {
    pub(crate) fn parse(text: &LitStr) -> Result<Self> {
        Ok(match text.value().as_str() {
            "lowercase" => Self::Lower,
            "UPPERCASE" => Self::Upper,
            "PascalCase" => Self::Pascal,
            "camelCase" => Self::Camel,
            "snake_case" => Self::Snake,
            "SCREAMING_SNAKE_CASE" => Self::ScreamingSnake,
            "kebab-case" => Self::Kebab,
            "SCREAMING-KEBAB-CASE" => Self::ScreamingKebab,
            _ => {
                return Err(syn::Error::new(
                    text.span(),
                    "not a rule of serde's `rename_all`",
                ));
            }
        })
    }

    /// Applies the rule to a field's name, which is in snake case.
    fn apply(self, name: &str) -> String {
        match self {
            Self::Lower | Self::Snake => name.to_owned(),
            Self::Upper | Self::ScreamingSnake => name.to_uppercase(),
            Self::Kebab => name.replace('_', "-"),
            Self::ScreamingKebab => name.to_uppercase().replace('_', "-"),
            Self::Pascal => name.split('_').map(capitalized).collect(),
            Self::Camel => {
                let pascal = Self::Pascal.apply(name);
                let mut letters = pascal.chars();
                letters
                    .next()
                    .map(|first| first.to_ascii_lowercase())
                    .into_iter()
                    .chain(letters)
                    .collect()
            }
        }
    }
}

/// The rule of `#[serde(rename_all = "…")]`.
pub(crate) fn rename_all(input: &DeriveInput) -> Result<Option<RenameRule>> {
    serde_value(&input.attrs, "rename_all")?
        .as_ref()
        .map(RenameRule::parse)
        .transpose()
}

/// The name of a field in JSON, and so of its column.
pub(crate) fn in_json(field: &Field, ident: &Ident, rule: Option<RenameRule>) -> Result<String> {
    if let Some(name) = serde_value(&field.attrs, "rename")? {
        return Ok(name.value());
    }
    let name = plain(ident);
    Ok(match rule {
        Some(rule) => rule.apply(&name),
        None => name,
    })
}

/// The constant for a field: `neighborhood_id` is `NEIGHBORHOOD_ID`.
pub(crate) fn constant(ident: &Ident) -> Ident {
    Ident::new(&plain(ident).to_uppercase(), ident.span())
}

fn plain(ident: &Ident) -> String {
    let name = ident.to_string();
    name.strip_prefix("r#").map(str::to_owned).unwrap_or(name)
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters
        .next()
        .map(|first| first.to_ascii_uppercase())
        .into_iter()
        .chain(letters)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_are_those_of_serde() {
        let applied = |rule: RenameRule| rule.apply("two_words");
        assert_eq!(applied(RenameRule::Camel), "twoWords");
        assert_eq!(applied(RenameRule::Pascal), "TwoWords");
        assert_eq!(applied(RenameRule::Kebab), "two-words");
        assert_eq!(applied(RenameRule::ScreamingSnake), "TWO_WORDS");
        assert_eq!(applied(RenameRule::Snake), "two_words");
    }
}
