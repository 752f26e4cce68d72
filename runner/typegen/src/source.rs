//! Where the catalog is read from: a Postgres by its URL, or the embedded Supabase.

use std::error::Error;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Config, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::catalog::{self, Catalog};
use super::{Options, TypegenError};
use sluice_local::{self as local, Server};

/// Past this, nobody answers any more.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A database to read the catalog of.
#[derive(Debug, Clone)]
pub enum Source {
    /// A Postgres by its connection string.
    Database {
        /// `postgres://…`
        url: SecretString,
        /// The certificate (PEM) that its own must be signed by, instead of those that the system
        /// trusts.
        authority: Option<PathBuf>,
    },
    /// The embedded Supabase with our migrations, started for this.
    Local,
}

impl Source {
    /// Reads the catalog of the schemas that the options name.
    ///
    /// # Errors
    /// Every case of [`TypegenError`] but those of [`generate`](super::generate).
    pub async fn read(&self, options: &Options) -> Result<Catalog, TypegenError> {
        match self {
            Self::Database { url, authority } => {
                let query = catalog::query(&options.schemas);
                let reading = from_database(url, authority.as_deref(), &query);
                let text = tokio::time::timeout(TIMEOUT, reading)
                    .await
                    .map_err(|_| database(format!("no answer in {} s", TIMEOUT.as_secs())))??;
                understood(&text)
            }
            Self::Local => {
                let server = Server::start(&local::Options::default()).await?;
                let catalog = from_server(&server, options).await;
                server.stop().await;
                catalog
            }
        }
    }
}

/// Reads the catalog of an embedded Supabase that runs already.
///
/// # Errors
/// [`TypegenError::Database`], with what it answered.
pub async fn from_server(server: &Server, options: &Options) -> Result<Catalog, TypegenError> {
    let unreachable = |error: reqwest::Error| database(described(&error));
    let client = reqwest::Client::builder()
        .timeout(TIMEOUT)
        .build()
        .map_err(unreachable)?;
    let answer = client
        .post(format!("{}/sql", server.url()))
        .header("apikey", server.secret_key().expose_secret())
        .body(catalog::query(&options.schemas))
        .send()
        .await
        .map_err(unreachable)?;
    let text = answer.text().await.map_err(unreachable)?;
    let rows: Option<Value> = serde_json::from_str(&text).ok();
    let catalog = rows
        .as_ref()
        .and_then(|rows| rows.pointer("/0/catalog")?.as_str());
    understood(catalog.ok_or_else(|| database(text.clone()))?)
}

fn understood(text: &str) -> Result<Catalog, TypegenError> {
    serde_json::from_str(text).map_err(|error| database(format!("not understood: {error}")))
}

async fn from_database(
    url: &SecretString,
    authority: Option<&Path>,
    query: &str,
) -> Result<String, TypegenError> {
    let config = configured(url)?;
    let (client, connection) = config
        .connect(encryption(authority)?)
        .await
        .map_err(|error| database(advice(&error)))?;
    let connection = tokio::spawn(connection);
    // The simple protocol works through every pooler: nothing is prepared that another connection
    // would have to know.
    let answer = client.simple_query(query).await;
    connection.abort();
    let messages = answer.map_err(|error| database(described(&error)))?;
    let text = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    text.map(str::to_owned)
        .ok_or_else(|| database("it answered without a row".to_owned()))
}

/// The settings of a connection string; encrypted unless it says otherwise or stays on this machine.
fn configured(url: &SecretString) -> Result<Config, TypegenError> {
    let text = url.expose_secret();
    let mut config: Config = text.parse().map_err(|error: tokio_postgres::Error| {
        TypegenError::Settings(format!(
            "--db-url cannot be used: {}; it looks like postgres://USER:PASSWORD@HOST:5432/postgres, \
             with sslmode=disable, prefer or require",
            described(&error)
        ))
    })?;
    let stays_here = config.get_hosts().iter().all(|host| match host {
        Host::Tcp(name) => {
            let address: Option<IpAddr> = name.parse().ok();
            name == "localhost" || address.is_some_and(|address| address.is_loopback())
        }
        Host::Unix(_) => true,
    });
    if !text.contains("sslmode") {
        config.ssl_mode(if stays_here {
            SslMode::Disable
        } else {
            SslMode::Require
        });
    }
    Ok(config)
}

/// TLS whose other side must prove who it is.
fn encryption(authority: Option<&Path>) -> Result<MakeRustlsConnect, TypegenError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let settings = |error: rustls::Error| TypegenError::Settings(format!("no TLS: {error}"));
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(settings)?;
    let builder = match authority {
        Some(path) => builder.with_root_certificates(roots(path)?),
        None => builder.with_platform_verifier().map_err(settings)?,
    };
    Ok(MakeRustlsConnect::new(builder.with_no_client_auth()))
}

fn roots(path: &Path) -> Result<RootCertStore, TypegenError> {
    let unusable = |error: &dyn std::fmt::Display| {
        TypegenError::Settings(format!(
            "{} is no certificate in PEM form: {error}",
            path.display()
        ))
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| unusable(&error))? {
        let certificate = certificate.map_err(|error| unusable(&error))?;
        roots.add(certificate).map_err(|error| unusable(&error))?;
    }
    if roots.is_empty() {
        return Err(unusable(&"there is none in it"));
    }
    Ok(roots)
}

/// Why there is no connection, with the way out where there is a known one.
fn advice(error: &tokio_postgres::Error) -> String {
    let text = described(error);
    if text.contains("certificate") {
        format!(
            "{text}; a database whose certificate is signed by an authority of its own (hosted \
             Supabase: Project Settings, Database, SSL) needs that certificate: --db-ca FILE"
        )
    } else if text.contains("does not support TLS") {
        format!("{text}; add ?sslmode=disable to --db-url if the way to it can be trusted")
    } else {
        text
    }
}

/// An error with its sources.
fn described(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

fn database(message: String) -> TypegenError {
    TypegenError::Database(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(url: &str) -> SslMode {
        configured(&SecretString::from(url)).unwrap().get_ssl_mode()
    }

    #[test]
    fn what_leaves_the_machine_is_encrypted_unless_told_otherwise() {
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
    fn a_connection_string_is_not_repeated_in_an_error() {
        let error = configured(&SecretString::from(
            "postgres://u:hunter2@h/d?sslmode=verify-full",
        ));
        let text = error.unwrap_err().to_string();
        assert!(text.contains("sslmode"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[test]
    fn a_file_without_a_certificate_is_refused() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let text = roots(&file).unwrap_err().to_string();
        assert!(text.contains("Cargo.toml is no certificate"), "{text}");
        assert!(roots(Path::new("/nowhere.pem")).is_err());
    }
}
