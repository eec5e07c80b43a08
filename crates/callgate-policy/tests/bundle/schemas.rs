//! The JSON Schemas under `docs/schema/` are those the declarations give.
//!
//! `CALLGATE_WRITE_SCHEMAS=1` writes them anew.

use callgate_policy::json_schemas;

use crate::support::{read, root};

#[test]
#[expect(clippy::disallowed_methods, reason = "the switch of this test, and the files it writes")]
fn the_committed_schemas_are_the_generated_ones() {
    let folder = root().join("docs/schema");
    for (name, text) in json_schemas() {
        let path = folder.join(name);
        if std::env::var("CALLGATE_WRITE_SCHEMAS").is_ok() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        assert_eq!(read(&path), text, "run the test with CALLGATE_WRITE_SCHEMAS=1 and review {name}");
    }
}

#[test]
fn every_key_is_described() {
    for (name, text) in json_schemas() {
        let schema: serde_json::Value = serde_json::from_str(&text).unwrap();
        described(&schema, name);
    }
}

fn described(schema: &serde_json::Value, path: &str) {
    let open = schema.get("additionalProperties") != Some(&serde_json::Value::Bool(false));
    for (key, below) in schema.get("properties").and_then(|it| it.as_object()).into_iter().flatten() {
        // Constraints are described as a whole.
        let described_above = path.ends_with("constraints");
        assert!(open || described_above || below.get("description").is_some(), "{path}.{key}");
        described(below, &format!("{path}.{key}"));
    }
    if let Some(items) = schema.get("items") {
        described(items, path);
    }
}
