//! The command line: arguments and their help, nothing else.

mod complete;
mod global;
mod schema;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use jiff::SignedDuration;
use uuid::Uuid;
#[cfg(any(feature = "local", feature = "postgres"))]
use {schema::secret, secrecy::SecretString};

pub use global::{GlobalArgs, LogFormat, OutputFormat};
#[cfg(feature = "postgres")]
pub use schema::SchemaApplyArgs;
#[cfg(feature = "typegen")]
pub use schema::{FeatureArg, GenArgs, GenSourceArgs, GenTypesArgs, TimeArg};
pub use schema::{MigrationArgs, OptionalMigration, SchemaArgs};

use crate::exit::Exit;
use crate::flow::store::InputFormat;
use crate::job::JobKind;

/// Fills a Supabase project with posts, embeds and scores them, and re-scores them when the rubric
/// changes, as fast as OpenAI's limits allow.
#[derive(Debug, Parser)]
#[command(name = "sluice", version, propagate_version = true, after_help = Exit::TABLE)]
pub struct Cli {
    /// The options of every command.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// The command to run.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Try everything: store, embed, score, rank and search sample posts in an embedded Supabase
    #[cfg(all(feature = "local", feature = "simulator"))]
    Demo(DemoArgs),
    /// Store posts from JSONL or CSV (a file, or - for stdin)
    Store(StoreArgs),
    /// Do what is due: store posts (if a file is given), embed, score, rescore and recompute
    Run(RunArgs),
    /// Embed every post that has no current embedding, until none is left
    Embed(EmbedArgs),
    /// Score every post that has no score
    Score(FlowArgs),
    /// Score again every post whose score is from another rubric or model
    Rescore(RescoreArgs),
    /// Score one dimension for the posts that lack it, and recompute the final scores
    Backfill(BackfillArgs),
    /// Compute the final scores for a weight config, and switch to them in one step
    Recompute(RecomputeArgs),
    /// Run background jobs until stopped (with --once: until none is due)
    Worker(WorkerArgs),
    /// List, enqueue, cancel and retry background jobs
    #[command(subcommand)]
    Jobs(JobsArgs),
    /// List, collect and cancel batches at the provider
    #[command(subcommand)]
    Batches(BatchesArgs),
    /// List weights, and delete the scores of old ones
    #[command(subcommand)]
    Weights(WeightsArgs),
    /// Show what is due, and its tokens, cost and time at the limits; spends nothing
    Plan(PlanArgs),
    /// Show what is in the database: posts, embeddings, scores, failures, jobs
    Status(StatusArgs),
    /// Search the posts by meaning
    Search(SearchArgs),
    /// Show the posts with the highest final scores
    Rank(RankArgs),
    /// List rows that failed, or make them due again
    #[command(subcommand)]
    Failures(FailuresArgs),
    /// Run a simulator of OpenAI (deterministic, with real rate limits and faults on demand)
    #[cfg(feature = "simulator")]
    Simulate(SimulateArgs),
    /// Run an embedded Supabase on this machine
    #[cfg(feature = "local")]
    #[command(subcommand)]
    Local(LocalArgs),
    /// Check the configuration, the database and the provider, and say how to fix what is wrong
    Doctor,
    /// Write code from the database
    #[cfg(feature = "typegen")]
    #[command(subcommand)]
    Gen(GenArgs),
    /// Print a JSON Schema, write the migrations, or apply them
    #[command(subcommand)]
    Schema(SchemaArgs),
    /// Print a completion script for a shell
    Completions {
        /// The shell that runs the script
        shell: Shell,
    },
    /// Write the manual pages
    #[command(hide = true)]
    Man {
        /// The folder
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
}

/// Where a flow also writes its report.
#[derive(Debug, Clone, Default, Args)]
pub struct ReportArgs {
    /// Also write the report to FILE, as a web page that needs no network
    #[arg(long, value_name = "FILE")]
    pub report_html: Option<PathBuf>,
}

/// The options of everything that spends money.
#[derive(Debug, Clone, Default, Args)]
pub struct SpendArgs {
    /// Claim no more rows after this long (13m, 90s, 1h30m), finish those in flight, then exit
    #[arg(long, value_name = "DURATION", value_parser = positive_duration)]
    pub deadline: Option<Duration>,
    /// Never spend more than this many US dollars
    #[arg(long, value_name = "USD", value_parser = positive_dollars)]
    pub max_usd: Option<f64>,
    /// Show what would be done; spend and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Send at most N requests to the provider at once
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=512))]
    pub concurrency: Option<u32>,
    /// Use the provider's batches: half the price, within a day
    #[arg(long)]
    pub batch: bool,
    /// Where the report goes.
    #[command(flatten)]
    pub report: ReportArgs,
}

