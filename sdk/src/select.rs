//! What is read of a row: columns, casts, aggregates and embedded rows.

use std::borrow::Cow;
use std::fmt;

use crate::error::Error;
use crate::quote;
use crate::schema::{Column, NotNull, Target};

/// A row shape that is read from a table: the columns and the embedded rows to ask for. Derive it:
/// see [`derive@crate::Select`]. Every [`Table`](crate::Table) selects itself.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say which columns to read",
    note = "derive it: `#[derive(Select)] #[select(from = …)]`; to read rows without one use `.rows::<…>()`"
)]
pub trait Select: Send + 'static {
    /// The table it is read from.
    type From;

    /// The columns and embedded rows to ask for.
    fn selection() -> Selection;
}

/// The rows that a field of a [`Select`] may hold of an embedded table: `V` or `Option<V>` for one
/// row, `Vec<V>` for many.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot hold embedded rows",
    note = "use `V` or `Option<V>` for one row and `Vec<V>` for many, where `V` derives `Select` or `Table`"
)]
pub trait Embed {
    /// The shape of one row.
    type Row: Select;
}

impl<V: Select> Embed for V {
    type Row = V;
}

impl<V: Select> Embed for Option<V> {
    type Row = V;
}

impl<V: Select> Embed for Vec<V> {
    type Row = V;
}

/// A field that can hold what a column of `T` gives: its value, or an `Option` of it where the
/// column can be null.
#[diagnostic::on_unimplemented(
    message = "a field of type `{Self}` cannot be read from this column of `{T}`, which holds `{V}` and is `{N}`",
    label = "the column holds `{V}` and is `{N}`",
    note = "use `Option<{V}>` for a nullable column, or `#[select(unchecked)]` for a type of your own"
)]
pub trait Reads<T, V, N> {}

/// The check that the derive of [`Select`](derive@crate::Select) makes of each field.
impl<T, V, N> Column<T, V, N> {
    /// This column, if a field of the type `F` can hold what it gives.
    #[doc(hidden)]
    #[must_use]
    pub fn read_as<F: Reads<T, V, N>>(self) -> Self {
        self
    }
}

impl<T, V> Reads<T, V, NotNull> for V {}
impl<T, V, N> Reads<T, V, N> for Option<V> {}

/// The value of a `select` parameter.
///
/// The derive of [`Select`](derive@crate::Select) makes one; this is the way to build one by hand.
///
/// ```
/// use sluice_sdk::{Selection, col};
///
/// let selection = Selection::new()
///     .column(col("id"))
///     .aliased("deep", col("meta").key("deep").text("k.ey"))
///     .embed("author", Selection::new().column(col("name")), |embed| embed.relation("users").inner());
/// assert_eq!(selection.to_string(), r#"id,deep:meta->deep->>"k.ey",author:users!inner(name)"#);
/// ```
///
/// PostgREST reference: "Vertical Filtering", "Resource Embedding" and "Aggregate Functions".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    items: Vec<Item>,
}

/// A function over the rows of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregate {
    /// `avg`
    Avg,
    /// `count`, of the values that are not null
    Count,
    /// `max`
    Max,
    /// `min`
    Min,
    /// `sum`
    Sum,
}

/// How an embedded relation is found, named and joined.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EmbedOptions {
    relation: Option<Cow<'static, str>>,
    hint: Option<Cow<'static, str>>,
    join: Option<&'static str>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Item {
    All,
    Field {
        alias: Option<Cow<'static, str>>,
        target: Target,
        cast: Option<Cow<'static, str>>,
    },
    Aggregate {
        alias: Option<Cow<'static, str>>,
        /// Absent for `count()`, the number of rows.
        target: Option<Target>,
        function: Aggregate,
    },
    Embed {
        name: Cow<'static, str>,
        options: EmbedOptions,
        spread: bool,
        selection: Selection,
    },
}

impl Selection {
    /// Selects nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Selects every column (`*`).
    #[must_use]
    pub fn all(self) -> Self {
        self.with(Item::All)
    }

    /// Selects a column, or a path into one.
    #[must_use]
    pub fn column<T, V, N>(self, column: Column<T, V, N>) -> Self {
        self.with(Item::Field {
            alias: None,
            target: column.target(),
            cast: None,
        })
    }

    /// Selects a column, under another name where `name` is not its own.
    #[doc(hidden)]
    #[must_use]
    pub fn field<T, V, N>(self, name: &'static str, column: Column<T, V, N>) -> Self {
        if column.name() == name {
            self.column(column)
        } else {
            self.aliased(name, column)
        }
    }

    /// Selects a column under another name.
    #[must_use]
    pub fn aliased<T, V, N>(
        self,
        alias: impl Into<Cow<'static, str>>,
        column: Column<T, V, N>,
    ) -> Self {
        self.with(Item::Field {
            alias: Some(alias.into()),
            target: column.target(),
            cast: None,
        })
    }

    pub(crate) fn aliased_target(self, alias: String, target: Target) -> Self {
        self.with(Item::Field {
            alias: Some(alias.into()),
            target,
            cast: None,
        })
    }

    /// Selects a column as another type of Postgres (`col::text`): letters, digits, `_`, `$` and
    /// spaces only.
    #[must_use]
    pub fn cast<T, V, N>(
        self,
        alias: impl Into<Cow<'static, str>>,
        column: Column<T, V, N>,
        cast: impl Into<Cow<'static, str>>,
    ) -> Self {
        let (alias, cast) = (Some(alias.into()), Some(cast.into()));
        self.with(Item::Field {
            alias,
            target: column.target(),
            cast,
        })
    }

