//! One line of JSON: a post that the database will take, or the reason why not.

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::{Map, Number, Value};

use super::{posted, slug};
use crate::text::{head, sha256_hex};

/// The longest line that is read, in bytes.
pub const MAX_LINE_BYTES: usize = 4 * 1024 * 1024;

/// The neighborhood of a post that names none.
pub const UNKNOWN_NEIGHBORHOOD: &str = "Unknown";

/// The length of the column `posts.url`.
const MAX_URL_CHARS: usize = 512;
/// The length of the column `posts.hash`.
const MAX_HASH_CHARS: usize = 64;
/// The length of the column `posts.post_id_ext`.
const MAX_ID_CHARS: usize = 255;
/// How much of the hash is used as the id of a post without an id in its URL.
const HASH_ID_CHARS: usize = 32;

/// What a line contains.
#[derive(Debug, Clone, PartialEq)]
pub enum Parsed {
    /// Only white space.
    Blank,
    /// A post.
    Post {
        /// The post.
        post: Box<NewPost>,
        /// Parts of the line that could not be read. The post is stored without them.
        warnings: Vec<LineWarning>,
    },
    /// A line that cannot be stored.
    Bad(LineWarning),
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {number}: {reason}")]
pub struct LineWarning {
    /// The number of the line, counted from 1.
    pub number: u64,
    /// What is wrong, and what to do about it.
    pub reason: String,
}

/// A row of `posts`, with the name of its neighborhood instead of the id.
#[derive(Debug, Clone, PartialEq)]
pub struct NewPost {
    /// The name of the neighborhood, trimmed. [`UNKNOWN_NEIGHBORHOOD`] if the line has none.
    pub neighborhood: String,
    /// The `ID` of a URL `…/p/ID`, or else the start of the hash. At most 255 characters.
    pub post_id_ext: String,
    /// SHA-256 (hex) of the author's id.
    pub user_id_hash: Option<String>,
    /// The author's name, as given.
    pub author_name: Option<String>,
    /// The text, as given, never blank.
    pub text: String,
    /// Unique in the neighborhood. At most 64 characters.
    pub hash: String,
    /// The address of the post. At most 512 characters.
    pub url: Option<String>,
    /// A JSON array.
    pub image_urls: Value,
    /// A JSON array.
    pub comments: Value,
    /// How many people reacted.
    pub reaction_count: i32,
    /// When it was written.
    pub posted_at: Option<Timestamp>,
}

/// Reads one line, with or without its line end. Ages in it are counted back from `now`.
///
/// Unknown fields are ignored. `null` and blank optional texts count as absent. A post with an unreadable age is
/// stored without a time.
///
/// ```
/// use sluice_runner::flow::store::line::{Parsed, parse};
///
/// let now = "2026-05-01T12:00:00Z".parse().unwrap();
/// let line = br#"{"author_id":"a1","content":"lost cat","post_url":"https://x.test/p/77"}"#;
/// let Parsed::Post { post, .. } = parse(line, 1, now) else { panic!() };
/// assert_eq!(post.post_id_ext, "77");
/// assert_eq!(post.neighborhood, "Unknown");
///
/// let Parsed::Bad(warning) = parse(b"[1,2,3]", 9, now) else { panic!() };
/// assert!(warning.to_string().starts_with("line 9: not an object"));
/// ```
pub fn parse(line: &[u8], number: u64, now: Timestamp) -> Parsed {
    let read = object(line).and_then(|fields| fields.map(|f| post(&f, now)).transpose());
    match read {
        Ok(None) => Parsed::Blank,
        Ok(Some((post, warning))) => Parsed::Post {
            post: Box::new(post),
            warnings: warning
                .map(|reason| LineWarning { number, reason })
                .into_iter()
                .collect(),
        },
        Err(reason) => Parsed::Bad(LineWarning { number, reason }),
    }
}

type Fields = Map<String, Value>;

/// The object on a line. `None` for a blank line.
fn object(line: &[u8]) -> Result<Option<Fields>, String> {
    if line.len() > MAX_LINE_BYTES {
        return Err(format!(
            "longer than {MAX_LINE_BYTES} bytes, the most that a line may have; shorten the post"
        ));
    }
    let text = std::str::from_utf8(line).map_err(|e| {
        format!(
            "not UTF-8 at byte {}; save the file as UTF-8",
            e.valid_up_to().saturating_add(1)
        )
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).trim();
    if text.is_empty() {
        return Ok(None);
    }
    match serde_json::from_str(text).map_err(|e| not_json(&e))? {
        Value::Object(fields) => Ok(Some(fields)),
        other => Err(format!(
            "not an object but {}; write each post as {{\"content\": …}} on one line",
            kind(&other)
        )),
    }
}

fn not_json(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let (what, _) = message.split_once(" at line ").unwrap_or((&message, ""));
    let way_out = if error.is_eof() {
        "the line is cut off: write each post whole, on one line"
    } else if what.contains("surrogate") || what.contains("hex escape") {
        "half of a \\u pair is not text: drop it or write the other half"
    } else {
        "write each post as one JSON object on one line"
    };
    format!("not JSON: {what} at column {}; {way_out}", error.column())
}

/// The post that the fields describe, and a warning about a field that was left out.
fn post(fields: &Fields, now: Timestamp) -> Result<(NewPost, Option<String>), String> {
    let content = content(fields)?;
    let author_id = name_opt(fields, "author_id")?.unwrap_or_default();
    let hash = hash(fields, &author_id, content)?;
    let url = text_opt(fields, "post_url")?.map(Cow::Borrowed);
    let url = short("post_url", url, MAX_URL_CHARS)?;
    let (posted_at, warning) = posted_at(fields, now)?;
    let post = NewPost {
        neighborhood: short(
            "neighborhood",
            name_opt(fields, "neighborhood")?,
            slug::MAX_LEN,
        )?
        .unwrap_or_else(|| UNKNOWN_NEIGHBORHOOD.to_owned()),
        post_id_ext: post_id(url.as_deref(), &hash),
        user_id_hash: (!author_id.is_empty()).then(|| sha256_hex(&author_id)),
        author_name: name_opt(fields, "author_name")?.map(Cow::into_owned),
        text: content.to_owned(),
        hash,
        url,
        image_urls: array(fields, "image_urls")?,
        comments: array(fields, "comments")?,
        reaction_count: reaction_count(fields)?,
        posted_at,
    };
    Ok((post, warning))
}

fn content(fields: &Fields) -> Result<&str, String> {
    let content = text(fields, "content")?
        .ok_or("content is missing; every post needs its text in \"content\"")?;
    if content.trim().is_empty() {
        return Err("content is blank; leave posts without a text out".to_owned());
    }
    Ok(content)
}

/// The given hash, or else one of author and text. A NUL separates the two, because neither can contain one.
fn hash(fields: &Fields, author_id: &str, content: &str) -> Result<String, String> {
    let Some(given) = name(fields, "content_hash")? else {
        return Ok(sha256_hex(&format!("{author_id}\0{content}")));
    };
    if given.trim().is_empty() {
        return Err("content_hash is blank; leave it out to have it computed".to_owned());
    }
    let length = given.chars().count();
    if length > MAX_HASH_CHARS {
        return Err(format!(
            "content_hash has {length} characters, and the limit is {MAX_HASH_CHARS}; give a SHA-256 \
             in hex, or leave it out to have it computed"
        ));
    }
    Ok(given.into_owned())
}

/// An unreadable time is an error. An unreadable age is only a warning.
fn posted_at(
    fields: &Fields,
    now: Timestamp,
) -> Result<(Option<Timestamp>, Option<String>), String> {
    if let Some(Value::Number(number)) = fields.get("posted_at") {
        let time = posted::epoch(&number.to_string()).ok_or_else(|| {
            format!(
                "posted_at {number} is neither seconds nor milliseconds since 1970, from 1973 on; \
                 write it like 2026-05-01T12:00:00Z or 2026-05-01"
            )
        })?;
        return Ok((Some(time), None));
    }
    if let Some(given) = text_opt(fields, "posted_at")? {
        let time = posted::absolute(given).or_else(|| posted::epoch(given.trim()));
        let time = time.ok_or_else(|| {
            format!(
                "posted_at {} is not a time in the years 1 to 9999; write it like \
                 2026-05-01T12:00:00Z or 2026-05-01",
                excerpt(given)
            )
        })?;
        return Ok((Some(time), None));
    }
    let Some(age) = text_opt(fields, "timestamp_relative")? else {
        return Ok((None, None));
    };
    let time = posted::relative(age, now);
    let warning = time.is_none().then(|| {
        format!(
            "timestamp_relative {} is not an age like \"2h\" or \"3 days ago\"; stored without a \
             time",
            excerpt(age)
        )
    });
    Ok((time, warning))
}

fn reaction_count(fields: &Fields) -> Result<i32, String> {
    let value = match fields.get("reaction_count") {
        None | Some(Value::Null) => return Ok(0),
        Some(value) => value,
    };
    let number = match value {
        Value::Number(number) => number.clone(),
        // Programs that read CSV write numbers as texts.
        Value::String(text) if text.trim().is_empty() => return Ok(0),
        Value::String(text) => match text.trim().parse() {
            Ok(number) => number,
            Err(_) => return Err(mistyped("reaction_count", "a whole number", value)),
        },
        _ => return Err(mistyped("reaction_count", "a whole number", value)),
    };
    let whole = whole(&number).and_then(|count| i32::try_from(count).ok());
    whole.ok_or_else(|| {
        format!(
            "reaction_count {number} is not a whole number from {} to {}",
            i32::MIN,
            i32::MAX
        )
    })
}

/// A number without a fraction, such as 3 or 3.0. `None` if digits may be lost.
fn whole(number: &Number) -> Option<i128> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if let Some(whole) = number.as_i128() {
        return Some(whole);
    }
    let float = number.as_f64()?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "checked to be whole and exact"
    )]
    (float.fract() == 0.0 && float.abs() < EXACT).then_some(float as i128)
}