/// The options of every flow that spends money.
#[derive(Debug, Clone, Default, Args)]
pub struct FlowArgs {
    /// Work on at most N rows
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// Those that `sluice run` has, too.
    #[command(flatten)]
    pub spend: SpendArgs,
}

/// `sluice demo`
#[cfg(all(feature = "local", feature = "simulator"))]
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// JSONL of posts to use instead of the built-in sample
    #[arg(long, value_name = "FILE")]
    pub posts: Option<PathBuf>,
    /// What to search for at the end
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "someone took a package from my porch"
    )]
    pub search: String,
    /// Where the report goes.
    #[command(flatten)]
    pub report: ReportArgs,
}

/// `sluice store`
#[derive(Debug, Args)]
pub struct StoreArgs {
    /// The posts: JSONL, or CSV with a header; .gz and .zst are unpacked (- reads stdin)
    pub file: PathBuf,
    /// The form of the file (otherwise CSV if its name says so, else JSONL)
    #[arg(long, value_enum)]
    pub format: Option<InputFormat>,
    /// Read and check everything, write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Store at most N posts
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// Where the report goes.
    #[command(flatten)]
    pub report: ReportArgs,
}

/// `sluice run`
#[derive(Debug, Args)]
#[command(
    mut_arg("deadline", |arg| arg.help("End after this long (13m, 90s, 1h30m): all steps together")),
    mut_arg("max_usd", |arg| arg.help("Never spend more than this many US dollars: all steps together")),
    mut_arg("batch", |arg| {
        arg.help("Use the provider's batches: store what is done, hand over what is due, and wait for none")
    })
)]
pub struct RunArgs {
    /// Posts to store first, as `sluice store` takes them
    pub file: Option<PathBuf>,
    /// The bounds of all steps together.
    #[command(flatten)]
    pub spend: SpendArgs,
}

/// `sluice embed`
#[derive(Debug, Args)]
pub struct EmbedArgs {
    /// The options of every flow.
    #[command(flatten)]
    pub flow: FlowArgs,
    /// Also embed rows that were written before text hashes existed
    #[arg(long)]
    pub refresh: bool,
}

/// `sluice rescore`
#[derive(Debug, Args)]
pub struct RescoreArgs {
    /// The options of every flow.
    #[command(flatten)]
    pub flow: FlowArgs,
    /// Score every post again, even if its score is current; continues an interrupted run
    #[arg(long)]
    pub all: bool,
    /// With --all: start over, also for posts that an interrupted run has scored
    #[arg(long, requires = "all")]
    pub restart: bool,
    /// Score a sample (--limit, by default 200) with this model, compare it with the stored scores, and store nothing
    #[arg(long, value_name = "MODEL", conflicts_with_all = ["all", "batch"], add = complete::models())]
    pub compare: Option<String>,
}

/// `sluice backfill`
#[derive(Debug, Args)]
pub struct BackfillArgs {
    /// The dimension's name in the rubric
    #[arg(add = complete::dimensions())]
    pub dimension: String,
    /// The options of every flow.
    #[command(flatten)]
    pub flow: FlowArgs,
}

/// `sluice batches`
#[derive(Debug, Subcommand)]
pub enum BatchesArgs {
    /// Show the batches that have not ended (with --all: the others, too)
    List {
        /// Show those that have ended, too
        #[arg(long)]
        all: bool,
        /// Show at most N batches
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: u32,
    },
    /// Store the results of the batches that are done, and clean up after killed runs
    Collect,
    /// Cancel a batch; what is done by then is billed, and `sluice batches collect` stores it
    Cancel {
        /// The batch's id
        id: Uuid,
    },
}

/// `sluice recompute`
#[derive(Debug, Args)]
pub struct RecomputeArgs {
    /// The weight config to use (otherwise the active one)
    #[arg(long, value_name = "ID", add = complete::weights())]
    pub weights: Option<Uuid>,
    /// Also make that weight config the active one, in the same step
    #[arg(long)]
    pub activate: bool,
    /// Where the report goes.
    #[command(flatten)]
    pub report: ReportArgs,
}

