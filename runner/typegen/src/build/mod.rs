//! From the catalog to code: which items there are, their names and their fields.

mod function;
mod relation;
mod types;

use std::collections::BTreeSet;

use super::catalog::{Catalog, CatalogFunction, CatalogTable, TypeId};
use super::mapping::{RustType, Types};
use super::model::{RustField, RustModule, attribute};
use super::name::{MemberNames, TypeNames, plain};
use super::{TypegenError, TypegenOptions, doc};

/// Clients use this schema by default, so generated code does not name it.
const DEFAULT_SCHEMA: &str = "public";

/// The state while items are made.
struct Build<'a> {
    options: &'a TypegenOptions,
    types: Types<'a>,
    names: TypeNames,
    nullness: Nullness<'a>,
}

/// What the options say about nulls.
struct Nullness<'a> {
    options: &'a TypegenOptions,
    /// Every name that the options may use.
    known: BTreeSet<String>,
}

/// Makes the module of a catalog.
pub(super) fn module(
    catalog: &Catalog,
    options: &TypegenOptions,
) -> Result<RustModule, TypegenError> {
    let (relations, functions) = chosen(catalog, options)?;
    let mut build = Build {
        options,
        types: Types::new(catalog, options),
        names: TypeNames::new(),
        nullness: Nullness {
            options,
            known: BTreeSet::new(),
        },
    };
    let mut module = RustModule {
        made_with: options.to_string(),
        ..RustModule::default()
    };
    build.name_rows(&relations);
    let used = used_types(&relations, &functions);
    let mut types = build.types.reached_from(used);
    types.sort_by_key(|one| options.order_of(&one.schema));
    build.name_types(&types);
    for relation in relations {
        module.items.extend(build.relation(relation));
    }
    for one in types {
        module.items.push(build.enum_or_composite(one));
    }
    build.functions(&functions, &mut module);
    build.nullness.check()?;
    Ok(module)
}

/// The relations and functions to write, in the order of the output.
fn chosen<'a>(
    catalog: &'a Catalog,
    options: &TypegenOptions,
) -> Result<(Vec<&'a CatalogTable>, Vec<&'a CatalogFunction>), TypegenError> {
    if let Some(schema) = options
        .schemas
        .iter()
        .find(|one| !catalog.schemas.contains(one))
    {
        return Err(TypegenError::UnknownSchema(schema.clone()));
    }
    let TypegenOptions { only, exclude, .. } = options;
    let mut unused: BTreeSet<&str> = only.union(exclude).map(String::as_str).collect();
    let mut is_wanted = |name: &str| {
        unused.remove(name);
        (only.is_empty() || only.contains(name)) && !exclude.contains(name)
    };
    let relations = catalog.relations.iter();
    let mut relations: Vec<_> = relations.filter(|one| is_wanted(&one.name)).collect();
    let functions = catalog.functions.iter();
    let mut functions: Vec<_> = functions.filter(|one| is_wanted(&one.name)).collect();
    if let Some(name) = unused.pop_first() {
        return Err(TypegenError::UnknownName(name.to_owned()));
    }
    relations.sort_by_key(|one| (options.order_of(&one.schema), &one.name));
    let types = Types::new(catalog, options);
    functions.sort_by_cached_key(|one| {
        let inputs = one.inputs();
        let signature: Vec<_> = inputs
            .map(|input| (&input.name, types.schema_and_name(input.type_id)))
            .collect();
        let schema = options.order_of(&one.schema);
        (schema, &one.name, signature.len(), signature)
    });
    Ok((relations, functions))
}

