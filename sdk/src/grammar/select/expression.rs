//! One item of a select: a column, possibly cast, aggregated or renamed.

use std::borrow::Cow;

use crate::error::Error;
use crate::quote;
use crate::schema::{Column, Target};

type Name = Cow<'static, str>;

/// A column or a path into one, with a cast, an aggregate and a name for the result. Every
/// [`Column`] converts into one.
///
/// ```
/// use sluice_sdk::{query::{Expression, Selection}, col};
///
/// let selection = Selection::new()
///     .column(col("status"))
///     .column(col("meta").key("deep").text("k.ey").cast("int").alias("deep"))
///     .column(col("views").sum().cast("text").alias("views"))
///     .column(Expression::row_count());
/// assert_eq!(
///     selection.to_string(),
///     r#"status,deep:meta->deep->>"k.ey"::int,views:views.sum()::text,count()"#,
/// );
/// ```
///
/// PostgREST reference: "Vertical Filtering", "JSON Columns" and "Aggregate Functions".
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "an expression does nothing until it is selected"]
pub struct Expression {
    alias: Option<Name>,
    /// `None` for the number of rows.
    target: Option<Target>,
    /// The cast of the column, before the aggregate.
    cast: Option<Name>,
    aggregate: Option<Aggregate>,
    aggregate_cast: Option<Name>,
}

/// A function over the rows of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aggregate {
    Avg,
    Count,
    Max,
    Min,
    Sum,
}

/// What can be selected of a column.
impl<T, V, N> Column<T, V, N> {
    /// This column under another name.
    ///
    /// ```
    /// # use sluice_sdk::{col, query::Selection};
    /// assert_eq!(Selection::new().column(col("text").alias("title")).to_string(), "title:text");
    /// ```
    ///
    /// SQL: `select text as title`.
    pub fn alias(self, name: impl Into<Cow<'static, str>>) -> Expression {
        Expression::from(self).alias(name)
    }

    /// This column as another type of Postgres (`views::text`). The type's name may have letters,
    /// digits, `_`, `$` and spaces only.
    ///
    /// ```
    /// # use sluice_sdk::{col, query::Selection};
    /// assert_eq!(Selection::new().column(col("views").cast("text")).to_string(), "views::text");
    /// ```
    ///
    /// SQL: `select views::text`.
    pub fn cast(self, kind: impl Into<Cow<'static, str>>) -> Expression {
        Expression::from(self).cast(kind)
    }

    /// The average over each group. A group is the rows that have the same values in everything
    /// selected without an aggregate. The server must allow aggregates (`db-aggregates-enabled`).
    ///
    /// ```
    /// # use sluice_sdk::{col, query::Selection};
    /// assert_eq!(Selection::new().column(col("views").avg()).to_string(), "views.avg()");
    /// ```
    ///
    /// SQL: `select avg(views)`.
    pub fn avg(self) -> Expression {
        Expression::from(self).avg()
    }

    /// The number of values that are not null in each group.
    ///
    /// ```
    /// # use sluice_sdk::{col, query::Selection};
    /// assert_eq!(Selection::new().column(col("views").count()).to_string(), "views.count()");
    /// ```
    ///
    /// SQL: `select count(views)`.
    pub fn count(self) -> Expression {
        Expression::from(self).count()
    }

    /// The greatest value of each group.
    ///
    /// ```
    /// # use sluice_sdk::{col, query::Selection};
    /// assert_eq!(Selection::new().column(col("views").max()).to_string(), "views.max()");
    /// ```
    ///
    /// SQL: `select max(views)`.
    pub fn max(self) -> Expression {
        Expression::from(self).max()
    }

    /// The least value of each group.
    ///
    /// ```
    /// # use sluice_sdk::{col, query::Selection};
    /// assert_eq!(Selection::new().column(col("views").min()).to_string(), "views.min()");
    /// ```
    ///
    /// SQL: `select min(views)`.
    pub fn min(self) -> Expression {
        Expression::from(self).min()
    }

    /// The sum over each group.
    ///
    /// ```
    /// # use sluice_sdk::{col, query::Selection};
    /// assert_eq!(Selection::new().column(col("views").sum()).to_string(), "views.sum()");
    /// ```
    ///
    /// SQL: `select sum(views)`.
    pub fn sum(self) -> Expression {
        Expression::from(self).sum()
    }
}

impl Expression {
    /// The number of rows of each group (`count()`).
    ///
    /// ```
    /// # use sluice_sdk::query::{Expression, Selection};
    /// assert_eq!(Selection::new().column(Expression::row_count()).to_string(), "count()");
    /// ```
    ///
    /// SQL: `select count(*)`.
    pub fn row_count() -> Self {
        Self {
            alias: None,
            target: None,
            cast: None,
            aggregate: Some(Aggregate::Count),
            aggregate_cast: None,
        }
    }

    /// This under another name.
    ///
    /// ```
    /// # use sluice_sdk::{col, query::Selection};
    /// assert_eq!(Selection::new().column(col("views").sum().alias("total")).to_string(), "total:views.sum()");
    /// ```
    ///
    /// SQL: `select sum(views) as total`.
    pub fn alias(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.alias = Some(name.into());
        self
    }

    /// This as another type of Postgres: the aggregate if there is one, else the column.
    ///
    /// ```
    /// # use sluice_sdk::{col, query::Selection};
    /// assert_eq!(Selection::new().column(col("views").sum().cast("text")).to_string(), "views.sum()::text");
    /// ```
    ///
    /// SQL: `select sum(views)::text`.
    pub fn cast(mut self, kind: impl Into<Cow<'static, str>>) -> Self {
        let cast = if self.aggregate.is_some() {
            &mut self.aggregate_cast
        } else {
            &mut self.cast
        };
        *cast = Some(kind.into());
        self
    }

