//! `sluice demo`: runs every flow once, on this machine.

use std::path::Path;

use jiff::Timestamp;
use secrecy::SecretString;
use tokio::time::Instant;

use super::flows::watched;
use super::look;
use super::signal::{Watch, signalled};
use crate::bundled::{MIGRATIONS, SAMPLE_POSTS};
use crate::cli::{DemoArgs, SearchArgs};
use crate::config::{DatabaseSettings, Settings};
use crate::db::{RankPosts, int};
use crate::engine::{Stop, StopReason};
use crate::error::Error;
use crate::exit::Exit;
use crate::flow::store::{self, StoreOptions};
use crate::flow::{self, FlowOptions, RecomputeOptions, ScoreScope, Session};
use crate::local::{LocalOptions, Server};
use crate::output::Printer;
use crate::report::{Counts, Outcome, Report, RowCounts};
use crate::simulator::{self, Simulator};

/// Posts shown in the ranking and in the search.
const SHOWN: u32 = 8;

pub(super) async fn run(
    arguments: &DemoArgs,
    settings: Settings,
    printer: &Printer,
) -> Result<Outcome, Error> {
    let started = Instant::now();
    // A missing file is reported before a database is started for nothing.
    if let Some(path) = &arguments.posts {
        std::fs::metadata(path).map_err(|source| Error::File {
            path: path.clone(),
            source,
        })?;
    }
    printer.say("Starting an embedded Supabase (the first time, this installs it) …")?;
    let options = LocalOptions {
        migrations: MIGRATIONS,
        ..LocalOptions::default()
    };
    let server = tokio::select! {
        server = Server::start(&options) => server?,
        () = signalled() => {
            let report = Report::new("demo", Counts::Rows(RowCounts::default()));
            return Ok(Outcome::stopped(report, Exit::Interrupted, StopReason::Interrupted.to_string()));
        }
    };
    let (settings, simulator) = with_services(settings, &server).await?;
    printer.say(&match &simulator {
        Some(_) => {
            "OPENAI_API_KEY is not set, so a simulator takes the place of OpenAI. Nothing is \
                    spent; the dollars below are what OpenAI would have charged."
                .to_owned()
        }
        None => format!("Requests go to {}.", settings.openai.base_url),
    })?;
    let session = Session::new(settings)?;
    let outcome = flows(arguments, &session, printer, started).await;
    if let Some(simulator) = simulator {
        simulator.shutdown().await;
    }
    server.stop().await;
    outcome
}

/// Points the settings at the embedded Supabase and, if there is no key, at a simulator of `OpenAI`.
async fn with_services(
    mut settings: Settings,
    server: &Server,
) -> Result<(Settings, Option<Simulator>), Error> {
    settings.database = Some(DatabaseSettings::of_project(
        server.url(),
        server.secret_key().clone(),
    ));
    if settings.openai.key.is_some() {
        return Ok((settings, None));
    }
    let config = simulator::Config {
        port: 0,
        ..simulator::Config::default()
    };
    let simulator = simulator::start(config)
        .await
        .map_err(|error| Error::Unexpected(format!("failed to start the simulator: {error}")))?;
    settings.openai.base_url = simulator.base_url();
    settings.openai.key = Some(SecretString::from("simulated"));
    Ok((settings, Some(simulator)))
}

/// Stores, embeds, scores and recomputes, then shows the ranking and a search.
async fn flows(
    arguments: &DemoArgs,
    session: &Session,
    printer: &Printer,
    started: Instant,
) -> Result<Outcome, Error> {
    let stop = Stop::new();
    let mut outcomes = vec![store_posts(arguments.posts.as_deref(), session, &stop).await?];
    let run = session.begin(FlowOptions::default(), stop.clone());
    outcomes.push(watched(printer, "embed", &run, flow::embed(session, &run, false)).await?);
    let run = session.begin(FlowOptions::default(), stop.clone());
    let score = flow::score(session, &run, ScoreScope::Missing);
    outcomes.push(watched(printer, "score", &run, score).await?);
    let run = session.begin(FlowOptions::default(), stop.clone());
    let recompute = flow::recompute(session, &run, RecomputeOptions::default());
    outcomes.push(watched(printer, "recompute", &run, recompute).await?);
    if !stop.is_stopped() {
        show(arguments, session, printer).await?;
    }
    let elapsed = started.elapsed();
    Ok(Outcome::of_flows(
        "demo",
        outcomes,
        elapsed,
        crate::memory::peak_bytes(),
    ))
}

async fn store_posts(
    path: Option<&Path>,
    session: &Session,
    stop: &Stop,
) -> Result<Outcome, Error> {
    let _watch = Watch::new(stop.clone());
    let options = StoreOptions {
        now: Timestamp::now(),
        limit: None,
        dry_run: false,
    };
    match path {
        Some(path) => store::store_file(&session.database, path, None, options, stop).await,
        None => Ok(store::store_text(&session.database, SAMPLE_POSTS, options, stop).await),
    }
}

async fn show(arguments: &DemoArgs, session: &Session, printer: &Printer) -> Result<(), Error> {
    if printer.is_json() {
        return Ok(());
    }
    let rank = RankPosts {
        p_limit: Some(int(SHOWN)),
        p_neighborhood: None,
        p_category: None,
        p_min_score: None,
        p_weights: None,
    };
    let ranked = session.database.call(rank).await?;
    printer.say("\nThe posts with the highest final scores:")?;
    printer.say(&look::ranked_table(&ranked))?;
    let search = SearchArgs {
        hybrid: false,
        text: vec![arguments.search.clone()],
        limit: SHOWN,
        threshold: 0.0,
    };
    let found = look::find(session, &search).await?;
    printer.say(&format!("\nThe posts nearest to “{}”:", arguments.search))?;
    printer.say(&look::found_table(&found))?;
    printer.say("")?;
    Ok(())
}
