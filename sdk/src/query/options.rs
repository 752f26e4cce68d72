//! The options that builders share. Each is written once, as a macro that gives it to a builder.

/// Options of every call. `field` is where the builder keeps them.
macro_rules! call_options {
    (<$($parameter:tt),+> $kind:ident, $($field:ident).+) => {
        impl<$($parameter),+> $kind<$($parameter),+> {
            /// Sends this header too. One that cannot be sent, or that the client itself writes, is an
            /// error when the request is built. The value appears in no error and no span.
            pub fn header(mut self, name: &str, value: &str) -> Self {
                self.$($field).+.header(name, value);
                self
            }

            /// Returns times in this time zone, such as `America/Los_Angeles` (`timezone=…`). A name
            /// that the server does not know is ignored before PostgREST 16 and refused since;
            /// offsets such as `+02:00` are allowed since 16.
            ///
            /// PostgREST reference: "Timezone" of the `Prefer` header.
            pub fn timezone(mut self, timezone: impl Into<String>) -> Self {
                self.$($field).+.prefer.timezone = Some(timezone.into());
                self
            }

            /// Sets what the server does with preferences that it does not know (`handling=…`).
            pub fn handling(mut self, handling: crate::request::Handling) -> Self {
                self.$($field).+.prefer.handling = Some(handling);
                self
            }

            /// Retries by this policy, and not by the client's.
            pub fn retry(mut self, policy: crate::request::RetryPolicy) -> Self {
                self.$($field).+.retry = Some(policy);
                self
            }

            /// Allows each request this long with all its retries, in place of both timeouts of the
            /// client. One attempt may use all of it.
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
            /// PostgREST reference: "Max Affected".
            pub fn max_affected(mut self, rows: u64) -> Self {
                self.$($field).+.prefer.max_affected = Some(rows);
                self
            }
        }
    };
}
