//! Embedded relations: filters, order and limits of the rows inside a row.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use super::{Condition, Filter, IntoFilter, IntoOrder, Key, Order, Params, Window, keys_of};
use crate::error::Error;
use crate::quote;
use crate::schema::{Any, Target};

/// An embedded relation: rows of `U` inside rows of `T`, under the name of the result.
///
/// The derive of [`Select`](derive@crate::Select) makes a constant of this type for each embedded
/// field; [`relation`] makes one without types.
///
/// ```
/// use sluice_sdk::{query::relation, col};
///
/// // Posts without comments, if `comments()` is selected.
/// assert_eq!(relation("comments").is_null().to_string(), "comments=is.null");
/// // The three latest comments of each post.
/// let latest = relation("comments").order(col("created_at").desc()).limit(3);
/// assert_eq!(latest.to_string(), "comments.order=created_at.desc&comments.limit=3");
/// ```
///
/// PostgREST reference: "Resource Embedding", "Embedded Filters".
pub struct Relation<T, U> {
    name: Cow<'static, str>,
    marker: PhantomData<fn() -> (T, U)>,
}

/// Filters, order and limits of one embedded relation. Pass it to
/// [`Read::embed`](crate::query::Read::embed).
pub struct Nested<T, U> {
    /// The names of the outer relations and of this one, quoted and joined by dots.
    path: String,
    window: Window,
    marker: PhantomData<fn() -> (T, U)>,
}

/// A relation by its name alone.
///
/// ```
/// # use sluice_sdk::query::relation;
/// assert_eq!(relation("comments").is_null().to_string(), "comments=is.null");
/// ```
///
/// SQL: `where not exists (select from comments where post_id = posts.id)`.
pub fn relation(name: impl Into<Cow<'static, str>>) -> Relation<Any, Any> {
    Relation {
        name: name.into(),
        marker: PhantomData,
    }
}

impl<T, U> Relation<T, U> {
    /// Names a relation; the derive calls this.
    ///
    /// ```
    /// # use sluice_sdk::{schema::Any, query::Relation};
    /// const COMMENTS: Relation<Any, Any> = Relation::new("comments");
    /// assert_eq!(COMMENTS.is_null().to_string(), "comments=is.null");
    /// ```
    ///
    /// SQL: `where not exists (select from comments where post_id = posts.id)`.
    pub const fn new(name: &'static str) -> Self {
        Self {
            name: Cow::Borrowed(name),
            marker: PhantomData,
        }
    }

    /// Continues to a relation that this relation's rows embed.
    ///
    /// ```
    /// # use sluice_sdk::query::relation;
    /// assert_eq!(relation("comments").then(relation("likes").limit(3)).to_string(), "comments.likes.limit=3");
    /// ```
    ///
    /// SQL: `select from likes where comment_id = comments.id limit 3`.
    #[must_use]
    pub fn then<W>(self, inner: Nested<U, W>) -> Nested<T, W> {
        Nested {
            path: format!("{}.{}", self.written(), inner.path),
            ..inner.retyped()
        }
    }

    /// A filter of the outer rows: those without a related row.
    ///
    /// ```
    /// # use sluice_sdk::query::relation;
    /// assert_eq!(relation("comments").is_null().to_string(), "comments=is.null");
    /// ```
    ///
    /// SQL: `where not exists (select from comments where post_id = posts.id)`.
    pub fn is_null(self) -> Filter<T> {
        Filter::condition(Condition::is_null(Target {
            name: self.name,
            path: Vec::new(),
        }))
    }

    /// A filter of the outer rows: those with a related row.
    ///
    /// ```
    /// # use sluice_sdk::query::relation;
    /// assert_eq!(relation("comments").is_not_null().to_string(), "comments=not.is.null");
    /// ```
    ///
    /// SQL: `where exists (select from comments where post_id = posts.id)`.
    pub fn is_not_null(self) -> Filter<T> {
        !self.is_null()
    }

    /// Keeps the related rows that match. The outer rows stay, unless the relation is embedded with
    /// `inner`.
    ///
    /// ```
    /// # use sluice_sdk::{col, query::relation};
    /// assert_eq!(relation("comments").filter(col("spam").eq(false)).to_string(), "comments.spam=eq.false");
    /// ```
    ///
    /// SQL: `select from comments where post_id = posts.id and spam = false`.
    #[must_use]
    pub fn filter(self, filter: impl IntoFilter<U>) -> Nested<T, U> {
        self.nested().filter(filter)
    }

    /// Orders the related rows.
    ///
    /// ```
    /// # use sluice_sdk::{col, query::relation};
    /// assert_eq!(relation("comments").order(col("id").desc()).to_string(), "comments.order=id.desc");
    /// ```
    ///
    /// SQL: `select from comments where post_id = posts.id order by id desc`.
    #[must_use]
    pub fn order(self, order: impl IntoOrder<U>) -> Nested<T, U> {
        self.nested().order(order)
    }

    /// Limits the related rows of each outer row.
    ///
    /// ```
    /// # use sluice_sdk::query::relation;
    /// assert_eq!(relation("comments").limit(3).to_string(), "comments.limit=3");
    /// ```
    ///
    /// SQL: `select from comments where post_id = posts.id limit 3`.
    #[must_use]
    pub fn limit(self, limit: u64) -> Nested<T, U> {
        self.nested().limit(limit)
    }

