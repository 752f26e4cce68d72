//! What the table says about models.

use super::*;

fn get(model: &str) -> Model {
    Models::default().get(model)
}

#[test]
fn reasoning_follows_the_family() {
    for model in [
        "o1",
        "o3-mini",
        "o4-mini-2025-04-16",
        "gpt-5",
        "gpt-5.4-nano",
        "gpt-6-luna",
        "openai/gpt-5-mini",
        "ft:o4-mini:team::id",
    ] {
        assert!(!get(model).efforts().is_empty(), "{model}");
        assert_eq!(get(model).token_limit(), TokenLimit::MaxCompletionTokens);
    }
    for model in [
        "gpt-4o",
        "gpt-4.1-nano",
        "gpt-5-chat-latest",
        "gpt-5.1-chat-latest",
        "omni-moderation",
        "llama3.1",
        "ft:gpt-4o-mini:team::id",
        "text-embedding-3-small",
    ] {
        assert!(get(model).efforts().is_empty(), "{model}");
        assert_eq!(get(model).token_limit(), TokenLimit::MaxTokens, "{model}");
    }
}

#[test]
fn luna_takes_what_the_provider_says() {
    use ReasoningEffort::{High, Low, Max, Medium, Minimal, None, Xhigh};
    let luna = get("gpt-6-luna");
    assert_eq!(luna.efforts(), [None, Low, Medium, High, Xhigh, Max]);
    assert!(!luna.takes_effort(Minimal));
    assert_eq!(luna.effort(Option::None), Some(Medium));
    assert!(luna.samples(Some(None)) && !luna.samples(Some(Low)));
    assert!(luna.flex() && luna.batch() && luna.prompt_cache());
    assert_eq!(luna.ends(), Option::None);
}

#[test]
fn a_model_that_nothing_is_known_about_gets_what_is_configured() {
    let ours = get("our-deployment");
    assert!(!ours.is_known && ours.takes_effort(ReasoningEffort::Xhigh));
    assert_eq!(ours.effort(None), None);
    assert!(ours.samples(Some(ReasoningEffort::Low)));
    assert!(!ours.n() && !ours.prompt_cache());
    assert_eq!(
        (ours.token_limit(), ours.price()),
        (TokenLimit::MaxTokens, None)
    );
}

#[test]
fn only_the_third_generation_shortens_its_vectors() {
    assert!(get("text-embedding-3-large").dimensions());
    assert!(!get("text-embedding-ada-002").dimensions());
    assert!(!get("nomic-embed-text").dimensions());
}

#[test]
fn the_vocabulary_follows_the_model() {
    let text = " 你好世界，こんにちは";
    let old = Tokenizer::cl100k().count(text);
    let new = Tokenizer::o200k().count(text);
    assert!(new < old);
    for (models, count) in [
        (
            &[
                "text-embedding-3-small",
                "gpt-4",
                "gpt-4-turbo",
                "openai/gpt-4",
                "ft:gpt-4:team",
            ][..],
            old,
        ),
        (
            &["gpt-4o-mini", "gpt-4.1", "gpt-6-luna", "o3", "ours"][..],
            new,
        ),
    ] {
        for model in models {
            assert_eq!(get(model).tokenizer().count(text), count, "{model}");
        }
    }
}

#[test]
fn a_snapshot_is_its_family_unless_it_is_listed() {
    assert_eq!(get("gpt-4o-2024-08-06").price(), get("gpt-4o").price());
    assert_ne!(get("gpt-4o-2024-05-13").price(), get("gpt-4o").price());
    assert_ne!(get("gpt-4o-2024-05-13").ends(), get("gpt-4o").ends());
    assert_eq!(get("openai/gpt-5-mini").price(), get("gpt-5-mini").price());
    assert_eq!(get("gpt-4o-2024-XX-06").price(), None);
    assert_eq!(get("ft:gpt-4o:team::id").price(), None);
}

#[test]
fn the_configuration_wins_and_adds() {
    let own: ModelSettings =
        toml::from_str("price = { input = 1.0, output = 2.0 }\nefforts = ['low']\nflex = false")
            .unwrap();
    let models = Models::with(BTreeMap::from([
        ("gpt-6*".to_owned(), own.clone()),
        ("ft:gpt-4o:team::id".to_owned(), own.clone()),
        ("ours".to_owned(), own.clone()),
    ]));
    for name in [
        "gpt-6-luna",
        "gpt-6-luna-2026-10-01",
        "ft:gpt-4o:team::id",
        "ours",
    ] {
        let model = models.get(name);
        assert_eq!(model.price(), own.price, "{name}");
        assert_eq!(model.efforts(), [ReasoningEffort::Low], "{name}");
        assert!(model.is_known && !model.flex(), "{name}");
    }
    // What is not given stays as in the table.
    assert!(models.get("gpt-6-luna").batch());
    assert_eq!(models.get("ft:gpt-6-luna:team").price(), None);
}

#[test]
fn the_nearest_effort_is_the_shorter_of_two() {
    use ReasoningEffort::{High, Low, Max, Medium, Minimal, None};
    assert_eq!(None.nearest(&[High, Low, Medium]), Some(Low));
    assert_eq!(Medium.nearest(&[High, Low]), Some(Low));
    assert_eq!(Max.nearest(&[Minimal, High]), Some(High));
    assert_eq!(Low.nearest(&[]), Option::None);
    assert!(ReasoningEffort::ALL.is_sorted());
}

#[test]
fn every_priced_model_is_named_without_a_star() {
    assert!(Models::priced().all(|name| !name.contains('*')));
    assert!(Models::priced().count() > 20);
}
