//! Finding Node and npm.

use std::process::Stdio;

use tokio::process::Command;

use super::LocalError;

/// The oldest major version of Node that works.
const NODE_MAJOR_MIN: u32 = 20;

/// Checks that a Node that is new enough is on the PATH.
///
/// # Errors
/// Where it is missing or too old.
pub async fn check() -> Result<(), LocalError> {
    let output = Command::new("node")
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .await;
    let Ok(output) = output else {
        return Err(LocalError::NodeMissing);
    };
    let found = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    match major(&found) {
        Some(major) if major >= NODE_MAJOR_MIN => Ok(()),
        _ => Err(LocalError::NodeTooOld { found }),
    }
}

fn major(version: &str) -> Option<u32> {
    version
        .trim_start_matches('v')
        .split('.')
        .next()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_the_first_number() {
        assert_eq!(major("v20.20.2"), Some(20));
        assert_eq!(major("v9.1.0"), Some(9));
        assert_eq!(major("nonsense"), None);
    }
}
