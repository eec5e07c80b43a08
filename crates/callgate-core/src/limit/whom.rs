//! Whom people ask about: what they name of those that limits count by.
//!
//! What is left out is not known here, and so is every value; in a request it would be one value of its own.

use std::collections::BTreeMap;

use super::Dimension;
use super::meter::named;
use crate::name::fold;

/// What is known of whom limits count by. An empty name is known to be none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Whom {
    /// Folded, and as they stand in the names of meters.
    names: BTreeMap<Dimension, String>,
}

impl Whom {
    /// Names one of them, as requests do. A chain is that of the agent.
    #[must_use]
    pub fn named(mut self, dimension: Dimension, name: &str) -> Self {
        self.names.insert(dimension, named(&fold(name)));
        self
    }

    /// Whether it is named.
    #[must_use]
    pub fn knows(&self, dimension: Dimension) -> bool {
        self.value(dimension).is_some()
    }

    fn value(&self, dimension: Dimension) -> Option<String> {
        let name = |dimension| self.names.get(&dimension).cloned();
        match dimension {
            Dimension::Chain => name(Dimension::Agent),
            Dimension::Session => {
                let (tenant, agent) = (name(Dimension::Tenant)?, name(Dimension::Agent)?);
                Some(format!("{tenant}/{agent}/{}", name(Dimension::Session)?))
            }
            other => name(other),
        }
    }

    /// What the key of a meter begins with that counts by `per`; the whole of it where all of `per` is named.
    #[must_use]
    pub fn prefix(&self, per: &[Dimension]) -> String {
        let mut out = String::new();
        for dimension in per {
            let comma = if out.is_empty() { "" } else { "," };
            let Some(value) = self.value(*dimension) else {
                return format!("{out}{comma}{dimension}={}", self.whose(*dimension));
            };
            out = format!("{out}{comma}{dimension}={value}");
        }
        out
    }

    /// Of sessions that are not named, whose they are, as far as that is known.
    fn whose(&self, dimension: Dimension) -> String {
        let known = [Dimension::Tenant, Dimension::Agent].iter().map_while(|it| self.names.get(it));
        if dimension == Dimension::Session {
            known.map(|name| format!("{name}/")).collect()
        } else {
            String::new()
        }
    }

    /// Whether a meter with that key may count them.
    #[must_use]
    pub fn fits(&self, key: &str) -> bool {
        key.is_empty() || key.split(',').all(|part| self.fits_part(part))
    }

    fn fits_part(&self, part: &str) -> bool {
        let Some((word, value)) = part.split_once('=') else { return false };
        let Some(dimension) = Dimension::from_word(word) else { return false };
        if dimension != Dimension::Session {
            return self.value(dimension).is_none_or(|it| it == value);
        }
        let whose = [Dimension::Tenant, Dimension::Agent, Dimension::Session];
        let mut parts = whose.iter().zip(value.split('/'));
        parts.all(|(dimension, part)| self.names.get(dimension).is_none_or(|it| it == part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Limits;
    use crate::limit::keys;
    use crate::request::Request;

    fn whom() -> Whom {
        Whom::default().named(Dimension::Agent, "B\u{43e}T-1").named(Dimension::Tenant, "a,c/m=e")
    }

    /// What people name leads to the very meters that requests count on.
    #[test]
    fn names_lead_to_the_meters_that_requests_count_on() {
        let text = r#"{"tenant": "a,c/m=e", "agent": {"id": "bot-1", "team": "t", "on_behalf_of": "u"},
            "session": {"id": "s/1"}, "tool": {"server": "s", "name": "Read"}}"#;
        let request = Request::parse(text.as_bytes(), &Limits::REQUEST).unwrap();
        let whole = whom()
            .named(Dimension::Team, "T")
            .named(Dimension::User, "u")
            .named(Dimension::Session, "S/1")
            .named(Dimension::Tool, "s.read");
        for per in [&Dimension::ALL[..], &[], &[Dimension::Session], &[Dimension::Chain, Dimension::Tool]] {
            let key = keys(&request, per).remove(0);
            assert_eq!(whole.prefix(per), key);
            assert!(per.iter().all(|dimension| whole.knows(*dimension)));
            assert!(whole.fits(&key) && whom().fits(&key) && Whom::default().fits(&key), "{key}");
            assert!(key.starts_with(&whom().prefix(per)), "{key}");
        }
    }

    /// A name so long that a meter's name has only its beginning and a digest.
    #[test]
    fn long_names_lead_there_too() {
        let long = "\u{fdfa}".repeat(80);
        let text = format!(r#"{{"agent": {{"id": "{long}"}}, "session": {{"id": "s"}}, "topic": "t"}}"#);
        let request = Request::parse(text.as_bytes(), &Limits::REQUEST).unwrap();
        let whom = Whom::default().named(Dimension::Agent, &long).named(Dimension::Tenant, "Default");
        for per in [&[Dimension::Agent][..], &[Dimension::Session]] {
            let key = keys(&request, per).remove(0);
            assert!(key.starts_with(&whom.prefix(per)) && whom.fits(&key), "{key}");
        }
    }

    #[test]
    fn others_do_not_fit() {
        for key in [
            "agent=other",
            "chain=other",
            "session=a%2cc%2frn%3de/other/s",
            "session=acme/bot-l/s",
            "x",
            "y=z",
        ] {
            assert!(!whom().fits(key), "{key}");
        }
        for key in ["", "team=any", "agent=bot-l", "chain=bot-l,user=any", "session=a%2cc%2frn%3de/bot-l/s"] {
            assert!(whom().fits(key), "{key}");
        }
        let absent = Whom::default().named(Dimension::Team, "");
        assert!(absent.fits("team=") && !absent.fits("team=t"));
        assert_eq!(absent.prefix(&[Dimension::Team, Dimension::Tool]), "team=,tool=");
        assert_eq!(whom().prefix(&[Dimension::Session]), "session=a%2cc%2frn%3de/bot-l/");
    }
}
