//! The database of the earlier implementation is migrated, completed and ranked without a manual step.

use reqwest::Method;
use serde_json::{Value, json};
use sluice_runner::bundled::MIGRATIONS;
use sluice_runner::simulator::{self, Config, Simulator};
use sluice_tests::OwnStack;

use crate::support::request;

/// The earlier database, migrated.
async fn migrated() -> OwnStack {
    let stack = OwnStack::empty().await;
    stack.sql(include_str!("../../fixtures/earlier.sql")).await;
    for (_, migration) in MIGRATIONS {
        stack.sql(migration).await;
    }
    stack
}

async fn provider() -> Simulator {
    simulator::start(Config {
        port: 0,
        ..Config::default()
    })
    .await
    .unwrap()
}

/// Queries for what the earlier implementation stored. It must stay as it is.
const DATA: [&str; 7] = [
    "select id, name, slug from neighborhoods order by id",
    "select id, post_id_ext, text, hash, url, author_name, reaction_count from posts order by id",
    "select post_id, embedding::text, model from post_embeddings order by post_id",
    "select post_id, scores::text, categories, summary, final_score, created_at, model_version, prompt_version
       from llm_scores order by post_id",
    "select id, weights::text, name, is_active, has_scores from weight_configs order by id",
    "select post_id, weight_config_id, final_score, computed_at from post_scores order by post_id",
    "select key, value::text, updated_at from settings order by key",
];

#[tokio::test]
async fn earlier_data_survives_migrations_applied_twice() {
    let stack = OwnStack::empty().await;
    stack.sql(include_str!("../../fixtures/earlier.sql")).await;
    let mut before = Vec::new();
    for query in DATA {
        before.push(stack.sql(query).await);
    }
    for _ in 0..2 {
        for (name, migration) in MIGRATIONS {
            stack.sql(migration).await;
            assert!(!name.is_empty());
        }
        for (query, before) in DATA.iter().zip(&before) {
            assert_eq!(&stack.sql(query).await, before, "{query}");
        }
    }
    let stale = "select count(*) from post_embeddings where stale";
    assert_eq!(stack.count(stale).await, 0);
    // PostgREST cannot choose between two functions of one name.
    let overloads = "select proname from pg_proc where pronamespace = 'public'::regnamespace
        and not exists (select from pg_depend d where d.objid = pg_proc.oid and d.deptype = 'e')
        group by proname having count(*) > 1";
    assert_eq!(stack.sql(overloads).await, Vec::<Value>::new());
}

/// The earlier policies let everybody read the jobs, and hosted Supabase lets everybody call functions.
#[tokio::test]
async fn everybody_reads_only_what_the_site_shows_and_calls_nothing() {
    let stack = migrated().await;
    let get = async |table: &str| {
        let url = format!("{}/{table}?select=id", stack.rest_url());
        let (_, answer) = request(Method::GET, &url, stack.publishable_key(), &Value::Null).await;
        answer.as_array().map_or(0, Vec::len)
    };
    assert_eq!((get("posts").await, get("post_scores").await), (40, 30));
    let hidden = (
        get("background_jobs").await,
        get("post_scores_staging").await,
    );
    assert_eq!(hidden, (0, 0));
    let callable = "select proname from pg_proc where pronamespace = 'public'::regnamespace
        and has_function_privilege('anon', oid, 'execute')
        and not exists (select from pg_depend d where d.objid = pg_proc.oid and d.deptype = 'e')";
    assert_eq!(stack.sql(callable).await, Vec::<Value>::new());
}

