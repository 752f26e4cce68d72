//! The rules that a strict JSON schema keeps. Source: "Structured outputs", "Supported schemas".

use serde_json::{Map, Value};

/// Checks the name and the schema of a strict format, or says which rule is broken and where.
pub(super) fn check(name: &str, schema: &Value) -> Result<(), String> {
    let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !(1..=MAX_NAME_BYTES).contains(&name.len()) || !name.bytes().all(is_name_byte) {
        return Err(format!(
            "the name must have 1 to {MAX_NAME_BYTES} of A-Z a-z 0-9 _ -"
        ));
    }
    if schema.get("type").and_then(Value::as_str) != Some("object") || schema.get("anyOf").is_some()
    {
        return Err("at the root: the type must be 'object', and not an anyOf".to_owned());
    }
    let mut checker = Checker {
        root: schema,
        properties: 0,
        enum_values: 0,
    };
    checker.schema(schema, "$", 0)
}

const MAX_NAME_BYTES: usize = 64;
const MAX_PROPERTIES: usize = 5000;
const MAX_DEPTH: usize = 10;
const MAX_ENUM_VALUES: usize = 1000;

/// All keywords that are understood; a schema with any other is refused.
const KEYWORDS: [&str; 21] = [
    "type",
    "title",
    "description",
    "enum",
    "const",
    "anyOf",
    "$ref",
    "$defs",
    "definitions",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "minItems",
    "maxItems",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "pattern",
];

const FORMATS: [&str; 9] = [
    "date-time",
    "time",
    "date",
    "duration",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "uuid",
];

struct Checker<'s> {
    root: &'s Value,
    properties: usize,
    enum_values: usize,
}

impl Checker<'_> {
    fn schema(&mut self, schema: &Value, path: &str, depth: usize) -> Result<(), String> {
        let object = schema
            .as_object()
            .ok_or(format!("at {path}: a schema must be an object"))?;
        if depth > MAX_DEPTH {
            return Err(format!("at {path}: more than {MAX_DEPTH} levels"));
        }
        keywords(object, path)?;
        self.values(object, path)?;
        self.reference(object, path)?;
        if has_type(object, "object") {
            self.object(object, path)?;
        }
        if has_type(object, "array") && !object.contains_key("items") {
            return Err(format!("at {path}: an array must say what its items are"));
        }
        self.children(object, path, depth)
    }

    /// An object is closed, and has all its properties always.
    fn object(&mut self, object: &Map<String, Value>, path: &str) -> Result<(), String> {
        if object.get("additionalProperties") != Some(&Value::Bool(false)) {
            return Err(format!("at {path}: 'additionalProperties' must be false"));
        }
        let none = Map::new();
        let properties = object
            .get("properties")
            .and_then(Value::as_object)
            .unwrap_or(&none);
        let required: Vec<&str> = list(object, "required").filter_map(Value::as_str).collect();
        if let Some(optional) = properties
            .keys()
            .find(|key| !required.contains(&key.as_str()))
        {
            return Err(format!(
                "at {path}: 'required' must list every property; '{optional}' is missing"
            ));
        }
        if let Some(extra) = required.iter().find(|key| !properties.contains_key(**key)) {
            return Err(format!(
                "at {path}: 'required' lists '{extra}', which is no property"
            ));
        }
        self.properties += properties.len();
        if self.properties > MAX_PROPERTIES {
            return Err(format!("more than {MAX_PROPERTIES} properties"));
        }
        Ok(())
    }

    fn values(&mut self, object: &Map<String, Value>, path: &str) -> Result<(), String> {
        self.enum_values += list(object, "enum").count();
        if self.enum_values > MAX_ENUM_VALUES {
            return Err(format!(
                "at {path}: more than {MAX_ENUM_VALUES} values of enums"
            ));
        }
        Ok(())
    }

    fn reference(&self, object: &Map<String, Value>, path: &str) -> Result<(), String> {
        let Some(reference) = object.get("$ref") else {
            return Ok(());
        };
        match reference
            .as_str()
            .and_then(|reference| resolve(self.root, reference))
        {
            Some(_) => Ok(()),
            None => Err(format!("at {path}: {reference} leads nowhere")),
        }
    }

    fn children(
        &mut self,
        object: &Map<String, Value>,
        path: &str,
        depth: usize,
    ) -> Result<(), String> {
        for group in ["properties", "$defs", "definitions"] {
            for (name, child) in object
                .get(group)
                .and_then(Value::as_object)
                .into_iter()
                .flatten()
            {
                self.schema(child, &format!("{path}.{group}.{name}"), depth + 1)?;
            }
        }
        for (index, child) in list(object, "anyOf").enumerate() {
            self.schema(child, &format!("{path}.anyOf.{index}"), depth)?;
        }
        match object.get("items") {
            Some(items) => self.schema(items, &format!("{path}.items"), depth),
            None => Ok(()),
        }
    }
}

/// Follows a `$ref` within the schema.
pub(super) fn resolve<'s>(root: &'s Value, reference: &str) -> Option<&'s Value> {
    root.pointer(reference.strip_prefix('#')?)
}

