//! The index finds what a scan over all rules finds.

use callgate_core::facts::{Credential, Facts};
use callgate_core::json::Limits;
use callgate_core::module::{Evaluation, Module as _};
use callgate_core::request::Request;
use proptest::prelude::*;

use crate::bundle::Bundle;
use crate::engine::{Engine as _, Policies};
use crate::lower::rules_of;

#[path = "../../tests/bundle/generate.rs"]
mod generate;

fn facts() -> Facts {
    Facts::new(Credential::Local, 1_700_000_000_000)
}

proptest! {
    #[test]
    fn the_index_is_a_linear_scan(lines in generate::lines(), asked in generate::asked()) {
        // Rules that `check` would refuse as dead are indexed like others.
        let Some((rules, catalogue)) = rules_of(&Bundle::new(lines.files(), Default::default())) else {
            return Ok(());
        };
        let mut request = Request::parse(asked.text().as_bytes(), &Limits::REQUEST).unwrap();
        catalogue.tag(&mut request);
        let (mut indexed, mut linear) = (Evaluation::default(), Evaluation::default());
        let all: Vec<u32> = (0u32..).zip(rules.filings()).map(|(number, _)| number).collect();
        rules.evaluate(&all, &request, &facts(), &mut linear);
        Policies::new(vec![Box::new(rules)]).evaluate(&request, &facts(), &mut indexed);
        prop_assert_eq!(indexed.verdicts, linear.verdicts);
    }
}