    /// Selects a function of a column over each group: the groups are the rows with the same values
    /// of all columns selected beside it. The server must allow aggregates.
    #[must_use]
    pub fn aggregate<T, V, N>(
        self,
        alias: impl Into<Cow<'static, str>>,
        function: Aggregate,
        column: Column<T, V, N>,
    ) -> Self {
        let (alias, target) = (Some(alias.into()), Some(column.target()));
        self.with(Item::Aggregate {
            alias,
            target,
            function,
        })
    }

    /// Selects the number of rows of each group (`count()`).
    #[must_use]
    pub fn row_count(self, alias: impl Into<Cow<'static, str>>) -> Self {
        let function = Aggregate::Count;
        self.with(Item::Aggregate {
            alias: Some(alias.into()),
            target: None,
            function,
        })
    }

    /// Selects rows of a related table, under `name`.
    #[must_use]
    pub fn embed(
        self,
        name: impl Into<Cow<'static, str>>,
        selection: Self,
        options: impl FnOnce(EmbedOptions) -> EmbedOptions,
    ) -> Self {
        let options = options(EmbedOptions::default());
        self.with(Item::Embed {
            name: name.into(),
            options,
            spread: false,
            selection,
        })
    }

    /// Selects columns of a related row as if they were this row's own (`...relation(…)`).
    #[must_use]
    pub fn spread(
        self,
        relation: impl Into<Cow<'static, str>>,
        selection: Self,
        options: impl FnOnce(EmbedOptions) -> EmbedOptions,
    ) -> Self {
        let options = options(EmbedOptions::default());
        self.with(Item::Embed {
            name: relation.into(),
            options,
            spread: true,
            selection,
        })
    }

    fn with(mut self, item: Item) -> Self {
        self.items.push(item);
        self
    }

    /// The name under which a column comes back, where it is selected as it is.
    pub(crate) fn result_name_of<'a>(&'a self, wanted: &'a Target) -> Option<&'a str> {
        self.items.iter().find_map(|item| match item {
            Item::All if wanted.path.is_empty() => Some(wanted.name.as_ref()),
            Item::Field {
                alias,
                target,
                cast: None,
            } if target == wanted => Some(alias.as_deref().unwrap_or_else(|| target.result_name())),
            _ => None,
        })
    }

    pub(crate) fn has_aggregates(&self) -> bool {
        self.items
            .iter()
            .any(|item| matches!(item, Item::Aggregate { .. }))
    }

    /// Refuses what the grammar cannot say.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        self.items.iter().try_for_each(|item| match item {
            Item::Field { cast: Some(cast), .. } if !is_cast(cast) => Err(Error::invalid(format!(
                "`{cast}` cannot be said as a cast; use a type name of letters, digits, `_`, `$` and spaces"
            ))),
            Item::Embed { selection, .. } => selection.validate(),
            _ => Ok(()),
        })
    }
}

impl EmbedOptions {
    /// The relation's name, where the rows go under another: a table, a view, a computed
    /// relationship, or the foreign key's column.
    #[must_use]
    pub fn relation(mut self, relation: impl Into<Cow<'static, str>>) -> Self {
        self.relation = Some(relation.into());
        self
    }

    /// The foreign key (its constraint or its column) or the joining table to go by, where there
    /// are several.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Leaves out the rows that have no related row (`!inner`).
    #[must_use]
    pub fn inner(mut self) -> Self {
        self.join = Some("inner");
        self
    }

    /// Keeps the rows that have no related row (`!left`), which is the default.
    #[must_use]
    pub fn left(mut self) -> Self {
        self.join = Some("left");
        self
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        self.write(&mut out);
        f.write_str(&out)
    }
}

impl Selection {
    fn write(&self, out: &mut String) {
        for (position, item) in self.items.iter().enumerate() {
            if position > 0 {
                out.push(',');
            }
            item.write(out);
        }
    }
}

impl Item {
    fn write(&self, out: &mut String) {
        match self {
            Self::All => out.push('*'),
            Self::Field {
                alias,
                target,
                cast,
            } => {
                write_alias(alias.as_deref(), out);
                target.write(out);
                if let Some(cast) = cast {
                    out.extend(["::", cast]);
                }
            }
            Self::Aggregate {
                alias,
                target,
                function,
            } => {
                write_alias(alias.as_deref(), out);
                if let Some(target) = target {
                    target.write(out);
                    out.push('.');
                }
                out.extend([function.word(), "()"]);
            }
            Self::Embed {
                name,
                options,
                spread,
                selection,
            } => {
                options.write(name, *spread, out);
                out.push('(');
                selection.write(out);
                out.push(')');
            }
        }
    }
}

impl EmbedOptions {
    fn write(&self, name: &str, spread: bool, out: &mut String) {
        let relation = self.relation.as_deref().unwrap_or(name);
        if spread {
            out.push_str("...");
        } else if relation != name {
            write_alias(Some(name), out);
        }
        quote::identifier(relation, out);
        if let Some(hint) = &self.hint {
            out.push('!');
            quote::identifier(hint, out);
        }
        if let Some(join) = self.join {
            out.extend(["!", join]);
        }
    }
}

impl Aggregate {
    fn word(self) -> &'static str {
        match self {
            Self::Avg => "avg",
            Self::Count => "count",
            Self::Max => "max",
            Self::Min => "min",
            Self::Sum => "sum",
        }
    }
}

fn write_alias(alias: Option<&str>, out: &mut String) {
    if let Some(alias) = alias {
        quote::identifier(alias, out);
        out.push(':');
    }
}

fn is_cast(cast: &str) -> bool {
    let allowed =
        |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '$' | ' ');
    !cast.is_empty() && cast.chars().all(allowed)
}
