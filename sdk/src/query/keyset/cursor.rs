//! The position of a row in an order, and the filter for the rows after it.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::{Error, ErrorKind};
use crate::grammar::{Condition, Key, Logic, Operator, Rhs, Selection, Tree};
use crate::schema::Scalar;

/// The values of a row's keys as text. `None` is null.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    values: Vec<Option<String>>,
}

/// The names of the keys in each row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyNames(Vec<String>);

impl KeyNames {
    /// Finds the keys in a selection, and adds the missing ones under new names.
    pub(crate) fn add_to(selection: &mut Option<Selection>, keys: &[Key]) -> Self {
        let mut selected = selection.take().unwrap_or_else(|| Selection::new().all());
        let mut names = Vec::with_capacity(keys.len());
        for (position, key) in keys.iter().enumerate() {
            if let Some(name) = selected.result_name_of(&key.target) {
                names.push(name.to_owned());
            } else {
                let name = format!("keyset_{position}");
                selected = selected.target(key.target.clone(), name.clone());
                names.push(name);
            }
        }
        *selection = Some(selected);
        Self(names)
    }
}

impl Cursor {
    /// Reads the keys of the last row of a page.
    pub(crate) fn of_last_row(body: &Bytes, names: &KeyNames) -> Result<Self, Error> {
        let unreadable =
            |error: serde_json::Error| Error::decode("the last row's keys cannot be read", &error);
        let rows: Vec<&RawValue> = serde_json::from_slice(body).map_err(unreadable)?;
        let last = rows.last().map_or("{}", |row| row.get());
        let members: std::collections::HashMap<String, &RawValue> =
            serde_json::from_str(last).map_err(unreadable)?;
        let value = |name: &String| {
            let member = members.get(name).ok_or_else(|| {
                let message = format!("the rows lack `{name}`, which is a key of their order");
                Error::new(ErrorKind::Decode, message)
            })?;
            text(member).map_err(unreadable)
        };
        Ok(Self {
            values: names.0.iter().map(value).collect::<Result<_, _>>()?,
        })
    }

    /// The filter for the rows after this one, or `None` if there can be none.
    ///
    /// Rows are compared key by key. A row is later if its first key is later, or if that is equal
    /// and its second key is later, and so on.
    pub(crate) fn after(&self, keys: &[Key]) -> Option<Tree> {
        let mut alternatives = Vec::new();
        let mut equal: Vec<Tree> = Vec::new();
        for (key, value) in keys.iter().zip(&self.values) {
            if let Some(later) = later(key, value.as_deref()) {
                let mut all = equal.clone();
                all.push(later);
                alternatives.push(joined(Logic::And, all));
            }
            equal.push(same(key, value.as_deref()));
        }
        if alternatives.is_empty() {
            return None;
        }
        let after = joined(Logic::Or, alternatives);
        // This condition lets the planner use an index on the first key: it does not see one in the
        // alternatives.
        Some(match (keys.first(), self.values.first()) {
            (Some(key), Some(Some(value))) if keys.len() > 1 && !key.nullable => {
                let operator = if key.descending {
                    Operator::Lte
                } else {
                    Operator::Gte
                };
                joined(Logic::And, vec![compared(key, operator, value), after])
            }
            _ => after,
        })
    }
}

/// The condition that `key` is later than `value`, or `None` if nothing is.
fn later(key: &Key, value: Option<&str>) -> Option<Tree> {
    let nulls_first = key.nulls_come_first();
    match value {
        None => nulls_first.then(|| negated(is_null(key))),
        Some(value) => {
            let operator = if key.descending {
                Operator::Lt
            } else {
                Operator::Gt
            };
            let beyond = compared(key, operator, value);
            if key.nullable && !nulls_first {
                Some(joined(Logic::Or, vec![beyond, Tree::Is(is_null(key))]))
            } else {
                Some(beyond)
            }
        }
    }
}

fn same(key: &Key, value: Option<&str>) -> Tree {
    match value {
        None => Tree::Is(is_null(key)),
        Some(value) => compared(key, Operator::Eq, value),
    }
}

