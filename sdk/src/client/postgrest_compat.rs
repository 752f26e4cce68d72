//! Sends queries of the crate `postgrest`, so that a script can migrate one query at a time.

use std::future::IntoFuture;
use std::marker::PhantomData;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use serde::de::DeserializeOwned;

use super::Client;
use crate::error::Error;
use crate::query::{Context, Execute};
use crate::request::{Call, Page, Safety, profile_header};

/// The headers that belong to a query. Keys and tokens come from the client, and a header with a
/// secret for one gateway must not reach another.
const CARRIED: [&str; 7] = [
    "accept",
    "accept-profile",
    "content-profile",
    "content-type",
    "prefer",
    "range",
    "range-unit",
];

/// A query that was built with the crate `postgrest`. Awaiting it returns the response, read into
/// `V`.
///
/// A write is sent once, unless it is declared [`idempotent`](Self::idempotent).
#[must_use = "a query does nothing until it is awaited"]
pub struct CompatQuery<V> {
    client: Client,
    call: Result<Call, Error>,
    marker: PhantomData<fn() -> V>,
}

impl Client {
    /// Takes over a query of the crate `postgrest` (1.6). It is sent to this client's server with
    /// this client's key, retries, deadlines, errors and types.
    ///
    /// The builder's own address, `apikey`, `Authorization` and other headers are not used. For a
    /// user's token, see [`as_user`](Self::as_user). Of the address, only the table (the last
    /// segment) or the function (`rpc/` and the last segment) is used. The query is sent as that
    /// crate wrote it, with **unquoted values**: use a [`Filter`](crate::Filter) for values that
    /// come from a user.
    ///
    /// ```no_run
    /// # use sluice_sdk::{Client, Error};
    /// # #[derive(serde::Deserialize)] struct Post { id: i64 }
    /// # async fn run(db: Client, old: postgrest::Postgrest) -> Result<(), Error> {
    /// let posts: Vec<Post> = db.run(old.from("posts").select("id").eq("kind", "ad")).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// Request: `GET /posts?select=id&kind=eq.ad`. SQL: `select id from posts where kind = 'ad'`.
    pub fn run<V>(&self, query: postgrest::Builder) -> CompatQuery<V> {
        CompatQuery {
            client: self.clone(),
            call: call(query, self.defaults().schema.as_deref()),
            marker: PhantomData,
        }
    }
}

impl<V> CompatQuery<V> {
    /// Declares that a second time changes nothing more. The query is then sent again if the
    /// outcome of the first time is unknown.
    ///
    /// ```no_run
    /// # use sluice_sdk::{Client, Error};
    /// # #[derive(serde::Deserialize)] struct Post { id: i64 }
    /// # async fn run(db: Client, old: postgrest::Postgrest) -> Result<(), Error> {
    /// let touch = old.rpc("touch", "{}");
    /// db.run::<()>(touch).idempotent().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// The request and the SQL stay the same.
    pub fn idempotent(mut self) -> Self {
        if let Ok(call) = &mut self.call
            && call.safety == Safety::Write
        {
            call.safety = Safety::Idempotent;
        }
        self
    }

    /// The request, for callers that send it themselves.
    ///
    /// ```no_run
    /// # use sluice_sdk::{Client, Error};
    /// # #[derive(serde::Deserialize)] struct Post { id: i64 }
    /// # async fn run(db: Client, old: postgrest::Postgrest) -> Result<(), Error> {
    /// let call = db.run::<Vec<Post>>(old.from("posts").select("id")).call()?;
    /// # Ok(()) }
    /// ```
    ///
    /// Request: `GET /posts?select=id`. SQL: `select id from posts`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](crate::error::ErrorKind::Invalid) if the builder's address is not a URL, or
    /// if its query does not fit into one.
    pub fn call(&self) -> Result<Call, Error> {
        self.call.clone()
    }
}

impl<V: DeserializeOwned> CompatQuery<Vec<V>> {
    /// Sends the query. Returns the rows, with their position and number from the headers, such as
    /// the total that `exact_count()` requests.
    ///
    /// ```no_run
    /// # use sluice_sdk::{Client, Error};
    /// # #[derive(serde::Deserialize)] struct Post { id: i64 }
    /// # async fn run(db: Client, old: postgrest::Postgrest) -> Result<(), Error> {
    /// let page = db.run::<Vec<Post>>(old.from("posts").exact_count()).page().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// Request: `GET /posts` with `Prefer: count=exact`. SQL: `select *, count(*) over () from
    /// posts`.
    ///
    /// # Errors
    ///
    /// Every failure of the call.
    pub async fn page(self) -> Result<Page<V>, Error> {
        self.client.execute(self.call?).await?.page()
    }
}

impl<V: DeserializeOwned + Send + 'static> IntoFuture for CompatQuery<V> {
    type Output = Result<V, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.client.execute(self.call?).await?.value() })
    }
}

