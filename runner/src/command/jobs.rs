//! `sluice jobs list|enqueue|cancel|retry`

use serde_json::{Value, json};
use uuid::Uuid;

use super::list::{print_list, up_to};
use crate::cli::{EnqueueArgs, JobsArgs};
use crate::db::{BackgroundJobs, CancelJob, EnqueueJob, Job, RetryJob, SaveAndRecompute, int};
use crate::error::Error;
use crate::exit::Exit;
use crate::flow::{RecomputeOptions, Session};
use crate::job::JobKind;
use crate::output::{Printer, TextTable, one_line};
use crate::scoring::{Rubric, Weights};

/// How much of an error a table shows, in columns.
const ERROR_SHOWN: usize = 120;

/// Who asks, as the jobs table records it.
const ASKED_BY: &str = "sluice";

pub(super) async fn run(
    arguments: &JobsArgs,
    session: &Session,
    printer: &Printer,
) -> Result<Exit, Error> {
    let database = &session.database;
    match arguments {
        JobsArgs::List { status, limit } => {
            list(status.as_deref(), *limit, session, printer).await?;
        }
        JobsArgs::Enqueue(job) => enqueue(job, session, printer).await?,
        JobsArgs::Cancel { id } => {
            let cancel = CancelJob {
                p_job_id: *id,
                p_by: Some(ASKED_BY.to_owned()),
            };
            say_status(*id, database.call(cancel).await?, *printer)?;
        }
        JobsArgs::Retry { id } => {
            let retry = RetryJob { p_job_id: *id };
            say_status(*id, database.call(retry).await?, *printer)?;
        }
    }
    Ok(Exit::Complete)
}

fn say_status(id: Uuid, status: Option<String>, printer: Printer) -> Result<(), Error> {
    let status = status.ok_or_else(|| {
        Error::Usage(format!(
            "there is no job {id}; `sluice jobs list` shows them"
        ))
    })?;
    printer.either(&json!({ "id": id, "status": status }), || {
        format!("the job is {status}")
    })?;
    Ok(())
}

/// Reads weights as people type them, checked; what the rubric does not know is warned about.
pub(super) fn weights(text: &str, rubric: &Rubric) -> Result<Value, Error> {
    let value: Value = serde_json::from_str(text).map_err(|error| {
        Error::Usage(format!(
            "the weights are not JSON ({error}); write them as {{\"drama\": 1.5}}"
        ))
    })?;
    let weights = Weights::from_json(&value).map_err(|error| Error::Usage(error.to_string()))?;
    if let Some(warning) = weights.warning(rubric) {
        tracing::warn!("{warning}");
    }
    Ok(value)
}

async fn list(
    status: Option<&str>,
    limit: u32,
    session: &Session,
    printer: &Printer,
) -> Result<(), Error> {
    let read = session.database.client().from::<BackgroundJobs>();
    let mut read = read.keyset(BackgroundJobs::CREATED_AT.desc());
    if let Some(status) = status {
        read = read.filter(BackgroundJobs::STATUS.eq(status));
    }
    let (jobs, more) = up_to(limit, read.select::<Job>()).await?;
    print_list(*printer, &jobs, more, table)
}

fn table(jobs: &[Job]) -> String {
    if jobs.is_empty() {
        return "there are no jobs".to_owned();
    }
    let mut table = TextTable::new(["job", "status", "progress", "tries"])
        .with_ids()
        .right(2)
        .right(3);
    for job in jobs {
        let progress = match (job.progress, job.total) {
            (Some(done), Some(total)) => format!("{done}/{total}"),
            (Some(done), None) => done.to_string(),
            _ => String::new(),
        };
        let tries = format!(
            "{}/{}",
            job.retry_count.unwrap_or(0),
            job.max_retries.unwrap_or(0)
        );
        let mut what = format!("{}\n{}", job.id, one_line(&job.r#type, ERROR_SHOWN));
        if let Some(error) = &job.error_message {
            what.push('\n');
            what += &one_line(error, ERROR_SHOWN);
        }
        table.row([what, job.status.clone(), progress, tries]);
    }
    table.to_string()
}

async fn enqueue(job: &EnqueueArgs, session: &Session, printer: &Printer) -> Result<(), Error> {
    let database = &session.database;
    if let Some(text) = &job.weights {
        if job.kind != JobKind::RecomputeFinalScores {
            return Err(Error::Usage(
                "--weights goes with recompute_final_scores".to_owned(),
            ));
        }
        let saved = database
            .call_shaped(SaveAndRecompute {
                p_weights: weights(text, &session.settings.rubric)?,
                p_name: job.name.clone(),
                p_activate: Some(job.activate),
                p_created_by: Some(ASKED_BY.to_owned()),
                p_request_id: Some(Uuid::new_v4()),
            })
            .await?;
        printer.either(&saved, || {
            format!(
                "weights {} are saved; job {} computes their scores",
                saved.weight_config_id, saved.job_id
            )
        })?;
        return Ok(());
    }
    let recompute = RecomputeOptions {
        weight_config_id: job.weight_config,
        activate: job.activate,
    };
    let enqueue = EnqueueJob {
        p_type: job.kind.name(),
        p_params: Some(job.kind.params(job.dimension.as_deref(), recompute)?),
        p_max_retries: Some(int(job.max_retries)),
        p_created_by: Some(ASKED_BY.to_owned()),
        p_job_id: Some(Uuid::new_v4()),
    };
    let id = database.call(enqueue).await?;
    printer.either(&json!({ "job_id": id }), || {
        format!("job {id} is enqueued; `sluice worker` runs it")
    })?;
    Ok(())
}
