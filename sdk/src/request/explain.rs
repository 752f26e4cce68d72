//! The execution plan of a request instead of its result.

/// The options of an execution plan: see [`Read::explain`](crate::query::Read::explain).
///
/// PostgREST reference: "Execution plan".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Explain {
    asked: [bool; OPTIONS.len()],
}

/// Postgres's options of `EXPLAIN`, in the order of [`Explain::asked`].
const OPTIONS: [&str; 5] = ["analyze", "verbose", "settings", "buffers", "wal"];

impl Explain {
    /// The plan alone. The statement is not run.
    pub fn plan() -> Self {
        Self::default()
    }

    /// Runs the statement, and adds times and row counts.
    #[must_use]
    pub fn analyze(mut self) -> Self {
        self.asked[0] = true;
        self
    }

    /// Adds columns, schemas and aliases.
    #[must_use]
    pub fn verbose(mut self) -> Self {
        self.asked[1] = true;
        self
    }

    /// Adds the planner's settings that are not the default.
    #[must_use]
    pub fn settings(mut self) -> Self {
        self.asked[2] = true;
        self
    }

    /// Adds how many pages were read and written. It needs [`analyze`](Self::analyze).
    #[must_use]
    pub fn buffers(mut self) -> Self {
        self.asked[3] = true;
        self
    }

    /// Adds what was written to the write-ahead log. It needs [`analyze`](Self::analyze).
    #[must_use]
    pub fn wal(mut self) -> Self {
        self.asked[4] = true;
        self
    }

    /// The media type of the plan, as JSON or as text.
    pub(crate) fn media_type(self, suffix: &str) -> String {
        let asked = OPTIONS.iter().zip(self.asked).filter(|(_, asked)| *asked);
        let options: Vec<&str> = asked.map(|(option, _)| *option).collect();
        let plan = format!("application/vnd.pgrst.plan+{suffix}");
        if options.is_empty() {
            plan
        } else {
            format!("{plan}; options={}", options.join("|"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_are_named_in_the_media_type() {
        let plain = Explain::plan().media_type("json");
        assert_eq!(plain, "application/vnd.pgrst.plan+json");
        let full = Explain::plan()
            .wal()
            .buffers()
            .settings()
            .verbose()
            .analyze();
        let options = "analyze|verbose|settings|buffers|wal";
        let expected = format!("application/vnd.pgrst.plan+text; options={options}");
        assert_eq!(full.media_type("text"), expected);
    }
}
