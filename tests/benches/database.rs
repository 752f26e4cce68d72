//! The time of each function of the database, on a native Postgres:
//! `SLUICE_TEST_NATIVE=1 cargo bench -p sluice-tests --bench database -- 10000 100000 1000000`.
//!
//! Functions belong to a role that is no superuser, and run as `service_role` under a statement timeout of 8 s. The table
//! shows each call's time and its share of those 8 s. docs/benchmarks.md has the figures from one machine.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run has failed")]
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::time::{Duration, Instant};

use sluice_tests::{Native, NativeSession};

const WORKER: &str = "'00000000-0000-4000-c000-000000000001'";
const EMBED: &str = r#"'{"model": "m", "dimensions": 1536}'"#;
const STALE: &str = r#"'{"mode": "stale", "fingerprint": "made"}'"#;

#[tokio::main]
async fn main() {
    if !sluice_tests::native_wanted() {
        println!("set SLUICE_TEST_NATIVE=1 to measure a native Postgres");
        return;
    }
    let sizes: Vec<u32> = std::env::args()
        .filter_map(|word| word.parse().ok())
        .collect();
    for posts in if sizes.is_empty() {
        vec![10_000, 100_000]
    } else {
        sizes
    } {
        let native = Native::migrated().await;
        let admin = native.admin().await;
        fill(&admin, posts).await;
        println!("\n| {posts} posts | ms | of 8 s |\n| --- | --- | --- |");
        flows(&native.api().await, &admin, posts).await;
        recompute(&native.api().await, &admin).await;
        looks(&native.api().await).await;
        kept(&native.api().await, &admin).await;
    }
}

/// Posts of which one in a thousand has neither an embedding nor a score. Vectors without a direction are not in the
/// index, which saves the hours that building it takes.
async fn fill(admin: &NativeSession, posts: u32) {
    admin
        .sql(&format!(
            "set synchronous_commit = off;
             insert into neighborhoods (name, slug) values ('Elm', 'elm');
             insert into posts (neighborhood_id, post_id_ext, text, hash)
               select n.id, i::text, 'Has anyone lost a grey cat? It sits on our porch and will not leave. ' || i, i::text
               from neighborhoods n, generate_series(1, {posts}) i;
             insert into post_embeddings (post_id, embedding, model, dimensions)
               select id, array_fill(0, array[1536])::extensions.vector, 'm', 1536 from posts where hash::integer % 1000 <> 0;
             insert into llm_scores (post_id, scores, categories, summary, why_podcast_worthy, fingerprint)
               select p.id,
                 jsonb_build_object(
                   'absurdity', 1 + i % 10, 'discussion_spark', 1 + i / 3 % 10, 'drama', 1 + i / 5 % 10,
                   'emotional_intensity', (2 + i / 7 % 18) / 2.0, 'news_value', 1 + i / 11 % 10,
                   'podcast_worthy', 1 + i / 13 % 10, 'readability', 1 + i / 17 % 10
                 ),
                 (array['crime', 'drama', 'humor', 'local_news', 'lost_pet', 'noise', 'suspicious', 'wildlife'])
                   [1 + i % 7 : 1 + i % 7 + i / 19 % 3],
                 'What post number ' || i || ' is about, in a sentence of some length.', 'A turn in the story.', 'made'
               from (select id, hash::integer as i from posts) p where i % 1000 <> 0;
             insert into post_scores (post_id, weight_config_id, final_score)
               select post_id, active_weight_config(), 5 from llm_scores"
        ))
        .await;
    admin.sql("vacuum analyze").await;
    admin.sql("select refresh_topic_frequencies()").await;
}

/// Times a query once, as its caller sees it.
async fn time(api: &NativeSession, what: &str, query: &str) -> serde_json::Value {
    let started = Instant::now();
    let value = api.value(query).await;
    print(what, started.elapsed());
    value
}

fn print(what: &str, took: Duration) {
    let milliseconds = took.as_secs_f64() * 1e3;
    println!(
        "| {what} | {milliseconds:.1} | {:.1} % |",
        milliseconds / 80.0
    );
}

