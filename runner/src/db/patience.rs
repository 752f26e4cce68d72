//! Every request to the database is repeated for as long as the patience with it, if it may be.

use std::error::Error as StdError;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sluice_sdk::Error;

use crate::engine::{self, Patience, Setback};

/// The patience with the database, as the SDK asks for it.
pub(super) struct Waits(pub(super) Patience);

/// The wait of one request.
struct Wait(engine::Wait);

impl sluice_sdk::client::Patience for Waits {
    fn begin(&self) -> Box<dyn sluice_sdk::client::Wait> {
        Box::new(Wait(self.0.begin()))
    }
}

impl sluice_sdk::client::Wait for Wait {
    fn wait<'a>(
        &'a mut self,
        error: &'a Error,
    ) -> BoxFuture<'a, Result<(), Box<dyn StdError + Send + Sync>>> {
        let setback = Setback {
            why: error,
            asked: error.retry_after(),
            is_limit: false,
        };
        async move { self.0.pause(setback).await.map_err(Into::into) }.boxed()
    }
}
