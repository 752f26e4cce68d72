//! `sluice status`, `search` and `rank`, which change nothing.

use serde_json::{Value, json};

use crate::cli::{RankArgs, SearchArgs};
use crate::config::BudgetSettings;
use crate::db::{
    FoundByBoth, FoundPost, PipelineStatus, RankPosts, RankPostsRow, RecordedRun, RunStatus,
    RunsAndMoney, SearchPostsByEmbedding, SearchPostsHybrid, int, vector_text,
};
use crate::error::Error;
use crate::exit::Exit;
use crate::flow::{Session, embed_query};
use crate::output::{Printer, TextTable, dollars, one_line, room_beside, widest};

/// How many runs the status shows.
const RUNS_SHOWN: i32 = 10;

pub(super) async fn status(session: &Session, printer: &Printer) -> Result<Exit, Error> {
    let mut status = session.database.call(PipelineStatus {}).await?;
    let runs = RunStatus { p_runs: RUNS_SHOWN };
    let runs = session.database.call_shaped(runs).await?;
    let budget = session.settings.budget;
    if let Some(fields) = status.as_object_mut() {
        let spending = json!({
            "today": runs.today, "usd_per_day": budget.usd_per_day,
            "month": runs.month, "usd_per_month": budget.usd_per_month,
        });
        fields.insert("spending".to_owned(), spending);
        fields.insert("runs".to_owned(), json!(runs.runs));
    }
    printer.either(&status, || {
        let counts = counts(&status);
        let money = money(&runs, budget);
        format!("{counts}\n\n{money}\n\n{}", run_table(&runs.runs))
    })?;
    Ok(Exit::Complete)
}

fn counts(status: &Value) -> String {
    let mut table = TextTable::new(["", "count"]).right(1);
    for key in [
        "posts",
        "embedded",
        "embeddings_stale",
        "scored",
        "scores_stale",
        "leased",
        "failing",
        "dead",
    ] {
        let count = status
            .get(key)
            .map_or_else(|| "?".to_owned(), ToString::to_string);
        table.row([key.replace('_', " "), count]);
    }
    for (group, title) in [("by_fingerprint", "scored by rubric"), ("jobs", "jobs")] {
        for (name, count) in status
            .get(group)
            .and_then(|group| group.as_object())
            .into_iter()
            .flatten()
        {
            table.row([format!("{title} {name}"), count.to_string()]);
        }
    }
    table.to_string()
}

fn money(runs: &RunsAndMoney, budget: BudgetSettings) -> String {
    let mut table = TextTable::new(["(UTC)", "spent", "reserved", "budget"])
        .right(1)
        .right(2)
        .right(3);
    for (name, spending, limit) in [
        ("today", runs.today, budget.usd_per_day),
        ("this month", runs.month, budget.usd_per_month),
    ] {
        table.row([
            name.to_owned(),
            dollars(spending.usd),
            dollars(spending.reserved),
            limit.map_or_else(|| "none".to_owned(), dollars),
        ]);
    }
    table.to_string()
}

fn run_table(runs: &[RecordedRun]) -> String {
    if runs.is_empty() {
        return "no run is recorded yet".to_owned();
    }
    let mut table = TextTable::new(["run", "host", "began", "state", "rows", "tokens", "cost"]);
    for column in 4..=6 {
        table = table.right(column);
    }
    for run in runs {
        let state = run
            .exit
            .map_or_else(|| run.state.clone(), |exit| format!("exit {exit}"));
        let rows = run.counts.get("written").map(ToString::to_string);
        table.row([
            run.flow.clone(),
            run.host.clone().unwrap_or_default(),
            format!("{:.0}", run.started_at),
            state,
            rows.unwrap_or_default(),
            (run.input_tokens + run.output_tokens).to_string(),
            run.usd.map_or_else(|| "?".to_owned(), dollars),
        ]);
    }
    table.to_string()
}

pub(super) async fn search(
    arguments: &SearchArgs,
    session: &Session,
    printer: &Printer,
) -> Result<Exit, Error> {
    if arguments.hybrid {
        let found = find_hybrid(session, arguments).await?;
        printer.either(&found, || hybrid_table(&found))?;
        return Ok(Exit::Complete);
    }
    let found = find(session, arguments).await?;
    printer.either(&found, || found_table(&found))?;
    Ok(Exit::Complete)
}

