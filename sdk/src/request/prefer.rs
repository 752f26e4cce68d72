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
        let returning = self.returning.map(|returning| match returning {
            Returning::Minimal => "return=minimal",
            Returning::Representation => "return=representation",
        });
        let resolution = self.resolution.map(|resolution| match resolution {
            Resolution::Merge => "resolution=merge-duplicates",
            Resolution::Ignore => "resolution=ignore-duplicates",
        });
        let count = self.count.map(|count| match count {
            Count::Exact => "count=exact",
            Count::Planned => "count=planned",
            Count::Estimated => "count=estimated",
        });
        // PostgREST enforces a limit of affected rows only under strict handling.
        let handling = match (self.handling, self.max_affected) {
            (_, Some(_)) | (Some(Handling::Strict), None) => Some("handling=strict"),
            (Some(Handling::Lenient), None) => Some("handling=lenient"),
            (None, None) => None,
        };
        let missing = self.missing_default.then_some("missing=default");
        let max_affected = self.max_affected.map(|rows| format!("max-affected={rows}"));
        let rollback = self.rollback.then_some("tx=rollback");
        let timezone = self
            .timezone
            .as_ref()
            .map(|zone| format!("timezone={zone}"));
        let parts = [
            returning,
            resolution,
            missing,
            count,
            handling,
            max_affected.as_deref(),
            rollback,
            timezone.as_deref(),
        ];
        let parts: Vec<&str> = parts.into_iter().flatten().collect();
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
