//! The database computes the same final scores as a second formula in Rust.

use std::collections::BTreeMap;
use std::fmt::Write;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use sluice_runner::scoring::Weights;
use sluice_tests::Stack;
use sluice_tests::oracle::{FrequencyThresholds, Novelty, final_score, stored_scores};

use crate::support::scores::add_posts;

/// Cases in one statement.
const BATCH: usize = 4_000;

/// Everything that a final score depends on.
#[derive(Debug, Clone)]
struct Case {
    scores: Value,
    categories: Vec<String>,
    weights: BTreeMap<String, f64>,
    novelty: Novelty,
    frequencies: BTreeMap<String, u64>,
    total_scored: u32,
}

impl Case {
    /// What the program makes of it.
    fn final_score(&self) -> f64 {
        let multiplier = self.novelty.multiplier(
            &self.categories,
            &self.frequencies,
            self.total_scored.into(),
        );
        final_score(&stored_scores(&self.scores), &self.weights, multiplier)
    }

    /// Its arguments, in the order of the database's function.
    fn arguments(&self) -> Value {
        json!([
            self.scores,
            self.categories,
            self.weights,
            self.novelty,
            self.frequencies,
            self.total_scored
        ])
    }
}

/// The final scores that the database computes.
async fn in_the_database(stack: &Stack, cases: &[Case]) -> Vec<f64> {
    let arguments: Vec<Value> = cases.iter().map(Case::arguments).collect();
    // Dollar quotes, because a text may contain any other quote.
    let query = format!(
        "select compute_final_score_runtime(c -> 0, array(select jsonb_array_elements_text(c -> 1)), c -> 2, c -> 3,
           c -> 4, (c ->> 5)::integer)::text as score
         from jsonb_array_elements($cases${}$cases$::jsonb) with ordinality as t (c, place) order by place",
        Value::Array(arguments)
    );
    let read = |row: &Value| {
        row.get("score")
            .and_then(Value::as_str)
            .unwrap()
            .parse()
            .unwrap()
    };
    stack.rows(&query).await.iter().map(read).collect()
}

/// Scores as rows have them: numbers of all sizes, and values that are not numbers.
fn any_score() -> impl Strategy<Value = Value> {
    prop_oneof![
        8 => (1.0..=10.0_f64).prop_map(Value::from),
        4 => (0_i32..=10).prop_map(Value::from),
        1 => (-1e6..1e6_f64).prop_map(Value::from),
        1 => prop::sample::select(vec![json!("7"), json!(null), json!([1]), json!({}), json!(true)]),
    ]
}

fn any_name() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => "[a-f]",
        1 => prop::sample::select(vec!["drama", "Z", "é", "a b", "a'b", "ß", "_"]).prop_map(str::to_owned),
    ]
}

fn any_weight() -> impl Strategy<Value = f64> {
    prop_oneof![1 => Just(0.0), 1 => (0_u32..10).prop_map(f64::from), 4 => 0.0..20.0_f64, 1 => 1e-9..1e-6_f64]
}

/// Thresholds in any order, also equal ones.
fn any_novelty() -> impl Strategy<Value = Novelty> {
    let threshold = || {
        prop_oneof![
            prop::sample::select(vec![0.0, 5.0, 30.0, 100.0]),
            0.0..120.0_f64
        ]
    };
    let thresholds = (threshold(), threshold(), threshold());
    (0.0..1.0_f64, 1.0..3.0_f64, thresholds).prop_map(
        |(min_multiplier, max_multiplier, thresholds)| {
            let (rare, common, very_common) = thresholds;
            Novelty {
                min_multiplier,
                max_multiplier,
                frequency_thresholds: FrequencyThresholds {
                    rare,
                    common,
                    very_common,
                },
                window_days: 30,
            }
        },
    )
}

