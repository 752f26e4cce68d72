//! `sluice status --watch`: what is due, in flight, done and dead, how fast it goes, and when it will be done.

use std::collections::VecDeque;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;

use super::signal::signalled;
use crate::db::PipelineStatus;
use crate::error::Error;
use crate::exit::Exit;
use crate::flow::Session;
use crate::output::{Printer, TextTable, duration};

/// Rates are those of the last samples, so that a pause is soon forgotten.
const SAMPLES: usize = 12;

/// One flow at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct FlowStatus {
    flow: &'static str,
    due: u64,
    in_flight: u64,
    done: u64,
    dead: u64,
    /// Rows that became current in a minute. Null until there are two samples.
    rows_per_minute: Option<f64>,
    /// Seconds until nothing is due at this rate. Null if nothing moves.
    seconds_left: Option<u64>,
}

pub(super) async fn run(seconds: u64, session: &Session, printer: &Printer) -> Result<Exit, Error> {
    let mut samples: VecDeque<(Instant, Value)> = VecDeque::new();
    loop {
        let status = tokio::select! {
            status = session.database.call(PipelineStatus {}) => status?,
            () = signalled() => return Ok(Exit::Complete),
        };
        samples.push_back((Instant::now(), status));
        if samples.len() > SAMPLES {
            samples.pop_front();
        }
        let flows = flows(&samples);
        if printer.is_json() {
            printer.json_line(&flows)?;
        } else {
            printer.replace(&table(&flows))?;
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(seconds)) => {}
            () = signalled() => return Ok(Exit::Complete),
        }
    }
}

/// Each flow by the newest sample, with its rate since the oldest.
fn flows(samples: &VecDeque<(Instant, Value)>) -> Vec<FlowStatus> {
    let (Some((first_at, first)), Some((last_at, last))) = (samples.front(), samples.back()) else {
        return Vec::new();
    };
    let elapsed = last_at.duration_since(*first_at);
    [
        ("embed", "embedded", "embeddings_stale"),
        ("score", "scored", "scores_stale"),
    ]
    .map(|(flow, all, stale)| {
        let done = |status: &Value| number(status, all).saturating_sub(number(status, stale));
        let moved = done(last) as f64 - done(first) as f64;
        of_flow(flow, last, done(last), rate(moved, elapsed))
    })
    .to_vec()
}

fn of_flow(
    flow: &'static str,
    status: &Value,
    done: u64,
    rows_per_minute: Option<f64>,
) -> FlowStatus {
    let work = status.get("work").and_then(|work| work.get(flow));
    let of_work = |key: &str| work.map_or(0, |work| number(work, key));
    let (in_flight, dead) = (of_work("leased"), of_work("dead"));
    let due = number(status, "posts").saturating_sub(done + in_flight + dead);
    let left = (due + in_flight) as f64;
    let moving = rows_per_minute.filter(|rate| *rate > 0.0 && left > 0.0);
    let seconds_left = moving.map(|rate| Duration::from_secs_f64(left / rate * 60.0).as_secs());
    FlowStatus {
        flow,
        due,
        in_flight,
        done,
        dead,
        rows_per_minute,
        seconds_left,
    }
}

fn rate(moved: f64, elapsed: Duration) -> Option<f64> {
    let minutes = elapsed.as_secs_f64() / 60.0;
    (minutes > 0.0).then(|| (moved / minutes).max(0.0))
}

fn number(value: &Value, key: &str) -> u64 {
    value.get(key).and_then(Value::as_u64).unwrap_or_default()
}

fn table(flows: &[FlowStatus]) -> String {
    let titles = [
        "flow",
        "due",
        "in flight",
        "done",
        "dead",
        "rows/min",
        "left",
    ];
    let mut table = TextTable::new(titles);
    for column in 1..titles.len() {
        table = table.right(column);
    }
    for flow in flows {
        table.row([
            flow.flow.to_owned(),
            flow.due.to_string(),
            flow.in_flight.to_string(),
            flow.done.to_string(),
            flow.dead.to_string(),
            flow.rows_per_minute
                .map_or_else(String::new, |rate| format!("{rate:.0}")),
            flow.seconds_left
                .map_or_else(String::new, |left| duration(Duration::from_secs(left))),
        ]);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rate_and_rest_are_those_of_the_samples() {
        let status = |embedded: u64| {
            json!({
                "posts": 1_000, "embedded": embedded, "embeddings_stale": 10, "scored": 0, "scores_stale": 0,
                "work": { "embed": { "leased": 50, "dead": 2 } },
            })
        };
        let now = Instant::now();
        let samples = VecDeque::from([
            (now, status(200)),
            (now + Duration::from_secs(30), status(500)),
        ]);
        let flows = flows(&samples);
        let expected = FlowStatus {
            flow: "embed",
            due: 458,
            in_flight: 50,
            done: 490,
            dead: 2,
            rows_per_minute: Some(600.0),
            seconds_left: Some(50),
        };
        assert_eq!(flows[0], expected);
        assert_eq!((flows[1].due, flows[1].seconds_left), (1_000, None));
        assert!(table(&flows).contains("50 s"), "{}", table(&flows));
    }
}
