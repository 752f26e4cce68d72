//! The commands that look: plan, status, rank, search, failures, doctor. None of them writes.

use serde_json::{Value, json};
use sluice_runner::flow::ScoreScope;
use sluice_runner::simulator::{Config, ConfigChange, Fault, Faults, Simulator};
use sluice_tests::{Program, Run, Stack};

use crate::scoring_support::{TWO, add_posts, add_scores, run_score};

/// So many posts with made scores, and the program.
async fn scored(posts: u32) -> (Stack, Simulator, Program) {
    let stack = Stack::fresh().await;
    add_posts(&stack, posts).await;
    add_scores(&stack, posts).await;
    let simulator = stack.simulator(Config::default()).await;
    let program = Program::on(&stack, &simulator.base_url()).configured(TWO);
    (stack, simulator, program)
}

async fn run(program: &Program, arguments: &[&str]) -> Run {
    let run = program.run(arguments).await;
    assert_eq!(run.code, Some(0), "{arguments:?}: {}", run.stderr);
    run
}

async fn json_of(program: &Program, arguments: &[&str]) -> Value {
    run(program, &[arguments, &["--output", "json"]].concat())
        .await
        .json()
}

/// One number that changes whenever anything is written to the tables that commands look at.
async fn everything(stack: &Stack) -> Vec<Value> {
    stack
        .rows(
            "select md5(coalesce(string_agg(t::text, '' order by t::text), '')) as digest from (
               select p::text as t from post_scores p union all select l::text from llm_scores l
               union all select c::text from weight_configs c union all select s::text from settings s
               union all select w::text from work_items w union all select j::text from background_jobs j) all_of_it",
        )
        .await
}

#[tokio::test]
async fn a_plan_says_what_the_runs_then_cost_at_most_and_spends_nothing() {
    let stack = Stack::fresh().await;
    add_posts(&stack, 13).await;
    let simulator = stack.simulator(Config::default()).await;
    let program = Program::on(&stack, &simulator.base_url()).configured(&format!(
        "[limits]\nrequests_per_minute = 500\ntokens_per_minute = 100000\n{}",
        TWO.replace("runs = 1", "runs = 2")
    ));
    let before = everything(&stack).await;
    let plan = json_of(&program, &["plan"]).await;
    assert_eq!(simulator.stats().requests, 0);
    assert_eq!(everything(&stack).await, before);
    let rescore = &plan[2];
    assert_eq!(
        (&rescore["flow"], &rescore["rows"]),
        (&json!("rescore"), &json!(13))
    );
    assert!(rescore["minutes"].as_f64().unwrap() > 0.0);

    for (at, flow) in ["embed", "score"].into_iter().enumerate() {
        let planned = &plan[at];
        assert_eq!(planned["flow"], flow);
        simulator.reset();
        let report = json_of(&program, &[flow]).await;
        let stats = simulator.stats();
        assert_eq!(report["counts"]["written"], planned["rows"], "{flow}");
        assert_eq!(json!(stats.requests), planned["requests"], "{flow}");
        let most = |key: &str| planned[key].as_u64().unwrap();
        assert!(
            stats.input_tokens <= most("input_tokens"),
            "{flow}: {} {planned}",
            stats.input_tokens
        );
        assert!(
            stats.output_tokens <= most("output_tokens_at_most"),
            "{flow}: {planned}"
        );
        assert!(
            report["usd"].as_f64().unwrap() <= planned["usd_at_most"].as_f64().unwrap() + 1e-12
        );
    }
    let done = json_of(&program, &["plan"]).await;
    assert!(
        done.as_array()
            .unwrap()
            .iter()
            .all(|flow| flow["rows"] == 0),
        "{done}"
    );
    insta::assert_snapshot!("plan_of_nothing", run(&program, &["plan"]).await.stdout);
}