/// Embeds the text and finds the posts nearest to it.
pub(super) async fn find(
    session: &Session,
    arguments: &SearchArgs,
) -> Result<Vec<FoundPost>, Error> {
    let search = SearchPostsByEmbedding {
        query_embedding: embedded(session, &searched(arguments)?).await?,
        similarity_threshold: Some(arguments.threshold),
        result_limit: Some(int(arguments.limit)),
    };
    Ok(session.database.call_shaped(search).await?)
}

async fn find_hybrid(session: &Session, arguments: &SearchArgs) -> Result<Vec<FoundByBoth>, Error> {
    let text = searched(arguments)?;
    let search = SearchPostsHybrid {
        p_embedding: embedded(session, &text).await?,
        p_query: text,
        p_limit: Some(int(arguments.limit)),
    };
    Ok(session.database.call_shaped(search).await?)
}

/// The text to search for.
fn searched(arguments: &SearchArgs) -> Result<String, Error> {
    let text = arguments.text.join(" ");
    if text.trim().is_empty() {
        return Err(Error::Usage("the text to search for is blank".to_owned()));
    }
    Ok(text)
}

/// The vector of a text, as the database takes it.
async fn embedded(session: &Session, text: &str) -> Result<String, Error> {
    let settings = &session.settings.embedding;
    let vector = embed_query(session.provider()?, session.patience(), settings, text).await?;
    Ok(vector_text(&vector))
}

fn hybrid_table(found: &[FoundByBoth]) -> String {
    if found.is_empty() {
        return "no post fits; `sluice status` shows whether every post is embedded".to_owned();
    }
    let mut table = TextTable::new(["score", "similarity", "words", "post"]);
    for column in 0..3 {
        table = table.right(column);
    }
    let shown = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.3}"));
    let room = room_beside(["0.0000", "similarity", "words"].map(str::len));
    for post in found {
        table.row([
            format!("{:.4}", post.score),
            shown(post.similarity),
            shown(post.words),
            one_line(&post.text, room),
        ]);
    }
    table.to_string()
}

pub(super) fn found_table(found: &[FoundPost]) -> String {
    if found.is_empty() {
        return "no post is that similar; `sluice status` shows whether every post is embedded"
            .to_owned();
    }
    let mut table = TextTable::new(["similarity", "post"]).right(0);
    let room = room_beside(["similarity".len()]);
    for post in found {
        table.row([
            format!("{:.3}", post.similarity),
            one_line(&post.text, room),
        ]);
    }
    table.to_string()
}

pub(super) async fn rank(
    arguments: &RankArgs,
    session: &Session,
    printer: &Printer,
) -> Result<Exit, Error> {
    let weights = arguments
        .weights
        .as_deref()
        .map(|text| super::jobs::weights(text, &session.settings.rubric))
        .transpose()?;
    let ranked = session
        .database
        .call(RankPosts {
            p_limit: Some(int(arguments.limit)),
            p_neighborhood: arguments.neighborhood.clone(),
            p_category: arguments.category.clone(),
            p_min_score: arguments.min_score,
            p_weights: weights,
        })
        .await?;
    printer.either(&ranked, || ranked_table(&ranked))?;
    Ok(Exit::Complete)
}

pub(super) fn ranked_table(ranked: &[RankPostsRow]) -> String {
    if ranked.is_empty() {
        return "no post has a matching final score; `sluice score` and `sluice recompute` write final scores"
            .to_owned();
    }
    let titles = ["score", "neighborhood", "categories", "post"];
    let mut table = TextTable::new(titles).right(0);
    let [score, neighborhood, categories, _] = titles;
    let labels: Vec<String> = ranked
        .iter()
        .map(|post| post.categories.join(", "))
        .collect();
    let neighborhoods = ranked
        .iter()
        .filter_map(|post| post.neighborhood.as_deref());
    let room = room_beside([
        score.len(),
        widest(neighborhoods.chain([neighborhood])),
        widest(labels.iter().map(String::as_str).chain([categories])),
    ]);
    for (post, labels) in ranked.iter().zip(&labels) {
        table.row([
            format!("{:.2}", post.final_score),
            post.neighborhood.clone().unwrap_or_default(),
            labels.clone(),
            one_line(&post.text, room),
        ]);
    }
    table.to_string()
}