#[tokio::test]
async fn earlier_database_is_embedded_scored_backfilled_and_recomputed() {
    let (stack, simulator) = (migrated().await, provider().await);
    let program = stack.program(&simulator.base_url());
    program.complete(&["doctor"]).await;

    // Of forty posts, 25 are embedded and two are blank, with other white space than spaces.
    let embedded = program.json(&["embed"]).await;
    assert_eq!(embedded["counts"]["written"], 13);
    let kept = "select count(*) from post_embeddings where text_hash is null";
    assert_eq!(stack.count(kept).await, 25);

    let untouched = "select post_id, (scores - 'news_value')::text as scores, categories, summary from llm_scores
        where prompt_version = 'v1' order by post_id";
    let before = stack.sql(untouched).await;
    let report = program.json(&["score"]).await;
    assert_eq!(report["counts"]["written"], 8);
    assert_eq!(
        stack.sql(untouched).await,
        before,
        "scores that are there count as current"
    );
    // The frequencies had been incremented too often. Now they are counted; all 38 scores are in the window.
    let counted =
        "select category, count_30d from topic_frequencies where count_30d > 0 order by category";
    let stored = "select category, count(*)::integer as count_30d from llm_scores, unnest(categories) as category
        group by category order by category";
    assert_eq!(stack.sql(counted).await, stack.sql(stored).await);

    let filled = program.json(&["backfill", "news_value"]).await;
    assert_eq!(filled["counts"]["written"], 6);
    assert_eq!(filled["flows"][0]["status"], "complete");
    assert_eq!(stack.sql(untouched).await, before);
    // A string in place of a number does not count as a score.
    let filled = program.json(&["backfill", "absurdity"]).await;
    assert_eq!(filled["counts"]["written"], 1);

    program.complete(&["recompute"]).await;
    let off = "select count(*) from llm_scores s join post_scores ps using (post_id)
          join weight_configs c on c.id = ps.weight_config_id, score_basis(c.weights) as b
        where ps.final_score is distinct from compute_final_score_runtime(s.scores, s.categories, b -> 'weights',
          b -> 'novelty', b -> 'frequencies', (b ->> 'total_scored')::integer)";
    assert_eq!(stack.count(off).await, 0);
    assert_eq!(stack.count("select count(*) from post_scores").await, 38);

    // The worker takes over jobs that dead workers of the earlier implementation left running, but no jobs of the scraper.
    program.complete(&["worker", "--once"]).await;
    let jobs =
        "select type, status from background_jobs where created_by is null order by created_at";
    assert_eq!(
        stack.sql(jobs).await,
        [
            json!({ "type": "recompute_final_scores", "status": "completed" }),
            json!({ "type": "backfill_dimension", "status": "completed" }),
            json!({ "type": "run_scraper", "status": "pending" }),
            json!({ "type": "fetch_permalink", "status": "running" }),
            json!({ "type": "recompute_final_scores", "status": "completed" }),
        ]
    );
    // The last job activated its weights and removed what had been staged the earlier way.
    assert_eq!(stack.count(off).await, 0);
    assert_eq!(
        stack
            .sql("select name, is_active, has_scores from weight_configs order by id")
            .await,
        [
            json!({ "name": "Default (Migrated)", "is_active": false, "has_scores": true }),
            json!({ "name": "More drama", "is_active": true, "has_scores": true }),
        ]
    );
    let active = "select active_weight_config() = '00000000-0000-4000-a000-000000000002' as active";
    assert_eq!(stack.sql(active).await, [json!({ "active": true })]);
    assert_eq!(stack.count("select count(*) from post_scores").await, 76);
    assert_eq!(
        stack
            .count("select count(*) from post_scores_staging")
            .await,
        0
    );

    let rescored = program.json(&["rescore"]).await;
    assert_eq!(rescored["counts"]["written"], 30);
    assert_eq!(
        stack
            .count("select count(*) from llm_scores where fingerprint is null")
            .await,
        0
    );
    let ranked = program.json(&["rank", "--limit", "3"]).await;
    assert_eq!(ranked.as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn store_finds_neighborhoods_under_earlier_slugs() {
    let (stack, simulator) = (migrated().await, provider().await);
    let program = stack.program(&simulator.base_url());
    let line =
        json!({ "author_id": "a", "content": "A new post.", "neighborhood": "Cañada del Oro" });
    let stored = program
        .run_with_input(
            &["store", "-", "--output", "json"],
            line.to_string().as_bytes(),
        )
        .await;
    assert_eq!(
        stored.json()["counts"]["neighborhoods_created"],
        0,
        "{}",
        stored.stderr
    );
    assert_eq!(stack.count("select count(*) from neighborhoods").await, 3);
}

/// The app and the scraper call functions by their earlier names.
#[tokio::test]
async fn earlier_callers_still_work() {
    let stack = migrated().await;
    let (post, config) = (
        "00000000-0000-4000-9000-000000000001",
        "00000000-0000-4000-a000-000000000001",
    );
    let job = "00000000-0000-4000-b000-000000000001";
    let call = async |function: &str, arguments: Value| {
        let url = format!("{}/rpc/{function}", stack.rest_url());
        let (status, answer) = request(Method::POST, &url, stack.secret_key(), &arguments).await;
        assert!(
            (200..300).contains(&status),
            "{function}: {status} {answer}"
        );
        answer
    };
    let rows = |answer: &Value| answer.as_array().unwrap().len();
    assert_eq!(
        rows(&call("get_posts_without_embeddings", json!({ "lim": 5 })).await),
        5
    );
    assert_eq!(call("get_embedding_backlog_count", json!({})).await, 13);
    assert_eq!(
        rows(&call("get_unscored_posts", json!({ "p_limit": 100 })).await),
        8
    );
    let missing = json!({ "p_dimension": "news_value", "p_limit": 100 });
    assert_eq!(rows(&call("get_posts_missing_dimension", missing).await), 6);
    let updates = json!([{ "post_id": post, "score": 7.5 }]);
    call(
        "merge_dimension_into_llm_scores",
        json!({ "p_dimension": "kindness", "p_updates": updates }),
    )
    .await;
    let merged = format!(
        "select count(*) from llm_scores where post_id = '{post}' and scores -> 'kindness' = '7.5'"
    );
    assert_eq!(stack.count(&merged).await, 1);
    call(
        "increment_topic_frequency",
        json!({ "p_category": "noise", "p_increment": 2 }),
    )
    .await;
    call(
        "increment_topic_frequencies_batch",
        json!({ "p_updates": { "noise": 1, "owls": 3 } }),
    )
    .await;
    let counted = "select count_30d from topic_frequencies where category in ('noise', 'owls') order by category";
    assert_eq!(
        stack.sql(counted).await,
        [json!({ "count_30d": 15 }), json!({ "count_30d": 3 })]
    );
    let formula = json!({
        "p_scores": { "drama": 10 }, "p_categories": [], "p_weights": { "drama": 1, "absurdity": 1 },
        "p_novelty_config": {}, "p_frequencies": {}, "p_total_scored": 100
    });
    assert_eq!(call("compute_final_score_runtime", formula).await, 7.5);
    let vector = format!("[{}]", vec!["0.1"; 1536].join(","));
    let search =
        json!({ "query_embedding": vector, "similarity_threshold": 0.0, "result_limit": 4 });
    assert_eq!(rows(&call("search_posts_by_embedding", search).await), 4);
    assert!(call("get_score_distribution", json!({})).await.is_object());

    // The earlier app stages into its own table and applies that. Other scores stay.
    stack
        .sql(&format!(
            "insert into post_scores_staging (job_id, post_id, weight_config_id, final_score)
             values ('{job}', '{post}', '{config}', 1.25)"
        ))
        .await;
    call(
        "apply_post_scores_from_staging",
        json!({ "p_job_id": job, "p_weight_config_id": config }),
    )
    .await;
    let applied =
        format!("select count(*) from post_scores where post_id = '{post}' and final_score = 1.25");
    assert_eq!(stack.count(&applied).await, 1);
    assert_eq!(stack.count("select count(*) from post_scores").await, 30);
    assert_eq!(
        stack
            .count(&format!(
                "select count(*) from post_scores_staging where job_id = '{job}'"
            ))
            .await,
        0
    );
}
