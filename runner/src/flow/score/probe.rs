//! One tiny call of the model that scores, under the schema of the rubric.

use super::super::session::Session;
use crate::error::Error;
use crate::provider::{AnswerFormat, ChatCompletion, ChatRequest, ErrorKind, RateHeaders, Tier};
use crate::scoring::{Question, Rubric};

/// What the model is asked about.
const POST: &str = "Has anybody seen the gnome?";

/// A model that refuses more parameters than this cannot be asked.
const ADAPTATIONS_MAX: usize = 6;

/// What one call of the model says.
#[derive(Debug, Clone, Copy)]
pub struct Tried {
    /// What it cost in dollars, if the price is known.
    pub usd: Option<f64>,
    /// The state of the provider's limits.
    pub limits: RateHeaders,
}

/// Asks the model of a rubric about one post.
///
/// # Errors
/// If the provider refuses it, or the answer does not follow the schema.
pub async fn try_scoring(session: &Session, rubric: &Rubric) -> Result<Tried, Error> {
    let client = session.provider()?;
    let question = Question::whole(rubric);
    let (prompt, schema) = (question.prompt(&[POST], None), question.schema());
    let mut left = ADAPTATIONS_MAX;
    let response = loop {
        let reasoning = client.reasoning_tokens(rubric.model(), rubric.effort());
        let request = ChatRequest {
            model: rubric.model(),
            messages: &prompt.messages,
            format: Some(AnswerFormat {
                name: &schema.name,
                schema: &schema.schema,
            }),
            max_output_tokens: u32::try_from(question.answer_tokens(1) + reasoning).ok(),
            temperature: rubric.temperature,
            reasoning_effort: rubric.effort(),
            ..ChatRequest::default()
        };
        match client.chat(&request).await {
            Err(error) if *error.kind() == ErrorKind::Adapted && left > 0 => left -= 1,
            answered => break answered?,
        }
    };
    let unusable = |why: &str| {
        let model = rubric.model();
        Error::Unexpected(format!("`{model}` gives no usable answer: {why}"))
    };
    let Some(ChatCompletion::Content(content)) = response.value.first() else {
        return Err(unusable("it refused, or its answer was cut off"));
    };
    for answer in question.read(content, 1) {
        answer.map_err(|error| unusable(&error.to_string()))?;
    }
    let price = client.model(rubric.model()).price();
    let usage = response.usage.unwrap_or_default();
    let tier = response.tier.unwrap_or(Tier::Standard);
    Ok(Tried {
        usd: price.map(|price| price.usd(&usage, tier)),
        limits: response.rate,
    })
}
