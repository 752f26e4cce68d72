//! What answers at the address of the database: PostgREST, or something else in its place.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, LOCATION, SERVER};
use reqwest::{Response, Url, redirect};
use secrecy::ExposeSecret;
use sluice_sdk::client::why_no_response;

use super::check::{Check, Finding};
use super::key::Key;
use crate::config::DatabaseSettings;
use crate::exit::Exit;

const TIMEOUT: Duration = Duration::from_secs(15);
/// A difference of the clocks up to this is the network's.
const SKEW_MAX: Duration = Duration::from_secs(60);

/// A hiccup of a gateway is shorter than these together.
const TRIES: u32 = 6;
const PAUSE: Duration = Duration::from_millis(300);

const API_URL: &str = "set SUPABASE_URL to the project's API URL, https://PROJECT.supabase.co (Supabase: Project Settings, \
    Data API)";

/// What an answer of the server showed.
pub(super) struct Answer {
    status: u16,
    headers: HeaderMap,
    body: String,
}

/// Asks for one post. Returns the checks of the address, the key and the clock, and whether PostgREST answered and took
/// the key.
pub(super) async fn checks(settings: &DatabaseSettings) -> (Vec<Check>, bool) {
    let answer = match patiently_ask(settings).await {
        Ok(answer) => answer,
        Err(finding) => return (vec![Check::of("address", Err(finding))], false),
    };
    let address = address(settings, &answer);
    let is_postgrest = address.is_ok();
    let mut checks = vec![Check::of("address", address)];
    if !is_postgrest {
        return (checks, false);
    }
    let server_time = server_time(&answer.headers);
    let key = key(
        settings,
        &answer,
        server_time.unwrap_or_else(Timestamp::now),
    );
    let takes_key = key.is_ok();
    checks.push(Check::of("key", key));
    checks.push(Check::of("clock", clock(server_time, Timestamp::now())));
    (checks, takes_key)
}

