//! The kinds of background jobs: the name, the parameters and the flow of each.

use clap::ValueEnum;
use serde_json::{Value, json};

use crate::error::Error;
use crate::flow::{self, LeasedJob, RecomputeOptions, Run, ScoreScope, Session, WorkKind};
use crate::report::Outcome;

/// A kind of job that Sluice runs. The table may have other types, for other programs.
///
/// To add a job, add a variant: its name in snake case is its type in the table and on the command line,
/// and the compiler asks for its parameters and its flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum JobKind {
    /// Final scores for a weight config
    #[value(name = flow::RECOMPUTE_JOB)]
    RecomputeFinalScores,
    /// One dimension of posts that lack it
    BackfillDimension,
    /// Every post whose score is from another rubric or model
    RescoreAll,
    /// Every post without a current embedding
    EmbedPosts,
}

impl JobKind {
    /// Every kind.
    pub fn all() -> &'static [Self] {
        Self::value_variants()
    }

    /// The type in the jobs table.
    pub fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// The kind of a type in the jobs table.
    ///
    /// # Errors
    /// If Sluice does not run such jobs.
    pub fn of(name: &str) -> Result<Self, Error> {
        Self::from_str(name, false).map_err(|_| {
            let known: Vec<String> = Self::all().iter().map(|kind| kind.name()).collect();
            let known = known.join(", ");
            Error::Usage(format!("unknown job type `{name}`: there are {known}"))
        })
    }

    /// The parameters in the jobs table.
    ///
    /// # Errors
    /// If a dimension is missing, or is given to a job without one.
    pub fn params(
        self,
        dimension: Option<&str>,
        recompute: RecomputeOptions,
    ) -> Result<Value, Error> {
        let refused = |why: &str| Err(Error::Usage(why.to_owned()));
        match (self, dimension) {
            (Self::BackfillDimension, Some(dimension)) => Ok(json!({ "dimension": dimension })),
            (Self::BackfillDimension, None) => refused("backfill_dimension needs --dimension"),
            (_, Some(_)) => refused("--dimension goes with backfill_dimension"),
            (Self::RecomputeFinalScores, None) => Ok(recompute.to_params()),
            (Self::RescoreAll | Self::EmbedPosts, None) => Ok(json!({})),
        }
    }

    /// Runs a leased job.
    pub(crate) async fn run(
        self,
        session: &Session,
        run: &Run,
        job: &LeasedJob,
        params: &Value,
    ) -> Result<Outcome, Error> {
        let count = async |kind: &WorkKind| flow::count(session, run, kind).await;
        match self {
            Self::RecomputeFinalScores => {
                let options = RecomputeOptions::from_params(params)?;
                flow::recompute_as(session, run, job, options).await
            }
            Self::BackfillDimension => {
                let dimension = dimension(params)?;
                count(&WorkKind::Backfill(dimension.to_owned())).await;
                flow::backfill(session, run, dimension).await
            }
            Self::RescoreAll => {
                let rubric = session.rubric().await?;
                count(&flow::score_work(&rubric, ScoreScope::Stale, None)).await;
                flow::score(session, run, ScoreScope::Stale).await
            }
            Self::EmbedPosts => {
                count(&WorkKind::embed(&session.settings.embedding, false)).await;
                flow::embed(session, run, false).await
            }
        }
    }
}

fn dimension(params: &Value) -> Result<&str, Error> {
    let dimension = params.get("dimension").and_then(Value::as_str);
    dimension
        .filter(|dimension| !dimension.trim().is_empty())
        .ok_or_else(|| Error::Usage("params.dimension must name a dimension".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recompute_without_weights_is_for_the_active_ones() {
        let params = json!({ "weight_config_id": null });
        let options = RecomputeOptions::from_params(&params).unwrap();
        assert_eq!(options, RecomputeOptions::default());
    }

    #[test]
    fn wrong_parameters_are_named() {
        let params = json!({ "weight_config_id": 7 });
        let error = RecomputeOptions::from_params(&params)
            .unwrap_err()
            .to_string();
        assert!(error.contains("params.weight_config_id is 7"), "{error}");
        let error = dimension(&json!({ "dimension": " " }))
            .unwrap_err()
            .to_string();
        assert!(error.contains("params.dimension"), "{error}");
        assert!(JobKind::of("run_scraper").is_err());
    }

    #[test]
    fn names_are_those_in_the_table() {
        let names: Vec<String> = JobKind::all().iter().map(|kind| kind.name()).collect();
        let known = [
            "recompute_final_scores",
            "backfill_dimension",
            "rescore_all",
            "embed_posts",
        ];
        assert_eq!(names, known);
        for kind in JobKind::all() {
            assert_eq!(JobKind::of(&kind.name()).unwrap(), *kind);
        }
    }
}
