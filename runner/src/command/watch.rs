//! `sluice status --watch`: what is due, in flight, done and dead, how fast it goes, and when it will be done; the runs
//! that go on with their rates and limits, and the money of today.

use std::collections::VecDeque;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;

use super::signal::signalled;
use crate::db::{PipelineStatus, RecordedRun, RunRate, RunStatus, RunsAndMoney, Spending};
use crate::error::Error;
use crate::exit::Exit;
use crate::flow::Session;
use crate::output::{Printer, TextTable, dollars, duration, one_line};

/// Runs that are looked at. Those that go on are among them, unless more began since.
const RUNS: i32 = 50;
/// How much of a host's name the table shows, in columns.
const HOST_SHOWN: usize = 12;
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

/// Everything at one moment.
#[derive(Debug, Serialize)]
struct Watched {
    flows: Vec<FlowStatus>,
    /// Those that go on.
    runs: Vec<RecordedRun>,
    today: Spending,
    /// The budget of all runs.
    usd_per_day: Option<f64>,
}

pub(super) async fn run(seconds: u64, session: &Session, printer: &Printer) -> Result<Exit, Error> {
    let mut samples: VecDeque<(Instant, Value)> = VecDeque::new();
    loop {
        let (status, recorded) = tokio::select! {
            both = look(session) => both?,
            () = signalled() => return Ok(Exit::Complete),
        };
        samples.push_back((Instant::now(), status));
        if samples.len() > SAMPLES {
            samples.pop_front();
        }
        let goes_on = |run: &RecordedRun| run.state == "running";
        let watched = Watched {
            flows: flows(&samples),
            runs: recorded.runs.into_iter().filter(goes_on).collect(),
            today: recorded.today,
            usd_per_day: session.settings.budget.usd_per_day,
        };
        if printer.is_json() {
            printer.json_line(&watched)?;
        } else {
            printer.replace(&shown(&watched))?;
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(seconds)) => {}
            () = signalled() => return Ok(Exit::Complete),
        }
    }
}

async fn look(session: &Session) -> Result<(Value, RunsAndMoney), Error> {
    let status = session.database.call(PipelineStatus {}).await?;
    let runs = RunStatus { p_runs: RUNS };
    Ok((status, session.database.call_shaped(runs).await?))
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

fn shown(watched: &Watched) -> String {
    let flows = table(&watched.flows);
    let runs = match watched.runs.as_slice() {
        [] => "no run is going on".to_owned(),
        runs => run_table(runs),
    };
    format!("{flows}\n\n{runs}\n\n{}", money(watched))
}

/// The money of today, in a sentence.
fn money(watched: &Watched) -> String {
    let Spending { usd, reserved } = watched.today;
    let mut said = vec![format!("today (UTC): {} spent", dollars(usd))];
    if reserved > 0.0 {
        said.push(format!("{} more reserved", dollars(reserved)));
    }
    if let Some(budget) = watched.usd_per_day {
        said.push(format!("of a budget of {}", dollars(budget)));
    }
    said.join(", ")
}

fn run_table(runs: &[RecordedRun]) -> String {
    let titles = ["run", "host", "rows", "tokens/min", "requests/min", "cost"];
    let mut table = TextTable::new(titles);
    for column in 2..titles.len() {
        table = table.right(column);
    }
    for run in runs {
        let rate = |rate: fn(&RunRate) -> (f64, Option<u32>)| match run.rate.as_ref().map(rate) {
            None => String::new(),
            Some((rate, None)) => format!("{rate:.0}"),
            Some((rate, Some(limit))) => format!("{rate:.0} of {limit}"),
        };
        table.row([
            run.flow.clone(),
            one_line(run.host.as_deref().unwrap_or_default(), HOST_SHOWN),
            number(&run.counts, "written").to_string(),
            rate(|rate| (rate.tokens_per_minute, rate.tokens_limit)),
            rate(|rate| (rate.requests_per_minute, rate.requests_limit)),
            run.usd.map_or_else(|| "?".to_owned(), dollars),
        ]);
    }
    table.to_string()
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

    #[test]
    fn money_of_today_is_a_sentence() {
        let watched = |usd, reserved, usd_per_day| Watched {
            flows: Vec::new(),
            runs: Vec::new(),
            today: Spending { usd, reserved },
            usd_per_day,
        };
        let said = money(&watched(0.25, 0.0, None));
        assert_eq!(said, "today (UTC): $0.25 spent");
        let said = money(&watched(0.25, 0.05, Some(2.0)));
        let expected = "today (UTC): $0.25 spent, $0.05 more reserved, of a budget of $2.00";
        assert_eq!(said, expected);
    }
}
