//! Writes: inserts, upserts, updates, deletes, and bad rows.

use serde::{Deserialize, Serialize};
use serde_json::{Number, Value, json};
use sluice_sdk::{Error, Select, Tristate, col, write::WriteReport};

use super::schema::{Id, IdAndSlug, IdAndViews, Neighborhood, Post, PostEmbedding, ids};
use super::{Case, never, recorded, reworded};

#[derive(Clone, Debug, Default, Serialize)]
struct NewNeighborhood {
    name: &'static str,
    slug: &'static str,
    /// It has a default, and can be null.
    #[serde(skip_serializing_if = "Tristate::is_absent")]
    weight: Tristate<f64>,
}

fn new(name: &'static str, slug: &'static str) -> NewNeighborhood {
    let weight = Tristate::Absent;
    NewNeighborhood { name, slug, weight }
}

#[derive(Debug, Deserialize, Select)]
#[select(from = Neighborhood)]
struct NameAndSlug {
    name: String,
    slug: String,
}

#[derive(Debug, Deserialize, Select)]
#[select(from = Neighborhood)]
struct SlugAndWeight {
    slug: String,
    weight: Option<Number>,
}

#[derive(Debug, Deserialize, Select)]
#[select(from = PostEmbedding)]
struct Vector {
    post_id: i64,
    embedding: String,
}

/// The error of the one row that was refused.
fn refused(report: WriteReport) -> Error {
    assert_eq!((report.written(), report.failed.len()), (0, 1));
    report.into_result().unwrap_err()
}

