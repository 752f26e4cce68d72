//! A PostgREST and its Postgres that the environment names, in place of the embedded server.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use crate::sql::Database;

/// The server of the variables `SLUICE_TEST_POSTGREST_URL`, `SLUICE_TEST_DATABASE_URL` and `SLUICE_TEST_SERVICE_KEY`.
#[derive(Debug)]
pub struct Outside {
    /// Where PostgREST is.
    pub postgrest_url: String,
    /// The service key.
    pub key: SecretString,
    pub(crate) database_url: String,
}

impl Outside {
    /// The server, if the environment names one.
    pub fn named() -> Option<Self> {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let postgrest_url = variable("SLUICE_TEST_POSTGREST_URL")?;
        let database_url = variable("SLUICE_TEST_DATABASE_URL");
        let key = variable("SLUICE_TEST_SERVICE_KEY");
        Some(Self {
            postgrest_url,
            key: key.expect("SLUICE_TEST_SERVICE_KEY is not set").into(),
            database_url: database_url.expect("SLUICE_TEST_DATABASE_URL is not set"),
        })
    }

    /// The address of the project: the part before `/rest/v1`.
    pub fn project_url(&self) -> &str {
        let url = self.postgrest_url.strip_suffix("/rest/v1");
        url.expect("SLUICE_TEST_POSTGREST_URL does not end with /rest/v1")
    }

    /// Runs statements and waits until PostgREST knows what they made.
    pub async fn prepare(&self, statements: &str) {
        let marker = format!("known_{}", uuid::Uuid::new_v4().simple());
        let database = Database::Outside(self.database_url.clone());
        let function = format!("function {marker}()");
        let prepare = format!(
            "{statements};
             create {function} returns int stable language sql as 'select 1';
             notify pgrst, 'reload schema'"
        );
        database.run(&prepare).await.unwrap();
        let http = reqwest::Client::new();
        for _ in 0..300 {
            let call = http
                .get(format!("{}/rpc/{marker}", self.postgrest_url))
                .header("apikey", self.key.expose_secret())
                .bearer_auth(self.key.expose_secret());
            if call.send().await.unwrap().status().is_success() {
                let drop = format!("drop {function}");
                database.run(&drop).await.unwrap();
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("PostgREST does not read its schema again after `notify pgrst`");
    }
}
