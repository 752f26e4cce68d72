//! The flows that score whole posts: score and rescore.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sluice_runner::exit::Exit;
use sluice_runner::flow::{FlowOptions, ScoreScope};
use sluice_runner::scoring::{PROMPT_VERSION, Rubric};
use sluice_runner::simulator::{Config, Fault, Faults};
use sluice_tests::{Program, Recorder, Stack};

use crate::support::scores::{
    KIND, TWO, add_posts, assert_scored_times, paced, run_score, run_score_with, scores, texts,
    three,
};
use crate::support::{faulty, poisoned_by, rows, set_faults, settled_count, slow, until};

#[tokio::test]
async fn every_post_gets_exactly_the_dimensions_of_the_rubric_with_one_request_a_run() {
    let stack = Stack::fresh().await;
    add_posts(&stack, 23).await;
    stack
        .sql("update posts set text = E' \\n\\u00a0' where post_id_ext = 'ext7'")
        .await;
    let simulator = stack.simulator(Config::default()).await;
    let session = stack.session(&simulator, "");
    let outcome = run_score(&session, ScoreScope::Missing).await;
    assert_eq!(outcome.exit, Exit::Complete);
    assert_eq!(rows(&outcome).written, 22);

    let rubric = Rubric::default();
    let stats = simulator.stats();
    assert_eq!(
        stats.chat_requests,
        22_u64.div_ceil(rubric.posts_per_call as u64) * 2,
        "one run writes the texts, and two runs share a request"
    );
    assert_eq!(outcome.report.requests.openai, stats.chat_requests);
    assert_eq!(
        outcome.report.tokens,
        stats.input_tokens + stats.output_tokens
    );
    assert_scored_times(&stack, &simulator, 3).await;

    let names: BTreeSet<&str> = rubric.dimensions.iter().map(|d| d.name.as_str()).collect();
    let stored = scores(&stack).await;
    assert_eq!(stored.len(), 22);
    for row in &stored {
        let scores = row["scores"].as_object().unwrap();
        assert_eq!(
            scores.keys().map(String::as_str).collect::<BTreeSet<_>>(),
            names
        );
        let in_range = |score: &Value| (1.0..=10.0).contains(&score.as_f64().unwrap());
        assert!(scores.values().all(in_range), "{row}");
        assert_eq!(row["fingerprint"], rubric.fingerprint());
        assert_eq!(row["model_version"], "gpt-6-luna");
        assert_eq!(row["prompt_version"], PROMPT_VERSION);
        assert_eq!(row["stale"], false);
    }
    let hashed = "select count(*) from llm_scores s join posts p on p.id = s.post_id
        where s.text_hash = encode(sha256(convert_to(p.text, 'UTF8')), 'hex')";
    assert_eq!(stack.count(hashed).await, 22);
    assert_eq!(stack.count("select count(*) from work_items").await, 0);
    assert_eq!(stack.count("select count(*) from post_scores").await, 22);
}

#[tokio::test]
async fn second_run_sends_nothing_and_a_changed_text_is_due_again() {
    let stack = Stack::fresh().await;
    add_posts(&stack, 6).await;
    let simulator = stack.simulator(Config::default()).await;
    let session = stack.session(&simulator, TWO);
    run_score(&session, ScoreScope::Missing).await;
    let asked = simulator.stats().chat_requests;
    for scope in [ScoreScope::Missing, ScoreScope::Stale] {
        let again = run_score(&session, scope).await;
        assert_eq!((again.exit, rows(&again).selected), (Exit::Complete, 0));
    }
    assert_eq!(simulator.stats().chat_requests, asked);

    let created = "select s.created_at::text from llm_scores s join posts p on p.id = s.post_id
        where p.post_id_ext = 'ext2'";
    let first = stack.rows(created).await;
    stack
        .sql("update posts set text = 'The coyote is back!' where post_id_ext = 'ext2'")
        .await;
    let again = run_score(&session, ScoreScope::Missing).await;
    assert_eq!(rows(&again).written, 1);
    assert_eq!(simulator.stats().scored_times("The coyote is back!"), 1);
    assert_eq!(
        stack.rows(created).await,
        first,
        "the time of the first score stays"
    );
    assert_eq!(
        stack
            .count("select count(*) from llm_scores where stale")
            .await,
        0
    );
}

