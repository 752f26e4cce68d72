//! The commands that only read: plan, status, rank, search, failures, doctor.

use std::time::Duration;

use serde_json::{Value, json};
use sluice_runner::simulator::{Config, Fault, Faults, Simulator};
use sluice_tests::{Program, Stack, signal};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::support::scores::{TWO, add_posts, add_scores};
use crate::support::{set_faults, slow_down, without_services};

/// A stack with this many posts and made-up scores, and the program.
async fn scored(posts: u32) -> (Stack, Simulator, Program) {
    let stack = Stack::fresh().await;
    add_posts(&stack, posts).await;
    add_scores(&stack, posts).await;
    let simulator = stack.simulator(Config::default()).await;
    let program = Program::on(&stack, &simulator.base_url()).configured(TWO);
    (stack, simulator, program)
}

/// A digest of the tables that these commands read. It changes with every write.
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
async fn plan_says_what_runs_cost_at_most_and_spends_nothing() {
    let stack = Stack::fresh().await;
    add_posts(&stack, 13).await;
    let simulator = stack.simulator(Config::default()).await;
    let program = Program::on(&stack, &simulator.base_url()).configured(&format!(
        "[limits]\nrequests_per_minute = 500\ntokens_per_minute = 100000\n{}",
        TWO.replace("runs = 1", "runs = 2")
    ));
    let before = everything(&stack).await;
    let plan = program.json(&["plan"]).await;
    assert_eq!(simulator.stats().requests, 0);
    assert_eq!(everything(&stack).await, before);
    let rescore = &plan[2];
    assert_eq!(
        (&rescore["flow"], &rescore["rows"]),
        (&json!("rescore"), &json!(13))
    );
    assert!(rescore["standard"]["minutes"].as_f64().unwrap() > 0.0);

    for (at, flow) in ["embed", "score"].into_iter().enumerate() {
        let planned = &plan[at];
        assert_eq!(planned["flow"], flow);
        let by_batch = program.json(&[flow, "--batch", "--dry-run"]).await;
        assert_eq!(by_batch["usd"], planned["batch"]["usd_at_most"]);
        simulator.reset();
        let report = program.json(&[flow]).await;
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
        assert!(report["usd"].as_f64().unwrap() <= usd(&planned["standard"]) + 1e-12);
    }
    let done = program.json(&["plan"]).await;
    assert!(
        done.as_array()
            .unwrap()
            .iter()
            .all(|flow| flow["rows"] == 0),
        "{done}"
    );
    insta::assert_snapshot!("plan_of_nothing", program.complete(&["plan"]).await.stdout);
}

fn usd(tier: &Value) -> f64 {
    tier["usd_at_most"].as_f64().unwrap()
}

/// Flex and batches cost half, if the model has them, and say how long they may take.
#[tokio::test]
async fn plan_sets_the_tiers_side_by_side() {
    let stack = Stack::fresh().await;
    add_posts(&stack, 40).await;
    let simulator = stack.simulator(Config::default()).await;
    let limits = "[limits]\nrequests_per_minute = 2\ntokens_per_minute = 10000000\n";
    let program = Program::on(&stack, &simulator.base_url()).configured(limits);
    let flows = ["plan", "embed", "score", "backfill:drama"];
    let plan = program.json(&flows).await;
    let (embed, score, backfill) = (&plan[0], &plan[1], &plan[2]);
    assert_eq!((&embed["flex"], &embed["rows"]), (&Value::Null, &json!(40)));
    assert_eq!(embed["batch"]["minutes_at_most"], 1_440.0);
    for tier in ["flex", "batch"] {
        let half = usd(&score["standard"]) / 2.0;
        assert!((usd(&score[tier]) - half).abs() < 1e-12, "{score}");
    }
    // Of the 16 requests, 2 are sent a minute.
    assert_eq!(score["requests"], 16);
    assert_eq!(score["standard"]["minutes"], 8.0);
    assert_eq!(score["flex"]["minutes_at_least"], 8.0);
    assert_eq!(
        (&backfill["flow"], &backfill["rows"]),
        (&json!("backfill:drama"), &json!(0))
    );
    assert_eq!(backfill["batch"]["minutes_at_most"], 0.0);

    let shown = program.complete(&flows).await.stdout;
    assert!(
        shown.lines().all(|line| line.chars().count() <= 80),
        "{shown}"
    );
    insta::assert_snapshot!("plan_of_tiers", shown);
    let old = "[scoring]\nmodel = 'gpt-4o-mini'\n";
    program.configure(old);
    let plan = program.json(&["plan", "score"]).await;
    assert_eq!(
        (&plan[0]["flex"], &plan[0]["standard"]["minutes"]),
        (&Value::Null, &Value::Null)
    );
    let wrong = program.run(&["plan", "backfill:charm"]).await;
    assert_eq!(wrong.code, Some(2));
    assert!(
        wrong.stderr.contains("no dimension `charm`"),
        "{}",
        wrong.stderr
    );
}

