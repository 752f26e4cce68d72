//! Builds calls without sending them.

use serde::Serialize;

use super::{CallDefaults, Context, Endpoint, Rpc, TableRef, rpc};
use crate::grammar::Select;
use crate::schema::{Any, Function, Table};

/// Builds the same calls as a [`Client`](crate::Client), for sending by other means. Take the
/// request with `.call()`, and read the response with [`Response::read`](crate::query::Response::read).
///
/// ```
/// use sluice_sdk::{Offline, col};
///
/// let call = Offline::default().table("posts").filter(col("id").eq(1)).call()?;
/// assert_eq!(call.request.uri(), "/posts?id=eq.1");
/// # Ok::<(), sluice_sdk::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Offline {
    defaults: CallDefaults,
}

impl Offline {
    /// Builds calls with these defaults.
    pub fn new(defaults: CallDefaults) -> Self {
        Self { defaults }
    }

    /// The table of the type `T`.
    pub fn from<T: Table + Select<From = T>>(&self) -> TableRef<T, T, Self> {
        TableRef::typed(self.clone())
    }

    /// A table by its name.
    pub fn table(&self, name: &str) -> TableRef<Any, serde_json::Value, Self> {
        TableRef::untyped(self.clone(), name)
    }

    /// A call of a function.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "it is called like the client's method"
    )]
    pub fn rpc<F: Function>(&self, function: F) -> Rpc<F, F::Output, Self> {
        rpc::typed(self.clone(), &function)
    }

    /// A call of a function by its name.
    pub fn rpc_by_name(
        &self,
        name: &str,
        arguments: &(impl Serialize + ?Sized),
    ) -> Rpc<Any, serde_json::Value, Self> {
        let endpoint = Endpoint::function(name.to_owned(), None);
        Rpc::new(self.clone(), endpoint, arguments, (false, true))
    }
}

impl Context for Offline {
    fn defaults(&self) -> &CallDefaults {
        &self.defaults
    }
}
