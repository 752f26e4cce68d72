//! The report as a web page of one file: no network, no script, light and dark, on paper too.
//!
//! It has ids and reasons, and no text of a post. The templates escape every value.

mod chart;
mod file;
mod text;
mod view;

use std::time::Duration;

use askama::Template;
use jiff::Timestamp;

pub use self::file::PageFile;
use self::text::span;
use self::view::{Flow, PastRow, Spend, Words};
use crate::db::Runs;
use crate::exit::Exit;
use crate::report::Outcome;

#[derive(Template)]
#[template(path = "report.html")]
struct Page {
    title: String,
    started: String,
    took: String,
    version: &'static str,
    next: Vec<Words>,
    whole: Flow,
    parts: Vec<Flow>,
    spend: Vec<Spend>,
    history: Vec<PastRow>,
}

/// The page of a run that began at `started`, with what is recorded of it and of earlier ones, from the latest on.
///
/// # Errors
/// None that is known: [`askama::Error`] is what a template can return.
pub fn render(
    outcome: &Outcome,
    started: Timestamp,
    history: &[Runs],
) -> Result<String, askama::Error> {
    let Outcome { report, exit } = outcome;
    let took = Duration::try_from_secs_f64(report.elapsed_seconds).unwrap_or_default();
    let flows = std::iter::once(report).chain(&report.flows);
    let page = Page {
        title: format!("{}: {}", report.flow, view::status(report).1),
        started: view::shown(started),
        took: span(took),
        version: env!("CARGO_PKG_VERSION"),
        next: next_step(*exit).map(view::words).unwrap_or_default(),
        whole: Flow::new(report),
        parts: report.flows.iter().map(Flow::new).collect(),
        spend: flows.flat_map(Spend::of).collect(),
        history: view::past_rows(history),
    };
    page.render()
}

/// What a person does after a run that ended so.
fn next_step(exit: Exit) -> Option<&'static str> {
    match exit {
        Exit::Complete => None,
        Exit::MoreRemains | Exit::Interrupted => Some("Run the same command again: it continues."),
        Exit::SomeFailed => Some(
            "When the cause is fixed, `sluice failures replay` makes the dead letters due again.",
        ),
        Exit::ProviderRefuses | Exit::Database | Exit::Usage => {
            Some("`sluice doctor` says what is wrong and how to mend it.")
        }
        Exit::Unexpected | Exit::ClosedPipe => {
            Some("Run the same command again, with `-v` for more.")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Counts, Failure, Report, RowCounts};

    #[test]
    fn what_came_from_outside_is_escaped() {
        let mut report = Report::new("embed", Counts::Rows(RowCounts::default()));
        let evil = "<img src=x onerror=alert(1)>\"'&`<i>`";
        report.failures = vec![Failure {
            line: None,
            post_id: None,
            reason: evil.to_owned(),
        }];
        report.warnings = vec![evil.to_owned()];
        let outcome = Outcome::stopped(report, Exit::Database, evil);
        let page = render(&outcome, Timestamp::UNIX_EPOCH, &[]).unwrap();
        let (_, body) = page.split_once("<body>").unwrap();
        assert!(!body.contains("<img") && !body.contains("<i>"), "{body}");
        assert_eq!(body.matches("&#60;img").count(), 3);
    }

    #[test]
    fn recorded_runs_are_compared_by_their_tokens() {
        let run = |exit, tokens| Runs {
            id: uuid::Uuid::nil(),
            host: None,
            flow: "embed".to_owned(),
            started_at: Timestamp::UNIX_EPOCH,
            beat_at: Timestamp::UNIX_EPOCH,
            ended_at: Some(Timestamp::from_second(75).unwrap()),
            exit,
            counts: serde_json::json!({ "written": 1_200, "failed": 2 }),
            input_tokens: tokens,
            cached_tokens: 0,
            written_tokens: 0,
            output_tokens: 0,
            usd: None,
            rate: None,
        };
        let report = Report::new("embed", Counts::Rows(RowCounts::default()));
        let history = [run(Some(0), 4_000), run(Some(5), 1_000), run(None, 0)];
        let page = render(&Outcome::ended(report), Timestamp::UNIX_EPOCH, &history).unwrap();
        let (_, rows) = page.split_once("Latest runs").unwrap();
        for shown in [
            "1 January 1970, 00:00 UTC",
            "width:100%",
            "width:25%",
            "1,200",
            "1m 15s",
            "complete",
            "failed (exit 5)",
            "no end recorded",
        ] {
            assert!(rows.contains(shown), "{shown}: {rows}");
        }
    }
}
