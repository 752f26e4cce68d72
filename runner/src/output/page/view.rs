//! A report as the templates show it: every number is a text already.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::super::human::dollars;
use super::super::table::harmless;
use super::chart::{self, Chart, LatencyChart};
use super::text::{compact, grouped, percent, span};
use crate::db::Runs;
use crate::exit::Exit;
use crate::provider::Tier;
use crate::report::{Counts, Failure, Report, RowCounts, Status, StoreCounts};
use crate::text::count;
use crate::traffic::{Bill, Traffic};

/// The most ids of a reason that are shown without being asked for.
const IDS_SHOWN: usize = 8;
/// A shorter run has no rate to speak of.
const RATES_MIN: Duration = Duration::from_secs(3);
/// The most reasons.
const REASONS_MAX: usize = 40;

/// One flow.
pub(super) struct Flow {
    pub(super) name: String,
    /// `good`, `fair` or `bad`, for the colour.
    pub(super) tone: &'static str,
    pub(super) mark: &'static str,
    pub(super) status: &'static str,
    pub(super) reason: Vec<Words>,
    pub(super) is_idle: bool,
    pub(super) dry_run: bool,
    pub(super) tiles: Vec<Tile>,
    pub(super) rows: Vec<Part>,
    pub(super) rows_said: String,
    pub(super) rates: Vec<Chart>,
    pub(super) window: String,
    pub(super) has_limited: bool,
    pub(super) latency: Option<LatencyChart>,
    pub(super) endings: Vec<Part>,
    pub(super) failures: Vec<FailureGroup>,
    pub(super) failures_more: Option<String>,
    pub(super) warnings: Vec<Vec<Words>>,
}

/// A piece of a sentence: words, or code that stands in backticks.
pub(super) struct Words {
    pub(super) is_code: bool,
    pub(super) text: String,
}

/// A number with its name.
pub(super) struct Tile {
    pub(super) label: &'static str,
    pub(super) value: String,
    pub(super) detail: String,
    pub(super) is_bad: bool,
}

/// A part of a whole.
pub(super) struct Part {
    pub(super) label: &'static str,
    pub(super) tone: &'static str,
    pub(super) count: u64,
    pub(super) shown: String,
    /// In percent of the largest.
    pub(super) share: String,
}

/// The rows that failed for one reason.
pub(super) struct FailureGroup {
    pub(super) reason: Vec<Words>,
    pub(super) count: String,
    pub(super) ids: Vec<String>,
    pub(super) more: Vec<String>,
}

/// What a flow spent on a model at one tier.
pub(super) struct Spend {
    pub(super) flow: String,
    pub(super) model: String,
    pub(super) tier: &'static str,
    pub(super) requests: String,
    pub(super) input: String,
    pub(super) cached: String,
    pub(super) output: String,
    pub(super) usd: String,
}

/// A run as it was recorded.
pub(super) struct PastRow {
    pub(super) started: String,
    pub(super) flow: String,
    pub(super) tone: &'static str,
    pub(super) status: String,
    pub(super) rows: String,
    pub(super) failed: String,
    pub(super) tokens: String,
    pub(super) usd: String,
    pub(super) took: String,
    pub(super) share: String,
}

/// How a run ended: its colour, the word and the mark for it.
pub(super) fn status(report: &Report) -> (&'static str, &'static str, &'static str) {
    match report.status {
        Status::Complete => ("good", "complete", "✓"),
        Status::Partial => ("fair", "partial", "●"),
        Status::Failed => ("bad", "failed", "✕"),
    }
}

impl Flow {
    pub(super) fn new(report: &Report) -> Self {
        let (tone, status, mark) = status(report);
        let took = took(report);
        let traffic = report.traffic.as_deref();
        let rows = rows(&report.counts);
        let said: Vec<String> = rows
            .iter()
            .map(|part| format!("{} {}", part.shown, part.label))
            .collect();
        let (failures, failures_more) = reasons(report);
        Self {
            name: report.flow.clone(),
            tone,
            mark,
            status,
            reason: report.reason.as_deref().map(words).unwrap_or_default(),
            is_idle: rows.is_empty()
                && !report.dry_run
                && matches!(report.status, Status::Complete),
            dry_run: report.dry_run,
            tiles: tiles(report),
            rows,
            rows_said: said.join(", "),
            rates: traffic
                .map(|traffic| rates(traffic, took))
                .unwrap_or_default(),
            window: traffic
                .map(|traffic| chart::window_said(&traffic.series, took))
                .unwrap_or_default(),
            has_limited: report.requests.rate_limited > 0,
            latency: traffic.and_then(|traffic| chart::latencies(&traffic.latencies)),
            endings: traffic.map(endings).unwrap_or_default(),
            failures,
            failures_more,
            warnings: report.warnings.iter().map(|text| words(text)).collect(),
        }
    }
}

