//! The explanation for people: aligned lines without colours.

use std::fmt;

use callgate_core::decision::Mode;

use super::{Considered, Contribution, Explanation, Reached};
use crate::render::shown;

impl Reached {
    /// The word in the first column.
    const fn word(self) -> &'static str {
        match self {
            Self::Decided => "decided",
            Self::Denied => "denied",
            Self::Outranked => "outranked",
            Self::Overruled => "overruled",
            Self::FieldDiffers => "no match",
            Self::ConditionFalse => "false",
            Self::Judged => "judged",
            Self::Monitored => "monitored",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for Explanation {
    /// Several lines, each ended; the decision itself is on the first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.decision)?;
        if let Some(code) = self.code {
            write!(f, "  {code}")?;
        }
        if let Some(rule) = &self.rule {
            write!(f, "  by `{}`", shown(rule))?;
        }
        writeln!(f)?;
        writeln!(f, "  why          {}", shown(&self.why))?;
        if let Some(would) = &self.would {
            let code = would.code.map(|code| format!("  {code}")).unwrap_or_default();
            let rule = would.rule.as_ref().map(|rule| format!("  by `{}`", shown(rule))).unwrap_or_default();
            writeln!(f, "  enforced     it would be {}{code}{rule}", would.decision)?;
        }
        for reason in &self.reasons {
            reason.write(self, f)?;
        }
        for origin in &self.constraints {
            let from: Vec<String> = origin.from.iter().map(|from| format!("`{}`", shown(from))).collect();
            let value = shown(&origin.value.to_string());
            writeln!(f, "  constraint   {} {value}, from {}", origin.constraint, from.join(", "))?;
        }
        self.table(f)
    }
}

impl Contribution {
    /// What the table does not show: guards, contracts that deny, and what a rule says for itself.
    fn write(&self, explanation: &Explanation, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = shown(&self.message);
        let Some(rule) = &self.rule else {
            let code = self.code.map(|code| format!("{code}: ")).unwrap_or_default();
            return writeln!(f, "  because      {code}{message}");
        };
        if !explanation.rules.iter().any(|line| line.rule == *rule) {
            let place = shown(self.source.as_deref().unwrap_or_default());
            return writeln!(f, "  contract     {message} (`{}` at {place})", shown(rule));
        }
        if self.message.contains(&format!("`{rule}`")) {
            return Ok(());
        }
        writeln!(f, "  reason       {message} (`{}`)", shown(rule))
    }
}

impl Explanation {
    fn table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column: fn(&Considered) -> usize| self.rules.iter().map(column).max().unwrap_or(0);
        let rule = width(|line| shown(&line.rule).chars().count());
        let engine = width(|line| line.engine.len());
        let effect = width(|line| line.effect.as_str().len());
        let source = width(|line| shown(&line.source).chars().count());
        for line in &self.rules {
            let row = format!(
                "  {:<11}  {:<rule$}  {:<engine$}  {:<effect$}  {:<source$}  {}",
                line.outcome.word(),
                shown(&line.rule),
                line.engine,
                line.effect.as_str(),
                shown(&line.source),
                line.remark(),
            );
            writeln!(f, "{}", row.trim_end())?;
        }
        match self.ruled_out {
            0 => Ok(()),
            1 => writeln!(f, "  1 other rule names nothing that the request has"),
            count => writeln!(f, "  {count} other rules name nothing that the request has"),
        }
    }
}

impl Considered {
    /// The last column: how it ranks, then the note.
    fn remark(&self) -> String {
        let mut parts = Vec::new();
        if let Some(matched) = self.specificity {
            parts.push(format!("priority {}", self.priority));
            parts.push(format!("{} exact, {} pattern", matched.exact, matched.pattern));
        }
        if self.invariant {
            parts.push("invariant".to_owned());
        }
        if self.mode == Mode::Monitor {
            parts.push("only monitors".to_owned());
        }
        let rank = parts.join(", ");
        let note = shown(&self.note);
        match (rank.is_empty(), note.is_empty()) {
            (true, _) => note,
            (false, true) => rank,
            (false, false) => format!("{rank}: {note}"),
        }
    }
}
