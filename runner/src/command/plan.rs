//! `sluice plan`: what is due, and its cost in tokens, dollars and time, at each tier.

use std::fmt;

use serde::Serialize;

use super::models;
use crate::cli::{PlanArgs, PlanFlow};
use crate::error::Error;
use crate::exit::Exit;
use crate::flow::{Preview, ScoreScope, Session, plan_backfill, plan_embed, plan_score};
use crate::output::{Printer, TextTable};
use crate::provider::{BATCH_HOURS, MAX_QUEUED_EMBEDDINGS};
use crate::text::count;

/// One flow's plan.
#[derive(Debug, Serialize)]
struct Planned {
    flow: String,
    rows: u64,
    requests: u64,
    input_tokens: u64,
    output_tokens_at_most: u64,
    standard: TierPlan,
    /// Null if the model does not have this tier.
    flex: Option<TierPlan>,
    /// Null if the model takes no part in batches.
    batch: Option<TierPlan>,
}

/// What a flow costs at one tier, and how long it takes.
#[derive(Debug, Serialize)]
struct TierPlan {
    /// Dollars at most; null if the model has no price.
    usd_at_most: Option<f64>,
    #[serde(flatten)]
    time: Time,
}

/// The time to expect, in minutes.
#[derive(Debug, Serialize)]
enum Time {
    /// At the configured limits; null if none is configured.
    #[serde(rename = "minutes")]
    Usual(Option<f64>),
    /// The same, if there is capacity at once.
    #[serde(rename = "minutes_at_least")]
    AtLeast(Option<f64>),
    /// As the provider promises, if the queue of batches has room.
    #[serde(rename = "minutes_at_most")]
    AtMost(f64),
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
        plans.push(planned(flow, session).await?);
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

async fn planned(flow: &PlanFlow, session: &Session) -> Result<Planned, Error> {
    let (name, preview) = match flow {
        PlanFlow::Embed => ("embed".to_owned(), plan_embed(session).await?),
        PlanFlow::Score => (
            "score".to_owned(),
            plan_score(session, ScoreScope::Missing).await?,
        ),
        PlanFlow::Rescore => (
            "rescore".to_owned(),
            plan_score(session, ScoreScope::Stale).await?,
        ),
        PlanFlow::Backfill(dimension) => (
            format!("backfill:{dimension}"),
            plan_backfill(session, dimension).await?,
        ),
    };
    let embeds = *flow == PlanFlow::Embed;
    let model = if embeds {
        session.settings.embedding.model.clone()
    } else {
        session.rubric().await?.model().to_owned()
    };
    let model = session.settings.models.get(&model);
    let at = |usd: f64, time| TierPlan {
        usd_at_most: preview.price_known.then_some(usd),
        time,
    };
    let minutes = minutes_at_limits(&preview, session);
    let batches = Time::AtMost(batch_minutes(&preview, embeds));
    Ok(Planned {
        flow: name,
        rows: preview.rows,
        requests: preview.requests,
        input_tokens: preview.input_tokens,
        output_tokens_at_most: preview.output_tokens,
        standard: at(preview.costs.standard, Time::Usual(minutes)),
        flex: (model.flex() && !embeds).then(|| at(preview.costs.flex, Time::AtLeast(minutes))),
        batch: model.batch().then(|| at(preview.costs.batch, batches)),
    })
}

/// The longer of the times that the limits of requests and of tokens allow.
fn minutes_at_limits(preview: &Preview, session: &Session) -> Option<f64> {
    let limits = session.settings.limits;
    let minutes =
        |count: u64, limit: Option<u32>| limit.map(|limit| count as f64 / f64::from(limit));
    let tokens = preview.input_tokens + preview.output_tokens;
    let by_requests = minutes(preview.requests, limits.requests_per_minute);
    let by_tokens = minutes(tokens, limits.tokens_per_minute);
    match (by_requests, by_tokens) {
        (Some(requests), Some(tokens)) => Some(requests.max(tokens)),
        (one, other) => one.or(other),
    }
}

/// A day for what the queue of batches holds at once. Its limit of tokens differs by account.
fn batch_minutes(preview: &Preview, embeds: bool) -> f64 {
    let rounds = if embeds {
        preview.requests.div_ceil(MAX_QUEUED_EMBEDDINGS)
    } else {
        preview.requests.min(1)
    };
    rounds as f64 * f64::from(BATCH_HOURS) * 60.0
}

fn table(plans: &[Planned]) -> String {
    let titles = ["flow", "due", "tokens at most", "standard", "flex", "batch"];
    let mut table = TextTable::new(titles);
    for column in 1..titles.len() {
        table = table.right(column);
    }
    for plan in plans {
        let requests = count(plan.requests, "request");
        table.row([
            plan.flow.replacen(':', "\n", 1),
            format!("{}\n{requests}", count(plan.rows, "row")),
            format!(
                "{} in\n{} out",
                plan.input_tokens, plan.output_tokens_at_most
            ),
            plan.standard.to_string(),
            shown(plan.flex.as_ref()),
            shown(plan.batch.as_ref()),
        ]);
    }
    format!("{table}\nDollars at most, and the time to expect. Flex may wait for capacity.")
}

fn shown(plan: Option<&TierPlan>) -> String {
    plan.map_or_else(|| "–".to_owned(), ToString::to_string)
}

impl fmt::Display for TierPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.usd_at_most {
            Some(usd) => write!(f, "${usd:.4}\n{}", self.time),
            None => write!(f, "$?\n{}", self.time),
        }
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, minutes) = match *self {
            Self::Usual(minutes) => ("", minutes),
            Self::AtLeast(minutes) => ("≥ ", minutes),
            Self::AtMost(minutes) => ("≤ ", Some(minutes)),
        };
        match minutes {
            Some(minutes) if minutes >= 120.0 => write!(f, "{sign}{:.0} h", minutes / 60.0),
            Some(minutes) => write!(f, "{sign}{minutes:.1} min"),
            None => f.write_str("? min"),
        }
    }
}
