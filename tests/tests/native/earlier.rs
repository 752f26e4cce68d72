//! What the app of the earlier implementation calls: its shapes, its values, its speed.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use sluice_tests::{Native, NativeSession};
use tokio::time::Instant;

use crate::fixture::native;

/// The schema and rows of the earlier implementation.
pub(crate) fn earlier_schema() -> String {
    include_str!("../../fixtures/earlier.sql").replace("create extension if not exists vector;", "")
}

/// The shortest of three runs.
async fn shortest(admin: &NativeSession, query: &str) -> Duration {
    let mut shortest = Duration::MAX;
    for _ in 0..3 {
        let started = Instant::now();
        admin.value(query).await;
        shortest = shortest.min(started.elapsed());
    }
    shortest
}

/// The feed computes the score of each of its rows.
#[tokio::test]
async fn the_final_score_of_a_row_is_the_same_and_takes_no_longer() {
    native!();
    // Under another name, so that both are there.
    let (_, rest) = include_str!("../../fixtures/earlier.sql")
        .split_once("create function compute_final_score_runtime(")
        .unwrap();
    let (definition, _) = rest.split_once("\n$$;").unwrap();
    let earlier = format!("create function earlier_final_score({definition}\n$$;");
    let native = Native::earlier(&earlier).await;
    let admin = native.admin().await;
    admin
        .sql(
            "insert into posts (neighborhood_id, post_id_ext, text, hash)
               select n.id, 'made' || i, 'text', 'made' || i
               from (select id from neighborhoods limit 1) n, generate_series(1, 20000) as i;
             insert into llm_scores (post_id, scores, categories)
               select id, jsonb_build_object('drama', 1 + i % 10, 'news_value', 1.5 + i % 7, 'absurdity', 1 + i % 3,
                   'readability', 2 + i % 8, 'discussion_spark', 3, 'emotional_intensity', 1 + i % 9),
                 (array['noise', 'humor', 'crime', 'wildlife', 'lost_pet'])[1 + i % 4 : 1 + i % 4 + i % 3]
               from (select id, substr(post_id_ext, 5)::integer as i from posts where post_id_ext like 'made%') p;
             create table basis as select score_basis(weights) as b from weight_configs where is_active limit 1",
        )
        .await;
    let arguments =
        "s.scores, s.categories, b -> 'weights', b -> 'novelty', b -> 'frequencies', 1000";
    let apart = format!(
        "select count(*) from llm_scores s, basis
         where s.summary is null and abs(compute_final_score_runtime({arguments}) - earlier_final_score({arguments})) > 1e-9"
    );
    assert_eq!(admin.value(&apart).await, 0);
    let feed = |function: &str| {
        format!(
            "select sum({function}({arguments})) from llm_scores s, basis where s.summary is null"
        )
    };
    let before = shortest(&admin, &feed("earlier_final_score")).await;
    let now = shortest(&admin, &feed("compute_final_score_runtime")).await;
    println!("20,000 rows: {before:?} before, {now:?} now");
    assert!(now < before.mul_f64(1.15), "{before:?} before, {now:?} now");
}

#[tokio::test]
async fn every_kept_function_has_the_arguments_and_columns_that_the_app_knows() {
    native!();
    let native = Native::earlier("").await;
    let api = native.api().await;
    let vector = format!("'[{}]'", vec!["0.1"; 1536].join(","));
    let columns = async |call: &str| {
        let query = format!("select to_jsonb(r) from {call} as r limit 1");
        let row = api.value(&query).await;
        row.as_object().unwrap().keys().cloned().collect::<Vec<_>>()
    };
    for (call, expected) in [
        ("get_unscored_posts()".to_owned(), vec!["id", "text"]),
        (
            "get_posts_missing_dimension('news_value')".to_owned(),
            vec!["id", "text"],
        ),
        (
            "get_posts_without_embeddings()".to_owned(),
            vec!["id", "text"],
        ),
        (
            format!("search_posts_by_embedding({vector}::extensions.vector, 0)"),
            vec![
                "id",
                "text",
                "similarity",
                "created_at",
                "neighborhood_id",
                "post_id_ext",
                "url",
                "user_id_hash",
                "image_urls",
                "hash",
                "used_on_episode",
            ],
        ),
    ] {
        let found = columns(&call).await;
        for column in expected {
            assert!(
                found.iter().any(|name| name == column),
                "{call}: {column} of {found:?}"
            );
        }
    }
    let distribution = api.value("select get_score_distribution()").await;
    let summary = json!({ "min": null, "max": null, "mean": null, "p50": null, "p90": null });
    for key in ["final_score", "dimensions"] {
        assert!(distribution[key].is_object(), "{key}: {distribution}");
    }
    let keys = |value: &Value| {
        value
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<BTreeSet<_>>()
    };
    for dimension in [
        "absurdity",
        "discussion_spark",
        "drama",
        "emotional_intensity",
        "news_value",
        "podcast_worthy",
        "readability",
    ] {
        assert_eq!(
            keys(&distribution["dimensions"][dimension]),
            keys(&summary),
            "{dimension}"
        );
    }
    // The same numbers as Postgres' own.
    let expected = api
        .value(
            "select jsonb_build_object('min', round(min(s)::numeric, 2), 'max', round(max(s)::numeric, 2),
               'mean', round(avg(s)::numeric, 2),
               'p50', round((percentile_cont(0.5) within group (order by s))::numeric, 2),
               'p90', round((percentile_cont(0.9) within group (order by s))::numeric, 2))
             from (select (scores ->> 'drama')::double precision as s from llm_scores) d",
        )
        .await;
    assert_eq!(distribution["dimensions"]["drama"], expected);
    // It merges by the name `value`.
    api.sql(
        "select merge_dimension_into_llm_scores('joy',
             (select jsonb_agg(jsonb_build_object('post_id', post_id, 'value', 4)) from llm_scores))",
    )
    .await;
    assert_eq!(
        api.value("select count(*) from llm_scores where scores -> 'joy' = '4'")
            .await,
        30
    );
    assert_eq!(api.value("select get_embedding_backlog_count()").await, 13);
    api.sql(
        r#"select increment_topic_frequency('owls', 2);
               select increment_topic_frequencies_batch('[{"category": "owls", "increment": 3}]')"#,
    )
    .await;
    let owls = "select count_30d from topic_frequencies where category = 'owls'";
    assert_eq!(api.value(owls).await, 5);
}

#[tokio::test]
async fn anon_may_truncate_nothing_and_call_nothing() {
    native!();
    for native in [Native::migrated().await, Native::earlier("").await] {
        let admin = native.admin().await;
        let refused = admin
            .attempt("set role anon; truncate post_scores")
            .await
            .unwrap_err();
        assert!(refused.starts_with("42501"), "{refused}");
        admin.sql("reset role").await;
        let callable = "select count(*) from pg_proc p where pronamespace = 'public'::regnamespace
            and has_function_privilege('anon', oid, 'execute')";
        assert_eq!(admin.value(callable).await, 0);
        let held = "select count(*) from information_schema.role_table_grants
            where table_schema = 'public' and grantee in ('anon', 'authenticated') and privilege_type <> 'SELECT'";
        assert_eq!(admin.value(held).await, 0);
    }
}
