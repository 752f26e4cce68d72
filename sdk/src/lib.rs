//! A typed client for [PostgREST](https://postgrest.org), and so for Supabase.
//!
//! A column knows its table and its type, so a wrong comparison does not compile. A value is quoted
//! for its position, so it never changes the query. Long lists, large tables, and bulk writes with
//! bad rows in them are handled for you.
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
//! - [`Client::from`] a [`Table`] starts a [`Read`] (awaiting it returns a `Vec`), a [`List`] of
//!   any number of values, a [`Keyset`] stream of all rows, a [`Write`] of many rows, or a
//!   [`Change`] of the rows that match a filter. [`Client::rpc`] calls a [`Function`].
//! - [`Column`]s make [`Filter`]s and [`Order`]s, of one value, or of [`any`] or [`all`] of
//!   several. A [`derive@Select`] says which columns and embedded rows to read, and its
//!   [`Relation`]s filter the embedded rows.
//! - A [`WriteReport`] says what happened to every row of a bulk write, and a [`Checkpoint`] lets
//!   it go on where it stopped. A [`Tristate`] in a written row is left out, null or a value.
//! - [`Client::table`], [`col`] and [`Selection`] do the same without types.
//! - [`Error`] has methods for every question about a failure.
//! - [`Offline`] builds requests without sending them. A [`Transport`] sends by other means. The
//!   feature `testing` records, replays and fakes responses.
//!
//! # Features
//!
//! `client` (on by default): [`Client`] and its transport. Without it, this crate builds requests
//! and reads responses, and needs no HTTP library. `testing`: see `testing`. `postgrest`:
//! `Client::run` sends queries that were built with the crate of that name.

// The derives use this name of the crate, within it too.
extern crate self as sluice_sdk;

#[cfg(feature = "client")]
mod client;
mod error;
mod grammar;
mod query;
mod quote;
mod request;
mod schema;
#[cfg(feature = "testing")]
pub mod testing;

#[cfg(feature = "postgrest")]
pub use client::CompatQuery;
#[cfg(feature = "client")]
pub use client::{
    Attempt, Chunks, Client, ClientBuilder, Http, Observer, Patience, Transport, TransportError,
    Wait,
};
pub use error::{Chunk, Error, ErrorKind, RejectedRow, WriteReport, Written};
pub use grammar::{
    Embed, Embedding, Expression, Filter, IntoFilter, IntoOrder, Nested, Nullability, Order,
    Patterns, Reads, Relation, Search, Select, Selection, ShapeOf, relation,
};
pub use query::{
    CallDefaults, Change, ChangeReturning, Checkpoint, Context, Deleting, Execute, HasFilter,
    Inserting, IntoColumns, Keyset, List, NeedsFilter, Offline, Read, Rpc, TableRef, Updating,
    Upserting, Write, WriteReturning,
};
pub use request::{
    Body, Call, Count, Explain, Handling, Outcome, Page, Response, RetryPolicy, Safety,
};
pub use schema::{
    Any, ArrayLike, Assignable, CanBeNull, Column, ColumnInfo, Element, Function, JsonLike,
    NotNull, Nullable, Operand, Operands, Quantified, Range, RangeLike, ReadOnly, Rows, Searchable,
    Table, TextLike, Tristate, Value, all, any, col,
};
pub use secrecy::SecretString;
pub use sluice_sdk_derive::{Function, Select, Table};

#[doc(hidden)]
pub use {futures_util, serde, serde_json};
