//! Filters and what is selected of a row.

use jiff::civil::{Date, date};
use serde::Deserialize;
use sluice_sdk::{Search, Select, any, col, query::Selection, schema::Range};

use super::schema::{Id, IdAndSlug, Neighborhood, Post, Status, ids};
use super::{Case, recorded, reworded};

#[derive(Debug, Deserialize, Select)]
#[select(from = Neighborhood)]
struct NeighborhoodId {
    id: i64,
}

#[derive(Debug, Deserialize, Select)]
#[select(from = Post)]
struct Deep {
    id: i64,
    #[select(column = meta, json_text = ["deep", "k.ey"])]
    #[serde(rename = "k.ey")]
    key: Option<String>,
}

#[derive(Debug, Deserialize, Select)]
#[select(from = Post)]
struct Texts {
    #[select(column = id, cast = "text")]
    key: String,
    #[select(cast = "text")]
    views: String,
}

#[derive(Debug, Deserialize, Select)]
#[select(from = Post)]
struct Shouted {
    id: i64,
    shout: String,
}

pub(super) const CASES: &[Case] = &[
    recorded("in list", |db| {
        Box::pin(async move {
            let read = db.from::<Neighborhood>().select::<IdAndSlug>();
            let slugs = Neighborhood::SLUG.in_(["arbor-lodge", "obrien"]);
            let rows = read.filter(slugs).await?;
            assert_eq!((rows[0].id, rows[1].slug.as_str()), (1, "obrien"));
            Ok(())
        })
    }),
    recorded("in list of names with reserved characters", |db| {
        Box::pin(async move {
            let read = db.from::<Neighborhood>().select::<NeighborhoodId>();
            let names = Neighborhood::NAME.in_(["O\"Brien, (upper)", "St. Johns"]);
            let rows = read.filter(names).await?;
            assert_eq!((rows[0].id, rows[1].id), (2, 3));
            Ok(())
        })
    }),
    recorded("url of nine kilobytes", |db| {
        Box::pin(async move {
            let read = db.from::<Post>().select::<Id>();
            assert!(
                read.filter(Post::ID.in_(100_000..101_300))
                    .await?
                    .is_empty()
            );
            Ok(())
        })
    }),
    recorded("or with nested and", |db| {
        Box::pin(async move {
            let late_and_open = Post::ID.gt(28).and(Post::STATUS.eq(Status::Open));
            let read = db.from::<Post>().select::<Id>();
            let rows = read.filter(Post::ID.eq(1).or(late_and_open)).await?;
            assert_eq!(ids(&rows), [1, 29, 30]);
            Ok(())
        })
    }),
    recorded("not and", |db| {
        Box::pin(async move {
            let middle = Post::ID.gte(3).and(Post::ID.lte(30));
            let rows = db.from::<Post>().select::<Id>().filter(!middle).await?;
            assert_eq!(ids(&rows), [1, 2]);
            Ok(())
        })
    }),
    recorded("array contains", |db| {
        Box::pin(async move {
            let read = db.from::<Post>().select::<Id>().limit(2);
            let rows = read.filter(Post::TAGS.contains(["b c"])).await?;
            assert_eq!(ids(&rows), [2, 4]);
            Ok(())
        })
    }),
    recorded("range overlaps", |db| {
        Box::pin(async move {
            let day = date(2026, 1, 15)..date(2026, 1, 16);
            let during = Post::DURING.typed::<Range<Date>>();
            let read = db.from::<Post>().select::<Id>().limit(1);
            assert_eq!(ids(&read.filter(during.overlaps(day)).await?), [1]);
            Ok(())
        })
    }),
    recorded("json path", |db| {
        Box::pin(async move {
            let late = Post::META.key("n").typed::<i64>().gt(28);
            let rows = db.from::<Post>().select::<Deep>().filter(late).await?;
            assert_eq!((rows[1].id, rows[1].key.as_deref()), (30, Some("30")));
            Ok(())
        })
    }),
    recorded("cast and alias", |db| {
        Box::pin(async move {
            let rows = db.from::<Post>().select::<Texts>().limit(1).await?;
            assert_eq!((rows[0].key.as_str(), rows[0].views.as_str()), ("1", "0"));
            Ok(())
        })
    }),
    recorded("computed column", |db| {
        Box::pin(async move {
            let rows = db.from::<Post>().select::<Shouted>().limit(1).await?;
            assert_eq!((rows[0].id, rows[0].shout.as_str()), (1, "POST NUMBER 1"));
            Ok(())
        })
    }),
    recorded("is null", |db| {
        Box::pin(async move {
            let read = db.from::<Post>().select::<Id>().limit(2);
            let rows = read.filter(Post::MOVED_TO.is_null()).await?;
            assert_eq!(ids(&rows), [1, 2]);
            Ok(())
        })
    }),
    recorded("isdistinct", |db| {
        Box::pin(async move {
            let read = db.from::<Post>().select::<Id>().limit(2);
            let rows = read.filter(Post::MOVED_TO.is_distinct(2)).await?;
            assert_eq!(ids(&rows), [1, 2]);
            Ok(())
        })
    }),
    reworded(
        "like any",
        r#"GET /posts?select=id&body=like(any).{"%number 1","%number 2"}"#,
        "`%` stands for any text as in SQL, and a `*` would be a star",
        |db| {
            Box::pin(async move {
                let patterns = any(["%number 1", "%number 2"]);
                let read = db.from::<Post>().select::<Id>();
                let rows = read.filter(Post::BODY.like(patterns)).await?;
                assert_eq!(ids(&rows), [1, 2]);
                Ok(())
            })
        },
    ),
    recorded("full text", |db| {
        Box::pin(async move {
            let search = Search::plain("number").config("english");
            let read = db.from::<Post>().select::<Id>().limit(1);
            assert_eq!(ids(&read.filter(Post::BODY.search(search)).await?), [1]);
            Ok(())
        })
    }),
    recorded("regex", |db| {
        Box::pin(async move {
            let read = db.from::<Post>().select::<Id>().limit(2);
            let rows = read.filter(Post::BODY.matches("1$")).await?;
            assert_eq!(ids(&rows), [1, 11]);
            Ok(())
        })
    }),
    recorded("missing column", |db| {
        Box::pin(async move {
            let nope = Selection::new().column(col("nope"));
            let error = db.table("posts").selection(nope).await.unwrap_err();
            assert!(error.is_schema_missing() && error.sqlstate() == Some("42703"));
            Err(error)
        })
    }),
    recorded("filter on missing column", |db| {
        Box::pin(async move {
            let read = db.table("posts").filter(col("nope").eq(1));
            let error = read.await.unwrap_err();
            assert!(error.is_schema_missing());
            Err(error)
        })
    }),
    recorded("bad value for type", |db| {
        Box::pin(async move {
            let read = db.table("posts").filter(col("id").eq("x"));
            let error = read.await.unwrap_err();
            assert!(error.is_data_error() && error.sqlstate() == Some("22P02"));
            Err(error)
        })
    }),
];
