//! Reads: pages, counts, one row, and other formats.

use serde::Deserialize;
use serde_json::{Value, json};
use sluice_sdk::{Count, Select, col, error::ErrorKind, query::Explain};

use super::schema::{Id, IdAndBody, OpenPost, Post, Status, ids};
use super::{Case, never, recorded, reworded};

#[derive(Debug, Deserialize, Select, PartialEq)]
#[select(from = Post)]
struct Moved {
    id: i64,
    moved_to: Option<i64>,
}

#[derive(Debug, Deserialize, Select)]
#[select(from = Post)]
struct Tally {
    #[serde(rename = "status")]
    #[select(column = status)]
    _status: Status,
    #[select(count)]
    #[serde(rename = "count")]
    _count: i64,
}

pub(super) const CASES: &[Case] = &[
    recorded("read all columns", |db| {
        Box::pin(async move {
            let rows = db.table("posts").rows::<Post>().limit(2).await?;
            let Post {
                id,
                neighborhood_id,
                moved_to,
                status,
                views,
                ..
            } = &rows[1];
            assert_eq!((*id, *neighborhood_id, *moved_to, *views), (2, 3, None, 0));
            assert_eq!((*status, rows[1].hash.as_str()), (Status::Open, "h2"));
            assert_eq!(rows[1].tags, ["a", "b c"]);
            assert_eq!(rows[1].meta["deep"]["k.ey"], 2);
            assert_eq!(rows[1].created_at.to_string(), "2026-01-01T00:00:00Z");
            assert!(
                rows[1]
                    .during
                    .as_ref()
                    .unwrap()
                    .starts_with("[\"2026-01-01")
            );
            Ok(())
        })
    }),
    recorded("select, order, limit, offset", |db| {
        Box::pin(async move {
            let read = db.from::<Post>().select::<IdAndBody>();
            let read = read.order(Post::ID.desc().nulls_last()).limit(2).offset(3);
            let rows = read.await?;
            assert_eq!((rows[0].id, rows[1].id), (27, 26));
            assert_eq!(rows[0].body, "post number 27");
            Ok(())
        })
    }),
    recorded("count exact", |db| {
        Box::pin(async move {
            let read = db.from::<Post>().select::<Id>().limit(2);
            let page = read.clone().count(Count::Exact).page().await?;
            assert_eq!((page.first, page.total), (Some(0), Some(30)));
            assert_eq!(ids(&page.rows), [1, 2]);
            Ok(())
        })
    }),
    recorded("count planned", |db| {
        Box::pin(async move {
            // One row more is read, because an estimate does not say whether there is another.
            let read = db.from::<Post>().select::<Id>().limit(1);
            let page = read.count(Count::Planned).page().await?;
            assert_eq!(
                (page.rows.len(), page.total, page.more),
                (1, Some(370), Some(true))
            );
            Ok(())
        })
    }),
    recorded("count estimated", |db| {
        Box::pin(async move {
            // One row more is read, because an estimate does not say whether there is another.
            let read = db.from::<Post>().select::<Id>().limit(1);
            let page = read.count(Count::Estimated).page().await?;
            assert_eq!(
                (page.rows.len(), page.total, page.more),
                (1, Some(370), Some(true))
            );
            Ok(())
        })
    }),
    reworded(
        "range header",
        "GET /posts?select=id&order=id.asc&limit=4&offset=5",
        "a window is said by parameters, which count for embedded rows too; one row more tells whether there are more",
        |db| {
            Box::pin(async move {
                let read = db.from::<Post>().select::<Id>().order(Post::ID.asc());
                let page = read.offset(5).limit(3).page().await?;
                assert_eq!((ids(&page.rows), page.first), (vec![6, 7, 8], Some(5)));
                Ok(())
            })
        },
    ),
    recorded("range past the end with count", |db| {
        Box::pin(async move {
            let read = db.from::<Post>().select::<Id>().offset(99);
            let page = read.count(Count::Exact).page().await?;
            assert_eq!(
                (page.rows.len(), page.first, page.total),
                (0, None, Some(30))
            );
            Ok(())
        })
    }),
    recorded("range past the end", |db| {
        Box::pin(async move {
            let page = db.from::<Post>().select::<Id>().offset(99).page().await?;
            assert_eq!((page.rows.len(), page.first, page.total), (0, None, None));
            Ok(())
        })
    }),
    recorded("empty result", |db| {
        Box::pin(async move {
            let rows = db.table("posts").filter(col("id").eq(0)).rows::<Post>();
            assert!(rows.await?.is_empty());
            Ok(())
        })
    }),
    recorded("head with count", |db| {
        Box::pin(async move {
            assert_eq!(db.table("posts").count_rows(Count::Exact).await?, 30);
            Ok(())
        })
    }),
    recorded("aggregate", |db| {
        Box::pin(async move {
            let tally = db.from::<Post>().select::<Tally>().await;
            let error = tally.map(drop).unwrap_err();
            assert_eq!(error.pgrst_code(), Some("PGRST123"));
            Err(error)
        })
    }),
    recorded("view", |db| {
        Box::pin(async move {
            let rows = db.table("open_posts").limit(1).rows::<OpenPost>().await?;
            let OpenPost {
                id,
                body,
                neighborhood_id,
            } = &rows[0];
            assert_eq!(
                (*id, body.as_str(), *neighborhood_id),
                (1, "post number 1", 2)
            );
            Ok(())
        })
    }),
    recorded("singular one", |db| {
        Box::pin(async move {
            let read = db.from::<Post>().select::<IdAndBody>();
            let one = read.filter(Post::ID.eq(1)).single().await?;
            assert_eq!((one.id, one.body.as_str()), (1, "post number 1"));
            Ok(())
        })
    }),
    recorded("singular none", |db| {
        Box::pin(async move {
            let read = db.from::<Post>().select::<Id>().filter(Post::ID.eq(0));
            let error = read.single().await.unwrap_err();
            assert!(error.is_not_found() && error.is_row_count() && !error.is_retryable());
            Err(error)
        })
    }),
    recorded("singular many", |db| {
        Box::pin(async move {
            let read = db.from::<Post>().select::<Id>();
            let error = read.single().await.unwrap_err();
            assert!(!error.is_not_found() && error.is_row_count());
            Err(error)
        })
    }),
    recorded("csv", |db| {
        Box::pin(async move {
            let csv = db
                .from::<Post>()
                .select::<IdAndBody>()
                .limit(2)
                .csv()
                .await?;
            let lines: Vec<&str> = csv.lines().collect();
            assert_eq!(
                lines,
                ["id,body", "1,\"post number 1\"", "2,\"post number 2\""]
            );
            Ok(())
        })
    }),
    recorded("nulls stripped", |db| {
        Box::pin(async move {
            let read = db.from::<Post>().select::<Moved>().limit(2);
            let rows = read.nulls_stripped().await?;
            let (id, moved_to) = (1, None);
            assert_eq!(rows[0], Moved { id, moved_to });
            Ok(())
        })
    }),
    recorded("plan", |db| {
        Box::pin(async move {
            let read = db.table("posts").filter(col("id").eq(1));
            let plan = read.explain(Explain::plan()).await?;
            let node = &plan[0]["Plan"]["Plans"][0];
            assert_eq!(node["Index Name"], "posts_pkey");
            Ok(())
        })
    }),
    never(
        "not acceptable",
        "the SDK asks for what PostgREST has; GeoJSON is what a database may lack",
        |db| {
            Box::pin(async move {
                let error = db.table("posts").read().geojson().await.unwrap_err();
                assert_eq!(error.pgrst_code(), Some("PGRST107"));
                Err(error)
            })
        },
    ),
    never(
        "unknown preference, strict",
        "the SDK prefers only what PostgREST knows",
        |db| {
            Box::pin(async move {
                let read = db.table("posts").limit(1);
                let strict = read.handling(sluice_sdk::query::Handling::Strict);
                let error = strict.await.unwrap_err();
                assert_eq!(error.pgrst_code(), Some("PGRST122"));
                Err(error)
            })
        },
    ),
];

/// The same responses to the paired methods, which send other requests.
#[tokio::test]
async fn reads_of_one_row_report_none_and_too_many() {
    let answered = |name: &str| {
        let response = super::EXCHANGES[name].response.clone();
        crate::memory::client(&super::Fake::new(move |_| super::reply(&response)))
    };
    let none = answered("empty result").table("posts").maybe_single().await;
    assert_eq!(none.unwrap(), None);
    let many = answered("count exact").table("posts").maybe_single().await;
    assert_eq!(many.unwrap_err().kind(), ErrorKind::RowCount);
    let update = answered("singular none")
        .table("posts")
        .update()
        .set(col("views"), 1);
    let update = update.filter(col("id").eq(0)).returning_rows::<Value>();
    assert_eq!(update.maybe_single().await.unwrap(), None);
    let row = json!({"name": "x"});
    let insert = answered("singular none").table("t").insert_one(&row);
    let written = insert.returning_rows::<Value>().maybe_single().await;
    assert_eq!(written.unwrap(), None);
}