impl Spend {
    /// A row for each tier. None if the flow was billed for nothing.
    pub(super) fn of(report: &Report) -> Vec<Self> {
        let Some(traffic) = report.traffic.as_deref() else {
            return Vec::new();
        };
        let of_tier = |(tier, bill): (&Tier, &Bill)| Self {
            flow: report.flow.clone(),
            model: harmless(&traffic.model),
            tier: tier.name(),
            requests: grouped(bill.requests),
            input: grouped(bill.usage.input_tokens),
            cached: grouped(bill.usage.cached_input_tokens),
            output: grouped(bill.usage.output_tokens),
            // Without a price, the sum of the report is unknown as well.
            usd: usd(report.usd.map(|_| bill.usd)),
        };
        traffic.bills.iter().map(of_tier).collect()
    }
}

/// Recorded runs as rows of a table. The bar compares their tokens.
pub(super) fn past_rows(runs: &[Runs]) -> Vec<PastRow> {
    let tokens = |run: &Runs| u64::try_from(run.input_tokens + run.output_tokens).unwrap_or(0);
    let most = runs.iter().map(tokens).max().unwrap_or(0);
    let row = |run: &Runs| {
        let (tone, status) = recorded_end(run.exit);
        let count = |key| run.counts.get(key).and_then(Value::as_u64).unwrap_or(0);
        let took = run.ended_at.map(|end| end.duration_since(run.started_at));
        let took = took.and_then(|took| Duration::try_from(took).ok());
        PastRow {
            started: shown(run.started_at),
            flow: harmless(&run.flow),
            tone,
            status,
            rows: grouped(count("written")),
            failed: grouped(count("failed")),
            tokens: grouped(tokens(run)),
            usd: usd(run.usd),
            took: took.map(span).unwrap_or_default(),
            share: percent(tokens(run) as f64, most as f64),
        }
    };
    runs.iter().map(row).collect()
}

/// How a recorded run ended, and its colour.
fn recorded_end(exit: Option<i32>) -> (&'static str, String) {
    let is = |known: Exit| exit == Some(known.code().into());
    match exit {
        None => ("idle", "no end recorded".to_owned()),
        Some(_) if is(Exit::Complete) => ("good", "complete".to_owned()),
        Some(_) if is(Exit::MoreRemains) => ("fair", "more remains".to_owned()),
        Some(_) if is(Exit::SomeFailed) => ("fair", "some rows failed".to_owned()),
        Some(_) if is(Exit::Interrupted) => ("fair", "interrupted".to_owned()),
        Some(code) => ("bad", format!("failed (exit {code})")),
    }
}

/// A sentence in pieces. If a backtick is never closed, it is all words.
pub(super) fn words(sentence: &str) -> Vec<Words> {
    let pieces: Vec<&str> = sentence.split('`').collect();
    let is_closed = pieces.len() % 2 == 1;
    let piece = |(at, text): (usize, &&str)| Words {
        is_code: at % 2 == 1,
        text: harmless(text),
    };
    if is_closed {
        return pieces.iter().enumerate().map(piece).collect();
    }
    vec![piece((0, &sentence))]
}

fn took(report: &Report) -> Duration {
    Duration::try_from_secs_f64(report.elapsed_seconds).unwrap_or_default()
}

fn usd(usd: Option<f64>) -> String {
    usd.map_or_else(|| "unknown".to_owned(), dollars)
}

fn tile(label: &'static str, value: String, detail: String) -> Tile {
    Tile {
        label,
        value,
        detail,
        is_bad: false,
    }
}