/// The types of all columns, arguments and results.
fn used_types<'a>(
    relations: &[&'a CatalogTable],
    functions: &[&'a CatalogFunction],
) -> Vec<TypeId> {
    let columns = relations.iter().flat_map(|relation| &relation.columns);
    let arguments = functions.iter().flat_map(|function| &function.arguments);
    let results = functions.iter().map(|function| function.result);
    columns
        .map(|column| column.type_id)
        .chain(arguments.map(|argument| argument.type_id))
        .chain(results)
        .collect()
}

impl Build<'_> {
    /// A name for the type of `name`. If that is taken, the schema comes before it, or the noun after
    /// it.
    fn name(&mut self, schema: &str, name: &str, noun: &str) -> String {
        let mut wanted = vec![name.to_owned()];
        if self.options.order_of(schema) > 0 {
            wanted.push(format!("{schema} {name}"));
        }
        wanted.push(format!("{name} {noun}"));
        self.names.take(&wanted)
    }

    /// A field of a type that `owner` returns, and its Rust type. The field is optional if
    /// neither a domain nor an option says that it is never null.
    fn result_field(
        &mut self,
        names: &mut MemberNames,
        owner: &str,
        (name, noun, comment): (&str, &str, Option<&str>),
        type_id: TypeId,
    ) -> (RustField, RustType) {
        let value = self.types.rust(type_id);
        let mut field = field(names, name, comment, noun, &value);
        let nullable = !self.types.refuses_null(type_id);
        if self.nullness.of(owner, name, nullable) {
            field.kind = value.optional_column();
        }
        (field, value)
    }
}

impl TypegenOptions {
    /// The position of a schema in the output. Schemas that are not written come last.
    fn order_of(&self, schema: &str) -> usize {
        let found = self.schemas.iter().position(|one| one == schema);
        found.unwrap_or(self.schemas.len())
    }
}

impl Nullness<'_> {
    /// Whether `owner.member` can be null; `otherwise` is what the database says.
    fn of(&mut self, owner: &str, member: &str, otherwise: bool) -> bool {
        self.of_name(format!("{owner}.{member}"), otherwise)
    }

    /// Whether what is called `name` can be null; `otherwise` is what the database says.
    fn of_name(&mut self, name: String, otherwise: bool) -> bool {
        let options = self.options;
        let can_be = otherwise || options.nullable.contains(&name);
        let is_null = can_be && !options.not_null.contains(&name);
        self.known.insert(name);
        is_null
    }

    /// Refuses unknown names, because a misspelled one would have no effect.
    fn check(&self) -> Result<(), TypegenError> {
        let mut named = self.options.nullable.union(&self.options.not_null);
        match named.find(|name| !self.known.contains(*name)) {
            Some(name) => Err(TypegenError::UnknownName(name.clone())),
            None => Ok(()),
        }
    }
}

/// A field that is never null, with the database's name in JSON.
fn field(
    names: &mut MemberNames,
    original: &str,
    comment: Option<&str>,
    noun: &str,
    value: &RustType,
) -> RustField {
    let name = names.field(original);
    let mut docs = docs(comment, format!("The {noun} {}.", doc::code(original)));
    if let Some(of) = &value.stands_for {
        let line = format!("Of the type {}, as JSON.", doc::code(of));
        docs.extend([String::new(), line]);
    }
    let renamed = plain(&name) != original;
    let rename = renamed.then(|| attribute("serde", "rename", original));
    RustField {
        docs,
        attributes: rename.into_iter().collect(),
        name,
        kind: value.text.clone(),
    }
}

/// The attributes with a table's or function's name, and its schema unless it is the default one.
fn addressed(path: &str, schema: &str, name: &str) -> Vec<String> {
    let mut attributes = vec![attribute(path, "name", name)];
    if schema != DEFAULT_SCHEMA {
        attributes.push(attribute(path, "schema", schema));
    }
    attributes
}

/// The lines of a comment, or of `otherwise` if there is none.
fn docs(comment: Option<&str>, otherwise: String) -> Vec<String> {
    let lines = comment.map(doc::lines).unwrap_or_default();
    if lines.is_empty() {
        vec![otherwise]
    } else {
        lines
    }
}
