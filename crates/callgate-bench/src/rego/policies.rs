//! The rules of the bench, as packages and as one module.

use std::fmt::Write as _;

use crate::cedar::{Dice, ENVIRONMENTS, TAGS, TEAMS};

/// How many rules a package has, and the one about every request.
const RULES: usize = 10;
const EVERYWHERE: usize = 20;

/// One rule: a tool (or all of them), a team, an environment, a tag, and an amount.
pub(super) struct Model {
    pub(super) deny: bool,
    tool: Option<usize>,
    team: Option<&'static str>,
    environment: Option<&'static str>,
    tag: Option<&'static str>,
    amount: usize,
}

impl Model {
    pub(super) fn is_of(&self, tool: usize) -> bool {
        self.tool.is_none_or(|own| own == tool)
    }

    pub(super) fn fits(
        &self,
        tool: usize,
        team: &str,
        environment: &str,
        tags: &[&str],
        amount: usize,
    ) -> bool {
        self.is_of(tool)
            && self.team.is_none_or(|own| own == team)
            && self.environment.is_none_or(|own| own == environment)
            && self.tag.is_none_or(|own| tags.contains(&own))
            && amount > self.amount
    }

    fn body(&self, with_tool: bool) -> String {
        let mut conditions = Vec::new();
        let tool = self.tool.filter(|_| with_tool);
        conditions.extend(tool.map(|tool| format!("input.tool.identity == \"s.t{tool}\"")));
        conditions.extend(self.team.map(|team| format!("input.agent.team == \"{team}\"")));
        conditions.extend(self.environment.map(|it| format!("input.environment == \"{it}\"")));
        conditions.extend(self.tag.map(|tag| format!("\"{tag}\" in input.risk_tags")));
        conditions.push(format!("input.args.amount > {}", self.amount));
        conditions.join("; ")
    }
}

/// Ten rules for each tool, and twenty denials about every request.
pub(super) fn models(packages: usize) -> Vec<Model> {
    let mut dice = Dice(7);
    let model = |number: usize| {
        let everywhere = number < EVERYWHERE;
        Model {
            deny: everywhere || dice.roll(10) == 0,
            tool: (!everywhere).then(|| (number - EVERYWHERE) / RULES),
            team: if everywhere { Some(TEAMS[dice.roll(4)]) } else { dice.pick(&TEAMS, 2) },
            environment: if everywhere {
                Some(ENVIRONMENTS[dice.roll(2)])
            } else {
                dice.pick(&ENVIRONMENTS, 2)
            },
            tag: if everywhere { Some(TAGS[dice.roll(4)]) } else { dice.pick(&TAGS, 3) },
            amount: 10 * dice.roll(100),
        }
    };
    (0..EVERYWHERE + packages * RULES).map(model).collect()
}

/// A module that says `deny`, `allow` or `none`.
pub(super) fn module<'m>(models: impl Iterator<Item = &'m Model>, with_tool: bool) -> String {
    let mut text = String::from("package bench\n\nimport rego.v1\n\n");
    text.push_str("decision := \"deny\" if denied else := \"allow\" if allowed else := \"none\"\n");
    text.push_str("default denied := false\ndefault allowed := false\n");
    rules(&mut text, models, with_tool);
    text
}

fn rules<'m>(text: &mut String, models: impl Iterator<Item = &'m Model>, with_tool: bool) {
    for model in models {
        let name = if model.deny { "denied" } else { "allowed" };
        let _ = writeln!(text, "{name} if {{ {} }}", model.body(with_tool));
    }
}

/// The package of one tool.
pub(super) fn routed(tool: usize, models: &[Model]) -> String {
    let first = EVERYWHERE + tool * RULES;
    let mut text = format!(
        "# METADATA\n# custom:\n#   callgate:\n#     tools: [s.t{tool}]\npackage t{tool}\n\n\
         decision := \"deny\" if denied else := \"allow\" if allowed else := null\n\
         default denied := false\ndefault allowed := false\n"
    );
    rules(&mut text, models.iter().skip(first).take(RULES), false);
    text
}

/// The package about every request.
pub(super) fn everywhere(models: &[Model]) -> String {
    let mut text = String::from("package everywhere\n\n");
    for model in models.iter().take(EVERYWHERE) {
        let _ = writeln!(text, "deny contains \"not here\" if {{ {} }}", model.body(false));
    }
    text
}
