//! When a post was written: relative ages ("2h", "Yesterday") and absolute times, as UTC.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

/// The time of an age, counted back from `now`. `None` if the words are not an age.
///
/// Reads "2h", "3 days", "3 days ago", "1 hr", "2w", "3 mo", "1y", "an hour ago", "Just now",
/// "Today" and "Yesterday", in any case, and after "Edited", "Posted" or "Updated". A single `m` means minutes.
/// Months and years are those of the calendar.
///
/// ```
/// use sluice_runner::flow::store::posted::relative;
///
/// let now = "2026-05-31T12:00:00Z".parse().unwrap();
/// assert_eq!(relative("2h", now).unwrap().to_string(), "2026-05-31T10:00:00Z");
/// assert_eq!(relative("3 mo", now).unwrap().to_string(), "2026-02-28T12:00:00Z");
/// assert_eq!(relative("a blue moon ago", now), None);
/// ```
pub fn relative(words: &str, now: Timestamp) -> Option<Timestamp> {
    let words = words.to_lowercase();
    let age = age(bare(&words))?;
    let then = now.to_zoned_datetime(TimeZone::UTC).checked_sub(age).ok()?;
    storable(then.timestamp())
}

/// A written time. `None` if the text is not a time.
///
/// Reads RFC 3339 ("2026-05-01T12:00:00Z") with any offset, or a space in place of the `T`. A time without an
/// offset is UTC, and a date is its midnight in UTC. Only the years 1 to 9999 are read, because the database
/// writes no others.
///
/// ```
/// use sluice_runner::flow::store::posted::absolute;
///
/// let time = absolute("2026-05-01T14:00:00+02:00").unwrap();
/// assert_eq!(time.to_string(), "2026-05-01T12:00:00Z");
/// assert_eq!(absolute("2026-05-01").unwrap().to_string(), "2026-05-01T00:00:00Z");
/// assert_eq!(absolute("2026-02-30"), None);
/// ```
pub fn absolute(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let time = text.parse::<Timestamp>().ok().or_else(|| {
        let civil: DateTime = text.parse().ok()?;
        TimeZone::UTC.to_timestamp(civil).ok()
    })?;
    storable(time)
}

/// A time in seconds or milliseconds since 1970, with or without a fraction. `None` if the text is neither.
///
/// Seconds are up to the year 5138, and milliseconds from 1973 on. So no number can be both. A number below
/// 100,000,000 is refused, because it may as well be a date such as 20260501.
///
/// ```
/// use sluice_runner::flow::store::posted::epoch;
///
/// let time = "2026-01-01T00:00:00Z".parse().ok();
/// assert_eq!(epoch("1767225600"), time);
/// assert_eq!(epoch("1767225600000"), time);
/// assert_eq!(epoch("20260501"), None);
/// ```
pub fn epoch(number: &str) -> Option<Timestamp> {
    let number: f64 = number.parse().ok()?;
    let milliseconds = match number {
        1e8..1e11 => number * 1e3,
        1e11..1e14 => number,
        _ => return None,
    };
    #[expect(clippy::cast_possible_truncation, reason = "below 1e14")]
    Timestamp::from_millisecond(milliseconds.round() as i64).ok()
}

/// An age without what interfaces put around it.
fn bare(words: &str) -> &str {
    let is_edge = |c: char| c.is_whitespace() || matches!(c, '·' | '•' | ':');
    let words = words.trim_matches(is_edge);
    let words = ["edited", "posted", "updated"]
        .iter()
        .find_map(|prefix| words.strip_prefix(prefix)?.strip_prefix(is_edge))
        .unwrap_or(words);
    words
        .strip_suffix("ago")
        .unwrap_or(words)
        .trim_matches(is_edge)
}

fn age(words: &str) -> Option<Span> {
    match words {
        "now" | "just now" | "today" => return Some(Span::new()),
        "yesterday" => return Span::new().try_days(1).ok(),
        _ => {}
    }
    let (count, unit) = counted(words)?;
    let zero = Span::new();
    match unit {
        "s" | "sec" | "secs" | "second" | "seconds" => zero.try_seconds(count),
        "m" | "min" | "mins" | "minute" | "minutes" => zero.try_minutes(count),
        "h" | "hr" | "hrs" | "hour" | "hours" => zero.try_hours(count),
        "d" | "day" | "days" => zero.try_days(count),
        "w" | "wk" | "wks" | "week" | "weeks" => zero.try_weeks(count),
        "mo" | "mos" | "month" | "months" => zero.try_months(count),
        "y" | "yr" | "yrs" | "year" | "years" => zero.try_years(count),
        _ => return None,
    }
    .ok()
}

/// A count and its unit: "2h", "2 h", "an hour".
fn counted(words: &str) -> Option<(i64, &str)> {
    if let Some(unit) = words
        .strip_prefix("an ")
        .or_else(|| words.strip_prefix("a "))
    {
        return Some((1, unit.trim_start()));
    }
    let end = words.find(|c: char| !c.is_ascii_digit())?;
    let (count, unit) = words.split_at(end);
    Some((count.parse().ok()?, unit.trim_start()))
}

