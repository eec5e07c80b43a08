//! Real answers held against the document's schemas, by a reader of the part of JSON Schema that they use.

use callgate_server::openapi_json;
use serde_json::Value;

pub(crate) struct Schemas(Value);

impl Schemas {
    pub(crate) fn load() -> Self {
        Self(serde_json::from_str(openapi_json()).expect("JSON"))
    }

    /// Fails unless `value` is what the named schema says.
    pub(crate) fn check(&self, name: &str, value: &Value) {
        let schema = &self.0["components"]["schemas"][name];
        assert!(schema.is_object(), "there is no schema `{name}`");
        if let Err(problem) = self.fits(schema, value, name) {
            panic!("{problem}\n{value:#}");
        }
    }

    pub(crate) fn fits_named(&self, name: &str, value: &Value) -> bool {
        self.fits(&self.0["components"]["schemas"][name], value, name).is_ok()
    }

    fn fits(&self, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
        if let Some(reference) = schema["$ref"].as_str() {
            let target = self.0.pointer(reference.trim_start_matches('#'));
            return self.fits(target.expect("a schema"), value, at);
        }
        if let Some(options) = schema["oneOf"].as_array() {
            let fitting = options.iter().filter(|option| self.fits(option, value, at).is_ok()).count();
            return if fitting == 1 { Ok(()) } else { Err(format!("{at}: {fitting} schemas fit, not one")) };
        }
        fits_type(&schema["type"], value, at)?;
        if schema["enum"].as_array().is_some_and(|words| !words.contains(value)) {
            return Err(format!("{at}: {value} is not one of {}", schema["enum"]));
        }
        match value {
            Value::Object(fields) => self.fits_fields(schema, fields, at),
            Value::Array(items) => items
                .iter()
                .enumerate()
                .try_for_each(|(n, item)| self.fits(&schema["items"], item, &format!("{at}[{n}]"))),
            _ => Ok(()),
        }
    }

    fn fits_fields(
        &self,
        schema: &Value,
        fields: &serde_json::Map<String, Value>,
        at: &str,
    ) -> Result<(), String> {
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !fields.contains_key(name) {
                return Err(format!("{at}: `{name}` is missing"));
            }
        }
        for (name, value) in fields {
            let at = format!("{at}.{name}");
            match (schema["properties"].get(name), schema.get("additionalProperties")) {
                (Some(property), _) => self.fits(property, value, &at)?,
                (None, Some(Value::Bool(false))) => return Err(format!("{at} is not in the schema")),
                (None, Some(rest)) if rest.is_object() => self.fits(rest, value, &at)?,
                (None, _) => {}
            }
        }
        Ok(())
    }
}

fn fits_type(kind: &Value, value: &Value, at: &str) -> Result<(), String> {
    let is = |word: &str| match word {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "null" => value.is_null(),
        other => panic!("{at}: a type `{other}`"),
    };
    let fits = match kind {
        Value::Null => true,
        Value::String(word) => is(word),
        Value::Array(words) => words.iter().filter_map(Value::as_str).any(is),
        other => panic!("{at}: a type {other}"),
    };
    if fits { Ok(()) } else { Err(format!("{at}: {value} is not of type {kind}")) }
}
