//! The embed flow embeds every post once, a changed post again, and a bad row never blocks the rest.

use serde_json::Value;
use sluice_runner::engine::Stop;
use sluice_runner::exit::Exit;
use sluice_runner::flow::{self, FlowOptions};
use sluice_runner::simulator::{Config, Fault, Faults};
use sluice_tests::{Program, Recorder, Stack};

use crate::support::posts::{assert_billed_once, embed, embed_with, embedded, id, seed, texts};
use crate::support::{poisoned_by, rows, set_faults, slow, until, work_items};

#[tokio::test]
async fn every_post_is_embedded_once_and_a_second_run_sends_nothing() {
    let stack = Stack::fresh().await;
    let simulator = stack.simulator(Config::default()).await;
    let session = stack.session(&simulator, "");
    let texts = texts(230);
    seed(&stack, &texts).await;
    let outcome = embed(&session).await;
    assert_eq!(outcome.exit, Exit::Complete);
    assert_eq!(
        (rows(&outcome).selected, rows(&outcome).written),
        (230, 230)
    );
    assert_eq!(embedded(&stack).await, 230);
    assert_eq!(work_items(&stack).await, 0);
    let stats = simulator.stats();
    assert_billed_once(&stats, &texts);
    assert_eq!(outcome.report.tokens, stats.input_tokens);
    assert_eq!(outcome.report.requests.openai, stats.embedding_requests);

    let again = embed(&session).await;
    assert_eq!(again.exit, Exit::Complete);
    assert_eq!(rows(&again).selected, 0);
    assert_eq!((again.report.requests.openai, again.report.tokens), (0, 0));
    assert_eq!(simulator.stats().requests, stats.requests);
}

#[tokio::test]
async fn posts_are_claimed_in_chunks_and_only_functions_are_called() {
    let stack = Stack::fresh().await;
    let simulator = stack.simulator(Config::default()).await;
    let recorder = Recorder::start(stack.postgrest_url()).await;
    let toml = "[embedding]\nchunk_size = 50\nbatch_size = 20";
    let session = stack.session_through(recorder.url(), &simulator.base_url(), toml);
    seed(&stack, &texts(230)).await;
    let outcome = embed(&session).await;
    assert_eq!(rows(&outcome).written, 230);
    for exchange in recorder.seen() {
        assert!(
            exchange.action().starts_with("POST /rpc/"),
            "{}",
            exchange.action()
        );
        let bound = |name: &str| exchange.body.get(name).map(|bound| bound.as_u64().unwrap());
        assert!(bound("p_limit").is_none_or(|limit| limit <= 50));
        assert!(bound("p_scan").is_none_or(|scan| scan <= 5_000));
        let written = exchange.body.get("p_rows").and_then(Value::as_array);
        assert!(written.is_none_or(|rows| rows.len() <= 200));
    }
    // Five chunks hold 230 posts. One more claim finds the end of the pass, and one finds that nothing is left.
    assert!((5..=7).contains(&recorder.count("POST /rpc/claim_work")));
    // The record of the run is written after its report.
    assert_eq!(recorder.count("POST /rpc/record_run"), 2);
    assert_eq!(
        outcome.report.requests.supabase + 1,
        recorder.seen().len() as u64
    );
}

#[tokio::test]
async fn requests_of_embed_to_both_services() {
    let stack = Stack::fresh().await;
    let simulator = stack.simulator(slow(300)).await;
    let database = Recorder::start(stack.postgrest_url()).await;
    let provider = Recorder::start(&simulator.base_url()).await;
    let session = stack.session_through(database.url(), provider.url(), "");
    let mut texts = texts(3);
    texts.push(texts[1].clone());
    seed(&stack, &texts).await;
    assert_eq!(embed(&session).await.exit, Exit::Complete);
    insta::assert_json_snapshot!("embed_four_posts_database", database.snapshot());
    insta::assert_json_snapshot!("embed_four_posts_provider", provider.snapshot());
}

