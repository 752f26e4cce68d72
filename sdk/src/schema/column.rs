//! A column: a name that knows its row and its value.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use super::capability::JsonLike;
use super::marker::{Any, NotNull, Nullable};
use crate::quote;

/// A column of the table `T` that holds `V`. `N` is [`Nullable`] or [`NotNull`].
///
/// The derive of [`Table`](derive@crate::Table) makes a constant of this type for each field. A
/// JSON column has paths into the document:
///
/// ```
/// use sluice_sdk::{Table, serde_json};
///
/// #[derive(Table)]
/// #[table(name = "posts")]
/// struct Post {
///     #[table(primary_key)]
///     id: i64,
///     meta: serde_json::Value,
/// }
///
/// let filter = Post::META.key("deep").text("k.ey").eq("1");
/// assert_eq!(filter.to_string(), r#"meta->deep->>"k.ey"=eq.1"#);
/// ```
pub struct Column<T, V, N = NotNull> {
    pub(crate) name: Cow<'static, str>,
    pub(crate) path: Vec<Step>,
    marker: Marker<T, V, N>,
}

type Marker<T, V, N> = PhantomData<fn() -> (T, V, N)>;

/// One step of a path into a JSON document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Key(Cow<'static, str>),
    Index(i64),
    TextKey(Cow<'static, str>),
    TextIndex(i64),
}

/// A column by its name alone: of any table, of any type.
///
/// ```
/// use sluice_sdk::col;
///
/// let filter = col("status").eq("open").or(col("views").gt(10));
/// assert_eq!(filter.to_string(), r#"or=(status.eq."open",views.gt.10)"#);
/// ```
///
/// SQL: `where status = 'open' or views > 10`.
pub fn col(name: impl Into<Cow<'static, str>>) -> Column<Any, Any, Nullable> {
    Column {
        name: name.into(),
        path: Vec::new(),
        marker: PhantomData,
    }
}

impl<T, V, N> Column<T, V, N> {
    /// Names a column. The derive calls this for every field. Call it for a column without a field,
    /// such as one that a function computes:
    ///
    /// ```
    /// use sluice_sdk::{Column, Select, Table};
    ///
    /// #[derive(Table)]
    /// #[table(name = "people")]
    /// struct Person { #[table(primary_key)] id: i64, first: String, last: String }
    ///
    /// impl Person {
    ///     /// The function `full_name(people)`, which PostgREST reads as a column.
    ///     const FULL_NAME: Column<Self, String> = Column::new("full_name");
    /// }
    ///
    /// #[derive(Select)]
    /// #[select(from = Person)]
    /// struct Named { id: i64, full_name: String }
    ///
    /// assert_eq!(Named::selection().to_string(), "id,full_name");
    /// assert_eq!(Person::FULL_NAME.ilike("%ann%").to_string(), "full_name=ilike.%ann%");
    /// ```
    ///
    /// SQL: `select id, full_name(people) from people; … where full_name(people) ilike '%ann%'`.
    ///
    /// PostgREST reference: "Computed Fields".
    pub const fn new(name: &'static str) -> Self {
        Self {
            name: Cow::Borrowed(name),
            path: Vec::new(),
            marker: PhantomData,
        }
    }

    /// Returns the column's name, without the path into it.
    ///
    /// ```
    /// # use sluice_sdk::col;
    /// assert_eq!(col("meta").key("kind").name(), "meta");
    /// ```
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Treats this column as one that holds `W`: for an enum of the database, a computed column, or
    /// a member of a document that is known to be a number.
    ///
    /// ```
    /// # use sluice_sdk::col;
    /// assert_eq!(col("meta").key("views").typed::<i64>().gt(10).to_string(), "meta->views=gt.10");
    /// ```
    ///
    /// SQL: `where meta->'views' > '10'`.
    pub fn typed<W>(self) -> Column<T, W, N> {
        self.retyped()
    }

    /// The same column with other type parameters.
    pub(crate) fn retyped<W, M>(self) -> Column<T, W, M> {
        Column {
            name: self.name,
            path: self.path,
            marker: PhantomData,
        }
    }

    fn step(mut self, step: Step) -> Column<T, V, Nullable> {
        self.path.push(step);
        self.retyped()
    }

