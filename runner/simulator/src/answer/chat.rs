//! `POST /v1/chat/completions`: the response.

use serde_json::{Value, json};

use super::{AnswerTerms, corrupt::corrupt_entries, fill::fill};
use crate::{
    config::Style, fault::Fault, ledger::TokenUsage, model::MODEL_SUFFIX, request::ParsedChat,
};

/// One of the answers to a request, and what it used.
#[derive(Debug, Default)]
pub(super) struct Choice {
    pub(super) said: Option<String>,
    pub(super) refusal: Option<String>,
    pub(super) end: ChoiceEnd,
    /// The tokens that can be read.
    tokens: usize,
    reasoning: usize,
}

/// Why a choice ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ChoiceEnd {
    #[default]
    Stop,
    Length,
    ContentFilter,
}

impl ChoiceEnd {
    fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::ContentFilter => "content_filter",
        }
    }
}

/// The choices of a request, and what all of them used. A fault damages one of them.
pub(super) fn choices(request: &ParsedChat, terms: &AnswerTerms) -> (Vec<Choice>, TokenUsage) {
    let damaged = terms.number % request.choices as u64;
    let choices = (0..request.choices as u64).map(|index| {
        let fault = terms.fault.filter(|_| index == damaged);
        choose(request, index.cast_signed(), fault)
    });
    let choices: Vec<Choice> = choices.collect();
    let sum = |part: fn(&Choice) -> usize| choices.iter().map(part).sum::<usize>() as u64;
    let usage = TokenUsage {
        input: request.input_tokens,
        cached: terms.cached,
        written: terms.written.unwrap_or_default(),
        output: sum(|choice| choice.tokens + choice.reasoning),
        reasoning: sum(|choice| choice.reasoning),
    };
    (choices, usage)
}

/// The body of the response, as JSON, and what it used.
pub(super) fn answer(request: &ParsedChat, terms: &AnswerTerms) -> (Vec<u8>, TokenUsage) {
    let (choices, usage) = choices(request, terms);
    let choices = choices.iter().enumerate().map(|(index, choice)| {
        let message = json!({
            "role": "assistant", "content": choice.said, "refusal": choice.refusal,
        });
        json!({"index": index, "message": message, "finish_reason": choice.end.name()})
    });
    let mut body = json!({
        "id": format!("chatcmpl-simulated-{}", terms.number),
        "object": "chat.completion",
        "created": terms.unix_time,
        "model": format!("{}{MODEL_SUFFIX}", request.model),
        "choices": choices.collect::<Vec<_>>(),
    });
    if let (true, Some(body)) = (terms.style != Style::Local, body.as_object_mut()) {
        body.insert("service_tier".to_owned(), json!(terms.tier.name()));
        let usage = json!({
            "prompt_tokens": usage.input,
            "completion_tokens": usage.output,
            "total_tokens": usage.input + usage.output,
            "prompt_tokens_details": input_details(terms),
            "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
        });
        body.insert("usage".to_owned(), usage);
    }
    (body.to_string().into_bytes(), usage)
}

/// What the prompt cache did. Only models that charge for writes tell of them.
pub(super) fn input_details(terms: &AnswerTerms) -> Value {
    match terms.written {
        Some(written) => json!({"cached_tokens": terms.cached, "cache_write_tokens": written}),
        None => json!({"cached_tokens": terms.cached}),
    }
}

