//! Calls of functions in the database.

mod arguments;
mod invocation;

use std::future::IntoFuture;
use std::marker::PhantomData;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Context, Endpoint, Execute, Query, whole};
use crate::error::Error;
use crate::grammar::{IntoFilter, IntoOrder, Nested, Selection, ShapeOf, keys_of};
use crate::request::{Call, Format, Page, Safety};
use crate::schema::{Function, ReadOnly, Rows};

use invocation::Invocation;

/// A call of a function. Awaiting it returns what the function returns.
///
/// Calls are sent by POST, so that no argument can be misread as a filter. An `Option` argument
/// that is `None` is sent as null. To get the argument's default, leave it out with
/// `#[serde(skip_serializing_if = "Option::is_none")]`.
///
/// The server's row limit cuts a set of rows *after* the function has run, and does not say so. An
/// awaited call whose rows may be cut asks for the next one, if a second call does no harm, and looks
/// at the count otherwise. If rows are missing, it ends with [`ErrorKind::Truncated`](crate::error::ErrorKind::Truncated). [`all`](Rpc::all)
/// and [`stream`](Rpc::stream) read a set of any size by several calls. A function that claims work
/// should return one JSON value, which is never cut.
///
/// ```no_run
/// # use sluice_sdk::{Client, Error, Function, serde::{Serialize, Deserialize}};
/// # #[derive(Deserialize)] #[serde(crate = "sluice_sdk::serde")] struct PendingPost { id: i64 }
/// #[derive(Serialize, Function)]
/// # #[serde(crate = "sluice_sdk::serde")]
/// #[function(name = "get_posts_without_embeddings", returns = Vec<PendingPost>, read_only)]
/// struct GetPostsWithoutEmbeddings {
///     lim: i32,
///     after_id: Option<i64>,
/// }
///
/// # async fn run(db: Client) -> Result<(), Error> {
/// let due = db.rpc(GetPostsWithoutEmbeddings { lim: 500, after_id: None }).await?;
/// # Ok(()) }
/// ```
///
/// The request:
///
/// ```
/// use sluice_sdk::{Offline, serde_json::json};
///
/// let call = Offline::default().rpc_by_name("add", &json!({"a": 1, "b": 2})).call()?;
/// assert_eq!((call.request.method().as_str(), call.request.uri().path()), ("POST", "/rpc/add"));
/// assert_eq!(call.request.body(), r#"{"a":1,"b":2}"#);
/// # Ok::<(), sluice_sdk::Error>(())
/// ```
///
/// PostgREST reference: "Functions as RPC".
#[must_use = "a call does nothing until it is awaited"]
pub struct Rpc<F, O, C> {
    invocation: Invocation<C>,
    marker: PhantomData<fn() -> (F, O)>,
}

impl<F, O, C: Context> Rpc<F, O, C> {
    pub(crate) fn new(
        context: C,
        endpoint: Endpoint,
        arguments: &(impl Serialize + ?Sized),
        (read_only, is_set): (bool, bool),
    ) -> Self {
        let safety = if read_only {
            Safety::Read
        } else {
            Safety::Write
        };
        Self {
            invocation: Invocation {
                context,
                query: Query::new(endpoint),
                arguments: arguments::body(arguments),
                by_get: false,
                safety,
                is_set,
            },
            marker: PhantomData,
        }
    }

