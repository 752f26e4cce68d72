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
    ///
    /// ```
    /// # use sluice_sdk::{Offline, query::CallDefaults};
    /// let offline = Offline::new(CallDefaults::default());
    /// let call = offline.table("posts").read().call()?;
    /// assert_eq!(call.request.uri(), "/posts");
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    ///
    /// SQL: `select * from posts`.
    pub fn new(defaults: CallDefaults) -> Self {
        Self { defaults }
    }

    /// The table of the type `T`.
    ///
    /// ```
    /// # use sluice_sdk::{Client, Error, Offline, Select, Table, col, serde::{Deserialize, Serialize}};
    /// # #[derive(Table, Serialize, Deserialize)] #[serde(crate = "sluice_sdk::serde")] #[table(name = "posts")]
    /// # struct Post { #[table(primary_key)] id: i64, text: String }
    /// # #[derive(Select, Deserialize)] #[serde(crate = "sluice_sdk::serde")] #[select(from = Post)]
    /// # struct Title { text: String }
    /// let call = Offline::default().from::<Post>().read().call()?;
    /// assert_eq!(call.request.uri(), "/posts?select=id,text");
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    ///
    /// SQL: `select id, text from posts`.
    pub fn from<T: Table + Select<From = T>>(&self) -> TableRef<T, T, Self> {
        TableRef::typed(self.clone())
    }

    /// A table by its name.
    ///
    /// ```
    /// # use sluice_sdk::Offline;
    /// let call = Offline::default().table("posts").read().call()?;
    /// assert_eq!(call.request.uri(), "/posts");
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    ///
    /// SQL: `select * from posts`.
    pub fn table(&self, name: &str) -> TableRef<Any, serde_json::Value, Self> {
        TableRef::untyped(self.clone(), name)
    }

    /// A call of a function.
    ///
    /// ```
    /// # use sluice_sdk::{Client, Error, Function, Offline, Select, Table, col, serde::{Deserialize, Serialize}};
    /// # #[derive(Table, Deserialize)] #[serde(crate = "sluice_sdk::serde")] #[table(name = "latest")]
    /// # struct Post { #[table(primary_key)] id: i64, text: String }
    /// # #[derive(Select, Deserialize)] #[serde(crate = "sluice_sdk::serde")] #[select(from = Post)]
    /// # struct Title { text: String }
    /// # #[derive(Serialize, Function)] #[serde(crate = "sluice_sdk::serde")]
    /// # #[function(name = "latest", returns = Vec<Post>, read_only)] struct Latest { n: i32 }
    /// let call = Offline::default().rpc(Latest { n: 9 }).call()?;
    /// assert_eq!(call.request.uri(), "/rpc/latest");
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    ///
    /// SQL: `select * from latest(n => 9)`.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "it is called like the client's method"
    )]
    pub fn rpc<F: Function>(&self, function: F) -> Rpc<F, F::Output, Self> {
        rpc::typed(self.clone(), &function)
    }

    /// A call of a function by its name.
    ///
    /// ```
    /// # use sluice_sdk::{Offline, serde_json::json};
    /// let call = Offline::default().rpc_by_name("latest", &json!({"n": 9})).call()?;
    /// assert_eq!(call.request.uri(), "/rpc/latest");
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    ///
    /// SQL: `select * from latest(n => 9)`.
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
