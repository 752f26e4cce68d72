//! The command line: arguments and their help, nothing else.

use std::convert::Infallible;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use jiff::SignedDuration;
use secrecy::SecretString;
use uuid::Uuid;

use crate::exit::Exit;
use crate::job::JobKind;

/// Fills a Supabase project with posts, embeds them until none is left, scores them and re-scores
/// them when the rubric changes, at the rate that OpenAI allows.
#[derive(Debug, Parser)]
#[command(name = "sluice", version, propagate_version = true, after_help = Exit::TABLE)]
pub struct Cli {
    /// What holds for every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Configuration file (otherwise `SLUICE_CONFIG`, then ./sluice.toml, then the defaults)
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What to print on stdout: tables, or one JSON object
    #[arg(long, global = true, value_enum, default_value_t = Output::Human)]
    pub output: Output,
    /// How to write the log on stderr
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// More log: -v for what is decided, -vv for every request
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Only errors on stderr
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Never draw progress bars
    #[arg(long, global = true)]
    pub no_progress: bool,
}

/// What stdout carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Tables and sentences.
    Human,
    /// One JSON object, and nothing else.
    Json,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// See it all work: an embedded Supabase, posts stored, embedded, scored, ranked and searched
    Demo(Demo),
    /// Store posts from JSONL (a file, or - for stdin)
    Store(Store),
    /// Embed every post that has no current embedding, until none is left
    Embed(Embed),
    /// Score every post that has no score
    Score(FlowArgs),
    /// Re-score every post whose score is from another rubric or model
    Rescore(Rescore),
    /// Score one dimension where it is missing, and recompute the final scores
    Backfill(Backfill),
    /// Compute the final scores for a weight config and cut over to them at once
    Recompute(Recompute),
    /// Run background jobs until stopped (or, with --once, until none is due)
    Worker(Worker),
    /// List, enqueue, cancel and retry background jobs
    #[command(subcommand)]
    Jobs(Jobs),
    /// What is due, its tokens, cost and time at the limits; spends nothing
    Plan(Plan),
    /// What is in the database: posts, embeddings, scores, failures, jobs
    Status,
    /// Search the posts by meaning
    Search(Search),
    /// The posts with the highest final scores
    Rank(Rank),
    /// Rows that failed: list them, or make them due again
    #[command(subcommand)]
    Failures(Failures),
    /// Run the OpenAI stand-in (deterministic, with real rate limits and faults on demand)
    Simulate(Simulate),
    /// Run an embedded Supabase on this machine
    #[command(subcommand)]
    Local(Local),
    /// Check the configuration, the database and the provider, and say how to mend what is wrong
    Doctor,
    /// Write code from the database
    #[command(subcommand)]
    Gen(Gen),
    /// Print a JSON Schema, or the migrations
    #[command(subcommand)]
    Schema(Schema),
    /// Print a completion script for a shell
    Completions {
        /// The shell to complete for
        shell: Shell,
    },
}

/// Options of every flow that spends.
#[derive(Debug, Clone, Default, Args)]
pub struct FlowArgs {
    /// Take up at most N rows
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// Stop claiming after this long (13m, 90s, 1h30m), finish what is in flight and leave
    #[arg(long, value_name = "DURATION", value_parser = positive_duration)]
    pub deadline: Option<SignedDuration>,
    /// Never spend more than this many US dollars
    #[arg(long, value_name = "USD", value_parser = positive_dollars)]
    pub max_usd: Option<f64>,
    /// Say what would be done; spend and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// At most N requests to the provider at once
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=512))]
    pub concurrency: Option<u32>,
}

/// `sluice demo`
#[derive(Debug, Args)]
pub struct Demo {
    /// Posts to use instead of the sample that sluice carries
    #[arg(long, value_name = "FILE")]
    pub posts: Option<PathBuf>,
    /// What to search for at the end
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "someone took a package from my porch"
    )]
    pub search: String,
}

/// `sluice store`
#[derive(Debug, Args)]
pub struct Store {
    /// JSONL of posts, one a line; - reads stdin
    pub file: PathBuf,
    /// Read and check everything, write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Store at most N posts
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
}

/// `sluice embed`
#[derive(Debug, Args)]
pub struct Embed {
    /// What holds for every flow.
    #[command(flatten)]
    pub flow: FlowArgs,
    /// Also embed rows from before text hashes existed
    #[arg(long)]
    pub refresh: bool,
}

/// `sluice rescore`
#[derive(Debug, Args)]
pub struct Rescore {
    /// What holds for every flow.
    #[command(flatten)]
    pub flow: FlowArgs,
    /// Score every post again, also those whose score is current; goes on where it was interrupted
    #[arg(long)]
    pub all: bool,
    /// With --all: begin anew, also with posts that an interrupted run has scored
    #[arg(long, requires = "all")]
    pub restart: bool,
}

