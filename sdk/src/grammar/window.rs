//! Which rows of a table or of an embedded relation are read.

use super::{Key, Params, Tree, order_value};
use crate::error::Error;

/// Filters, order, limit and offset.
#[derive(Clone, Debug, Default)]
pub(crate) struct Window {
    pub(crate) filters: Vec<Tree>,
    pub(crate) keys: Vec<Key>,
    pub(crate) limit: Option<u64>,
    pub(crate) offset: Option<u64>,
}

impl Window {
    /// The rows after the first `done` ones, and at most this many.
    pub(crate) fn part(&self, done: u64, limit: Option<u64>) -> Self {
        let left = self.limit.map(|limit| limit.saturating_sub(done));
        let offset = self.offset.unwrap_or_default() + done;
        Self {
            limit: limit.or(left),
            offset: (offset > 0).then_some(offset),
            ..self.clone()
        }
    }

    /// Refuses what the grammar cannot express.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        self.filters.iter().try_for_each(Tree::validate)
    }

    /// Writes the filters of the table, or of the relation that `prefix` (`"author."`) names.
    pub(crate) fn write_filters(&self, prefix: &str, params: &mut Params) {
        for tree in &self.filters {
            params.filter(prefix, tree);
        }
    }

    /// Writes the rest.
    pub(crate) fn write_order(&self, prefix: &str, params: &mut Params) {
        if !self.keys.is_empty() {
            params.push(format!("{prefix}order"), order_value(&self.keys));
        }
        for (name, rows) in [("limit", self.limit), ("offset", self.offset)] {
            if let Some(rows) = rows {
                params.push(format!("{prefix}{name}"), rows.to_string());
            }
        }
    }
}
