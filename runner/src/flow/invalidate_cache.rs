//! Notifies the app that its cache of the active weights is out of date.

use std::time::Duration;

use secrecy::ExposeSecret;

use crate::config::AppHook;

/// Short, so that an interrupted program still ends in time.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Calls the app's cache-invalidate endpoint.
pub(super) async fn invalidate_cache(app: &AppHook) -> Result<(), reqwest::Error> {
    let client = reqwest::Client::builder().timeout(TIMEOUT).build()?;
    let url = format!("{}/api/admin/invalidate-active-config", app.url);
    let request = client
        .post(url)
        .header("x-internal-secret", app.secret.expose_secret());
    request.send().await?.error_for_status()?;
    Ok(())
}