    /// The same function in another schema.
    ///
    /// ```
    /// # use sluice_sdk::{Offline, col, serde_json::json}; let posts = Offline::default().rpc_by_name("latest", &json!({"n": 9}));
    /// let call = posts.schema("archive").call()?;
    /// assert_eq!(call.request.headers()["content-profile"], "archive");
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    ///
    /// SQL: `select * from archive.latest(n => 9)`.
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.invocation.query.endpoint.schema = Some(schema.into());
        self
    }

    /// Calls by GET, so that caches and read replicas can serve it. The call is still sent by POST
    /// if an argument is unsafe in a URL (a text that looks like a filter, null, an object).
    ///
    /// ```
    /// # use sluice_sdk::{Client, Error, Function, Offline, Select, Table, col, serde::{Deserialize, Serialize}};
    /// # #[derive(Table, Deserialize)] #[serde(crate = "sluice_sdk::serde")] #[table(name = "latest")]
    /// # struct Post { #[table(primary_key)] id: i64, text: String }
    /// # #[derive(Select, Deserialize)] #[serde(crate = "sluice_sdk::serde")] #[select(from = Post)]
    /// # struct Title { text: String }
    /// # #[derive(Serialize, Function)] #[serde(crate = "sluice_sdk::serde")]
    /// # #[function(name = "latest", returns = Vec<Post>, read_only)] struct Latest { n: i32 }
    /// let call = Offline::default().rpc(Latest { n: 9 }).get().call()?;
    /// assert_eq!(call.request.uri(), "/rpc/latest?n=9");
    /// assert_eq!(call.request.method(), "GET");
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    ///
    /// SQL: `select * from latest(n => 9)`.
    pub fn get(mut self) -> Self
    where
        F: ReadOnly,
    {
        self.invocation.by_get = true;
        self
    }

    /// Declares that a second call changes nothing more. It is then sent again if the outcome of
    /// the first is unknown.
    ///
    /// ```
    /// # use sluice_sdk::{Offline, col, serde_json::json}; let posts = Offline::default().rpc_by_name("latest", &json!({"n": 9}));
    /// let call = posts.idempotent().call()?;
    /// assert_eq!(call.safety, sluice_sdk::query::Safety::Idempotent);
    /// assert_eq!(call.request.uri(), "/rpc/latest");
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    ///
    /// SQL: `select * from latest(n => 9)`.
    pub fn idempotent(mut self) -> Self {
        if self.invocation.safety == Safety::Write {
            self.invocation.safety = Safety::Idempotent;
        }
        self
    }

    /// Returns these columns of the row or rows that the function returns.
    ///
    /// ```
    /// # use sluice_sdk::{Offline, col, serde_json::json}; let posts = Offline::default().rpc_by_name("latest", &json!({"n": 9}));
    /// # use sluice_sdk::query::Selection;
    /// let selection = Selection::new().column(col("text"));
    /// let call = posts.selection(selection).call()?;
    /// assert_eq!(call.request.uri(), "/rpc/latest?select=text");
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    ///
    /// SQL: `select text from latest(n => 9)`.
    pub fn selection(mut self, selection: Selection) -> Self {
        self.invocation.query.selection = Some(selection);
        self
    }

    /// Reads what the function returns into `W`: the whole of it, as for a value. For the rows of a
    /// set, see [`rows`](Self::rows).
    ///
    /// ```
    /// # use sluice_sdk::{Offline, col, serde_json::json}; let posts = Offline::default().rpc_by_name("latest", &json!({"n": 9}));
    /// let call = posts.output::<Vec<i64>>().call()?;
    /// assert_eq!(call.request.uri(), "/rpc/latest");
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    ///
    /// SQL: `select * from latest(n => 9)`.
    pub fn output<W>(self) -> Rpc<F, W, C> {
        Rpc {
            invocation: self.invocation,
            marker: PhantomData,
        }
    }

    /// Reads each row of the set that the function returns into `W`, with the same columns.
    ///
    /// ```
    /// # use sluice_sdk::{Offline, col, serde_json::json}; let posts = Offline::default().rpc_by_name("latest", &json!({"n": 9}));
    /// let call = posts.rows::<(i64, String)>().call()?;
    /// assert_eq!(call.request.uri(), "/rpc/latest");
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    ///
    /// SQL: `select * from latest(n => 9)`.
    pub fn rows<W>(self) -> Rpc<F, Vec<W>, C> {
        self.output()
    }

    /// The request, for callers that send it themselves.
    ///
    /// ```
    /// # use sluice_sdk::{Offline, col, serde_json::json}; let posts = Offline::default().rpc_by_name("latest", &json!({"n": 9}));
    /// let call = posts.call()?;
    /// assert_eq!((call.request.uri().path(), &call.request.body()[..]), ("/rpc/latest", &br#"{"n":9}"#[..]));
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    ///
    /// SQL: `select * from latest(n => 9)`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](crate::error::ErrorKind::Invalid) for arguments that do not serialize as an
    /// object, and for what the grammar cannot express.
    pub fn call(&self) -> Result<Call, Error> {
        self.invocation.call(&self.invocation.query, Format::Json)
    }
}