    /// As [`Column::avg`].
    pub fn avg(self) -> Self {
        self.aggregated(Aggregate::Avg)
    }

    /// As [`Column::count`].
    pub fn count(self) -> Self {
        self.aggregated(Aggregate::Count)
    }

    /// As [`Column::max`].
    pub fn max(self) -> Self {
        self.aggregated(Aggregate::Max)
    }

    /// As [`Column::min`].
    pub fn min(self) -> Self {
        self.aggregated(Aggregate::Min)
    }

    /// As [`Column::sum`].
    pub fn sum(self) -> Self {
        self.aggregated(Aggregate::Sum)
    }

    fn aggregated(mut self, aggregate: Aggregate) -> Self {
        self.aggregate = Some(aggregate);
        self
    }

    pub(super) fn of_target(target: Target) -> Self {
        Self {
            alias: None,
            target: Some(target),
            cast: None,
            aggregate: None,
            aggregate_cast: None,
        }
    }

    pub(super) fn is_aggregate(&self) -> bool {
        self.aggregate.is_some()
    }

    /// The name of the result, if this is `wanted` without a cast or an aggregate.
    pub(super) fn result_name_of(&self, wanted: &Target) -> Option<&str> {
        let target = self.target.as_ref().filter(|target| *target == wanted)?;
        let is_plain = self.cast.is_none() && self.aggregate.is_none();
        is_plain.then(|| {
            self.alias
                .as_deref()
                .unwrap_or_else(|| target.result_name())
        })
    }

    /// Refuses what the grammar cannot express.
    pub(super) fn validate(&self) -> Result<(), Error> {
        let casts = self.cast.iter().chain(&self.aggregate_cast);
        match casts.into_iter().find(|cast| !is_cast(cast)) {
            Some(cast) => Err(Error::invalid(format!(
                "`{}` cannot be used as a cast; use a type name of letters, digits, `_`, `$` and spaces",
                cast.escape_debug()
            ))),
            None => Ok(()),
        }
    }

    pub(super) fn write(&self, out: &mut String) {
        if let Some(alias) = self.alias.as_deref().filter(|alias| !self.is_named(alias)) {
            quote::identifier(alias, out);
            out.push(':');
        }
        if let Some(target) = &self.target {
            target.write(out);
        }
        write_cast(self.cast.as_deref(), out);
        if let Some(aggregate) = self.aggregate {
            out.push_str(if self.target.is_some() { "." } else { "" });
            out.extend([aggregate.word(), "()"]);
        }
        write_cast(self.aggregate_cast.as_deref(), out);
    }

    /// Whether the result has this name without an alias. A column's result has the column's name,
    /// a path's its last key, an aggregate's the function's name.
    fn is_named(&self, name: &str) -> bool {
        match (self.aggregate, &self.target) {
            (Some(aggregate), _) => aggregate.word() == name,
            (None, Some(target)) => target.is_named_plainly() && target.result_name() == name,
            (None, None) => false,
        }
    }
}

impl<T, V, N> From<Column<T, V, N>> for Expression {
    fn from(column: Column<T, V, N>) -> Self {
        Self::of_target(column.target())
    }
}

impl Aggregate {
    fn word(self) -> &'static str {
        match self {
            Self::Avg => "avg",
            Self::Count => "count",
            Self::Max => "max",
            Self::Min => "min",
            Self::Sum => "sum",
        }
    }
}

fn write_cast(cast: Option<&str>, out: &mut String) {
    if let Some(cast) = cast {
        out.extend(["::", cast]);
    }
}

fn is_cast(cast: &str) -> bool {
    let allowed =
        |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '$' | ' ');
    !cast.is_empty() && cast.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::col;

    fn written(expression: impl Into<Expression>) -> String {
        let mut out = String::new();
        expression.into().write(&mut out);
        out
    }

    #[test]
    fn each_part_has_its_position() {
        assert_eq!(written(col("views")), "views");
        assert_eq!(written(col("views").alias("v")), "v:views");
        assert_eq!(written(col("views").cast("text")), "views::text");
        assert_eq!(written(col("views").avg()), "views.avg()");
        assert_eq!(written(col("views").count()), "views.count()");
        assert_eq!(written(col("views").max()), "views.max()");
        assert_eq!(written(col("views").min()), "views.min()");
        let all = col("a.b").cast("int").sum().cast("text").alias("a b");
        assert_eq!(written(all), r#""a b":"a.b"::int.sum()::text"#);
        assert_eq!(written(Expression::row_count().alias("n")), "n:count()");
    }

    #[test]
    fn a_columns_own_name_is_not_repeated_as_an_alias() {
        assert_eq!(written(col("id").alias("id")), "id");
        assert_eq!(written(col("id").cast("text").alias("id")), "id::text");
        assert_eq!(written(col("id").max().alias("id")), "id:id.max()");
        assert_eq!(written(col("a").key("b").alias("a")), "a:a->b");
        assert_eq!(written(col("a").key("b").alias("b")), "a->b");
        assert_eq!(written(col("a").key("b").index(0).alias("b")), "b:a->b->0");
        assert_eq!(written(col("id").max().alias("max")), "id.max()");
    }

    #[test]
    fn a_cast_that_needs_quoting_is_refused() {
        for kind in ["text[]", "numeric(10,2)", "", "text),(id"] {
            assert!(col("a").cast(kind).validate().is_err(), "{kind}");
            assert!(col("a").sum().cast(kind).validate().is_err(), "{kind}");
        }
        assert!(col("a").cast("double precision").validate().is_ok());
    }
}
