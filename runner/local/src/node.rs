//! Finding Node.

use std::process::Stdio;

use super::{LocalError, child};

/// The oldest major version of Node that works.
const NODE_MAJOR_MIN: u32 = 20;

/// Checks that a new enough Node is on the PATH.
///
/// # Errors
/// If Node is missing or too old.
pub async fn check() -> Result<(), LocalError> {
    let mut command = child::command("node");
    let output = command.arg("--version").stdin(Stdio::null()).output().await;
    let output = output.map_err(|_| LocalError::NodeMissing)?;
    let found = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    match major(&found) {
        Some(major) if major >= NODE_MAJOR_MIN => Ok(()),
        _ => Err(LocalError::NodeTooOld { found }),
    }
}

fn major(version: &str) -> Option<u32> {
    let version = version.trim_start_matches('v');
    version.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn major_version_is_the_first_number() {
        assert_eq!(major("v20.20.2"), Some(20));
        assert_eq!(major("v9.1.0"), Some(9));
        assert_eq!(major("nonsense"), None);
    }
}
