//! The address of a server.

use std::fmt;

use http::Uri;
use http::uri::PathAndQuery;

use crate::error::Error;

/// Where a Supabase project has its API.
const API: &str = "/rest/v1";

/// The URL under which the tables and functions are.
#[derive(Clone, Debug)]
pub(super) struct Address {
    /// Scheme, host and path, without a slash at the end.
    base: String,
    path_bytes: usize,
}

impl Address {
    /// The address of a PostgREST server, as it is.
    pub(super) fn postgrest(url: &str) -> Result<Self, Error> {
        let refuse = |why: &str| Error::invalid(format!("the URL of the server {why}"));
        let trimmed = url.trim().trim_end_matches('/');
        let uri: Uri = trimmed.parse().map_err(|_| refuse("is not a URL"))?;
        let authority = uri.authority().ok_or_else(|| refuse("names no host"))?;
        let scheme = uri.scheme_str().unwrap_or_default();
        if !matches!(scheme, "http" | "https") {
            return Err(refuse("must begin with http:// or https://"));
        }
        if authority.as_str().contains('@') {
            return Err(refuse("has a user name or password; pass the key instead"));
        }
        if uri.query().is_some() || trimmed.contains('#') {
            return Err(refuse("must have no query and no fragment"));
        }
        let path = uri.path().trim_end_matches('/');
        Ok(Self {
            base: format!("{scheme}://{authority}{path}"),
            path_bytes: path.len(),
        })
    }

    /// The address of the API under a project's URL, which may already name its path.
    pub(super) fn supabase(url: &str) -> Result<Self, Error> {
        let mut address = Self::postgrest(url)?;
        if !address.base.ends_with(API) {
            address.base.push_str(API);
            address.path_bytes += API.len();
        }
        Ok(address)
    }

    /// The whole URI of a request whose own is relative to the Supabase project.
    pub(super) fn join_to_project(&self, relative: &Uri) -> Result<Uri, Error> {
        let project = self.base.strip_suffix(API).ok_or_else(|| {
            Error::invalid("only a Supabase project has Edge Functions; set `supabase_url`")
        })?;
        let project = Self {
            base: project.to_owned(),
            path_bytes: 0,
        };
        project.join(relative)
    }

    /// The length of the path, which every URL begins with.
    pub(super) fn path_bytes(&self) -> usize {
        self.path_bytes
    }

    /// The whole URI of a request whose own is relative to this address.
    pub(super) fn join(&self, relative: &Uri) -> Result<Uri, Error> {
        let tail = relative.path_and_query().map_or("/", PathAndQuery::as_str);
        Uri::try_from([&self.base, tail].concat())
            .map_err(|error| Error::invalid("the URL is too long to be sent").with_source(error))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base)
    }
}

/// Marks a request whose URI is relative to the project, and not to its API.
#[derive(Clone, Copy)]
pub(super) struct OfProject;

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(address: Result<Address, Error>) -> String {
        address.unwrap().to_string()
    }

    #[test]
    fn a_project_url_gets_the_path_of_the_api_once() {
        for url in [
            "https://x.supabase.co",
            "https://x.supabase.co/",
            " https://x.supabase.co/rest/v1/ ",
        ] {
            assert_eq!(
                shown(Address::supabase(url)),
                "https://x.supabase.co/rest/v1"
            );
        }
        assert_eq!(
            shown(Address::postgrest("http://localhost:3000/")),
            "http://localhost:3000"
        );
    }

    #[test]
    fn an_invalid_address_is_refused() {
        for url in [
            "",
            "x.supabase.co",
            "ftp://x",
            "https://",
            "https://user:pass@x",
            "https://x?y=1",
            "https://x#y",
            "https://a b",
        ] {
            assert!(Address::postgrest(url).is_err(), "{url:?}");
        }
    }

    #[test]
    fn an_error_about_a_url_does_not_repeat_it() {
        let error = Address::postgrest("https://user:hunter2@x").unwrap_err();
        assert!(!error.to_string().contains("hunter2"));
    }

    #[test]
    fn a_request_goes_under_the_address() {
        let relative = Uri::from_static("/posts?id=eq.1%2C2");
        for (url, whole) in [
            ("http://[::1]:3000", "http://[::1]:3000/posts?id=eq.1%2C2"),
            (
                "https://x.co/rest/v1/",
                "https://x.co/rest/v1/posts?id=eq.1%2C2",
            ),
        ] {
            let address = Address::postgrest(url).unwrap();
            assert_eq!(address.join(&relative).unwrap(), whole);
        }
    }
}
