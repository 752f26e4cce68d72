//! The 115 exchanges recorded from a real PostgREST: every answer is read to what it says, and
//! every request that the SDK can make is made with the same meaning.

mod answer;
mod request;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use sluice_sdk::Client;
use sluice_sdk::testing::{Exchange, Fake, KeptResponse, Reply};

use crate::memory::client;

const RECORD: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../tests/data/postgrest-exchanges.jsonl"
));

static EXCHANGES: LazyLock<BTreeMap<String, Exchange>> = LazyLock::new(|| {
    let exchanges = Exchange::parse_lines(RECORD).unwrap();
    exchanges
        .into_iter()
        .map(|exchange| (exchange.name.clone(), exchange))
        .collect()
});

fn exchange(name: &str) -> &'static Exchange {
    EXCHANGES
        .get(name)
        .unwrap_or_else(|| panic!("no exchange is named {name:?}"))
}

/// A client whose every request is answered as the named one was.
fn answered(name: &str) -> Client {
    let response = exchange(name).response.clone();
    client(&Fake::new(move |_| reply(&response)))
}

fn reply(response: &KeptResponse) -> Reply {
    const HEADERS: [&str; 4] = [
        "content-range",
        "content-type",
        "location",
        "preference-applied",
    ];
    let reply = Reply::text(response.status, response.body.clone());
    HEADERS
        .into_iter()
        .fold(reply, |reply, name| match response.headers.get(name) {
            Some(value) => reply.header(name, value),
            None => reply,
        })
}