fn keywords(object: &Map<String, Value>, path: &str) -> Result<(), String> {
    let known = |keyword: &str| keyword == "format" || KEYWORDS.contains(&keyword);
    if let Some(keyword) = object.keys().find(|keyword| !known(keyword)) {
        return Err(format!("at {path}: '{keyword}' is not permitted"));
    }
    match object.get("format") {
        Some(format) if !FORMATS.iter().any(|known| format == known) => {
            Err(format!("at {path}: {format} is not a known format"))
        }
        _ if !["type", "anyOf", "$ref", "enum", "const"]
            .iter()
            .any(|k| object.contains_key(*k)) =>
        {
            Err(format!("at {path}: a schema must have a 'type'"))
        }
        _ => Ok(()),
    }
}

/// Whether the type, which may be a list of types, is or includes this one.
fn has_type(object: &Map<String, Value>, name: &str) -> bool {
    match object.get("type") {
        Some(Value::Array(types)) => types.iter().any(|each| each == name),
        Some(single) => single == name,
        None => false,
    }
}

fn list<'o>(object: &'o Map<String, Value>, key: &str) -> impl Iterator<Item = &'o Value> {
    object
        .get(key)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A schema whose property `x` is this one.
    fn with(x: &Value) -> Value {
        json!({"type": "object", "properties": {"x": x}, "required": ["x"],
            "additionalProperties": false, "$defs": {"y": {"type": "null"}}})
    }

    #[test]
    fn what_is_supported_passes() {
        for x in [
            json!({"type": "string", "enum": ["a", "b"], "description": "which"}),
            json!({"type": ["number", "null"], "minimum": 1, "maximum": 10, "multipleOf": 0.5}),
            json!({"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 3}),
            json!({"anyOf": [{"type": "null"}, {"$ref": "#/$defs/y"}, {"$ref": "#"}]}),
            json!({"type": "string", "pattern": "^a", "format": "date-time"}),
            json!({"const": 1}),
        ] {
            assert_eq!(check("scores", &with(&x)), Ok(()), "{x}");
        }
    }

    #[test]
    fn what_is_not_supported_is_named() {
        for (x, expected) in [
            (
                json!({"type": "string", "default": "a"}),
                "at $.properties.x: 'default' is not permitted",
            ),
            (
                json!({"type": "string", "minLength": 1}),
                "'minLength' is not permitted",
            ),
            (
                json!({"type": "string", "format": "uint8"}),
                "\"uint8\" is not a known format",
            ),
            (
                json!({"oneOf": [{"type": "null"}]}),
                "'oneOf' is not permitted",
            ),
            (json!({"allOf": []}), "'allOf' is not permitted"),
            (json!({"not": {}}), "'not' is not permitted"),
            (json!({"if": {}, "type": "null"}), "'if' is not permitted"),
            (
                json!({"type": "array"}),
                "an array must say what its items are",
            ),
            (
                json!({"type": "array", "items": {"type": "null", "$comment": ""}}),
                "at $.properties.x.items: '$comment'",
            ),
            (
                json!({"description": "anything"}),
                "a schema must have a 'type'",
            ),
            (json!({"$ref": "#/$defs/z"}), "leads nowhere"),
            (
                json!({"type": "object", "properties": {}, "required": []}),
                "'additionalProperties' must be false",
            ),
            (
                json!({"type": "object", "additionalProperties": {"type": "null"}}),
                "'additionalProperties' must be false",
            ),
            (
                json!({"anyOf": [{"type": "object"}]}),
                "at $.properties.x.anyOf.0: 'additionalProperties'",
            ),
            (json!(true), "a schema must be an object"),
        ] {
            let said = check("scores", &with(&x)).unwrap_err();
            assert!(said.contains(expected), "{said} lacks {expected}");
        }
    }

    #[test]
    fn every_property_is_required_and_no_other_is() {
        let mut schema = with(&json!({"type": "null"}));
        schema["required"] = json!([]);
        assert!(check("a", &schema).unwrap_err().contains("'x' is missing"));
        schema["required"] = json!(["x", "z"]);
        assert!(check("a", &schema).unwrap_err().contains("lists 'z'"));
    }

    #[test]
    fn the_root_is_an_object() {
        for root in [
            json!({"type": "array", "items": {"type": "null"}}),
            json!({"anyOf": []}),
            json!(1),
        ] {
            assert!(
                check("a", &root).unwrap_err().starts_with("at the root"),
                "{root}"
            );
        }
    }

    #[test]
    fn names_are_short_and_plain() {
        let schema = with(&json!({"type": "null"}));
        for name in ["", "a b", "ñ", &"a".repeat(65)] {
            assert!(check(name, &schema).is_err(), "{name}");
        }
        assert_eq!(check(&"a-_9".repeat(16), &schema), Ok(()));
    }

    #[test]
    fn sizes_are_bounded() {
        let values: Vec<usize> = (0..1001).collect();
        assert!(
            check("a", &with(&json!({"enum": values})))
                .unwrap_err()
                .contains("1000 values")
        );
        assert_eq!(check("a", &with(&json!({"enum": values[1..]}))), Ok(()));
        let nested = |levels| (0..levels).fold(json!({"type": "null"}), |inner, _| with(&inner));
        assert_eq!(check("a", &nested(10)), Ok(()));
        assert!(
            check("a", &nested(11))
                .unwrap_err()
                .contains("more than 10 levels")
        );
        let keys: Vec<String> = (0..5001).map(|n| format!("k{n}")).collect();
        let properties: Map<String, Value> = keys
            .iter()
            .map(|key| (key.clone(), json!({"type": "null"})))
            .collect();
        let wide = json!({"type": "object", "properties": properties, "required": keys,
            "additionalProperties": false});
        assert!(check("a", &wide).unwrap_err().contains("5000 properties"));
    }
}
