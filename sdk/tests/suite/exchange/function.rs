//! Calls of functions.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sluice_sdk::{Count, Function, Select, Table, error::ErrorKind};

use super::{Case, recorded, reworded};

#[derive(Serialize, Function)]
#[function(name = "add", returns = i64, read_only)]
struct Add {
    a: i64,
    b: i64,
}

#[derive(Serialize, Function)]
#[function(name = "posts_without_embeddings", returns = Vec<Pending>, read_only)]
struct PostsWithoutEmbeddings {
    #[serde(skip_serializing_if = "Option::is_none")]
    lim: Option<i64>,
}

/// A row of that function.
#[derive(Debug, Deserialize, Table, PartialEq)]
#[table(name = "posts_without_embeddings")]
struct Pending {
    id: i64,
    body: String,
}

#[derive(Debug, Deserialize, Select)]
#[select(from = Pending)]
struct PendingId {
    id: i64,
}

#[derive(Serialize, Function)]
#[function(name = "one_post", returns = Option<Pending>, read_only)]
struct OnePost {
    i: i64,
}

#[derive(Serialize, Function)]
#[function(name = "nothing")]
struct Nothing;

#[derive(Serialize, Function)]
#[function(name = "numbers", returns = Vec<i64>, read_only)]
struct Numbers;

#[derive(Serialize, Function)]
#[function(name = "total", returns = i64, read_only)]
struct Total {
    n: Vec<i64>,
}

#[derive(Serialize, Function)]
#[function(name = "echo_json", returns = Value, read_only)]
struct EchoJson {
    j: Value,
}

#[derive(Serialize, Function)]
#[function(name = "as_who", returns = String, read_only)]
struct AsWho;

#[derive(Serialize, Function)]
#[function(name = "big", returns = i64, read_only)]
struct Big;

pub(super) const CASES: &[Case] = &[
    recorded("rpc scalar", |db| {
        Box::pin(async move {
            assert_eq!(db.rpc(Add { a: 1, b: 2 }).await?, 3);
            Ok(())
        })
    }),
    recorded("rpc get", |db| {
        Box::pin(async move {
            assert_eq!(db.rpc(Add { a: 1, b: 2 }).get().await?, 3);
            Ok(())
        })
    }),
    recorded("rpc table-valued with filter", |db| {
        Box::pin(async move {
            let rows = db.rpc(PostsWithoutEmbeddings { lim: Some(10) });
            let rows = rows.filter(Pending::ID.gt(15)).order(Pending::ID.desc());
            let rows = rows.limit(2).select::<PendingId>().await?;
            assert_eq!((rows[0].id, rows[1].id), (22, 21));
            Ok(())
        })
    }),
    recorded("rpc default arguments", |db| {
        Box::pin(async move {
            let rows = db.rpc(PostsWithoutEmbeddings { lim: None });
            let page = rows.count(Count::Exact).page().await?;
            assert_eq!((page.rows.len(), page.total), (17, Some(17)));
            assert_eq!(
                (page.rows[0].id, page.rows[0].body.as_str()),
                (13, "post number 13")
            );
            Ok(())
        })
    }),
    recorded("rpc row", |db| {
        Box::pin(async move {
            let row = db.rpc(OnePost { i: 1 }).selection(Pending::selection());
            let (id, body) = (1, "post number 1".to_owned());
            assert_eq!(row.await?, Some(Pending { id, body }));
            Ok(())
        })
    }),
    recorded("rpc row missing", |db| {
        Box::pin(async move {
            // A composite result without a row is an object of nulls.
            let row = db.rpc(OnePost { i: 0 }).selection(Pending::selection());
            assert_eq!(row.await?, None);
            Ok(())
        })
    }),
    recorded("rpc void", |db| {
        Box::pin(async move { db.rpc(Nothing).await })
    }),
    recorded("rpc set of scalars", |db| {
        Box::pin(async move {
            assert_eq!(db.rpc(Numbers).await?, [1, 2, 3]);
            Ok(())
        })
    }),
    recorded("rpc ambiguous", |db| {
        Box::pin(async move {
            let error = db.rpc_by_name("same", &json!({"a": 1})).await.unwrap_err();
            assert_eq!(error.pgrst_code(), Some("PGRST203"));
            Err(error)
        })
    }),
    recorded("rpc wrong argument", |db| {
        Box::pin(async move {
            let error = db
                .rpc_by_name("add", &json!({"a": 1, "c": 2}))
                .await
                .unwrap_err();
            assert!(error.is_schema_missing());
            Err(error)
        })
    }),
    recorded("rpc unknown", |db| {
        Box::pin(async move {
            let error = db.rpc_by_name("nope", &json!({})).await.unwrap_err();
            assert!(error.is_schema_missing() && !error.is_not_found());
            Err(error)
        })
    }),
    recorded("rpc bad argument type", |db| {
        Box::pin(async move {
            let call = db.rpc_by_name("add", &json!({"a": "x", "b": 2}));
            let error = call.await.unwrap_err();
            assert!(error.is_data_error());
            Err(error)
        })
    }),
    reworded(
        "rpc variadic",
        r#"POST /rpc/total {"n":[1,2,3]}"#,
        "a list has no form in a URL that suits every type, so its call goes by POST",
        |db| {
            Box::pin(async move {
                assert_eq!(db.rpc(Total { n: vec![1, 2, 3] }).get().await?, 6);
                Ok(())
            })
        },
    ),
    recorded("rpc variadic json", |db| {
        Box::pin(async move {
            assert_eq!(db.rpc(Total { n: vec![1, 2, 3] }).await?, 6);
            Ok(())
        })
    }),
    recorded("rpc raises", |db| {
        Box::pin(async move {
            let error = db.rpc_by_name("boom", &json!({})).await.unwrap_err();
            let told = error.to_string();
            let end = "P0001: it broke (the detail); hint: the hint";
            assert!(told.ends_with(end) && error.is_data_error(), "{told}");
            Err(error)
        })
    }),
    recorded("rpc custom status", |db| {
        Box::pin(async move {
            let error = db.rpc_by_name("teapot", &json!({})).await.unwrap_err();
            assert_eq!(
                (error.kind(), error.code()),
                (ErrorKind::Api, Some("PT418"))
            );
            Err(error)
        })
    }),
    recorded("rpc statement timeout", |db| {
        Box::pin(async move {
            let error = db.rpc_by_name("slow", &json!({})).await.unwrap_err();
            assert!(error.is_statement_timeout() && error.is_retryable());
            assert_eq!(error.retries(), 0);
            Err(error)
        })
    }),
    recorded("rpc json", |db| {
        Box::pin(async move {
            let j = json!({"a": [1, "two", null]});
            assert_eq!(db.rpc(EchoJson { j: j.clone() }).await?, j);
            Ok(())
        })
    }),
    reworded(
        "rpc volatile by get",
        "POST /rpc/nothing {}",
        "`get` is there for functions that only read: this one is not marked so",
        |db| Box::pin(async move { db.rpc(Nothing).await }),
    ),
    recorded("rpc who, anonymous", |db| {
        Box::pin(async move {
            assert_eq!(db.rpc(AsWho).await?, "x_anon");
            Ok(())
        })
    }),
    recorded("rpc who, service", |db| {
        Box::pin(async move {
            let service = db.as_user(&"service".into())?;
            assert_eq!(service.rpc(AsWho).await?, "x_service");
            Ok(())
        })
    }),
    recorded("rpc bigint", |db| {
        Box::pin(async move {
            assert_eq!(db.rpc(Big).await?, 9_007_199_254_740_993);
            Ok(())
        })
    }),
];
