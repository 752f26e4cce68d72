//! Everything at once: posts come, change and go, scores are stored, weights are recomputed and deleted, and a reader
//! looks at the ranking all the while.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sluice_tests::{Native, NativeSession};
use tokio::time::Instant;

use crate::fixture::{add_scored_posts, claim_in_force, claim_recompute, complete, native, stage};

/// Half a minute, or as long as the environment says.
fn seconds() -> u64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "a longer run is asked for by the environment"
    )]
    let wanted = std::env::var("SLUICE_TEST_CHURN_SECONDS").ok();
    wanted
        .and_then(|seconds| seconds.parse().ok())
        .unwrap_or(30)
}

/// What may fail, and is tried again: a lock that was waited for, weights that were deleted, a job that another ended.
fn is_expected(error: &str) -> bool {
    ["55P03", "22023", "55000", "55006"]
        .iter()
        .any(|code| error.starts_with(code))
}

/// Every scored post has its final score under the weights in force, and no other.
const MIXED: &str = "select count(*) from llm_scores s
    join weight_configs c on c.id = active_weight_config()
    left join post_scores ps on ps.post_id = s.post_id and ps.weight_config_id = c.id
    where ps.final_score is null or abs(ps.final_score - greatest(0, least(10, (
        select 10 * sum(w.value::double precision * (s.scores ->> w.key)::double precision)
          / (10 * sum(w.value::double precision))
        from jsonb_each(c.weights) w
      )))) > 1e-9";

async fn repeat(
    native: &Native,
    until: Instant,
    mut statement: impl FnMut(u32) -> String,
) -> Vec<String> {
    let session = native.api().await;
    let (mut failed, mut turn) = (Vec::new(), 0);
    while Instant::now() < until {
        turn += 1;
        if let Err(error) = session.attempt(&statement(turn)).await {
            failed.push(error);
        }
    }
    failed
}

/// A recompute after the other, each of them for new weights or for those in force.
async fn recompute(native: &Native, until: Instant, new: bool, done: &AtomicU32) -> Vec<String> {
    let api = native.api().await;
    let mut failed = Vec::new();
    let mut turn = 0;
    while Instant::now() < until {
        turn += 1;
        let job = if new {
            let weights = format!(
                r#"{{"drama": {}, "news_value": {}}}"#,
                1 + turn % 5,
                1 + turn % 3
            );
            Some(claim_recompute(&api, &weights).await)
        } else {
            claim_in_force(&api).await
        };
        // Somebody has deleted the weights in force.
        let Some((job, config)) = job else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        match finish(&api, &job, &config).await {
            Ok(()) => {
                done.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                failed.push(error);
                failed.extend(
                    api.attempt(&format!("select cancel_job('{job}')"))
                        .await
                        .err(),
                );
            }
        }
    }
    failed
}

async fn finish(api: &NativeSession, job: &str, config: &str) -> Result<(), String> {
    let mut after = None;
    loop {
        match stage(api, (job, config), after.as_deref(), 500).await {
            Ok(Some(next)) => after = Some(next),
            Ok(None) => break,
            // A post was being deleted for longer than a chunk waits: the same chunk again.
            Err(error) if error.starts_with("55P03") => {}
            Err(error) => return Err(error),
        }
    }
    loop {
        match complete(api, job).await {
            Ok(_) => return Ok(()),
            Err(error) if error.starts_with("55P03") => {}
            Err(error) => return Err(error),
        }
    }
}

/// Scored posts whose final scores depend on weights alone, so that a reader can check them.
async fn prepared() -> Native {
    let native = Native::migrated().await;
    let admin = native.admin().await;
    admin
        .sql(
            r#"update settings set value = '{"min_multiplier": 1, "max_multiplier": 1}' where key = 'novelty_config';
               update weight_configs set weights = '{"drama": 2, "news_value": 1}'"#,
        )
        .await;
    add_scored_posts(&admin, 3_000).await;
    admin
        .sql("select write_final_scores(array(select post_id from llm_scores))")
        .await;
    assert_eq!(admin.value(MIXED).await, 0);
    native
}

/// A worker claims due posts and stores scores for them.
fn scorer(number: u32) -> impl FnMut(u32) -> String {
    let worker = format!("00000000-0000-4000-c000-{number:012}");
    move |turn: u32| {
        format!(
            r#"with claimed as materialized (
                 select claim_work('score', '{worker}', 40, 2, null, 5000,
                   '{{"mode": "stale", "fingerprint": "f{}"}}') as c
               )
               select store_scores('{worker}', (
                 select coalesce(jsonb_agg(jsonb_build_object('post_id', r -> 'id', 'scores',
                   jsonb_build_object('drama', 1 + random() * 9, 'news_value', 1 + random() * 9),
                   'categories', array['noise'], 'fingerprint', 'f{}',
                   'text_hash', text_sha256(r ->> 'text'))), '[]')
                 from claimed, jsonb_array_elements(c -> 'rows') r))"#,
            turn % 3,
            turn % 3
        )
    }
}

/// A statement every so many milliseconds.
async fn every(native: &Native, until: Instant, pause: u64, statement: &str) -> Vec<String> {
    let session = native.api().await;
    let mut failed = Vec::new();
    while Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(pause)).await;
        failed.extend(session.attempt(statement).await.err());
    }
    failed
}