fn compared(key: &Key, operator: Operator, value: &str) -> Tree {
    let rhs = Rhs::Scalar(Scalar::of(value));
    Tree::Is(Condition::new(key.target.clone(), operator, rhs))
}

fn is_null(key: &Key) -> Condition {
    Condition::is_null(key.target.clone())
}

fn negated(condition: Condition) -> Tree {
    Tree::Is(Condition {
        negated: !condition.negated,
        ..condition
    })
}

fn joined(join: Logic, mut children: Vec<Tree>) -> Tree {
    match children.pop() {
        Some(only) if children.is_empty() => only,
        Some(last) => {
            children.push(last);
            Tree::Joined {
                join,
                negated: false,
                children,
            }
        }
        None => Tree::Joined {
            join,
            negated: false,
            children,
        },
    }
}

/// The text that Postgres reads as the same value. Numbers are not parsed, because that could round
/// them.
fn text(value: &RawValue) -> Result<Option<String>, serde_json::Error> {
    match value.get() {
        "null" => Ok(None),
        raw if raw.starts_with('"') => Ok(Some(String::deserialize(value)?)),
        raw => Ok(Some(raw.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grammar::{Filter, Order};
    use crate::schema::{Any, Column, col};

    fn after(orders: Vec<Order<Any>>, row: &'static str) -> Option<String> {
        let keys: Vec<Key> = orders.into_iter().map(|order| order.key).collect();
        let names = KeyNames(
            keys.iter()
                .map(|key| key.target.result_name().to_owned())
                .collect(),
        );
        let cursor = Cursor::of_last_row(&Bytes::from(format!("[{{}},{row}]")), &names).unwrap();
        cursor
            .after(&keys)
            .map(|tree| Filter::<Any>::of(tree).to_string())
    }

    fn id() -> Column<Any, i64> {
        Column::new("id")
    }

    #[test]
    fn one_key_is_compared_alone() {
        assert_eq!(after(vec![id().asc()], r#"{"id":7}"#).unwrap(), "id=gt.7");
        assert_eq!(after(vec![id().desc()], r#"{"id":7}"#).unwrap(), "id=lt.7");
    }

    #[test]
    fn a_second_key_breaks_the_ties_of_the_first() {
        let at: Column<Any, String> = Column::new("at");
        assert_eq!(
            after(vec![at.desc(), id().asc()], r#"{"at":"2026-01-01","id":7}"#).unwrap(),
            r#"at=lte.2026-01-01&or=(at.lt."2026-01-01",and(at.eq."2026-01-01",id.gt."7"))"#
        );
    }

    #[test]
    fn nulls_follow_the_order() {
        let row = r#"{"a":1,"id":7}"#;
        assert_eq!(
            after(vec![col("a").asc(), id().asc()], row).unwrap(),
            r#"or=(or(a.gt."1",a.is.null),and(a.eq."1",id.gt."7"))"#
        );
        assert_eq!(
            after(vec![col("a").desc(), id().asc()], row).unwrap(),
            r#"or=(a.lt."1",and(a.eq."1",id.gt."7"))"#
        );
        let null = r#"{"a":null,"id":7}"#;
        assert_eq!(
            after(vec![col("a").asc(), id().asc()], null).unwrap(),
            "a=is.null&id=gt.7"
        );
        assert_eq!(
            after(vec![col("a").desc(), id().asc()], null).unwrap(),
            r#"or=(a.not.is.null,and(a.is.null,id.gt."7"))"#
        );
    }

    #[test]
    fn nothing_follows_a_null_that_comes_last() {
        assert_eq!(after(vec![col("a").asc()], r#"{"a":null}"#), None);
    }

    #[test]
    fn numbers_keep_their_digits() {
        let row = r#"{"id":9007199254740993.10}"#;
        assert_eq!(
            after(vec![id().asc()], row).unwrap(),
            "id=gt.9007199254740993.10"
        );
    }

    #[test]
    fn a_missing_key_is_an_error() {
        let names = KeyNames(vec!["id".to_owned()]);
        assert!(Cursor::of_last_row(&Bytes::from_static(b"[{}]"), &names).is_err());
    }
}
