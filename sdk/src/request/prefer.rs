//! The `Prefer` header.

/// How PostgREST counts the matching rows.
///
/// PostgREST reference: "Exact Count", "Planned Count", "Estimated Count".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// It counts them. This is exact, and slow on a large table.
    Exact,
    /// It takes the planner's estimate, which can be far off.
    Planned,
    /// It counts up to the server's row limit, and takes the planner's estimate above it.
    Estimated,
}

/// What PostgREST does with a preference that it does not know.
///
/// PostgREST reference: "Strict or Lenient Handling".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handling {
    /// It refuses the request (PGRST122).
    Strict,
    /// It ignores the preference.
    Lenient,
}

/// What a write returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Returning {
    Minimal,
    Representation,
}

/// What an upsert does with a row that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resolution {
    Merge,
    Ignore,
}

/// Preferences of a request. PostgREST uses the first value of each, so each is written once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Prefer {
    pub(crate) returning: Option<Returning>,
    pub(crate) resolution: Option<Resolution>,
    /// Whether a listed column gets its default in a row that lacks it.
    pub(crate) missing_default: bool,
    pub(crate) count: Option<Count>,
    pub(crate) handling: Option<Handling>,
    pub(crate) rollback: bool,
    pub(crate) max_affected: Option<u64>,
    pub(crate) timezone: Option<String>,
}

impl Prefer {
    /// The header's value, or `None` if there is no preference.
    pub(crate) fn to_value(&self) -> Option<String> {
        let mut parts: Vec<String> = Vec::new();
        let mut push = |text: &str| parts.push(text.to_owned());
        match self.returning {
            Some(Returning::Minimal) => push("return=minimal"),
            Some(Returning::Representation) => push("return=representation"),
            None => {}
        }
        match self.resolution {
            Some(Resolution::Merge) => push("resolution=merge-duplicates"),
            Some(Resolution::Ignore) => push("resolution=ignore-duplicates"),
            None => {}
        }
        if self.missing_default {
            push("missing=default");
        }
        match self.count {
            Some(Count::Exact) => push("count=exact"),
            Some(Count::Planned) => push("count=planned"),
            Some(Count::Estimated) => push("count=estimated"),
            None => {}
        }
        // PostgREST enforces a limit of affected rows only under strict handling.
        match (self.handling, self.max_affected) {
            (_, Some(_)) | (Some(Handling::Strict), None) => push("handling=strict"),
            (Some(Handling::Lenient), None) => push("handling=lenient"),
            (None, None) => {}
        }
        if let Some(rows) = self.max_affected {
            push(&format!("max-affected={rows}"));
        }
        if self.rollback {
            push("tx=rollback");
        }
        if let Some(timezone) = &self.timezone {
            push(&format!("timezone={timezone}"));
        }
        (!parts.is_empty()).then(|| parts.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_of_affected_rows_brings_strict_handling() {
        let prefer = Prefer {
            handling: Some(Handling::Lenient),
            max_affected: Some(2),
            ..Prefer::default()
        };
        assert_eq!(prefer.to_value().unwrap(), "handling=strict,max-affected=2");
        assert_eq!(Prefer::default().to_value(), None);
    }
}