fn tiles(report: &Report) -> Vec<Tile> {
    let mut tiles = match &report.counts {
        Counts::Store(counts) => store_tiles(counts),
        Counts::Rows(_) if report.dry_run => Vec::new(),
        Counts::Rows(counts) => row_tiles(counts),
    };
    if let (Counts::Rows(counts), true) = (&report.counts, report.dry_run) {
        tiles.push(tile("Rows due", grouped(counts.selected), String::new()));
    }
    let requests = report.requests;
    if report.tokens > 0 || requests.openai > 0 {
        let written = match report.output_tokens {
            0 => String::new(),
            tokens => format!("{} written by the model", compact(tokens as f64)),
        };
        tiles.push(tile("Tokens", grouped(report.tokens), written));
        let detail = match report.usd {
            Some(_) => String::new(),
            None => "the model has no price".to_owned(),
        };
        tiles.push(tile("Cost", usd(report.usd), detail));
    }
    tiles.push(match (requests.openai, requests.supabase) {
        (0, sent) => tile("Requests", grouped(sent), "to Supabase".to_owned()),
        (openai, supabase) => {
            let detail = format!("to the provider, {} to Supabase", grouped(supabase));
            tile("Requests", grouped(openai), detail)
        }
    });
    let memory = report.peak_memory_bytes;
    let memory = memory.map(|bytes| format!("at most {} MiB", bytes >> 20));
    tiles.push(tile("Time", span(took(report)), memory.unwrap_or_default()));
    tiles
}

fn store_tiles(counts: &StoreCounts) -> Vec<Tile> {
    let of = format!("of {}", count(counts.read, "line"));
    let created = count(counts.neighborhoods_created, "new neighborhood");
    vec![
        tile("Posts stored", grouped(counts.inserted), of),
        tile(
            "Skipped",
            grouped(counts.skipped),
            "there already".to_owned(),
        ),
        failed(counts.failed, created),
    ]
}

fn row_tiles(counts: &RowCounts) -> Vec<Tile> {
    let of = format!("of {} claimed", grouped(counts.selected));
    let dead = count(counts.dead, "dead letter");
    vec![
        tile("Rows written", grouped(counts.written), of),
        failed(counts.failed, dead),
    ]
}

fn failed(failed: u64, detail: String) -> Tile {
    Tile {
        is_bad: failed > 0,
        ..tile("Failed", grouped(failed), detail)
    }
}

/// What became of the rows or lines, without what did not occur. Empty if there were none.
fn rows(counts: &Counts) -> Vec<Part> {
    let parts = match counts {
        Counts::Store(counts) => [
            ("stored", "good", counts.inserted),
            ("there already", "idle", counts.skipped),
            ("failed", "bad", counts.failed),
            ("unread", "idle", 0),
        ],
        Counts::Rows(counts) => {
            let ended = counts.written + counts.skipped + counts.failed;
            [
                ("written", "good", counts.written),
                ("needed no work", "idle", counts.skipped),
                ("failed", "bad", counts.failed),
                (
                    "released, still due",
                    "fair",
                    counts.selected.saturating_sub(ended),
                ),
            ]
        }
    };
    shares(parts.into_iter())
}

fn endings(traffic: &Traffic) -> Vec<Part> {
    let tone = |how: &str| match how {
        "success" => "good",
        how if how.starts_with("429") => "fair",
        _ => "bad",
    };
    let mut endings = shares(
        traffic
            .endings
            .iter()
            .map(|(how, count)| (*how, tone(how), *count)),
    );
    endings.sort_by_key(|ending| std::cmp::Reverse(ending.count));
    endings
}

fn shares(parts: impl Iterator<Item = (&'static str, &'static str, u64)>) -> Vec<Part> {
    let parts: Vec<_> = parts.filter(|(_, _, count)| *count > 0).collect();
    let most = parts.iter().map(|(_, _, count)| *count).max().unwrap_or(0);
    let share = |(label, tone, count): (_, _, u64)| Part {
        label,
        tone,
        count,
        shown: grouped(count),
        share: percent(count as f64, most as f64),
    };
    parts.into_iter().map(share).collect()
}

