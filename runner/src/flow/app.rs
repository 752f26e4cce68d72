//! Telling the app that its cache of the active weights is out of date.

use std::time::Duration;

use secrecy::ExposeSecret;

use crate::config::AppHook;

/// The app is told, not waited for: a program that is asked to leave still does so in time.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Calls the app's cache-invalidate endpoint.
pub(super) async fn invalidate(app: &AppHook) -> Result<(), reqwest::Error> {
    let client = reqwest::Client::builder().timeout(TIMEOUT).build()?;
    let url = format!("{}/api/admin/invalidate-active-config", app.url);
    let request = client
        .post(url)
        .header("x-internal-secret", app.secret.expose_secret());
    request.send().await?.error_for_status()?;
    Ok(())
}
