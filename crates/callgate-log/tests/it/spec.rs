//! Every MUST of the normative pages names the test that holds it, and that test exists.

const PAGES: [(&str, &str); 2] = [
    ("receipt.md", include_str!("../../../../docs/spec/receipt.md")),
    ("log.md", include_str!("../../../../docs/spec/log.md")),
];

const TESTS: [&str; 11] = [
    include_str!("dsse.rs"),
    include_str!("export.rs"),
    include_str!("golden.rs"),
    include_str!("hash.rs"),
    include_str!("hostile.rs"),
    include_str!("keys.rs"),
    include_str!("merkle.rs"),
    include_str!("note.rs"),
    include_str!("proof.rs"),
    include_str!("statement.rs"),
    include_str!("verify.rs"),
];
const MORE_TESTS: [&str; 2] = [include_str!("tamper.rs"), include_str!("tile.rs")];

fn exists(name: &str) -> bool {
    let definition = format!("fn {name}(");
    TESTS.iter().chain(&MORE_TESTS).any(|source| source.contains(&definition))
}

/// The sentences of a page that demand something: paragraphs and list items with a MUST.
fn demands(page: &str) -> impl Iterator<Item = String> {
    let mut blocks: Vec<String> = vec![String::new()];
    for line in page.lines() {
        if line.trim().is_empty() || line.starts_with("- ") || line.starts_with(|c: char| c.is_ascii_digit())
        {
            blocks.push(String::new());
        }
        if let Some(block) = blocks.last_mut() {
            *block += line;
            block.push(' ');
        }
    }
    blocks.into_iter().filter(|block| block.contains("MUST") && !block.contains("RFC 2119"))
}

#[test]
fn every_must_names_its_test() {
    for (page, text) in PAGES {
        let mut found = 0;
        for demand in demands(text) {
            let names: Vec<&str> =
                demand.split("[test: ").skip(1).filter_map(|rest| rest.split(']').next()).collect();
            assert!(!names.is_empty(), "{page}: no test is named in: {demand}");
            for name in names.iter().flat_map(|names| names.split(", ")) {
                assert!(exists(name), "{page}: there is no test `{name}`");
                found += 1;
            }
        }
        assert!(found > 10, "{page}: only {found} tests are named; is the page read at all?");
    }
}
