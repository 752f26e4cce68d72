//! Whether the server rolls back a dry run. It is asked before anything is written.

use http::Method;

use super::{Endpoint, Execute, Query};
use crate::error::{Error, ErrorKind};
use crate::request::{Format, Path, Prefer, Safety};

/// Fails if a dry run would be committed. A client that knows sends nothing.
pub(super) async fn check<C: Execute>(
    context: &C,
    prefer: &Prefer,
    endpoint: &Endpoint,
) -> Result<(), Error> {
    if !prefer.rollback {
        return Ok(());
    }
    let known = context.learned().and_then(super::Learned::rolls_back);
    let rolls_back = match (known, &endpoint.path) {
        (Some(known), _) => known,
        (None, Path::Table(_)) => ask(context, endpoint).await?,
        (None, Path::Function(_)) => {
            return Err(Error::invalid(
                "it is not known whether the server rolls back a dry run, and a function cannot be asked without running it; ask a table first: `db.table(\"…\").rolls_back().await?`",
            ));
        }
    };
    if rolls_back {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Invalid,
        "the server does not roll back a dry run, so nothing was sent; set `db-tx-end = commit-allow-override`",
    ))
}

/// Asks by a read of no rows, which may be rolled back too.
pub(super) async fn ask<C: Execute>(context: &C, endpoint: &Endpoint) -> Result<bool, Error> {
    let mut query = Query::new(endpoint.clone());
    query.window.limit = Some(0);
    query.options.prefer.rollback = true;
    let schema = context.defaults().schema.as_deref();
    let call = query
        .draft(Method::GET, Safety::Read, Format::Json, schema)?
        .build()?;
    let response = context.execute(call).await?;
    let rolls_back = response.has_applied("tx=rollback");
    if let Some(learned) = context.learned() {
        learned.set_rolls_back(rolls_back);
    }
    Ok(rolls_back)
}