/// Filters, order and limits of a function that returns a set of rows.
impl<F, O: Rows, C: Context> Rpc<F, O, C> {
    /// Keeps the rows that match.
    ///
    /// ```
    /// # use sluice_sdk::{Client, Error, Function, Offline, Select, Table, col, serde::{Deserialize, Serialize}};
    /// # #[derive(Table, Deserialize)] #[serde(crate = "sluice_sdk::serde")] #[table(name = "latest")]
    /// # struct Post { #[table(primary_key)] id: i64, text: String }
    /// # #[derive(Select, Deserialize)] #[serde(crate = "sluice_sdk::serde")] #[select(from = Post)]
    /// # struct Title { text: String }
    /// # #[derive(Serialize, Function)] #[serde(crate = "sluice_sdk::serde")]
    /// # #[function(name = "latest", returns = Vec<Post>, read_only)] struct Latest { n: i32 }
    /// let call = Offline::default().rpc(Latest { n: 9 }).filter(Post::TEXT.starts_with("rain")).call()?;
    /// assert_eq!(call.request.uri(), "/rpc/latest?text=like.rain%25");
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    ///
    /// SQL: `select * from latest(n => 9) where text like 'rain%'`.
    pub fn filter(mut self, filter: impl IntoFilter<O::Row>) -> Self {
        self.invocation.query.filter(filter.into_filter().tree);
        self
    }

    /// Orders the rows.
    ///
    /// ```
    /// # use sluice_sdk::{Client, Error, Function, Offline, Select, Table, col, serde::{Deserialize, Serialize}};
    /// # #[derive(Table, Deserialize)] #[serde(crate = "sluice_sdk::serde")] #[table(name = "latest")]
    /// # struct Post { #[table(primary_key)] id: i64, text: String }
    /// # #[derive(Select, Deserialize)] #[serde(crate = "sluice_sdk::serde")] #[select(from = Post)]
    /// # struct Title { text: String }
    /// # #[derive(Serialize, Function)] #[serde(crate = "sluice_sdk::serde")]
    /// # #[function(name = "latest", returns = Vec<Post>, read_only)] struct Latest { n: i32 }
    /// let call = Offline::default().rpc(Latest { n: 9 }).order(Post::ID.desc()).call()?;
    /// assert_eq!(call.request.uri(), "/rpc/latest?order=id.desc");
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    ///
    /// SQL: `select * from latest(n => 9) order by id desc`.
    pub fn order(mut self, order: impl IntoOrder<O::Row>) -> Self {
        self.invocation.query.window.keys.extend(keys_of(order));
        self
    }

    /// Returns this many rows at most.
    ///
    /// ```
    /// # use sluice_sdk::{Client, Error, Function, Offline, Select, Table, col, serde::{Deserialize, Serialize}};
    /// # #[derive(Table, Deserialize)] #[serde(crate = "sluice_sdk::serde")] #[table(name = "latest")]
    /// # struct Post { #[table(primary_key)] id: i64, text: String }
    /// # #[derive(Select, Deserialize)] #[serde(crate = "sluice_sdk::serde")] #[select(from = Post)]
    /// # struct Title { text: String }
    /// # #[derive(Serialize, Function)] #[serde(crate = "sluice_sdk::serde")]
    /// # #[function(name = "latest", returns = Vec<Post>, read_only)] struct Latest { n: i32 }
    /// let call = Offline::default().rpc(Latest { n: 9 }).limit(3).call()?;
    /// assert_eq!(call.request.uri(), "/rpc/latest?limit=3");
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    ///
    /// SQL: `select * from latest(n => 9) limit 3`.
    pub fn limit(mut self, limit: u64) -> Self {
        self.invocation.query.window.limit = Some(limit);
        self
    }