#[tokio::test]
async fn frequencies_are_counted_from_stored_scores_and_never_twice() {
    let stack = Stack::fresh().await;
    add_posts(&stack, 20).await;
    let simulator = stack.simulator(Config::default()).await;
    let session = stack.session(&simulator, TWO);
    run_score(&session, ScoreScope::Missing).await;
    let stored = "select category, count_30d from topic_frequencies where count_30d > 0 order by 1";
    let counted = "select category, count(*)::integer as count_30d
        from llm_scores, unnest(categories) as category group by 1 order by 1";
    let first = stack.rows(stored).await;
    assert!(!first.is_empty());
    assert_eq!(first, stack.rows(counted).await);
    run_score(&session, ScoreScope::All).await;
    assert_eq!(stack.rows(stored).await, first);

    // If a run ends before it counts, the next run counts, even if nothing else is due.
    stack
        .sql("update topic_frequencies set count_30d = 999")
        .await;
    run_score(&session, ScoreScope::Missing).await;
    assert_eq!(stack.rows(stored).await, first);
}

#[tokio::test]
async fn missing_dimension_counts_as_five_and_is_never_stored() {
    let stack = Stack::fresh().await;
    add_posts(&stack, 5).await;
    let simulator = stack.simulator(Config::default()).await;
    // The active weights have seven dimensions, the rubric two.
    let session = stack.session(&simulator, TWO);
    run_score(&session, ScoreScope::Missing).await;
    let weight_sum = 10.9;
    let query =
        "select s.scores, ps.final_score from llm_scores s join post_scores ps using (post_id)";
    for row in stack.rows(query).await {
        let scores = row["scores"].as_object().unwrap();
        assert_eq!(scores.len(), 2);
        let (drama, news) = (
            scores["drama"].as_f64().unwrap(),
            scores["news_value"].as_f64().unwrap(),
        );
        let expected = 5.0 + ((drama - 5.0) * 1.5 + (news - 5.0)) / weight_sum;
        let found = row["final_score"].as_f64().unwrap();
        assert!(
            (found - expected).abs() < 1e-9,
            "{found} instead of {expected}"
        );
    }
}

#[tokio::test]
async fn changed_rubric_rescores_every_post_exactly_once() {
    let stack = Stack::fresh().await;
    add_posts(&stack, 33).await;
    let simulator = stack.simulator(Config::default()).await;
    run_score(&stack.session(&simulator, TWO), ScoreScope::Missing).await;
    simulator.reset();

    let changed = stack.session(&simulator, &three());
    let missing = run_score(&changed, ScoreScope::Missing).await;
    assert_eq!(
        rows(&missing).selected,
        0,
        "`score` leaves scores of another rubric alone"
    );
    let limit = FlowOptions {
        limit: Some(12),
        ..FlowOptions::default()
    };
    let half = run_score_with(&changed, ScoreScope::Stale, limit).await;
    assert_eq!((half.exit, rows(&half).written), (Exit::MoreRemains, 12));
    let rest = run_score(&changed, ScoreScope::Stale).await;
    assert_eq!((rest.exit, rows(&rest).written), (Exit::Complete, 21));
    assert_scored_times(&stack, &simulator, 1).await;
    assert_eq!(
        simulator.stats().chat_requests,
        12_u64.div_ceil(5) + 21_u64.div_ceil(5)
    );
    assert_eq!(stack.count(KIND).await, 33);

    let again = run_score(&changed, ScoreScope::Stale).await;
    assert_eq!(rows(&again).selected, 0);
    assert_scored_times(&stack, &simulator, 1).await;
    let forced = run_score(&changed, ScoreScope::All).await;
    assert_eq!(rows(&forced).written, 33);
    assert_scored_times(&stack, &simulator, 2).await;
}

#[tokio::test]
async fn killed_rescore_continues_without_sending_stored_posts_again() {
    let stack = Stack::fresh().await;
    add_posts(&stack, 60).await;
    let simulator = stack.simulator(slow(60)).await;
    run_score(&stack.session(&simulator, TWO), ScoreScope::Missing).await;
    simulator.reset();

    let program = Program::on(&stack, &simulator.base_url()).configured(&paced(&three(), 2));
    let mut child = program.spawn(&["rescore", "--output", "json"]);
    until("a third is done", async || stack.count(KIND).await >= 20).await;
    child.kill().await.unwrap();
    let stored = settled_count(&stack, KIND).await;
    assert!(stored < 60, "the kill came too late");
    let before =
        "select text from posts p join llm_scores s on s.post_id = p.id where scores ? 'kindness'";
    let finished = stack.rows(before).await;

    stack
        .sql("update work_items set leased_until = clock_timestamp()")
        .await;
    let run = program.run(&["rescore", "--output", "json"]).await;
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(run.json()["counts"]["written"], 60 - stored);
    assert_eq!(stack.count(KIND).await, 60);
    let stats = simulator.stats();
    for row in finished {
        assert_eq!(
            stats.scored_times(row["text"].as_str().unwrap()),
            1,
            "{row}"
        );
    }
    // Two requests of five posts were in flight, and two more responses may have waited to be written.
    let twice: Vec<_> = stats.scored.values().filter(|times| **times > 1).collect();
    assert!(
        twice.len() <= 20 && twice.iter().all(|times| **times == 2),
        "{twice:?}"
    );
}

