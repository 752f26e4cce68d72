//! Combines several answers about one post into one.

use std::collections::BTreeMap;

use super::{
    answer::{AnswerError, PostScore},
    rubric::Rubric,
};

/// Combines the runs about a batch, post by post.
///
/// A run without a usable answer about a post is left out for that post. If no run has one, the post has the error of
/// the first run. If only one run wrote texts, its place is `writer`: its texts are kept, and a post without an answer
/// from it has its error.
pub fn combine_batch(
    rubric: &Rubric,
    posts: usize,
    runs: &[Vec<Result<PostScore, AnswerError>>],
    writer: Option<usize>,
) -> Vec<Result<PostScore, AnswerError>> {
    (0..posts)
        .map(|post| {
            let answers = || runs.iter().filter_map(|run| run.get(post));
            let written = writer.and_then(|writer| runs.get(writer)?.get(post));
            let written = written
                .map(Result::as_ref)
                .transpose()
                .map_err(Clone::clone)?;
            let usable: Vec<&PostScore> = answers().filter_map(|run| run.as_ref().ok()).collect();
            combine(rubric, &usable, written).ok_or_else(|| {
                let first = answers().find_map(|run| run.as_ref().err());
                first.cloned().unwrap_or(AnswerError::NoRun)
            })
        })
        .collect()
}

/// What the runs say together about one post. `None` if there is no run.
///
/// - Scores: the median of each dimension. With an even number of runs it is the mean of the middle two.
/// - Categories: those that more than half of the runs named, at most `max_categories`. The most frequent come first,
///   and equally frequent ones are ordered by name.
/// - Texts: those of the run whose scores are nearest to the medians, by the sum of the absolute differences. So they
///   describe scores that one run really gave. If several runs are equally near, it is the first of them. If only one
///   run wrote texts, it is that one.
fn combine(rubric: &Rubric, runs: &[&PostScore], written: Option<&PostScore>) -> Option<PostScore> {
    let scores = medians(runs);
    let nearest = runs.iter().copied().reduce(|best, run| {
        if distance(run, &scores) < distance(best, &scores) {
            run
        } else {
            best
        }
    })?;
    Some(PostScore {
        categories: majority(rubric, runs),
        scores,
        ..written.unwrap_or(nearest).clone()
    })
}

fn medians(runs: &[&PostScore]) -> BTreeMap<String, f64> {
    let mut by_dimension: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for (dimension, &score) in runs.iter().flat_map(|run| &run.scores) {
        by_dimension.entry(dimension).or_default().push(score);
    }
    by_dimension
        .into_iter()
        .filter_map(|(dimension, scores)| Some((dimension.to_owned(), median(scores)?)))
        .collect()
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = values.get(values.len() / 2).copied()?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = values.get(values.len() / 2 - 1).copied()?;
    Some(f64::midpoint(lower, upper))
}

fn distance(run: &PostScore, medians: &BTreeMap<String, f64>) -> f64 {
    medians
        .iter()
        .filter_map(|(dimension, median)| Some((run.scores.get(dimension)? - median).abs()))
        .sum()
}

