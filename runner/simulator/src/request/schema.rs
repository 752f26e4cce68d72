//! The rules of strict JSON schemas. Source: "Structured outputs", "Supported schemas".

use serde_json::{Map, Value};

use crate::limit::{
    MAX_ENUM_VALUES, MAX_SCHEMA_DEPTH, MAX_SCHEMA_NAME_BYTES, MAX_SCHEMA_PROPERTIES,
};

/// Checks the name and the schema of a strict format. The error says which rule is broken and where.
pub(crate) fn check(name: &str, schema: &Value) -> Result<(), String> {
    let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !(1..=MAX_SCHEMA_NAME_BYTES).contains(&name.len()) || !name.bytes().all(is_name_byte) {
        return Err(format!(
            "the name must have 1 to {MAX_SCHEMA_NAME_BYTES} of A-Z a-z 0-9 _ -"
        ));
    }
    if schema.get("type").is_none_or(|kind| kind != "object") || schema.get("anyOf").is_some() {
        return Err("at the root: the type must be 'object', and not an anyOf".to_owned());
    }
    let mut checker = SchemaChecker {
        root: schema,
        properties: 0,
        enum_values: 0,
    };
    checker.schema(schema, "$", 0)
}

/// Follows a `$ref` within the schema.
pub(crate) fn resolve<'s>(root: &'s Value, reference: &str) -> Option<&'s Value> {
    root.pointer(reference.strip_prefix('#')?)
}

/// The keywords that are supported. A schema with any other is refused.
const KEYWORDS: &str = "type title description enum const anyOf $ref $defs definitions properties \
                        required additionalProperties items minItems maxItems minimum maximum \
                        exclusiveMinimum exclusiveMaximum multipleOf pattern format";

const FORMATS: &str = "date-time time date duration email hostname ipv4 ipv6 uuid";

struct SchemaChecker<'s> {
    root: &'s Value,
    properties: usize,
    enum_values: usize,
}

impl SchemaChecker<'_> {
    fn schema(&mut self, schema: &Value, path: &str, depth: usize) -> Result<(), String> {
        let checked = self.rules(schema, depth);
        let object = checked.map_err(|broken| format!("at {path}: {broken}"))?;
        self.children(object, path, depth)
    }

    /// Checks one level of the schema.
    fn rules<'v>(
        &mut self,
        schema: &'v Value,
        depth: usize,
    ) -> Result<&'v Map<String, Value>, String> {
        let object = schema.as_object().ok_or("a schema must be an object")?;
        if depth > MAX_SCHEMA_DEPTH {
            return Err(format!("more than {MAX_SCHEMA_DEPTH} levels"));
        }
        keywords(object)?;
        self.enum_values += list(object, "enum").len();
        if self.enum_values > MAX_ENUM_VALUES {
            return Err(format!("more than {MAX_ENUM_VALUES} values of enums"));
        }
        if let Some(reference) = object.get("$ref") {
            let target = reference.as_str().and_then(|path| resolve(self.root, path));
            target.ok_or_else(|| format!("{reference} leads nowhere"))?;
        }
        if has_type(object, "object") {
            self.properties += closed_properties(object)?;
            if self.properties > MAX_SCHEMA_PROPERTIES {
                return Err(format!("more than {MAX_SCHEMA_PROPERTIES} properties"));
            }
        }
        if has_type(object, "array") && !object.contains_key("items") {
            return Err("an array must say what its items are".to_owned());
        }
        Ok(object)
    }

    fn children(
        &mut self,
        object: &Map<String, Value>,
        path: &str,
        depth: usize,
    ) -> Result<(), String> {
        for group in ["properties", "$defs", "definitions"] {
            let children = object.get(group).and_then(Value::as_object);
            for (name, child) in children.into_iter().flatten() {
                self.schema(child, &format!("{path}.{group}.{name}"), depth + 1)?;
            }
        }
        for (index, child) in list(object, "anyOf").iter().enumerate() {
            self.schema(child, &format!("{path}.anyOf.{index}"), depth)?;
        }
        match object.get("items") {
            Some(items) => self.schema(items, &format!("{path}.items"), depth),
            None => Ok(()),
        }
    }
}

/// Checks that an object is closed and requires all its properties, and counts them.
fn closed_properties(object: &Map<String, Value>) -> Result<usize, String> {
    if object.get("additionalProperties") != Some(&Value::Bool(false)) {
        return Err("'additionalProperties' must be false".to_owned());
    }
    let none = Map::new();
    let properties = object.get("properties").and_then(Value::as_object);
    let properties = properties.unwrap_or(&none);
    let required = list(object, "required");
    if let Some(optional) = properties
        .keys()
        .find(|key| !required.iter().any(|name| name == *key))
    {
        return Err(format!(
            "'required' must list every property; '{optional}' is missing"
        ));
    }
    let mut names = required.iter().filter_map(Value::as_str);
    match names.find(|name| !properties.contains_key(*name)) {
        Some(extra) => Err(format!("'required' lists '{extra}', which is no property")),
        None => Ok(properties.len()),
    }
}

fn keywords(object: &Map<String, Value>) -> Result<(), String> {
    let is_in = |list: &str, word: &str| list.split(' ').any(|known| known == word);
    if let Some(keyword) = object.keys().find(|keyword| !is_in(KEYWORDS, keyword)) {
        return Err(format!("'{keyword}' is not permitted"));
    }
    if let Some(format) = object.get("format")
        && !format.as_str().is_some_and(|format| is_in(FORMATS, format))
    {
        return Err(format!("{format} is not a known format"));
    }
    if !object
        .keys()
        .any(|keyword| is_in("type anyOf $ref enum const", keyword))
    {
        return Err("a schema must have a 'type'".to_owned());
    }
    Ok(())
}

/// Whether the type, which may be a list of types, is or includes this one.
fn has_type(object: &Map<String, Value>, name: &str) -> bool {
    match object.get("type") {
        Some(Value::Array(types)) => types.iter().any(|each| each == name),
        Some(single) => single == name,
        None => false,
    }
}

fn list<'o>(object: &'o Map<String, Value>, key: &str) -> &'o [Value] {
    let list = object.get(key).and_then(Value::as_array);
    list.map_or(&[], Vec::as_slice)
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
    fn supported_schemas_pass() {
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
    fn errors_name_what_is_not_supported() {
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
    fn required_lists_exactly_the_properties() {
        let mut schema = with(&json!({"type": "null"}));
        schema["required"] = json!([]);
        assert!(check("a", &schema).unwrap_err().contains("'x' is missing"));
        schema["required"] = json!(["x", "z"]);
        assert!(check("a", &schema).unwrap_err().contains("lists 'z'"));
    }

    #[test]
    fn the_root_must_be_an_object() {
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
    fn names_are_short_ascii_words() {
        let schema = with(&json!({"type": "null"}));
        for name in ["", "a b", "ñ", &"a".repeat(65)] {
            assert!(check(name, &schema).is_err(), "{name}");
        }
        assert_eq!(check(&"a-_9".repeat(16), &schema), Ok(()));
    }

    #[test]
    fn schemas_have_a_maximum_size() {
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
