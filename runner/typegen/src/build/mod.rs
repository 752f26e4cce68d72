//! From the catalog to code: which items there are, what they are called and what they hold.

mod function;
mod kind;
mod relation;

use std::collections::BTreeSet;

use super::catalog::{Catalog, Function, Relation, TypeId};
use super::mapping::Types;
use super::model::Module;
use super::name::TypeNames;
use super::{Options, TypegenError, doc};

/// What is known while items are made.
struct Build<'a> {
    options: &'a Options,
    types: Types<'a>,
    names: TypeNames,
    nullness: Nullness<'a>,
}

/// What was said about nulls that the database does not say.
struct Nullness<'a> {
    options: &'a Options,
    /// Every name that could be spoken of.
    known: BTreeSet<String>,
}

/// Makes the module of a catalog.
pub(super) fn module(catalog: &Catalog, options: &Options) -> Result<Module, TypegenError> {
    let (relations, functions) = chosen(catalog, options)?;
    let mut build = Build {
        options,
        types: Types::new(catalog),
        names: TypeNames::new(),
        nullness: Nullness {
            options,
            known: BTreeSet::new(),
        },
    };
    let mut module = Module {
        made_with: options.to_string(),
        ..Module::default()
    };
    build.name_rows(&relations);
    let used = used_types(&relations, &functions);
    let mut kinds = build.types.reached_from(used);
    kinds.sort_by_key(|kind| options.order_of(&kind.schema));
    build.name_kinds(&kinds);
    for relation in relations {
        module.items.extend(build.relation(relation));
    }
    for kind in kinds {
        module.items.push(build.kind(kind));
    }
    build.functions(&functions, &mut module);
    build.nullness.check()?;
    Ok(module)
}

/// The relations and functions to write, sorted.
fn chosen<'a>(
    catalog: &'a Catalog,
    options: &Options,
) -> Result<(Vec<&'a Relation>, Vec<&'a Function>), TypegenError> {
    for schema in &options.schemas {
        if !catalog.schemas.contains(schema) {
            return Err(TypegenError::UnknownSchema(schema.clone()));
        }
    }
    let mut unused: BTreeSet<&str> = options.exclude.iter().map(String::as_str).collect();
    let mut is_wanted = |name: &str| {
        unused.remove(name);
        !options.exclude.contains(name)
    };
    let relations = catalog.relations.iter();
    let mut relations: Vec<_> = relations.filter(|one| is_wanted(&one.name)).collect();
    let functions = catalog.functions.iter();
    let mut functions: Vec<_> = functions.filter(|one| is_wanted(&one.name)).collect();
    if let Some(name) = unused.pop_first() {
        return Err(TypegenError::UnknownName(name.to_owned()));
    }
    relations.sort_by_key(|one| (options.order_of(&one.schema), &one.name));
    let types = Types::new(catalog);
    functions.sort_by_cached_key(|one| {
        let inputs = one.arguments.iter().filter(|input| input.mode.is_input());
        let signature: Vec<_> = inputs
            .map(|input| (&input.name, types.original(input.type_id)))
            .collect();
        (
            options.order_of(&one.schema),
            &one.name,
            signature.len(),
            signature,
        )
    });
    Ok((relations, functions))
}

/// The types of all columns, arguments and results.
fn used_types(relations: &[&Relation], functions: &[&Function]) -> Vec<TypeId> {
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
    /// A name for the type of what is called `name`: that, else with its schema before it, else with
    /// what it is behind it.
    fn name(&mut self, schema: &str, name: &str, noun: &str) -> String {
        let mut wanted = vec![name.to_owned()];
        if self.options.order_of(schema) > 0 {
            wanted.push(format!("{schema} {name}"));
        }
        wanted.push(format!("{name} {noun}"));
        self.names.take(&wanted)
    }
}

impl Options {
    /// Where a schema stands among those that are written; behind them where it is not one of them.
    fn order_of(&self, schema: &str) -> usize {
        let found = self.schemas.iter().position(|one| one == schema);
        found.unwrap_or(self.schemas.len())
    }
}

impl Nullness<'_> {
    /// Whether `owner.member` can be null, where the database says `otherwise`.
    fn of(&mut self, owner: &str, member: &str, otherwise: bool) -> bool {
        self.of_name(format!("{owner}.{member}"), otherwise)
    }

    /// Whether what is called `name` can be null, where the database says `otherwise`.
    fn of_name(&mut self, name: String, otherwise: bool) -> bool {
        let Options {
            nullable, not_null, ..
        } = self.options;
        let can_be = (otherwise || nullable.contains(&name)) && !not_null.contains(&name);
        self.known.insert(name);
        can_be
    }

    /// Refuses names that nothing has: a misspelled one would be without effect.
    fn check(&self) -> Result<(), TypegenError> {
        let mut said = self.options.nullable.union(&self.options.not_null);
        match said.find(|name| !self.known.contains(*name)) {
            Some(name) => Err(TypegenError::UnknownName(name.clone())),
            None => Ok(()),
        }
    }
}

/// The documentation of what has this comment, or `otherwise`.
fn docs(comment: Option<&str>, otherwise: String) -> Vec<String> {
    let lines = comment.map(doc::lines).unwrap_or_default();
    if lines.is_empty() {
        vec![otherwise]
    } else {
        lines
    }
}

/// What to say of a value whose type has no form of its own.
fn stands_for(name: &str) -> String {
    format!("Of the type {}, as JSON.", doc::code(name))
}

/// The schema that a client uses unless it is told another: what is in it need not name it.
const USUAL_SCHEMA: &str = "public";
