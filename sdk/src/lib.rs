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
//! - [`Client::from`] a [`Table`] starts a [`Read`](query::Read) (awaiting it returns a `Vec` of all
//!   rows), a [`List`](query::List) of any number of values, a [`Keyset`](query::Keyset) stream of all
//!   rows, a [`Write`](write::Write) of one row or many, or a [`Change`](query::Change) of the rows
//!   that match a filter. [`Client::rpc`] calls a [`Function`].
//! - [`Column`]s make [`Filter`]s and [`Order`](query::Order)s, of one value, or of [`any`] or [`all`]
//!   of several. A [`derive@Select`] says which columns and embedded rows to read, and its
//!   [`Relation`](query::Relation)s filter the embedded rows.
//! - A [`WriteReport`](write::WriteReport) says what happened to every row of a bulk write, and a
//!   [`Checkpoint`] lets it go on where it stopped. A [`Tristate`] in a written row is left out, null
//!   or a value.
//! - [`Client::table`], [`Client::rpc_by_name`], [`col`] and [`Selection`](query::Selection) do the
//!   same without types.
//! - [`Error`] has methods for every question about a failure.
//! - [`Offline`] builds requests without sending them. A [`Transport`](client::Transport) sends by
//!   other means. The feature `testing` records, replays and fakes responses.
//!
//! # Features
//!
//! `client` (on by default): [`Client`] and its transport. Without it, this crate builds requests
//! and reads responses, and needs no HTTP library. `testing`: see `testing`. `otel`: the trace of the
//! current span in a `traceparent` header. `chrono`, `time`, `rust_decimal`: values of these crates in
//! filters. `bytes`, `pgvector`: `schema::Bytea` and `schema::Vector`. `postgrest`: `Client::run` sends
//! queries that were built with the crate of that name.

// docs.rs shows which feature an item needs.
#![cfg_attr(docsrs, feature(doc_cfg))]

// The derives use this name of the crate, within it too.
extern crate self as sluice_sdk;

#[cfg(feature = "client")]
pub mod client;
pub mod error;
mod grammar;
pub mod query;
mod quote;
mod request;
pub mod schema;
#[cfg(feature = "testing")]
pub mod testing;

pub mod write {
    //! Bulk writes: their builders, their reports, and what lets them go on.

    pub use crate::error::report::{Chunk, RejectedRow, WriteReport, Written};
    pub use crate::query::write::{
        Checkpoint, Inserting, IntoColumns, Many, One, Progress, StreamReport, Upserting, Write,
        WriteReturning, WriteStream,
    };
}

pub mod prelude {
    //! What most scripts name. `use sluice_sdk::prelude::*` takes no name of the standard library or
    //! of `serde_json`.

    #[cfg(feature = "client")]
    pub use crate::Client;
    pub use crate::query::{Embedding, Expression, Selection};
    pub use crate::{
        Checkpoint, Column, Count, Function, Offline, Page, Search, SecretString, Select, Table,
        Tristate, all, any, col,
    };
}

#[cfg(feature = "client")]
pub use client::Client;
pub use error::Error;
pub use query::{Count, Filter, Offline, Page, Search, Select};
pub use schema::{Column, Function, Table, Tristate, all, any, col};
pub use secrecy::SecretString;
pub use sluice_sdk_derive::{Function, Select, Table};
pub use write::Checkpoint;

#[doc(hidden)]
pub use {futures_util, serde, serde_json};
