//! Addresses that keys are sent to: which ones are allowed, and which ones are worth a notice.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use reqwest::Url;

use super::environment::Source;
use super::{ConfigError, Environment};

/// A setting with an address: its name, its value, and where it comes from.
pub(super) struct Address<'a> {
    name: &'a str,
    pub(super) url: String,
    source: Source,
}

impl<'a> Address<'a> {
    /// The address of the first of these variables that is set.
    pub(super) fn of_variables(
        environment: &Environment,
        names: &[&'a str],
    ) -> Result<Option<Self>, ConfigError> {
        let found = environment.first(names);
        found
            .map(|(name, url, source)| Self::check(environment, name, url, source))
            .transpose()
    }

    /// Checks an HTTP URL, and removes slashes at its end.
    pub(super) fn check(
        environment: &Environment,
        name: &'a str,
        url: &str,
        source: Source,
    ) -> Result<Self, ConfigError> {
        let invalid = |message: &str| Err(ConfigError::invalid(name, message));
        let parsed = match Url::parse(url) {
            Err(error) => return invalid(&format!("is not a URL: {error}")),
            Ok(url) => url,
        };
        if !matches!(parsed.scheme(), "http" | "https") || parsed.host().is_none() {
            return invalid("must start with https:// or http:// and name a host");
        }
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return invalid("must not contain a user or password");
        }
        let is_plain = parsed.scheme() == "http";
        if is_plain && !environment.allows_http() && !is_private(&parsed) {
            return invalid(
                "is http:// to a host on the internet, so everybody on the way could read the key: use \
                 https://, or allow it with --allow-http",
            );
        }
        Ok(Self {
            name,
            url: url.trim_end_matches('/').to_owned(),
            source,
        })
    }

    /// A notice if a file of the current folder decides where a key of the environment goes. The folder may be
    /// a stranger's.
    pub(super) fn notice(&self, key: &str, from: Source) -> Option<String> {
        (self.source.is_found() && !from.is_found()).then(|| {
            format!(
                "{} is from {}, and {key} is from {from}: the key goes to {}",
                self.name, self.source, self.url
            )
        })
    }

    /// Whether its setting has this name.
    pub(super) fn is_named(&self, name: &str) -> bool {
        self.name == name
    }
}

/// Whether the host is this machine or in a private network. A name without a dot, such as that of a container,
/// is.
fn is_private(url: &Url) -> bool {
    let Some(host) = url.host_str() else {
        return false;
    };
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    match literal.parse() {
        Ok(IpAddr::V4(ip)) => is_private_v4(ip),
        Ok(IpAddr::V6(ip)) => is_private_v6(ip),
        Err(_) => {
            let host = host.trim_end_matches('.');
            let ending = host.rsplit_once('.').map(|(_, ending)| ending);
            ending.is_none_or(|ending| matches!(ending, "localhost" | "local" | "internal"))
                || host.ends_with(".home.arpa")
        }
    }
}

fn is_private_v4(ip: Ipv4Addr) -> bool {
    ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_unspecified()
}

fn is_private_v6(ip: Ipv6Addr) -> bool {
    ip.to_ipv4_mapped().map_or_else(
        || {
            ip.is_loopback()
                || ip.is_unspecified()
                || ip.is_unique_local()
                || ip.is_unicast_link_local()
        },
        is_private_v4,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, allow: bool) -> Result<String, String> {
        let environment = Environment::default().allow_http(allow);
        let checked = Address::check(&environment, "SUPABASE_URL", url, Source::User);
        checked
            .map(|address| address.url)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn plain_http_is_for_this_machine_and_private_networks() {
        for host in [
            "localhost:54321",
            "api.localhost",
            "127.0.0.1:8787",
            "127.9.9.9",
            "0.0.0.0:80",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1:8000",
            "169.254.1.1",
            "[::1]:80",
            "[fd12::1]",
            "[fe80::1]",
            "[::ffff:10.0.0.1]",
            "kong:8000",
            "nas.local",
            "db.internal",
            "rest.default.svc.cluster.local.",
            "pi.home.arpa",
        ] {
            let url = format!("http://{host}");
            assert_eq!(check(&url, false), Ok(url.clone()));
        }
    }

    #[test]
    fn plain_http_to_other_hosts_must_be_allowed() {
        for host in [
            "abc.supabase.co",
            "api.openai.com/v1",
            "8.8.8.8",
            "172.32.0.1",
            "192.169.0.1",
            "134744072",
            "[2606:4700::1111]",
            "[::ffff:8.8.8.8]",
            "local.example.com",
            "internal.example",
            "127.0.0.1.nip.io",
        ] {
            let url = format!("http://{host}");
            let error = check(&url, false).unwrap_err();
            assert!(error.contains("SUPABASE_URL: "), "{error}");
            assert!(error.contains("--allow-http"), "{error}");
            assert_eq!(check(&url, true), Ok(url.clone()));
            let safe = format!("https://{host}");
            assert_eq!(check(&safe, false), Ok(safe.clone()));
        }
    }

    #[test]
    fn notice_names_both_sources_and_where_the_key_goes() {
        let notice = |of_url: Source, of_key: Source| {
            let environment = Environment::default();
            let url = "https://a.test/v1/";
            let address = Address::check(&environment, "OPENAI_BASE_URL", url, of_url).unwrap();
            address.notice("OPENAI_API_KEY", of_key)
        };
        assert_eq!(
            notice(Source::DotEnv, Source::User).unwrap(),
            "OPENAI_BASE_URL is from .env, and OPENAI_API_KEY is from the environment: the key goes to \
             https://a.test/v1"
        );
        assert!(notice(Source::Folder, Source::User).is_some());
        assert_eq!(notice(Source::User, Source::User), None);
        assert_eq!(notice(Source::User, Source::DotEnv), None);
        assert_eq!(notice(Source::DotEnv, Source::DotEnv), None);
        assert_eq!(notice(Source::Folder, Source::DotEnv), None);
    }
}
