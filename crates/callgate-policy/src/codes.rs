//! The codes of all diagnostics, in one table.
//!
//! A code is never given a second meaning. Each has a page in `docs/errors/` and a bundle that
//! shows it under `tests/fixtures/errors/`; a test holds the three together.

use serde::Serialize;

/// Whether a problem stops a bundle from being loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The bundle is refused.
    Error,
    /// The bundle loads, but it may not say what was meant.
    Warning,
}

impl Severity {
    /// `error` or `warning`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

macro_rules! codes {
    ($($name:ident $code:literal $severity:ident $title:literal;)*) => {
        /// What is wrong, as a stable code.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = concat!("`", $code, "`: ", $title, ".")] $name,)*
        }

        impl Code {
            /// All codes, in order.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The code, such as `CG0101`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code),* }
            }

            /// Whether it stops the bundle.
            #[must_use]
            pub const fn severity(self) -> Severity {
                match self { $(Self::$name => Severity::$severity),* }
            }

            /// The meaning in one line: the title of its page.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title),* }
            }
        }
    };
}

codes! {
    TooLarge "CG0101" Error "a file or the bundle is too large";
    Syntax "CG0102" Error "the text is not YAML or JSON";
    YamlFeature "CG0103" Error "anchors, aliases, tags and several documents are not used in bundles";
    RepeatedKey "CG0104" Error "a key stands twice in one mapping";
    TooDeep "CG0105" Error "a file nests too deep or has too many values";
    Empty "CG0106" Error "a file or list says nothing";
    Unsupported "CG0107" Error "a kind of file that this version cannot enforce";
    Misplaced "CG0108" Error "a file that its folder does not take";
    UnknownKey "CG0201" Error "a key that is not known here";
    WrongType "CG0202" Error "a value of the wrong type";
    MissingKey "CG0203" Error "a required key is missing";
    BadName "CG0204" Error "a text that cannot be a name";
    BadPattern "CG0205" Error "a text that cannot be a pattern";
    BadDuration "CG0206" Error "a text that cannot be a duration";
    BadConstraint "CG0207" Error "a constraint that is not known or has a wrong value";
    UnknownWord "CG0208" Error "a word that is not one of the choices";
    OutOfRange "CG0209" Error "a number outside its range";
    Version "CG0210" Error "a language version that is not supported";
    BadShare "CG0211" Error "a text that cannot be a share";
    BadAmount "CG0212" Error "a text that cannot be an amount";
    RepeatedId "CG0301" Error "an id stands twice in the bundle";
    BadCondition "CG0302" Error "a condition that does not compile";
    NeverTrue "CG0303" Error "a condition that is never true";
    NeverMatches "CG0304" Error "a rule that can never match";
    KeyAgainstDecision "CG0305" Error "a key that does not go with the decision";
    SilentAllowAll "CG0306" Error "a rule that would silently allow everything";
    UnknownTool "CG0307" Error "a tool that its server does not have";
    NeverDecides "CG0308" Error "a rule that can never decide";
    RestrictsAll "CG0309" Warning "a rule that restricts everything";
    JudgePermits "CG0310" Error "a judge that could make a decision more permissive";
    KeyBesideJudge "CG0311" Error "a key that says nothing beside a judge";
    BadSight "CG0312" Error "a path that shows the judge nothing";
    NoJudge "CG0313" Error "a rule asks a judge, and the bundle names no model";
    BadStages "CG0314" Error "stages of an approval that cannot be followed";
    MonitorPermits "CG0315" Warning "a rule that would permit, and only monitors";
    ClosedTier "CG0316" Error "a tier that always fails closed";
    BadSteps "CG0401" Error "a step order that cannot be read";
    EnvVariable "CG0402" Error "an environment variable that is not set or cannot be read";
    BadActions "CG0403" Error "an action map that cannot be read";
    UnknownStep "CG0404" Error "a step or action type that the contract does not have";
    AmbiguousContracts "CG0405" Error "two contracts that could claim one request";
    ImpassableStep "CG0406" Warning "a step that permits no action type";
    RepeatedTool "CG0501" Error "a tool stands twice in the catalogue";
    BadSchema "CG0502" Error "a tool that cannot be read";
    DecidesNothing "CG0601" Error "a bundle that decides nothing";
    CedarSyntax "CG0701" Error "a Cedar policy that cannot be read";
    CedarTemplate "CG0702" Error "a Cedar template";
    CedarInvalid "CG0703" Error "a Cedar policy that does not fit the tools";
    CedarDoubtful "CG0704" Warning "a Cedar policy that may not say what was meant";
    CedarAnnotation "CG0705" Error "an annotation that cannot be read";
    CedarTooMuch "CG0706" Error "a Cedar policy that is too large or too deep";
    CedarGroup "CG0707" Error "a tool whose name is that of a group of actions";
    BadRego "CG0801" Error "Rego that cannot be read";
    RegoBuiltin "CG0802" Error "a Rego function that a decision may not use";
    RegoHeader "CG0803" Error "a routing header that is not where it is read";
    RegoSilent "CG0804" Error "a Rego package that decides nothing";
    RegoRecursion "CG0805" Error "Rego rules that build on themselves";
    RegoWrittenOut "CG0806" Error "an argument that a Rego policy must write out";
    RegoForm "CG0807" Error "a form of Rego that is not taken";
    DogwoodSyntax "CG0901" Error "a Dogwood policy that cannot be read";
    DogwoodInvalid "CG0902" Error "a Dogwood policy that does not fit the tools";
    DogwoodRefused "CG0903" Error "a condition about the past that cannot be answered at a fixed cost";
    DogwoodTooMuch "CG0904" Error "a Dogwood policy that is too large or too deep";
    DogwoodOutside "CG0905" Error "a part of Dogwood that bundles do not have";
    DogwoodOptional "CG0906" Warning "an argument that ties to the past and may be left out";
    BadMoment "CG1001" Error "a text that cannot be a moment in time";
    BadRequest "CG1002" Error "a test whose request is none";
    BadTest "CG1003" Error "a test that cannot be played";
    UnknownRule "CG1004" Error "a test names a rule that the bundle does not have";
    BadPer "CG1101" Error "a list of whom a limit counts by that cannot be followed";
    NoEstimate "CG1102" Error "a budget that could count nothing";
    BadRate "CG1103" Error "a rate that cannot be held";
    BadTrip "CG1104" Error "a breaker that does not say when it opens";
    UnknownBudget "CG1105" Error "a breaker over a budget that the bundle does not have";
    KeyBesideLimit "CG1106" Error "a key that says nothing in this limit";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_in_order() {
        let words: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert!(words.is_sorted_by(|a, b| a < b));
    }
}
