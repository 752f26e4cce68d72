//! Everything at once: posts come, change and go, scores are stored, weights are recomputed and deleted, and a reader
//! looks at the ranking all the while.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sluice_tests::{Native, NativeSession};
use tokio::time::Instant;

use crate::fixture::{add_scored_posts, claim_recompute, complete, native, stage};

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

/// A recompute after the other, each of them for new weights.
async fn recompute(native: &Native, until: Instant, done: &AtomicU32) -> Vec<String> {
    let api = native.api().await;
    let mut failed = Vec::new();
    let mut turn = 0;
    while Instant::now() < until {
        turn += 1;
        let weights = format!(
            r#"{{"drama": {}, "news_value": {}}}"#,
            1 + turn % 5,
            1 + turn % 3
        );
        let (job, config) = claim_recompute(&api, &weights).await;
        match finish(&api, &job, &config).await {
            Ok(()) => {
                done.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                failed.push(error);
                api.sql(&format!("select cancel_job('{job}')")).await;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_mixed_or_deadlocked_under_churn() {
    native!();
    let native = Native::migrated().await;
    let admin = native.admin().await;
    // Scores depend on weights alone, so that a reader can check them.
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
    let until = Instant::now() + Duration::from_secs(seconds());
    let done = AtomicU32::new(0);
    let any_post = "(select id from posts where id >= gen_random_uuid() order by id limit 1)";
    let worker = |number: u32| format!("00000000-0000-4000-c000-{number:012}");
    let scorer = |number: u32| {
        let worker = worker(number);
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
    };
    let inserts = repeat(&native, until, |_| {
        "insert into posts (neighborhood_id, post_id_ext, text, hash)
           select n.id, 'new', 'a new text', gen_random_uuid()::text from neighborhoods n, generate_series(1, 3)"
            .to_owned()
    });
    let deletes = repeat(&native, until, |_| {
        format!("delete from posts where id = {any_post}")
    });
    let texts = repeat(&native, until, |turn| {
        format!("update posts set text = 'changed {turn}' where id = {any_post}")
    });
    let configs = async {
        let mut failed = Vec::new();
        let session = native.api().await;
        while Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(700)).await;
            let delete = "delete from weight_configs where id = (select id from weight_configs
                where id is distinct from active_weight_config() order by random() limit 1)";
            failed.extend(session.attempt(delete).await.err());
        }
        failed
    };
    let reader = async {
        let mut failed = Vec::new();
        let session = native.admin().await;
        while Instant::now() < until {
            let mixed = session.value(MIXED).await;
            if mixed != 0 {
                failed.push(format!(
                    "a reader saw {mixed} scores that are not of the weights in force"
                ));
            }
        }
        failed
    };
    let results = tokio::join!(
        inserts,
        deletes,
        texts,
        repeat(&native, until, scorer(1)),
        repeat(&native, until, scorer(2)),
        recompute(&native, until, &done),
        recompute(&native, until, &done),
        configs,
        reader,
    );
    let failed: Vec<String> = [
        results.0, results.1, results.2, results.3, results.4, results.5, results.6, results.7,
        results.8,
    ]
    .into_iter()
    .flatten()
    .collect();
    let bad: Vec<&String> = failed.iter().filter(|error| !is_expected(error)).collect();
    assert!(bad.is_empty(), "{bad:?}");
    assert_eq!(admin.value(MIXED).await, 0, "a score was lost");
    for (what, query) in [
        ("orphans", "select count(*) from post_scores ps left join posts p on p.id = ps.post_id
            left join weight_configs c on c.id = ps.weight_config_id where p.id is null or c.id is null"),
        ("deadlocks", "select deadlocks from pg_stat_database where datname = current_database()"),
    ] {
        assert_eq!(admin.value(query).await, 0, "{what}");
    }
    let recomputes = done.load(Ordering::Relaxed);
    println!(
        "{} s: {recomputes} recomputes, {} calls tried again",
        seconds(),
        failed.len()
    );
    assert!(recomputes >= 3, "{recomputes} recomputes show little");
}