/// What flows call for each batch.
async fn flows(api: &NativeSession, admin: &NativeSession, posts: u32) {
    for (kind, rule) in [
        ("embed", EMBED),
        ("score", STALE),
        ("backfill:drama", "'{}'"),
    ] {
        let arguments = format!("'{kind}', {WORKER}, 500, 60, null, 5000, {rule}");
        time(
            api,
            &format!("claim_work, {kind}"),
            &format!("select claim_work({arguments})"),
        )
        .await;
    }
    let window = format!("'score', null, 5000, {STALE}");
    time(api, "count_work", &format!("select count_work({window})")).await;
    time(api, "peek_work", &format!("select peek_work({window})")).await;
    let posts_of =
        |limit: u32| format!("(select post_id from llm_scores order by post_id limit {limit}) p");
    let scores =
        "select store_scores(null, (select jsonb_agg(jsonb_build_object('post_id', post_id, 'scores', scores,
           'categories', categories, 'fingerprint', 'made')) from (select * from llm_scores order by post_id limit 200) s))";
    time(api, "store_scores, 200", scores).await;
    let dimension = format!(
        "select store_dimension(null, 'joy', (select jsonb_agg(jsonb_build_object('post_id', post_id, 'score', 3))
           from {}))",
        posts_of(200)
    );
    time(api, "store_dimension, 200", &dimension).await;
    let vectors = format!(
        "select jsonb_agg(jsonb_build_object('post_id', post_id, 'model', 'm', 'embedding',
           (select '[' || string_agg((random() - 0.5)::real::text, ',') || ']' from generate_series(1, 1536)
            where post_id is not null)))
         from {}",
        posts_of(100)
    );
    let vectors = api.value(&vectors).await;
    time(
        api,
        "store_embeddings, 100",
        &format!("select store_embeddings(null, '{vectors}')"),
    )
    .await;
    let failures = format!(
        "select fail_work('score', {WORKER}, (select jsonb_agg(jsonb_build_object('post_id', post_id, 'error', 'no'))
           from {}), 3, 60)",
        posts_of(200)
    );
    time(api, "fail_work, 200", &failures).await;
    for call in [
        "extend_work('score', W, I, 60)",
        "release_work('score', W, I)",
        "finish_work('score', W, I)",
    ] {
        let call = call.replace('W', WORKER).replace(
            'I',
            &format!("array(select post_id from {})", posts_of(500)),
        );
        time(
            api,
            call.split('(').next().unwrap(),
            &format!("select count(*) from (select {call}) c"),
        )
        .await;
    }
    // A tenth of the posts has failed and waits.
    admin
        .sql(
            "delete from work_items;
             insert into work_items (kind, post_id, attempts, next_attempt_at)
               select 'score', id, 1, now() + interval '1 hour' from posts where hash::integer % 10 = 0;
             update llm_scores s set fingerprint = 'other' from work_items w where w.post_id = s.post_id;
             analyze work_items",
        )
        .await;
    let last = "(select id from posts order by id desc limit 1)";
    let claim =
        format!("select claim_work('score', {WORKER}, 500, 60, {last}, 5000, {STALE}) - 'rows'");
    time(
        api,
        &format!("claim_work, end of a pass, {} waiting", posts / 10),
        &claim,
    )
    .await;
    admin.sql("delete from work_items").await;
    time(
        api,
        "refresh_topic_frequencies",
        "select refresh_topic_frequencies()",
    )
    .await;
    time(api, "embedding_dimensions", "select embedding_dimensions()").await;
}

/// Posts of a chunk, as the program stages them.
const CHUNK: u32 = 6_000;

