//! The processor time of the embedded server. On a shared machine, wall time also depends on other processes.

use std::fs;

/// The processor seconds of the children of this process, if the system reports them. The server is one. A program that
/// has ended no longer counts.
pub(crate) fn children_seconds() -> Option<f64> {
    /// The fields of `/proc/PID/stat`, which every Linux has.
    const TICKS_PER_SECOND: f64 = 100.0;
    let own = std::process::id().to_string();
    let mut ticks = 0;
    for entry in fs::read_dir("/proc").ok()? {
        let Ok(stat) = fs::read_to_string(entry.ok()?.path().join("stat")) else {
            continue;
        };
        // The name before these fields may contain spaces.
        let fields: Vec<&str> = stat.rsplit(") ").next()?.split(' ').collect();
        if fields.get(1) == Some(&own.as_str()) {
            let field = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
            ticks += field(11)? + field(12)?;
        }
    }
    Some(ticks as f64 / TICKS_PER_SECOND)
}
