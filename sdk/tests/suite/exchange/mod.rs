//! Exchanges recorded from a real PostgREST, each replayed through the SDK's public interface. The
//! request is the recorded one, or the list says why not. The recorded response becomes the right
//! typed value or error.

mod embed;
mod failure;
mod filter;
mod function;
mod meaning;
mod read;
mod schema;
mod write;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use futures_util::future::BoxFuture;
use serde_json::Value;
use sluice_sdk::testing::{Exchange, Fake, FakeResponse, RecordedRequest, RecordedResponse};
use sluice_sdk::{Client, Error, error::ErrorKind};

use crate::memory::builder;
use meaning::Meaning;

const RECORD: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../tests/data/postgrest-exchanges.jsonl"
));

static EXCHANGES: LazyLock<BTreeMap<String, Exchange>> = LazyLock::new(|| {
    let exchanges = Exchange::parse_lines(RECORD).unwrap().into_iter();
    exchanges
        .map(|exchange| (exchange.name.clone(), exchange))
        .collect()
});

/// A call through the SDK: it asserts the result, and returns it.
type Check = fn(Client) -> BoxFuture<'static, Result<(), Error>>;

/// How the SDK makes one exchange of the record.
struct Case {
    /// The exchange's name in the record.
    name: &'static str,
    said: Said,
    check: Check,
}

/// How the SDK's request relates to the recorded one.
enum Said {
    /// The same: every parameter, the body, the media type, the schema, and all preferences.
    AsRecorded,
    /// Written differently, with the same meaning to PostgREST.
    InOtherWords {
        /// The method, the path and the body.
        request: &'static str,
        why: &'static str,
    },
    /// Another request, because the SDK cannot make this one. The response is read all the same.
    Never { why: &'static str },
}

const fn recorded(name: &'static str, check: Check) -> Case {
    let said = Said::AsRecorded;
    Case { name, said, check }
}

const fn reworded(
    name: &'static str,
    request: &'static str,
    why: &'static str,
    check: Check,
) -> Case {
    let said = Said::InOtherWords { request, why };
    Case { name, said, check }
}

const fn never(name: &'static str, why: &'static str, check: Check) -> Case {
    let said = Said::Never { why };
    Case { name, said, check }
}

/// The only 4xx response that is not a failure: an offset past the last row is an empty page.
const EMPTY_PAGE: &str = "range past the end with count";

impl Case {
    async fn replay(&self) {
        let name = self.name;
        let Exchange {
            request, response, ..
        } = &EXCHANGES[name];
        let answer = response.clone();
        let fake = Fake::new(move |_| reply(&answer));
        // One recorded URL is longer than the client usually allows.
        let db = builder().url_bytes(10_000).transport(fake.clone());
        let outcome = (self.check)(db.build().unwrap()).await;

        let failed = !(200..300).contains(&response.status) && name != EMPTY_PAGE;
        assert_eq!(outcome.is_err(), failed, "{name}: {outcome:?}");
        if let Err(error) = outcome {
            assert_repeats(name, &error, response);
        }
        self.assert_said(request, &fake.requests());
    }

    fn assert_said(&self, recorded: &RecordedRequest, ours: &[RecordedRequest]) {
        let name = self.name;
        // A dry run asks first whether the server rolls back.
        let asks = |ours: &RecordedRequest| ours.path.ends_with("?limit=0");
        let ours = match ours {
            [first, rest @ ..] if asks(first) => rest,
            all => all,
        };
        match self.said {
            Said::AsRecorded => {
                assert_eq!(ours.len(), 1, "{name}: {ours:?}");
                Meaning::of(&ours[0]).assert_is(&Meaning::of(recorded), name);
            }
            Said::InOtherWords { request, why } => {
                assert_eq!(ours.len(), 1, "{name}: {ours:?}");
                assert_eq!(meaning::line(&ours[0]), request, "{name}: {why}");
            }
            Said::Never { why } => {
                let is_same = |ours: &RecordedRequest| {
                    meaning::line(ours) == meaning::line(recorded)
                        && Meaning::of(ours) == Meaning::of(recorded)
                };
                let same = ours.iter().any(is_same);
                assert!(!same, "{name} is said after all, though {why}");
            }
        }
    }
}

/// The error has every member of the body.
fn assert_repeats(name: &str, error: &Error, response: &RecordedResponse) {
    assert_eq!(error.status().unwrap().as_u16(), response.status, "{name}");
    assert_eq!(error.kind(), ErrorKind::Api, "{name}");
    if response.body.is_empty() {
        assert_eq!(error.code(), None, "{name}");
        return;
    }
    let body: Value = serde_json::from_str(&response.body).unwrap();
    let text = |member: &str| match &body[member] {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    assert_eq!(error.code().map(str::to_owned), text("code"), "{name}");
    assert_eq!(Some(error.message().to_owned()), text("message"), "{name}");
    let details = error.details().map(str::to_owned);
    assert_eq!(details, text("details"), "{name}");
    assert_eq!(error.hint().map(str::to_owned), text("hint"), "{name}");
}

fn reply(response: &RecordedResponse) -> FakeResponse {
    const HEADERS: [&str; 4] = [
        "content-range",
        "content-type",
        "location",
        "preference-applied",
    ];
    let reply = FakeResponse::text(response.status, response.body.clone());
    HEADERS
        .into_iter()
        .fold(reply, |reply, name| match response.headers.get(name) {
            Some(value) => reply.header(name, value),
            None => reply,
        })
}

#[tokio::test]
async fn every_exchange_is_replayed_once() {
    let mut left: Vec<&str> = EXCHANGES.keys().map(String::as_str).collect();
    assert_eq!(left.len(), 115);
    let mut counts = [0; 3];
    let parts = [
        read::CASES,
        filter::CASES,
        embed::CASES,
        write::CASES,
        function::CASES,
        failure::CASES,
    ];
    for case in parts.into_iter().flatten() {
        let name = case.name;
        let place = left.iter().position(|left| *left == name);
        let place = place.unwrap_or_else(|| panic!("{name:?} comes twice, or is not recorded"));
        left.remove(place);
        case.replay().await;
        counts[match case.said {
            Said::AsRecorded => 0,
            Said::InOtherWords { .. } => 1,
            Said::Never { .. } => 2,
        }] += 1;
    }
    assert!(left.is_empty(), "not replayed: {left:?}");
    assert_eq!(counts, [95, 8, 12], "as recorded, in other words, never");
}
