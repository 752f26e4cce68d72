//! Embeds a table of your own with the engine of `sluice embed`: `cargo run -p sluice-runner --example
//! own_table`. It starts its own database and a simulator of `OpenAI`, and spends nothing.
//!
//! For a project of yours, replace [`settings`] with `config::load(None, &Environment::read())?`.

mod recipes;

use std::error::Error;
use std::io::Write;

use recipes::{DueRecipes, RecipeEmbeddings};
use secrecy::ExposeSecret;
use sluice_runner::bundled::MIGRATIONS;
use sluice_runner::config::{Environment, RawConfig, Settings};
use sluice_runner::engine::Stop;
use sluice_runner::flow::{FlowOptions, Session, embed_rows};
use sluice_runner::local::{LocalOptions, Server};
use sluice_runner::simulator;

/// Three hundred recipes.
const RECIPES: &str = "insert into recipes (title, steps)
  select 'Soup ' || i, 'Boil ' || i || ' carrots in ' || i || ' cups of water, and add salt.'
  from generate_series(1, 300) i;";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = LocalOptions {
        migrations: MIGRATIONS,
        ..LocalOptions::default()
    };
    let server = Server::start(&options).await?;
    let simulator = simulator::start(simulator::Config::default()).await?;
    // On a project of yours this is a migration.
    server.sql(include_str!("own_table.sql")).await?;
    server.sql("notify pgrst, 'reload schema'").await?;
    server.sql(RECIPES).await?;

    let session = Session::new(settings(&server, &simulator.base_url())?)?;
    let client = session.database.client();
    let source = DueRecipes(client.clone());
    let sink = RecipeEmbeddings(client.clone());
    let run = session.begin(FlowOptions::default(), Stop::new());
    let outcome = embed_rows(&session, &run, source, sink).await?;

    let report = serde_json::to_string_pretty(&outcome.report)?;
    writeln!(std::io::stdout(), "{report}")?;
    server.stop().await;
    Ok(())
}

fn settings(server: &Server, openai_url: &str) -> Result<Settings, Box<dyn Error>> {
    let environment: Environment = [
        ("SUPABASE_URL", server.url()),
        ("SUPABASE_SERVICE_KEY", server.secret_key().expose_secret()),
        ("OPENAI_BASE_URL", openai_url),
        ("OPENAI_API_KEY", "any"),
    ]
    .into_iter()
    .collect();
    Ok(Settings::check(RawConfig::default(), &environment)?)
}
