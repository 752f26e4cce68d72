//! What is wrong with the configured models, or will be: for `doctor` and `plan`.

use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use crate::config::Settings;
use crate::provider::{Client, Models};
use crate::scoring::Rubric;
use crate::text::count;

/// Prices that were read earlier may be wrong.
const PRICES_DAYS_MAX: i32 = 90;

/// How long a provider may take to describe a model. Many have no such endpoint.
const LOOK_UP_MAX: Duration = Duration::from_secs(10);

/// A model in use, and the key that names it.
type Used<'s> = (&'static str, &'s str);

/// Everything to say about the models of the embeddings and of the rubric.
pub(super) async fn warnings(
    provider: &Client,
    settings: &Settings,
    rubric: Option<&Rubric>,
) -> Vec<String> {
    let today = Timestamp::now().to_zoned_datetime(TimeZone::UTC).date();
    let embedding = ("embedding.model", settings.embedding.model.as_str());
    let scoring = rubric.map(|rubric| ("scoring.model", rubric.model()));
    let mut said = Vec::new();
    for used in [Some(embedding), scoring].into_iter().flatten() {
        said.extend(about(provider, used, today).await);
        let priced = settings.models.get(used.1).price().is_some();
        said.extend((!priced).then(|| unpriced(used)));
    }
    said.extend(age(today));
    said
}

/// Whether a model exists, and whether it ends.
async fn about(provider: &Client, (key, name): Used<'_>, today: Date) -> Option<String> {
    let described = tokio::time::timeout(LOOK_UP_MAX, provider.describe(name)).await;
    let listed = match described {
        Ok(Ok(listed)) => listed,
        Ok(Err(error)) if error.code() == Some("model_not_found") => {
            return Some(format!(
                "the provider has no model `{name}`: set {key} to one that it has"
            ));
        }
        // A server without this endpoint says nothing about its models.
        Ok(Err(_)) | Err(_) => None,
    };
    let ends = listed.or_else(|| provider.model(name).ends())?;
    let how = match key {
        "scoring.model" => {
            "compare others on a sample with `sluice rescore --compare MODEL --limit 200`, then set it"
        }
        _ => "set it to another",
    };
    let verb = if ends <= today { "has ended" } else { "ends" };
    Some(format!("`{name}` ({key}) {verb} on {ends}: {how}"))
}

fn unpriced((key, name): Used<'_>) -> String {
    format!(
        "`{name}` ({key}) has no price, so no budget can be kept: set price = {{ input = …, output = … }} under \
         [models.\"{name}\"]"
    )
}

/// Whether the prices of the table are old.
fn age(today: Date) -> Option<String> {
    let read = Models::read_on();
    let too_old = read.checked_add(PRICES_DAYS_MAX.days()).ok()? < today;
    let days = today.since(read).ok()?.get_days();
    too_old.then(|| {
        let days = count(u64::from(days.unsigned_abs()), "day");
        format!(
            "the prices of this version were read on {read}, {days} ago, and may be wrong: install a newer version, \
             or set price under [models.\"NAME\"]"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_old_after_ninety_days() {
        let read = Models::read_on();
        let after = |days: i32| age(read.checked_add(days.days()).unwrap());
        assert_eq!(after(90), None);
        let old = after(91).unwrap();
        assert!(old.contains("91 days ago"), "{old}");
    }
}
