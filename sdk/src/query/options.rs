//! The options that builders share. Each is written once, as a macro that gives it to a builder.

/// Options of every call. `field` is where the builder keeps them.
macro_rules! call_options {
    (<$($parameter:tt),+> $kind:ident, $($field:ident).+) => {
        impl<$($parameter),+> $kind<$($parameter),+> {
            /// Sends this header too. One that cannot be sent, or that the client itself writes, is an
            /// error when the request is built. The value appears in no error and no span.
            ///
            /// ```
            /// # use sluice_sdk::{Offline, col}; let posts = Offline::default().table("posts");
            /// let call = posts.read().header("x-region", "eu").call()?;
            /// assert_eq!(call.request.headers()["x-region"], "eu");
            /// # Ok::<(), sluice_sdk::Error>(())
            /// ```
            ///
            /// SQL: `select current_setting('request.headers')::json->>'x-region'`.
            pub fn header(mut self, name: &str, value: &str) -> Self {
                self.$($field).+.header(name, value);
                self
            }

            /// Returns times in this time zone, such as `America/Los_Angeles` (`timezone=…`). A name
            /// that the server does not know is ignored before PostgREST 16 and refused since;
            /// offsets such as `+02:00` are allowed since 16.
            ///
            /// ```
            /// # use sluice_sdk::{Offline, col}; let posts = Offline::default().table("posts");
            /// let call = posts.read().timezone("Asia/Tokyo").call()?;
            /// assert_eq!(call.request.headers()["prefer"], "timezone=Asia/Tokyo");
            /// # Ok::<(), sluice_sdk::Error>(())
            /// ```
            ///
            /// SQL: `set local timezone to 'Asia/Tokyo'; select * from posts`.
            ///
            /// PostgREST reference: "Timezone" of the `Prefer` header.
            pub fn timezone(mut self, timezone: impl Into<String>) -> Self {
                self.$($field).+.prefer.timezone = Some(timezone.into());
                self
            }

            /// Sets what the server does with preferences that it does not know (`handling=…`).
            ///
            /// ```
            /// # use sluice_sdk::{Offline, col}; let posts = Offline::default().table("posts");
            /// # use sluice_sdk::query::Handling;
            /// let call = posts.read().handling(Handling::Strict).call()?;
            /// assert_eq!(call.request.headers()["prefer"], "handling=strict");
            /// # Ok::<(), sluice_sdk::Error>(())
            /// ```
            ///
            /// SQL: `select * from posts`.
            pub fn handling(mut self, handling: crate::request::Handling) -> Self {
                self.$($field).+.prefer.handling = Some(handling);
                self
            }

            /// Retries by this policy, and not by the client's.
            ///
            /// ```
            /// # use sluice_sdk::{Offline, col}; let posts = Offline::default().table("posts");
            /// # use sluice_sdk::query::RetryPolicy;
            /// let call = posts.read().retry(RetryPolicy::never()).call()?;
            /// assert!(call.retry.is_some());
            /// # Ok::<(), sluice_sdk::Error>(())
            /// ```
            ///
            /// The request and the SQL stay the same.
            pub fn retry(mut self, policy: crate::request::RetryPolicy) -> Self {
                self.$($field).+.retry = Some(policy);
                self
            }

            /// Allows each request this long with all its retries, in place of both timeouts of the
            /// client. One attempt may use all of it.
            ///
            /// ```
            /// # use sluice_sdk::{Offline, col}; let posts = Offline::default().table("posts");
            /// # use std::time::Duration;
            /// let call = posts.read().deadline(Duration::from_secs(5)).call()?;
            /// assert_eq!(call.deadline, Some(Duration::from_secs(5)));
            /// # Ok::<(), sluice_sdk::Error>(())
            /// ```
            ///
            /// The request and the SQL stay the same.
            pub fn deadline(mut self, limit: std::time::Duration) -> Self {
                self.$($field).+.deadline = Some(limit);
                self
            }
        }
    };
}

/// Options of a call that returns rows and need not change any.
macro_rules! count_option {
    (<$($parameter:tt),+> $kind:ident, $($field:ident).+) => {
        impl<$($parameter),+> $kind<$($parameter),+> {
            /// Counts all rows that match (`count=…`). [`Page::total`](crate::Page::total) has the
            /// number.
            ///
            /// ```
            /// # use sluice_sdk::{Count, Offline, col}; let posts = Offline::default().table("posts");
            /// let call = posts.read().count(Count::Exact).call()?;
            /// assert_eq!(call.request.headers()["prefer"], "count=exact");
            /// # Ok::<(), sluice_sdk::Error>(())
            /// ```
            ///
            /// SQL: `select count(*) from posts`, beside the rows.
            ///
            /// PostgREST reference: "Exact Count", "Planned Count", "Estimated Count".
            pub fn count(mut self, count: crate::Count) -> Self {
                self.$($field).+.prefer.count = Some(count);
                self
            }
        }
    };
}

/// Options of a call that may change rows.
macro_rules! transaction_options {
    (<$($parameter:tt),+> $kind:ident, $($field:ident).+) => {
        impl<$($parameter),+> $kind<$($parameter),+> {
            /// Runs the call and rolls it back (`tx=rollback`). The server must allow it (`db-tx-end =
            /// commit-allow-override`). The client asks it by a harmless request first, once. If the
            /// server would commit, nothing is sent and the call fails.
            ///
            /// ```
            /// # use sluice_sdk::{Offline, col}; let posts = Offline::default().table("posts");
            /// let call = posts.delete().filter(col("id").eq(1)).dry_run().call()?;
            /// assert!(call.request.headers()["prefer"].to_str().unwrap().contains("tx=rollback"));
            /// # Ok::<(), sluice_sdk::Error>(())
            /// ```
            ///
            /// SQL: `begin; delete from posts where id = 1; rollback`.
            ///
            /// PostgREST reference: "Transaction End Preference".
            pub fn dry_run(mut self) -> Self {
                self.$($field).+.prefer.rollback = true;
                self
            }
        }
    };
}

/// A limit of the rows that a call changes.
macro_rules! affected_option {
    (<$($parameter:tt),+> $kind:ident, $($field:ident).+) => {
        impl<$($parameter),+> $kind<$($parameter),+> {
            /// Limits the number of changed rows (`max-affected=…`). If there are more, the call fails
            /// (PGRST124) and changes none.
            ///
            /// ```
            /// # use sluice_sdk::{Offline, col}; let posts = Offline::default().table("posts");
            /// let call = posts.delete().filter(col("id").lt(9)).max_affected(8).call()?;
            /// assert!(call.request.headers()["prefer"].to_str().unwrap().contains("max-affected=8"));
            /// # Ok::<(), sluice_sdk::Error>(())
            /// ```
            ///
            /// SQL: `delete from posts where id < 9`, rolled back if it deletes more than 8 rows.
            ///
            /// PostgREST reference: "Max Affected".
            pub fn max_affected(mut self, rows: u64) -> Self {
                self.$($field).+.prefer.max_affected = Some(rows);
                self
            }
        }
    };
}