#[tokio::test]
async fn poison_post_becomes_a_dead_letter_alone_and_costs_few_requests() {
    let stack = Stack::fresh().await;
    let simulator = stack.simulator(poisoned_by("☠")).await;
    let session = stack.session(&simulator, "");
    let mut texts = texts(250);
    texts[77].push('☠');
    seed(&stack, &texts).await;
    let outcome = embed(&session).await;
    assert_eq!(outcome.exit, Exit::SomeFailed);
    let counts = rows(&outcome);
    assert_eq!(
        (counts.selected, counts.written, counts.failed, counts.dead),
        (250, 249, 1, 1)
    );
    assert_eq!(embedded(&stack).await, 249);
    let [failure] = outcome.report.failures.as_slice() else {
        panic!("{:?}", outcome.report.failures);
    };
    assert_eq!(failure.post_id.unwrap().to_string(), id(77));
    assert!(
        failure.reason.contains("refuses the input"),
        "{}",
        failure.reason
    );
    // Three requests would be needed without it. The good posts are billed once.
    assert!(
        simulator.stats().requests <= 3 + 12,
        "{} requests",
        simulator.stats().requests
    );
    assert_eq!(simulator.stats().embedded.len(), 249);
    assert!(simulator.stats().embedded.values().all(|times| *times == 1));

    let before = simulator.stats().requests;
    assert_eq!(embed(&session).await.exit, Exit::Complete);
    assert_eq!(simulator.stats().requests, before);
}

#[tokio::test]
async fn ten_poison_posts_become_dead_letters_and_succeed_after_a_replay() {
    let stack = Stack::fresh().await;
    let simulator = stack.simulator(poisoned_by("☠")).await;
    let program = Program::on(&stack, &simulator.base_url());
    let mut texts = texts(1_000);
    texts
        .iter_mut()
        .step_by(100)
        .for_each(|text| text.push('☠'));
    seed(&stack, &texts).await;
    let run = program.run(&["embed", "--output", "json"]).await;
    assert_eq!(run.code, Some(4), "{}", run.stderr);
    let counts = &run.json()["counts"];
    assert_eq!(
        (&counts["written"], &counts["dead"]),
        (&990.into(), &10.into())
    );
    assert_eq!(embedded(&stack).await, 990);
    let dead = "select count(*) from work_items where dead and attempts = 1
        and last_error like '%refuses the input%'";
    assert_eq!(stack.count(dead).await, 10);
    let spent = simulator.stats().requests;
    assert!(spent <= 10 + 10 * 12, "{spent} requests");

    set_faults(&simulator, Faults::default());
    let replay = program
        .run(&["failures", "replay", "--output", "json"])
        .await;
    assert_eq!(replay.json()["replayed"], 10, "{}", replay.stderr);
    let run = program.run(&["embed", "--output", "json"]).await;
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(run.json()["counts"]["written"], 10);
    assert_eq!(embedded(&stack).await, 1_000);
    assert_eq!(work_items(&stack).await, 0);
    assert_billed_once(&simulator.stats(), &texts);
}

#[tokio::test]
async fn dry_run_spends_and_writes_nothing() {
    let stack = Stack::fresh().await;
    let simulator = stack.simulator(Config::default()).await;
    let recorder = Recorder::start(stack.postgrest_url()).await;
    let session = stack.session_through(recorder.url(), &simulator.base_url(), "");
    seed(&stack, &texts(150)).await;
    let dry = FlowOptions {
        dry_run: true,
        ..FlowOptions::default()
    };
    let rehearsal = embed_with(&session, dry).await;
    assert_eq!(rehearsal.exit, Exit::Complete);
    assert!(rehearsal.report.dry_run);
    assert_eq!(
        (rows(&rehearsal).selected, rows(&rehearsal).written),
        (150, 0)
    );
    assert_eq!(simulator.stats().requests, 0);
    assert_eq!((work_items(&stack).await, embedded(&stack).await), (0, 0));
    let writes = ["claim_work", "store_embeddings", "fail_work"];
    for function in writes {
        assert_eq!(recorder.count(&format!("POST /rpc/{function}")), 0);
    }
    // A real run then costs what the dry run said.
    let run = embed(&session).await;
    assert_eq!(run.report.tokens, rehearsal.report.tokens);
    assert_eq!(run.report.usd, rehearsal.report.usd);
}