/// `sluice worker`
#[derive(Debug, Args)]
pub struct WorkerArgs {
    /// Run what is due, then exit (for cron)
    #[arg(long)]
    pub once: bool,
    /// Run only jobs of these types
    #[arg(long = "type", value_name = "TYPE", value_enum, value_delimiter = ',')]
    pub types: Vec<JobKind>,
    /// Serve /metrics (for Prometheus) and /health on this address, such as 127.0.0.1:9464
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// Hear of new jobs at once through this Postgres, in place of asking every 15 s. Not a pooler of transactions (port
    /// 6543): `postgres://USER:PASSWORD@HOST:5432/postgres`
    #[cfg(feature = "postgres")]
    #[arg(long, value_name = "URL", value_parser = secret)]
    pub db_url: Option<SecretString>,
    /// The PEM certificate of the authority that signed the database's certificate
    #[cfg(feature = "postgres")]
    #[arg(long, value_name = "FILE", requires = "db_url")]
    pub db_ca: Option<PathBuf>,
}

/// `sluice jobs …`
#[derive(Debug, Subcommand)]
pub enum JobsArgs {
    /// Show the latest jobs
    List {
        /// Show only jobs with this status
        #[arg(long)]
        status: Option<String>,
        /// Show at most N jobs
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
    /// Add a job to the queue
    Enqueue(EnqueueArgs),
    /// Cancel a job; a running job stops within a second
    Cancel {
        /// The job's id
        #[arg(add = complete::jobs())]
        id: Uuid,
    },
    /// Make a failed or cancelled job pending again
    Retry {
        /// The job's id
        #[arg(add = complete::jobs())]
        id: Uuid,
    },
}

/// `sluice weights …`
#[derive(Debug, Subcommand)]
pub enum WeightsArgs {
    /// Show the weights, the newest first, and how many posts have a score under each
    List,
    /// Delete the scores of old weights; the weights stay
    Prune {
        /// Keep the scores of the newest N, besides the weights in force
        #[arg(long, value_name = "N", default_value_t = 2)]
        keep: u32,
    },
}

/// `sluice jobs enqueue`
#[derive(Debug, Args)]
pub struct EnqueueArgs {
    /// The type of the job
    #[arg(value_enum)]
    pub kind: JobKind,
    /// The dimension, for `backfill_dimension`
    #[arg(long, add = complete::dimensions())]
    pub dimension: Option<String>,
    /// New weights as JSON ({"drama": 1.5, …}), for `recompute_final_scores`: saved first
    #[arg(long, value_name = "JSON")]
    pub weights: Option<String>,
    /// The weight config to use, if no new weights are given
    #[arg(long, value_name = "ID", conflicts_with = "weights", add = complete::weights())]
    pub weight_config: Option<Uuid>,
    /// A name for the new weights
    #[arg(long, requires = "weights")]
    pub name: Option<String>,
    /// Make these weights the active ones when their scores are ready
    #[arg(long)]
    pub activate: bool,
    /// Retry a failed run this often
    #[arg(long, default_value_t = 3)]
    pub max_retries: u32,
}

/// `sluice plan`
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// Plan only these flows: embed, score, rescore, backfill:DIMENSION
    #[arg(value_name = "FLOW", default_values = ["embed", "score", "rescore"], add = complete::planned())]
    pub flows: Vec<PlanFlow>,
}

/// The flows that can be planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlanFlow {
    /// `sluice embed`
    Embed,
    /// `sluice score`
    Score,
    /// `sluice rescore`
    Rescore,
    /// `sluice backfill DIMENSION`, written as `backfill:DIMENSION`
    Backfill(String),
}

impl FromStr for PlanFlow {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.strip_prefix("backfill:")) {
            ("embed", _) => Ok(Self::Embed),
            ("score", _) => Ok(Self::Score),
            ("rescore", _) => Ok(Self::Rescore),
            (_, Some(dimension)) => Ok(Self::Backfill(dimension.to_owned())),
            _ => Err("must be embed, score, rescore or backfill:DIMENSION".to_owned()),
        }
    }
}

/// `sluice status`
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Show it again every few seconds, with rates and the time that is left, until stopped by Ctrl-C
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "5",
        value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub watch: Option<u64>,
}

/// `sluice search`
#[derive(Debug, Args)]
pub struct SearchArgs {
    /// What to look for; quotes are not needed
    #[arg(required = true, num_args = 1..)]
    pub text: Vec<String>,
    /// Show at most N posts
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=200))]
    pub limit: u32,
    /// Leave out posts with a similarity below this (0 to 1)
    #[arg(long, default_value_t = 0.0, conflicts_with = "hybrid")]
    pub threshold: f64,
    /// Also search by the words themselves, and rank by both
    #[arg(long)]
    pub hybrid: bool,
}