async fn read(native: &Native, until: Instant) -> Vec<String> {
    let session = native.admin().await;
    let mut failed = Vec::new();
    while Instant::now() < until {
        let mixed = session.value(MIXED).await;
        if mixed != 0 {
            failed.push(format!(
                "a reader saw {mixed} scores that are not of the weights in force"
            ));
        }
    }
    failed
}

/// What must be true after all that.
async fn assert_whole(native: &Native, failed: Vec<Vec<String>>, recomputes: u32) {
    let admin = native.admin().await;
    let failed: Vec<String> = failed.into_iter().flatten().collect();
    let bad: Vec<&String> = failed.iter().filter(|error| !is_expected(error)).collect();
    assert!(bad.is_empty(), "{bad:?}");
    assert_eq!(admin.value(MIXED).await, 0, "a score was lost");
    admin.sql("select pg_stat_force_next_flush()").await;
    for (what, query) in [
        ("orphans", "select count(*) from post_scores ps left join posts p on p.id = ps.post_id
            left join weight_configs c on c.id = ps.weight_config_id where p.id is null or c.id is null"),
        ("deadlocks", "select deadlocks from pg_stat_database where datname = current_database()"),
    ] {
        assert_eq!(admin.value(query).await, 0, "{what}");
    }
    assert!(recomputes >= 3, "{recomputes} recomputes show little");
}

const INSERT: &str = "insert into posts (neighborhood_id, post_id_ext, text, hash)
    select n.id, 'new', 'a new text', gen_random_uuid()::text from neighborhoods n, generate_series(1, 3)";
const ANY_POST: &str = "(select id from posts where id >= gen_random_uuid() order by id limit 1)";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_mixed_or_deadlocked_under_churn() {
    native!();
    let native = prepared().await;
    let until = Instant::now() + Duration::from_secs(seconds());
    let done = AtomicU32::new(0);
    let delete_config = "delete from weight_configs where id = (select id from weight_configs
        where id is distinct from active_weight_config() order by random() limit 1)";
    let results = tokio::join!(
        repeat(&native, until, |_| INSERT.to_owned()),
        repeat(&native, until, |_| format!(
            "delete from posts where id = {ANY_POST}"
        )),
        repeat(&native, until, |turn| format!(
            "update posts set text = 'changed {turn}' where id = {ANY_POST}"
        )),
        repeat(&native, until, scorer(1)),
        repeat(&native, until, scorer(2)),
        recompute(&native, until, true, &done),
        recompute(&native, until, true, &done),
        every(&native, until, 700, delete_config),
        read(&native, until),
    );
    let failed = vec![
        results.0, results.1, results.2, results.3, results.4, results.5, results.6, results.7,
        results.8,
    ];
    assert_whole(&native, failed, done.load(Ordering::Relaxed)).await;
}

/// Weights in force are recomputed in both ways and deleted, posts are deleted by the hundred in any order, and jobs are
/// cancelled midway.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_active_weights_many_posts_and_jobs_go_away() {
    native!();
    let native = prepared().await;
    let until = Instant::now() + Duration::from_secs(seconds());
    let done = AtomicU32::new(0);
    let insert = |_| INSERT.replace("(1, 3)", "(1, 40)");
    let delete_posts =
        "delete from posts where id in (select id from posts order by random() limit 300)";
    let delete_active = "delete from weight_configs where id = active_weight_config()";
    // In one session, because these two statements alone can deadlock: both delete scores, in orders of their own.
    let deletes = async {
        let mut failed = Vec::new();
        while Instant::now() < until {
            let soon = Instant::now() + Duration::from_millis(2_900);
            failed.extend(every(&native, soon.min(until), 250, delete_posts).await);
            failed.extend(
                every(
                    &native,
                    Instant::now() + Duration::from_millis(1),
                    0,
                    delete_active,
                )
                .await,
            );
        }
        failed
    };
    let cancel = "select cancel_job(id) from (
        select id from background_jobs where status = 'running' order by random() limit 1) j";
    let prune = "select prune_weight_scores(1, 1000)";
    let ways = async {
        let admin = native.admin().await;
        let mut in_place = true;
        while Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(1_300)).await;
            in_place = !in_place;
            let most = if in_place { 200_000 } else { 10 };
            admin
                .sql(&format!(
                    "create or replace function most_posts_in_place() returns integer language sql immutable
                       as 'select {most}'"
                ))
                .await;
        }
        Vec::new()
    };
    let results = tokio::join!(
        repeat(&native, until, insert),
        deletes,
        every(&native, until, 900, cancel),
        every(&native, until, 1_700, prune),
        repeat(&native, until, scorer(1)),
        repeat(&native, until, scorer(2)),
        recompute(&native, until, true, &done),
        recompute(&native, until, false, &done),
        read(&native, until),
        ways,
    );
    let failed = vec![
        results.0, results.1, results.2, results.3, results.4, results.5, results.6, results.7,
        results.8, results.9,
    ];
    assert_whole(&native, failed, done.load(Ordering::Relaxed)).await;
}
