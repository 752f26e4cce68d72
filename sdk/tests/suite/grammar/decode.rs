//! An independent parser of PostgREST's query grammar, written from the grammar's rules and not
//! from the encoders. It reads a query as PostgREST does.

use percent_encoding::percent_decode_str;

/// One parsed parameter of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Param {
    /// A condition on the rows of a relation, or of the table itself if there is no relation.
    Filter { relation: Vec<String>, tree: Tree },
    /// Anything that is not a filter, with its decoded value.
    Other { name: String, value: String },
}

/// A condition, or several joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tree {
    Condition {
        field: Field,
        negated: bool,
        operator: Operator,
        operand: Operand,
    },
    Joined {
        and: bool,
        negated: bool,
        children: Vec<Tree>,
    },
}

/// A column with the path into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) path: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) as_text: bool,
    pub(crate) operand: StepOperand,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StepOperand {
    Key(String),
    Index(i64),
}

/// An operator with its modifier in parentheses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Operator {
    pub(crate) name: String,
    pub(crate) modifier: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operand {
    Text(String),
    List(Vec<String>),
}

/// Reads the query of a URL.
pub(crate) fn query(text: &str) -> Result<Vec<Param>, String> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(param)
        .collect()
}

fn param(pair: &str) -> Result<Param, String> {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    let (name, value) = (percent_decoded(name)?, percent_decoded(value)?);
    if ["select", "columns", "on_conflict"].contains(&name.as_str()) {
        return Ok(Param::Other { name, value });
    }
    let (relation, last) = relation(&name)?;
    match last.as_str() {
        "order" | "limit" | "offset" => Ok(Param::Other { name, value }),
        "and" | "or" | "not.and" | "not.or" => {
            let mut reader = Reader::new(&value);
            let children = reader.group()?;
            let (negated, and) = (last.starts_with("not."), last.ends_with("and"));
            Ok(Param::Filter {
                relation,
                tree: Tree::Joined {
                    and,
                    negated,
                    children,
                },
            })
        }
        _ => {
            let mut reader = Reader::new(&last);
            let field = reader.field()?;
            reader.end()?;
            let tree = Reader::new(&value).condition(field, Place::TopLevel)?;
            Ok(Param::Filter { relation, tree })
        }
    }
}

/// Splits `a.b.col` into the relations and the rest; dots between quotes do not count.
fn relation(name: &str) -> Result<(Vec<String>, String), String> {
    let mut parts = vec![String::new()];
    let (mut quoted, mut escaped) = (false, false);
    for letter in name.chars() {
        match letter {
            '.' if !quoted => {
                parts.push(String::new());
                continue;
            }
            '"' if !escaped => quoted = !quoted,
            _ => {}
        }
        escaped = letter == '\\' && !escaped;
        parts.last_mut().ok_or("no part")?.push(letter);
    }
    let mut last = parts.pop().ok_or("no name")?;
    if ["and", "or"].contains(&last.as_str()) && parts.last().is_some_and(|part| part == "not") {
        parts.pop();
        last = format!("not.{last}");
    }
    let unquoted = |part: &String| Reader::new(part).name();
    Ok((parts.iter().map(unquoted).collect::<Result<_, _>>()?, last))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    TopLevel,
    Tree,
}

