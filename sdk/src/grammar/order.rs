//! The order of rows.

use std::fmt;
use std::marker::PhantomData;

use crate::schema::{Any, Column, NotNull, Nullable, Target};

/// One key of an order: a column, a direction, and the position of nulls.
///
/// ```
/// use sluice_sdk::col;
///
/// assert_eq!(col("created_at").desc().nulls_last().to_string(), "created_at.desc.nullslast");
/// ```
///
/// PostgREST reference: "Ordering", and "Top-level Ordering" for a related row's column
/// ([`Relation::by`](crate::query::Relation::by)).
pub struct Order<T> {
    pub(crate) key: Key,
    marker: PhantomData<fn() -> T>,
}

/// A key without its type parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    /// The embedded to-one relation that the column belongs to, as it is written in the query.
    pub(crate) relation: Option<String>,
    pub(crate) target: Target,
    pub(crate) descending: bool,
    pub(crate) nulls_first: Option<bool>,
    pub(crate) nullable: bool,
}

/// One key of an order or several, as a tuple: `(Post::CREATED_AT.desc(), Post::ID.asc())`.
#[diagnostic::on_unimplemented(
    message = "an order of `{T}` is needed here, not a `{Self}`",
    label = "not an order by columns of `{T}`",
    note = "an order is `column.asc()` or `column.desc()`, or a tuple of these; by a column of a \
            related row it is `Shape::RELATION.by(…)`"
)]
pub trait IntoOrder<T> {
    /// The keys, the most significant first.
    fn orders(self) -> Vec<Order<T>>;
}

/// The markers [`Nullable`] and [`NotNull`].
pub trait Nullability {
    /// Whether the column can be null.
    #[doc(hidden)]
    const NULLABLE: bool;
}

impl Nullability for NotNull {
    const NULLABLE: bool = false;
}

impl Nullability for Nullable {
    const NULLABLE: bool = true;
}

/// The order by this column.
impl<T, V, N: Nullability> Column<T, V, N> {
    /// Smallest first. Nulls are last by default.
    ///
    /// ```
    /// # use sluice_sdk::col;
    /// assert_eq!(col("views").asc().to_string(), "views.asc");
    /// ```
    ///
    /// SQL: `order by views asc`.
    pub fn asc(self) -> Order<T> {
        self.ordered(false)
    }

    /// Largest first. Nulls are first by default.
    ///
    /// ```
    /// # use sluice_sdk::col;
    /// assert_eq!(col("views").desc().to_string(), "views.desc");
    /// ```
    ///
    /// SQL: `order by views desc`.
    pub fn desc(self) -> Order<T> {
        self.ordered(true)
    }

    fn ordered(self, descending: bool) -> Order<T> {
        Order::of(Key {
            relation: None,
            target: self.target(),
            descending,
            nulls_first: None,
            nullable: N::NULLABLE,
        })
    }
}

impl<T> Order<T> {
    pub(crate) fn of(key: Key) -> Self {
        Self {
            key,
            marker: PhantomData,
        }
    }

    /// Puts nulls before everything else.
    ///
    /// ```
    /// # use sluice_sdk::col;
    /// assert_eq!(col("views").asc().nulls_first().to_string(), "views.asc.nullsfirst");
    /// ```
    ///
    /// SQL: `order by views asc nulls first`.
    #[must_use]
    pub fn nulls_first(mut self) -> Self {
        self.key.nulls_first = Some(true);
        self
    }

    /// Puts nulls after everything else.
    ///
    /// ```
    /// # use sluice_sdk::col;
    /// assert_eq!(col("views").desc().nulls_last().to_string(), "views.desc.nullslast");
    /// ```
    ///
    /// SQL: `order by views desc nulls last`.
    #[must_use]
    pub fn nulls_last(mut self) -> Self {
        self.key.nulls_first = Some(false);
        self
    }
}

impl Order<Any> {
    /// Forgets the table of an order, to use it with [`Client::table`](crate::Client::table).
    ///
    /// ```
    /// # use sluice_sdk::{col, query::Order};
    /// assert_eq!(Order::untyped(col("views").asc()).to_string(), "views.asc");
    /// ```
    ///
    /// SQL: `order by views asc`.
    pub fn untyped<T>(order: Order<T>) -> Self {
        Self::of(order.key)
    }
}

impl Key {
    /// Whether nulls come first. By default they count as larger than everything, as in Postgres.
    pub(crate) fn nulls_come_first(&self) -> bool {
        self.nulls_first.unwrap_or(self.descending)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.relation {
            Some(relation) => write!(f, "{relation}({})", self.target)?,
            None => write!(f, "{}", self.target)?,
        }
        f.write_str(if self.descending { ".desc" } else { ".asc" })?;
        f.write_str(match self.nulls_first {
            Some(true) => ".nullsfirst",
            Some(false) => ".nullslast",
            None => "",
        })
    }
}

impl<T> fmt::Display for Order<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.key.fmt(f)
    }
}

impl<T> fmt::Debug for Order<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Order({self})")
    }
}

impl<T> Clone for Order<T> {
    fn clone(&self) -> Self {
        Self::of(self.key.clone())
    }
}

/// The keys of an order.
pub(crate) fn keys_of<T>(order: impl IntoOrder<T>) -> Vec<Key> {
    order.orders().into_iter().map(|order| order.key).collect()
}

/// Writes the value of an `order` parameter.
pub(crate) fn order_value(keys: &[Key]) -> String {
    let texts: Vec<String> = keys.iter().map(ToString::to_string).collect();
    texts.join(",")
}

impl<T> IntoOrder<T> for Order<T> {
    fn orders(self) -> Vec<Order<T>> {
        vec![self]
    }
}

impl<T> IntoOrder<T> for Vec<Order<T>> {
    fn orders(self) -> Vec<Order<T>> {
        self
    }
}

macro_rules! order_tuples {
    ($(($($name:ident),+))+) => {$(
        impl<T, $($name: IntoOrder<T>),+> IntoOrder<T> for ($($name,)+) {
            fn orders(self) -> Vec<Order<T>> {
                #[expect(non_snake_case, reason = "the names of the types serve as those of the values")]
                let ($($name,)+) = self;
                [$($name.orders()),+].concat()
            }
        }
    )+};
}

order_tuples! { (A) (A, B) (A, B, C) (A, B, C, D) (A, B, C, D, E) }
