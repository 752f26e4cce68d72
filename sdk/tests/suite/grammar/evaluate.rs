//! Evaluates a parsed condition as Postgres does: which of the record's rows it matches.

use super::decode::{Field, Operand, Operator, Param, StepOperand, Tree};

/// A row of the record's table `g`, whose every column holds the same text in some form.
pub(crate) struct Row<'a> {
    pub(crate) id: usize,
    pub(crate) text: &'a str,
}

/// Whether the row matches all filters among the parameters, or an error if Postgres would refuse.
pub(crate) fn matches(params: &[Param], row: &Row<'_>) -> Result<bool, String> {
    for param in params {
        if let Param::Filter { relation, tree } = param {
            if !relation.is_empty() {
                return Err(format!("the table has no relation {relation:?}"));
            }
            if !holds(tree, row)? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

fn holds(tree: &Tree, row: &Row<'_>) -> Result<bool, String> {
    match tree {
        Tree::Joined {
            and,
            negated,
            children,
        } => {
            let results: Vec<bool> = children
                .iter()
                .map(|child| holds(child, row))
                .collect::<Result<_, _>>()?;
            let joined = if *and {
                results.iter().all(|&b| b)
            } else {
                results.iter().any(|&b| b)
            };
            Ok(joined != *negated)
        }
        Tree::Condition {
            field,
            negated,
            operator,
            operand,
        } => Ok(compare(field, operator, operand, row)? != *negated),
    }
}

fn compare(
    field: &Field,
    operator: &Operator,
    operand: &Operand,
    row: &Row<'_>,
) -> Result<bool, String> {
    let name = field.name.as_str();
    match (name, operator.name.as_str(), operand) {
        ("id", operator, Operand::Text(text)) => {
            let id = i64::try_from(row.id).map_err(|error| error.to_string())?;
            let wanted: i64 = text
                .parse()
                .map_err(|_| format!("{text:?} is not a number"))?;
            match operator {
                "eq" => Ok(id == wanted),
                "gt" => Ok(id > wanted),
                "gte" => Ok(id >= wanted),
                _ => Err(format!("no operator {operator} here")),
            }
        }
        ("arr", "cs", Operand::Text(text)) => {
            Ok(array(text)?.iter().all(|element| in_array(element, row)))
        }
        ("arr", "ov", Operand::Text(text)) => {
            Ok(array(text)?.iter().any(|element| in_array(element, row)))
        }
        ("doc", "cs", Operand::Text(text)) => in_document(text, row),
        ("v" | "odd col" | "order" | "a.b" | "q\"t", _, _) if field.path.is_empty() => {
            compare_text(operator, operand, row.text)
        }
        ("doc", _, _) if is_text_member(field) => compare_text(operator, operand, row.text),
        _ => Err(format!("no such field: {field:?}")),
    }
}

fn compare_text(operator: &Operator, operand: &Operand, value: &str) -> Result<bool, String> {
    match (
        operator.name.as_str(),
        operator.modifier.as_deref(),
        operand,
    ) {
        ("eq", None, Operand::Text(text)) => Ok(value == text),
        ("neq", None, Operand::Text(text)) => Ok(value != text),
        ("eq", Some("any"), Operand::Text(text)) => Ok(array(text)?.iter().any(|one| one == value)),
        ("in", None, Operand::List(list)) => Ok(list.iter().any(|one| one == value)),
        ("like", None, Operand::Text(text)) => like(&text.replace('*', "%"), value),
        ("ilike", None, Operand::Text(text)) => {
            like(&lower(&text.replace('*', "%")), &lower(value))
        }
        ("match", None, Operand::Text(text)) => regex(text, value),
        ("imatch", None, Operand::Text(text)) => regex(&lower(text), &lower(value)),
        _ => Err(format!("no {operator:?} of {operand:?} here")),
    }
}

/// Postgres folds case a character at a time: a dotted capital I becomes a plain small one.
pub(crate) fn lower(text: &str) -> String {
    text.chars()
        .filter_map(|letter| letter.to_lowercase().next())
        .collect()
}

/// The members of `doc` are named `k`, `a.b`, `x y` and `q"t`, and all hold the row's text.
fn is_text_member(field: &Field) -> bool {
    match field.path.as_slice() {
        [step] => match &step.operand {
            StepOperand::Key(key) => {
                step.as_text && ["k", "a.b", "x y", "q\"t"].contains(&key.as_str())
            }
            StepOperand::Index(_) => false,
        },
        _ => false,
    }
}

fn in_array(element: &str, row: &Row<'_>) -> bool {
    element == row.text || element == "other"
}

fn in_document(text: &str, row: &Row<'_>) -> Result<bool, String> {
    let wanted: serde_json::Value =
        serde_json::from_str(text).map_err(|error| error.to_string())?;
    let members = wanted.as_object().ok_or("not an object")?;
    Ok(members.iter().all(|(key, value)| {
        ["k", "a.b", "x y", "q\"t"].contains(&key.as_str()) && value == row.text
    }))
}

/// Reads a one-dimensional array literal of Postgres.
pub(crate) fn array(text: &str) -> Result<Vec<String>, String> {
    let inner = text
        .strip_prefix('{')
        .and_then(|text| text.strip_suffix('}'));
    let mut letters = inner
        .ok_or_else(|| format!("{text:?} is not an array"))?
        .chars()
        .peekable();
    let mut elements = Vec::new();
    if letters.peek().is_none() {
        return Ok(elements);
    }
    loop {
        let mut element = String::new();
        if letters.next_if_eq(&'"').is_some() {
            loop {
                match letters.next().ok_or("an element does not end")? {
                    '"' => break,
                    '\\' => element.push(letters.next().ok_or("a backslash at the end")?),
                    other => element.push(other),
                }
            }
        } else {
            while let Some(letter) = letters.next_if(|letter| *letter != ',') {
                if "{}\"\\".contains(letter) {
                    return Err(format!("{letter:?} must be quoted"));
                }
                element.push(letter);
            }
        }
        elements.push(element);
        match letters.next() {
            None => return Ok(elements),
            Some(',') => {}
            Some(other) => return Err(format!("{other:?} after an element")),
        }
    }
}

/// SQL's `LIKE`, with `\` to escape.
pub(crate) fn like(pattern: &str, value: &str) -> Result<bool, String> {
    let pattern: Vec<char> = pattern.chars().collect();
    let value: Vec<char> = value.chars().collect();
    like_from(&pattern, &value)
}

fn like_from(pattern: &[char], value: &[char]) -> Result<bool, String> {
    match pattern {
        [] => Ok(value.is_empty()),
        ['%', rest @ ..] => {
            for start in 0..=value.len() {
                if like_from(rest, &value[start..])? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        ['\\'] => Err("22025".to_owned()),
        ['\\', letter, rest @ ..] => {
            Ok(value.first() == Some(letter) && like_from(rest, &value[1..])?)
        }
        ['_', rest @ ..] => Ok(!value.is_empty() && like_from(rest, &value[1..])?),
        [letter, rest @ ..] => Ok(value.first() == Some(letter) && like_from(rest, &value[1..])?),
    }
}

/// The regular expressions that patterns are translated to: anchored, with `.`, `.*`, escaped
/// punctuation and plain letters, and nothing else.
pub(crate) fn regex(expression: &str, value: &str) -> Result<bool, String> {
    let inner = expression
        .strip_prefix('^')
        .and_then(|text| text.strip_suffix('$'));
    let pattern: Vec<char> = inner.ok_or("not anchored")?.chars().collect();
    let value: Vec<char> = value.chars().collect();
    regex_from(&pattern, &value)
}

fn regex_from(pattern: &[char], value: &[char]) -> Result<bool, String> {
    match pattern {
        [] => Ok(value.is_empty()),
        ['.', '*', rest @ ..] => {
            for start in 0..=value.len() {
                if regex_from(rest, &value[start..])? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        ['.', rest @ ..] => Ok(!value.is_empty() && regex_from(rest, &value[1..])?),
        ['\\', letter, rest @ ..] if !letter.is_alphanumeric() => {
            Ok(value.first() == Some(letter) && regex_from(rest, &value[1..])?)
        }
        [letter, rest @ ..] if !"^$.|?*+()[]{}\\".contains(*letter) => {
            Ok(value.first() == Some(letter) && regex_from(rest, &value[1..])?)
        }
        [letter, ..] => Err(format!("{letter:?} means something in an expression")),
    }
}