fn majority(rubric: &Rubric, runs: &[&PostScore]) -> Vec<String> {
    let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
    for category in runs.iter().flat_map(|run| &run.categories) {
        *votes.entry(category).or_default() += 1;
    }
    let mut elected: Vec<(&str, usize)> = votes
        .into_iter()
        .filter(|(_, votes)| 2 * votes > runs.len())
        .collect();
    // The sort is stable, so equally frequent names stay in alphabetical order.
    elected.sort_by_key(|&(_, votes)| std::cmp::Reverse(votes));
    elected
        .into_iter()
        .take(rubric.max_categories)
        .map(|(name, _)| name.to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(scores: &[(&str, f64)], categories: &[&str], summary: &str) -> PostScore {
        PostScore {
            scores: scores
                .iter()
                .map(|&(name, score)| (name.to_owned(), score))
                .collect(),
            categories: categories.iter().map(|&name| name.to_owned()).collect(),
            summary: summary.to_owned(),
            ..PostScore::default()
        }
    }

    fn drama(score: f64) -> BTreeMap<String, f64> {
        [("drama".to_owned(), score)].into()
    }

    fn combined(runs: &[PostScore]) -> PostScore {
        combine(&Rubric::default(), &runs.iter().collect::<Vec<_>>(), None).unwrap()
    }

    /// The worked example of docs/scoring.md.
    #[test]
    fn three_runs_give_medians_majority_and_the_nearest_text() {
        let all = combined(&[
            run(
                &[("absurdity", 8.0), ("drama", 6.0)],
                &["humor", "noise"],
                "first",
            ),
            run(&[("absurdity", 3.0), ("drama", 7.0)], &["noise"], "second"),
            run(
                &[("absurdity", 7.0), ("drama", 9.0)],
                &["noise", "humor", "crime"],
                "third",
            ),
        ]);
        // Medians 7 and 7. Distances: 1 + 1 = 2, 4 + 0 = 4, 0 + 2 = 2; the first of the two 2s.
        assert_eq!(
            all.scores,
            [("absurdity".to_owned(), 7.0), ("drama".to_owned(), 7.0)].into()
        );
        assert_eq!(all.categories, ["noise", "humor"]);
        assert_eq!(all.summary, "first");
    }

    #[test]
    fn two_runs_are_averaged_and_must_agree_on_categories() {
        let both = combined(&[
            run(&[("drama", 2.0)], &["noise", "crime"], "low"),
            run(&[("drama", 7.0)], &["noise"], "high"),
        ]);
        assert_eq!(both.scores, drama(4.5));
        assert_eq!(both.categories, ["noise"]);
        assert_eq!(both.summary, "low");
    }

    #[test]
    fn one_run_stays_as_it_is_and_no_run_gives_nothing() {
        let only = run(&[("drama", 2.0)], &["crime", "noise"], "only");
        assert_eq!(combined(std::slice::from_ref(&only)), only);
        assert_eq!(combine(&Rubric::default(), &[], None), None);
    }

    #[test]
    fn four_runs_average_the_middle_two() {
        let scores = [1.0, 10.0, 4.0, 5.0].map(|score| run(&[("drama", score)], &[], ""));
        assert_eq!(combined(&scores).scores, drama(4.5));
    }

    #[test]
    fn the_most_frequent_categories_are_kept() {
        let named = ["wildlife", "noise", "humor", "crime"];
        let three = combined(&[
            run(&[], &named, ""),
            run(&[], &named, ""),
            run(&[], &named[..1], ""),
        ]);
        assert_eq!(three.categories, ["wildlife", "crime", "humor"]);
    }

    #[test]
    fn a_run_that_fails_is_left_out() {
        let rubric = Rubric::default();
        let low = run(&[("drama", 2.0)], &[], "low");
        let high = run(&[("drama", 8.0)], &[], "high");
        let runs = [
            vec![Ok(low.clone()), Err(AnswerError::MissingItem)],
            vec![
                Err(AnswerError::RepeatedItem),
                Err(AnswerError::RepeatedItem),
            ],
            vec![Ok(high), Err(AnswerError::RepeatedItem)],
        ];
        let posts = combine_batch(&rubric, 2, &runs, None);
        assert_eq!(posts[0].as_ref().unwrap().scores, drama(5.0));
        assert_eq!(posts[1], Err(AnswerError::MissingItem));
        assert_eq!(combine_batch(&rubric, 1, &runs[..1], None), [Ok(low)]);
        let none = combine_batch(&rubric, 1, &[], None);
        assert_eq!(none, [Err(AnswerError::NoRun)]);
    }

    #[test]
    fn texts_of_one_run_are_kept_and_its_scores_are_one_of_several() {
        let rubric = Rubric::default();
        let brief = |score| {
            vec![
                Ok(run(&[("drama", score)], &["noise"], "")),
                Ok(run(&[], &[], "")),
            ]
        };
        let writer = vec![
            Ok(run(&[("drama", 2.0)], &["crime"], "written")),
            Err(AnswerError::MissingItem),
        ];
        let posts = combine_batch(&rubric, 2, &[writer, brief(8.0), brief(9.0)], Some(0));
        let first = posts[0].as_ref().unwrap();
        assert_eq!(
            (&first.scores, first.summary.as_str()),
            (&drama(8.0), "written")
        );
        assert_eq!(first.categories, ["noise"]);
        // Without texts, a post is asked about again.
        assert_eq!(posts[1], Err(AnswerError::MissingItem));
    }

    proptest! {
        #[test]
        fn a_median_has_as_many_values_on_either_side(values in prop::collection::vec(1.0..10.0_f64, 1..10)) {
            let middle = median(values.clone()).unwrap();
            let below = values.iter().filter(|&&value| value < middle).count();
            let above = values.iter().filter(|&&value| value > middle).count();
            prop_assert!(2 * below <= values.len() && 2 * above <= values.len());
        }

        #[test]
        fn the_order_of_runs_changes_no_score_and_no_category(
            scores in prop::collection::vec((1.0..10.0_f64, prop::sample::subsequence(vec!["a", "b", "c"], 0..=3)), 1..6)
        ) {
            let runs: Vec<PostScore> =
                scores.iter().map(|(score, names)| run(&[("drama", *score)], names, "")).collect();
            let reversed: Vec<PostScore> = runs.iter().rev().cloned().collect();
            let (there, back) = (combined(&runs), combined(&reversed));
            prop_assert_eq!(there.scores, back.scores);
            prop_assert_eq!(there.categories, back.categories);
        }
    }
}