pub(super) const CASES: &[Case] = &[
    recorded("insert minimal", |db| {
        Box::pin(async move {
            let rows = [new("N1", "n1"), new("N2", "n2")];
            let report = db.from::<Neighborhood>().insert(&rows).await?;
            assert!(report.is_complete() && report.written() == 2);
            Ok(())
        })
    }),
    recorded("insert representation with count", |db| {
        Box::pin(async move {
            let rows = [new("N3", "n3")];
            let insert = db.from::<Neighborhood>().insert(&rows);
            let written = insert.returning::<IdAndSlug>().await?;
            assert_eq!((written.rows[0].id, written.report.affected), (6, 1));
            Ok(())
        })
    }),
    reworded(
        "insert headers-only",
        r#"POST /neighborhoods?columns=name,slug [{"name":"N4","slug":"n4"}]"#,
        "a write gives back rows or nothing: the row's columns, not the address of the row",
        |db| {
            Box::pin(async move {
                let rows = [new("N4", "n4")];
                let report = db.from::<Neighborhood>().insert(&rows).await?;
                assert_eq!(report.written(), 1);
                Ok(())
            })
        },
    ),
    recorded("unique violation", |db| {
        Box::pin(async move {
            let rows = [new("again", "n1")];
            let error = refused(db.from::<Neighborhood>().insert(&rows).await?);
            assert!(error.is_unique_violation("neighborhoods_slug_key"));
            assert!(!error.is_unique_violation("another_key") && !error.is_retryable());
            Err(error)
        })
    }),
    recorded("upsert ignore duplicates", |db| {
        Box::pin(async move {
            let rows = [new("again", "n1"), new("N5", "n5")];
            let upsert = db.from::<Neighborhood>().upsert(&rows);
            let upsert = upsert.on_conflict(Neighborhood::SLUG).ignore_duplicates();
            let written = upsert.returning::<IdAndSlug>().await?;
            assert_eq!(
                (written.rows.len(), written.rows[0].slug.as_str()),
                (1, "n5")
            );
            assert_eq!((written.report.written(), written.report.affected), (2, 1));
            Ok(())
        })
    }),
    recorded("upsert merge duplicates", |db| {
        Box::pin(async move {
            let rows = [new("renamed", "n1")];
            let upsert = db.from::<Neighborhood>().upsert(&rows);
            let upsert = upsert.on_conflict(Neighborhood::SLUG);
            let written = upsert.returning::<NameAndSlug>().await?;
            let NameAndSlug { name, slug } = &written.rows[0];
            assert_eq!((name.as_str(), slug.as_str()), ("renamed", "n1"));
            Ok(())
        })
    }),
    reworded(
        "upsert twice the same key",
        r#"POST /neighborhoods?on_conflict=slug&columns=name,slug [{"name":"b","slug":"n1"}]"#,
        "only the later row is sent, so the server has nothing to refuse",
        |db| {
            Box::pin(async move {
                let rows = [new("a", "n1"), new("b", "n1")];
                let upsert = db.from::<Neighborhood>().upsert(&rows);
                let upsert = upsert.on_conflict(Neighborhood::SLUG).all_or_nothing();
                let error = upsert.await.unwrap_err();
                assert!(error.is_data_error() && error.sqlstate() == Some("21000"));
                assert_eq!(error.write_report().unwrap().pending, [1]);
                Err(error)
            })
        },
    ),
    recorded("upsert on no constraint", |db| {
        Box::pin(async move {
            let rows = [new("a", "zz")];
            let upsert = db.from::<Neighborhood>().upsert(&rows);
            let error = upsert.on_conflict(Neighborhood::NAME).await.unwrap_err();
            assert!(!error.is_data_error() && error.sqlstate() == Some("42P10"));
            Err(error)
        })
    }),
    never(
        "bulk with different keys",
        "rows with different keys go in requests of their own",
        |db| {
            Box::pin(async move {
                let mut rows = [new("k", "k1"), new("k", "k2")];
                rows[1].weight = Tristate::Value(2.0);
                let report = db.from::<Neighborhood>().insert(&rows).await?;
                assert_eq!((report.requests, report.failed.len()), (2, 2));
                report.into_result().map(drop)
            })
        },
    ),
    reworded(
        "missing default",
        r#"POST /neighborhoods?select=slug,weight&columns=name,slug [{"name":"k","slug":"k3"}]"#,
        "a column that is not listed gets its default too",
        |db| {
            Box::pin(async move {
                let rows = [new("k", "k3")];
                let insert = db.from::<Neighborhood>().insert(&rows);
                let row = &insert.returning::<SlugAndWeight>().await?.rows[0];
                let weight = row.weight.as_ref().unwrap().as_f64();
                assert_eq!((row.slug.as_str(), weight), ("k3", Some(1.0)));
                Ok(())
            })
        },
    ),
    reworded(
        "missing null",
        "POST /neighborhoods?select=slug,weight&columns=name,slug,weight \
         [{\"name\":\"k\",\"slug\":\"k4\",\"weight\":null}]",
        "a null is written as null, which no other preference can turn into a default",
        |db| {
            Box::pin(async move {
                let mut rows = [new("k", "k4")];
                rows[0].weight = Tristate::Null;
                let insert = db.from::<Neighborhood>().insert(&rows);
                let row = &insert.returning::<SlugAndWeight>().await?.rows[0];
                assert_eq!((row.slug.as_str(), &row.weight), ("k4", &None));
                Ok(())
            })
        },
    ),
    recorded("not null violation", |db| {
        Box::pin(async move {
            let rows = [json!({"slug": "k5"})];
            let error = refused(db.from::<Neighborhood>().insert(&rows).await?);
            assert!(error.is_data_error() && error.sqlstate() == Some("23502"));
            Err(error)
        })
    }),
    recorded("check violation", |db| {
        Box::pin(async move {
            let body = "x".repeat(300);
            let rows = [json!({"neighborhood_id": 1, "body": body, "hash": "q"})];
            let error = refused(db.from::<Post>().insert(&rows).await?);
            assert_eq!(error.constraint(), Some("posts_body_check"));
            Err(error)
        })
    }),
    recorded("foreign key violation", |db| {
        Box::pin(async move {
            let rows = [json!({"neighborhood_id": 999, "body": "x", "hash": "q"})];
            let error = refused(db.from::<Post>().insert(&rows).await?);
            assert!(error.is_foreign_key_violation());
            assert_eq!(error.constraint(), Some("posts_neighborhood_id_fkey"));
            Err(error)
        })
    }),
    recorded("bad enum value", |db| {
        Box::pin(async move {
            let rows = [json!({"neighborhood_id": 1, "body": "x", "hash": "q", "status": "ajar"})];
            let error = refused(db.from::<Post>().insert(&rows).await?);
            assert!(error.is_data_error() && error.sqlstate() == Some("22P02"));
            Err(error)
        })
    }),
    recorded("unknown column in body", |db| {
        Box::pin(async move {
            let rows = [json!({"name": "x", "slug": "x", "colour": 1})];
            let error = db.from::<Neighborhood>().insert(&rows).await.unwrap_err();
            assert!(error.is_schema_missing());
            Err(error)
        })
    }),
    never(
        "body not json",
        "a body is what serde_json has written",
        |db| {
            Box::pin(async move {
                let rows = [new("x", "x")];
                let error = refused(db.from::<Neighborhood>().insert(&rows).await?);
                assert_eq!(error.pgrst_code(), Some("PGRST102"));
                Err(error)
            })
        },
    ),
    never("empty array", "no row is no request", |db| {
        Box::pin(async move {
            let rows: [NewNeighborhood; 0] = [];
            let insert = db.from::<Neighborhood>().insert(&rows);
            let written = insert.returning::<IdAndSlug>().await?;
            assert!(written.rows.is_empty() && written.report.is_complete());
            assert_eq!(written.report.requests, 0);
            Ok(())
        })
    }),
    recorded("text with nul", |db| {
        Box::pin(async move {
            let rows = [new("a\0b", "nul")];
            let error = refused(db.from::<Neighborhood>().insert(&rows).await?);
            assert!(error.is_data_error() && error.sqlstate() == Some("22P05"));
            Err(error)
        })
    }),
    recorded("vector as text", |db| {
        Box::pin(async move {
            let (embedding, model) = ("[0.1,0.2,0.3]".to_owned(), String::new());
            let rows = [PostEmbedding {
                post_id: 11,
                embedding,
                model,
            }];
            let upsert = db.from::<PostEmbedding>().upsert(&rows);
            let upsert = upsert.on_conflict(PostEmbedding::POST_ID);
            let row = &upsert.returning::<Vector>().await?.rows[0];
            let vector = row.embedding.as_str();
            assert_eq!((row.post_id, vector), (11, "[0.1,0.2,0.3]"));
            Ok(())
        })
    }),
    recorded("vector as array", |db| {
        Box::pin(async move {
            let rows = [json!({"post_id": 12, "embedding": [0.1, 0.2, 0.3]})];
            let upsert = db.from::<PostEmbedding>().upsert(&rows);
            let upsert = upsert.on_conflict(PostEmbedding::POST_ID);
            let written = upsert.returning::<Vector>().await?;
            assert_eq!(written.rows[0].embedding, "[0.1,0.2,0.3]");
            Ok(())
        })
    }),
    recorded("vector of wrong size", |db| {
        Box::pin(async move {
            let rows = [json!({"post_id": 13, "embedding": "[0.1]"})];
            let error = refused(db.from::<PostEmbedding>().insert(&rows).await?);
            assert!(error.is_data_error() && error.sqlstate() == Some("22000"));
            Err(error)
        })
    }),
    recorded("update returning", |db| {
        Box::pin(async move {
            let update = db.from::<Post>().update().set(Post::VIEWS, 7);
            let update = update.filter(Post::ID.in_([1, 2]));
            let rows = update.returning::<IdAndViews>().await?;
            let (id, views) = (2, 7);
            assert_eq!(rows[1], IdAndViews { id, views });
            Ok(())
        })
    }),
    recorded("update none", |db| {
        Box::pin(async move {
            let update = db
                .from::<Post>()
                .update()
                .set(Post::VIEWS, 7)
                .filter(Post::ID.eq(0));
            assert_eq!(update.await?, 0);
            Ok(())
        })
    }),
    recorded("update rolled back", |db| {
        Box::pin(async move {
            let update = db.from::<Post>().update().patch(&json!({"views": 99}));
            let update = update.filter(Post::ID.eq(3)).dry_run();
            let rows = update.returning::<IdAndViews>().await?;
            assert_eq!((rows[0].id, rows[0].views), (3, 99));
            Ok(())
        })
    }),
    recorded("max-affected exceeded", |db| {
        Box::pin(async move {
            let update = db
                .from::<Post>()
                .update()
                .set(Post::VIEWS, 1)
                .filter(Post::ID.lt(10));
            let error = update.max_affected(2).await.unwrap_err();
            assert_eq!(error.pgrst_code(), Some("PGRST124"));
            Err(error)
        })
    }),
    recorded("singular update of many", |db| {
        Box::pin(async move {
            let update = db.table("posts").update().set(col("views"), 1);
            let update = update.filter(col("id").lt(10)).returning_rows::<Value>();
            let error = update.single().await.unwrap_err();
            assert!(error.is_row_count() && !error.is_not_found());
            Err(error)
        })
    }),
    recorded("delete returning", |db| {
        Box::pin(async move {
            let delete = db.from::<Post>().delete().filter(Post::ID.eq(30));
            assert_eq!(ids(&delete.returning::<Id>().await?), [30]);
            Ok(())
        })
    }),
    recorded("delete restricted by key", |db| {
        Box::pin(async move {
            let delete = db.from::<Neighborhood>().delete();
            let error = delete.filter(Neighborhood::ID.eq(1)).await.unwrap_err();
            assert!(error.is_foreign_key_violation());
            assert_eq!(error.constraint(), Some("posts_neighborhood_id_fkey"));
            Err(error)
        })
    }),
];
