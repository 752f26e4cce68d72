//! Type parameters of columns.

/// The table and the value of a column that has no type: see [`col`](crate::col).
#[derive(Clone, Copy, Debug)]
pub enum Any {}

/// Marks a column that is never null.
#[derive(Clone, Copy, Debug)]
pub enum NotNull {}

/// Marks a column that can be null.
#[derive(Clone, Copy, Debug)]
pub enum Nullable {}