/// `sluice backfill`
#[derive(Debug, Args)]
pub struct Backfill {
    /// The dimension to fill, as the rubric names it
    pub dimension: String,
    /// What holds for every flow.
    #[command(flatten)]
    pub flow: FlowArgs,
}

/// `sluice recompute`
#[derive(Debug, Args)]
pub struct Recompute {
    /// The weight config to compute for (otherwise the active one)
    #[arg(long, value_name = "ID")]
    pub weights: Option<Uuid>,
    /// Make that weight config the active one, in the same step
    #[arg(long)]
    pub activate: bool,
}

/// `sluice worker`
#[derive(Debug, Args)]
pub struct Worker {
    /// Run what is due and leave, for cron
    #[arg(long)]
    pub once: bool,
    /// Only jobs of these types
    #[arg(long = "type", value_name = "TYPE", value_enum, value_delimiter = ',')]
    pub types: Vec<JobKind>,
}

/// `sluice jobs …`
#[derive(Debug, Subcommand)]
pub enum Jobs {
    /// The latest jobs
    List {
        /// Only jobs with this status
        #[arg(long)]
        status: Option<String>,
        /// At most N jobs
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
    /// Put a job into the queue
    Enqueue(Enqueue),
    /// Cancel a job; a running one stops within a second
    Cancel {
        /// The job
        id: Uuid,
    },
    /// Make a failed or cancelled job pending again
    Retry {
        /// The job
        id: Uuid,
    },
}

/// `sluice jobs enqueue`
#[derive(Debug, Args)]
pub struct Enqueue {
    /// The type of the job
    #[arg(value_enum)]
    pub kind: JobKind,
    /// The dimension, for `backfill_dimension`
    #[arg(long)]
    pub dimension: Option<String>,
    /// New weights as JSON ({"drama": 1.5, …}), for `recompute_final_scores`: saved first
    #[arg(long, value_name = "JSON")]
    pub weights: Option<String>,
    /// The weight config to compute for, when no new weights are given
    #[arg(long, value_name = "ID", conflicts_with = "weights")]
    pub weight_config: Option<Uuid>,
    /// A name for the new weights
    #[arg(long, requires = "weights")]
    pub name: Option<String>,
    /// Make these weights the active ones once their scores are there
    #[arg(long)]
    pub activate: bool,
    /// How often a failed run is tried again
    #[arg(long, default_value_t = 3)]
    pub max_retries: u32,
}

/// `sluice plan`
#[derive(Debug, Args)]
pub struct Plan {
    /// Only these flows
    #[arg(value_enum, default_values_t = [PlanFlow::Embed, PlanFlow::Score, PlanFlow::Rescore])]
    pub flows: Vec<PlanFlow>,
}

/// The flows that can be planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PlanFlow {
    /// `sluice embed`
    Embed,
    /// `sluice score`
    Score,
    /// `sluice rescore`
    Rescore,
}

/// `sluice search`
#[derive(Debug, Args)]
pub struct Search {
    /// What to look for; needs no quotes
    #[arg(required = true, num_args = 1..)]
    pub text: Vec<String>,
    /// At most N posts
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=200))]
    pub limit: u32,
    /// Leave out posts that are less similar than this (0 to 1)
    #[arg(long, default_value_t = 0.0)]
    pub threshold: f64,
}

/// `sluice rank`
#[derive(Debug, Args)]
pub struct Rank {
    /// At most N posts
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: u32,
    /// Only this neighborhood (its name or slug)
    #[arg(long)]
    pub neighborhood: Option<String>,
    /// Only posts of this category
    #[arg(long)]
    pub category: Option<String>,
    /// Only posts with at least this final score
    #[arg(long)]
    pub min_score: Option<f64>,
    /// Rank by these weights (JSON) without writing anything
    #[arg(long, value_name = "JSON")]
    pub weights: Option<String>,
}

