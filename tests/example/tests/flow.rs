//! A flow's requests and report, against a Supabase and a simulator of `OpenAI` that start with the test.

#![expect(clippy::unwrap_used, reason = "a test that cannot run has failed")]

use secrecy::ExposeSecret;
use sluice_example::pick;
use sluice_runner::bundled::MIGRATIONS;
use sluice_runner::config::{Environment, RawConfig, Settings};
use sluice_runner::db::Database;
use sluice_runner::engine::Stop;
use sluice_runner::flow::{FlowOptions, Session, embed};
use sluice_runner::local::{LocalOptions, Server};
use sluice_runner::report::{self, Report};
use sluice_runner::simulator::{self, Config, Latency};
use sluice_sdk::testing::{Exchange, FILTERS, Recorder};
use sluice_sdk::{Client, client::Http};

/// Made-up posts. Their ids are fixed, so that a flow takes them in the same order each time.
const POSTS: &str = "
    insert into neighborhoods (name, slug) values ('Elm Park', 'elm-park');
    insert into posts (id, neighborhood_id, post_id_ext, text, hash, reaction_count)
      select ('00000000-0000-4000-8000-00000000000' || number)::uuid, n.id, number, text, number, reactions
      from neighborhoods n, (values
        ('1', 'A raccoon is in my kitchen', 12),
        ('2', 'Lost: one parrot', 31),
        ('3', 'Free couch on 5th', 2)) as given (number, text, reactions)";

/// A Supabase with three posts. It is gone when it is dropped.
async fn supabase() -> Server {
    let options = LocalOptions {
        migrations: MIGRATIONS,
        ..LocalOptions::default()
    };
    let server = Server::start(&options).await.unwrap();
    server.sql(POSTS).await.unwrap();
    server
}

/// What `sluice` would run with, if these variables were set.
fn session(server: &Server, openai_url: &str) -> Session {
    let environment: Environment = [
        ("SUPABASE_URL", server.url()),
        ("SUPABASE_SERVICE_KEY", server.secret_key().expose_secret()),
        ("OPENAI_BASE_URL", openai_url),
        ("OPENAI_API_KEY", "simulated"),
    ]
    .into_iter()
    .collect();
    Session::new(Settings::check(RawConfig::default(), &environment).unwrap()).unwrap()
}

#[tokio::test]
async fn a_flow_sends_these_requests_and_reports_this() {
    let server = supabase().await;
    let config = Config {
        port: 0,
        // So that the requests that do not wait for it come first each time.
        latency: Latency {
            fixed_ms: 300,
            ..Latency::default()
        },
        ..Config::default()
    };
    let simulator = simulator::start(config).await.unwrap();
    let mut session = session(&server, &simulator.base_url());
    let recorder = Recorder::new(Http::new().unwrap()).hiding(&["embedding", "p_host", "spent"]);
    session.database = Database::through(&recorder, session.settings.database().unwrap()).unwrap();

    let run = session.begin(FlowOptions::default(), Stop::new());
    let outcome = embed(&session, &run, false).await.unwrap();

    let Report { counts, tokens, .. } = &outcome.report;
    assert_eq!(*tokens, simulator.stats().input_tokens, "{counts:?}");
    let filters: Vec<_> = FILTERS.iter().chain(report::FILTERS).copied().collect();
    insta::with_settings!({ filters => filters }, {
        insta::assert_snapshot!("requests_of_the_flow", recorder.snapshot());
        insta::assert_json_snapshot!("report_of_the_flow", outcome.report);
    });
    server.stop().await;
}

/// Records the script again: `cargo test -p sluice-example -- --ignored`.
#[tokio::test]
#[ignore = "it writes the recording that the other test plays"]
async fn record_the_script() {
    let server = supabase().await;
    let recorder = Recorder::new(Http::new().unwrap());
    let db = Client::builder()
        .supabase_url(server.url())
        .key(server.secret_key().clone())
        .transport(recorder.clone())
        .build()
        .unwrap();
    pick(&db, 2).await.unwrap();
    let recording = Exchange::to_lines(&recorder.exchanges());
    std::fs::write("tests/recorded/pick.jsonl", recording).unwrap();
    server.stop().await;
}
