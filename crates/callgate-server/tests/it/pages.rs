//! The bodies that the pages show are what the gate reads and answers.

use std::path::Path;

use serde_json::Value;

use crate::schema::Schemas;

/// A body on a page: the route, whether it is sent, and its text.
#[derive(Debug)]
struct Shown {
    path: String,
    sent: bool,
    text: String,
}

/// The path that a text begins with.
fn path(text: &str) -> &str {
    let end = text.find(|c: char| c.is_whitespace() || "`\"'?".contains(c)).unwrap_or(text.len());
    text.get(..end).unwrap_or_default()
}

/// `POST PATH` with `{…}` in a sentence, `curl … PATH -d '{…}'` in a block, and the answers below it.
fn bodies(page: &str) -> Vec<Shown> {
    let mut all = Vec::new();
    let mut add = |path: &str, sent: bool, text: &str| {
        all.push(Shown { path: path.to_owned(), sent, text: text.to_owned() });
    };
    let flat = page.split_whitespace().collect::<Vec<_>>().join(" ");
    for rest in flat.split("`POST ").skip(1) {
        let path = path(rest);
        let behind = rest.get(path.len()..).unwrap_or_default();
        let text = behind.strip_prefix("` with `").and_then(|text| text.split('`').next());
        if let Some(text) = text.filter(|text| text.starts_with('{')) {
            add(path, true, text);
        }
    }
    let mut asked = None;
    for line in page.lines() {
        if let Some(at) = line.find("/api/v1/").filter(|_| line.starts_with("curl ")) {
            let here = path(line.get(at..).unwrap_or_default()).to_owned();
            if let Some(text) = line.split(" -d '").nth(1).and_then(|text| text.split('\'').next()) {
                add(&here, true, text);
            }
            asked = Some(here);
        } else if let Some(path) = asked.as_deref().filter(|_| line.starts_with('{')) {
            add(path, false, line);
        } else {
            asked = None;
        }
    }
    all
}

/// The route of the document that a path is on.
fn route<'a>(document: &'a Value, path: &str) -> Option<&'a Value> {
    let fits = |template: &str| {
        let (template, path): (Vec<&str>, Vec<&str>) =
            (template.split('/').collect(), path.split('/').collect());
        let same = |(known, part): (&&str, &&str)| known == part || known.starts_with('{');
        template.len() == path.len() && template.iter().zip(&path).all(same)
    };
    let paths = document["paths"].as_object()?;
    paths.iter().find(|(template, _)| fits(template)).map(|(_, route)| &route["post"])
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test reads the pages")]
fn every_body_that_the_pages_show_is_one() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let document: Value = serde_json::from_str(callgate_server::openapi_json()).expect("JSON");
    let schemas = Schemas::load();
    let mut shown = 0;
    for page in std::fs::read_dir(docs).expect("pages").map(|entry| entry.expect("a page").path()) {
        if page.extension().is_none_or(|it| it != "md") {
            continue;
        }
        for body in bodies(&std::fs::read_to_string(&page).expect("a page")) {
            let place = format!("{}: {body:?}", page.display());
            let route = route(&document, &body.path).unwrap_or_else(|| panic!("no such route, {place}"));
            let content = if body.sent {
                &route["requestBody"]["content"]
            } else {
                &route["responses"]["200"]["content"]
            };
            let name = content["application/json"]["schema"]["$ref"].as_str().expect(&place);
            let value: Value = serde_json::from_str(&body.text).unwrap_or_else(|e| panic!("{e}, {place}"));
            schemas.check(name.rsplit('/').next().expect("a name"), &value);
            shown += 1;
        }
    }
    assert!(shown >= 5, "{shown}");
}