/// Reads text from left to right.
pub(crate) struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { rest: text }
    }

    pub(crate) fn end(&self) -> Result<(), String> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(format!("unread: {:?}", self.rest))
        }
    }

    pub(crate) fn rest(&self) -> &'a str {
        self.rest
    }

    pub(crate) fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    pub(crate) fn take(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, text: &str) -> Result<(), String> {
        if self.take(text) {
            Ok(())
        } else {
            Err(format!("expected {text:?} at {:?}", self.rest))
        }
    }

    fn while_(&mut self, keep: impl Fn(char) -> bool) -> &'a str {
        let end = self
            .rest
            .find(|letter| !keep(letter))
            .unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn blanks(&mut self) {
        self.while_(|letter| matches!(letter, ' ' | '\t'));
    }

    /// A name: quoted, or letters, digits, `_`, `$`, inner spaces, and dashes that begin no arrow.
    pub(crate) fn name(&mut self) -> Result<String, String> {
        if self.peek() == Some('"') {
            return self.quoted();
        }
        let mut name = String::new();
        loop {
            name.push_str(
                self.while_(|letter| letter.is_alphanumeric() || matches!(letter, '_' | '$' | ' ')),
            );
            if !self.rest.starts_with('-') || self.rest.starts_with("->") {
                break;
            }
            self.take("-");
            name.push('-');
        }
        let name = name.trim().to_owned();
        if name.is_empty() {
            Err(format!("no name at {:?}", self.rest))
        } else {
            Ok(name)
        }
    }

    fn quoted(&mut self) -> Result<String, String> {
        self.expect("\"")?;
        let mut text = String::new();
        let mut letters = self.rest.char_indices();
        while let Some((position, letter)) = letters.next() {
            match letter {
                '"' => {
                    self.rest = &self.rest[position + 1..];
                    return Ok(text);
                }
                '\\' => text.push(letters.next().ok_or("a backslash at the end")?.1),
                other => text.push(other),
            }
        }
        Err("a quote that does not end".to_owned())
    }

    /// A column and the path into it.
    pub(crate) fn field(&mut self) -> Result<Field, String> {
        let name = self.name()?;
        let mut path = Vec::new();
        while self.rest.starts_with("->") {
            let as_text = self.take("->>");
            if !as_text {
                self.expect("->")?;
            }
            path.push(Step {
                as_text,
                operand: self.step()?,
            });
        }
        Ok(Field { name, path })
    }

    fn step(&mut self) -> Result<StepOperand, String> {
        if self.peek() == Some('"') {
            return self.quoted().map(StepOperand::Key);
        }
        let digits = self
            .rest
            .trim_start_matches('-')
            .find(|letter: char| !letter.is_ascii_digit());
        let sign = usize::from(self.rest.starts_with('-'));
        let length = sign + digits.unwrap_or(self.rest.len() - sign);
        let (index, after) = self.rest.split_at(length);
        let ends = after.is_empty()
            || ["->", "::", ".", ","]
                .iter()
                .any(|end| after.starts_with(end));
        if length > sign && ends {
            self.rest = after;
            return index
                .parse()
                .map(StepOperand::Index)
                .map_err(|_| "not an index".to_owned());
        }
        let mut key = String::new();
        loop {
            key.push_str(self.while_(|letter| !"(-:.,>)".contains(letter)));
            if !self.rest.starts_with('-') || self.rest.starts_with("->") {
                break;
            }
            self.take("-");
            key.push('-');
        }
        if key.is_empty() {
            Err("no key".to_owned())
        } else {
            Ok(StepOperand::Key(key))
        }
    }

    /// `(tree,tree,…)`, without what follows.
    fn group(&mut self) -> Result<Vec<Tree>, String> {
        self.blanks();
        self.expect("(")?;
        self.blanks();
        let mut children = vec![self.tree()?];
        loop {
            self.blanks();
            if !self.take(",") {
                break;
            }
            self.blanks();
            children.push(self.tree()?);
        }
        self.expect(")")?;
        self.blanks();
        Ok(children)
    }

    fn tree(&mut self) -> Result<Tree, String> {
        let start = self.rest;
        if let Ok(field) = self.field()
            && self.take(".")
            && let Ok(condition) = self.condition(field, Place::Tree)
        {
            return Ok(condition);
        }
        self.rest = start;
        let negated = self.take("not.");
        let and = self.take("and");
        if !and {
            self.expect("or")?;
        }
        Ok(Tree::Joined {
            and,
            negated,
            children: self.group()?,
        })
    }

    fn condition(&mut self, field: Field, place: Place) -> Result<Tree, String> {
        let negated = self.take("not.");
        let name = self
            .while_(|letter| letter.is_ascii_alphabetic())
            .to_owned();
        let modifier = if self.take("(") {
            let modifier = self.while_(|letter| letter != ')').to_owned();
            self.expect(")")?;
            Some(modifier)
        } else {
            None
        };
        if !OPERATORS.contains(&name.as_str()) {
            return Err(format!("{name:?} is not an operator"));
        }
        self.expect(".")?;
        let operand = match (name.as_str(), place) {
            ("in", _) => Operand::List(self.list()?),
            ("is", _) => Operand::Text(
                self.while_(|letter| letter.is_alphabetic() || letter == '_')
                    .to_owned(),
            ),
            (_, Place::TopLevel) => Operand::Text(std::mem::take(&mut self.rest).to_owned()),
            (_, Place::Tree) => Operand::Text(self.value_in_tree()),
        };
        Ok(Tree::Condition {
            field,
            negated,
            operator: Operator { name, modifier },
            operand,
        })
    }

    fn list(&mut self) -> Result<Vec<String>, String> {
        self.blanks();
        self.expect("(")?;
        self.blanks();
        let mut elements = vec![self.element()];
        while self.take(",") {
            elements.push(self.element());
        }
        self.expect(")")?;
        self.blanks();
        // PostgREST reads one empty element as the empty list.
        if elements.iter().all(String::is_empty) && elements.len() == 1 {
            elements.clear();
        }
        Ok(elements)
    }

    /// A quoted text that is a whole element, or anything up to a comma or the end.
    fn element(&mut self) -> String {
        let start = self.rest;
        if let Ok(text) = self.quoted()
            && self.peek().is_none_or(|letter| matches!(letter, ',' | ')'))
        {
            return text;
        }
        self.rest = start;
        self.while_(|letter| !matches!(letter, ',' | ')'))
            .to_owned()
    }

    fn value_in_tree(&mut self) -> String {
        let start = self.rest;
        if let Ok(text) = self.quoted()
            && self.peek().is_none_or(|letter| matches!(letter, ',' | ')'))
        {
            return text;
        }
        self.rest = start;
        if self.take("{") {
            let inner = self.while_(|letter| !matches!(letter, '{' | '}'));
            if self.take("}") {
                return format!("{{{inner}}}");
            }
        }
        self.rest = start;
        self.while_(|letter| !matches!(letter, ',' | ')'))
            .to_owned()
    }
}

const OPERATORS: [&str; 26] = [
    "eq",
    "neq",
    "gt",
    "gte",
    "lt",
    "lte",
    "like",
    "ilike",
    "match",
    "imatch",
    "in",
    "is",
    "isdistinct",
    "fts",
    "plfts",
    "phfts",
    "wfts",
    "cs",
    "cd",
    "ov",
    "sl",
    "sr",
    "nxr",
    "nxl",
    "adj",
    "not",
];

pub(crate) fn percent_decoded(text: &str) -> Result<String, String> {
    let decoded = percent_decode_str(text)
        .decode_utf8()
        .map_err(|error| error.to_string())?;
    Ok(decoded.into_owned())
}
