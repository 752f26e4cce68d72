//! Names of the database as Rust identifiers.

use std::collections::BTreeSet;

use deunicode::deunicode;
use heck::{ToSnakeCase, ToUpperCamelCase};

/// Longer identifiers are truncated, so that rustfmt can break every line that contains one.
const LENGTH_MAX: usize = 60;

/// Keywords that are identifiers only in their raw form, `r#type`.
const KEYWORDS: &[&str] = &[
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "do", "dyn",
    "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let",
    "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return",
    "static", "struct", "trait", "true", "try", "type", "typeof", "unsafe", "unsized", "use",
    "virtual", "where", "while", "yield",
];

/// Keywords that are no identifiers in any form.
const NEVER: &[&str] = &["Self", "crate", "self", "super"];

/// Type names that generated code uses itself.
const USED: &[&str] = &[
    "Deserialize",
    "Function",
    "Option",
    "Serialize",
    "String",
    "Table",
    "Vec",
];

/// The distinct names of one module's types.
#[derive(Debug)]
pub(super) struct TypeNames(BTreeSet<String>);

/// The distinct names of one type's fields or variants.
#[derive(Debug, Default)]
pub(super) struct MemberNames(BTreeSet<String>);

impl TypeNames {
    pub(super) fn new() -> Self {
        Self(USED.iter().map(|name| (*name).to_owned()).collect())
    }

    /// A name for a type: the first wanted name that is free, or the last one with a number.
    pub(super) fn take(&mut self, wanted: &[String]) -> String {
        let mut last = String::new();
        for name in wanted {
            last = camel(name);
            if self.0.insert(last.clone()) {
                return last;
            }
        }
        self.derived(&last, "")
    }

    /// A name for a type that belongs to the one called `base`.
    pub(super) fn derived(&mut self, base: &str, suffix: &str) -> String {
        numbered(&format!("{base}{suffix}"), "", |name| {
            self.0.insert(name.to_owned())
        })
    }
}

impl MemberNames {
    /// A name for a field. Fields must differ in upper case too, because each has a constant.
    pub(super) fn field(&mut self, wanted: &str) -> String {
        let name = numbered(&snake(wanted), "_", |name| {
            self.0.insert(name.to_uppercase())
        });
        if KEYWORDS.contains(&name.as_str()) {
            format!("r#{name}")
        } else {
            name
        }
    }

    /// A name for a variant.
    pub(super) fn variant(&mut self, wanted: &str) -> String {
        numbered(&camel(wanted), "", |name| self.0.insert(name.to_owned()))
    }
}

/// The name of a field in JSON, unless it is renamed.
pub(super) fn plain(field: &str) -> &str {
    field.strip_prefix("r#").unwrap_or(field)
}

/// `name`, or the first of `name2`, `name3` … that `take` accepts.
fn numbered(name: &str, joint: &str, mut take: impl FnMut(&str) -> bool) -> String {
    let mut candidate = name.to_owned();
    let mut number = 1_u32;
    while !take(&candidate) {
        number += 1;
        candidate = format!("{name}{joint}{number}");
    }
    candidate
}

/// `createdAt` is `created_at`.
fn snake(name: &str) -> String {
    usable(deunicode(name).to_snake_case(), "unnamed", "n")
}

/// `llm_scores` is `LlmScores`. Nothing is made singular, so that the letters stay searchable.
fn camel(name: &str) -> String {
    usable(deunicode(name).to_upper_camel_case(), "Unnamed", "N")
}

/// A name as an identifier: truncated, not empty, and with a letter before a leading digit.
fn usable(mut name: String, empty: &str, number: &str) -> String {
    name.truncate(LENGTH_MAX);
    let name = name.trim_end_matches('_');
    if name.is_empty() {
        empty.to_owned()
    } else if name.starts_with(|first: char| first.is_ascii_digit()) {
        format!("{number}{name}")
    } else if NEVER.contains(&name) {
        format!("{name}_")
    } else {
        name.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str) -> String {
        MemberNames::default().field(name)
    }

    #[test]
    fn fields_are_in_snake_case() {
        for (name, expected) in [
            ("neighborhood_id", "neighborhood_id"),
            ("createdAt", "created_at"),
            ("HTTPServer", "http_server"),
            ("Größe (cm)", "grosse_cm"),
            ("2nd", "n2nd"),
            ("__x__", "x"),
            ("type", "r#type"),
            ("self", "self_"),
            ("!!", "unnamed"),
            ("", "unnamed"),
        ] {
            assert_eq!(field(name), expected, "{name}");
        }
    }

    #[test]
    fn types_are_in_camel_case_and_stay_plural() {
        for (name, expected) in [
            ("posts", "Posts"),
            ("llm_scores", "LlmScores"),
            ("Self", "Self_"),
            ("2024", "N2024"),
            ("東京", "DongJing"),
        ] {
            assert_eq!(camel(name), expected, "{name}");
        }
    }

    #[test]
    fn names_are_distinct() {
        let mut fields = MemberNames::default();
        let given = ["id", "ID", "i d", "id_2"].map(|name| fields.field(name));
        assert_eq!(given, ["id", "id_2", "i_d", "id_2_2"]);
        let mut types = TypeNames::new();
        let wanted = ["status", "status enum"].map(str::to_owned);
        let given = [(); 4].map(|()| types.take(&wanted));
        assert_eq!(
            given,
            ["Status", "StatusEnum", "StatusEnum2", "StatusEnum3"]
        );
        assert_eq!(types.derived("Status", "Enum"), "StatusEnum4");
    }

    #[test]
    fn names_that_generated_code_uses_are_taken() {
        let wanted = ["table", "table row"].map(str::to_owned);
        assert_eq!(TypeNames::new().take(&wanted), "TableRow");
    }

    #[test]
    fn long_name_is_truncated() {
        assert_eq!(camel(&"東".repeat(21)).len(), LENGTH_MAX);
    }
}