#[tokio::test]
async fn identical_texts_are_billed_once_and_blank_ones_never() {
    let stack = Stack::fresh().await;
    let simulator = stack.simulator(Config::default()).await;
    let session = stack.session(&simulator, "");
    let mut all = vec!["Free kittens!".to_owned(); 40];
    all.extend(texts(10));
    // Each of Unicode's White_Space characters alone, and all of them together.
    let blank = "\t\n\u{b}\u{c}\r \u{85}\u{a0}\u{1680}\u{2000}\u{2001}\u{2002}\u{2003}\u{2004}\u{2005}\
        \u{2006}\u{2007}\u{2008}\u{2009}\u{200a}\u{2028}\u{2029}\u{202f}\u{205f}\u{3000}";
    all.extend(blank.chars().map(String::from));
    all.extend([String::new(), blank.to_owned()]);
    // These look blank but are not. The provider takes them.
    let unseen = ["\u{200b}", "\u{feff}", "\u{2060}"];
    all.extend(unseen.map(str::to_owned));
    seed(&stack, &all).await;
    let outcome = embed(&session).await;
    assert_eq!(outcome.exit, Exit::Complete);
    assert_eq!(rows(&outcome).written, 40 + 10 + 3);
    assert_eq!(embedded(&stack).await, 53);
    let stats = simulator.stats();
    assert_eq!(stats.embedded_times("Free kittens!"), 1);
    assert_eq!(stats.embedded.len(), 1 + 10 + 3);
    assert_eq!(stats.refused, 0);
    let distinct = "select count(distinct embedding::text) from post_embeddings e
        join posts p on p.id = e.post_id where p.text = 'Free kittens!'";
    assert_eq!(stack.count(distinct).await, 1);
}

#[tokio::test]
async fn only_a_changed_text_is_due_again() {
    let stack = Stack::fresh().await;
    let simulator = stack.simulator(Config::default()).await;
    let session = stack.session(&simulator, "");
    seed(&stack, &texts(30)).await;
    embed(&session).await;
    let change = format!(
        "update posts set text = 'The gnome is back.' where id = '{}'",
        id(5)
    );
    stack.sql(&change).await;
    // An update that does not change the text makes nothing due.
    stack
        .sql("update posts set reaction_count = 7, text = text")
        .await;
    let outcome = embed(&session).await;
    assert_eq!(rows(&outcome).written, 1);
    assert_eq!(simulator.stats().embedded_times("The gnome is back."), 1);
    assert_eq!(embedded(&stack).await, 30);
}

#[tokio::test]
async fn text_that_changes_in_flight_is_embedded_again() {
    let stack = Stack::fresh().await;
    let simulator = stack.simulator(slow(1_000)).await;
    let session = stack.session(&simulator, "");
    let texts = texts(4);
    seed(&stack, &texts).await;
    let edit = async {
        until("the texts are in flight", async || {
            simulator.stats().answered > 0
        })
        .await;
        let change = format!("update posts set text = 'Found!' where id = '{}'", id(2));
        stack.sql(&change).await;
    };
    let (outcome, ()) = tokio::join!(embed(&session), edit);
    assert_eq!(outcome.exit, Exit::Complete);
    assert_eq!(embedded(&stack).await, 4);
    let stats = simulator.stats();
    assert_eq!(
        (
            stats.embedded_times(&texts[2]),
            stats.embedded_times("Found!")
        ),
        (1, 1)
    );
    assert_eq!(work_items(&stack).await, 0);
}

#[tokio::test]
async fn another_model_makes_every_post_due() {
    let stack = Stack::fresh().await;
    let simulator = stack.simulator(Config::default()).await;
    seed(&stack, &texts(20)).await;
    embed(&stack.session(&simulator, "")).await;
    let large = "[embedding]\nmodel = 'text-embedding-3-large'";
    let outcome = embed(&stack.session(&simulator, large)).await;
    assert_eq!(rows(&outcome).written, 20);
    let current = "select count(*) from post_embeddings where model = 'text-embedding-3-large'
        and dimensions = 1536 and not stale";
    assert_eq!(stack.count(current).await, 20);
}