/// Every stored score is the one that a run without faults gives.
#[tokio::test]
async fn no_faulty_response_ever_becomes_a_score() {
    let stack = Stack::fresh().await;
    add_posts(&stack, 100).await;
    let simulator = stack.simulator(Config::default()).await;
    let session = stack.session(&simulator, TWO);
    run_score(&session, ScoreScope::Missing).await;
    let expected = scores(&stack).await;
    stack.sql("delete from llm_scores").await;

    let faults = [
        Fault::Refusal,
        Fault::Length,
        Fault::ContentFilter,
        Fault::MissingItem,
        Fault::RepeatedItem,
        Fault::ExtraItem,
        Fault::OutOfRange,
    ];
    for (rate, seed) in [(0.1, 1), (0.05, 2), (0.03, 3)] {
        simulator.reset();
        let rates = faults.map(|fault| (fault, rate)).into();
        let faults = Faults {
            rates,
            seed,
            ..Faults::default()
        };
        set_faults(&simulator, faults);
        stack
            .sql("delete from llm_scores; delete from work_items")
            .await;
        let outcome = run_score(&session, ScoreScope::Missing).await;
        let (stats, counts) = (simulator.stats(), rows(&outcome));
        assert!(
            stats.faults.values().sum::<u64>() >= 3,
            "{:?}",
            stats.faults
        );
        assert_eq!(counts.selected, 100);
        assert_eq!(counts.written + counts.failed, 100);
        assert_eq!(counts.failed, counts.dead);
        assert_eq!(outcome.report.requests.openai, stats.chat_requests);
        assert_eq!(
            outcome.report.tokens,
            stats.input_tokens + stats.output_tokens
        );
        let dead = stack
            .count("select count(*) from work_items where dead")
            .await;
        assert_eq!(u64::try_from(dead).unwrap(), counts.dead);
        assert_eq!(outcome.report.failures.len() as u64, counts.failed);
        let exit = if counts.failed == 0 {
            Exit::Complete
        } else {
            Exit::SomeFailed
        };
        assert_eq!(outcome.exit, exit);
        let stored = scores(&stack).await;
        assert_eq!(stored.len() as u64, counts.written);
        for row in stored {
            assert!(
                expected.contains(&row),
                "{row} is not from a run without faults"
            );
        }
    }
}

/// If no answer can be used, the posts are asked about once more with the error, and then one alone.
#[tokio::test]
async fn answers_that_are_all_unusable_blame_no_post() {
    let stack = Stack::fresh().await;
    add_posts(&stack, 5).await;
    let faults = Faults::only(Fault::Refusal, 1.0);
    let simulator = stack.simulator(faulty(faults)).await;
    let recorder = Recorder::start(simulator.base_url().trim_end_matches("/v1")).await;
    let openai = format!("{}/v1", recorder.url());
    let session = stack.session_through(stack.postgrest_url(), &openai, &paced(TWO, 1));
    let outcome = run_score(&session, ScoreScope::Missing).await;
    assert_eq!(outcome.exit, Exit::ProviderRefuses);
    assert_eq!((rows(&outcome).written, rows(&outcome).dead), (0, 0));
    assert_eq!(stack.count("select count(*) from work_items").await, 0);
    let complaint = "the model refuses to answer";
    let reason = outcome.report.reason.unwrap();
    assert!(
        reason.contains("no post is blamed") && reason.contains(complaint),
        "{reason}"
    );
    let sent = recorder.seen().into_iter();
    let sent: Vec<(usize, bool)> = sent
        .map(|exchange| {
            (
                posts_in(&exchange.body),
                exchange.body.to_string().contains(complaint),
            )
        })
        .collect();
    assert_eq!(sent, [(5, false), (5, true), (1, true)]);
    set_faults(&simulator, Faults::default());
    let again = run_score(&session, ScoreScope::Missing).await;
    assert_eq!(rows(&again).written, 5);
}