/// `sluice failures …`
#[derive(Debug, Subcommand)]
pub enum Failures {
    /// Rows that failed, the dead ones first
    List {
        /// Only this kind of work (embed, score, backfill:DIMENSION)
        #[arg(long)]
        kind: Option<String>,
        /// At most N rows
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
    /// Make failed rows due again
    Replay {
        /// Only this kind of work
        #[arg(long)]
        kind: Option<String>,
        /// Only these posts
        posts: Vec<Uuid>,
    },
}

/// `sluice simulate`
#[derive(Debug, Args)]
pub struct Simulate {
    /// The port on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 8787)]
    pub port: u16,
    /// Requests a minute
    #[arg(long, value_name = "N")]
    pub rpm: Option<u32>,
    /// Tokens a minute
    #[arg(long, value_name = "N")]
    pub tpm: Option<u32>,
    /// How long an answer takes, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub latency_ms: u64,
    /// Faults and their rates, such as `rate_limit=0.1,drop=0.05`
    #[arg(long, value_name = "FAULT=RATE", value_delimiter = ',')]
    pub faults: Vec<String>,
    /// Every request with a text that contains this is refused
    #[arg(long, value_name = "TEXT")]
    pub poison: Option<String>,
    /// Faults are dealt by this seed
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

/// `sluice local …`
#[derive(Debug, Subcommand)]
pub enum Local {
    /// Start it, apply the migrations, print its URL and keys, and run until interrupted
    Up {
        /// The port on 127.0.0.1; 0 takes a free one
        #[arg(long, default_value_t = 54321)]
        port: u16,
        /// Keep the database in this folder (otherwise it lives in memory)
        #[arg(long, value_name = "DIR")]
        data: Option<PathBuf>,
        /// Answer at most N rows a request, as hosted Supabase does with 1000
        #[arg(long, value_name = "N")]
        max_rows: Option<u32>,
    },
}

/// `sluice gen …`
#[derive(Debug, Subcommand)]
pub enum Gen {
    /// Write the tables, views, types and functions of a database as Rust for sluice-sdk
    Types(GenTypes),
}

/// `sluice gen types`
#[derive(Debug, Args)]
pub struct GenTypes {
    /// The database to read.
    #[command(flatten)]
    pub source: GenSource,
    /// The certificate (PEM) that signed the database's own, where the system does not trust that
    #[arg(long, value_name = "FILE", conflicts_with = "local")]
    pub db_ca: Option<PathBuf>,
    /// A schema to write (may be repeated)
    #[arg(long = "schema", value_name = "NAME", default_value = "public")]
    pub schemas: Vec<String>,
    /// A table, view or function to leave out (may be repeated)
    #[arg(long, value_name = "NAME")]
    pub exclude: Vec<String>,
    /// What can be null though the database does not say so: FUNCTION.ARGUMENT, VIEW.COLUMN
    #[arg(long, value_name = "NAME")]
    pub nullable: Vec<String>,
    /// What is never null though the database does not say so: VIEW.COLUMN, FUNCTION.COLUMN, FUNCTION
    #[arg(long, value_name = "NAME")]
    pub not_null: Vec<String>,
    /// Write into this file (otherwise to stdout)
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Write nothing: exit with 1 if this file is not what would be written, and say what differs
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    pub check: Option<PathBuf>,
}

/// Which database `sluice gen` reads.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct GenSource {
    /// Its connection string: `postgres://USER:PASSWORD@HOST:5432/postgres`
    #[arg(long, value_name = "URL", value_parser = secret)]
    pub db_url: Option<SecretString>,
    /// An embedded Supabase with the migrations that sluice carries
    #[arg(long)]
    pub local: bool,
}

/// `sluice schema …`
#[derive(Debug, Subcommand)]
pub enum Schema {
    /// The JSON Schema of sluice.toml
    Config,
    /// The JSON Schema of the report
    Report,
    /// Write the migrations that this version needs into a folder (for `supabase db push`)
    Migrations {
        /// The folder
        #[arg(default_value = "supabase/migrations")]
        directory: PathBuf,
    },
}

fn positive_duration(text: &str) -> Result<SignedDuration, String> {
    let duration: SignedDuration = text
        .parse()
        .map_err(|_| "expected a duration such as 90s, 13m or 1h30m".to_owned())?;
    if duration.is_positive() {
        Ok(duration)
    } else {
        Err("must be longer than nothing".to_owned())
    }
}

fn positive_dollars(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(dollars) if dollars.is_finite() && dollars > 0.0 => Ok(dollars),
        _ => Err("expected an amount of dollars above 0, such as 2.50".to_owned()),
    }
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "clap wants a parser that could fail"
)]
fn secret(text: &str) -> Result<SecretString, Infallible> {
    Ok(SecretString::from(text))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_are_read_as_people_write_them() {
        assert_eq!(positive_duration("13m"), Ok(SignedDuration::from_mins(13)));
        assert_eq!(
            positive_duration("1h30m"),
            Ok(SignedDuration::from_mins(90))
        );
        assert!(positive_duration("0s").is_err());
        assert!(positive_duration("soon").is_err());
    }

    #[test]
    fn types_come_from_one_database_and_its_password_is_not_shown() {
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
    fn a_budget_is_a_positive_finite_amount() {
        assert_eq!(positive_dollars("0.5"), Ok(0.5));
        for text in ["0", "-1", "inf", "NaN", "much"] {
            assert!(positive_dollars(text).is_err(), "{text}");
        }
    }
}
