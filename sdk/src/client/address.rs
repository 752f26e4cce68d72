//! The address of a server, under which the tables and functions are.

use std::fmt;

use bytes::Bytes;
use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};

use crate::error::Error;

/// Scheme, host and path, with no slash at the end.
#[derive(Clone, Debug)]
pub(super) struct Address {
    scheme: Scheme,
    authority: Authority,
    path: String,
}

impl Address {
    /// A PostgREST server, whose address is taken as it is.
    pub(super) fn postgrest(url: &str) -> Result<Self, Error> {
        let refuse = |why: &str| Error::invalid(format!("the URL of the server {why}"));
        let trimmed = url.trim().trim_end_matches('/');
        let uri: Uri = trimmed.parse().map_err(|_| refuse("is not a URL"))?;
        let is_exact = uri.query().is_none() && !trimmed.contains('#');
        let parts = uri.into_parts();
        let authority = parts.authority.ok_or_else(|| refuse("names no host"))?;
        let scheme = parts
            .scheme
            .filter(|scheme| [Scheme::HTTP, Scheme::HTTPS].contains(scheme));
        let scheme = scheme.ok_or_else(|| refuse("must begin with http:// or https://"))?;
        if authority.as_str().contains('@') {
            return Err(refuse(
                "holds a user name or password; give the key instead",
            ));
        }
        if !is_exact {
            return Err(refuse("must have no query and no fragment"));
        }
        let path = parts.path_and_query.map_or_else(String::new, |path| {
            path.path().trim_end_matches('/').to_owned()
        });
        Ok(Self {
            scheme,
            authority,
            path,
        })
    }

    /// The API under a project's URL, whether or not the caller has said its path.
    pub(super) fn supabase(url: &str) -> Result<Self, Error> {
        const API: &str = "/rest/v1";
        let mut address = Self::postgrest(url)?;
        if !address.path.ends_with(API) {
            address.path.push_str(API);
        }
        Ok(address)
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The whole URI of a request whose own is relative to this address.
    pub(super) fn join(&self, relative: &Uri) -> Result<Uri, Error> {
        let tail = relative.path_and_query().map_or("/", PathAndQuery::as_str);
        let path = match relative.path_and_query() {
            // Nothing to put before it: what has been read need not be read again.
            Some(path) if self.path.is_empty() => path.clone(),
            _ => {
                let whole = Bytes::from([self.path.as_str(), tail].concat());
                PathAndQuery::from_maybe_shared(whole).map_err(|error| {
                    Error::invalid("the URL is too long to be sent").with_source(error)
                })?
            }
        };
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(path);
        Uri::from_parts(parts)
            .map_err(|error| Error::invalid("the URL cannot be sent").with_source(error))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority, self.path)
    }
}

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
    fn what_is_not_an_address_is_refused() {
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
