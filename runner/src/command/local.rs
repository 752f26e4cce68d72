//! `sluice local up`

use secrecy::ExposeSecret;
use serde::Serialize;

use super::signal::signalled;
use crate::bundled::MIGRATIONS;
use crate::cli::LocalArgs;
use crate::error::Error;
use crate::exit::Exit;
use crate::local::{LocalError, LocalOptions, Server};
use crate::output::Printer;

/// What a program needs to use the server. The keys are valid until the server stops.
#[derive(Serialize)]
struct Up<'a> {
    url: &'a str,
    service_key: &'a str,
    publishable_key: &'a str,
}

pub(super) async fn run(arguments: LocalArgs, printer: &Printer) -> Result<Exit, Error> {
    let LocalArgs::Up {
        port,
        data,
        database_url,
        max_rows,
    } = arguments;
    let options = LocalOptions {
        port,
        data,
        max_rows,
        database_url,
        migrations: MIGRATIONS,
        ..LocalOptions::default()
    };
    let mut server = tokio::select! {
        server = Server::start(&options) => server?,
        () = signalled() => return Ok(Exit::Interrupted),
    };
    let up = Up {
        url: server.url(),
        service_key: server.secret_key().expose_secret(),
        publishable_key: server.publishable_key().expose_secret(),
    };
    printer.either(&up, || {
        format!(
            "Supabase is up. In another terminal:\n\n  export SUPABASE_URL={}\n  \
             export SUPABASE_SERVICE_KEY={}\n\nThe publishable key is {}. Ctrl-C stops it.",
            up.url, up.service_key, up.publishable_key
        )
    })?;
    tokio::select! {
        () = signalled() => {}
        () = server.ended() => {
            let message = "it ended unexpectedly; run again with -v to see its log".to_owned();
            return Err(LocalError::Start { message }.into());
        }
    }
    server.stop().await;
    Ok(Exit::Complete)
}
