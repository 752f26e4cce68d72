//! The money of a run: its own budget, and what it draws from the budgets that all runners share.
//!
//! The shared budgets stand in the database. A run reserves a block there and spends from it, so few requests ask the
//! database. Blocks begin small and grow, because what a killed run has reserved counts as spent.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use tokio::time::Instant;
use uuid::Uuid;

use crate::config::BudgetSettings;
use crate::db::{Database, DatabaseError, Period, ReserveBudget, ReservedBudget};
use crate::engine::StopReason;
use crate::provider::{Budget, Reservation};

/// A block is at most this part of a shared budget.
const BLOCK_MAX: f64 = 0.01;
/// The first block pays this many requests.
const BLOCK_REQUESTS: f64 = 4.0;
/// More than the rounding of a reservation between here and the database.
const NANO: f64 = 1e-9;

/// The money of one run. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Ledger(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    holder: Uuid,
    database: Database,
    limits: BudgetSettings,
    own: Budget,
    /// What batches of this run may cost, until they are collected.
    batches: Mutex<HashMap<Uuid, Reservation>>,
    /// What batches of other runs have cost that this run has collected.
    collected: Mutex<f64>,
    /// The days on which the run has reserved money, in order.
    days: Mutex<Vec<Day>>,
    /// Held by the request that asks the database.
    drawing: tokio::sync::Mutex<()>,
}

/// A day's money: what the run has reserved of the shared budgets, and spent.
#[derive(Debug, Clone)]
struct Day {
    date: Date,
    ends: Instant,
    account: Budget,
    block: f64,
}

/// Money for one request: of the run's own budget, and of the shared ones.
#[derive(Debug)]
#[must_use = "money that is dropped counts as not spent"]
pub(super) struct Hold {
    own: Reservation,
    shared: Reservation,
}

impl Hold {
    /// The request cost this much.
    pub(super) fn settle(self, usd: f64) {
        self.own.settle(usd);
        self.shared.settle(usd);
    }

    /// The request may have been billed: all of it counts as spent.
    pub(super) fn settle_in_full(self) {
        self.own.settle_in_full();
        self.shared.settle_in_full();
    }
}

impl Ledger {
    pub(super) fn new(database: &Database, limits: BudgetSettings, own: Option<f64>) -> Self {
        Self(Arc::new(Inner {
            holder: Uuid::new_v4(),
            database: database.clone(),
            limits,
            own: Budget::new(own),
            batches: Mutex::default(),
            collected: Mutex::default(),
            days: Mutex::default(),
            drawing: tokio::sync::Mutex::default(),
        }))
    }

    /// Who holds the money: the id of the run.
    pub(super) fn holder(&self) -> Uuid {
        self.0.holder
    }

    /// Whether any budget has a limit, so that prices must be known.
    pub(super) fn is_limited(&self) -> bool {
        self.0.own.is_limited() || self.is_shared()
    }

    /// Whether a budget of all runners has a limit.
    fn is_shared(&self) -> bool {
        self.0.limits != BudgetSettings::default()
    }

    /// What the run has spent, and what the batches have cost that it has collected, in dollars.
    pub(super) fn spent(&self) -> f64 {
        self.0.own.spent() + *lock(&self.0.collected)
    }

    /// What is left of the run's own budget.
    pub(super) fn left(&self) -> f64 {
        self.0.own.left()
    }

    /// Counts what a batch may cost against the run's own budget. False if it does not fit.
    pub(super) fn submitted(&self, batch: Uuid, usd: f64) -> bool {
        let reserved = self.0.own.try_reserve(usd);
        let fits = reserved.is_some();
        lock(&self.0.batches).extend(reserved.map(|reserved| (batch, reserved)));
        fits
    }

    /// Counts what a batch has cost, of this run or another.
    pub(super) fn collected(&self, batch: Uuid, usd: f64) {
        let reserved = lock(&self.0.batches).remove(&batch);
        match reserved {
            Some(reserved) => reserved.settle(usd),
            None => *lock(&self.0.collected) += usd,
        }
    }

    /// What the run has spent on each day.
    pub(super) fn spent_by_day(&self) -> BTreeMap<String, f64> {
        let days = self.days();
        let spent = days
            .iter()
            .map(|day| (day.date.to_string(), day.account.spent()));
        spent.collect()
    }

    /// Reserves the most that a request may cost. Waits for requests in flight if only their reserves stand in the way.
    pub(super) async fn reserve(&self, usd: f64) -> Result<Hold, StopReason> {
        let own = self.0.own.reserve(usd).await;
        let own = own.map_err(|exhausted| StopReason::Budget(exhausted.to_string()))?;
        let shared = self.reserve_shared(usd).await?;
        Ok(Hold { own, shared })
    }

