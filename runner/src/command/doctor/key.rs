//! What a Supabase key is, by its form. Nothing here checks a signature: only the server can.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::Deserialize;

const WHERE_IT_IS: &str =
    "set SUPABASE_SERVICE_KEY to the secret key (Supabase: Project Settings, API keys)";

/// A key, as far as its form says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// `sb_secret_…`
    Secret,
    /// `sb_publishable_…`
    Publishable,
    /// A JWT with these claims.
    Token(Claims),
    /// Anything else.
    Other,
}

/// What we read of a JWT.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Claims {
    #[serde(default)]
    role: String,
    /// The project.
    #[serde(rename = "ref")]
    project: Option<String>,
    #[serde(rename = "exp")]
    expires: Option<i64>,
}

impl Key {
    pub(super) fn of(key: &str) -> Self {
        if key.starts_with("sb_secret_") {
            return Self::Secret;
        }
        if key.starts_with("sb_publishable_") {
            return Self::Publishable;
        }
        claims(key).map_or(Self::Other, Self::Token)
    }

    /// What it is; or what is wrong with it, and the cure. `now` is the server's time.
    pub(super) fn check(&self, host: &str, now: Timestamp) -> Result<String, (String, String)> {
        let wrong = |what: String| Err((what, WHERE_IT_IS.to_owned()));
        match self {
            Self::Secret => Ok("the secret key".to_owned()),
            Self::Publishable => {
                wrong("this is the publishable key, which may only read".to_owned())
            }
            Self::Token(claims) => {
                if claims.role != "service_role" {
                    let role = &claims.role;
                    return wrong(format!(
                        "this is the key of the role `{role}`, which may only read"
                    ));
                }
                let expired = claims
                    .expires
                    .and_then(|at| Timestamp::from_second(at).ok());
                if let Some(expired) = expired.filter(|at| *at < now) {
                    return wrong(format!(
                        "this key has expired on {}",
                        expired.strftime("%F")
                    ));
                }
                let project = claims.project.as_deref();
                let other = project.filter(|_| host.ends_with(".supabase.co"));
                if let Some(other) = other.filter(|project| !host.starts_with(*project)) {
                    return wrong(format!("this is the key of another project, `{other}`"));
                }
                Ok("the key of the role `service_role`".to_owned())
            }
            Self::Other => Ok("a key of another form than Supabase's".to_owned()),
        }
    }
}

fn claims(key: &str) -> Option<Claims> {
    let mut parts = key.split('.');
    let (_header, claims, _signature) = (parts.next()?, parts.next()?, parts.next()?);
    let json = BASE64_URL_SAFE_NO_PAD.decode(claims).ok()?;
    serde_json::from_slice(&json).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> Key {
        let claims = BASE64_URL_SAFE_NO_PAD.encode(claims);
        Key::of(&format!("eyJhbGciOiJIUzI1NiJ9.{claims}.c2ln"))
    }

    fn wrong(key: &Key) -> String {
        let now = "2026-11-25T12:00:00Z".parse().unwrap();
        key.check("abc.supabase.co", now)
            .err()
            .map_or_else(String::new, |(what, _)| what)
    }

    #[test]
    fn only_secret_keys_of_this_project_that_have_not_expired_are_right() {
        assert_eq!(wrong(&Key::of("sb_secret_x")), "");
        assert!(wrong(&Key::of("sb_publishable_x")).contains("publishable"));
        assert_eq!(
            wrong(&token(
                r#"{"role":"service_role","ref":"abc","exp":2000000000}"#
            )),
            ""
        );
        assert!(wrong(&token(r#"{"role":"anon","exp":2000000000}"#)).contains("`anon`"));
        assert!(
            wrong(&token(r#"{"role":"service_role","exp":1700000000}"#)).contains("2023-11-14")
        );
        assert!(wrong(&token(r#"{"role":"service_role","ref":"xyz"}"#)).contains("`xyz`"));
        assert_eq!(Key::of("a.b.c"), Key::Other);
        assert_eq!(wrong(&Key::of("k")), "");
    }
}