/// The `ID` of a URL's path `…/p/ID` if it fits, or else the start of the hash.
fn post_id(url: Option<&str>, hash: &str) -> String {
    let path = url.and_then(|url| url.split(['?', '#']).next());
    let id = path
        .and_then(|path| path.split_once("/p/"))
        .and_then(|(_, rest)| rest.split('/').next())
        .filter(|id| !id.is_empty() && id.chars().count() <= MAX_ID_CHARS);
    id.map_or_else(|| head(hash, HASH_ID_CHARS).to_owned(), str::to_owned)
}

/// The text of a field. A NUL is an error, because Postgres cannot store it.
fn text<'a>(fields: &'a Fields, name: &str) -> Result<Option<&'a str>, String> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.contains('\0') => Err(contains_nul(name)),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(mistyped(name, "a string", other)),
    }
}

/// The text of an id or a name. Programs that guess types write one of digits as a number.
fn name<'a>(fields: &'a Fields, name: &str) -> Result<Option<Cow<'a, str>>, String> {
    let Some(Value::Number(number)) = fields.get(name) else {
        return Ok(text(fields, name)?.map(Cow::Borrowed));
    };
    let whole = whole(number).ok_or_else(|| {
        format!("{name} must be a string or a whole number, and {number} may have lost digits; write a string")
    })?;
    Ok(Some(Cow::Owned(whole.to_string())))
}

