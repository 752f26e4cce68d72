//! The options of bulk writes. Each is written once, as a macro that gives it to a builder.

/// How the rows of a write are sent: of one of slices, and of one of a stream.
macro_rules! chunk_options {
    (<$($parameter:tt),+> $kind:ident<$($argument:tt),+>, $life:lifetime) => {
        impl<$($parameter),+> $kind<$($argument),+> {
            /// Puts at most this many rows into a request (500 by default).
            ///
            /// ```
            /// # use sluice_sdk::{Offline, col, serde_json::json}; let posts = Offline::default().table("posts");
            /// let rows = [json!({"id": 1}), json!({"id": 2})];
            /// let calls = posts.insert(&rows).chunk_rows(1).calls()?;
            /// assert_eq!(calls[1].request.body(), r#"[{"id":2}]"#);
            /// # Ok::<(), sluice_sdk::Error>(())
            /// ```
            ///
            /// SQL: `insert into posts (id) values (1); insert into posts (id) values (2)`.
            pub fn chunk_rows(mut self, rows: usize) -> Self {
                self.spec.chunk_rows = rows.max(1);
                self
            }

            /// Puts at most this many bytes into a request (1 MiB by default). A longer row goes
            /// alone.
            ///
            /// ```
            /// # use sluice_sdk::{Offline, col, serde_json::json}; let posts = Offline::default().table("posts");
            /// let rows = [json!({"id": 1}), json!({"id": 2})];
            /// let calls = posts.insert(&rows).chunk_bytes(12).calls()?;
            /// assert_eq!(calls[1].request.body(), r#"[{"id":2}]"#);
            /// # Ok::<(), sluice_sdk::Error>(())
            /// ```
            ///
            /// SQL: `insert into posts (id) values (1); insert into posts (id) values (2)`.
            pub fn chunk_bytes(mut self, bytes: usize) -> Self {
                self.spec.chunk_bytes = bytes;
                self
            }

            /// Sends this many requests at once (4 by default).
            ///
            /// ```
            /// # use sluice_sdk::{Offline, col, serde_json::json}; let posts = Offline::default().table("posts");
            /// let rows = [json!({"id": 1}), json!({"id": 2})];
            /// let insert = posts.insert(&rows).chunk_rows(1).concurrency(2);
            /// # Ok::<(), sluice_sdk::Error>(())
            /// ```
            ///
            /// The request and the SQL stay the same.
            pub fn concurrency(mut self, requests: usize) -> Self {
                self.spec.concurrency = requests.max(1);
                self
            }

            /// Stops if more rows than this are refused (1,000 by default), because finding each
            /// costs requests.
            ///
            /// ```
            /// # use sluice_sdk::{Offline, col, serde_json::json}; let posts = Offline::default().table("posts");
            /// let rows = [json!({"id": 1}), json!({"id": 2})];
            /// let insert = posts.insert(&rows).max_failures(10);
            /// # Ok::<(), sluice_sdk::Error>(())
            /// ```
            ///
            /// The request and the SQL stay the same.
            pub fn max_failures(mut self, rows: usize) -> Self {
                self.spec.max_failures = rows;
                self
            }

            /// Calls `hook` after each response, for a progress bar. It must not block.
            ///
            /// ```
            /// # use sluice_sdk::{Offline, col, serde_json::json}; let posts = Offline::default().table("posts");
            /// let rows = [json!({"id": 1}), json!({"id": 2})];
            /// let insert = posts.insert(&rows).on_progress(|progress| eprintln!("{}", progress.written));
            /// # Ok::<(), sluice_sdk::Error>(())
            /// ```
            ///
            /// The request and the SQL stay the same.
            pub fn on_progress(mut self, hook: impl Fn(Progress) + Send + Sync + $life) -> Self {
                self.spec.progress = Some(Arc::new(hook));
                self
            }
        }
    };
}

/// What an upsert does with a row that exists.
macro_rules! conflict_options {
    (<$($parameter:tt),+> $kind:ident<$($argument:tt),+>) => {
        impl<$($parameter),+> $kind<$($argument),+> {
            /// The columns of the unique constraint that decides whether a row exists
            /// (`on_conflict=…`). By default this is the primary key.
            ///
            /// ```
            /// # use sluice_sdk::{Offline, col, serde_json::json}; let posts = Offline::default().table("posts");
            /// let rows = [json!({"id": 1}), json!({"id": 2})];
            /// let calls = posts.upsert(&rows).on_conflict(col("id")).calls()?;
            /// assert_eq!(calls[0].request.uri(), "/posts?on_conflict=id&columns=id");
            /// # Ok::<(), sluice_sdk::Error>(())
            /// ```
            ///
            /// SQL: `insert into posts (id) values (1), (2) on conflict (id) do update set id =
            /// excluded.id`.
            pub fn on_conflict(mut self, columns: impl IntoColumns<T>) -> Self {
                self.spec.conflict = columns.names();
                self
            }

            /// Leaves existing rows as they are, instead of updating them
            /// (`resolution=ignore-duplicates`, SQL `on conflict do nothing`).
            ///
            /// If a request is sent again, rows that its first attempt wrote exist by then. They are
            /// neither counted as affected nor returned.
            ///
            /// ```
            /// # use sluice_sdk::{Offline, col, serde_json::json}; let posts = Offline::default().table("posts");
            /// let rows = [json!({"id": 1}), json!({"id": 2})];
            /// let calls = posts.upsert(&rows).ignore_duplicates().calls()?;
            /// let prefer = calls[0].request.headers()["prefer"].to_str().unwrap();
            /// assert!(prefer.contains("resolution=ignore-duplicates"));
            /// # Ok::<(), sluice_sdk::Error>(())
            /// ```
            ///
            /// SQL: `insert into posts (id) values (1), (2) on conflict do nothing`.
            pub fn ignore_duplicates(mut self) -> Self {
                self.spec.resolution = Resolution::Ignore;
                self
            }
        }
    };
}
