//! Enums and composite types.

use super::{Build, docs, stands_for};
use crate::catalog::{Kind, Type};
use crate::doc;
use crate::model::{Enum, Field, Item, Struct, VALUE, Variant, attribute};
use crate::name::{MemberNames, plain};

impl Build<'_> {
    /// Gives each type its name.
    pub(super) fn name_kinds(&mut self, kinds: &[&Type]) {
        for kind in kinds {
            let is_enum = kind.kind == Kind::Enum;
            let noun = if is_enum { "enum" } else { "type" };
            let name = self.name(&kind.schema, &kind.name, noun);
            self.types.name(kind.id, name);
        }
    }

    /// An enum or a composite type.
    pub(super) fn kind(&mut self, kind: &Type) -> Item {
        let name = self.types.rust(kind.id).text;
        if kind.kind == Kind::Enum {
            let mut names = MemberNames::default();
            let variants = kind.labels.iter().map(|label| Variant {
                name: names.variant(label),
                label: label.clone(),
            });
            return Item::Enum(Enum {
                name,
                docs: docs(
                    kind.comment.as_deref(),
                    format!("The enum {}.", doc::code(&kind.name)),
                ),
                variants: variants.collect(),
            });
        }
        Item::Struct(Struct {
            name,
            docs: docs(
                kind.comment.as_deref(),
                format!("The composite type {}.", doc::code(&kind.name)),
            ),
            derives: VALUE,
            attributes: Vec::new(),
            fields: self.attributes(kind),
        })
    }

    /// The attributes of a composite type. Nothing in the database keeps one from being null.
    fn attributes(&mut self, kind: &Type) -> Vec<Field> {
        let mut names = MemberNames::default();
        let mut fields = Vec::with_capacity(kind.attributes.len());
        for member in &kind.attributes {
            let value = self.types.rust(member.type_id);
            let promised = self.types.refuses_null(member.type_id);
            let nullable = self.nullness.of(&kind.name, &member.name, !promised);
            fields.push(field(
                names.field(&member.name),
                &member.name,
                member.comment.as_deref(),
                "attribute",
                if nullable {
                    value.optional()
                } else {
                    value.text.clone()
                },
                value.stands_for.as_deref(),
            ));
        }
        fields
    }
}

/// A field that is called as the database calls it.
pub(super) fn field(
    name: String,
    original: &str,
    comment: Option<&str>,
    noun: &str,
    kind: String,
    unknown: Option<&str>,
) -> Field {
    let mut docs = docs(comment, format!("The {noun} {}.", doc::code(original)));
    docs.extend(
        unknown
            .into_iter()
            .flat_map(|of| [String::new(), stands_for(of)]),
    );
    let renamed = plain(&name) != original;
    Field {
        docs,
        attributes: renamed
            .then(|| attribute("serde", "rename", original))
            .into_iter()
            .collect(),
        name,
        kind,
    }
}
