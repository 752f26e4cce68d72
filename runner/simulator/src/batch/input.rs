//! The file of a batch: one request a line. Source: "Batch", "Preparing your batch file".

use std::collections::HashSet;

use axum::body::Bytes;
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use crate::{
    limit::{MAX_BATCH_INPUTS, MAX_BATCH_REQUESTS},
    model,
    request::{ParsedRequest, Route},
};

/// The requests of a batch, in the order of the file.
#[derive(Clone, Debug)]
pub(crate) struct BatchInput {
    pub(crate) model: String,
    pub(crate) lines: Vec<BatchLine>,
}

/// A request of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BatchLine {
    pub(crate) custom_id: String,
    /// The body of the request: JSON.
    pub(crate) body: Bytes,
}

/// Why a batch fails its validation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InputProblem {
    code: &'static str,
    message: String,
    param: Option<&'static str>,
    /// From 1.
    line: Option<usize>,
}

impl InputProblem {
    fn new(code: &'static str, param: Option<&'static str>, message: String) -> Self {
        Self {
            code,
            message,
            param,
            line: None,
        }
    }

    fn at(self, line: usize) -> Self {
        Self {
            line: Some(line),
            ..self
        }
    }

    /// What the fault of a validation says.
    pub(super) fn simulated() -> Self {
        let message = "This line is not parseable as valid JSON.".to_owned();
        Self::new("invalid_json_line", None, message).at(1)
    }

    pub(super) fn to_json(&self) -> Value {
        json!({"code": self.code, "message": self.message, "param": self.param, "line": self.line})
    }
}

#[derive(Deserialize)]
struct LineFields<'l> {
    custom_id: Option<String>,
    method: Option<String>,
    url: Option<String>,
    #[serde(borrow)]
    body: Option<&'l RawValue>,
}

/// The part of a body that the validation reads.
#[derive(Deserialize)]
struct BodyHead {
    model: Option<String>,
    input: Option<Value>,
}

impl BatchInput {
    /// Reads a file, or returns everything that is wrong with it.
    pub(crate) fn read(content: &Bytes, route: Route) -> Result<Self, Vec<InputProblem>> {
        let whole = |code, message: String| Err(vec![InputProblem::new(code, None, message)]);
        let Ok(text) = std::str::from_utf8(content) else {
            return whole("invalid_file", "The file is not UTF-8.".to_owned());
        };
        let count = text.lines().count();
        if count == 0 {
            return whole("empty_file", "The input file is empty.".to_owned());
        }
        if count > MAX_BATCH_REQUESTS {
            let message = format!("The file has {count} requests, more than {MAX_BATCH_REQUESTS}.");
            return whole("too_many_tasks", message);
        }
        let mut reader = LineReader::new(content, route);
        for (number, line) in (1..).zip(text.lines()) {
            if let Err(problem) = reader.line(line) {
                reader.problems.push(problem.at(number));
            }
        }
        if route == Route::Embeddings && reader.inputs > MAX_BATCH_INPUTS {
            let inputs = reader.inputs;
            let message = format!("The file has {inputs} inputs, more than {MAX_BATCH_INPUTS}.");
            return whole("too_many_inputs", message);
        }
        match (reader.problems.is_empty(), reader.model) {
            (true, Some(model)) => Ok(Self {
                model,
                lines: reader.lines,
            }),
            _ => Err(reader.problems),
        }
    }

    /// The tokens of all requests that are sound.
    pub(crate) fn tokens(&self, route: Route) -> u64 {
        let requests = self.lines.iter();
        let tokens = requests.filter_map(|line| {
            let request = ParsedRequest::read(route, &line.body).ok()?;
            Some(request.input_tokens())
        });
        tokens.sum()
    }
}

struct LineReader<'c> {
    content: &'c Bytes,
    route: Route,
    model: Option<String>,
    inputs: usize,
    known: HashSet<String>,
    lines: Vec<BatchLine>,
    problems: Vec<InputProblem>,
}

impl<'c> LineReader<'c> {
    fn new(content: &'c Bytes, route: Route) -> Self {
        Self {
            content,
            route,
            model: None,
            inputs: 0,
            known: HashSet::new(),
            lines: Vec::new(),
            problems: Vec::new(),
        }
    }

    fn line(&mut self, line: &str) -> Result<(), InputProblem> {
        let unreadable = |_| {
            let message = "This line is not parseable as valid JSON.".to_owned();
            InputProblem::new("invalid_json_line", None, message)
        };
        let fields: LineFields<'_> = serde_json::from_str(line).map_err(unreadable)?;
        let custom_id = required(fields.custom_id, "custom_id")?;
        let body = required(fields.body, "body")?.get();
        if required(fields.method, "method")? != "POST" {
            let message = "Invalid method: must be POST.".to_owned();
            return Err(InputProblem::new("invalid_method", Some("method"), message));
        }
        let (url, endpoint) = (required(fields.url, "url")?, self.route.url());
        if url != endpoint {
            let message = format!("The URL '{url}' is not the batch's endpoint '{endpoint}'.");
            return Err(InputProblem::new("invalid_url", Some("url"), message));
        }
        let head: BodyHead = serde_json::from_str(body).map_err(unreadable)?;
        self.check_model(head.model)?;
        self.inputs += match head.input {
            Some(Value::Array(list)) => list.len(),
            other => usize::from(other.is_some()),
        };
        if !self.known.insert(custom_id.clone()) {
            let message = format!("The custom_id '{custom_id}' is not unique in this file.");
            let code = "duplicate_custom_id";
            return Err(InputProblem::new(code, Some("custom_id"), message));
        }
        let body = self.content.slice_ref(body.as_bytes());
        self.lines.push(BatchLine { custom_id, body });
        Ok(())
    }

