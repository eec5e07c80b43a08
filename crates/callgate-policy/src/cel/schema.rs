//! JSON Schema to a type: what the schema of a tool's arguments says an expression may read.

use std::collections::BTreeMap;
use std::sync::Arc;

use callgate_core::value::{Map, Value};

use super::types::{Field, Kind, ObjectType, Type};

/// How deep schemas and references are followed; what lies deeper is `dyn`.
const DEEPEST: u32 = 16;
/// How many schemas one type may be made from; references could multiply them.
const MOST: u32 = 4096;

impl Type {
    /// The type of the values a JSON Schema (2020-12, the parts that speak of types) allows; whatever
    /// it does not pin down is `dyn`.
    ///
    /// `properties` without `additionalProperties` is closed: a misspelt field is a check error.
    #[must_use]
    pub fn from_json_schema(schema: &Value) -> Self {
        Reader { root: schema, left: MOST }.read(schema, 0)
    }
}

struct Reader<'s> {
    root: &'s Value,
    left: u32,
}

impl<'s> Reader<'s> {
    fn read(&mut self, schema: &'s Value, depth: u32) -> Type {
        let Some(left) = self.left.checked_sub(1).filter(|_| depth < DEEPEST) else { return Type::Dyn };
        self.left = left;
        let below = depth.saturating_add(1);
        let Value::Map(map) = schema else { return Type::Dyn };
        if let Some(Value::Str(reference)) = map.get("$ref") {
            return self.resolve(reference).map_or(Type::Dyn, |target| self.read(target, below));
        }
        for word in ["anyOf", "oneOf"] {
            if let Some(Value::List(options)) = map.get(word) {
                return self.union(options.iter(), below);
            }
        }
        match map.get("type") {
            Some(Value::Str(name)) => self.named(name, map, below),
            Some(Value::List(names)) => {
                let types: Vec<Type> = names
                    .iter()
                    .map(|name| name.as_str().map_or(Type::Dyn, |name| self.named(name, map, below)))
                    .collect();
                join(types)
            }
            _ if map.get("properties").is_some() => self.object(map, below),
            _ => untyped(map),
        }
    }

    /// Follows `#/a/b`; anchors and other documents are not followed.
    fn resolve(&self, reference: &str) -> Option<&'s Value> {
        let path = reference.strip_prefix('#')?;
        let mut at = self.root;
        for step in path.split('/').skip(1) {
            at = at.as_map()?.get(&step.replace("~1", "/").replace("~0", "~"))?;
        }
        Some(at)
    }

    fn union(&mut self, options: impl Iterator<Item = &'s Value>, depth: u32) -> Type {
        let types: Vec<Type> = options.map(|option| self.read(option, depth)).collect();
        join(types)
    }

    fn named(&mut self, name: &str, map: &'s Map, depth: u32) -> Type {
        match name {
            "null" => Type::NULL,
            "boolean" => Type::BOOL,
            "integer" => Type::INT,
            "number" => Type::DECIMAL,
            "string" => Type::STRING,
            "array" => Type::list(map.get("items").map_or(Type::Dyn, |items| self.read(items, depth))),
            "object" => self.object(map, depth),
            _ => Type::Dyn,
        }
    }

    fn object(&mut self, map: &'s Map, depth: u32) -> Type {
        let rest = match map.get("additionalProperties") {
            Some(Value::Bool(false)) => None,
            Some(Value::Bool(true)) => Some(Type::Dyn),
            Some(schema) => Some(self.read(schema, depth)),
            None => None,
        };
        let required: Vec<&str> = match map.get("required") {
            Some(Value::List(names)) => names.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let Some(Value::Map(properties)) = map.get("properties") else {
            return Type::map(Type::STRING, rest.unwrap_or(Type::Dyn));
        };
        let mut fields = BTreeMap::new();
        for (name, schema) in properties.iter() {
            let ty = self.read(schema, depth);
            fields.insert(name.to_owned(), Field { ty, required: required.contains(&name) });
        }
        Type::Object(Arc::new(ObjectType { fields, rest }))
    }
}

/// One type for all: the common type, with `null` where one of them is, else `dyn`.
fn join(types: Vec<Type>) -> Type {
    match types.into_iter().reduce(|a, b| a.join(&b)) {
        Some(ty) => ty,
        None => Type::Dyn,
    }
}

/// The type of a schema that only lists its values.
fn untyped(map: &Map) -> Type {
    let values: &[Value] = match (map.get("const"), map.get("enum")) {
        (Some(value), _) => std::slice::from_ref(value),
        (None, Some(Value::List(values))) => values,
        _ => return Type::Dyn,
    };
    join(values.iter().map(of_value).collect())
}

fn of_value(value: &Value) -> Type {
    match value {
        Value::Null => Type::NULL,
        Value::Bool(_) => Type::BOOL,
        Value::Int(_) => Type::INT,
        Value::Decimal(_) => Type::Plain(Kind::Decimal),
        Value::Str(_) => Type::STRING,
        Value::List(_) | Value::Map(_) => Type::Dyn,
    }
}
