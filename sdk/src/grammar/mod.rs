//! PostgREST's grammar as values: filters, orders, selects and embedded relations.

mod filter;
mod order;
mod params;
mod relation;
mod select;
mod window;

pub(crate) use filter::{Condition, Logic, Operator, Rhs, Tree};
pub use filter::{Filter, IntoFilter, Patterns, Search};
pub use order::{IntoOrder, Nullability, Order};
pub(crate) use order::{Key, keys_of, order_value};
pub(crate) use params::Params;
pub use relation::{Nested, Relation, relation};
pub use select::{Embed, Embedding, Expression, Reads, Select, Selection, ShapeOf};
pub(crate) use window::Window;
