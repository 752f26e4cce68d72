//! Reading the catalog from a Postgres, by its URL.

use std::error::Error;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;
use secrecy::{ExposeSecret, SecretString};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Config, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{Catalog, TypegenError};

/// A database that has not answered by then is down.
const TIMEOUT: Duration = Duration::from_secs(60);

impl Catalog {
    /// Reads the catalog of these schemas from the Postgres at this URL (`postgres://…`).
    ///
    /// If `authority` is a file with PEM certificates, one of them must have signed the database's
    /// certificate. Otherwise the system must trust that certificate.
    ///
    /// # Errors
    /// [`TypegenError::Settings`] and [`TypegenError::Database`].
    pub async fn read(
        url: &SecretString,
        authority: Option<&Path>,
        schemas: &[String],
    ) -> Result<Self, TypegenError> {
        let query = Self::query(schemas);
        let text = tokio::time::timeout(TIMEOUT, query_text(url, authority, &query))
            .await
            .map_err(|_| database(format!("no response in {} s", TIMEOUT.as_secs())))??;
        Self::from_json(&text)
    }
}

/// The first column of the first row of a query.
async fn query_text(
    url: &SecretString,
    authority: Option<&Path>,
    query: &str,
) -> Result<String, TypegenError> {
    let config = connection_config(url)?;
    let (client, connection) = config
        .connect(tls(authority)?)
        .await
        .map_err(|error| database(advice(&error)))?;
    let connection = tokio::spawn(connection);
    // The simple protocol works through every pooler, because it prepares no statement.
    let result = client.simple_query(query).await;
    connection.abort();
    let messages = result.map_err(|error| database(described(&error)))?;
    let text = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    text.map(str::to_owned)
        .ok_or_else(|| database("the query returned no row".to_owned()))
}

/// Parses a connection string. Connections to other machines are encrypted unless it sets `sslmode`.
fn connection_config(url: &SecretString) -> Result<Config, TypegenError> {
    let text = url.expose_secret();
    let mut config: Config = text.parse().map_err(|error: tokio_postgres::Error| {
        TypegenError::Settings(format!(
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
fn tls(authority: Option<&Path>) -> Result<MakeRustlsConnect, TypegenError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let settings =
        |error: rustls::Error| TypegenError::Settings(format!("failed to set up TLS: {error}"));
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
        TypegenError::Settings(format!("{} is no PEM certificate: {error}", path.display()))
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
    } else if text.contains("does not support TLS") {
        format!("{text}; if you trust the network, add ?sslmode=disable to --db-url")
    } else {
        text
    }
}

/// An error with its sources, each once.
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