    /// Skips this many rows first.
    ///
    /// ```
    /// # use sluice_sdk::{Client, Error, Function, Offline, Select, Table, col, serde::{Deserialize, Serialize}};
    /// # #[derive(Table, Deserialize)] #[serde(crate = "sluice_sdk::serde")] #[table(name = "latest")]
    /// # struct Post { #[table(primary_key)] id: i64, text: String }
    /// # #[derive(Select, Deserialize)] #[serde(crate = "sluice_sdk::serde")] #[select(from = Post)]
    /// # struct Title { text: String }
    /// # #[derive(Serialize, Function)] #[serde(crate = "sluice_sdk::serde")]
    /// # #[function(name = "latest", returns = Vec<Post>, read_only)] struct Latest { n: i32 }
    /// let call = Offline::default().rpc(Latest { n: 9 }).offset(3).call()?;
    /// assert_eq!(call.request.uri(), "/rpc/latest?offset=3");
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    ///
    /// SQL: `select * from latest(n => 9) offset 3`.
    pub fn offset(mut self, offset: u64) -> Self {
        self.invocation.query.window.offset = Some(offset);
        self
    }

    /// Filters, orders or limits the rows of an embedded relation.
    ///
    /// ```
    /// # use sluice_sdk::{query::Relation, schema::Any};
    /// # use sluice_sdk::{Client, Error, Function, Offline, Select, Table, col, serde::{Deserialize, Serialize}};
    /// # #[derive(Table, Deserialize)] #[serde(crate = "sluice_sdk::serde")] #[table(name = "latest")]
    /// # struct Post { #[table(primary_key)] id: i64, text: String }
    /// # #[derive(Select, Deserialize)] #[serde(crate = "sluice_sdk::serde")] #[select(from = Post)]
    /// # struct Title { text: String }
    /// # #[derive(Serialize, Function)] #[serde(crate = "sluice_sdk::serde")]
    /// # #[function(name = "latest", returns = Vec<Post>, read_only)] struct Latest { n: i32 }
    /// let comments = Relation::<Post, Any>::new("comments");
    /// let call = Offline::default().rpc(Latest { n: 9 }).embed(comments.limit(3)).call()?;
    /// assert_eq!(call.request.uri(), "/rpc/latest?comments.limit=3");
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    ///
    /// SQL: `select p.*, (select json_agg(c) from (select * from comments where post_id = p.id
    /// limit 3) c) from latest(n => 9) p`.
    pub fn embed<U>(mut self, nested: Nested<O::Row, U>) -> Self {
        self.invocation.query.nested.push(nested.retyped());
        self
    }

    /// Returns rows of the shape `V` instead. Call it after the filters.
    ///
    /// ```
    /// # use sluice_sdk::{Client, Error, Function, Offline, Select, Table, col, serde::{Deserialize, Serialize}};
    /// # #[derive(Table, Deserialize)] #[serde(crate = "sluice_sdk::serde")] #[table(name = "latest")]
    /// # struct Post { #[table(primary_key)] id: i64, text: String }
    /// # #[derive(Select, Deserialize)] #[serde(crate = "sluice_sdk::serde")] #[select(from = Post)]
    /// # struct Title { text: String }
    /// # #[derive(Serialize, Function)] #[serde(crate = "sluice_sdk::serde")]
    /// # #[function(name = "latest", returns = Vec<Post>, read_only)] struct Latest { n: i32 }
    /// let call = Offline::default().rpc(Latest { n: 9 }).select::<Title>().call()?;
    /// assert_eq!(call.request.uri(), "/rpc/latest?select=text");
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    ///
    /// SQL: `select text from latest(n => 9)`.
    pub fn select<V: ShapeOf<O::Row>>(self) -> Rpc<F, Vec<V>, C> {
        self.selection(V::selection()).output()
    }

