//! Two chunks of a recompute that are staged at once, and what may happen meanwhile.

use std::time::Duration;

use secrecy::ExposeSecret;
use serde_json::Value;
use sluice_runner::local::{LocalOptions, Server};
use sluice_tests::{Native, NativeSession, Program, Recorder, signal};
use tokio::time::Instant;

use crate::fixture::{
    add_scored_posts, claim_recompute, complete, native, post, stage, stage_part, text,
};

/// The sessions that stage, and one that does something else.
struct Sessions {
    admin: NativeSession,
    first: NativeSession,
    second: NativeSession,
    other: NativeSession,
}

/// A job of which the first hundred of 1,000 posts are staged. The rest is staged up to post 500, and after it.
async fn begun(native: &Native) -> (Sessions, String, String) {
    let sessions = Sessions {
        admin: native.admin().await,
        first: native.api().await,
        second: native.api().await,
        other: native.admin().await,
    };
    add_scored_posts(&sessions.admin, 1_000).await;
    let (job, config) = claim_recompute(&sessions.first, r#"{"drama": 2, "news_value": 1}"#).await;
    let next = stage(&sessions.first, (&job, &config), None, 100).await;
    assert_eq!(next.unwrap(), Some(post(100)));
    (sessions, job, config)
}

/// Stages both parts, each in a transaction that stays open.
async fn stage_both(sessions: &Sessions, job: (&str, &str)) {
    let (hundred, middle) = (post(100), post(500));
    let parts = [
        (
            &sessions.first,
            Some(hundred.as_str()),
            Some(middle.as_str()),
        ),
        (&sessions.second, Some(middle.as_str()), None),
    ];
    for (session, after, until) in parts {
        session.sql("begin").await;
        let next = stage_part(session, job, (after, until), 1_000).await;
        assert_eq!(next.unwrap(), None);
    }
}

/// How many posts have the right score under these weights.
async fn right(admin: &NativeSession, config: &str) -> Value {
    admin
        .value(&format!(
            "select count(*) from llm_scores s join post_scores ps using (post_id), score_basis('{{\"drama\": 2, \"news_value\": 1}}') b
             where ps.weight_config_id = '{config}'
               and abs(ps.final_score - compute_final_score_runtime(s.scores, s.categories, b -> 'weights', b -> 'novelty',
                 b -> 'frequencies', (b ->> 'total_scored')::integer)) < 1e-9"
        ))
        .await
}

async fn scores_of(admin: &NativeSession, config: &str) -> Value {
    let query = format!("select count(*) from post_scores where weight_config_id = '{config}'");
    admin.value(&query).await
}

#[tokio::test]
async fn two_parts_are_staged_at_once() {
    native!();
    let native = Native::migrated().await;
    let (sessions, job, config) = begun(&native).await;
    stage_both(&sessions, (&job, &config)).await;
    sessions.second.sql("commit").await;
    let early = complete(&sessions.second, &job).await.unwrap_err();
    assert!(early.starts_with("55P03"), "{early}");
    sessions.first.sql("commit").await;
    assert_eq!(
        complete(&sessions.first, &job).await.unwrap()["applied"],
        1_000
    );
    assert_eq!(right(&sessions.admin, &config).await, 1_000);
}

/// The parts may end with a full chunk or an empty one, be staged in any order, and be sent again.
#[tokio::test]
async fn parts_are_staged_in_any_order_and_again() {
    native!();
    let native = Native::migrated().await;
    let (sessions, job, config) = begun(&native).await;
    let of = (job.as_str(), config.as_str());
    let api = &sessions.first;
    let (from, middle) = (post(100), post(500));
    let after = stage_part(api, of, (Some(&middle), None), 250)
        .await
        .unwrap();
    assert_eq!(after, Some(post(750)));
    let before = (Some(from.as_str()), Some(middle.as_str()));
    assert_eq!(
        stage_part(api, of, before, 300).await.unwrap(),
        Some(post(400))
    );
    // The answer was lost, and the call is repeated with a smaller limit.
    assert_eq!(
        stage_part(api, of, before, 200).await.unwrap(),
        Some(post(300))
    );
    let gap = complete(api, &job).await.unwrap_err();
    assert!(gap.starts_with("55000"), "{gap}");
    // A full chunk ends at the last post of its part.
    let last = (Some(&*post(300)), Some(middle.as_str()));
    assert_eq!(stage_part(api, of, last, 200).await.unwrap(), None);
    assert_eq!(
        stage_part(api, of, (Some(&*post(750)), None), 250)
            .await
            .unwrap(),
        Some(post(1_000))
    );
    let nothing = (Some(&*post(1_000)), None);
    assert_eq!(stage_part(api, of, nothing, 250).await.unwrap(), None);
    assert_eq!(complete(api, &job).await.unwrap()["applied"], 1_000);
    assert_eq!(right(&sessions.admin, &config).await, 1_000);
}

#[tokio::test]
async fn a_part_whose_session_dies_is_missing_until_it_is_staged_again() {
    native!();
    let native = Native::migrated().await;
    let (sessions, job, config) = begun(&native).await;
    let of = (job.as_str(), config.as_str());
    stage_both(&sessions, of).await;
    sessions.second.sql("commit").await;
    drop(sessions.first);
    let api = sessions.second;
    // The server notices a moment later that the session is gone.
    let missing = loop {
        match complete(&api, &job).await.unwrap_err() {
            locked if locked.starts_with("55P03") => {}
            missing => break missing,
        }
    };
    assert!(missing.starts_with("55000"), "{missing}");
    assert_eq!(scores_of(&sessions.admin, &config).await, 600);
    let part = (Some(&*post(100)), Some(&*post(500)));
    assert_eq!(stage_part(&api, of, part, 1_000).await.unwrap(), None);
    assert_eq!(complete(&api, &job).await.unwrap()["applied"], 1_000);
    assert_eq!(right(&sessions.admin, &config).await, 1_000);
}

/// Weights that are deleted and jobs that are cancelled or deleted wait for both chunks, and then nothing is left.
#[tokio::test]
async fn weights_and_jobs_go_away_while_two_chunks_run() {
    native!();
    for (what, refusal) in [
        ("delete from weight_configs where id = 'CONFIG'", "22023"),
        ("select cancel_job('JOB')", "55000"),
        ("delete from background_jobs where id = 'JOB'", "55000"),
    ] {
        let native = Native::migrated().await;
        let (sessions, job, config) = begun(&native).await;
        stage_both(&sessions, (&job, &config)).await;
        let what = what.replace("CONFIG", &config).replace("JOB", &job);
        let end = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            sessions.first.sql("commit").await;
            tokio::time::sleep(Duration::from_millis(300)).await;
            assert_ne!(scores_of(&sessions.admin, &config).await, 0, "{what}");
            sessions.second.sql("commit").await;
        };
        tokio::join!(sessions.other.sql(&what), end);
        assert_eq!(scores_of(&sessions.admin, &config).await, 0, "{what}");
        let chunks = "select count(*) from post_score_chunks c join weight_configs w on w.recompute_job = c.job_id";
        assert_eq!(sessions.admin.value(chunks).await, 0, "{what}");
        let refused = stage(&sessions.first, (&job, &config), Some(&post(100)), 100).await;
        assert!(
            refused.clone().unwrap_err().starts_with(refusal),
            "{what}: {refused:?}"
        );
        assert!(complete(&sessions.first, &job).await.is_err(), "{what}");
    }
}

