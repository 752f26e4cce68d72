//! Tests the encoders against recorded responses of PostgREST, and against an independent parser of
//! its grammar, which is tested against the same record.

pub(crate) mod decode;
mod evaluate;
mod property;
mod record;
mod selection;