    /// Calls the function. Returns one page of its rows, with their position and total number. A
    /// function that only reads, or is [idempotent](Self::idempotent), also says whether more follow.
    ///
    /// ```no_run
    /// # use sluice_sdk::{Client, Error, Function, Offline, Select, Table, col, serde::{Deserialize, Serialize}};
    /// # #[derive(Table, Deserialize)] #[serde(crate = "sluice_sdk::serde")] #[table(name = "latest")]
    /// # struct Post { #[table(primary_key)] id: i64, text: String }
    /// # #[derive(Select, Deserialize)] #[serde(crate = "sluice_sdk::serde")] #[select(from = Post)]
    /// # struct Title { text: String }
    /// # #[derive(Serialize, Function)] #[serde(crate = "sluice_sdk::serde")]
    /// # #[function(name = "latest", returns = Vec<Post>, read_only)] struct Latest { n: i32 }
    /// # async fn run(db: Client) -> Result<(), Error> {
    /// let page = db.rpc(Latest { n: 9 }).limit(3).page().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// Request: `POST /rpc/latest?limit=4`, where the fourth row shows whether more follow. SQL:
    /// `select * from latest(n => 9) limit 4`.
    ///
    /// # Errors
    ///
    /// Every failure of the call.
    pub async fn page(self) -> Result<Page<O::Row>, Error>
    where
        O::Row: DeserializeOwned,
        C: Execute,
    {
        let invocation = &self.invocation;
        if invocation.safety.is_repeatable() && !invocation.query.options.prefer.rollback {
            return whole::page(invocation).await;
        }
        invocation
            .run(&invocation.query, Format::Json)
            .await?
            .page()
    }

    /// Reads every row of the set, by as many calls as the server's row limit makes necessary, in the
    /// order of the call. The order must be by a unique column, and the function must only read or be
    /// [idempotent](Self::idempotent).
    ///
    /// ```no_run
    /// # use sluice_sdk::{Client, Error, Function, Offline, Select, Table, col, serde::{Deserialize, Serialize}};
    /// # #[derive(Table, Deserialize)] #[serde(crate = "sluice_sdk::serde")] #[table(name = "latest")]
    /// # struct Post { #[table(primary_key)] id: i64, text: String }
    /// # #[derive(Select, Deserialize)] #[serde(crate = "sluice_sdk::serde")] #[select(from = Post)]
    /// # struct Title { text: String }
    /// # #[derive(Serialize, Function)] #[serde(crate = "sluice_sdk::serde")]
    /// # #[function(name = "latest", returns = Vec<Post>, read_only)] struct Latest { n: i32 }
    /// # async fn run(db: Client) -> Result<(), Error> {
    /// let posts = db.rpc(Latest { n: 9_000 }).order(Post::ID.asc()).all().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// Request: `POST /rpc/latest?order=id.asc`, and with `offset=1000` and so on if the server
    /// cuts. SQL: `select * from latest(n => 9000) order by id`.
    ///
    /// # Errors
    ///
    /// Every failure of a call, and [`ErrorKind::Truncated`](crate::error::ErrorKind::Truncated) if the rows are cut and have no order, or
    /// if a second call could change something.
    pub async fn all(self) -> Result<Vec<O::Row>, Error>
    where
        O::Row: DeserializeOwned,
        C: Execute,
    {
        let invocation = &self.invocation;
        if !invocation.safety.is_repeatable() {
            return invocation.run_whole().await?.json();
        }
        let first = whole::fetch(invocation, &invocation.query).await?.rows;
        if whole::has_more(invocation, &invocation.query, first.len() as u64).await? {
            return whole::by_offset(invocation, first).await;
        }
        Ok(first)
    }

