//! Functions: a struct of the arguments, and one of the rows where the function declares its columns.

use super::kind::field;
use super::relation::SKIP_NONE;
use super::{Build, USUAL_SCHEMA, docs};
use crate::catalog::{Argument, Function};
use crate::doc;
use crate::model::{CALL, Field, Item, Module, ROW, Struct, VALUE, attribute};
use crate::name::MemberNames;

impl Build<'_> {
    /// Writes every function that can be called by the names of its arguments, and says which cannot.
    pub(super) fn functions(&mut self, functions: &[&Function], module: &mut Module) {
        let mut overload = 1_u32;
        let mut before = None;
        for function in functions {
            if let Some(reason) = self.why_not(function) {
                let name = doc::code(&function.name);
                module
                    .left_out
                    .push(format!("the function {name}: {reason}"));
                continue;
            }
            overload = if before == Some((&function.schema, &function.name)) {
                overload + 1
            } else {
                1
            };
            before = Some((&function.schema, &function.name));
            module.items.extend(self.function(function, overload));
        }
    }

    /// Why a function cannot be called by the names of its arguments.
    fn why_not(&self, function: &Function) -> Option<&'static str> {
        let inputs: Vec<&Argument> = inputs(function).collect();
        match inputs.as_slice() {
            [only] if only.name.is_none() && self.types.is_row(only.type_id) => {
                Some("a computed column, which is read by its name")
            }
            several if several.iter().any(|input| input.name.is_none()) => {
                Some("it has an argument without a name")
            }
            _ => None,
        }
    }

    fn function(&mut self, function: &Function, overload: u32) -> Vec<Item> {
        let wanted = match overload {
            1 => function.name.clone(),
            number => format!("{}_{number}", function.name),
        };
        let name = self.name(&function.schema, &wanted, "call");
        let row = self.result_row(function, &name);
        let mut attributes = vec![attribute("function", "name", &function.name)];
        if function.schema != USUAL_SCHEMA {
            attributes.push(attribute("function", "schema", &function.schema));
        }
        let row_name = row.as_ref().map(|row| row.name.as_str());
        if let Some(result) = self.result(function, row_name) {
            attributes.push(format!("function(returns = {result})"));
        }
        if function.read_only {
            attributes.push("function(read_only)".to_owned());
        }
        let call = Struct {
            docs: docs(
                function.comment.as_deref(),
                format!("A call of {}.", doc::code(&function.name)),
            ),
            derives: CALL,
            attributes,
            fields: self.arguments(function),
            name,
        };
        [Some(call), row]
            .into_iter()
            .flatten()
            .map(Item::Struct)
            .collect()
    }

    /// The arguments. What has a default may be left out; that null is welcome, nothing in the
    /// database says.
    fn arguments(&mut self, function: &Function) -> Vec<Field> {
        let required = inputs(function).count().saturating_sub(function.defaults);
        let mut names = MemberNames::default();
        let mut fields = Vec::new();
        for (position, input) in inputs(function).enumerate() {
            let original = input.name.as_deref().unwrap_or_default();
            let value = self.types.rust(input.type_id);
            let nullable = self.nullness.of(&function.name, original, false);
            let unknown = value.stands_for.as_deref();
            let may_be_left_out = position >= required;
            let kind = if nullable && !may_be_left_out {
                value.optional()
            } else if may_be_left_out {
                format!("Option<{}>", value.text)
            } else {
                value.text.clone()
            };
            let name = names.field(original);
            let mut field = field(name, original, None, "argument", kind, unknown);
            if may_be_left_out {
                field.docs = vec![format!(
                    "The argument {}; its default where it is `None`.",
                    doc::code(original)
                )];
                field.attributes.push(SKIP_NONE.to_owned());
            }
            fields.push(field);
        }
        fields
    }

    /// The row that a function with `out` arguments or `returns table` returns. As a set it has a
    /// constant for each column, as a table has, by which the set is filtered.
    fn result_row(&mut self, function: &Function, call: &str) -> Option<Struct> {
        let outputs = function.arguments.iter().filter(|one| one.mode.is_output());
        let mut names = MemberNames::default();
        let mut fields = Vec::new();
        for output in outputs {
            // A column without a name is called by its place, as Postgres calls it.
            let original = output.name.clone();
            let original = original.unwrap_or_else(|| format!("column{}", fields.len() + 1));
            let value = self.types.rust(output.type_id);
            let promised = self.types.refuses_null(output.type_id);
            let nullable = self.nullness.of(&function.name, &original, !promised);
            let kind = if nullable {
                value.optional_column()
            } else {
                value.text.clone()
            };
            let name = names.field(&original);
            let unknown = value.stands_for.as_deref();
            fields.push(field(name, &original, None, "column", kind, unknown));
        }
        if fields.is_empty() {
            return None;
        }
        let (derives, attributes) = if function.returns_set {
            (ROW, vec![attribute("table", "name", &function.name)])
        } else {
            (VALUE, Vec::new())
        };
        Some(Struct {
            name: self.names.derived(call, "Row"),
            docs: vec![format!("What {} returns.", doc::code(&function.name))],
            derives,
            attributes,
            fields,
        })
    }

    /// The type of the result; `None` where there is none.
    fn result(&mut self, function: &Function, row: Option<&str>) -> Option<String> {
        if let Some(row) = row {
            return Some(if function.returns_set {
                format!("Vec<{row}>")
            } else {
                row.to_owned()
            });
        }
        if self.types.is_void(function.result) {
            return None;
        }
        let value = self.types.rust(function.result);
        if function.returns_set {
            return Some(format!("Vec<{}>", value.text));
        }
        let promised = self.types.refuses_null(function.result);
        let nullable = self.nullness.of_name(function.name.clone(), !promised);
        Some(if nullable {
            value.optional()
        } else {
            value.text
        })
    }
}

fn inputs(function: &Function) -> impl Iterator<Item = &Argument> {
    function.arguments.iter().filter(|one| one.mode.is_input())
}
