//! Functions: a struct of the arguments, and one of the row if the function declares its columns.

use super::{Build, addressed, docs, field};
use crate::catalog::{Argument, CatalogFunction};
use crate::doc;
use crate::model::{CALL, ROW, RustField, RustItem, RustModule, RustStruct, VALUE, attribute};
use crate::name::MemberNames;

use super::relation::SKIP_NONE;

impl Build<'_> {
    /// Writes every function that can be called by the names of its arguments, and lists the others.
    pub(super) fn functions(&mut self, functions: &[&CatalogFunction], module: &mut RustModule) {
        let mut overload = 1_u32;
        let mut before = None;
        for function in functions {
            if let Some(reason) = self.why_not(function) {
                let name = doc::code(&function.name);
                let left_out = format!("the function {name}: {reason}");
                module.left_out.push(left_out);
                continue;
            }
            let this = Some((&function.schema, &function.name));
            overload = if before == this { overload + 1 } else { 1 };
            before = this;
            self.function(function, overload, &mut module.items);
        }
    }

    /// Why a function cannot be called by the names of its arguments.
    fn why_not(&self, function: &CatalogFunction) -> Option<&'static str> {
        let inputs: Vec<&Argument> = function.inputs().collect();
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

    fn function(&mut self, function: &CatalogFunction, overload: u32, items: &mut Vec<RustItem>) {
        let wanted = match overload {
            1 => function.name.clone(),
            number => format!("{}_{number}", function.name),
        };
        let name = self.name(&function.schema, &wanted, "call");
        let row = self.result_row(function, &name);
        let mut attributes = addressed("function", &function.schema, &function.name);
        if let Some(result) = self.result(function, row.as_ref()) {
            attributes.push(format!("function(returns = {result})"));
        }
        if function.read_only {
            attributes.push("function(read_only)".to_owned());
        }
        let otherwise = format!("A call of {}.", doc::code(&function.name));
        let call = RustStruct {
            docs: docs(function.comment.as_deref(), otherwise),
            derives: CALL,
            attributes,
            fields: self.arguments(function),
            name,
        };
        items.push(RustItem::Struct(call));
        items.extend(row.map(RustItem::Struct));
    }

    /// The arguments. One with a default may be left out. The database does not record whether an
    /// argument may be null.
    fn arguments(&mut self, function: &CatalogFunction) -> Vec<RustField> {
        let required = function.inputs().count().saturating_sub(function.defaults);
        let mut names = MemberNames::default();
        let mut fields = Vec::new();
        for (position, input) in function.inputs().enumerate() {
            let original = input.name.as_deref().unwrap_or_default();
            let value = self.types.rust(input.type_id);
            let nullable = self.nullness.of(&function.name, original, false);
            let mut field = field(&mut names, original, None, "argument", &value);
            if position >= required {
                let shown = doc::code(original);
                field.kind = value.optional_column();
                field.docs = vec![format!(
                    "The argument {shown}; its default where it is `None`."
                )];
                field.attributes.push(SKIP_NONE.to_owned());
            } else if nullable {
                field.kind = value.optional();
            }
            fields.push(field);
        }
        fields
    }

    /// The row of a function that declares the columns of its result.
    fn result_row(&mut self, function: &CatalogFunction, call: &str) -> Option<RustStruct> {
        let mut names = MemberNames::default();
        let mut fields = Vec::new();
        for output in function.outputs() {
            // Postgres calls a column without a name by its position.
            let original = output.name.clone();
            let original = original.unwrap_or_else(|| format!("column{}", fields.len() + 1));
            let described = (&*original, "column", None);
            let (field, _) =
                self.result_field(&mut names, &function.name, described, output.type_id);
            fields.push(field);
        }
        if fields.is_empty() {
            return None;
        }
        let (derives, attributes) = if function.returns_set {
            (ROW, vec![attribute("table", "name", &function.name)])
        } else {
            (VALUE, Vec::new())
        };
        Some(RustStruct {
            name: self.names.derived(call, "Row"),
            docs: vec![format!("What {} returns.", doc::code(&function.name))],
            derives,
            attributes,
            fields,
        })
    }

    /// The Rust type of the result; `None` if there is no result.
    fn result(&mut self, function: &CatalogFunction, row: Option<&RustStruct>) -> Option<String> {
        if row.is_none() && self.types.is_void(function.result) {
            return None;
        }
        let value = self.types.rust(function.result);
        let text = row.map_or_else(|| value.text.clone(), |row| row.name.clone());
        if function.returns_set {
            return Some(format!("Vec<{text}>"));
        }
        let refuses = row.is_some() || self.types.refuses_null(function.result);
        let nullable = row.is_none() && self.nullness.of_name(function.name.clone(), !refuses);
        Some(if nullable { value.optional() } else { text })
    }
}
