//! Writes filters as parameters of the query. Each value is quoted for its position.

use std::fmt::{self, Write};

use super::{Condition, Logic, Rhs, Tree};
use crate::error::Error;
use crate::quote;
use crate::schema::Scalar;

/// The parameters of a query, as names and values before percent-encoding.
#[derive(Clone, Debug, Default)]
pub(crate) struct Params {
    pairs: Vec<(String, String)>,
}

impl Params {
    pub(crate) fn push(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.pairs.push((name.into(), value.into()));
    }

    /// Adds a filter on the table, or on the embedded relation that `prefix` (`"author."`) names.
    pub(crate) fn filter(&mut self, prefix: &str, tree: &Tree) {
        match tree {
            // PostgREST joins parameters by "and", and values need no quotes at the top level.
            Tree::Joined {
                join: Logic::And,
                negated: false,
                children,
            } => {
                for child in children {
                    self.filter(prefix, child);
                }
            }
            Tree::Joined {
                join,
                negated,
                children,
            } => {
                let name = format!("{prefix}{}{}", not(*negated), word(*join));
                self.push(name, group(children));
            }
            Tree::Is(condition) => self.condition(prefix, condition),
        }
    }

    fn condition(&mut self, prefix: &str, condition: &Condition) {
        let mut name = prefix.to_owned();
        if prefix.is_empty() {
            condition.target.write_leading(&mut name);
        } else {
            condition.target.write(&mut name);
        }
        let mut value = String::new();
        write_operator(condition, &mut value);
        match &condition.rhs {
            Rhs::Word(word) => value.push_str(word),
            // The value reaches to the end of the parameter, so it is not quoted.
            Rhs::Scalar(scalar) => value.push_str(&scalar.text),
            Rhs::List(list) => write_list(list, &mut value),
        }
        self.push(name, value);
    }

    /// Refuses a NUL character, which Postgres cannot store in a text.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        let with_nul =
            |(name, value): &&(String, String)| name.contains('\0') || value.contains('\0');
        match self.pairs.iter().find(with_nul) {
            Some((name, _)) => Err(Error::invalid(format!(
                "the parameter `{}` holds a NUL character, which Postgres cannot store; remove it",
                name.escape_debug()
            ))),
            None => Ok(()),
        }
    }

    /// Writes the parameters, percent-encoded, after a path.
    pub(crate) fn encode(&self, out: &mut String) {
        for (position, (name, value)) in self.pairs.iter().enumerate() {
            out.push(if position == 0 { '?' } else { '&' });
            quote::query(name, out);
            out.push('=');
            quote::query(value, out);
        }
    }
}

/// The query before percent-encoding.
impl fmt::Display for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (name, value)) in self.pairs.iter().enumerate() {
            if position > 0 {
                f.write_str("&")?;
            }
            write!(f, "{name}={value}")?;
        }
        Ok(())
    }
}

fn group(children: &[Tree]) -> String {
    let mut out = String::from("(");
    for (position, child) in children.iter().enumerate() {
        if position > 0 {
            out.push(',');
        }
        write_tree(child, &mut out);
    }
    out.push(')');
    out
}

/// Writes a tree inside another. Values are quoted here, because a comma or a parenthesis would end
/// them.
fn write_tree(tree: &Tree, out: &mut String) {
    match tree {
        Tree::Joined {
            join,
            negated,
            children,
        } => {
            out.push_str(not(*negated));
            out.push_str(word(*join));
            out.push_str(&group(children));
        }
        Tree::Is(condition) => {
            condition.target.write_leading(out);
            out.push('.');
            write_operator(condition, out);
            match &condition.rhs {
                Rhs::Word(word) => out.push_str(word),
                Rhs::Scalar(scalar) => write_scalar(scalar, out),
                Rhs::List(list) => write_list(list, out),
            }
        }
    }
}

fn write_operator(condition: &Condition, out: &mut String) {
    out.push_str(not(condition.negated));
    // Writing to a String cannot fail.
    let _ = write!(out, "{}", condition.operator);
    if let Some(modifier) = &condition.modifier {
        let _ = write!(out, "{modifier}");
    }
    out.push('.');
}

fn write_list(list: &[Scalar], out: &mut String) {
    out.push('(');
    for (position, scalar) in list.iter().enumerate() {
        if position > 0 {
            // No space follows: it would become part of the next value.
            out.push(',');
        }
        write_scalar(scalar, out);
    }
    out.push(')');
}

fn write_scalar(scalar: &Scalar, out: &mut String) {
    if scalar.bare {
        out.push_str(&scalar.text);
    } else {
        quote::quoted(&scalar.text, out);
    }
}

fn not(negated: bool) -> &'static str {
    if negated { "not." } else { "" }
}

fn word(join: Logic) -> &'static str {
    match join {
        Logic::And => "and",
        Logic::Or => "or",
    }
}