/// Each step of three recomputes. With very many posts, the second one inserts a second set of scores, and the third one
/// updates the first set.
async fn recompute(api: &NativeSession, admin: &NativeSession) {
    for kind in ["new weights", "weights in force", "weights in force, again"] {
        let job = if kind == "new weights" {
            let weights = r#"{"absurdity": 1, "drama": 3, "news_value": 1, "podcast_worthy": 2, "readability": 1}"#;
            api.value(&format!(
                "select save_and_recompute('{weights}') ->> 'job_id'"
            ))
            .await
        } else {
            admin
                .sql("update weight_configs
                       set weights = jsonb_set(weights, '{drama}', to_jsonb((weights ->> 'drama')::numeric + 1))
                       where id = active_weight_config()")
                .await;
            api.value("select enqueue_job('recompute_final_scores')")
                .await
        };
        let job = job.as_str().unwrap().to_owned();
        api.sql(&format!(
            "select claim_job({WORKER}, array['recompute_final_scores'], 600, '{job}')"
        ))
        .await;
        let config = format!(
            "(select coalesce(params ->> 'weight_config_id', active_weight_config()::text)::uuid
              from background_jobs where id = '{job}')"
        );
        let (mut after, mut longest, started) = ("null".to_owned(), Duration::ZERO, Instant::now());
        loop {
            let chunk = Instant::now();
            let staged = api
                .value(&format!(
                    "select stage_post_scores('{job}', {WORKER}, {config}, {after}, {CHUNK})"
                ))
                .await;
            longest = longest.max(chunk.elapsed());
            match staged.get("next_after").and_then(serde_json::Value::as_str) {
                Some(next) => after = format!("'{next}'"),
                None => break,
            }
        }
        print(
            &format!("stage_post_scores, the longest of {kind}"),
            longest,
        );
        let complete = format!("select complete_recompute_job('{job}', {WORKER}, true)");
        time(api, &format!("complete_recompute_job, {kind}"), &complete).await;
        println!(
            "| a whole recompute, {kind} | {:.1} | |",
            started.elapsed().as_secs_f64() * 1e3
        );
        admin.sql("vacuum analyze post_scores").await;
    }
}

/// What people look at.
async fn looks(api: &NativeSession) {
    let vector = "(select '[' || string_agg((random() - 0.5)::real::text, ',') || ']' from generate_series(1, 1536))";
    for (what, query) in [
        ("pipeline_status", "select pipeline_status()".to_owned()),
        ("rank_posts", "select count(*) from rank_posts()".to_owned()),
        ("rank_posts, a category", "select count(*) from rank_posts(20, null, 'crime')".to_owned()),
        ("rank_posts, a neighborhood", "select count(*) from rank_posts(20, 'elm')".to_owned()),
        (
            "rank_posts, a preview",
            r#"select count(*) from rank_posts(20, null, null, null, '{"drama": 2, "absurdity": 1, "readability": 3}')"#
                .to_owned(),
        ),
        ("list_weight_configs", "select list_weight_configs()".to_owned()),
        ("prune_weight_scores, 20000", "select prune_weight_scores(0, 20000)".to_owned()),
        ("final_score_distribution", "select final_score_distribution()".to_owned()),
        (
            "search_posts_by_embedding",
            format!("select count(*) from search_posts_by_embedding({vector}::extensions.vector, -1)"),
        ),
    ] {
        time(api, what, &query).await;
    }
}

/// What callers of the earlier implementation ask for.
async fn kept(api: &NativeSession, admin: &NativeSession) {
    for query in [
        "select count(*) from get_posts_without_embeddings(10000)",
        "select count(*) from get_unscored_posts(10000)",
        "select count(*) from get_posts_missing_dimension('kindness', 100)",
        "select get_embedding_backlog_count()",
        "select get_score_distribution()",
    ] {
        let name = query
            .split(['(', ' '])
            .find(|word| word.starts_with("get_"))
            .unwrap();
        time(api, name, query).await;
    }
    let basis = "(select score_basis(weights) from weight_configs limit 1)";
    admin
        .sql(&format!(
            "create table basis as select {basis} as b; grant select on basis to service_role"
        ))
        .await;
    time(
        api,
        "compute_final_score_runtime, 10000 rows",
        "select sum(compute_final_score_runtime(s.scores, s.categories, b -> 'weights', b -> 'novelty', b -> 'frequencies',
           1000)) from (select * from llm_scores limit 10000) s, basis",
    )
    .await;
}