    /// The column and its path without the type parameters.
    pub(crate) fn target(self) -> Target {
        Target {
            name: self.name,
            path: self.path,
        }
    }
}

/// Paths into a document, with `->` and `->>`.
///
/// PostgREST reference: "JSON Columns".
impl<T, V, N> Column<T, V, N> {
    /// The member `key` as JSON (`->`), null if there is none.
    ///
    /// ```
    /// # use sluice_sdk::col;
    /// assert_eq!(col("meta").key("a").key("b").eq(1).to_string(), "meta->a->b=eq.1");
    /// ```
    ///
    /// SQL: `where meta->'a'->'b' = '1'`.
    pub fn key(self, key: impl Into<Cow<'static, str>>) -> Column<T, V, Nullable>
    where
        V: JsonLike<T>,
    {
        self.step(Step::Key(key.into()))
    }

    /// The element at `index` as JSON (`->`); negative counts from the end.
    ///
    /// ```
    /// # use sluice_sdk::col;
    /// assert_eq!(col("meta").key("tags").index(-1).eq(1).to_string(), "meta->tags->-1=eq.1");
    /// ```
    ///
    /// SQL: `where meta->'tags'->-1 = '1'`.
    pub fn index(self, index: i64) -> Column<T, V, Nullable>
    where
        V: JsonLike<T>,
    {
        self.step(Step::Index(index))
    }

    /// The member `key` as text (`->>`).
    ///
    /// ```
    /// # use sluice_sdk::col;
    /// assert_eq!(col("meta").text("kind").eq("ad").to_string(), "meta->>kind=eq.ad");
    /// ```
    ///
    /// SQL: `where meta->>'kind' = 'ad'`.
    pub fn text(self, key: impl Into<Cow<'static, str>>) -> Column<T, String, Nullable>
    where
        V: JsonLike<T>,
    {
        self.step(Step::TextKey(key.into())).typed()
    }

    /// The element at `index` as text (`->>`); negative counts from the end.
    ///
    /// ```
    /// # use sluice_sdk::col;
    /// assert_eq!(col("meta").key("tags").text_at(0).eq("ad").to_string(), "meta->tags->>0=eq.ad");
    /// ```
    ///
    /// SQL: `where meta->'tags'->>0 = 'ad'`.
    pub fn text_at(self, index: i64) -> Column<T, String, Nullable>
    where
        V: JsonLike<T>,
    {
        self.step(Step::TextIndex(index)).typed()
    }
}

impl<T, V, N> Clone for Column<T, V, N> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            path: self.path.clone(),
            marker: PhantomData,
        }
    }
}

impl<T, V, N> fmt::Debug for Column<T, V, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Column({})", self.clone().target())
    }
}

/// A column with its path, without type parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) name: Cow<'static, str>,
    pub(crate) path: Vec<Step>,
}

impl Target {
    /// Writes it as the name of a parameter. PostgREST's own names are quoted there.
    pub(crate) fn write_leading(&self, out: &mut String) {
        quote::leading_identifier(&self.name, out);
        self.write_path(out);
    }

    /// Writes it in any other position.
    pub(crate) fn write(&self, out: &mut String) {
        quote::identifier(&self.name, out);
        self.write_path(out);
    }

    /// Whether it ends in a name, and not in an index.
    pub(crate) fn is_named_plainly(&self) -> bool {
        !matches!(self.path.last(), Some(Step::Index(_) | Step::TextIndex(_)))
    }

    /// The name under which PostgREST returns it: the last key of the path, else the column's name.
    pub(crate) fn result_name(&self) -> &str {
        let key = self.path.iter().rev().find_map(|step| match step {
            Step::Key(key) | Step::TextKey(key) => Some(key),
            Step::Index(_) | Step::TextIndex(_) => None,
        });
        key.unwrap_or(&self.name)
    }

    fn write_path(&self, out: &mut String) {
        for step in &self.path {
            let (arrow, key, index) = match step {
                Step::Key(key) => ("->", Some(key), 0),
                Step::TextKey(key) => ("->>", Some(key), 0),
                Step::Index(index) => ("->", None, *index),
                Step::TextIndex(index) => ("->>", None, *index),
            };
            out.push_str(arrow);
            match key {
                Some(key) => quote::json_key(key, out),
                None => out.push_str(&index.to_string()),
            }
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.write(&mut text);
        f.write_str(&text)
    }
}