    /// All requests of a batch go to one model, which must exist.
    fn check_model(&mut self, model: Option<String>) -> Result<(), InputProblem> {
        let model = required(model, "body.model")?;
        let first = self.model.get_or_insert_with(|| model.clone());
        if *first != model {
            let message = format!("The model '{model}' is not that of the first line, '{first}'.");
            return Err(InputProblem::new(
                "mismatched_model",
                Some("body.model"),
                message,
            ));
        }
        if model::find(&model).is_none() {
            let message =
                format!("The provided model '{model}' is not supported by the Batch API.");
            return Err(InputProblem::new(
                "model_not_found",
                Some("body.model"),
                message,
            ));
        }
        Ok(())
    }
}

fn required<T>(value: Option<T>, name: &'static str) -> Result<T, InputProblem> {
    value.ok_or_else(|| {
        let message = format!("Missing required parameter: '{name}'.");
        InputProblem::new("missing_required_parameter", Some(name), message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "/v1/embeddings";

    fn line(id: &str, model: &str, inputs: usize) -> Value {
        let body = json!({"model": model, "input": vec!["a"; inputs]});
        json!({"custom_id": id, "method": "POST", "url": URL, "body": body})
    }

    fn sound(id: &str) -> Value {
        line(id, "text-embedding-3-small", 1)
    }

    fn read(lines: &[Value]) -> Result<BatchInput, Vec<InputProblem>> {
        let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
        BatchInput::read(&Bytes::from(lines.join("\n") + "\n"), Route::Embeddings)
    }

    fn problems(lines: &[Value]) -> Vec<(&'static str, Option<usize>)> {
        let problems = read(lines).unwrap_err();
        problems
            .iter()
            .map(|problem| (problem.code, problem.line))
            .collect()
    }

    #[test]
    fn a_sound_file_is_read_in_its_order() {
        let input = read(&[sound("b"), sound("a")]).unwrap();
        let ids: Vec<&str> = input
            .lines
            .iter()
            .map(|line| line.custom_id.as_str())
            .collect();
        assert_eq!(
            (ids, input.model.as_str()),
            (vec!["b", "a"], "text-embedding-3-small")
        );
        let body: Value = serde_json::from_slice(&input.lines[0].body).unwrap();
        assert_eq!(body, sound("b")["body"]);
        assert_eq!(input.tokens(Route::Embeddings), 2);
    }

    #[test]
    fn every_problem_has_its_code_and_line() {
        let with = |key: &str, value: Value| {
            let mut line = sound("x");
            line[key] = value;
            line
        };
        for (wrong, code) in [
            (json!("no object"), "invalid_json_line"),
            (with("custom_id", Value::Null), "missing_required_parameter"),
            (with("body", Value::Null), "missing_required_parameter"),
            (with("method", json!("GET")), "invalid_method"),
            (with("url", json!("/v1/chat/completions")), "invalid_url"),
            (with("body", json!({})), "missing_required_parameter"),
            (sound("a"), "duplicate_custom_id"),
            (line("x", "text-embedding-3-large", 1), "mismatched_model"),
        ] {
            let found = problems(&[sound("a"), wrong.clone(), sound("b")]);
            assert_eq!(found, [(code, Some(2))], "{wrong}");
        }
        assert_eq!(
            problems(&[line("x", "gpt-9", 1)]),
            [("model_not_found", Some(1))]
        );
        let two = problems(&[sound("a"), json!(1), json!(2)]);
        assert_eq!(
            two,
            [
                ("invalid_json_line", Some(2)),
                ("invalid_json_line", Some(3))
            ]
        );
    }

    #[test]
    fn a_file_has_a_maximum_of_requests_and_of_inputs() {
        let empty = BatchInput::read(&Bytes::new(), Route::Chat).unwrap_err();
        assert_eq!(empty[0].code, "empty_file");
        let blank = Bytes::from("\n".repeat(MAX_BATCH_REQUESTS + 1));
        assert_eq!(
            BatchInput::read(&blank, Route::Chat).unwrap_err()[0].code,
            "too_many_tasks"
        );
        let inputs = |count: usize| line(&count.to_string(), "text-embedding-3-small", count);
        assert!(read(&[inputs(MAX_BATCH_INPUTS - 1), sound("a")]).is_ok());
        let code = problems(&[inputs(MAX_BATCH_INPUTS), sound("a")]);
        assert_eq!(code, [("too_many_inputs", None)]);
    }
}