#[tokio::test]
async fn rows_of_the_earlier_implementation_are_current_until_refreshed() {
    let stack = Stack::fresh().await;
    let simulator = stack.simulator(Config::default()).await;
    let session = stack.session(&simulator, "");
    seed(&stack, &texts(12)).await;
    let earlier = "insert into post_embeddings (post_id, embedding, model)
        select id, ('[1' || repeat(',0', 1535) || ']')::vector, 'text-embedding-3-small'
        from posts order by id limit 10";
    stack.sql(earlier).await;
    assert_eq!(rows(&embed(&session).await).written, 2);
    let run = session.begin(FlowOptions::default(), Stop::new());
    let outcome = flow::embed(&session, &run, true).await.unwrap();
    assert_eq!(rows(&outcome).written, 10);
    assert_eq!(embedded(&stack).await, 12);
}

#[tokio::test]
async fn dimensions_that_do_not_fit_the_column_are_refused_before_anything_is_spent() {
    let stack = Stack::fresh().await;
    let simulator = stack.simulator(Config::default()).await;
    let session = stack.session(&simulator, "[embedding]\ndimensions = 256");
    seed(&stack, &texts(3)).await;
    let run = session.begin(FlowOptions::default(), Stop::new());
    let error = flow::embed(&session, &run, false).await.unwrap_err();
    assert_eq!(error.exit(), Exit::Usage);
    let said = error.to_string();
    assert!(
        said.contains("256") && said.contains("holds 1536") && said.contains("alter table"),
        "{said}"
    );
    assert_eq!(simulator.stats().requests, 0);
}

/// Embeds against a provider that refuses everything: the exit, the reason, and the number of requests.
async fn refused(config: Config) -> (Exit, String, u64) {
    let stack = Stack::fresh().await;
    let simulator = stack.simulator(config).await;
    seed(&stack, &texts(1_200)).await;
    let outcome = embed(&stack.session(&simulator, "")).await;
    assert_eq!(embedded(&stack).await, 0);
    assert_eq!(work_items(&stack).await, 0);
    (
        outcome.exit,
        outcome.report.reason.unwrap(),
        simulator.stats().requests,
    )
}

#[tokio::test]
async fn refused_key_and_used_up_quota_end_the_run_at_once() {
    let key = Config {
        key: Some("another".into()),
        ..Config::default()
    };
    let (exit, reason, requests) = refused(key).await;
    assert_eq!(exit, Exit::ProviderRefuses);
    assert!(reason.contains("OPENAI_API_KEY"), "{reason}");
    assert_eq!(requests, 1);
    let quota = Config {
        faults: Faults::only(Fault::Quota, 1.0),
        ..Config::default()
    };
    let (exit, reason, requests) = refused(quota).await;
    assert_eq!(exit, Exit::ProviderRefuses);
    assert!(reason.contains("quota is used up"), "{reason}");
    assert_eq!(requests, 1);
}

#[tokio::test]
async fn schema_without_the_migrations_exits_with_six() {
    let stack = Stack::fresh().await;
    let simulator = stack.simulator(Config::default()).await;
    let program = Program::on(&stack, &simulator.base_url());
    seed(&stack, &texts(3)).await;
    for (function, arguments) in [
        ("estimate_work", ""),
        ("claim_work", "text, uuid, int, int, uuid, int, jsonb"),
        ("store_embeddings", "uuid, jsonb"),
    ] {
        let rename =
            |from: &str, to: &str| format!("alter function {from}({arguments}) rename to {to}");
        stack.sql(&rename(function, "elsewhere")).await;
        let run = program.run(&["embed", "--output", "json"]).await;
        stack.sql(&rename("elsewhere", function)).await;
        assert_eq!(
            run.code,
            Some(6),
            "{function}: {}{}",
            run.stdout,
            run.stderr
        );
        let said = run.stdout + &run.stderr;
        assert!(said.contains("apply the migrations"), "{function}: {said}");
    }
    assert_eq!(work_items(&stack).await, 0);
}
