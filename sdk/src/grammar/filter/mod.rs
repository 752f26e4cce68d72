//! Conditions on rows: a tree of comparisons that knows its table.

mod compare;
mod container;
mod operator;
mod pattern;
mod search;
mod text;

use std::fmt;
use std::marker::PhantomData;

use crate::error::Error;
use crate::grammar::Params;
use crate::schema::{Any, Scalar, Target};

pub(crate) use operator::{Modifier, Operator};
pub use search::Search;
pub use text::Patterns;

/// A condition on the rows of `T`.
///
/// Compare a column to make one ([`Column::eq`](crate::Column::eq) and others), and join filters by
/// [`and`](Self::and), [`or`](Self::or) and `!`. Its [`Display`](fmt::Display) form is the query
/// before percent-encoding.
///
/// ```
/// use sluice_sdk::col;
///
/// let filter = col("url").is_null().or(col("text").ilike("%rain, (heavy)%"));
/// assert_eq!(filter.to_string(), r#"or=(url.is.null,text.ilike."%rain, (heavy)%")"#);
///
/// let filter = !(col("id").gte(3).and(col("id").lte(30)));
/// assert_eq!(filter.to_string(), "not.and=(id.gte.3,id.lte.30)");
/// ```
///
/// PostgREST reference: "Tables and Views", "Horizontal Filtering" and "Logical operators".
pub struct Filter<T> {
    pub(crate) tree: Tree,
    marker: PhantomData<fn() -> T>,
}

/// A filter of `T`'s rows. Only [`Filter<T>`] implements it: the trait exists for its message,
/// which a filter of another table gets.
#[diagnostic::on_unimplemented(
    message = "a filter of `{T}` is needed here, not a `{Self}`",
    label = "compares a column of another table than `{T}`",
    note = "for the rows of an embedded relation use `.embed(Shape::RELATION.filter(…))`"
)]
pub trait IntoFilter<T> {
    /// The filter itself.
    fn into_filter(self) -> Filter<T>;
}

impl<T> IntoFilter<T> for Filter<T> {
    fn into_filter(self) -> Filter<T> {
        self
    }
}

/// A filter without its type parameter.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Tree {
    Is(Condition),
    Joined {
        join: Logic,
        negated: bool,
        children: Vec<Tree>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Logic {
    And,
    Or,
}

/// `target=not.operator(modifier).rhs`. The negation and the modifier are optional.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Condition {
    pub(crate) target: Target,
    pub(crate) negated: bool,
    pub(crate) operator: Operator,
    pub(crate) modifier: Option<Modifier>,
    pub(crate) rhs: Rhs,
}

/// The operand of an operator.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Rhs {
    /// A word of the grammar (`null`, `true`), never quoted.
    Word(&'static str),
    /// A value.
    Scalar(Scalar),
    /// The elements of `in`.
    List(Vec<Scalar>),
}

impl<T> Filter<T> {
    pub(crate) fn condition(condition: Condition) -> Self {
        Self::of(Tree::Is(condition))
    }

    pub(crate) fn of(tree: Tree) -> Self {
        Self {
            tree,
            marker: PhantomData,
        }
    }

    /// Both this and `other`.
    ///
    /// ```
    /// # use sluice_sdk::col;
    /// assert_eq!(col("a").eq(1).and(col("b").eq(2)).to_string(), "a=eq.1&b=eq.2");
    /// ```
    ///
    /// SQL: `where a = 1 and b = 2`.
    #[must_use]
    pub fn and(self, other: impl IntoFilter<T>) -> Self {
        self.joined(Logic::And, other.into_filter())
    }

    /// This or `other`, or both.
    ///
    /// ```
    /// # use sluice_sdk::col;
    /// assert_eq!(col("a").eq(1).or(col("b").eq(2)).to_string(), "or=(a.eq.1,b.eq.2)");
    /// ```
    ///
    /// SQL: `where a = 1 or b = 2`.
    #[must_use]
    pub fn or(self, other: impl IntoFilter<T>) -> Self {
        self.joined(Logic::Or, other.into_filter())
    }

    /// All of `filters`, or every row if there are none.
    ///
    /// ```
    /// # use sluice_sdk::{Filter, col};
    /// assert_eq!(Filter::all([col("a").eq(1), col("b").eq(2)]).to_string(), "a=eq.1&b=eq.2");
    /// ```
    ///
    /// SQL: `where a = 1 and b = 2`.
    pub fn all(filters: impl IntoIterator<Item = Self>) -> Self {
        Self::many(Logic::And, filters)
    }

    /// At least one of `filters`. An empty list is refused when the request is built, because the
    /// grammar cannot express "no row".
    ///
    /// ```
    /// # use sluice_sdk::{Filter, col};
    /// assert_eq!(Filter::any([col("a").eq(1), col("b").eq(2)]).to_string(), "or=(a.eq.1,b.eq.2)");
    /// ```
    ///
    /// SQL: `where a = 1 or b = 2`.
    pub fn any(filters: impl IntoIterator<Item = Self>) -> Self {
        Self::many(Logic::Or, filters)
    }

