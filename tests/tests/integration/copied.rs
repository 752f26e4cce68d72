//! A text is paid for once, even if its posts are embedded by different runs.

use sluice_runner::engine::Stop;
use sluice_runner::flow::{self, FlowOptions};
use sluice_runner::report::{Counts, RowCounts};
use sluice_runner::simulator::Config;
use sluice_tests::Stack;

#[tokio::test]
async fn post_with_an_embedded_text_gets_a_copy() {
    let stack = Stack::fresh().await;
    let add = |from: u32, to: u32| {
        format!(
            "insert into neighborhoods (name, slug) values ('Elm', 'elm') on conflict do nothing;
             insert into posts (neighborhood_id, post_id_ext, text, hash)
             select n.id, i::text, 'text ' || i % 10, i::text
             from neighborhoods n, generate_series({from}, {to}) i"
        )
    };
    let simulator = stack.simulator(Config::default()).await;
    let session = stack.session(&simulator, "");
    stack.sql(&add(1, 10)).await;
    let run = session.begin(FlowOptions::default(), Stop::new());
    flow::embed(&session, &run, false).await.unwrap();
    let asked = simulator.stats().requests;

    stack.sql(&add(11, 30)).await;
    let run = session.begin(FlowOptions::default(), Stop::new());
    let outcome = flow::embed(&session, &run, false).await.unwrap();
    let done = RowCounts {
        selected: 20,
        written: 20,
        ..RowCounts::default()
    };
    assert_eq!(outcome.report.counts, Counts::Rows(done));
    assert_eq!(outcome.report.requests.openai, 0);
    assert_eq!(simulator.stats().requests, asked);
    let copies = "select count(*) from post_embeddings a join post_embeddings b
        on a.text_hash = b.text_hash and a.embedding::text = b.embedding::text and a.post_id <> b.post_id";
    assert_eq!(stack.count(copies).await, 10 * 3 * 2);
    assert_eq!(stack.count("select count(*) from work_items").await, 0);
}
