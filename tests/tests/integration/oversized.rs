//! Texts of more tokens than the provider takes are truncated, or embedded in parts.

use sluice_runner::exit::Exit;
use sluice_runner::flow::{Batching, FlowOptions};
use sluice_runner::provider::Tokenizer;
use sluice_runner::simulator::Config;
use sluice_tests::Stack;

use crate::support::posts::{embed, embed_with, embedded, id, seed, stored_vector, texts, vectors};
use crate::support::{poisoned_by, rows, work_items};

#[tokio::test]
async fn oversized_text_is_truncated_and_the_report_says_so() {
    let stack = Stack::fresh().await;
    let simulator = stack.simulator(Config::default()).await;
    let session = stack.session(&simulator, "");
    let mut texts = texts(3);
    texts[1] = "gnome ".repeat(9_000);
    seed(&stack, &texts).await;
    let outcome = embed(&session).await;
    assert_eq!(outcome.exit, Exit::Complete);
    let [warning] = outcome.report.warnings.as_slice() else {
        panic!("{:?}", outcome.report.warnings);
    };
    assert!(
        warning.starts_with("1 row longer than 8192 tokens") && warning.contains(&id(1)),
        "{warning}"
    );
    // The hash is that of the whole text, because the rest can change too.
    assert_eq!(embedded(&stack).await, 3);
    let tokens = simulator.stats().input_tokens;
    assert!((8_192..8_192 + 60).contains(&tokens), "{tokens}");
}

/// A text of about 22,000 tokens, without repetition.
fn long_text() -> String {
    let word = |number: u32| format!("gnome {number} ");
    (0..5_500).map(word).collect()
}

#[tokio::test]
async fn oversized_text_is_averaged_over_its_parts_if_configured() {
    let stack = Stack::fresh().await;
    let simulator = stack.simulator(Config::default()).await;
    // A request has at most two seconds' worth of this rate, 20,000 tokens: two parts fit, three do not.
    let toml = "[embedding]\noversized = 'average'\n[limits]\ntokens_per_minute = 600000";
    let session = stack.session(&simulator, toml);
    let mut texts = texts(4);
    texts[1] = long_text();
    texts[3] = long_text();
    seed(&stack, &texts).await;
    let rehearsal = embed_with(
        &session,
        FlowOptions {
            dry_run: true,
            ..FlowOptions::default()
        },
    )
    .await;
    let outcome = embed(&session).await;
    assert_eq!(outcome.exit, Exit::Complete);
    assert_eq!((embedded(&stack).await, work_items(&stack).await), (4, 0));
    let [warning] = outcome.report.warnings.as_slice() else {
        panic!("{:?}", outcome.report.warnings);
    };
    assert!(
        warning.starts_with("2 rows longer than 8192 tokens, embedded as the average"),
        "{warning}"
    );
    let stats = simulator.stats();
    assert_eq!(stats.requests, 3);
    assert!(stats.embedded.values().all(|times| *times == 1));
    let tokenizer = Tokenizer::cl100k();
    let tokens: usize = texts[..3].iter().map(|text| tokenizer.count(text)).sum();
    assert!(stats.input_tokens.abs_diff(tokens as u64) < 3, "{stats:?}");
    assert_eq!(
        (outcome.report.tokens, rehearsal.report.tokens),
        (stats.input_tokens, stats.input_tokens)
    );

    let cuts: Vec<_> = tokenizer.split(&texts[1], 8_192).collect();
    assert_eq!(cuts.len(), 3);
    let parts: Vec<String> = cuts.iter().map(|cut| cut.text.to_owned()).collect();
    let parts = vectors(&simulator, &parts).await;
    let sum: Vec<f64> = (0..1_536)
        .map(|at| {
            cuts.iter()
                .zip(&parts)
                .map(|(cut, part)| cut.tokens as f64 * f64::from(part[at]))
                .sum()
        })
        .collect();
    let length = sum.iter().map(|number| number * number).sum::<f64>().sqrt();
    for place in [1, 3] {
        let stored = stored_vector(&stack, place).await;
        let differs =
            |(stored, sum): (&f32, &f64)| (f64::from(*stored) - sum / length).abs() > 1e-6;
        assert!(!stored.iter().zip(&sum).any(differs), "post {place}");
    }
}

#[tokio::test]
async fn oversized_text_in_a_batch_has_the_vector_of_single_requests() {
    let stack = Stack::fresh().await;
    let simulator = stack.simulator(Config::default()).await;
    let toml = "[embedding]\noversized = 'average'\n[batch]\nrequests = 2";
    let session = stack.session(&simulator, toml);
    let mut texts = texts(4);
    texts[1] = long_text();
    texts[3] = long_text();
    seed(&stack, &texts).await;
    let mut stored = Vec::new();
    for batch in [None, Some(Batching::Wait)] {
        stack.sql("delete from post_embeddings").await;
        simulator.reset();
        let options = FlowOptions {
            batch,
            ..FlowOptions::default()
        };
        let outcome = embed_with(&session, options).await;
        assert_eq!(outcome.exit, Exit::Complete);
        assert_eq!((embedded(&stack).await, work_items(&stack).await), (4, 0));
        let stats = simulator.stats();
        assert_eq!(outcome.report.tokens, stats.input_tokens);
        assert!(stats.embedded.values().all(|times| *times == 1));
        let mut vectors = Vec::new();
        for place in 0..4 {
            vectors.push(stored_vector(&stack, place).await);
        }
        stored.push(vectors);
    }
    assert_eq!(stored[0], stored[1]);
}

#[tokio::test]
async fn refused_part_fails_only_its_own_text() {
    let stack = Stack::fresh().await;
    let simulator = stack.simulator(poisoned_by("☠")).await;
    let session = stack.session(&simulator, "embedding.oversized = 'average'");
    let mut texts = texts(4);
    texts[1] = long_text() + "☠";
    texts[2] = long_text();
    seed(&stack, &texts).await;
    let outcome = embed(&session).await;
    assert_eq!(outcome.exit, Exit::SomeFailed);
    let counts = rows(&outcome);
    assert_eq!((counts.written, counts.dead), (3, 1));
    assert_eq!(
        outcome.report.failures[0].post_id.unwrap().to_string(),
        id(1)
    );
}