fn any_case() -> impl Strategy<Value = Case> {
    let weights = prop::collection::btree_map(any_name(), any_weight(), 1..6)
        .prop_filter("all zero", |weights| {
            Weights::from_json(&json!(weights)).is_ok()
        });
    let category = || {
        prop::sample::select(vec!["noise", "humor", "crime", "wildlife"]).prop_map(str::to_owned)
    };
    (
        prop::collection::btree_map(any_name(), any_score(), 0..6),
        prop::collection::vec(category(), 0..4),
        weights,
        prop_oneof![Just(Novelty::default()), any_novelty()],
        prop::collection::btree_map(category(), 0_u64..150, 0..4),
        prop_oneof![0_u32..60, Just(29_u32), Just(30)],
    )
        .prop_map(
            |(scores, categories, weights, novelty, frequencies, total_scored)| Case {
                scores: json!(scores),
                categories,
                weights,
                novelty,
                frequencies,
                total_scored,
            },
        )
}

#[tokio::test]
async fn the_database_and_the_program_agree_on_random_cases() {
    let stack = Stack::fresh().await;
    let mut runner = TestRunner::deterministic();
    let strategy = any_case();
    let mut left = cases_wanted();
    while left > 0 {
        let batch = left.min(BATCH);
        let cases: Vec<Case> = (0..batch)
            .map(|_| strategy.new_tree(&mut runner).unwrap().current())
            .collect();
        let found = in_the_database(&stack, &cases).await;
        assert_eq!(found.len(), batch);
        let mut apart = String::new();
        for (case, found) in cases.iter().zip(found) {
            let expected = case.final_score();
            if (found - expected).abs() > 1e-9 {
                writeln!(apart, "{found} in the database, {expected} here: {case:?}").unwrap();
            }
        }
        assert!(apart.is_empty(), "{apart}");
        left -= batch;
    }
}

/// A recompute spells the sum out for its weights. 300 posts of random cases, under the weights, the
/// novelty and the frequencies of twelve others.
#[tokio::test]
async fn a_recompute_agrees_with_the_program_on_random_cases() {
    const POSTS: u32 = 300;
    let stack = Stack::fresh().await;
    let mut runner = TestRunner::deterministic();
    let strategy = any_case();
    let mut case = || strategy.new_tree(&mut runner).unwrap().current();
    add_posts(&stack, POSTS).await;
    let posts: Vec<Case> = (0..POSTS).map(|_| case()).collect();
    let rows: Vec<Value> = posts
        .iter()
        .map(|post| json!([post.scores, post.categories]))
        .collect();
    stack
        .sql(&format!(
            "insert into llm_scores (post_id, scores, categories)
               select p.id, c -> 0, array(select jsonb_array_elements_text(c -> 1))
               from jsonb_array_elements($rows${}$rows$::jsonb) with ordinality as t (c, place)
                 join posts p on p.post_id_ext = 'ext' || place",
            Value::Array(rows)
        ))
        .await;
    for _ in 0..12 {
        let basis = case();
        let given = json!({
            "weights": basis.weights, "novelty": basis.novelty, "frequencies": basis.frequencies,
            "total_scored": basis.total_scored
        });
        let staged = stack
            .rows(&format!(
                "select final_score::text as score
                 from compute_final_scores($basis${given}$basis$::jsonb, null, null, null) c,
                   unnest(c.posts, c.final_scores) as computed (id, final_score)
                 order by id"
            ))
            .await;
        assert_eq!(staged.len(), posts.len());
        for (post, row) in posts.iter().zip(staged) {
            let whole = Case {
                scores: post.scores.clone(),
                categories: post.categories.clone(),
                ..basis.clone()
            };
            let found: f64 = row["score"].as_str().unwrap().parse().unwrap();
            let expected = whole.final_score();
            assert!(
                (found - expected).abs() < 1e-9,
                "{found} in the database, {expected} here: {whole:?}"
            );
        }
    }
}

