//! What a shell offers for a value: names and ids from the configuration and the database.
//!
//! A shell waits for this while somebody types. So each list is short and no error is shown.

use std::time::Duration;

use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};

use crate::config::{self, Environment, Settings};
use crate::db::{BackgroundJobs, Database, Job, ListWeightConfigs, Neighborhood, Neighborhoods};
use crate::provider::Models;

/// How long a shell waits for the database.
const PATIENCE: Duration = Duration::from_secs(2);
/// The most values that are offered.
const OFFERED: u64 = 50;

/// The latest jobs, each with its type and status.
pub(super) fn jobs() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        from_database(async |database| {
            let read = database.client().from::<BackgroundJobs>().select::<Job>();
            let jobs = read
                .order(BackgroundJobs::CREATED_AT.desc())
                .limit(OFFERED)
                .await
                .ok()?;
            let describe = |job: Job| {
                let help = format!("{}, {}", job.r#type, job.status);
                candidate(&job.id, help)
            };
            Some(jobs.into_iter().map(describe).collect())
        })
    })
}

/// The stored weights, each with its name.
pub(super) fn weights() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        from_database(async |database| {
            let configs = database.call_shaped(ListWeightConfigs {}).await.ok()?;
            let named = configs
                .into_iter()
                .map(|config| candidate(&config.id, config.name.unwrap_or_default()));
            Some(named.collect())
        })
    })
}

/// The neighborhoods by their slugs, each with its name.
pub(super) fn neighborhoods() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        from_database(async |database| {
            let read = database.client().from::<Neighborhoods>();
            let found = read
                .select::<Neighborhood>()
                .order(Neighborhoods::SLUG.asc())
                .limit(OFFERED)
                .await
                .ok()?;
            let named = found
                .into_iter()
                .map(|found| candidate(&found.slug, found.name));
            Some(named.collect())
        })
    })
}

/// The models that can score, each with its price.
pub(super) fn models() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let models = settings().map_or_else(Models::default, |settings| settings.models);
        let offered = Models::priced().filter_map(|name| {
            let price = models.get(name).price()?;
            // A model of embeddings writes nothing.
            let help = format!(
                "${} in, ${} out, a million tokens",
                price.input, price.output
            );
            (price.output > 0.0).then(|| candidate(&name, help))
        });
        offered.collect()
    })
}

/// The dimensions of the rubric, each with its question.
pub(super) fn dimensions() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let Some(settings) = settings() else {
            return Vec::new();
        };
        let dimensions = settings.rubric.dimensions.into_iter();
        dimensions
            .map(|dimension| candidate(&dimension.name, dimension.description))
            .collect()
    })
}

/// The flows of a plan, with a backfill of each dimension.
pub(super) fn planned() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let flows = ["embed", "score", "rescore"].map(CompletionCandidate::new);
        let rubric = settings().map(|settings| settings.rubric.dimensions);
        let backfills = rubric.into_iter().flatten().map(|dimension| {
            let flow = format!("backfill:{}", dimension.name);
            candidate(&flow, dimension.description)
        });
        flows.into_iter().chain(backfills).collect()
    })
}

fn candidate(value: &impl ToString, help: String) -> CompletionCandidate {
    CompletionCandidate::new(value.to_string()).help(Some(help.into()))
}

fn settings() -> Option<Settings> {
    config::load(None, &Environment::read()).ok()
}

/// Reads candidates from the database. Offers none if there is no database or it is slow.
fn from_database(
    read: impl AsyncFnOnce(&Database) -> Option<Vec<CompletionCandidate>>,
) -> Vec<CompletionCandidate> {
    let read = || {
        let database = Database::new(settings()?.database().ok()?).ok()?;
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().ok()?;
        let found = async { tokio::time::timeout(PATIENCE, read(&database)).await };
        runtime.block_on(found).ok()?
    };
    read().unwrap_or_default()
}
