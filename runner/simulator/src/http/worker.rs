//! The life of a batch, from its validation to its files.

use std::sync::Arc;

use tokio::time::{Instant, sleep, sleep_until};

use super::handler::{SharedState, compute};
use crate::{
    answer::SimulatedResponse,
    batch::{BatchInput, BatchLine, BatchPlan, BatchUsage, LineOutput},
    request::ParsedRequest,
};

/// Does a batch. It ends early if the batch is cancelled or forgotten.
pub(super) async fn work(shared: Arc<SharedState>, plan: BatchPlan) {
    let tenth = plan.life / 10;
    pause(&plan, Instant::now() + tenth).await;
    let now = shared.unix_now();
    shared
        .state()
        .batches()
        .validated(&plan.id, &plan.input, now);
    let lines = match &plan.input {
        Ok(input) => do_lines(&shared, &plan, input).await,
        Err(_) => Vec::new(),
    };
    if !plan.expires {
        let now = shared.unix_now();
        shared.state().batches().finalize(&plan.id, now);
        pause(&plan, Instant::now() + tenth).await;
    }
    if plan.stop.is_cancelled() {
        sleep(tenth).await;
    }
    let now = shared.unix_now();
    shared
        .state()
        .batches()
        .end(&plan.id, &lines, plan.expires, now);
}

/// Waits, unless the batch is cancelled.
async fn pause(plan: &BatchPlan, until: Instant) {
    tokio::select! {
        () = sleep_until(until) => {}
        () = plan.stop.cancelled() => {}
    }
}

/// Does the lines, spread evenly over their time, and returns what became of each.
async fn do_lines(
    shared: &Arc<SharedState>,
    plan: &BatchPlan,
    input: &BatchInput,
) -> Vec<(String, LineOutput)> {
    let count = input.lines.len();
    let due = if plan.expires { count / 2 } else { count };
    let (start, span) = (Instant::now(), plan.life.mul_f64(0.8));
    let mut lines = Vec::with_capacity(count);
    for (index, line) in input.lines.iter().enumerate() {
        let mut output = None;
        if index < due {
            pause(
                plan,
                start + span.mul_f64((index + 1) as f64 / count as f64),
            )
            .await;
            output = do_line(shared, plan, line).await;
        }
        let output = output.unwrap_or_else(|| {
            if plan.stop.is_cancelled() {
                LineOutput::cancelled()
            } else {
                LineOutput::expired()
            }
        });
        lines.push((line.custom_id.clone(), output));
    }
    lines
}

/// Answers or refuses a line, unless the batch is cancelled.
async fn do_line(
    shared: &Arc<SharedState>,
    plan: &BatchPlan,
    line: &BatchLine,
) -> Option<LineOutput> {
    let shared = Arc::clone(shared);
    let (route, body, id, stop) = (
        plan.route,
        line.body.clone(),
        plan.id.clone(),
        plan.stop.clone(),
    );
    compute(move || {
        let request = ParsedRequest::read(route, &body);
        let admitted = {
            let mut state = shared.state();
            // Asked under the lock, so that nothing is billed after the end.
            if stop.is_cancelled() {
                return None;
            }
            state.admit_line(route, request, shared.now())
        };
        let answered = admitted.map(|mut admitted| {
            admitted.terms.unix_time = shared.unix_now();
            let response = SimulatedResponse::to(&admitted.request, &admitted.terms);
            (admitted, response)
        });
        let mut state = shared.state();
        let (output, usage) = match answered {
            Ok(_) if stop.is_cancelled() => return None,
            Ok((admitted, response)) => {
                let usage = state.bill_line(&admitted, &response, shared.now());
                (LineOutput::Answered(response.body), usage)
            }
            Err(error) => (LineOutput::refused(error), BatchUsage::default()),
        };
        state.batches().count_line(&id, &output, usage);
        Some(output)
    })
    .await
}
