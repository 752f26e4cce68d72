//! Building calls with nothing to send them.

use serde::Serialize;

use super::{Context, Place, Rpc, Settings, TableRef, rpc};
use crate::grammar::Select;
use crate::schema::{Any, Function, Table};

/// Builds the same calls as a [`Client`](crate::Client), to be sent by other means: take the
/// request with `.call()`, and read the answer with [`Answer::read`](crate::Answer::read).
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
    settings: Settings,
}

impl Offline {
    /// Builds calls with these settings.
    pub fn new(settings: Settings) -> Self {
        Self { settings }
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
    pub fn call(
        &self,
        name: &str,
        arguments: &(impl Serialize + ?Sized),
    ) -> Rpc<Any, serde_json::Value, Self> {
        Rpc::new(
            self.clone(),
            Place::function(name.to_owned(), None),
            arguments,
            false,
        )
    }
}

impl Context for Offline {
    fn settings(&self) -> &Settings {
        &self.settings
    }
}
