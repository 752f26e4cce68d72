//! Where results about posts go: one function call a write, which also ends the leases.

use serde::de::DeserializeOwned;
use sluice_sdk::Function;

use crate::db::Database;
use crate::engine::{Item, Sink, StorageError};

/// Makes the call that stores rows.
type Store<R, C> = Box<dyn Fn(&[R]) -> C + Send + Sync>;

/// Writes rows with a function of the database.
pub(super) struct PostSink<R, C> {
    database: Database,
    rows_max: usize,
    store: Store<R, C>,
}

impl<R, C> PostSink<R, C> {
    /// `store` makes the call for rows. A call has at most `rows_max` of them.
    pub(super) fn new(
        database: &Database,
        rows_max: usize,
        store: impl Fn(&[R]) -> C + Send + Sync + 'static,
    ) -> Self {
        Self {
            database: database.clone(),
            rows_max,
            store: Box::new(store),
        }
    }
}

impl<R, C> Sink for PostSink<R, C>
where
    R: Item,
    C: Function<Output: DeserializeOwned> + 'static,
{
    type Output = R;

    fn rows_max(&self) -> usize {
        self.rows_max
    }

    async fn write(&self, rows: &[R]) -> Result<(), StorageError> {
        self.database.call((self.store)(rows)).await?;
        Ok(())
    }
}
