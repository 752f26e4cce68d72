//! A select built by hand.

use std::fmt;

use super::{Embedding, Expression};
use crate::error::Error;
use crate::schema::Target;

/// The value of a `select` parameter.
///
/// The derive of [`Select`](derive@crate::Select) makes one. Use this to build one by hand.
///
/// ```
/// use sluice_sdk::{query::{Embedding, Selection}, col};
///
/// let selection = Selection::new()
///     .column(col("id"))
///     .column(col("meta").key("deep").text("k.ey").alias("deep"))
///     .embed(Embedding::of("users", Selection::new().column(col("name"))).alias("author").inner());
/// assert_eq!(selection.to_string(), r#"id,deep:meta->deep->>"k.ey",author:users!inner(name)"#);
/// ```
///
/// PostgREST reference: "Vertical Filtering", "Resource Embedding" and "Aggregate Functions".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "a selection does nothing until it is read with"]
pub struct Selection {
    items: Vec<Item>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Item {
    All,
    Expression(Expression),
    Embed(Embedding),
    Spread(Embedding),
}

impl Selection {
    /// Selects nothing yet.
    ///
    /// ```
    /// # use sluice_sdk::{col, query::Selection};
    /// assert_eq!(Selection::new().column(col("id")).to_string(), "id");
    /// ```
    ///
    /// SQL: `select id`.
    pub fn new() -> Self {
        Self::default()
    }

    /// Selects every column (`*`).
    ///
    /// ```
    /// # use sluice_sdk::{col, query::Selection};
    /// assert_eq!(Selection::new().all().to_string(), "*");
    /// ```
    ///
    /// SQL: `select *`.
    pub fn all(self) -> Self {
        self.with(Item::All)
    }

    /// Selects a column or an [`Expression`].
    ///
    /// ```
    /// # use sluice_sdk::{col, query::Selection};
    /// assert_eq!(Selection::new().column(col("id")).column(col("meta").text("kind")).to_string(), "id,meta->>kind");
    /// ```
    ///
    /// SQL: `select id, meta->>'kind' as kind`.
    pub fn column(self, column: impl Into<Expression>) -> Self {
        self.with(Item::Expression(column.into()))
    }

    /// Selects rows of a related table.
    ///
    /// ```
    /// # use sluice_sdk::{col, query::{Embedding, Selection}};
    /// let name = Selection::new().column(col("name"));
    /// assert_eq!(Selection::new().all().embed(Embedding::of("users", name)).to_string(), "*,users(name)");
    /// ```
    ///
    /// SQL: `select posts.*, (select to_json(u) from (select name from users where id =
    /// posts.author_id) u) as users from posts`.
    pub fn embed(self, embedding: Embedding) -> Self {
        self.with(Item::Embed(embedding))
    }

    /// Selects columns of a related row as if they were this row's own (`...relation(…)`).
    ///
    /// ```
    /// # use sluice_sdk::{col, query::{Embedding, Selection}};
    /// let name = Selection::new().column(col("name"));
    /// assert_eq!(Selection::new().all().spread(Embedding::of("users", name)).to_string(), "*,...users(name)");
    /// ```
    ///
    /// SQL: `select posts.*, users.name from posts left join users on users.id = posts.author_id`.
    pub fn spread(self, embedding: Embedding) -> Self {
        self.with(Item::Spread(embedding))
    }

    fn with(mut self, item: Item) -> Self {
        self.items.push(item);
        self
    }

    /// Selects a column without its type parameters.
    pub(crate) fn target(self, target: Target, alias: String) -> Self {
        self.column(Expression::of_target(target).alias(alias))
    }

    /// The name of a column's result, if the column is selected without a cast or an aggregate.
    pub(crate) fn result_name_of<'a>(&'a self, wanted: &'a Target) -> Option<&'a str> {
        self.items.iter().find_map(|item| match item {
            Item::All if wanted.path.is_empty() => Some(wanted.name.as_ref()),
            Item::Expression(expression) => expression.result_name_of(wanted),
            Item::All | Item::Embed(_) | Item::Spread(_) => None,
        })
    }

    pub(crate) fn has_aggregates(&self) -> bool {
        let is_aggregate = |item: &Item| matches!(item, Item::Expression(it) if it.is_aggregate());
        self.items.iter().any(is_aggregate)
    }

    /// Refuses what the grammar cannot express.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        self.items.iter().try_for_each(|item| match item {
            Item::All => Ok(()),
            Item::Expression(expression) => expression.validate(),
            Item::Embed(embedding) => embedding.validate(false),
            Item::Spread(embedding) => embedding.validate(true),
        })
    }

    pub(super) fn write(&self, out: &mut String) {
        for (position, item) in self.items.iter().enumerate() {
            if position > 0 {
                out.push(',');
            }
            match item {
                Item::All => out.push('*'),
                Item::Expression(expression) => expression.write(out),
                Item::Embed(embedding) => embedding.write(out),
                Item::Spread(embedding) => {
                    out.push_str("...");
                    embedding.write(out);
                }
            }
        }
    }
}

/// The value before percent-encoding.
impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        self.write(&mut out);
        f.write_str(&out)
    }
}