#[tokio::test]
async fn a_ranking_is_filtered_and_previews_other_weights_without_writing() {
    let (stack, _simulator, program) = scored(40).await;
    insta::assert_snapshot!(
        "rank",
        run(&program, &["rank", "--limit", "4"]).await.stdout
    );
    let before = everything(&stack).await;
    let all = json_of(&program, &["rank", "--limit", "100"]).await;
    let all = all.as_array().unwrap();
    assert_eq!(all.len(), 40);
    let scores: Vec<f64> = all
        .iter()
        .map(|post| post["final_score"].as_f64().unwrap())
        .collect();
    assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");

    for name in ["Harbor", "harbor"] {
        let some = json_of(
            &program,
            &["rank", "--limit", "100", "--neighborhood", name],
        )
        .await;
        let some = some.as_array().unwrap();
        assert!(some.len() == 20 && some.iter().all(|post| post["neighborhood"] == "Harbor"));
    }
    let crime = json_of(&program, &["rank", "--limit", "100", "--category", "crime"]).await;
    let crime = crime.as_array().unwrap();
    assert!(
        !crime.is_empty()
            && crime
                .iter()
                .all(|post| post["categories"] == json!(["crime"]))
    );
    let high = json_of(&program, &["rank", "--limit", "100", "--min-score", "6"]).await;
    assert_eq!(
        high.as_array().unwrap().len(),
        scores.iter().filter(|score| **score >= 6.0).count()
    );

    let preview = json_of(&program, &["rank", "--weights", r#"{"news_value": 1}"#]).await;
    assert_ne!(preview[0]["id"], all[0]["id"]);
    let warned = run(
        &program,
        &["rank", "--weights", r#"{"news_value": 1, "zest": 1}"#],
    )
    .await;
    assert!(
        warned.stderr.contains("the rubric has no zest"),
        "{}",
        warned.stderr
    );
    assert_eq!(everything(&stack).await, before);
    for weights in ["{}", r#"{"drama": -1}"#, "drama=1"] {
        assert_eq!(
            program.run(&["rank", "--weights", weights]).await.code,
            Some(2),
            "{weights}"
        );
    }
}

#[tokio::test]
async fn a_search_finds_what_is_near_in_meaning() {
    let (stack, simulator, program) = scored(10).await;
    run(&program, &["embed"]).await;
    let found = json_of(
        &program,
        &["search", "loud drums in the night", "--limit", "2"],
    )
    .await;
    let found = found.as_array().unwrap();
    assert_eq!(found.len(), 2);
    for post in found {
        assert!(post["text"].as_str().unwrap().contains("drums"), "{post}");
    }
    assert!(found[0]["similarity"].as_f64() >= found[1]["similarity"].as_f64());
    let near = json_of(
        &program,
        &["search", "loud drums in the night", "--threshold", "0.999"],
    )
    .await;
    assert_eq!(near, json!([]));
    assert_eq!(program.run(&["search", " \n"]).await.code, Some(2));
    insta::assert_snapshot!(
        "search",
        run(
            &program,
            &[
                "search", "has", "anyone", "lost", "a", "grey", "cat", "--limit", "2"
            ]
        )
        .await
        .stdout
    );
    assert_eq!(simulator.stats().embedding_requests, 4);
    assert_eq!(stack.count("select count(*) from work_items").await, 0);
}

#[tokio::test]
async fn a_status_counts_what_there_is() {
    let (stack, _simulator, program) = scored(7).await;
    stack
        .sql(
            "update posts set text = 'changed' where post_id_ext = 'ext1';
             delete from llm_scores where post_id in (select id from posts where post_id_ext = 'ext7');
             insert into work_items (kind, post_id, attempts, dead) select 'embed', id, 2, true from posts limit 1;
             insert into work_items (kind, post_id, leased_until) select 'score', id, now() + interval '1 hour' from posts limit 2;
             update llm_scores set text_hash = 'x' where summary = 'Summary 2';
             insert into background_jobs (type, status) values ('embed_posts', 'pending'), ('embed_posts', 'error')",
        )
        .await;
    let status = json_of(&program, &["status"]).await;
    let counts = [
        "posts",
        "embedded",
        "scored",
        "scores_stale",
        "leased",
        "failing",
        "dead",
    ];
    let counts: Vec<&Value> = counts.iter().map(|key| &status[*key]).collect();
    assert_eq!(
        counts,
        [
            &json!(7),
            &json!(0),
            &json!(6),
            &json!(2),
            &json!(2),
            &json!(0),
            &json!(1)
        ]
    );
    assert_eq!(status["by_fingerprint"], json!({ "made": 6 }));
    assert_eq!(status["jobs"], json!({ "error": 1, "pending": 1 }));
    insta::assert_snapshot!("status", run(&program, &["status"]).await.stdout);
}

#[tokio::test]
async fn failures_are_listed_and_replayed() {
    let stack = Stack::fresh().await;
    add_posts(&stack, 3).await;
    let faults = Faults::only(Fault::ContentFilter, 1.0);
    let simulator = stack
        .simulator(Config {
            faults,
            ..Config::default()
        })
        .await;
    run_score(&stack.session(&simulator, TWO), ScoreScope::Missing).await;
    let program = Program::on(&stack, &simulator.base_url()).configured(TWO);
    stack
        .sql("insert into work_items (kind, post_id, attempts, last_error) select 'embed', id, 1, 'overloaded' from posts limit 1")
        .await;
    insta::assert_snapshot!(
        "failures_list",
        run(&program, &["failures", "list"]).await.stdout
    );
    let listed = json_of(&program, &["failures", "list", "--kind", "score"]).await;
    assert_eq!(listed.as_array().unwrap().len(), 3);
    let one = listed[0]["post_id"].as_str().unwrap();
    let replayed = json_of(&program, &["failures", "replay", "--kind", "score", one]).await;
    assert_eq!(replayed, json!({ "replayed": 1 }));
    let cured = ConfigChange {
        faults: Some(Faults::default()),
        ..ConfigChange::default()
    };
    simulator.change(cured).unwrap();
    assert_eq!(json_of(&program, &["score"]).await["counts"]["written"], 1);
    assert_eq!(
        json_of(&program, &["failures", "replay"]).await,
        json!({ "replayed": 3 })
    );
    assert_eq!(json_of(&program, &["score"]).await["counts"]["written"], 2);
    assert_eq!(
        run(&program, &["failures", "list"]).await.stdout,
        "nothing has failed\n"
    );
}

#[tokio::test]
async fn a_doctor_tells_by_its_exit_code_what_is_wrong() {
    let (_stack, simulator, program) = scored(1).await;
    let checks = json_of(&program, &["doctor"]).await;
    assert!(
        checks
            .as_array()
            .unwrap()
            .iter()
            .all(|check| check["ok"] == true),
        "{checks}"
    );

    let bad_key = ConfigChange {
        faults: Some(Faults::only(Fault::BadKey, 1.0)),
        ..ConfigChange::default()
    };
    simulator.change(bad_key).unwrap();
    let refused = program.run(&["doctor"]).await;
    assert_eq!(refused.code, Some(5), "{}", refused.stdout);

    let nothing = Program::bare().run(&["doctor", "--output", "json"]).await;
    assert_eq!(nothing.code, Some(2));
    let missing = nothing.json()[1]["found"].to_string();
    assert!(missing.contains("SUPABASE_URL"), "{missing}");
    let missing = nothing.json()[2]["found"].to_string();
    assert!(missing.contains("OPENAI_API_KEY"), "{missing}");
    let no_database = Program::bare()
        .with("OPENAI_BASE_URL", &simulator.base_url())
        .with("OPENAI_API_KEY", "test-key");
    simulator
        .change(ConfigChange {
            faults: Some(Faults::default()),
            ..ConfigChange::default()
        })
        .unwrap();
    let checks = no_database
        .run(&["doctor", "--output", "json"])
        .await
        .json();
    assert_eq!(
        (&checks[1]["ok"], &checks[2]["ok"]),
        (&json!(false), &json!(true))
    );
    let malformed = Program::bare()
        .configured("[scoring]\nruns = 99")
        .run(&["doctor"])
        .await;
    assert_eq!(malformed.code, Some(2), "{}", malformed.stdout);

    let away = Program::bare()
        .with("POSTGREST_URL", "http://127.0.0.1:9")
        .with("SUPABASE_SERVICE_KEY", "k")
        .with("OPENAI_BASE_URL", &simulator.base_url())
        .with("OPENAI_API_KEY", "k");
    let unreachable = away.run(&["doctor"]).await;
    assert_eq!(unreachable.code, Some(6), "{}", unreachable.stdout);
    assert_eq!(away.run(&["status"]).await.code, Some(6));
}

#[tokio::test]
async fn the_schemas_and_the_migrations_are_printed() {
    let program = Program::bare();
    let config = program.run(&["schema", "config"]).await.json();
    assert!(config.pointer("/properties/scoring").is_some());
    let report = program.run(&["schema", "report"]).await.json();
    assert!(report.pointer("/properties/counts").is_some());
    let folder = program.file("migrations-here", "").with_file_name("folder");
    let written = program
        .run(&["schema", "migrations", folder.to_str().unwrap()])
        .await;
    assert_eq!(written.code, Some(0), "{}", written.stderr);
    let files = std::fs::read_dir(&folder).unwrap().count();
    assert_eq!(files, sluice_runner::bundled::MIGRATIONS.len());
}