/// The text of an id or a name. A blank text counts as absent.
fn name_opt<'a>(fields: &'a Fields, field: &str) -> Result<Option<Cow<'a, str>>, String> {
    Ok(name(fields, field)?.filter(|text| !text.trim().is_empty()))
}

/// The text of a field. A blank text counts as absent.
fn text_opt<'a>(fields: &'a Fields, name: &str) -> Result<Option<&'a str>, String> {
    Ok(text(fields, name)?.filter(|text| !text.trim().is_empty()))
}

/// The trimmed text of a field. A text that is too long for its column is an error.
fn short(name: &str, text: Option<Cow<'_, str>>, max: usize) -> Result<Option<String>, String> {
    let text = text.map(|text| text.trim().to_owned());
    match text.as_ref().map(|text| text.chars().count()) {
        Some(length) if length > max => Err(format!(
            "{name} has {length} characters, and the limit is {max}; shorten it or leave it out"
        )),
        _ => Ok(text),
    }
}

fn array(fields: &Fields, name: &str) -> Result<Value, String> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(Value::Array(Vec::new())),
        Some(array @ Value::Array(_)) => match nul_in(array, name) {
            Some(place) => Err(contains_nul(&place)),
            None => Ok(array.clone()),
        },
        Some(other) => Err(mistyped(name, "an array", other)),
    }
}

/// The place of a NUL in the keys or strings of a value, written like `comments[2].text`.
fn nul_in(value: &Value, place: &str) -> Option<String> {
    match value {
        Value::String(text) => text.contains('\0').then(|| place.to_owned()),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .find_map(|(index, item)| nul_in(item, &format!("{place}[{index}]"))),
        Value::Object(fields) => fields.iter().find_map(|(key, item)| {
            if key.contains('\0') {
                return Some(format!("a key of {place}"));
            }
            nul_in(item, &format!("{place}.{key}"))
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

fn contains_nul(place: &str) -> String {
    format!("{place} contains a NUL character (\\u0000), which Postgres cannot store; remove it")
}

fn mistyped(name: &str, expected: &str, found: &Value) -> String {
    format!("{name} must be {expected}, not {}", kind(found))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// The start of a text, quoted, with control characters escaped.
fn excerpt(text: &str) -> String {
    let start = head(text, 40);
    let more = if start.len() < text.len() { "…" } else { "" };
    format!("{start:?}{more}")
}

#[cfg(test)]
#[path = "line_tests.rs"]
mod tests;