    fn many(join: Logic, filters: impl IntoIterator<Item = Self>) -> Self {
        let children = filters.into_iter().map(|filter| filter.tree).collect();
        Self::of(Tree::Joined {
            join,
            negated: false,
            children,
        })
    }

    /// Joins two filters. A second `and` (or `or`) extends the list of the first.
    fn joined(self, join: Logic, other: Self) -> Self {
        let children = match self.tree {
            Tree::Joined {
                join: inner,
                negated: false,
                mut children,
            } if inner == join => {
                children.push(other.tree);
                children
            }
            tree => vec![tree, other.tree],
        };
        Self::of(Tree::Joined {
            join,
            negated: false,
            children,
        })
    }
}

/// The rows that do not match. As in SQL, a comparison with null is neither true nor false, so a
/// row with null matches neither a filter nor its opposite.
impl<T> std::ops::Not for Filter<T> {
    type Output = Self;

    fn not(self) -> Self {
        Self::of(match self.tree {
            Tree::Is(condition) => Tree::Is(Condition {
                negated: !condition.negated,
                ..condition
            }),
            Tree::Joined {
                join,
                negated,
                children,
            } => Tree::Joined {
                join,
                negated: !negated,
                children,
            },
        })
    }
}

/// A filter of a typed table can be used for an untyped one.
impl Filter<Any> {
    /// Forgets the table of a filter, to use it with [`Client::table`](crate::Client::table).
    ///
    /// ```
    /// # use sluice_sdk::{Filter, col};
    /// assert_eq!(Filter::untyped(col("a").eq(1)).to_string(), "a=eq.1");
    /// ```
    ///
    /// SQL: `where a = 1`.
    pub fn untyped<T>(filter: Filter<T>) -> Self {
        Self::of(filter.tree)
    }
}

impl Tree {
    /// Refuses what the grammar cannot express.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        match self {
            Self::Joined {
                join: Logic::And,
                negated: false,
                children,
            } => children.iter().try_for_each(Self::validate),
            _ => self.validate_inner(),
        }
    }

    /// As [`validate`](Self::validate), inside a tree. An empty list cannot be left out there.
    fn validate_inner(&self) -> Result<(), Error> {
        match self {
            Self::Is(condition) => condition.validate(),
            Self::Joined { children, .. } if children.is_empty() => Err(Error::invalid(
                "a filter joins no conditions, which the grammar cannot express; leave out the filter, or the request if no row can match",
            )),
            Self::Joined { children, .. } => children.iter().try_for_each(Self::validate_inner),
        }
    }
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut params = Params::default();
        params.filter("", self);
        write!(f, "{params}")
    }
}

impl Condition {
    pub(crate) fn new(target: Target, operator: Operator, rhs: Rhs) -> Self {
        Self {
            target,
            negated: false,
            operator,
            modifier: None,
            rhs,
        }
    }

    pub(crate) fn is_null(target: Target) -> Self {
        Self::new(target, Operator::Is, Rhs::Word("null"))
    }

    fn validate(&self) -> Result<(), Error> {
        if self.target.name.is_empty() {
            return Err(Error::invalid("a column without a name cannot be filtered"));
        }
        self.modifier.iter().try_for_each(Modifier::validate)
    }
}

impl<T> Clone for Filter<T> {
    fn clone(&self) -> Self {
        Self::of(self.tree.clone())
    }
}

impl<T> PartialEq for Filter<T> {
    fn eq(&self, other: &Self) -> bool {
        self.tree == other.tree
    }
}

/// The query as PostgREST will read it, with every value in it.
impl<T> fmt::Display for Filter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.tree, f)
    }
}

impl<T> fmt::Debug for Filter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Filter({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::col;

    #[test]
    fn joins_of_one_kind_stay_one_list() {
        let filter = col("a").eq(1).or(col("b").eq(2)).or(col("c").eq(3));
        assert_eq!(filter.to_string(), "or=(a.eq.1,b.eq.2,c.eq.3)");
    }

    #[test]
    fn a_top_level_and_is_several_parameters() {
        let filter = col("a").eq("x,y").and(col("b").eq(2));
        assert_eq!(filter.to_string(), "a=eq.x,y&b=eq.2");
    }

    #[test]
    fn a_negated_list_inside_a_tree_has_not_before_the_list() {
        let filter = (!(col("a").eq(1).and(col("b").eq(2)))).or(col("c").eq(3));
        assert_eq!(filter.to_string(), "or=(not.and(a.eq.1,b.eq.2),c.eq.3)");
    }

    #[test]
    fn what_the_grammar_cannot_express_is_refused() {
        assert!(Filter::<Any>::any([]).tree.validate().is_err());
        assert!((!Filter::<Any>::all([])).tree.validate().is_err());
        assert!(Filter::<Any>::all([]).tree.validate().is_ok());
    }
}
