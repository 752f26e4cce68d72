//! Notifies the app that its cache of the active weights is out of date.

use std::time::Duration;

use reqwest::redirect::Policy;
use secrecy::ExposeSecret;

use crate::config::AppHook;

/// Short, so that an interrupted program still ends in time.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Calls the app's cache-invalidate endpoint. A redirect is not followed: it could send the secret elsewhere.
pub(super) async fn invalidate_cache(app: &AppHook) -> Result<(), String> {
    let client = reqwest::Client::builder()
        .timeout(TIMEOUT)
        .redirect(Policy::none())
        .build()
        .map_err(|error| error.to_string())?;
    let url = format!("{}/api/admin/invalidate-active-config", app.url);
    let request = client
        .post(url)
        .header("x-internal-secret", app.secret.expose_secret());
    let response = request.send().await.map_err(|error| error.to_string())?;
    let status = response.status();
    if status.is_success() {
        Ok(())
    } else if status.is_redirection() {
        Err(format!(
            "{} redirects ({status}), and the secret follows no redirect; set APP_URL to the final address",
            app.url
        ))
    } else {
        Err(format!("{} answered {status}", app.url))
    }
}
