//! Generated code before it is text.

/// A file of generated code.
#[derive(Debug, Default)]
pub(super) struct RustModule {
    /// The options of the command that made it.
    pub(super) made_with: String,
    pub(super) items: Vec<RustItem>,
    /// What could not be written, each with the reason.
    pub(super) left_out: Vec<String>,
}

#[derive(Debug)]
pub(super) enum RustItem {
    Struct(RustStruct),
    Enum(RustEnum),
    From(FromImpl),
}

/// A struct whose fields are all public.
#[derive(Debug)]
pub(super) struct RustStruct {
    pub(super) name: String,
    pub(super) docs: Vec<String>,
    pub(super) derives: &'static [&'static str],
    /// Attributes without `#[…]`, one setting each.
    pub(super) attributes: Vec<String>,
    pub(super) fields: Vec<RustField>,
}

#[derive(Debug, Clone)]
pub(super) struct RustField {
    pub(super) name: String,
    pub(super) docs: Vec<String>,
    /// Attributes without `#[…]`, one setting each.
    pub(super) attributes: Vec<String>,
    pub(super) kind: String,
}

/// An `impl From<part> for whole`.
#[derive(Debug)]
pub(super) struct FromImpl {
    /// The struct that has some of the fields.
    pub(super) part: String,
    /// The struct that has all of them.
    pub(super) whole: String,
    /// All fields, and the value of those that `part` lacks.
    pub(super) fields: Vec<(String, Option<&'static str>)>,
}

/// An enum whose variants have no fields.
#[derive(Debug)]
pub(super) struct RustEnum {
    pub(super) name: String,
    pub(super) docs: Vec<String>,
    pub(super) variants: Vec<RustVariant>,
}

/// A variant, and its label in the database.
#[derive(Debug)]
pub(super) struct RustVariant {
    pub(super) name: String,
    pub(super) label: String,
}

/// The derives of a row that is read and written.
pub(super) const ROW: &[&str] = &[
    "Debug",
    "Clone",
    "PartialEq",
    "Serialize",
    "Deserialize",
    "Table",
];
/// The derives of a value that is read and written.
pub(super) const VALUE: &[&str] = &["Debug", "Clone", "PartialEq", "Serialize", "Deserialize"];
/// The derives of the required columns of an insert.
pub(super) const REQUIRED: &[&str] = &["Debug", "Clone", "PartialEq"];
/// The derives of a row that is only written, if some column is required.
pub(super) const WRITE: &[&str] = &["Debug", "Clone", "PartialEq", "Serialize"];
/// The derives of a row that is only written, if no column is required.
pub(super) const OPTIONAL_WRITE: &[&str] = &["Debug", "Clone", "Default", "PartialEq", "Serialize"];
/// The derives of a function's arguments.
pub(super) const CALL: &[&str] = &["Debug", "Clone", "PartialEq", "Serialize", "Function"];
/// The derives of an enum.
pub(super) const ENUM: &[&str] = &[
    "Debug",
    "Clone",
    "Copy",
    "PartialEq",
    "Eq",
    "Hash",
    "Serialize",
    "Deserialize",
];

/// An attribute with one text: `serde(rename = "…")`.
pub(super) fn attribute(path: &str, key: &str, text: &str) -> String {
    format!("{path}({key} = {text:?})")
}
