//! Objects that are written as objects.
//!
//! What `serde` derives for a struct also takes an array with the fields in order. On a wire that would be a second
//! way to say the same, which nobody documents and other readers refuse.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

/// A struct that is read from an object and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(OnlyMap(PhantomData)).map(Self)
    }
}

struct OnlyMap<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for OnlyMap<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object, such as `{}`")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

/// For `deserialize_with`: a field that is an object.
///
/// # Errors
/// Where it is none.
pub fn only<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    Object::deserialize(deserializer).map(|Object(it)| it)
}

/// For `deserialize_with`: a field that is an object, or null. Takes `default` beside it.
///
/// # Errors
/// Where it is neither.
pub fn maybe<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    Option::<Object<T>>::deserialize(deserializer).map(|it| it.map(|Object(it)| it))
}

/// For `deserialize_with`: a field that is an array of objects.
///
/// # Errors
/// Where it is none.
pub fn each<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let all = Vec::<Object<T>>::deserialize(deserializer)?;
    Ok(all.into_iter().map(|Object(it)| it).collect())
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::value::RawValue;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        a: u64,
        raw: Option<Box<RawValue>>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[serde(deserialize_with = "only")]
        one: Inner,
        #[serde(default, deserialize_with = "maybe")]
        two: Option<Inner>,
        #[serde(default, deserialize_with = "each")]
        many: Vec<Inner>,
    }

    fn read(text: &str) -> Result<Outer, String> {
        serde_json::from_str::<Object<Outer>>(text).map(|Object(it)| it).map_err(|e| e.to_string())
    }

    #[test]
    fn objects_are_read_as_ever() {
        let outer = read(r#"{"one": {"a": 1, "raw": {"x": [2]}}, "many": [{"a": 3}, {"a": 4}]}"#).unwrap();
        assert_eq!((outer.one.a, outer.many.len(), outer.two.is_none()), (1, 2, true));
        assert_eq!(outer.one.raw.unwrap().get(), r#"{"x": [2]}"#);
        assert_eq!(outer.many.iter().map(|it| it.a).sum::<u64>(), 7);
        assert!(read(r#"{"one": {"a": 1}, "two": null}"#).unwrap().two.is_none());
        assert_eq!(read(r#"{"one": {"a": 1}, "two": {"a": 2}}"#).unwrap().two.unwrap().a, 2);
    }

    #[test]
    fn arrays_in_their_place_are_refused() {
        // The derived reader takes it, which is why this is here.
        assert_eq!(serde_json::from_str::<Inner>("[1, null]").unwrap().a, 1);
        for text in [
            "[]",
            r#"[{"a": 1}]"#,
            r#"[{"a": 1}, null, []]"#,
            r#"{"one": [1, null]}"#,
            r#"{"one": {"a": 1}, "two": [2, null]}"#,
            r#"{"one": {"a": 1}, "many": [[3, null]]}"#,
            "null",
            r#""x""#,
        ] {
            let problem = read(text).unwrap_err();
            assert!(problem.contains("an object, such as `{}`"), "{text}: {problem}");
        }
        for text in [r#"{"one": {"a": 1, "b": 2}}"#, r#"{"one": {"a": 1}, "one": {"a": 2}}"#] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