    async fn reserve_shared(&self, usd: f64) -> Result<Reservation, StopReason> {
        loop {
            if let Some(reserved) = self.try_reserve(usd) {
                return Ok(reserved);
            }
            let turn = self.0.drawing.lock().await;
            // Another request may have drawn a block meanwhile.
            if let Some(reserved) = self.try_reserve(usd) {
                return Ok(reserved);
            }
            let Some(day) = self.today() else {
                let opened = self.reserve_total(None, 0.0, 0.0).await;
                self.open(&opened.map_err(|error| database(&error))?);
                continue;
            };
            let need = day.account.held() + usd + NANO;
            let block = self.block(&day, usd);
            let reserved = self.reserve_total(Some(day.date), need, need + block).await;
            let reserved = reserved.map_err(|error| database(&error))?;
            if let Some(period) = reserved.full {
                drop(turn);
                let full = self.full(period, &reserved);
                // Requests in flight may turn out cheaper than their reserves.
                return day.account.reserve(usd).await.map_err(|_| full);
            }
            if reserved.day == day.date {
                self.drawn(&reserved, block);
            } else {
                self.open(&reserved);
            }
        }
    }

    fn try_reserve(&self, usd: f64) -> Option<Reservation> {
        self.today()?.account.try_reserve(usd)
    }

    /// The account of the current day, if it is known. Without shared budgets, this process says which day it is.
    fn today(&self) -> Option<Day> {
        let mut days = self.days();
        let last = days.last().filter(|day| Instant::now() < day.ends);
        if last.is_some() || self.is_shared() {
            return last.cloned();
        }
        let now = Timestamp::now().to_zoned_datetime(TimeZone::UTC);
        let tomorrow = now.tomorrow().and_then(|next| next.start_of_day());
        let left = tomorrow
            .ok()
            .and_then(|next| now.duration_until(&next).try_into().ok());
        let day = Day {
            date: now.date(),
            ends: Instant::now() + left.unwrap_or(Duration::from_secs(3_600)),
            account: Budget::new(None),
            block: 0.0,
        };
        days.push(day.clone());
        Some(day)
    }

    /// The size of the next block.
    fn block(&self, day: &Day, usd: f64) -> f64 {
        let limits = [self.0.limits.usd_per_day, self.0.limits.usd_per_month];
        let limit = limits.into_iter().flatten().fold(f64::INFINITY, f64::min);
        let next = if day.block > 0.0 {
            day.block * 2.0
        } else {
            usd * BLOCK_REQUESTS
        };
        next.min(limit * BLOCK_MAX)
    }

    async fn reserve_total(
        &self,
        day: Option<Date>,
        need: f64,
        want: f64,
    ) -> Result<ReservedBudget, DatabaseError> {
        let inner = &*self.0;
        reserve_on(
            &inner.database,
            inner.holder,
            inner.limits,
            (day, need, want),
        )
        .await
    }

    fn open(&self, reserved: &ReservedBudget) {
        self.days().push(Day {
            date: reserved.day,
            ends: Instant::now() + Duration::from_millis(reserved.ends_ms),
            account: Budget::new(Some(reserved.reserved)),
            block: 0.0,
        });
    }

    fn drawn(&self, reserved: &ReservedBudget, block: f64) {
        if let Some(day) = self.days().last_mut() {
            day.account.raise(reserved.reserved);
            day.block = block;
        }
    }

    fn full(&self, period: Period, reserved: &ReservedBudget) -> StopReason {
        exhausted(period, self.0.limits, reserved)
    }

    fn days(&self) -> MutexGuard<'_, Vec<Day>> {
        lock(&self.0.days)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn reserve_on(
    database: &Database,
    holder: Uuid,
    limits: BudgetSettings,
    (day, need, want): (Option<Date>, f64, f64),
) -> Result<ReservedBudget, DatabaseError> {
    let reserve = ReserveBudget {
        p_holder: holder,
        p_day: day,
        p_need: need,
        p_want: want,
        p_usd_per_day: limits.usd_per_day,
        p_usd_per_month: limits.usd_per_month,
    };
    database.call_shaped(reserve).await
}

/// Reserves money of the shared budgets for a batch: at least `need` and at most `want` dollars. `None` if there is no
/// limit.
pub(super) async fn reserve_for(
    database: &Database,
    batch: Uuid,
    limits: BudgetSettings,
    need: f64,
    want: f64,
) -> Result<Option<ReservedBudget>, DatabaseError> {
    if limits == BudgetSettings::default() {
        return Ok(None);
    }
    let mut day = None;
    loop {
        let reserved = reserve_on(database, batch, limits, (day, need, want)).await?;
        if day == Some(reserved.day) {
            return Ok(Some(reserved));
        }
        day = Some(reserved.day);
    }
}

/// The reason to stop at a budget of all runners.
pub(super) fn exhausted(
    period: Period,
    limits: BudgetSettings,
    reserved: &ReservedBudget,
) -> StopReason {
    let (limit, key, name) = match period {
        Period::Day => (limits.usd_per_day, "usd_per_day", "day"),
        Period::Month => (limits.usd_per_month, "usd_per_month", "month"),
    };
    let renews = match period {
        Period::Day => reserved.day.tomorrow().ok(),
        Period::Month => reserved.day.first_of_month().checked_add(1.month()).ok(),
    };
    let renews = renews.map_or_else(String::new, |date| date.to_string());
    let limit = limit.unwrap_or_default();
    let used = reserved.used.unwrap_or_default() + reserved.reserved;
    StopReason::Budget(format!(
        "the budget of ${limit} a {name} for all runs is used up (${used:.4} spent or reserved); it renews on {renews} \
         at 00:00 UTC; raise budget.{key} to go on before"
    ))
}

fn database(error: &DatabaseError) -> StopReason {
    StopReason::Database(error.to_string())
}
