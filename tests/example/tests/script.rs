//! The script's requests, against a recording. No server runs.

use sluice_example::pick;
use sluice_sdk::Client;
use sluice_sdk::testing::{Exchange, FILTERS, Player};

#[tokio::test]
async fn the_script_sends_the_recorded_requests() {
    let recording = include_str!("recorded/pick.jsonl");
    let player = Player::new(Exchange::parse_lines(recording).unwrap());
    let db = Client::builder()
        .postgrest_url("http://recorded")
        .transport(player.clone())
        .build()
        .unwrap();
    let picked = pick(&db, 2).await;
    insta::with_settings!({ filters => FILTERS.to_vec() }, {
        insta::assert_snapshot!("requests_of_the_script", player.snapshot());
    });
    assert_eq!(
        picked.unwrap(),
        ["Lost: one parrot", "A raccoon is in my kitchen"]
    );
    assert!(
        player.left().is_empty(),
        "a recorded request is not sent any more"
    );
}
