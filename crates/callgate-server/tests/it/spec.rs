//! Every MUST of the normative page names the test that holds it.

#[test]
fn every_must_of_the_wire_names_its_test() {
    let page = include_str!("../../../../docs/spec/wire.md");
    let starts_item =
        |line: &str| line.is_empty() || line.starts_with(|c: char| c.is_ascii_digit() || c == '|');
    let mut demands = vec![String::new()];
    for line in page.lines() {
        if starts_item(line) {
            demands.push(String::new());
        }
        if let Some(demand) = demands.last_mut() {
            demand.push_str(line);
        }
    }
    demands.retain(|demand| demand.contains("MUST") && !demand.contains("RFC 2119"));
    assert!(demands.len() > 30, "only {} demands; is the page read at all?", demands.len());
    for demand in demands {
        // The table of limits names a test in each row.
        assert!(demand.contains("[test: ") || demand.contains("as said"), "no test is named in: {demand}");
    }
}
