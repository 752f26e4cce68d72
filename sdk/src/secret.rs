//! Values that are sent and not shown: how they are found in a body as it is written.
//!
//! A body is written by serde, through serializers that know nothing of secrets, so a
//! [`Secret`] tells of itself: while a body is being written, its thread keeps what is noted. Where
//! anything was, the body is written once more with the secrets left out, to be shown.

use std::cell::RefCell;

use bytes::Bytes;
use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};
use serde_json::Value;

use crate::mask::MASK;
use crate::value::Secret;

/// A body, with what of it may be shown.
#[derive(Clone, Default)]
#[doc(hidden)]
pub struct Payload {
    pub(crate) bytes: Bytes,
    /// The body without the secrets, where it has any.
    pub(crate) masked: Option<Bytes>,
    pub(crate) secrets: Vec<String>,
}

impl Payload {
    /// Serializes a value as JSON.
    pub(crate) fn of(value: &(impl Serialize + ?Sized)) -> serde_json::Result<Self> {
        let (bytes, secrets) = noting(|| serde_json::to_vec(value));
        Ok(Self::new(bytes?.into(), secrets, || {
            serde_json::to_vec(value)
        }))
    }

    /// A body in which these secrets were noted, and a way to write it again.
    pub(crate) fn new(
        bytes: Bytes,
        secrets: Vec<String>,
        write: impl FnOnce() -> serde_json::Result<Vec<u8>>,
    ) -> Self {
        let masked = (!secrets.is_empty()).then(|| match masking(write) {
            Ok(masked) => masked.into(),
            Err(_) => Bytes::from_static(MASK.as_bytes()),
        });
        Self {
            bytes,
            masked,
            secrets,
        }
    }
}

impl std::fmt::Debug for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Payload").field(&self.bytes.len()).finish()
    }
}

/// Gives what `write` gives, with the texts of the secrets that it serialized.
pub(crate) fn noting<O>(write: impl FnOnce() -> O) -> (O, Vec<String>) {
    let (out, mode) = within(Mode::Noting(Vec::new()), write);
    match mode {
        Mode::Noting(secrets) => (out, secrets),
        Mode::Plain | Mode::Masking => (out, Vec::new()),
    }
}

/// Gives what `write` gives with the secrets left out.
fn masking<O>(write: impl FnOnce() -> O) -> O {
    within(Mode::Masking, write).0
}

/// What a secret does that is serialized on this thread.
enum Mode {
    Plain,
    Noting(Vec<String>),
    Masking,
}

thread_local! {
    static MODE: RefCell<Mode> = const { RefCell::new(Mode::Plain) };
}

/// Runs `write` in a mode, and gives back that mode with what it has come to hold.
fn within<O>(mode: Mode, write: impl FnOnce() -> O) -> (O, Mode) {
    /// Puts the mode from before back, also where `write` panics.
    struct Before(Option<Mode>);
    impl Drop for Before {
        fn drop(&mut self) {
            if let Some(mode) = self.0.take() {
                MODE.set(mode);
            }
        }
    }
    let mut before = Before(Some(MODE.replace(mode)));
    let out = write();
    let mode = MODE.replace(before.0.take().unwrap_or(Mode::Plain));
    (out, mode)
}

/// The value itself. In a body that a builder of this crate writes, it is also noted, to be kept
/// out of errors and snapshots; in one that was serialized before, as by `json!`, it is not.
impl<W: Serialize> Serialize for Secret<W> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if MODE.with_borrow(|mode| matches!(mode, Mode::Masking)) {
            return serializer.serialize_str(MASK);
        }
        note(&self.0);
        self.0.serialize(serializer)
    }
}

impl<'de, W: Deserialize<'de>> Deserialize<'de> for Secret<W> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        W::deserialize(deserializer).map(Self)
    }
}

fn note(value: &impl Serialize) {
    let is_noting = MODE.with_borrow(|mode| matches!(mode, Mode::Noting(_)));
    if !is_noting {
        return;
    }
    // What cannot be written is not sent either.
    let Ok(value) = serde_json::to_value(value) else {
        return;
    };
    MODE.with_borrow_mut(|mode| {
        if let Mode::Noting(secrets) = mode {
            texts(&value, secrets);
        }
    });
}

/// The texts and numbers in a value: null and truth values give nothing away.
fn texts(value: &Value, out: &mut Vec<String>) {
    match value {
        Value::Null | Value::Bool(_) => {}
        Value::Number(number) => out.push(number.to_string()),
        Value::String(text) => out.push(text.clone()),
        Value::Array(elements) => elements.iter().for_each(|element| texts(element, out)),
        Value::Object(members) => members.values().for_each(|member| texts(member, out)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(serde::Serialize)]
    struct Row {
        id: i32,
        token: Secret<String>,
        more: Vec<Secret<Option<u16>>>,
    }

    fn row() -> Row {
        Row {
            id: 7,
            token: Secret("a\"b".to_owned()),
            more: vec![Secret(Some(4321)), Secret(None)],
        }
    }

    #[test]
    fn a_secret_is_sent_noted_and_masked() {
        let payload = Payload::of(&row()).unwrap();
        assert_eq!(
            payload.bytes,
            r#"{"id":7,"token":"a\"b","more":[4321,null]}"#
        );
        let masked = r#"{"id":7,"token":"[secret]","more":["[secret]","[secret]"]}"#;
        assert_eq!(payload.masked.unwrap(), masked);
        assert_eq!(payload.secrets, ["a\"b", "4321"]);
        let payload = Payload::of(&json!({"a": 1})).unwrap();
        assert_eq!((payload.masked, payload.secrets.len()), (None, 0));
    }

    #[test]
    fn nothing_is_noted_or_masked_outside_of_a_body() {
        let panicked = std::panic::catch_unwind(|| masking(|| panic!("while it was written")));
        assert!(panicked.is_err());
        let plain = serde_json::to_string(&row()).unwrap();
        assert_eq!(plain, r#"{"id":7,"token":"a\"b","more":[4321,null]}"#);
        assert!(noting(|| ()).1.is_empty());
        let read: Secret<String> = serde_json::from_value(json!("x")).unwrap();
        assert_eq!(read.0, "x");
    }
}
