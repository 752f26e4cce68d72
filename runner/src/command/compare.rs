//! `sluice rescore --compare MODEL`: how another model agrees with the stored scores, and what it costs.

use super::flows::watched;
use crate::engine::Stop;
use crate::error::Error;
use crate::exit::Exit;
use crate::flow::{self, Comparison, FlowOptions, Session};
use crate::output::{Printer, TextTable};
use crate::text::count;

pub(super) async fn run(
    model: &str,
    options: FlowOptions,
    session: &Session,
    printer: &Printer,
) -> Result<Exit, Error> {
    let run = session.begin(options, Stop::new());
    let work = flow::compare(session, &run, model);
    let comparison = watched(printer, "compare", &run, work).await?;
    printer.either(&comparison, || text(&comparison))?;
    Ok(run.stop.reason().map_or(Exit::Complete, Exit::from))
}

fn text(comparison: &Comparison) -> String {
    let number = |value: Option<f64>| value.map_or_else(|| "?".to_owned(), |it| format!("{it:.2}"));
    let mut table = TextTable::new(["dimension", "posts", "mean difference", "rank correlation"]);
    for column in 1..=3 {
        table = table.right(column);
    }
    for dimension in &comparison.agreement.dimensions {
        table.row([
            dimension.name.clone(),
            dimension.posts.to_string(),
            format!("{:+.2}", dimension.mean_difference),
            number(dimension.rank_correlation),
        ]);
    }
    let posts = comparison.posts;
    let seconds = comparison.elapsed_seconds;
    let usd = comparison.usd.map_or_else(
        || "price unknown".to_owned(),
        |usd| {
            format!(
                "${usd:.6}, ${:.4} for 1000 posts",
                usd / posts.max(1) as f64 * 1e3
            )
        },
    );
    let reason = comparison.reason.as_ref();
    let reason = reason.map_or_else(String::new, |reason| format!("not all: {reason}\n"));
    format!(
        "{table}\ncategory overlap {}\n{} scored by `{}`, {} failed; nothing stored\n{}, {usd}; {seconds:.1} s, \
         {:.0} posts a minute\n{reason}",
        number(comparison.agreement.category_overlap),
        count(posts as u64, "post"),
        comparison.model,
        comparison.failed,
        count(comparison.tokens, "token"),
        posts as f64 / seconds.max(0.001) * 60.0,
    )
}
