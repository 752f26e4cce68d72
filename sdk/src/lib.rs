//! A typed client for [PostgREST](https://postgrest.org) and Supabase.
#![cfg_attr(docsrs, feature(doc_cfg))]

// The derives name this crate, also within it.
extern crate self as sluice_sdk;

mod change;
#[cfg(feature = "client")]
mod client;
mod error;
mod execute;
mod filter;
mod keyset;
mod list;
#[cfg(feature = "client")]
mod observe;
mod offline;
mod order;
mod query;
mod quote;
mod read;
mod relation;
mod report;
mod request;
mod response;
mod retry;
mod rpc;
mod schema;
mod select;
mod table;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(feature = "client")]
mod transport;
mod value;
mod write;

pub use change::{Change, ChangeReturning, HasFilter, NeedsFilter};
#[cfg(feature = "client")]
pub use client::{Client, ClientBuilder, Masked};
pub use error::{Error, ErrorKind};
pub use execute::{Context, Execute, Settings};
pub use filter::{Comparison, Filter, IntoFilter, Search};
pub use keyset::Keyset;
pub use list::List;
#[cfg(feature = "client")]
pub use observe::{Attempt, Observer};
pub use offline::Offline;
pub use order::{IntoOrder, Nullability, Order};
pub use read::Read;
pub use relation::{Nested, Relation, relation};
pub use report::{Chunk, RowFailure, WriteReport, Written};
pub use request::{Call, Count, Handling, Safety};
pub use response::{Answer, Page};
pub use retry::RetryPolicy;
pub use rpc::Rpc;
pub use schema::{
    Any, ArrayLike, CanBeNull, Column, ColumnInfo, Function, JsonLike, NotNull, Nullable,
    RangeLike, ReadOnly, Rows, Searchable, Table, TextLike, col,
};
pub use secrecy::SecretString;
pub use select::{Aggregate, Embed, EmbedOptions, Reads, Select, Selection};
pub use sluice_sdk_derive::{Function, Select, Table};
pub use table::TableRef;
#[cfg(feature = "client")]
pub use transport::{Http, Transport, TransportError};
pub use value::{Element, Operand, Range, Secret, Value};
pub use write::{Inserting, IntoColumns, Upserting, Write, WriteReturning};

#[doc(hidden)]
pub use {futures_util, serde, serde_json};
