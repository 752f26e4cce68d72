//! `sluice plan`: what is due, and its cost in tokens, dollars and minutes.

use serde::Serialize;

use super::models;
use crate::cli::{PlanArgs, PlanFlow};
use crate::error::Error;
use crate::exit::Exit;
use crate::flow::{Preview, ScoreScope, Session, plan_embed, plan_score};
use crate::output::{Printer, TextTable};

/// One flow's plan.
#[derive(Debug, Serialize)]
struct Planned {
    flow: &'static str,
    rows: u64,
    requests: u64,
    input_tokens: u64,
    output_tokens_at_most: u64,
    /// Dollars at most; null if the model has no price.
    usd_at_most: Option<f64>,
    /// The same in the flex tier; null if there is none.
    usd_at_most_flex: Option<f64>,
    /// The same by batches, within a day; null if there are none.
    usd_at_most_batch: Option<f64>,
    /// Minutes at the configured limits; null if none is configured.
    minutes: Option<f64>,
}

pub(super) async fn run(
    arguments: &PlanArgs,
    session: &Session,
    printer: &Printer,
) -> Result<Exit, Error> {
    let mut plans = Vec::new();
    let scores = |flow: &PlanFlow| !matches!(flow, PlanFlow::Embed);
    warn(session, arguments.flows.iter().any(scores)).await?;
    for flow in &arguments.flows {
        let (name, preview) = match flow {
            PlanFlow::Embed => ("embed", plan_embed(session).await?),
            PlanFlow::Score => ("score", plan_score(session, ScoreScope::Missing).await?),
            PlanFlow::Rescore => ("rescore", plan_score(session, ScoreScope::Stale).await?),
        };
        plans.push(planned(name, &preview, session));
    }
    printer.either(&plans, || table(&plans))?;
    Ok(Exit::Complete)
}

/// Warns of what is wrong with the models, will be, or was decided for them.
async fn warn(session: &Session, scores: bool) -> Result<(), Error> {
    let rubric = if scores {
        Some(session.rubric().await?)
    } else {
        None
    };
    let kept = rubric.as_ref().and_then(|it| session.kept_model(it));
    // What is said about a model that is kept has its end in it.
    let told = rubric.as_deref().filter(|_| kept.is_none());
    let settings = &session.settings;
    let warnings = models::warnings(session.provider()?, settings, told).await;
    for warning in kept.into_iter().chain(warnings) {
        tracing::warn!("{warning}");
    }
    Ok(())
}

fn planned(flow: &'static str, preview: &Preview, session: &Session) -> Planned {
    let limits = session.settings.limits;
    let tokens = preview.input_tokens + preview.output_tokens;
    let minutes =
        |count: u64, limit: Option<u32>| limit.map(|limit| count as f64 / f64::from(limit));
    let by_requests = minutes(preview.requests, limits.requests_per_minute);
    let by_tokens = minutes(tokens, limits.tokens_per_minute);
    Planned {
        flow,
        rows: preview.rows,
        requests: preview.requests,
        input_tokens: preview.input_tokens,
        output_tokens_at_most: preview.output_tokens,
        usd_at_most: preview.price_known.then_some(preview.usd),
        usd_at_most_flex: preview.usd_flex.filter(|_| preview.price_known),
        usd_at_most_batch: preview.usd_batch.filter(|_| preview.price_known),
        minutes: match (by_requests, by_tokens) {
            (Some(requests), Some(tokens)) => Some(requests.max(tokens)),
            (one, other) => one.or(other),
        },
    }
}

fn table(plans: &[Planned]) -> String {
    let titles = [
        "flow",
        "rows",
        "requests",
        "input tokens",
        "output tokens at most",
        "cost at most",
        "minutes",
        "with flex",
        "by batch, in a day",
    ];
    let mut table = TextTable::new(titles);
    for column in 1..titles.len() {
        table = table.right(column);
    }
    for plan in plans {
        let unknown = || "?".to_owned();
        let other = |usd: Option<f64>| usd.map_or_else(String::new, |usd| format!("${usd:.4}"));
        table.row([
            plan.flow.to_owned(),
            plan.rows.to_string(),
            plan.requests.to_string(),
            plan.input_tokens.to_string(),
            plan.output_tokens_at_most.to_string(),
            plan.usd_at_most
                .map_or_else(unknown, |usd| format!("${usd:.4}")),
            plan.minutes
                .map_or_else(unknown, |minutes| format!("{minutes:.1}")),
            other(plan.usd_at_most_flex),
            other(plan.usd_at_most_batch),
        ]);
    }
    table.to_string()
}
