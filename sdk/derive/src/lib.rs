//! The derive macros of `sluice-sdk`, which re-exports them and defines their traits.

mod attribute;
mod function;
mod name;
mod select;
mod table;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Makes a struct a table: a column constant for each field, and the struct as a row shape.
///
/// ```
/// use sluice_sdk::{Column, Table, schema::{NotNull, Nullable}};
///
/// #[derive(Table)]
/// #[table(name = "posts")]
/// struct Post {
///     #[table(primary_key)]
///     id: i64,
///     url: Option<String>,
///     #[serde(rename = "type")]
///     kind: String,
/// }
///
/// let id: Column<Post, i64, NotNull> = Post::ID;
/// let url: Column<Post, String, Nullable> = Post::URL;
/// assert_eq!(Post::KIND.name(), "type");
/// ```
///
/// On the struct: `#[table(name = "…")]`, with `schema = "…"` if it is not the client's. On a
/// field: `#[table(primary_key)]`. Columns have the names that serde uses, so `#[serde(rename =
/// "…")]`, `#[serde(rename_all = "…")]` and `#[serde(skip)]` are respected. An `Option` is a column
/// that can be null.
///
/// To read rows as the struct, derive `Deserialize` beside it; to write them, `Serialize`.
#[proc_macro_derive(Table, attributes(table, serde))]
pub fn table(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    table::expand(&input)
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Makes a struct a row shape of a table: its fields are the columns to read, which the compiler
/// checks against the table.
///
/// ```
/// use sluice_sdk::{Select, Table};
///
/// #[derive(Table)]
/// #[table(name = "neighborhoods")]
/// struct Neighborhood { #[table(primary_key)] id: i64, slug: String }
///
/// #[derive(Table)]
/// #[table(name = "posts")]
/// struct Post { #[table(primary_key)] id: i64, neighborhood_id: i64, url: Option<String> }
///
/// #[derive(Select)]
/// #[select(from = Post)]
/// struct PostView {
///     id: i64,
///     #[select(column = url)]
///     link: Option<String>,
///     #[select(embed, inner)]
///     neighborhood: Neighborhood,
/// }
///
/// assert_eq!(
///     PostView::selection().to_string(),
///     "id,link:url,neighborhood:neighborhoods!inner(id,slug)",
/// );
/// // Filters on the embedded rows:
/// let nested = PostView::NEIGHBORHOOD.filter(Neighborhood::SLUG.eq("st-johns"));
/// assert_eq!(nested.to_string(), "neighborhood.slug=eq.st-johns");
/// ```
///
/// On a field:
///
/// | attribute | reads |
/// | --- | --- |
/// | none | the table's column of that field name |
/// | `column = field` | another column, under this name |
/// | `json = ["a", 0]`, `json_text = ["a", "b"]` | a path into a JSON column, as JSON or as text |
/// | `aggregate = "sum"` | `avg`, `count`, `max`, `min` or `sum` of the column over each group |
/// | `cast = "text"` | the column, the path or the aggregate as another type of Postgres |
/// | `count` | the number of rows of each group |
/// | `embed` | rows of a related table: `V`, `Option<V>` or `Vec<V>`; with `relation = "…"`, `hint = "…"`, `inner`, `left` |
/// | `spread` | the columns of a related row, beside `#[serde(flatten)]`; with the same options |
/// | `unchecked` | the column, into a type that is not compared with the column's |
#[proc_macro_derive(Select, attributes(select, serde))]
pub fn select(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    select::expand(&input)
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Makes a struct a call of a function: its fields, as serde writes them, are the arguments.
///
/// ```
/// use sluice_sdk::{Function, Offline, serde::Serialize};
///
/// #[derive(Serialize, Function)]
/// # #[serde(crate = "sluice_sdk::serde")]
/// #[function(name = "add", returns = i64, read_only)]
/// struct Add { a: i64, b: i64 }
///
/// let call = Offline::default().rpc(Add { a: 1, b: 2 }).get().call()?;
/// assert_eq!(call.request.uri(), "/rpc/add?a=1&b=2");
/// # Ok::<(), sluice_sdk::Error>(())
/// ```
///
/// `#[function(name = "…")]` is required. `returns = …` is `()` by default. `read_only` declares
/// that the function is stable or immutable. `schema = "…"` names a schema that is not the
/// client's.
#[proc_macro_derive(Function, attributes(function))]
pub fn function(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    function::expand(&input)
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}