/// The choice with this number.
fn choose(request: &ParsedChat, index: i64, fault: Option<Fault>) -> Choice {
    let content = match &request.schema {
        Some(schema) => {
            let run = request.run.wrapping_add(index);
            let mut answer = fill(schema, &request.posts, run, &request.limits);
            corrupt_entries(&mut answer, fault);
            answer.to_string()
        }
        None => "A simulated answer.".to_owned(),
    };
    let limit = request.max_output_tokens.unwrap_or(usize::MAX);
    let reasoning = request.effort.tokens().min(limit);
    let whole = request.vocabulary.count(&content);
    let max = match fault {
        Some(Fault::Refusal) => {
            let refusal = "I'm sorry, but I can't help with that.";
            return Choice {
                refusal: Some(refusal.to_owned()),
                tokens: request.vocabulary.count(refusal),
                reasoning,
                ..Choice::default()
            };
        }
        Some(Fault::ContentFilter) => {
            return Choice {
                end: ChoiceEnd::ContentFilter,
                reasoning,
                ..Choice::default()
            };
        }
        Some(Fault::Length) => whole / 2,
        _ => limit - reasoning,
    };
    if whole <= max {
        return Choice {
            said: Some(content),
            tokens: whole,
            reasoning,
            ..Choice::default()
        };
    }
    let head = request.vocabulary.head(&content, max);
    Choice {
        said: Some(head.to_owned()),
        end: ChoiceEnd::Length,
        tokens: request.vocabulary.count(head),
        reasoning,
        ..Choice::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{ParsedRequest, Route, sample::chat_request};
    use crate::tokens::Vocabulary;

    fn answered(body: &Value, fault: Option<Fault>) -> (Value, TokenUsage) {
        let body = body.to_string();
        let request = ParsedRequest::read(Route::Chat, body.as_bytes()).unwrap();
        let ParsedRequest::Chat(request) = request else {
            panic!("{request:?}")
        };
        let terms = AnswerTerms {
            fault,
            ..AnswerTerms::default()
        };
        let (body, usage) = answer(&request, &terms);
        (serde_json::from_slice(&body).unwrap(), usage)
    }

    fn body(model: &str, change: &[(&str, Value)]) -> Value {
        let mut body = chat_request(model);
        for (key, value) in change {
            body[*key] = value.clone();
        }
        body
    }

    fn content(answer: &Value, choice: usize) -> &str {
        answer["choices"][choice]["message"]["content"]
            .as_str()
            .unwrap()
    }

    #[test]
    fn a_response_follows_the_schema_and_counts_its_tokens() {
        let (answer, _) = answered(&chat_request("gpt-4o-mini"), None);
        assert_eq!(answer["model"], "gpt-4o-mini-simulated");
        let posts: Value = serde_json::from_str(content(&answer, 0)).unwrap();
        assert_eq!(posts["posts"][0]["index"], 1);
        let usage = &answer["usage"];
        assert_eq!(
            usage["completion_tokens"],
            Vocabulary::O200k.count(content(&answer, 0))
        );
    }

    #[test]
    fn a_response_ends_at_its_limit_of_tokens() {
        let (answer, _) = answered(&body("gpt-4o-mini", &[("max_tokens", json!(5))]), None);
        assert_eq!(answer["choices"][0]["finish_reason"], "length");
        assert_eq!(Vocabulary::O200k.count(content(&answer, 0)), 5);
    }

    #[test]
    fn faults_end_a_response_early() {
        let body = chat_request("gpt-4o-mini");
        let choice = |fault| answered(&body, Some(fault)).0["choices"][0].take();
        assert!(choice(Fault::Refusal)["message"]["refusal"].is_string());
        assert_eq!(
            choice(Fault::ContentFilter)["finish_reason"],
            "content_filter"
        );
        let truncated = choice(Fault::Length);
        assert_eq!(truncated["finish_reason"], "length");
        let content = truncated["message"]["content"].as_str().unwrap();
        assert!(serde_json::from_str::<Value>(content).unwrap_err().is_eof());
    }

    #[test]
    fn choices_are_the_runs_of_an_ensemble_and_share_their_input() {
        let run = |seed: i64| answered(&body("gpt-4o-mini", &[("seed", json!(seed))]), None);
        let (together, usage) = answered(
            &body("gpt-4o-mini", &[("n", json!(3)), ("seed", json!(7))]),
            None,
        );
        let alone = [7, 8, 9].map(run);
        for (index, (answer, _)) in alone.iter().enumerate() {
            assert_eq!(content(&together, index), content(answer, 0));
            assert_eq!(together["choices"][index]["index"], index);
        }
        assert_eq!(usage.input, alone[0].1.input);
        assert_eq!(
            usage.output,
            alone.iter().map(|(_, usage)| usage.output).sum::<u64>()
        );
        // A fault damages one choice.
        let (damaged, _) = answered(
            &body("gpt-4o-mini", &[("n", json!(3)), ("seed", json!(7))]),
            Some(Fault::Refusal),
        );
        assert!(damaged["choices"][0]["message"]["refusal"].is_string());
        assert_eq!(damaged["choices"][1], together["choices"][1]);
    }

    #[test]
    fn reasoning_is_output_and_counts_against_the_limit() {
        let luna = |effort: &str, max: usize| {
            let change = [
                ("reasoning_effort", json!(effort)),
                ("max_completion_tokens", json!(max)),
            ];
            answered(&body("gpt-6-luna", &change), None)
        };
        let (plain, without) = luna("none", 500);
        let (_, with) = luna("low", 500);
        assert_eq!((without.reasoning, with.reasoning), (0, 32));
        assert_eq!(with.output, without.output + 32);
        let (cut, usage) = luna("high", 500);
        assert_eq!((usage.output, usage.reasoning), (500, 500));
        assert_eq!(
            (
                cut["choices"][0]["finish_reason"].as_str(),
                content(&cut, 0)
            ),
            (Some("length"), "")
        );
        assert_eq!(
            plain["usage"]["completion_tokens_details"]["reasoning_tokens"],
            0
        );
        // The effort of a request without one is medium.
        assert_eq!(answered(&chat_request("gpt-6-luna"), None).1.reasoning, 128);
    }
}