#[tokio::test]
async fn only_posts_without_a_score_are_sent_again_until_they_are_dead_letters() {
    let stack = Stack::fresh().await;
    add_posts(&stack, 10).await;
    let faults = Faults::only(Fault::MissingItem, 1.0);
    let simulator = stack.simulator(faulty(faults)).await;
    let session = stack.session(&simulator, TWO);
    let outcome = run_score(&session, ScoreScope::Missing).await;
    // The last entry of each request is missing, also if that post is sent alone.
    assert_eq!(outcome.exit, Exit::SomeFailed);
    assert_eq!((rows(&outcome).written, rows(&outcome).dead), (8, 2));
    assert_eq!(simulator.stats().chat_requests, 4);
    let reasons = stack
        .rows("select distinct last_error, dead, attempts from work_items")
        .await;
    let missing = json!({ "last_error": "the post has no entry", "dead": true, "attempts": 1 });
    assert_eq!(reasons, [missing]);

    // Dead letters cost nothing until they are replayed.
    let again = run_score(&session, ScoreScope::Missing).await;
    assert_eq!((again.exit, rows(&again).selected), (Exit::Complete, 0));
    assert_eq!(simulator.stats().chat_requests, 4);
    set_faults(&simulator, Faults::default());
    assert_eq!(stack.count("select replay_work(null, null)").await, 2);
    let replayed = run_score(&session, ScoreScope::Missing).await;
    assert_eq!(rows(&replayed).written, 2);
}

#[tokio::test]
async fn failed_run_costs_only_itself() {
    let stack = Stack::fresh().await;
    add_posts(&stack, 5).await;
    let faults = Faults {
        seed: 1,
        ..Faults::only(Fault::Refusal, 0.4)
    };
    let simulator = stack.simulator(faulty(faults)).await;
    let session = stack.session(
        &simulator,
        &TWO.replace("runs = 1", "runs = 3\nmodel = 'gpt-5-mini'"),
    );
    let outcome = run_score(&session, ScoreScope::Missing).await;
    let stats = simulator.stats();
    assert_eq!(
        stats.faults.get(&Fault::Refusal),
        Some(&1),
        "this seed has one fault in three requests"
    );
    assert_eq!((stats.chat_requests, outcome.exit), (3, Exit::Complete));
    assert_eq!(rows(&outcome).written, 5);
}

#[tokio::test]
async fn poisoned_post_becomes_a_dead_letter_and_the_others_are_scored() {
    let stack = Stack::fresh().await;
    add_posts(&stack, 12).await;
    stack
        .sql("update posts set text = 'arsenic in the punch' where post_id_ext = 'ext3'")
        .await;
    let simulator = stack.simulator(poisoned_by("arsenic")).await;
    let program = Program::on(&stack, &simulator.base_url()).configured(TWO);
    let run = program.run(&["score", "--output", "json"]).await;
    assert_eq!(run.code, Some(4), "{}", run.stderr);
    assert_eq!(run.json()["counts"]["written"], 11);
    assert_eq!(run.json()["counts"]["dead"], 1);
    let dead =
        "select p.post_id_ext from work_items w join posts p on p.id = w.post_id where w.dead";
    assert_eq!(stack.rows(dead).await, [json!({ "post_id_ext": "ext3" })]);
    assert_eq!(texts(&stack).await.len(), 12);
}

#[tokio::test]
async fn dry_run_spends_and_writes_nothing_and_says_what_a_run_costs_at_most() {
    let stack = Stack::fresh().await;
    add_posts(&stack, 7).await;
    let simulator = stack.simulator(Config::default()).await;
    let session = stack.session(&simulator, TWO);
    let dry = FlowOptions {
        dry_run: true,
        ..FlowOptions::default()
    };
    let preview = run_score_with(&session, ScoreScope::Missing, dry).await;
    assert_eq!(rows(&preview).selected, 7);
    assert_eq!(simulator.stats().requests, 0);
    assert_eq!(stack.count("select count(*) from work_items").await, 0);
    let outcome = run_score(&session, ScoreScope::Missing).await;
    assert!(outcome.report.tokens <= preview.report.tokens);
    assert!(outcome.report.usd.unwrap() <= preview.report.usd.unwrap());
}

#[tokio::test]
async fn requests_of_score() {
    let stack = Stack::fresh().await;
    add_posts(&stack, 2).await;
    let simulator = stack.simulator(slow(150)).await;
    let database = Recorder::start(stack.postgrest_url()).await;
    let provider = Recorder::start(simulator.base_url().trim_end_matches("/v1")).await;
    let openai = format!("{}/v1", provider.url());
    let session = stack.session_through(database.url(), &openai, &paced(TWO, 1));
    run_score(&session, ScoreScope::Missing).await;
    insta::assert_json_snapshot!("score_requests_to_supabase", database.snapshot());
    insta::assert_json_snapshot!("score_requests_to_the_provider", provider.snapshot());
}

/// How many posts a request has: one line of JSON each.
fn posts_in(body: &Value) -> usize {
    let messages = body["messages"].as_array().unwrap();
    let lines = messages
        .iter()
        .filter(|message| message["role"] == "user")
        .flat_map(|message| message["content"].as_str().unwrap().lines());
    lines.filter(|line| line.starts_with("{\"index\"")).count()
}
