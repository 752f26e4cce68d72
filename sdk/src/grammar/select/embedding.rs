//! Rows of a related table inside a row.

use std::borrow::Cow;

use super::Selection;
use crate::error::Error;
use crate::quote;

/// Rows of a related table: embedded in a row, or with their columns spread into it.
///
/// ```
/// use sluice_sdk::{query::{Embedding, Selection}, col};
///
/// let author = Embedding::of("users", Selection::new().column(col("name")));
/// let selection = Selection::new()
///     .column(col("id"))
///     .embed(author.clone().alias("author").hint("posts_author_id_fkey").inner())
///     .spread(author);
/// assert_eq!(
///     selection.to_string(),
///     "id,author:users!posts_author_id_fkey!inner(name),...users(name)",
/// );
/// ```
///
/// PostgREST reference: "Resource Embedding".
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "an embedding does nothing until it is selected"]
pub struct Embedding {
    relation: Cow<'static, str>,
    selection: Selection,
    alias: Option<Cow<'static, str>>,
    hint: Option<Cow<'static, str>>,
    join: Option<Join>,
}

/// What happens to rows that have no related row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Join {
    Inner,
    Left,
}

impl Embedding {
    /// Embeds `selection` of a relation: a table, a view, a computed relationship, or the foreign
    /// key's column. With an empty selection, rows can be filtered by the relation without reading
    /// it.
    ///
    /// ```
    /// # use sluice_sdk::{col, query::{Embedding, Selection}};
    /// let name = Selection::new().column(col("name"));
    /// assert_eq!(Selection::new().embed(Embedding::of("users", name)).to_string(), "users(name)");
    /// ```
    ///
    /// SQL: `select (select to_json(u) from (select name from users where id = posts.author_id) u)
    /// as users from posts`.
    pub fn of(relation: impl Into<Cow<'static, str>>, selection: Selection) -> Self {
        Self {
            relation: relation.into(),
            selection,
            alias: None,
            hint: None,
            join: None,
        }
    }

    /// The name under which the rows are returned and filtered. By default it is the relation's
    /// own.
    ///
    /// ```
    /// # use sluice_sdk::{col, query::{Embedding, Selection}};
    /// let name = Selection::new().column(col("name"));
    /// assert_eq!(Selection::new().embed(Embedding::of("users", name).alias("author")).to_string(), "author:users(name)");
    /// ```
    ///
    /// SQL: `select (select to_json(u) from (select name from users where id = posts.author_id) u)
    /// as author from posts`.
    pub fn alias(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.alias = Some(name.into());
        self
    }

    /// The foreign key (its constraint or its column) or the joining table to use, if there are
    /// several.
    ///
    /// ```
    /// # use sluice_sdk::{col, query::{Embedding, Selection}};
    /// let name = Selection::new().column(col("name"));
    /// assert_eq!(Selection::new().embed(Embedding::of("users", name).hint("editor_id")).to_string(), "users!editor_id(name)");
    /// ```
    ///
    /// SQL: `select (select to_json(u) from (select name from users where id = posts.editor_id) u)
    /// as users from posts`.
    pub fn hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Leaves out the rows that have no related row (`!inner`).
    ///
    /// ```
    /// # use sluice_sdk::{col, query::{Embedding, Selection}};
    /// let name = Selection::new().column(col("name"));
    /// assert_eq!(Selection::new().embed(Embedding::of("users", name).inner()).to_string(), "users!inner(name)");
    /// ```
    ///
    /// SQL: `select … from posts inner join users on users.id = posts.author_id`.
    pub fn inner(mut self) -> Self {
        self.join = Some(Join::Inner);
        self
    }

    /// Keeps the rows that have no related row (`!left`). This is the default.
    ///
    /// ```
    /// # use sluice_sdk::{col, query::{Embedding, Selection}};
    /// let name = Selection::new().column(col("name"));
    /// assert_eq!(Selection::new().embed(Embedding::of("users", name).left()).to_string(), "users!left(name)");
    /// ```
    ///
    /// SQL: `select … from posts left join users on users.id = posts.author_id`.
    pub fn left(mut self) -> Self {
        self.join = Some(Join::Left);
        self
    }

    pub(super) fn validate(&self, spread: bool) -> Result<(), Error> {
        if spread && self.alias.is_some() {
            return Err(Error::invalid(
                "columns that are spread into the row have no common name; leave out the alias",
            ));
        }
        self.selection.validate()
    }

    pub(super) fn write(&self, out: &mut String) {
        if let Some(alias) = self.alias.as_ref().filter(|alias| **alias != self.relation) {
            quote::identifier(alias, out);
            out.push(':');
        }
        quote::identifier(&self.relation, out);
        if let Some(hint) = &self.hint {
            out.push('!');
            quote::identifier(hint, out);
        }
        out.push_str(match self.join {
            Some(Join::Inner) => "!inner",
            Some(Join::Left) => "!left",
            None => "",
        });
        out.push('(');
        self.selection.write(out);
        out.push(')');
    }
}