fn storable(time: Timestamp) -> Option<Timestamp> {
    (time.to_zoned_datetime(TimeZone::UTC).year() >= 1).then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn now() -> Timestamp {
        "2026-03-31T12:30:00Z".parse().unwrap()
    }

    fn ago(words: &str) -> Option<String> {
        relative(words, now()).map(|time| time.to_string())
    }

    #[test]
    fn ages_are_counted_back_from_now() {
        for (words, expected) in [
            ("Just now", "2026-03-31T12:30:00Z"),
            ("Today", "2026-03-31T12:30:00Z"),
            ("30s", "2026-03-31T12:29:30Z"),
            ("5m ago", "2026-03-31T12:25:00Z"),
            ("5 min", "2026-03-31T12:25:00Z"),
            ("2h", "2026-03-31T10:30:00Z"),
            ("1 hr", "2026-03-31T11:30:00Z"),
            ("an hour ago", "2026-03-31T11:30:00Z"),
            ("Yesterday", "2026-03-30T12:30:00Z"),
            ("a day ago", "2026-03-30T12:30:00Z"),
            ("3 days", "2026-03-28T12:30:00Z"),
            ("3 days ago", "2026-03-28T12:30:00Z"),
            ("2w", "2026-03-17T12:30:00Z"),
            ("1 mo", "2026-02-28T12:30:00Z"),
            ("3 months ago", "2025-12-31T12:30:00Z"),
            ("1y", "2025-03-31T12:30:00Z"),
            ("Edited 2h ago", "2026-03-31T10:30:00Z"),
            (" · Edited · 2 HOURS AGO ", "2026-03-31T10:30:00Z"),
        ] {
            assert_eq!(ago(words).as_deref(), Some(expected), "{words}");
        }
    }

    #[test]
    fn other_words_are_no_age() {
        for words in [
            "",
            "ago",
            "edited",
            "a blue moon ago",
            "2",
            "h",
            "-2h",
            "1.5h",
            "2 parsecs",
            "2h 30m",
            "٢h",
            "9999y",
            "99999999999999999999h",
            "9223372036854775807 years ago",
        ] {
            assert_eq!(ago(words), None, "{words}");
        }
    }

    #[test]
    fn written_times_become_utc() {
        for (text, expected) in [
            ("2026-05-01T12:00:00Z", "2026-05-01T12:00:00Z"),
            ("2026-05-01T12:00:00.25+02:00", "2026-05-01T10:00:00.25Z"),
            ("2026-05-01 12:00:00-07", "2026-05-01T19:00:00Z"),
            ("2026-05-01T12:00:00", "2026-05-01T12:00:00Z"),
            (" 2026-05-01 ", "2026-05-01T00:00:00Z"),
            ("2024-02-29", "2024-02-29T00:00:00Z"),
        ] {
            let time = absolute(text).map(|time| time.to_string());
            assert_eq!(time.as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn seconds_and_milliseconds_since_1970_are_told_apart_by_size() {
        for (number, expected) in [
            ("1767225600", "2026-01-01T00:00:00Z"),
            ("1767225600.25", "2026-01-01T00:00:00.25Z"),
            ("1767225600000", "2026-01-01T00:00:00Z"),
            ("1767225600123.0", "2026-01-01T00:00:00.123Z"),
            ("1.7672256e9", "2026-01-01T00:00:00Z"),
            ("100000000", "1973-03-03T09:46:40Z"),
            ("99999999999", "5138-11-16T09:46:39Z"),
            ("100000000000", "1973-03-03T09:46:40Z"),
        ] {
            let time = epoch(number).map(|time| time.to_string());
            assert_eq!(time.as_deref(), Some(expected), "{number}");
        }
        for number in [
            "",
            "0",
            "20260501",
            "-1767225600",
            "1767225600000000",
            "NaN",
            "inf",
            "two",
        ] {
            assert_eq!(epoch(number), None, "{number}");
        }
    }

    #[test]
    fn what_is_no_time_or_cannot_be_stored_is_refused() {
        for text in [
            "",
            "yesterday",
            "2h",
            "2026-02-30T25:61:00Z",
            "2026-02-29",
            "2026-13-01",
            "1767225600",
            "-005000-01-01T00:00:00Z",
            "0000-12-31T23:59:59Z",
            "+010000-01-01T00:00:00Z",
        ] {
            assert_eq!(absolute(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_words_make_a_time_that_cannot_be_stored(
            words in prop_oneof![any::<String>(), "[0-9]{1,20} ?(s|m|h|d|w|mo|y)( ago)?"],
        ) {
            for time in [relative(&words, now()), absolute(&words)].into_iter().flatten() {
                prop_assert!((1..=9999).contains(&time.to_zoned_datetime(TimeZone::UTC).year()));
            }
        }
    }
}