    /// Orders the outer rows by a column of the related row. The relation must have one row at
    /// most.
    ///
    /// ```
    /// # use sluice_sdk::{col, query::relation};
    /// assert_eq!(relation("author").by(col("name").asc()).to_string(), "author(name).asc");
    /// ```
    ///
    /// SQL: `order by author.name asc`.
    pub fn by(self, order: Order<U>) -> Order<T> {
        let relation = Some(self.written());
        Order::of(Key {
            relation,
            ..order.key
        })
    }

    fn nested(self) -> Nested<T, U> {
        Nested {
            path: self.written(),
            window: Window::default(),
            marker: PhantomData,
        }
    }

    fn written(&self) -> String {
        let mut out = String::new();
        quote::leading_identifier(&self.name, &mut out);
        out
    }
}

impl<T, U> Nested<T, U> {
    /// Keeps the related rows that match. Rows must match every filter.
    ///
    /// ```
    /// # use sluice_sdk::{col, query::relation};
    /// let latest = relation("comments").limit(3);
    /// assert_eq!(latest.filter(col("spam").eq(false)).to_string(), "comments.spam=eq.false&comments.limit=3");
    /// ```
    ///
    /// SQL: `select from comments where post_id = posts.id and spam = false limit 3`.
    #[must_use]
    pub fn filter(mut self, filter: impl IntoFilter<U>) -> Self {
        self.window.filters.push(filter.into_filter().tree);
        self
    }

    /// Orders the related rows. A second order breaks the ties of the first.
    ///
    /// ```
    /// # use sluice_sdk::{col, query::relation};
    /// let latest = relation("comments").limit(3);
    /// assert_eq!(latest.order(col("id").desc()).to_string(), "comments.order=id.desc&comments.limit=3");
    /// ```
    ///
    /// SQL: `select from comments where post_id = posts.id order by id desc limit 3`.
    #[must_use]
    pub fn order(mut self, order: impl IntoOrder<U>) -> Self {
        self.window.keys.extend(keys_of(order));
        self
    }

    /// Limits the related rows of each outer row.
    ///
    /// ```
    /// # use sluice_sdk::{col, query::relation};
    /// let ordered = relation("comments").order(col("id").desc());
    /// assert_eq!(ordered.limit(3).to_string(), "comments.order=id.desc&comments.limit=3");
    /// ```
    ///
    /// SQL: `select from comments where post_id = posts.id order by id desc limit 3`.
    #[must_use]
    pub fn limit(mut self, limit: u64) -> Self {
        self.window.limit = Some(limit);
        self
    }

    /// Skips related rows of each outer row.
    ///
    /// ```
    /// # use sluice_sdk::query::relation;
    /// let latest = relation("comments").limit(3);
    /// assert_eq!(latest.offset(3).to_string(), "comments.limit=3&comments.offset=3");
    /// ```
    ///
    /// SQL: `select from comments where post_id = posts.id limit 3 offset 3`.
    #[must_use]
    pub fn offset(mut self, offset: u64) -> Self {
        self.window.offset = Some(offset);
        self
    }

    /// The same with other type parameters.
    pub(crate) fn retyped<X, W>(self) -> Nested<X, W> {
        Nested {
            path: self.path,
            window: self.window,
            marker: PhantomData,
        }
    }

    pub(crate) fn validate(&self) -> Result<(), Error> {
        self.window.validate()
    }

    pub(crate) fn write(&self, params: &mut Params) {
        let prefix = format!("{}.", self.path);
        self.window.write_filters(&prefix, params);
        self.window.write_order(&prefix, params);
    }
}

/// The parameters before percent-encoding.
impl<T, U> fmt::Display for Nested<T, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut params = Params::default();
        self.write(&mut params);
        params.fmt(f)
    }
}

impl<T, U> fmt::Debug for Nested<T, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Nested({self})")
    }
}

impl<T, U> fmt::Debug for Relation<T, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Relation({})", self.written())
    }
}

impl<T, U> Clone for Nested<T, U> {
    fn clone(&self) -> Self {
        Self {
            path: self.path.clone(),
            window: self.window.clone(),
            marker: PhantomData,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::col;

    #[test]
    fn a_relation_within_a_relation_is_a_path() {
        let nested = relation("author").then(relation("company").filter(col("name").eq("a.b")));
        assert_eq!(nested.to_string(), "author.company.name=eq.a.b");
        let either =
            relation("a").filter(col("x").eq("1,2").or(!col("y").eq(3).and(col("z").eq(4))));
        assert_eq!(
            either.to_string(),
            r#"a.or=(x.eq."1,2",not.and(y.eq.3,z.eq.4))"#
        );
        let not = relation("a")
            .filter(!(col("x").eq(1).and(col("y").eq(2))))
            .offset(2);
        assert_eq!(not.to_string(), "a.not.and=(x.eq.1,y.eq.2)&a.offset=2");
    }

    #[test]
    fn the_outer_rows_are_ordered_by_a_related_column() {
        let order = relation("odd name").by(col("slug").desc().nulls_last());
        assert_eq!(order.to_string(), r#""odd name"(slug).desc.nullslast"#);
    }
}