fn rates(traffic: &Traffic, took: Duration) -> Vec<Chart> {
    if took < RATES_MIN {
        return Vec::new();
    }
    let series = &traffic.series;
    let (tokens, requests) = (traffic.tokens_per_minute, traffic.requests_per_minute);
    let requests = chart::rate(
        "Requests a minute",
        series,
        |it| it.requests,
        requests,
        took,
    );
    let mut tokens = chart::rate("Tokens a minute", series, |it| it.tokens, tokens, took);
    // The ticks count requests, so the tokens have none.
    tokens.limited.clear();
    vec![tokens, requests]
}

/// The failures by reason, the most frequent first, and what is left out.
fn reasons(report: &Report) -> (Vec<FailureGroup>, Option<String>) {
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for failure in &report.failures {
        let (reason, request) = without_request(&failure.reason);
        let id = id(failure) + &request.map(|id| format!(" · {id}")).unwrap_or_default();
        match groups.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, ids)) => ids.push(id),
            None => groups.push((reason, vec![id])),
        }
    }
    groups.sort_by_key(|(_, ids)| std::cmp::Reverse(ids.len()));
    let listed: usize = groups
        .iter()
        .take(REASONS_MAX)
        .map(|(_, ids)| ids.len())
        .sum();
    let hidden = report.failed().saturating_sub(listed as u64);
    let noun = match report.counts {
        Counts::Store(_) => "line",
        Counts::Rows(_) => "post",
    };
    let reason = |(reason, mut ids): (String, Vec<String>)| FailureGroup {
        reason: words(&reason),
        count: count(ids.len() as u64, noun),
        more: ids.split_off(IDS_SHOWN.min(ids.len())),
        ids,
    };
    let more = (hidden > 0 && listed > 0).then(|| {
        format!(
            "{} failed besides these.",
            count(hidden, &format!("more {noun}"))
        )
    });
    (
        groups.into_iter().take(REASONS_MAX).map(reason).collect(),
        more,
    )
}

/// A reason without the id of the request, which would keep rows with the same reason apart, and that id.
fn without_request(reason: &str) -> (String, Option<String>) {
    let Some((before, rest)) = reason.split_once(", request ") else {
        return (reason.to_owned(), None);
    };
    let end = rest.find([')', ',', ' ']).unwrap_or(rest.len());
    let (id, after) = rest.split_at(end);
    (format!("{before}{after}"), Some(harmless(id)))
}

fn id(failure: &Failure) -> String {
    match (failure.line, failure.post_id) {
        (Some(line), _) => format!("line {line}"),
        (None, Some(post)) => post.to_string(),
        (None, None) => String::new(),
    }
}

/// A moment.
pub(super) fn shown(time: Timestamp) -> String {
    time.strftime("%-d %B %Y, %H:%M UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_with_the_same_reason_are_one_group() {
        let counts = RowCounts {
            failed: 20,
            ..RowCounts::default()
        };
        let mut report = Report::new("embed", Counts::Rows(counts));
        for number in 0..12_u128 {
            report.failures.push(Failure {
                line: None,
                post_id: Some(uuid::Uuid::from_u128(number)),
                reason: format!("refused (status 400, request req_{number})"),
            });
        }
        let (groups, more) = reasons(&report);
        let [group] = groups.as_slice() else {
            panic!("{} groups", groups.len());
        };
        assert_eq!(group.reason[0].text, "refused (status 400)");
        assert_eq!((group.ids.len(), group.more.len()), (IDS_SHOWN, 4));
        assert!(group.ids[3].ends_with("0003 · req_3"), "{}", group.ids[3]);
        assert_eq!(more.as_deref(), Some("8 more posts failed besides these."));
    }

    #[test]
    fn code_stands_apart_from_words_if_its_backticks_match() {
        let shown = |sentence| {
            let pieces = words(sentence).into_iter();
            pieces
                .map(|piece| (piece.is_code, piece.text))
                .collect::<Vec<_>>()
        };
        let expected = [
            (false, "run ".to_owned()),
            (true, "a b".to_owned()),
            (false, " now".to_owned()),
        ];
        assert_eq!(shown("run `a b` now"), expected);
        assert_eq!(
            shown("a lone ` stays"),
            [(false, "a lone ` stays".to_owned())]
        );
        assert_eq!(shown("\u{202e}evil"), [(false, " evil".to_owned())]);
    }
}
