//! The encoders, held against a record of what PostgREST answered and an independent reading of its
//! grammar, which is itself held against the record.

pub(crate) mod decode;
mod evaluate;
mod property;
mod record;
mod selection;