/// Asks again for a moment if a gateway or the network has a hiccup.
async fn patiently_ask(settings: &DatabaseSettings) -> Result<Answer, Finding> {
    let mut tries = TRIES;
    loop {
        tries -= 1;
        let answer = ask(settings).await;
        let is_passing = answer.as_ref().map_or(true, Answer::is_passing);
        if !is_passing || tries == 0 {
            return answer;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn ask(settings: &DatabaseSettings) -> Result<Answer, Finding> {
    let unreachable = |error: &reqwest::Error| {
        let found = format!(
            "no answer from {}: {}",
            settings.postgrest_url,
            why_no_response(error)
        );
        let cure = "is the address right, the project not paused, and this machine online?";
        Finding::new(Exit::Database, found, cure)
    };
    let client = reqwest::Client::builder()
        .timeout(TIMEOUT)
        .redirect(redirect::Policy::none())
        .build()
        .map_err(|error| unreachable(&error))?;
    let key = settings.key.expose_secret();
    let request = client
        .get(format!(
            "{}/posts?select=id&limit=1",
            settings.postgrest_url
        ))
        .header("apikey", key)
        .header("accept-profile", &settings.schema);
    // New keys are no tokens, and a gateway refuses them as such.
    let request = match Key::of(key) {
        Key::Token(_) | Key::Other => request.bearer_auth(key),
        Key::Secret | Key::Publishable => request,
    };
    let response: Response = request.send().await.map_err(|error| unreachable(&error))?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = response.text().await.map_err(|error| unreachable(&error))?;
    Ok(Answer {
        status,
        headers,
        body,
    })
}

fn address(settings: &DatabaseSettings, answer: &Answer) -> Result<String, Finding> {
    let url = &settings.postgrest_url;
    let wrong = |found: String, cure: &str| Err(Finding::new(Exit::Usage, found, cure));
    let header = |name| {
        answer
            .headers
            .get(name)
            .and_then(|value: &reqwest::header::HeaderValue| value.to_str().ok())
    };
    if let Some(project) = dashboard_project(url) {
        let cure = format!("set SUPABASE_URL to https://{project}.supabase.co");
        return wrong(format!("{url} is a page of the dashboard"), &cure);
    }
    if (300..400).contains(&answer.status) {
        let target = header(LOCATION).unwrap_or("another address");
        let cure = "set SUPABASE_URL (or POSTGREST_URL) to the address that answers; keys follow no redirect";
        return wrong(format!("{url} redirects to {target}"), cure);
    }
    if answer.status >= 500 && !answer.is_postgrest() {
        let found = format!("{url} answers with status {}", answer.status);
        let cure =
            "wait a minute; if it stays so, restore the project (Supabase pauses unused ones)";
        return Err(Finding::new(Exit::Database, found, cure));
    }
    if header(CONTENT_TYPE).is_some_and(|kind| kind.contains("html")) {
        let found = format!("a web page answers at {url}, and no PostgREST");
        return wrong(found, API_URL);
    }
    let refuses = matches!(answer.status, 401 | 403);
    if !answer.is_postgrest() && !refuses {
        let found = format!(
            "something else than PostgREST answers at {url} (status {})",
            answer.status
        );
        return wrong(
            found,
            &format!("{API_URL}; for a PostgREST of your own, set POSTGREST_URL"),
        );
    }
    let server = header(SERVER).filter(|server| server.starts_with("postgrest/"));
    let server = server.map_or_else(|| "PostgREST".to_owned(), |server| server.replace('/', " "));
    Ok(format!("{server} answers at {url}"))
}

impl Answer {
    /// Whether it is about the moment, and not about the address or the key.
    fn is_passing(&self) -> bool {
        self.status == 429 || self.status >= 500
    }

    /// Whether the body is rows, or an error with a code.
    fn is_postgrest(&self) -> bool {
        let body: Result<serde_json::Value, _> = serde_json::from_str(&self.body);
        body.is_ok_and(|body| body.is_array() || body.get("code").is_some())
    }

    /// What the server says about the key, if it refuses it.
    fn refusal(&self) -> Option<String> {
        let code = || -> Option<String> {
            let body: serde_json::Value = serde_json::from_str(&self.body).ok()?;
            let text = |key| body.get(key).and_then(serde_json::Value::as_str);
            Some(format!(
                "{} {}",
                text("code").unwrap_or_default(),
                text("message")?
            ))
        };
        matches!(self.status, 401 | 403).then(|| {
            code().map_or_else(
                || format!("status {}", self.status),
                |said| said.trim().to_owned(),
            )
        })
    }
}

/// The project in an address such as `https://supabase.com/dashboard/project/REF/…`.
fn dashboard_project(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    let host = url.host_str()?;
    let mut parts = url.path_segments()?.skip_while(|part| *part != "project");
    parts.next()?;
    let is_dashboard = matches!(
        host,
        "supabase.com" | "www.supabase.com" | "app.supabase.com"
    );
    parts.next().filter(|_| is_dashboard).map(str::to_owned)
}

fn key(settings: &DatabaseSettings, answer: &Answer, now: Timestamp) -> Result<String, Finding> {
    let host = Url::parse(&settings.postgrest_url).ok();
    let host = host.as_ref().and_then(Url::host_str).unwrap_or_default();
    let kind = Key::of(settings.key.expose_secret()).check(host, now);
    let kind = kind.map_err(|(found, cure)| Finding::new(Exit::Database, found, &cure))?;
    match answer.refusal() {
        None => Ok(format!("{kind}, and the server takes it")),
        Some(said) => Err(Finding::new(
            Exit::Database,
            format!("{kind}, but the server refuses it: {said}"),
            "copy the whole secret key again (Supabase: Project Settings, API keys); it may be that of another project, \
             or revoked",
        )),
    }
}

fn server_time(headers: &HeaderMap) -> Option<Timestamp> {
    let date = headers.get(DATE)?.to_str().ok()?;
    jiff::fmt::rfc2822::parse(date)
        .ok()
        .map(|date| date.timestamp())
}

fn clock(server: Option<Timestamp>, here: Timestamp) -> Result<String, Finding> {
    let Some(server) = server else {
        return Ok("the server does not state its time".to_owned());
    };
    let apart = here.duration_since(server).unsigned_abs();
    if apart <= SKEW_MAX {
        return Ok("as the server's".to_owned());
    }
    let direction = if here > server { "ahead of" } else { "behind" };
    Err(Finding::new(
        Exit::Usage,
        format!(
            "this machine is {} s {direction} the server",
            apart.as_secs()
        ),
        "set the clock (`timedatectl set-ntp true`): keys expire by it",
    ))
}