/// The examples of docs/scoring.md in both places.
#[tokio::test]
async fn the_worked_examples_hold_in_both_places() {
    let stack = Stack::fresh().await;
    let weights: BTreeMap<String, f64> = serde_json::from_value(json!({
        "absurdity": 2.5, "discussion_spark": 1.0, "drama": 1.5, "emotional_intensity": 1.2,
        "news_value": 1.0, "podcast_worthy": 2.5, "readability": 1.2
    }))
    .unwrap();
    let whole = json!({
        "absurdity": 8, "discussion_spark": 6, "drama": 7, "emotional_intensity": 5,
        "news_value": 2, "podcast_worthy": 9, "readability": 7
    });
    let frequency = |categories: &[(&str, u64)]| -> BTreeMap<String, u64> {
        categories
            .iter()
            .map(|(name, count)| ((*name).to_owned(), *count))
            .collect()
    };
    let case = |scores: &Value, categories: &[&str], frequencies| Case {
        scores: scores.clone(),
        categories: categories.iter().map(|name| (*name).to_owned()).collect(),
        weights: weights.clone(),
        novelty: Novelty::default(),
        frequencies,
        total_scored: 30,
    };
    let mean = 754.0 / 109.0;
    let mut expected = vec![
        mean,
        mean * 1.25,
        10.0,
        5.0,
        5.0 + 7.5 / 10.9,
        5.0,
        mean * (1.0 - 0.8 / 7.0),
        10.0_f64.min(mean * 1.4),
    ];
    let mut cases = vec![
        case(&whole, &[], frequency(&[("noise", 1)])),
        case(
            &whole,
            &["noise", "humor"],
            frequency(&[("noise", 35), ("crime", 1)]),
        ),
        case(&whole, &["noise"], frequency(&[("noise", 1)])),
        case(&json!({}), &[], frequency(&[])),
        case(&json!({ "drama": 10 }), &[], frequency(&[])),
        case(&json!({ "drama": "10" }), &[], frequency(&[])),
        case(
            &whole,
            &["noise", "humor"],
            frequency(&[("noise", 60), ("humor", 20)]),
        ),
        case(&whole, &["noise", "humor"], frequency(&[("noise", 20)])),
    ];
    // To the number of digits in the docs.
    let rounded: Vec<String> = expected.iter().map(|score| format!("{score:.3}")).collect();
    assert_eq!(
        rounded,
        [
            "6.917", "8.647", "10.000", "5.000", "5.688", "5.000", "6.127", "9.684"
        ]
    );
    // The table of multipliers.
    for (count, multiplier) in [
        (0, 1.5),
        (5, 1.5),
        (10, 1.4),
        (25, 1.1),
        (30, 1.0),
        (44, 0.84),
        (65, 0.6),
        (86, 0.36),
        (100, 0.2),
        (140, 0.2),
    ] {
        cases.push(case(
            &json!({}),
            &["noise"],
            frequency(&[("noise", count), ("other", 1)]),
        ));
        expected.push(5.0 * multiplier);
    }
    let found = in_the_database(&stack, &cases).await;
    for ((case, found), expected) in cases.iter().zip(found).zip(expected) {
        assert!(
            (found - expected).abs() < 1e-9,
            "{found} instead of {expected}: {case:?}"
        );
        assert!((case.final_score() - expected).abs() < 1e-9, "{case:?}");
    }
}

/// Weights that make no sense are refused in both places.
#[tokio::test]
async fn the_same_weights_are_refused_in_both_places() {
    let stack = Stack::fresh().await;
    for weights in [
        json!({}),
        json!({ "a": 0, "b": 0.0 }),
        json!({ "a": 1, "b": -1 }),
        json!({ "a": "1" }),
        json!({ "a": null }),
        json!([1]),
        json!({ "a": 1e308, "b": 1e308 }),
    ] {
        assert!(Weights::from_json(&weights).is_err(), "{weights}");
        let refused = format!(
            "do $$ begin
               perform unpack_weights('{weights}');
               raise exception 'weights {weights} were taken' using errcode = 'P0001';
             exception when invalid_parameter_value or numeric_value_out_of_range then null;
             end $$"
        );
        stack.sql(&refused).await;
    }
}

/// 20,000 unless `SLUICE_TEST_FORMULA_CASES` asks for more.
#[expect(
    clippy::disallowed_methods,
    reason = "how thorough to be is for the caller of the tests to say"
)]
fn cases_wanted() -> usize {
    let asked = std::env::var("SLUICE_TEST_FORMULA_CASES").ok();
    asked.map_or(20_000, |cases| cases.parse().unwrap())
}
