//! The store flow: lines of JSON become posts, each under its neighborhood.

pub(crate) mod digest;
pub mod line;
pub mod posted;
pub mod slug;