#[tokio::test]
async fn posts_that_are_deleted_while_two_chunks_run_cost_only_themselves() {
    native!();
    let native = Native::migrated().await;
    let (sessions, job, config) = begun(&native).await;
    let of = (job.as_str(), config.as_str());
    // Two are being deleted, one of them by somebody who commits, one by somebody who does not.
    let delete = |number| format!("delete from posts where id = '{}'", post(number));
    sessions
        .other
        .sql(&format!("begin; {}; {}", delete(300), delete(700)))
        .await;
    let end = async {
        tokio::time::sleep(Duration::from_millis(400)).await;
        sessions.other.sql("commit").await;
    };
    let (hundred, middle) = (post(100), post(500));
    let (first, second, ()) = tokio::join!(
        stage_part(&sessions.first, of, (Some(&hundred), Some(&middle)), 1_000),
        stage_part(&sessions.second, of, (Some(&middle), None), 1_000),
        end,
    );
    assert_eq!((first.unwrap(), second.unwrap()), (None, None));
    assert_eq!(scores_of(&sessions.admin, &config).await, 998);
    // Staged already, and deleted before the chunks commit.
    stage_both(&sessions, of).await;
    let end = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        sessions.second.sql("commit").await;
        sessions.first.sql("commit").await;
    };
    let delete = format!("{}; {}", delete(800), delete(200));
    tokio::join!(sessions.other.sql(&delete), end);
    assert_eq!(
        complete(&sessions.first, &job).await.unwrap()["applied"],
        996
    );
    assert_eq!(right(&sessions.admin, &config).await, 996);
}