#[tokio::test]
async fn watched_status_shows_how_fast_rows_are_done() {
    let stack = Stack::fresh().await;
    add_posts(&stack, 60).await;
    let simulator = stack.simulator(Config::default()).await;
    // Eight requests of a second each, one at a time.
    slow_down(&simulator, 1_000);
    let slow = "[embedding]\nbatch_size = 8\n[limits]\nconcurrency = 1\ntokens_per_minute = 90000\n\
                requests_per_minute = 600\n[budget]\nusd_per_day = 2\n";
    let program = Program::on(&stack, &simulator.base_url()).configured(&format!("{slow}{TWO}"));
    let mut watch = program.spawn(&["status", "--watch", "1", "--json"]);
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut next = async || -> Value {
        serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap()
    };
    let first = next().await;
    let embed = &first["flows"][0];
    assert_eq!(
        (&embed["flow"], &embed["due"]),
        (&json!("embed"), &json!(60))
    );
    assert_eq!(embed["rows_per_minute"], json!(null));
    assert_eq!(
        (&first["runs"], &first["today"]["usd"]),
        (&json!([]), &json!(0.0))
    );

    let embedding = program.spawn(&["embed"]);
    let mut last = next().await;
    while last["runs"][0]["rate"]["requests_per_minute"]
        .as_f64()
        .unwrap_or(0.0)
        == 0.0
    {
        last = next().await;
    }
    let run = &last["runs"][0];
    assert_eq!(
        (&run["flow"], &run["state"]),
        (&json!("embed"), &json!("running"))
    );
    let rate = &run["rate"];
    assert_eq!(
        (&rate["requests_limit"], &rate["tokens_limit"]),
        (&json!(600), &json!(90_000))
    );
    assert!(rate["tokens_per_minute"].as_f64().unwrap() > 0.0, "{run}");
    assert!(run["usd"].as_f64().unwrap() > 0.0, "{run}");
    let table = program.spawn(&["status", "--watch", "1"]);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    signal(table.id(), "TERM");
    let shown = program.end(table, Duration::from_secs(5)).await.stdout;
    for word in [
        "tokens/min",
        "90000",
        "today (UTC): $",
        "of a budget of $2.00",
    ] {
        assert!(shown.contains(word), "{word}: {shown}");
    }

    while last["flows"][0]["done"] != 60 || last["runs"] != json!([]) {
        last = next().await;
    }
    let run = program.end(embedding, Duration::from_secs(10)).await;
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(last["flows"][0]["due"], 0);
    let rows_per_minute = last["flows"][0]["rows_per_minute"].as_f64();
    assert!(rows_per_minute.unwrap() > 0.0, "{last}");
    assert_eq!(last["flows"][1]["due"], 60, "{last}");
    let billed = simulator.ledger().usd;
    let today = last["today"]["usd"].as_f64().unwrap();
    assert!((today - billed).abs() < 1e-9, "{today} is not {billed}");
    assert_eq!(last["usd_per_day"], 2.0);
    signal(watch.id(), "TERM");
    let run = program.end(watch, Duration::from_secs(5)).await;
    assert_eq!(run.code, Some(0), "{}", run.stderr);
}