impl<V> std::fmt::Debug for CompatQuery<V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shape = self.call.as_ref().map(Call::shape);
        f.debug_tuple("CompatQuery").field(&shape).finish()
    }
}

/// The same request in this crate's types, without its address and its credentials.
fn call(query: postgrest::Builder, default_schema: Option<&str>) -> Result<Call, Error> {
    let theirs = query.build().build().map_err(|error| {
        // The URL holds values.
        Error::invalid("the query of `postgrest` cannot be built; check its address")
            .with_source(error.without_url())
    })?;
    let method = Method::from_bytes(theirs.method().as_str().as_bytes())
        .map_err(|error| Error::invalid("the method cannot be sent").with_source(error))?;
    let mut headers = HeaderMap::with_capacity(CARRIED.len());
    for name in CARRIED {
        if let Some(value) = theirs.headers().get(name) {
            headers.insert(
                HeaderName::from_static(name),
                header_value(value.as_bytes())?,
            );
        }
    }
    let profile = profile_header(&method);
    if let Some(schema) = default_schema
        && !headers.contains_key(&profile)
    {
        headers.insert(profile, header_value(schema.as_bytes())?);
    }
    let body = theirs.body().and_then(|body| body.as_bytes());
    let mut request = http::Request::new(Bytes::copy_from_slice(body.unwrap_or_default()));
    *request.uri_mut() = relative(theirs.url().path(), theirs.url().query())?;
    *request.headers_mut() = headers;
    let safety = match method {
        Method::GET | Method::HEAD => Safety::Read,
        _ => Safety::Write,
    };
    *request.method_mut() = method;
    Ok(Call {
        request,
        safety,
        retry: None,
        deadline: None,
    })
}

/// The part of an address that names the table or the function.
fn relative(path: &str, query: Option<&str>) -> Result<Uri, Error> {
    let (base, name) = path.rsplit_once('/').unwrap_or(("", path));
    let function = if base.ends_with("/rpc") { "/rpc" } else { "" };
    let mut text = format!("{function}/{name}");
    if let Some(query) = query {
        text.extend(["?", query]);
    }
    let bytes = text.len();
    Uri::from_maybe_shared(Bytes::from(text)).map_err(|error| {
        Error::invalid(format!("a URL of {bytes} bytes cannot be sent")).with_source(error)
    })
}

fn header_value(bytes: &[u8]) -> Result<HeaderValue, Error> {
    HeaderValue::from_bytes(bytes)
        .map_err(|error| Error::invalid("a header cannot be sent").with_source(error))
}

#[cfg(test)]
mod tests {
    use postgrest::Postgrest;

    use super::*;

    fn old() -> Postgrest {
        Postgrest::new("https://old.example/rest/v1").insert_header("apikey", "old-key")
    }

    #[test]
    fn the_address_and_the_credentials_are_dropped() {
        let query = old()
            .insert_header("x-gateway-key", "old-key")
            .from("posts")
            .auth("old-token")
            .select("id")
            .eq("text", "a b");
        let call = call(query, None).unwrap();
        assert_eq!(call.request.uri(), "/posts?select=id&text=eq.a+b");
        let names: Vec<&str> = call
            .request
            .headers()
            .keys()
            .map(HeaderName::as_str)
            .collect();
        assert_eq!(names, ["accept"]);
        assert_eq!(call.safety, Safety::Read);
    }

    #[test]
    fn a_function_keeps_its_prefix_and_its_arguments() {
        let call = call(old().rpc("add", r#"{"a":1}"#), None).unwrap();
        assert_eq!(call.request.uri(), "/rpc/add");
        assert_eq!(call.request.method(), Method::POST);
        assert_eq!(&call.request.body()[..], br#"{"a":1}"#);
        assert_eq!(call.safety, Safety::Write);
    }

    #[test]
    fn the_builders_schema_wins_over_the_clients() {
        let profile = |query, default, header: &str| {
            let call = call(query, default).unwrap();
            call.request.headers().get(header).cloned()
        };
        let theirs = old().schema("private").from("t");
        let header = "accept-profile";
        assert_eq!(profile(theirs, Some("api"), header).unwrap(), "private");
        assert_eq!(
            profile(old().from("t"), Some("api"), header).unwrap(),
            "api"
        );
        assert_eq!(profile(old().from("t"), None, header), None);
        let header = "content-profile";
        assert_eq!(
            profile(old().from("t").delete(), Some("api"), header).unwrap(),
            "api"
        );
    }

    #[test]
    fn an_error_about_an_invalid_address_does_not_show_it() {
        let query = Postgrest::new("old-key").from("t").eq("a", "hunter2");
        let error = call(query, None).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(
            !shown.contains("hunter2") && !shown.contains("old-key"),
            "{shown}"
        );
    }
}
