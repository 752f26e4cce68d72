//! Generated code before it is text.

/// A file of generated code.
#[derive(Debug, Default)]
pub(super) struct Module {
    /// What it was made with, as options of the command.
    pub(super) made_with: String,
    /// Its items, in their order.
    pub(super) items: Vec<Item>,
    /// What could not be written, each with the reason.
    pub(super) left_out: Vec<String>,
}

/// A type of generated code.
#[derive(Debug)]
pub(super) enum Item {
    Struct(Struct),
    Enum(Enum),
    Filling(Filling),
}

/// A struct whose fields are all public.
#[derive(Debug)]
pub(super) struct Struct {
    pub(super) name: String,
    pub(super) docs: Vec<String>,
    pub(super) derives: &'static [&'static str],
    /// Attributes without `#[…]`, each of one setting.
    pub(super) attributes: Vec<String>,
    pub(super) fields: Vec<Field>,
}

/// A field of a struct.
#[derive(Debug, Clone)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) docs: Vec<String>,
    /// Attributes without `#[…]`, each of one setting.
    pub(super) attributes: Vec<String>,
    pub(super) kind: String,
}

/// A `From` of a struct with some fields of another.
#[derive(Debug)]
pub(super) struct Filling {
    /// The struct that has some of the fields.
    pub(super) part: String,
    /// The struct that has all of them.
    pub(super) whole: String,
    /// All of them, and what those become that the part lacks.
    pub(super) fields: Vec<(String, Option<&'static str>)>,
}

/// An enum of the database: variants without fields.
#[derive(Debug)]
pub(super) struct Enum {
    pub(super) name: String,
    pub(super) docs: Vec<String>,
    pub(super) variants: Vec<Variant>,
}

/// A variant, and the label that it stands for.
#[derive(Debug)]
pub(super) struct Variant {
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
/// The derives of columns that are no row by themselves.
pub(super) const PART: &[&str] = &["Debug", "Clone", "PartialEq"];
/// The derives of a row that is only written, where some column must be given.
pub(super) const WRITTEN: &[&str] = &["Debug", "Clone", "PartialEq", "Serialize"];
/// The derives of a row that is only written, where no column must be given.
pub(super) const WRITTEN_IN_PART: &[&str] =
    &["Debug", "Clone", "Default", "PartialEq", "Serialize"];
/// The derives of a function's arguments.
pub(super) const CALL: &[&str] = &["Debug", "Clone", "PartialEq", "Serialize", "Function"];
/// The derives of an enum.
pub(super) const LABELS: &[&str] = &[
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