/// A chunk that meets a post which is being deleted never waits in line, so its locks deadlock with nobody's.
#[tokio::test]
async fn who_deletes_posts_of_a_chunk_sees_no_deadlock() {
    native!();
    let native = Native::migrated().await;
    let (sessions, job, config) = begun(&native).await;
    let delete = |number| format!("delete from posts where id = '{}'", post(number));
    sessions.other.sql(&format!("begin; {}", delete(300))).await;
    let started = Instant::now();
    let deletes = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let deleted = sessions.other.attempt(&delete(200)).await;
        sessions.other.sql("commit").await;
        deleted
    };
    let (hundred, middle) = (post(100), post(500));
    let part = (Some(hundred.as_str()), Some(middle.as_str()));
    let staged = stage_part(&sessions.first, (&job, &config), part, 1_000);
    let (chunk, end) = tokio::join!(staged, deletes);
    assert_eq!(end, Ok(()));
    assert!(started.elapsed() < Duration::from_secs(4));
    if let Err(waited) = chunk {
        assert!(waited.starts_with("55P03"), "{waited}");
    }
    sessions
        .admin
        .sql("select pg_stat_force_next_flush()")
        .await;
    let deadlocks = "select deadlocks from pg_stat_database where datname = current_database()";
    assert_eq!(sessions.admin.value(deadlocks).await, 0);
}

/// The program stages both halves at once. If it is killed meanwhile, the next run begins again.
#[tokio::test]
async fn the_program_stages_two_chunks_at_once_and_may_be_killed() {
    native!();
    let native = Native::migrated().await;
    let admin = native.admin().await;
    add_scored_posts(&admin, 40_000).await;
    let config = "00000000-0000-4000-a000-000000000009";
    admin
        .sql(&format!(
            "insert into weight_configs (id, weights, name)
               values ('{config}', '{{\"drama\": 2, \"news_value\": 1}}', 'new')"
        ))
        .await;
    let options = LocalOptions {
        database_url: Some(native.url().into()),
        ..LocalOptions::default()
    };
    let server = Server::start(&options).await.unwrap();
    let recorder = Recorder::start(server.url()).await;
    let program = Program::bare()
        .with("SUPABASE_URL", recorder.url())
        .with("SUPABASE_SERVICE_KEY", server.secret_key().expose_secret());
    let arguments = [
        "recompute",
        "--weights",
        config,
        "--activate",
        "--output",
        "json",
    ];
    let mut child = program.spawn(&arguments);
    let staged = "select count(*) from post_score_chunks";
    while admin.value(staged).await.as_i64() < Some(3) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    signal(child.id(), "KILL");
    child.wait().await.unwrap();
    assert_ne!(
        admin.value("select active_weight_config()::text").await,
        config
    );
    let refused = program.run(&arguments).await;
    assert!(refused.stderr.contains("already"), "{}", refused.stderr);
    admin
        .sql("update background_jobs set leased_until = now() - interval '1 second' where status = 'running'")
        .await;
    let before = recorder.seen().len();
    let run = program.run(&arguments).await;
    assert_eq!(run.code, Some(0), "{}{}", run.stdout, run.stderr);
    assert_eq!(run.json()["counts"]["written"], 40_000);
    assert_eq!(right(&admin, config).await, 40_000);
    let calls: Vec<Value> = recorder
        .seen()
        .into_iter()
        .skip(before)
        .filter(|exchange| exchange.target.contains("stage_post_scores"))
        .map(|exchange| exchange.body)
        .collect();
    // One begins, and then each round has a chunk of either half.
    let middle = calls
        .iter()
        .find_map(|call| call["p_until"].as_str())
        .unwrap();
    let (before, after): (Vec<&Value>, Vec<&Value>) = calls
        .iter()
        .skip(1)
        .partition(|call| call["p_until"] == middle);
    assert!(
        after.iter().any(|call| text(call, "p_after") == middle),
        "{after:?}"
    );
    assert!(
        before.len() >= 2 && before.len().abs_diff(after.len()) <= 1,
        "{calls:?}"
    );
}
