//! What is left of the budgets of all runs.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use super::check::{Check, Finding};
use crate::config::BudgetSettings;
use crate::db::{Database, RunStatus, Spending};
use crate::exit::Exit;

/// The check, or nothing if the database cannot say: another check has the reason.
pub(super) async fn check(limits: BudgetSettings, database: &Database) -> Option<Check> {
    let runs = database.call_shaped(RunStatus { p_runs: 1 }).await.ok()?;
    let today = Timestamp::now().to_zoned_datetime(TimeZone::UTC).date();
    let left = left(limits, (&runs.today, &runs.month), today);
    Some(Check::of("budget", left))
}

/// What is left of each limit. A budget that is used up stops every run.
fn left(
    limits: BudgetSettings,
    (day, month): (&Spending, &Spending),
    today: Date,
) -> Result<String, Finding> {
    let next_month = today.first_of_month().saturating_add(1.month());
    let mut said = Vec::new();
    for (limit, spent, words, key, renews) in [
        (
            limits.usd_per_day,
            day,
            "today",
            "usd_per_day",
            today.saturating_add(1.day()),
        ),
        (
            limits.usd_per_month,
            month,
            "this month",
            "usd_per_month",
            next_month,
        ),
    ] {
        let Some(limit) = limit else { continue };
        let left = limit - spent.usd - spent.reserved;
        if left <= 0.0 {
            let found = format!("the ${limit} of {words} are spent or reserved");
            let cure = format!("wait until {renews} 00:00 UTC, or raise budget.{key}");
            return Err(Finding::new(Exit::MoreRemains, found, &cure));
        }
        said.push(format!("${left:.2} of ${limit} left {words}"));
    }
    if said.is_empty() {
        return Ok("no limit for all runs is set".to_owned());
    }
    Ok(said.join(", "))
}
