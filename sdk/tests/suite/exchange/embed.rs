//! Rows inside rows.

use serde::Deserialize;
use sluice_sdk::{Select, Table};

use super::schema::{Id, Neighborhood, Post, PostEmbedding, Secret, Slug, ids};
use super::{Case, recorded};

#[derive(Debug, Deserialize, Select)]
#[select(from = Post)]
struct Housed {
    id: i64,
    #[select(embed, hint = "posts_neighborhood_id_fkey")]
    home: Slug,
}

#[derive(Debug, Deserialize, Select)]
#[select(from = Post)]
struct Ambiguous {
    #[serde(rename = "id")]
    #[select(column = id)]
    _id: i64,
    #[select(embed)]
    #[serde(rename = "neighborhoods")]
    _neighborhoods: Slug,
}

#[derive(Debug, Deserialize, Select)]
#[select(from = Neighborhood)]
struct WithPosts {
    slug: String,
    #[select(embed, hint = "posts_neighborhood_id_fkey")]
    posts: Vec<Id>,
}

#[derive(Debug, Deserialize, Select)]
#[select(from = Neighborhood)]
struct WithSomePosts {
    slug: String,
    #[select(embed, hint = "posts_neighborhood_id_fkey", inner)]
    p: Vec<Id>,
}

#[derive(Debug, Deserialize, Select)]
#[select(from = PostEmbedding)]
struct Model {
    model: String,
}

#[derive(Debug, Deserialize, Select)]
#[select(from = Post)]
struct Embedded {
    id: i64,
    #[select(embed)]
    embeddings: Option<Model>,
}

#[derive(Debug, Deserialize, Select)]
#[select(from = PostEmbedding)]
struct NoColumn {}

#[derive(Debug, Deserialize, Select)]
#[select(from = Post)]
struct NotEmbedded {
    id: i64,
    #[select(embed)]
    embeddings: Option<NoColumn>,
}

#[derive(Debug, Deserialize, Select)]
#[select(from = Post)]
struct Spread {
    id: i64,
    #[select(spread, hint = "posts_neighborhood_id_fkey")]
    #[serde(flatten)]
    home: Slug,
}

#[derive(Debug, Deserialize, Select)]
#[select(from = Secret)]
struct Unrelated {
    #[serde(rename = "id")]
    #[select(column = id)]
    _id: i64,
    #[select(embed)]
    #[serde(rename = "posts")]
    _posts: Vec<Id>,
}

pub(super) const CASES: &[Case] = &[
    recorded("embed to-one, hinted", |db| {
        Box::pin(async move {
            let rows = db.from::<Post>().select::<Housed>().limit(2).await?;
            assert_eq!((rows[0].id, rows[0].home.slug.as_str()), (1, "st-johns"));
            Ok(())
        })
    }),
    recorded("embed ambiguous", |db| {
        Box::pin(async move {
            let read = db.from::<Post>().select::<Ambiguous>();
            let error = read.await.map(drop).unwrap_err();
            assert_eq!(
                (error.pgrst_code(), error.sqlstate()),
                (Some("PGRST201"), None)
            );
            let details = error.details().unwrap();
            assert!(details.starts_with("[{\"cardinality\":\"many-to-one\""));
            Err(error)
        })
    }),
    recorded("embed to-many with its own order and limit", |db| {
        Box::pin(async move {
            let latest = WithPosts::POSTS.order(Post::ID.desc()).limit(2);
            let read = db.from::<Neighborhood>().select::<WithPosts>();
            let rows = read.embed(latest).await?;
            assert_eq!((rows.len(), rows[2].slug.as_str()), (3, "obrien"));
            assert_eq!(ids(&rows[2].posts), [29, 26]);
            Ok(())
        })
    }),
    recorded("embed inner filter", |db| {
        Box::pin(async move {
            let third = WithSomePosts::P.filter(Post::ID.eq(3));
            let read = db.from::<Neighborhood>().select::<WithSomePosts>();
            let rows = read.embed(third).await?;
            assert_eq!(
                (rows[0].slug.as_str(), ids(&rows[0].p)),
                ("arbor-lodge", vec![3])
            );
            Ok(())
        })
    }),
    recorded("embed one-to-one null", |db| {
        Box::pin(async move {
            let read = db.from::<Post>().select::<Embedded>();
            let rows = read.filter(Post::ID.in_([1, 30])).await?;
            let model = |row: &Embedded| row.embeddings.as_ref().map(|it| it.model.clone());
            assert_eq!((rows[0].id, model(&rows[0])), (1, Some("m".to_owned())));
            assert_eq!((rows[1].id, model(&rows[1])), (30, None));
            Ok(())
        })
    }),
    recorded("embed null filter (anti-join)", |db| {
        Box::pin(async move {
            let read = db.from::<Post>().select::<NotEmbedded>();
            let read = read.filter(NotEmbedded::EMBEDDINGS.is_null());
            let rows = read.order(Post::ID.asc()).limit(2).await?;
            assert_eq!((rows[0].id, rows[1].id), (11, 12));
            assert!(rows.iter().all(|row| row.embeddings.is_none()));
            Ok(())
        })
    }),
    recorded("spread", |db| {
        Box::pin(async move {
            let rows = db.from::<Post>().select::<Spread>().limit(1).await?;
            assert_eq!((rows[0].id, rows[0].home.slug.as_str()), (1, "st-johns"));
            Ok(())
        })
    }),
    recorded("no relationship", |db| {
        Box::pin(async move {
            let read = db.from::<Secret>().select::<Unrelated>();
            let error = read.await.map(drop).unwrap_err();
            assert!(error.is_schema_missing());
            assert!(error.details().unwrap().contains(Post::NAME));
            Err(error)
        })
    }),
];