/// `sluice rank`
#[derive(Debug, Args)]
pub struct RankArgs {
    /// Show at most N posts
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: u32,
    /// Show only this neighborhood (its name or slug)
    #[arg(long, add = complete::neighborhoods())]
    pub neighborhood: Option<String>,
    /// Show only posts of this category
    #[arg(long)]
    pub category: Option<String>,
    /// Show only posts with at least this final score
    #[arg(long)]
    pub min_score: Option<f64>,
    /// Rank by these weights (JSON), without writing anything
    #[arg(long, value_name = "JSON")]
    pub weights: Option<String>,
}

/// `sluice failures …`
#[derive(Debug, Subcommand)]
pub enum FailuresArgs {
    /// Show rows that failed, dead letters first
    List {
        /// Show only this kind of work (embed, score, backfill:DIMENSION)
        #[arg(long)]
        kind: Option<String>,
        /// Show at most N rows
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
    /// Make failed rows due again
    Replay {
        /// Replay only this kind of work
        #[arg(long)]
        kind: Option<String>,
        /// Replay only these posts
        posts: Vec<Uuid>,
    },
}

/// `sluice simulate`
#[cfg(feature = "simulator")]
#[derive(Debug, Args)]
pub struct SimulateArgs {
    /// The port on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 8787)]
    pub port: u16,
    /// Allow this many requests a minute
    #[arg(long, value_name = "N")]
    pub rpm: Option<u32>,
    /// Allow this many tokens a minute
    #[arg(long, value_name = "N")]
    pub tpm: Option<u32>,
    /// How long a response takes, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub latency_ms: u64,
    /// Faults and their rates, such as `rate_limit=0.1,drop=0.05`
    #[arg(long, value_name = "FAULT=RATE", value_delimiter = ',')]
    pub faults: Vec<String>,
    /// Refuse every request with a text that contains this
    #[arg(long, value_name = "TEXT")]
    pub poison: Option<String>,
    /// The seed of the random faults
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

/// `sluice local …`
#[cfg(feature = "local")]
#[derive(Debug, Subcommand)]
pub enum LocalArgs {
    /// Start it, apply the migrations, print its URL and keys, and run until stopped by Ctrl-C
    Up {
        /// The port on 127.0.0.1; 0 takes a free one
        #[arg(long, default_value_t = 54321)]
        port: u16,
        /// Keep the database in this folder (otherwise in memory)
        #[arg(long, value_name = "DIR")]
        data: Option<PathBuf>,
        /// Serve this Postgres and its tables, in place of an embedded one (`postgres://USER:PASSWORD@HOST:5432/DB`)
        #[arg(long, value_name = "URL", value_parser = secret, conflicts_with = "data")]
        database_url: Option<SecretString>,
        /// Return at most N rows a request, as hosted Supabase does with 1000
        #[arg(long, value_name = "N")]
        max_rows: Option<u32>,
    },
}

fn positive_duration(text: &str) -> Result<Duration, String> {
    let duration: SignedDuration = text
        .parse()
        .map_err(|_| "expected a duration such as 90s, 13m or 1h30m".to_owned())?;
    let duration = Duration::try_from(duration).unwrap_or_default();
    if duration.is_zero() {
        return Err("must be longer than 0s".to_owned());
    }
    Ok(duration)
}

fn positive_dollars(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(dollars) if dollars.is_finite() && dollars > 0.0 => Ok(dollars),
        _ => Err("expected an amount of dollars above 0, such as 2.50".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_are_parsed_as_people_write_them() {
        assert_eq!(positive_duration("13m"), Ok(Duration::from_secs(13 * 60)));
        assert_eq!(positive_duration("1h30m"), Ok(Duration::from_secs(90 * 60)));
        assert!(positive_duration("0s").is_err());
        assert!(positive_duration("soon").is_err());
    }

    #[test]
    #[cfg(all(feature = "local", feature = "typegen"))]
    fn gen_types_needs_exactly_one_database_and_hides_its_password() {
        let parse = |arguments: &[&str]| {
            Cli::try_parse_from(["sluice", "gen", "types"].iter().chain(arguments))
        };
        let url = "postgres://u:hunter2@h/d";
        assert!(parse(&[]).is_err());
        assert!(parse(&["--local", "--db-url", url]).is_err());
        assert!(parse(&["--local", "--db-ca", "ca.pem"]).is_err());
        assert!(parse(&["--local", "--check", "a.rs", "--file", "b.rs"]).is_err());
        let cli = parse(&["--db-url", url, "--schema", "a", "--schema", "b"]).unwrap();
        assert!(!format!("{cli:?}").contains("hunter2"));
    }

    #[test]
    fn budget_is_a_positive_finite_amount() {
        assert_eq!(positive_dollars("0.5"), Ok(0.5));
        for text in ["0", "-1", "inf", "NaN", "much"] {
            assert!(positive_dollars(text).is_err(), "{text}");
        }
    }
}
