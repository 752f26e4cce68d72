//! Progress on stderr: a bar on a terminal, plain lines elsewhere.

use crate::text::count;
use std::io::Write;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::Instant;

use super::human::dollars;

/// How often a bar is redrawn.
const DRAW_EVERY: Duration = Duration::from_millis(200);
/// How often a plain line is written. It is rare, so that the log of a long run stays readable.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// The total is not known, or not yet.
const WITHOUT_TOTAL: &str = "{spinner} {prefix} {pos} rows  {msg}";
/// Nothing is done, so nobody knows how long it takes.
const WITHOUT_END: &str = "{spinner} {prefix} [{bar:20}] {pos}/{len}  {msg}";
const WITH_END: &str = "{spinner} {prefix} [{bar:20}] {pos}/{len}  {msg}  {eta} left";

/// The progress of a flow at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sample {
    /// Finished rows.
    pub rows: u64,
    /// Roughly how many rows were due at the start, if that is known.
    pub total: Option<u64>,
    /// Billed tokens.
    pub tokens: u64,
    /// The rate limit in tokens a minute.
    pub tokens_per_minute: Option<u64>,
    /// Dollars spent.
    pub usd: f64,
}

/// The progress display of one flow.
#[derive(Debug)]
pub struct Progress {
    label: &'static str,
    bar: Option<ProgressBar>,
    quiet: bool,
    started: Instant,
}

impl Progress {
    pub(super) fn new(label: &'static str, bars: bool, quiet: bool) -> Self {
        let bar = bars.then(|| {
            let bar = ProgressBar::no_length();
            bar.set_style(style(WITHOUT_TOTAL));
            bar.with_prefix(label)
        });
        Self {
            label,
            bar,
            quiet,
            started: Instant::now(),
        }
    }

    /// Shows samples until `work` is done, and returns its result.
    pub async fn during<T>(self, sample: impl Fn() -> Sample, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        let every = if self.bar.is_some() {
            DRAW_EVERY
        } else {
            LINE_EVERY
        };
        loop {
            match tokio::time::timeout(every, &mut work).await {
                Ok(result) => {
                    if let Some(bar) = &self.bar {
                        bar.finish_and_clear();
                    }
                    return result;
                }
                Err(_) => self.show(&sample()),
            }
        }
    }

    fn show(&self, sample: &Sample) {
        if let Some(bar) = &self.bar {
            // An estimate that is too low is not shown.
            if let Some(total) = sample.total.filter(|total| *total >= sample.rows) {
                let is_moving = sample.rows > 0 && sample.rows < total;
                bar.set_style(style(if is_moving { WITH_END } else { WITHOUT_END }));
                bar.set_length(total);
            }
            bar.set_position(sample.rows);
            bar.set_message(rates(sample, self.started.elapsed()).join(", "));
            bar.tick();
            return;
        }
        let text = describe(sample, self.started.elapsed());
        if !self.quiet {
            let _closed = writeln!(std::io::stderr(), "{}: {text}", self.label);
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template);
    style.unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Rows, token rate and limit, cost, and remaining time.
fn describe(sample: &Sample, elapsed: Duration) -> String {
    // An estimate that is too low is not shown.
    let total = sample.total.filter(|total| *total >= sample.rows);
    let mut parts = vec![match total {
        Some(total) => format!("{} of {}", sample.rows, count(total, "row")),
        None => count(sample.rows, "row"),
    }];
    parts.extend(rates(sample, elapsed));
    if let Some(total) = total
        && sample.rows > 0
        && total > sample.rows
    {
        let left = elapsed.mul_f64((total - sample.rows) as f64 / sample.rows as f64);
        parts.push(format!("{} to go", duration(left)));
    }
    parts.join(", ")
}

/// The token rate and its limit, and the cost.
fn rates(sample: &Sample, elapsed: Duration) -> Vec<String> {
    let minutes = elapsed.as_secs_f64() / 60.0;
    if sample.tokens == 0 || minutes <= 0.0 {
        return Vec::new();
    }
    let rate = sample.tokens as f64 / minutes;
    let rate = match sample.tokens_per_minute {
        Some(limit) => format!("{rate:.0} tokens/min of {limit}"),
        None => format!("{rate:.0} tokens/min"),
    };
    vec![rate, dollars(sample.usd)]
}

/// A duration in its two largest units: `50 s`, `2 min 5 s`, `3 h 20 min`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 3_600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sample_shows_rate_limit_cost_and_remaining_time() {
        let sample = Sample {
            rows: 50,
            total: Some(200),
            tokens: 3_000,
            tokens_per_minute: Some(9_000),
            usd: 0.5,
        };
        let text = describe(&sample, Duration::from_secs(30));
        assert_eq!(
            text,
            "50 of 200 rows, 6000 tokens/min of 9000, $0.50, 1 min 30 s to go"
        );
    }

    #[test]
    fn too_low_total_is_not_shown() {
        let sample = Sample {
            rows: 120,
            total: Some(100),
            ..Sample::default()
        };
        assert_eq!(describe(&sample, Duration::from_secs(9)), "120 rows");
    }

    #[test]
    fn unknown_values_are_not_shown() {
        assert_eq!(
            describe(&Sample::default(), Duration::from_secs(1)),
            "0 rows"
        );
    }
}
