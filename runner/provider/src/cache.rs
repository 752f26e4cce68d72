//! What a request asks of the provider's prompt cache.
//!
//! From gpt-5.6 on, the provider writes a prompt to its cache up to the latest message, and a later prompt finds it only
//! if all of that is the same. To write costs more than to read. So a request that shares its first message with others
//! marks the end of this message, and switches the provider's own mark off.
//!
//! Source: "Prompt caching".

use serde::Serialize;

use super::message::{Message, Role};

/// `{"mode":"explicit"}`. As the options of a request, it says that only marks count. At the end of a content, it is
/// such a mark.
#[derive(Debug, Serialize)]
pub(super) struct Explicit {
    mode: &'static str,
}

impl Default for Explicit {
    fn default() -> Self {
        Self { mode: "explicit" }
    }
}

/// A message as it is sent.
#[derive(Debug, Serialize)]
pub(super) struct WireMessage<'a> {
    role: Role,
    content: Content<'a>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Content<'a> {
    Text(&'a str),
    Marked([Part<'a>; 1]),
}

#[derive(Debug, Serialize)]
struct Part<'a> {
    r#type: &'static str,
    text: &'a str,
    prompt_cache_breakpoint: Explicit,
}

/// The messages, with a mark at the end of the first one if others share it. The two APIs name a part of text in
/// different ways.
pub(super) fn wire_messages<'a>(
    messages: &'a [Message],
    part: &'static str,
    is_shared: bool,
) -> Vec<WireMessage<'a>> {
    let wire = |(place, message): (usize, &'a Message)| {
        let text = message.content.as_str();
        let content = if is_shared && place == 0 {
            Content::Marked([Part {
                r#type: part,
                text,
                prompt_cache_breakpoint: Explicit::default(),
            }])
        } else {
            Content::Text(text)
        };
        WireMessage {
            role: message.role,
            content,
        }
    };
    messages.iter().enumerate().map(wire).collect()
}
