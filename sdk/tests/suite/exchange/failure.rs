//! Refusals: of the schema, of the role, of the grammar.

use serde_json::json;
use sluice_sdk::{Client, Error, Filter, col, error::ErrorKind, schema::Any};

use super::schema::{Neighborhood, Secret};
use super::{Case, never, recorded};

/// Runs a correct query that gets the recorded response to a wrong one.
async fn misread(db: Client) -> Result<(), Error> {
    let error = db.table("posts").filter(col("id").eq(1)).await.unwrap_err();
    assert!(!error.is_retryable() && !error.is_data_error(), "{error}");
    Err(error)
}

pub(super) const CASES: &[Case] = &[
    recorded("head of a missing table", |db| {
        Box::pin(async move {
            let count = db.table("nope").count_rows(sluice_sdk::Count::Exact);
            count.await.map(drop)
        })
    }),
    recorded("head bad column", |db| {
        Box::pin(async move {
            let read = db.table("posts").filter(col("nope").eq(1));
            read.count_rows(sluice_sdk::Count::Exact).await.map(drop)
        })
    }),
    recorded("missing table", |db| {
        Box::pin(async move {
            let error = db.table("nope").await.unwrap_err();
            assert!(error.is_schema_missing() && !error.is_not_found());
            Err(error)
        })
    }),
    recorded("unknown schema", |db| {
        Box::pin(async move {
            let error = db.table("posts").schema("nope").await.unwrap_err();
            assert!(error.is_schema_missing());
            Err(error)
        })
    }),
    recorded("permission denied", |db| {
        Box::pin(async move {
            let error = db.table("embeddings").await.unwrap_err();
            assert!(error.is_permission_denied() && !error.is_data_error());
            Err(error)
        })
    }),
    recorded("anonymous write denied", |db| {
        Box::pin(async move {
            let rows = [json!({"name": "x", "slug": "x"})];
            let error = db.from::<Neighborhood>().insert(&rows).await.unwrap_err();
            assert!(error.is_permission_denied());
            assert_eq!(error.write_report().unwrap().pending, [0]);
            Err(error)
        })
    }),
    recorded("row security hides rows", |db| {
        Box::pin(async move {
            assert!(db.table("secrets").rows::<Secret>().await?.is_empty());
            Ok(())
        })
    }),
    recorded("row security with a user's token", |db| {
        Box::pin(async move {
            let ann = db.as_user(&"eyJ.ann.x".into())?;
            let rows = ann.table("secrets").rows::<Secret>().await?;
            let Secret { id, owner, note } = &rows[0];
            assert_eq!((*id, owner.as_str(), note.as_str()), (1, "ann", "hers"));
            Ok(())
        })
    }),
    recorded("bad token", |db| {
        Box::pin(async move {
            let error = db.as_user(&"x".into())?.table("posts").await.unwrap_err();
            assert!(error.is_unauthorized() && !error.is_retryable());
            Err(error)
        })
    }),
    recorded("expired token", |db| {
        Box::pin(async move {
            let error = db.as_user(&"x".into())?.table("posts").await.unwrap_err();
            assert!(error.is_unauthorized());
            Err(error)
        })
    }),
    recorded("role that does not exist", |db| {
        Box::pin(async move {
            let error = db.as_user(&"x".into())?.table("posts").await.unwrap_err();
            assert_eq!(error.sqlstate(), Some("22023"));
            Err(error)
        })
    }),
    never("bad operator", "every operator is a method", |db| {
        Box::pin(misread(db))
    }),
    never("bad select", "names are quoted where they must be", |db| {
        Box::pin(misread(db))
    }),
    never("bad order", "a direction is a method", |db| {
        Box::pin(misread(db))
    }),
    never("bad limit", "a limit is a `u64`", |db| {
        Box::pin(misread(db))
    }),
    never(
        "empty or",
        "it is refused before anything is sent, since no filter means that no row may match",
        |db| {
            Box::pin(async move {
                let none = Filter::<Any>::any([]);
                let error = db.table("posts").filter(none).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Invalid);
                misread(db).await
            })
        },
    ),
    never("method not allowed", "an upsert goes by POST", |db| {
        Box::pin(async move {
            let rows = [json!({"id": 1})];
            let error = db.table("open_posts").upsert(&rows).await.unwrap_err();
            assert_eq!(error.pgrst_code(), Some("PGRST105"));
            Err(error)
        })
    }),
    never("options", "no browser is asked for its leave", |db| {
        Box::pin(async move {
            // An empty response is that of a function without a result.
            db.rpc_by_name("nothing", &json!({})).output::<()>().await
        })
    }),
];
