//! The backfill of one dimension, and the recompute of the final scores, which is all or nothing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use sluice_runner::engine::Stop;
use sluice_runner::exit::Exit;
use sluice_runner::flow::{self, FlowOptions, RecomputeOptions, ScoreScope};
use sluice_runner::simulator::Config;
use sluice_tests::oracle::{Weights, final_score, stored_scores};
use sluice_tests::{Program, Recorder, Stack};

use uuid::Uuid;

use crate::support::scores::{
    TWO, add_posts, add_scores, add_weights, assert_scored_times, id_of, paced, run_backfill,
    run_recompute, run_score, scored, scores, three,
};
use crate::support::{rows, slow};

async fn active_weights(stack: &Stack) -> Uuid {
    id_of(&stack.rows("select active_weight_config() as id").await)
}

/// The final scores under a weight config, by post.
async fn final_scores(stack: &Stack, config: Uuid) -> Vec<Value> {
    let query = format!(
        "select post_id, final_score, computed_at::text from post_scores
         where weight_config_id = '{config}' order by post_id"
    );
    stack.rows(&query).await
}

#[tokio::test]
async fn backfill_asks_for_one_dimension_and_keeps_every_other_byte() {
    let (stack, simulator) = scored(13).await;
    let recorder = Recorder::start(simulator.base_url().trim_end_matches("/v1")).await;
    let openai = format!("{}/v1", recorder.url());
    // Unknown keys and oddly written numbers stay as they are.
    stack
        .sql(r#"update llm_scores set scores = scores || '{"odd": 1.500, "note": "x", "drama": 7.10}'"#)
        .await;
    let without =
        "select post_id, (scores - 'kindness')::text as others, categories, summary, fingerprint,
        prompt_version, created_at, scored_at from llm_scores order by post_id";
    let before = stack.rows(without).await;

    let session = stack.session_through(stack.postgrest_url(), &openai, &three());
    let outcome = run_backfill(&session, "kindness").await;
    assert_eq!((outcome.exit, rows(&outcome).written), (Exit::Complete, 13));
    assert_eq!(stack.rows(without).await, before);
    assert_eq!(recorder.seen().len(), 3);
    for exchange in recorder.seen() {
        let item = &exchange.body["response_format"]["json_schema"]["schema"]["properties"]["posts"]
            ["items"];
        let asked: Vec<&str> = item["properties"]
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(asked, ["index", "reason", "kindness"]);
    }
    let numbers =
        "select count(*) from llm_scores where jsonb_typeof(scores -> 'kindness') = 'number'
        and (scores ->> 'kindness')::float between 1 and 10";
    assert_eq!(stack.count(numbers).await, 13);

    let again = run_backfill(&session, "kindness").await;
    assert_eq!((again.exit, rows(&again).selected), (Exit::Complete, 0));
    assert_eq!(recorder.seen().len(), 3);
}

#[tokio::test]
async fn backfill_recomputes_only_at_its_end() {
    let (stack, simulator) = scored(10).await;
    stack
        .sql(r#"update weight_configs set weights = '{"drama": 1, "kindness": 3}'"#)
        .await;
    let session = stack.session(&simulator, &three());
    let config = active_weights(&stack).await;
    let before = final_scores(&stack, config).await;
    let options = FlowOptions {
        limit: Some(5),
        ..FlowOptions::default()
    };
    let run = session.begin(options, Stop::new());
    let half = flow::backfill(&session, &run, "kindness").await.unwrap();
    assert_eq!((half.exit, half.report.flows.len()), (Exit::MoreRemains, 0));
    assert_eq!(final_scores(&stack, config).await, before);

    let rest = run_backfill(&session, "kindness").await;
    assert_eq!((rest.exit, rows(&rest).written), (Exit::Complete, 5));
    assert_eq!(
        rest.report.flows.first().map(|flow| flow.flow.as_str()),
        Some("recompute")
    );
    let weights = Weights::from([("drama".to_owned(), 1.0), ("kindness".to_owned(), 3.0)]);
    let query =
        "select s.scores, ps.final_score from llm_scores s join post_scores ps using (post_id)";
    for row in stack.rows(query).await {
        let expected = final_score(&stored_scores(&row["scores"]), &weights, 1.0);
        assert!(
            (row["final_score"].as_f64().unwrap() - expected).abs() < 1e-9,
            "{row}"
        );
    }

    // If a run is killed before it recomputes, the next run does it.
    stack.sql("update post_scores set final_score = 0").await;
    let again = run_backfill(&session, "kindness").await;
    assert_eq!(rows(&again).selected, 0);
    assert_eq!(
        stack
            .count("select count(*) from post_scores where final_score = 0")
            .await,
        0
    );
}

#[tokio::test]
async fn unknown_dimension_is_refused_and_the_known_ones_are_named() {
    let (stack, simulator) = scored(1).await;
    let program = Program::on(&stack, &simulator.base_url()).configured(TWO);
    let run = program.run(&["backfill", "kindness"]).await;
    assert_eq!(run.code, Some(2));
    assert!(
        run.stderr.contains("name one of: drama, news_value"),
        "{}",
        run.stderr
    );
    assert_eq!(simulator.stats().requests, 0);
}

#[tokio::test]
async fn recompute_applies_the_active_weights_and_leaves_no_staging() {
    let (stack, simulator) = scored(40).await;
    let config = active_weights(&stack).await;
    let expected = final_scores(&stack, config).await;
    stack
        .sql("update post_scores set final_score = 0; delete from post_scores where random() < 0.3")
        .await;
    let session = stack.session(&simulator, TWO);
    let outcome = run_recompute(&session, RecomputeOptions::default()).await;
    assert_eq!((outcome.exit, rows(&outcome).written), (Exit::Complete, 40));
    assert_eq!(simulator.stats().requests, 0);
    assert_eq!(
        stack.count("select count(*) from post_score_chunks").await,
        0
    );
    let found = final_scores(&stack, config).await;
    assert_eq!(found.len(), expected.len());
    // Scores were written before the frequencies were counted. Now all have the same basis.
    let query = "select s.scores, s.categories, ps.final_score,
          compute_final_score_runtime(s.scores, s.categories, b -> 'weights', b -> 'novelty', b -> 'frequencies',
            (b ->> 'total_scored')::integer) as expected
        from llm_scores s join post_scores ps using (post_id) join weight_configs c on c.id = ps.weight_config_id,
          score_basis(c.weights) as b";
    for row in stack.rows(query).await {
        assert_eq!(row["final_score"], row["expected"], "{row}");
    }
    let jobs = "select type, status, progress, total, leased_until from background_jobs";
    assert_eq!(
        stack.rows(jobs).await,
        [
            json!({ "type": "recompute_final_scores", "status": "completed", "progress": 40, "total": 40,
            "leased_until": null })
        ]
    );
}

#[tokio::test]
async fn other_weights_are_computed_beside_the_active_ones_and_activated_on_request() {
    let (stack, simulator) = scored(12).await;
    let active = active_weights(&stack).await;
    let before = final_scores(&stack, active).await;
    let other = add_weights(&stack, r#"{"drama": 1}"#).await;
    let program = Program::on(&stack, &simulator.base_url()).configured(TWO);
    let id = other.to_string();
    let run = program
        .run(&["recompute", "--weights", &id, "--output", "json"])
        .await;
    assert_eq!(
        (run.code, &run.json()["counts"]["written"]),
        (Some(0), &json!(12)),
        "{}",
        run.stderr
    );
    assert_eq!(active_weights(&stack).await, active);
    assert_eq!(final_scores(&stack, active).await, before);
    assert_eq!(final_scores(&stack, other).await.len(), 12);

    let run = program
        .run(&["recompute", "--weights", &id, "--activate"])
        .await;
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(active_weights(&stack).await, other);
    let flags = "select count(*) from weight_configs where is_active";
    assert_eq!(stack.count(flags).await, 1);
    let first = "select id from rank_posts() order by final_score desc limit 1";
    assert_eq!(stack.rows(first).await.len(), 1);
}

#[tokio::test]
async fn weights_that_make_no_sense_are_refused_even_before_anything_is_scored() {
    let stack = Stack::fresh().await;
    let active = active_weights(&stack).await;
    let zero = add_weights(&stack, r#"{"drama": 0}"#).await;
    let program = Program::on(&stack, "http://127.0.0.1:9/v1");
    let missing = Uuid::from_u128(7);
    for (id, why) in [(zero, "add up to nothing"), (missing, "no weight config")] {
        let run = program
            .run(&["recompute", "--weights", &id.to_string(), "--activate"])
            .await;
        assert_eq!(run.code, Some(2), "{}", run.stderr);
        assert!(run.stderr.contains(why), "{}", run.stderr);
    }
    // The app enqueues jobs itself, without our checks.
    stack
        .sql(&format!(
            "insert into background_jobs (type, status, params, max_retries) values ('recompute_final_scores',
               'pending', '{{\"weight_config_id\": \"{zero}\", \"activate_on_completion\": true}}', 3)"
        ))
        .await;
    let run = program.run(&["worker", "--once"]).await;
    assert_eq!(run.code, Some(4), "{}", run.stderr);
    let status = "select status, retry_count from background_jobs";
    assert_eq!(
        stack.rows(status).await,
        [json!({ "status": "error", "retry_count": 0 })]
    );
    assert_eq!(active_weights(&stack).await, active);
}

#[tokio::test]
async fn weights_for_unknown_dimensions_give_a_warning() {
    let (stack, simulator) = scored(2).await;
    let id = add_weights(&stack, r#"{"drama": 1, "zest": 2}"#).await;
    let options = RecomputeOptions {
        weight_config_id: Some(id),
        activate: false,
    };
    let outcome = run_recompute(&stack.session(&simulator, TWO), options).await;
    assert_eq!(outcome.exit, Exit::Complete);
    let warnings = outcome.report.warnings;
    assert!(
        warnings.len() == 1 && warnings[0].contains("no zest"),
        "{warnings:?}"
    );
}

/// 60,000 posts take several chunks. A reader asks for the whole ranking all the time.
#[tokio::test]
async fn reader_never_sees_old_and_new_scores_mixed() {
    let stack = Stack::fresh().await;
    add_posts(&stack, 60_000).await;
    add_scores(&stack, 60_000).await;
    let config = active_weights(&stack).await;
    // No post has a final score of 0 under these weights, so 0 marks an old score.
    stack.sql("update post_scores set final_score = 0").await;
    let session = stack.session(&stack.simulator(Config::default()).await, TWO);
    let done = Arc::new(AtomicBool::new(false));
    let watching = Arc::clone(&done);
    let reader = async {
        let query = format!(
            "select count(*) filter (where final_score = 0) as old, count(*) as posts from post_scores
             where weight_config_id = '{config}'"
        );
        let (mut seen, mut reads) = (BTreeSet::new(), 0);
        while !watching.load(Ordering::Relaxed) {
            let row = stack.rows(&query).await.remove(0);
            assert_eq!(row["posts"], 60_000);
            seen.insert(row["old"].as_u64().unwrap());
            reads += 1;
        }
        (seen, reads)
    };
    let recompute = async {
        let outcome = run_recompute(&session, RecomputeOptions::default()).await;
        done.store(true, Ordering::Relaxed);
        outcome
    };
    let ((seen, reads), outcome) = tokio::join!(reader, recompute);
    assert_eq!(
        (outcome.exit, rows(&outcome).written),
        (Exit::Complete, 60_000)
    );
    assert!(reads >= 3, "{reads} reads show little");
    assert!(
        seen.contains(&60_000) && seen.iter().all(|old| [0, 60_000].contains(old)),
        "{seen:?}"
    );
    assert!(outcome.report.requests.supabase < 20);
}

#[tokio::test]
async fn cancelled_or_failed_recompute_leaves_all_old_scores() {
    let stack = Stack::fresh().await;
    add_posts(&stack, 40).await;
    add_scores(&stack, 40).await;
    let config = active_weights(&stack).await;
    let before = final_scores(&stack, config).await;
    let other = add_weights(&stack, r#"{"news_value": 1}"#).await;
    let session = stack.session(&stack.simulator(Config::default()).await, TWO);
    let options = RecomputeOptions {
        weight_config_id: Some(other),
        activate: true,
    };
    let whole = async || {
        assert_eq!(
            stack.count("select count(*) from post_score_chunks").await,
            0
        );
        assert_eq!(final_scores(&stack, config).await, before);
        assert_eq!(final_scores(&stack, other).await.len(), 0);
        assert_eq!(active_weights(&stack).await, config);
    };

    // Cancel as soon as a chunk is staged.
    let cancel = "perform cancel_job(id, 'a test') from background_jobs";
    add_trigger(&stack, "after insert on post_score_chunks", cancel).await;
    let outcome = run_recompute(&session, options).await;
    drop_trigger(&stack).await;
    assert_eq!(outcome.exit, Exit::Interrupted);
    assert!(outcome.report.reason.unwrap().contains("cancelled"));
    whole().await;

    // Fail in one of the last statements of the cut-over.
    add_trigger(
        &stack,
        "before update on weight_configs",
        "raise 'full disk'",
    )
    .await;
    let run = session.begin(FlowOptions::default(), Stop::new());
    let failed = flow::recompute(&session, &run, options).await;
    drop_trigger(&stack).await;
    assert!(failed.unwrap_err().to_string().contains("full disk"));
    whole().await;
    let states = "select status from background_jobs order by created_at";
    assert_eq!(
        stack.rows(states).await,
        [
            json!({ "status": "cancelled" }),
            json!({ "status": "error" })
        ]
    );
}

#[tokio::test]
async fn posts_scored_during_a_recompute_are_in_the_ranking_after_it() {
    let stack = Stack::fresh().await;
    add_posts(&stack, 50).await;
    add_scores(&stack, 40).await;
    let config = active_weights(&stack).await;
    let simulator = stack.simulator(Config::default()).await;
    let session = stack.session(&simulator, TWO);
    let (job, worker) = (Uuid::from_u128(1), Uuid::from_u128(2));
    stack
        .sql(&format!(
            "insert into background_jobs (id, type, status) values ('{job}', 'recompute_final_scores', 'pending');
             select claim_job('{worker}', array['recompute_final_scores'], 60, '{job}');
             select stage_post_scores('{job}', '{worker}', '{config}', null, 1000)"
        ))
        .await;
    // Post 1 gets a new score after it was staged, and ten more posts get their first score.
    stack
        .sql("update llm_scores set scores = '{\"drama\": 10}' where summary = 'Summary 1'")
        .await;
    let scored = run_score(&session, ScoreScope::Missing).await;
    assert_eq!(rows(&scored).written, 10);
    // All scores have the basis that the job froze at its start, also those of the ten and of post 1.
    let frozen = "create table frozen as select basis as b from background_jobs";
    stack.sql(frozen).await;
    stack
        .sql(&format!(
            "select complete_recompute_job('{job}', '{worker}', false)"
        ))
        .await;
    let near = format!(
        "select count(*) from llm_scores s join post_scores ps using (post_id), frozen
         where ps.weight_config_id = '{config}'
           and abs(ps.final_score - compute_final_score_runtime(s.scores, s.categories, b -> 'weights',
             b -> 'novelty', b -> 'frequencies', (b ->> 'total_scored')::integer)) < 1e-9"
    );
    let near = stack.count(&near).await;
    stack.sql("drop table frozen").await;
    assert_eq!((near, final_scores(&stack, config).await.len()), (50, 50));
}

#[tokio::test]
async fn requests_of_backfill_and_recompute() {
    let stack = Stack::fresh().await;
    add_posts(&stack, 2).await;
    let simulator = stack.simulator(slow(150)).await;
    run_score(&stack.session(&simulator, TWO), ScoreScope::Missing).await;
    let database = Recorder::start(stack.postgrest_url()).await;
    let provider = Recorder::start(simulator.base_url().trim_end_matches("/v1")).await;
    let openai = format!("{}/v1", provider.url());
    let session = stack.session_through(database.url(), &openai, &paced(&three(), 1));
    // A backfill ends with a recompute of the active weights.
    run_backfill(&session, "kindness").await;
    insta::assert_json_snapshot!("backfill_requests_to_supabase", database.snapshot());
    insta::assert_json_snapshot!("backfill_requests_to_the_provider", provider.snapshot());
    assert_scored_times(&stack, &simulator, 2).await;
    assert_eq!(scores(&stack).await.len(), 2);

    let recorder = Recorder::start(stack.postgrest_url()).await;
    let id = add_weights(&stack, r#"{"drama": 1}"#).await;
    let options = RecomputeOptions {
        weight_config_id: Some(id),
        activate: true,
    };
    run_recompute(
        &stack.session_through(recorder.url(), &openai, TWO),
        options,
    )
    .await;
    insta::assert_json_snapshot!("recompute_requests_to_supabase", recorder.snapshot());
}

/// Runs statements of PL/pgSQL at an event, so that a test can act at that moment.
async fn add_trigger(stack: &Stack, event: &str, statements: &str) {
    stack
        .sql(&format!(
            "create function for_a_test() returns trigger language plpgsql as $$ begin {statements}; return new; end $$;
             create trigger for_a_test {event} for each row execute function for_a_test()"
        ))
        .await;
}

async fn drop_trigger(stack: &Stack) {
    stack.sql("drop function for_a_test cascade").await;
}
