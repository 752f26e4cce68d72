//! Reads in other formats than JSON rows.

use bytes::Bytes;
use futures_util::TryStreamExt;
use http::Method;

use super::{Execute, Read, csv, whole};
use crate::error::Error;
use crate::request::{Body, Explain, Format};

impl<T, V, C: Execute> Read<T, V, C> {
    /// Reads the rows as comma-separated values, with a line of names first. If the server's row limit
    /// cuts the response, the rest is read too, as [`csv_stream`](Self::csv_stream) does.
    ///
    /// ```no_run
    /// # use sluice_sdk::{Client, Error};
    /// # async fn run(db: Client) -> Result<(), Error> {
    /// let text = db.table("posts").read().csv().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// Request: `GET /posts` with `Accept: text/csv`. SQL: `copy (select * from posts) to stdout
    /// with csv header`.
    ///
    /// # Errors
    ///
    /// Every failure of the call, and [`ErrorKind::Decode`](crate::error::ErrorKind::Decode) if the response is not UTF-8.
    pub async fn csv(self) -> Result<String, Error>
    where
        T: 'static,
        V: 'static,
    {
        let first = self.response(Format::Csv).await?;
        if !whole::has_more(&self, &self.query, whole::rows_of(&first)).await? {
            return first.text();
        }
        let pieces: Vec<Bytes> = self.csv_stream().try_collect().await?;
        csv::text(&pieces)
    }

    /// Reads any number of rows as comma-separated values, a page of rows at a time. Memory holds one
    /// page. Only the first begins with the line of names.
    ///
    /// Without an order of its own, a table whose type has a primary key is read in its order. Other
    /// reads of more than a page need an order by a unique key.
    ///
    /// ```no_run
    /// # use sluice_sdk::{Client, Error, col};
    /// # use sluice_sdk::futures_util::TryStreamExt;
    /// # async fn run(db: Client) -> Result<(), Error> {
    /// let mut pieces = db.table("posts").order(col("id").asc()).csv_stream();
    /// while let Some(piece) = pieces.try_next().await? {}
    /// # Ok(()) }
    /// ```
    ///
    /// Request: `GET /posts?order=id.asc&limit=1000` with `Accept: text/csv`, then the next page.
    /// SQL: `select * from posts order by id limit 1000`.
    pub fn csv_stream(self) -> Body
    where
        T: 'static,
        V: 'static,
    {
        csv::pages(self)
    }

    /// Reads the response as bytes, in a media type that the server knows, such as that of a
    /// [media type handler](https://postgrest.org/en/stable/references/api/media_type_handlers.html).
    /// The server's row limit applies.
    ///
    /// ```no_run
    /// # use sluice_sdk::{Client, Error, col};
    /// # async fn run(db: Client) -> Result<(), Error> {
    /// let picture = db.table("pictures").filter(col("id").eq(7)).bytes("image/png").await?;
    /// # Ok(()) }
    /// ```
    ///
    /// Request: `GET /pictures?id=eq.7` with `Accept: image/png`. SQL: `select * from pictures
    /// where id = 7`.
    ///
    /// # Errors
    ///
    /// Every failure of the call, and PGRST107 if the server does not know the media type.
    pub async fn bytes(self, media_type: &str) -> Result<Bytes, Error> {
        Ok(self
            .response(Format::Own(media_type.to_owned()))
            .await?
            .body)
    }

    /// As [`bytes`](Self::bytes), piece by piece as they arrive.
    ///
    /// ```no_run
    /// # use sluice_sdk::{Client, Error, col};
    /// # async fn run(db: Client) -> Result<(), Error> {
    /// let picture = db.table("pictures").filter(col("id").eq(7));
    /// let pieces = picture.bytes_stream("image/png").await?;
    /// # Ok(()) }
    /// ```
    ///
    /// Request: `GET /pictures?id=eq.7` with `Accept: image/png`. SQL: `select * from pictures
    /// where id = 7`.
    ///
    /// # Errors
    ///
    /// As for [`bytes`](Self::bytes), until the response has begun. Later errors are in the stream.
    pub async fn bytes_stream(self, media_type: &str) -> Result<Body, Error> {
        let format = Format::Own(media_type.to_owned());
        let call = self.call_as(&self.query, Method::GET, format)?;
        self.context.open(call).await
    }

    /// Reads the rows as a `GeoJSON` `FeatureCollection`. The database needs `PostGIS`.
    ///
    /// ```no_run
    /// # use sluice_sdk::{Client, Error};
    /// # async fn run(db: Client) -> Result<(), Error> {
    /// let places = db.table("places").read().geojson().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// Request: `GET /places` with `Accept: application/geo+json`. SQL: `select st_asgeojson(p)
    /// from places p`.
    ///
    /// # Errors
    ///
    /// Every failure of the call, and [`ErrorKind::Truncated`](crate::error::ErrorKind::Truncated) if the server's row limit cut it.
    pub async fn geojson(self) -> Result<serde_json::Value, Error> {
        let response = self.response(Format::GeoJson).await?;
        let rows = whole::rows_of(&response);
        if whole::has_more(&self, &self.query, rows).await? {
            let way_out =
                "a FeatureCollection is one response; read it in parts by `limit` and `offset`";
            return Err(whole::truncated(rows, way_out));
        }
        response.json()
    }

    /// Returns the execution plan of this read instead of its rows. The server must allow it
    /// (`db-plan-enabled`).
    ///
    /// ```no_run
    /// # use sluice_sdk::{Client, Error, query::Explain, col};
    /// # async fn run(db: Client) -> Result<(), Error> {
    /// let slow = db.table("posts").filter(col("text").contains_text("rain"));
    /// let plan = slow.explain(Explain::plan().analyze().buffers()).await?;
    /// let milliseconds = plan[0]["Execution Time"].as_f64();
    /// # Ok(()) }
    /// ```
    ///
    /// Request: `GET /posts?text=like.*rain*` with `Accept: application/vnd.pgrst.plan+json;
    /// options=analyze|buffers`. SQL: `explain (analyze, buffers) select * from posts where text
    /// like '%rain%'`.
    ///
    /// # Errors
    ///
    /// Every failure of the call, and PGRST107 if the server does not allow plans.
    pub async fn explain(self, explain: Explain) -> Result<serde_json::Value, Error> {
        self.response(Format::Plan(explain)).await?.json()
    }

    /// As [`explain`](Self::explain), as `EXPLAIN` prints it.
    ///
    /// ```no_run
    /// # use sluice_sdk::{Client, Error, query::Explain};
    /// # async fn run(db: Client) -> Result<(), Error> {
    /// let plan = db.table("posts").read().explain_text(Explain::plan()).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// Request: `GET /posts` with `Accept: application/vnd.pgrst.plan+text`. SQL: `explain select *
    /// from posts`.
    ///
    /// # Errors
    ///
    /// As for [`explain`](Self::explain).
    pub async fn explain_text(self, explain: Explain) -> Result<String, Error> {
        self.response(Format::PlanText(explain)).await?.text()
    }
}