    /// Reads every row of the set one by one, with memory for one row. As [`all`](Self::all), it needs
    /// an order if the server cuts the rows.
    ///
    /// A stream that breaks off ends with an error. The rows before it are valid.
    ///
    /// ```no_run
    /// # use sluice_sdk::{Client, Error, Function, Offline, Select, Table, col, serde::{Deserialize, Serialize}};
    /// # #[derive(Table, Deserialize)] #[serde(crate = "sluice_sdk::serde")] #[table(name = "latest")]
    /// # struct Post { #[table(primary_key)] id: i64, text: String }
    /// # #[derive(Select, Deserialize)] #[serde(crate = "sluice_sdk::serde")] #[select(from = Post)]
    /// # struct Title { text: String }
    /// # #[derive(Serialize, Function)] #[serde(crate = "sluice_sdk::serde")]
    /// # #[function(name = "latest", returns = Vec<Post>, read_only)] struct Latest { n: i32 }
    /// # use sluice_sdk::futures_util::TryStreamExt;
    /// # async fn run(db: Client) -> Result<(), Error> {
    /// let mut posts = db.rpc(Latest { n: 9_000 }).order(Post::ID.asc()).stream();
    /// while let Some(post) = posts.try_next().await? {}
    /// # Ok(()) }
    /// ```
    ///
    /// Request: `POST /rpc/latest?order=id.asc`, and with `offset=1000` and so on if the server
    /// cuts. SQL: `select * from latest(n => 9000) order by id`.
    pub fn stream(self) -> BoxStream<'static, Result<O::Row, Error>>
    where
        O::Row: DeserializeOwned + Send + 'static,
        C: Execute,
    {
        whole::row_by_row(self.invocation)
    }
}

impl<F, O, C: Execute> Rpc<F, O, C> {
    /// Calls the function, and returns the response as bytes in a media type that the server knows:
    /// see [`Read::bytes`](crate::query::Read::bytes).
    ///
    /// ```no_run
    /// # use sluice_sdk::{Client, Error, serde_json::json};
    /// # async fn run(db: Client) -> Result<(), Error> {
    /// let picture = db.rpc_by_name("picture", &json!({"id": 7})).bytes("image/png").await?;
    /// # Ok(()) }
    /// ```
    ///
    /// Request: `POST /rpc/picture` with `Accept: image/png`. SQL: `select picture(id => 7)`.
    ///
    /// # Errors
    ///
    /// Every failure of the call, and PGRST107 if the server does not know the media type.
    pub async fn bytes(self, media_type: &str) -> Result<Bytes, Error> {
        let format = Format::Own(media_type.to_owned());
        let invocation = &self.invocation;
        Ok(invocation.run(&invocation.query, format).await?.body)
    }
}

impl<F, O, C> IntoFuture for Rpc<F, O, C>
where
    O: DeserializeOwned + Send + 'static,
    C: Execute,
{
    type Output = Result<O, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        // The future does not borrow what the function's type may.
        let invocation = self.invocation;
        Box::pin(async move { invocation.run_whole().await?.value() })
    }
}

debug_by!(invocation.query, Rpc<F, O, C>);

call_options!(<F, O, C> Rpc, invocation.query.options);
count_option!(<F, O, C> Rpc, invocation.query.options);
transaction_options!(<F, O, C> Rpc, invocation.query.options);
affected_option!(<F, O, C> Rpc, invocation.query.options);

/// Begins a call of a typed function.
pub(crate) fn typed<F: Function, C: Context>(context: C, function: &F) -> Rpc<F, F::Output, C> {
    let endpoint = Endpoint::function(F::NAME, F::SCHEMA);
    Rpc::new(context, endpoint, function, (F::READ_ONLY, F::RETURNS_SET))
}
