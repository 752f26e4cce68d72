//! A typed client for [PostgREST](https://postgrest.org), and so for Supabase.
//!
//! A column knows its table and its value, so that a wrong comparison does not compile; a value is
//! quoted by the place it stands in, so that it never changes the query; a long list, a large table
//! and a bulk write with bad rows in it end as they should.
//!
//! ```no_run
//! use sluice_sdk::{Client, Select, SecretString, Table, serde::{Deserialize, Serialize}};
//!
//! #[derive(Table, Serialize, Deserialize)]
//! # #[serde(crate = "sluice_sdk::serde")]
//! #[table(name = "neighborhoods")]
//! struct Neighborhood {
//!     #[table(primary_key)]
//!     id: i64,
//!     slug: String,
//! }
//!
//! #[derive(Table, Serialize, Deserialize)]
//! # #[serde(crate = "sluice_sdk::serde")]
//! #[table(name = "posts")]
//! struct Post {
//!     #[table(primary_key)]
//!     id: i64,
//!     neighborhood_id: i64,
//!     text: String,
//!     url: Option<String>,
//! }
//!
//! #[derive(Select, Deserialize)]
//! # #[serde(crate = "sluice_sdk::serde")]
//! #[select(from = Post)]
//! struct PostView {
//!     text: String,
//!     #[select(embed)]
//!     neighborhood: Neighborhood,
//! }
//!
//! # async fn run(key: SecretString) -> Result<(), sluice_sdk::Error> {
//! let db = Client::builder().supabase_url("https://x.supabase.co").key(key).build()?;
//! let open = db
//!     .from::<Post>()
//!     .select::<PostView>()
//!     .filter(Post::URL.is_null().or(Post::TEXT.ilike("%rain, (heavy)%")))
//!     .order(Post::ID.desc())
//!     .limit(20)
//!     .await?;
//! # Ok(()) }
//! ```
//!
//! # A tour
//!
//! - [`Client::from`] a [`Table`] starts everything: a [`Read`] (awaited, it is a `Vec`), a [`List`]
//!   of any number of keys, a [`Keyset`] stream of all rows, a [`Write`] of many, a [`Change`] of
//!   those that a filter names. [`Client::rpc`] calls a [`Function`].
//! - [`Column`]s make [`Filter`]s and [`Order`]s, of one value or of [`any`] or [`all`] of several; a
//!   [`derive@Select`] says which columns and embedded rows to read, and its [`Relation`]s filter
//!   those.
//! - A [`WriteReport`] tells what became of every row of a bulk write, and a [`Ledger`] lets it go on
//!   where it stopped. A [`Field`] of a written row is left out, null or a value.
//! - [`Client::table`], [`col`] and [`Selection`] do the same without types.
//! - [`Error`] answers questions.
//! - [`Offline`] builds requests and sends nothing; a [`Transport`] sends by other means; `testing`
//!   (a feature) records, plays and fakes.
//!
//! # Features
//!
//! `client` (on by default): [`Client`] and its transport. Without it this crate builds requests
//! and reads answers, and has no HTTP stack. `testing`: see `testing`. `postgrest`: `Client::run`
//! sends queries that were built with the crate of that name.

// The derives name this crate, also within it.
extern crate self as sluice_sdk;

mod change;
#[cfg(feature = "client")]
mod client;
mod content_range;
mod error;
mod execute;
mod field;
mod filter;
mod keyset;
mod list;
#[cfg(feature = "client")]
mod observe;
mod offline;
mod order;
#[cfg(feature = "postgrest")]
mod ported;
mod query;
mod quote;
mod read;
mod relation;
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

pub use change::{Change, ChangeReturning, Deleting, HasFilter, NeedsFilter, Updating};
#[cfg(feature = "client")]
pub use client::{Client, ClientBuilder};
pub use error::{Chunk, Error, ErrorKind, RowFailure, WriteReport, Written};
pub use execute::{Context, Execute, Settings};
pub use field::{Assignable, Field};
pub use filter::{Filter, IntoFilter, Patterns, Search};
pub use keyset::Keyset;
pub use list::List;
#[cfg(feature = "client")]
pub use observe::{Attempt, Observer};
pub use offline::Offline;
pub use order::{IntoOrder, Nullability, Order};
#[cfg(feature = "postgrest")]
pub use ported::Ported;
pub use read::Read;
pub use relation::{Nested, Relation, relation};
pub use request::{Call, Count, Explain, Handling, Safety};
pub use response::{Answer, Body, Page};
pub use retry::RetryPolicy;
pub use rpc::Rpc;
pub use schema::{
    Any, ArrayLike, CanBeNull, Column, ColumnInfo, Function, JsonLike, NotNull, Nullable,
    RangeLike, ReadOnly, Rows, Searchable, Table, TextLike, col,
};
pub use secrecy::SecretString;
pub use select::{Embed, Embedding, Expression, Reads, Select, Selection, ShapeOf};
pub use sluice_sdk_derive::{Function, Select, Table};
pub use table::TableRef;
#[cfg(feature = "client")]
pub use transport::{Chunks, Http, Transport, TransportError};
pub use value::{Element, Operand, Operands, Quantified, Range, Value, all, any};
pub use write::{Inserting, IntoColumns, Ledger, Upserting, Write, WriteReturning};

#[doc(hidden)]
pub use {futures_util, serde, serde_json};
