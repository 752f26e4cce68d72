//! Child processes, which get no keys.

use tokio::process::Command;

/// What the names of variables with secrets contain. So an unknown service's key stays here, too.
const SECRETS: &[&str] = &[
    "KEY",
    "TOKEN",
    "SECRET",
    "PASSWORD",
    "PASSWD",
    "CREDENTIAL",
    "PGPASS",
    "DATABASE_URL",
    "_DSN",
];

/// The variables of these services stay here altogether.
const SERVICES: &[&str] = &["SUPABASE_", "OPENAI_", "POSTGREST_", "SLUICE_"];

/// What npm needs to install from a private registry.
const OF_NPM: &[&str] = &["NPM_TOKEN", "NODE_AUTH_TOKEN"];

/// A command with the environment of this process, without keys.
pub(super) fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let may_pass = name.to_str().is_some_and(|name| !is_secret(name));
        let is_for_npm = program == "npm" && name.to_str().is_some_and(is_for_npm);
        if !may_pass && !is_for_npm {
            command.env_remove(&name);
        }
    }
    command
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    SERVICES.iter().any(|service| name.starts_with(service))
        || SECRETS.iter().any(|secret| name.contains(secret))
}

fn is_for_npm(name: &str) -> bool {
    let is_setting = name.to_ascii_lowercase().starts_with("npm_config_");
    is_setting || OF_NPM.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stay_and_what_programs_need_passes() {
        for name in [
            "SUPABASE_URL",
            "SUPABASE_SERVICE_KEY",
            "OPENAI_API_KEY",
            "OPENAI_BASE_URL",
            "POSTGREST_URL",
            "INTERNAL_API_SECRET",
            "AWS_SECRET_ACCESS_KEY",
            "GITHUB_TOKEN",
            "github_token",
            "DATABASE_URL",
            "PGPASSWORD",
            "GOOGLE_APPLICATION_CREDENTIALS",
        ] {
            assert!(is_secret(name), "{name}");
        }
        for name in [
            "PATH",
            "HOME",
            "TMPDIR",
            "LANG",
            "HTTPS_PROXY",
            "NODE_OPTIONS",
            "NODE_EXTRA_CA_CERTS",
            "XDG_CACHE_HOME",
            "VOLTA_HOME",
        ] {
            assert!(!is_secret(name), "{name}");
        }
        assert!(is_for_npm("NPM_TOKEN") && is_for_npm("npm_config_registry"));
        assert!(!is_for_npm("OPENAI_API_KEY"));
    }
}