#[tokio::test]
async fn rank_filters_and_previews_other_weights_without_writing() {
    let (stack, _simulator, program) = scored(40).await;
    insta::assert_snapshot!(
        "rank",
        program.complete(&["rank", "--limit", "4"]).await.stdout
    );
    let before = everything(&stack).await;
    let all = program.json(&["rank", "--limit", "100"]).await;
    let all = all.as_array().unwrap();
    assert_eq!(all.len(), 40);
    let scores: Vec<f64> = all
        .iter()
        .map(|post| post["final_score"].as_f64().unwrap())
        .collect();
    assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");

    for name in ["Harbor", "harbor"] {
        let some = program
            .json(&["rank", "--limit", "100", "--neighborhood", name])
            .await;
        let some = some.as_array().unwrap();
        assert!(some.len() == 20 && some.iter().all(|post| post["neighborhood"] == "Harbor"));
    }
    let crime = program
        .json(&["rank", "--limit", "100", "--category", "crime"])
        .await;
    let crime = crime.as_array().unwrap();
    assert!(
        !crime.is_empty()
            && crime
                .iter()
                .all(|post| post["categories"] == json!(["crime"]))
    );
    let high = program
        .json(&["rank", "--limit", "100", "--min-score", "6"])
        .await;
    assert_eq!(
        high.as_array().unwrap().len(),
        scores.iter().filter(|score| **score >= 6.0).count()
    );

    let preview = program
        .json(&["rank", "--weights", r#"{"news_value": 1}"#])
        .await;
    assert_ne!(preview[0]["id"], all[0]["id"]);
    let warned = program
        .complete(&["rank", "--weights", r#"{"news_value": 1, "zest": 1}"#])
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
async fn search_finds_what_is_near_in_meaning() {
    let (stack, simulator, program) = scored(10).await;
    program.complete(&["embed"]).await;
    let found = program
        .json(&["search", "loud drums in the night", "--limit", "2"])
        .await;
    let found = found.as_array().unwrap();
    assert_eq!(found.len(), 2);
    for post in found {
        assert!(post["text"].as_str().unwrap().contains("drums"), "{post}");
    }
    assert!(found[0]["similarity"].as_f64() >= found[1]["similarity"].as_f64());
    let near = program
        .json(&["search", "loud drums in the night", "--threshold", "0.999"])
        .await;
    assert_eq!(near, json!([]));
    assert_eq!(program.run(&["search", " \n"]).await.code, Some(2));
    insta::assert_snapshot!(
        "search",
        program
            .complete(&[
                "search", "has", "anyone", "lost", "a", "grey", "cat", "--limit", "2"
            ])
            .await
            .stdout
    );
    assert_eq!(simulator.stats().embedding_requests, 4);
    assert_eq!(stack.count("select count(*) from work_items").await, 0);
}

#[tokio::test]
async fn hybrid_search_also_finds_a_post_by_its_words() {
    let (stack, _simulator, program) = scored(10).await;
    program.complete(&["embed"]).await;
    // Not embedded, so only its words can find it.
    stack
        .sql(
            "insert into posts (neighborhood_id, post_id_ext, text, hash)
               select id, 'new', 'A zeppelin over the harbor', 'new' from neighborhoods limit 1",
        )
        .await;
    let query = ["search", "zeppelins", "--hybrid", "--limit", "11"];
    let found = program.json(&query).await;
    let found = found.as_array().unwrap();
    let zeppelin = |post: &&Value| post["text"].as_str().unwrap().contains("zeppelin");
    let by_words = found.iter().find(zeppelin).unwrap();
    assert_eq!(by_words["similarity"], json!(null));
    assert!(by_words["words"].as_f64().unwrap() > 0.0);
    assert_eq!(found.len(), 11);
    let by_meaning = program
        .json(&["search", "zeppelins", "--limit", "11"])
        .await;
    assert!(
        !by_meaning
            .as_array()
            .unwrap()
            .iter()
            .any(|post| zeppelin(&post))
    );
    let table = program.complete(&query).await.stdout;
    assert!(
        table.contains("similarity") && table.contains("words"),
        "{table}"
    );
}

#[tokio::test]
async fn shells_are_offered_what_is_in_the_database() {
    let (stack, _simulator, program) = scored(2).await;
    let enqueued = program.json(&["jobs", "enqueue", "embed_posts"]).await;
    let program = Program::on(&stack, "http://127.0.0.1:9/v1")
        .with("COMPLETE", "bash")
        .with("_CLAP_COMPLETE_INDEX", "3");
    let offered = async |words: [&str; 4]| {
        let arguments = [["--"].as_slice(), &words].concat();
        program.complete(&arguments).await.stdout
    };
    let jobs = offered(["sluice", "jobs", "cancel", ""]).await;
    assert_eq!(jobs.lines().next(), enqueued["job_id"].as_str());
    let slugs = offered(["sluice", "rank", "--neighborhood", "e"]).await;
    assert_eq!(slugs.trim(), "elm-park");
    let models = offered(["sluice", "rescore", "--compare", "gpt-6-"]).await;
    assert!(
        models.lines().any(|model| model == "gpt-6-luna"),
        "{models}"
    );
    let embedding = offered(["sluice", "rescore", "--compare", "text-"]).await;
    assert_eq!(embedding.trim(), "");
}

#[tokio::test]
async fn status_counts_posts_and_work() {
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
    let status = program.json(&["status"]).await;
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
    insta::assert_snapshot!("status", program.complete(&["status"]).await.stdout);
}

#[tokio::test]
async fn failures_are_listed_and_replayed() {
    let stack = Stack::fresh().await;
    add_posts(&stack, 3).await;
    let simulator = stack.simulator(Config::default()).await;
    let program = Program::on(&stack, &simulator.base_url()).configured(TWO);
    let failed = "insert into work_items (kind, post_id, attempts, last_error)
          select 'embed', id, 1, 'overloaded' from posts order by id limit 1;
        insert into work_items (kind, post_id, attempts, dead, last_error)
          select 'score', id, 1, true, 'the provider''s filter withheld the answer' from posts";
    stack.sql(failed).await;
    insta::assert_snapshot!(
        "failures_list",
        program.complete(&["failures", "list"]).await.stdout
    );
    let listed = program.json(&["failures", "list", "--kind", "score"]).await;
    assert_eq!(listed.as_array().unwrap().len(), 3);
    let one = listed[0]["post_id"].as_str().unwrap();
    let replayed = program
        .json(&["failures", "replay", "--kind", "score", one])
        .await;
    assert_eq!(replayed, json!({ "replayed": 1 }));
    assert_eq!(program.json(&["score"]).await["counts"]["written"], 1);
    assert_eq!(
        program.json(&["failures", "replay"]).await,
        json!({ "replayed": 3 })
    );
    assert_eq!(program.json(&["score"]).await["counts"]["written"], 2);
    assert_eq!(
        program.complete(&["failures", "list"]).await.stdout,
        "nothing has failed\n"
    );
}

#[tokio::test]
async fn exit_code_of_doctor_says_what_is_wrong() {
    let (_stack, simulator, program) = scored(1).await;
    let checks = program.json(&["doctor"]).await;
    assert!(
        checks
            .as_array()
            .unwrap()
            .iter()
            .all(|check| check["ok"] == true),
        "{checks}"
    );

    set_faults(&simulator, Faults::only(Fault::BadKey, 1.0));
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
    set_faults(&simulator, Faults::default());
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

    let away = without_services()
        .with("OPENAI_BASE_URL", &simulator.base_url())
        .with("OPENAI_API_KEY", "k");
    let unreachable = away.run(&["doctor"]).await;
    assert_eq!(unreachable.code, Some(6), "{}", unreachable.stdout);
    assert_eq!(away.run(&["status"]).await.code, Some(6));
}

#[tokio::test]
async fn schemas_and_migrations_are_printed() {
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
