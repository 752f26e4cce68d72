//! Connecting by a URL, encrypted unless the database is on this machine.

use std::future::poll_fn;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::mpsc::{self, Receiver};
use tokio::task::JoinHandle;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{AsyncMessage, Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::PostgresError;
use crate::error::described;

/// Connects. The task serves the connection until it ends, and passes on that it was notified.
pub(super) async fn connect(
    url: &SecretString,
    authority: Option<&Path>,
) -> Result<(Client, JoinHandle<()>, Receiver<()>), PostgresError> {
    let config = connection_config(url)?;
    let (client, mut connection) = config
        .connect(tls(authority)?)
        .await
        .map_err(|error| PostgresError::Connection(advice(&error)))?;
    let (notice, notices) = mpsc::channel(1);
    let task = tokio::spawn(async move {
        while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
            match message {
                // If one waits already, nobody has heard of it yet.
                Ok(AsyncMessage::Notification(_)) => drop(notice.try_send(())),
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(%error, "the connection to Postgres broke");
                    return;
                }
            }
        }
    });
    Ok((client, task, notices))
}

/// Parses a connection string. Connections to other machines are encrypted unless it sets `sslmode`.
fn connection_config(url: &SecretString) -> Result<Config, PostgresError> {
    let text = url.expose_secret();
    let mut config: Config = text.parse().map_err(|error: tokio_postgres::Error| {
        PostgresError::Settings(format!(
            "--db-url is not a connection string: {}; expected postgres://USER:PASSWORD@HOST:5432/postgres, \
             with sslmode=disable, prefer or require",
            described(&error)
        ))
    })?;
    let is_local = config.get_hosts().iter().all(|host| match host {
        Host::Tcp(name) => {
            let address: Option<IpAddr> = name.parse().ok();
            name == "localhost" || address.is_some_and(|address| address.is_loopback())
        }
        Host::Unix(_) => true,
    });
    if !text.contains("sslmode") {
        config.ssl_mode(if is_local {
            SslMode::Disable
        } else {
            SslMode::Require
        });
    }
    Ok(config)
}

/// TLS that verifies the server's certificate.
fn tls(authority: Option<&Path>) -> Result<MakeRustlsConnect, PostgresError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let settings =
        |error: rustls::Error| PostgresError::Settings(format!("failed to set up TLS: {error}"));
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(settings)?;
    let builder = match authority {
        Some(path) => builder.with_root_certificates(roots(path)?),
        None => builder.with_platform_verifier().map_err(settings)?,
    };
    Ok(MakeRustlsConnect::new(builder.with_no_client_auth()))
}

fn roots(path: &Path) -> Result<RootCertStore, PostgresError> {
    let unusable = |error: &dyn std::fmt::Display| {
        PostgresError::Settings(format!("{} is no PEM certificate: {error}", path.display()))
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| unusable(&error))? {
        let certificate = certificate.map_err(|error| unusable(&error))?;
        roots.add(certificate).map_err(|error| unusable(&error))?;
    }
    if roots.is_empty() {
        return Err(unusable(&"the file holds none"));
    }
    Ok(roots)
}

/// Why the connection failed, and what to do if that is known.
fn advice(error: &tokio_postgres::Error) -> String {
    let text = described(error);
    if text.contains("certificate") {
        format!(
            "{text}; if the database has its own certificate authority (hosted Supabase: Project \
             Settings, Database, SSL), pass that authority's certificate with --db-ca FILE"
        )
    } else if text.contains("password authentication failed") {
        format!(
            "{text}; hosted Supabase shows the connection string under Connect, and resets the password under \
             Project Settings, Database"
        )
    } else if text.contains("does not support TLS") {
        format!("{text}; if you trust the network, add ?sslmode=disable to --db-url")
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(url: &str) -> SslMode {
        connection_config(&SecretString::from(url))
            .unwrap()
            .get_ssl_mode()
    }

    #[test]
    fn connections_to_other_machines_are_encrypted_by_default() {
        assert_eq!(mode("postgres://u:p@db.example.co/d"), SslMode::Require);
        assert_eq!(mode("postgres://u:p@10.0.0.1/d"), SslMode::Require);
        assert_eq!(
            mode("postgres://u:p@db.example.co/d?sslmode=disable"),
            SslMode::Disable
        );
        assert_eq!(mode("postgres://u:p@localhost/d"), SslMode::Disable);
        assert_eq!(mode("postgres://u:p@127.0.0.1:54322/d"), SslMode::Disable);
        assert_eq!(
            mode("postgres://u:p@localhost/d?sslmode=require"),
            SslMode::Require
        );
    }

    #[test]
    fn connection_string_is_not_in_the_error() {
        let error = connection_config(&SecretString::from(
            "postgres://u:hunter2@h/d?sslmode=verify-full",
        ));
        let text = error.unwrap_err().to_string();
        assert!(text.contains("sslmode"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[test]
    fn file_without_a_certificate_is_refused() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let text = roots(&file).unwrap_err().to_string();
        assert!(text.contains("Cargo.toml is no PEM certificate"), "{text}");
        assert!(roots(Path::new("/nowhere.pem")).is_err());
    }
}
