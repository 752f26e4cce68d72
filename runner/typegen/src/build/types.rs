//! Enums and composite types.

use super::{Build, docs};
use crate::catalog::{CatalogType, TypeKind};
use crate::doc;
use crate::model::{RustEnum, RustField, RustItem, RustStruct, RustVariant, VALUE};
use crate::name::MemberNames;

impl Build<'_> {
    pub(super) fn name_types(&mut self, types: &[&CatalogType]) {
        for one in types {
            let is_enum = one.kind == TypeKind::Enum;
            let noun = if is_enum { "enum" } else { "type" };
            let name = self.name(&one.schema, &one.name, noun);
            self.types.name(one.id, name);
        }
    }

    pub(super) fn enum_or_composite(&mut self, one: &CatalogType) -> RustItem {
        let name = self.types.rust(one.id).text;
        let docs = |noun: &str| {
            let otherwise = format!("The {noun} {}.", doc::code(&one.name));
            docs(one.comment.as_deref(), otherwise)
        };
        if one.kind == TypeKind::Enum {
            let mut names = MemberNames::default();
            let variants = one.labels.iter().map(|label| RustVariant {
                name: names.variant(label),
                label: label.clone(),
            });
            return RustItem::Enum(RustEnum {
                name,
                docs: docs("enum"),
                variants: variants.collect(),
            });
        }
        RustItem::Struct(RustStruct {
            name,
            docs: docs("composite type"),
            derives: VALUE,
            attributes: Vec::new(),
            fields: self.attributes(one),
        })
    }

    /// The attributes of a composite type. Each can be null, unless its domain refuses null.
    fn attributes(&mut self, one: &CatalogType) -> Vec<RustField> {
        let mut names = MemberNames::default();
        let mut fields = Vec::with_capacity(one.attributes.len());
        for member in &one.attributes {
            let described = (&*member.name, "attribute", member.comment.as_deref());
            let (mut field, value) =
                self.result_field(&mut names, &one.name, described, member.type_id);
            if field.kind != value.text {
                field.kind = value.optional();
            }
            fields.push(field);
        }
        fields
    }
}
