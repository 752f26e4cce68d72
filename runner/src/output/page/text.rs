//! Numbers and times as the page shows them.

use std::time::Duration;

/// A number with a comma before each three digits.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number in a few characters: `950`, `1.5k`, `12M`.
pub(super) fn compact(number: f64) -> String {
    let (scaled, unit) = match number {
        it if it >= 999_500_000.0 => (it / 1e9, "G"),
        it if it >= 999_500.0 => (it / 1e6, "M"),
        it if it >= 999.5 => (it / 1e3, "k"),
        it => (it, ""),
    };
    let text = if scaled < 10.0 {
        format!("{scaled:.1}")
    } else {
        format!("{scaled:.0}")
    };
    let text = text.strip_suffix(".0").unwrap_or(&text);
    format!("{text}{unit}")
}

/// A part of a whole in percent, with at most one decimal place.
pub(super) fn percent(part: f64, whole: f64) -> String {
    let percent = if whole > 0.0 {
        part / whole * 100.0
    } else {
        0.0
    };
    let text = format!("{percent:.1}");
    text.strip_suffix(".0").unwrap_or(&text).to_owned()
}

/// How long something took.
pub(super) fn span(time: Duration) -> String {
    let (seconds, milliseconds) = (time.as_secs(), time.as_millis());
    match seconds {
        0 => format!("{milliseconds} ms"),
        1..60 => format!("{:.1} s", time.as_secs_f64()),
        60..3_600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h {:02}m", seconds / 3_600, seconds / 60 % 60),
    }
}

/// A round time for an axis.
pub(super) fn round_span(time: Duration) -> String {
    let seconds = time.as_secs();
    if seconds >= 3_600 && seconds.is_multiple_of(3_600) {
        return format!("{} h", seconds / 3_600);
    }
    if seconds >= 60 && seconds.is_multiple_of(60) {
        return format!("{} min", seconds / 60);
    }
    if seconds == 0 && !time.is_zero() {
        return format!("{} ms", time.as_millis());
    }
    if time.subsec_millis() > 0 && seconds < 10 {
        return format!("{:.1} s", time.as_secs_f64());
    }
    format!("{seconds} s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_shortened() {
        let all = [0, 999, 1_000, 1_234_567].map(grouped);
        assert_eq!(all, ["0", "999", "1,000", "1,234,567"]);
        let all = [0.0, 950.0, 999.9, 1_500.0, 12_345.0, 999_900.0, 2e9].map(compact);
        assert_eq!(all, ["0", "950", "1k", "1.5k", "12k", "1M", "2G"]);
        assert_eq!(percent(1.0, 3.0), "33.3");
        assert_eq!(percent(1.0, 0.0), "0");
    }

    #[test]
    fn times_have_the_unit_that_fits() {
        let all = [850, 1_900, 192_000, 7_500_000]
            .map(Duration::from_millis)
            .map(span);
        assert_eq!(all, ["850 ms", "1.9 s", "3m 12s", "2h 05m"]);
        let all = [0, 250, 1_500, 30_000, 90_000, 120_000, 7_200_000];
        let all = all.map(Duration::from_millis).map(round_span);
        assert_eq!(
            all,
            ["0 s", "250 ms", "1.5 s", "30 s", "90 s", "2 min", "2 h"]
        );
    }
}
