//! The JSON Schemas of the file kinds, from the declarations that decode them.

use serde_json::Value as Json;

use crate::decode::{Shape, with};
use crate::language::contracts::ContractsFile;
use crate::language::limits::LimitsFile;
use crate::language::rules::RulesFile;
use crate::language::settings::SettingsFile;
use crate::language::tests::TestsFile;
use crate::language::webhooks::WebhooksFile;

/// The schemas (JSON Schema 2020-12) by file name: `rules.schema.json` and so on. Each accepts all
/// that `check` accepts of its file kind, and refuses unknown keys and wrong types as `check` does.
#[must_use]
pub fn json_schemas() -> Vec<(&'static str, String)> {
    vec![
        ("callgate.schema.json", document("callgate.yaml", SettingsFile::schema())),
        ("contracts.schema.json", document("contracts/*.yaml", ContractsFile::schema())),
        ("limits.schema.json", document("limits/*.yaml", LimitsFile::schema())),
        ("rules.schema.json", document("rules/*.yaml", RulesFile::schema())),
        ("tests.schema.json", document("tests/*.yaml", TestsFile::schema())),
        ("webhooks.schema.json", document("the file of `callgate serve --webhooks`", WebhooksFile::schema())),
    ]
}

fn document(title: &str, schema: Json) -> String {
    let schema = with(schema, "$schema", "https://json-schema.org/draft/2020-12/schema");
    let mut schema = with(schema, "title", title);
    schema.sort_all_objects();
    format!("{schema:#}\n")
}
