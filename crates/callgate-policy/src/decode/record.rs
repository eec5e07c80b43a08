//! The macro that declares a mapping of the language once: its type, its decoder and its schema.

/// The key a field stands for: raw identifiers without their mark.
pub(crate) fn key(field: &'static str) -> &'static str {
    field.strip_prefix("r#").unwrap_or(field)
}

/// A schema with one more keyword.
pub(crate) fn with(mut schema: serde_json::Value, keyword: &str, text: &str) -> serde_json::Value {
    if let Some(keywords) = schema.as_object_mut() {
        keywords.insert(keyword.to_owned(), text.into());
    }
    schema
}

/// Declares a mapping. Each field is `required` or `optional`, and has a shape; the documentation
/// comments are the descriptions in the JSON Schema.
macro_rules! record {
    (
        $(#[doc = $about:literal])*
        struct $name:ident {
            $( $(#[doc = $doc:literal])* $need:ident $field:ident: $shape:ty, )*
        }
    ) => {
        $(#[doc = $about])*
        #[derive(Debug, Clone)]
        pub(crate) struct $name {
            $(
                $(#[doc = $doc])*
                pub(crate) $field: Option<$crate::decode::Spanned<<$shape as $crate::decode::Shape>::Out>>,
            )*
        }

        impl $crate::decode::Shape for $name {
            type Out = Self;

            fn decode(
                node: &$crate::syntax::Node,
                sink: &mut $crate::decode::Sink<'_>,
            ) -> Option<Self> {
                let known = [$($crate::decode::key(stringify!($field))),*];
                let fields = $crate::decode::Fields::open(node, &known, sink)?;
                let record = Self {
                    $($field: fields.$need::<$shape>($crate::decode::key(stringify!($field)), sink),)*
                };
                // Some fields are only for people: to check them is all there is to do.
                $(let _ = &record.$field;)*
                Some(record)
            }

            fn schema() -> serde_json::Value {
                let mut properties = serde_json::Map::new();
                let mut required = Vec::new();
                $(
                    let key = $crate::decode::key(stringify!($field));
                    let schema = <$shape as $crate::decode::Shape>::schema();
                    let schema = $crate::decode::with(schema, "description", concat!($($doc),*).trim());
                    properties.insert(key.to_owned(), schema);
                    if stringify!($need) == "required" {
                        required.push(serde_json::Value::from(key));
                    }
                )*
                serde_json::json!({
                    "type": "object",
                    "description": concat!($($about),*).trim(),
                    "properties": properties,
                    "required": required,
                    "additionalProperties": false,
                })
            }
        }
    };
}
