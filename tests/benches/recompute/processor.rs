//! The processor time of the embedded server: on a machine that others use, wall time tells of them too.

use std::fs;

/// The seconds that this process's children have had, as far as the system tells: the server is one, and the
/// program, when it has ended, none.
pub(crate) fn children_seconds() -> Option<f64> {
    /// Of `/proc/PID/stat`, on every Linux.
    const TICKS_PER_SECOND: f64 = 100.0;
    let own = std::process::id().to_string();
    let mut ticks = 0;
    for entry in fs::read_dir("/proc").ok()? {
        let Ok(stat) = fs::read_to_string(entry.ok()?.path().join("stat")) else {
            continue;
        };
        // The name before these fields may hold anything, also spaces.
        let fields: Vec<&str> = stat.rsplit(") ").next()?.split(' ').collect();
        if fields.get(1) == Some(&own.as_str()) {
            let field = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
            ticks += field(11)? + field(12)?;
        }
    }
    Some(ticks as f64 / TICKS_PER_SECOND)
}
