//! `limits/*.yaml`.

use super::constraints::ConstraintsText;
use super::measures::{
    AmountText, DenialWord, Dimensions, Exceeding, Formula, LevelsText, Nearing, OverText, RateText,
    Settling, UnitText,
};
use super::rules::{ApprovalShape, MatchText, ScopeText};
use crate::decode::{
    Choice, Condition, Duration, List, Meant, ModeWord, NameText, OneOrList, Percent, Prose, Version, Whole,
};

record! {
    /// A file of limits.
    struct LimitsFile {
        /// The version of the language: `v1`.
        required version: Version,
        /// Bounds on sums.
        optional budgets: List<Meant<BudgetText>>,
        /// Bounds on rates.
        optional throttles: List<Meant<ThrottleText>>,
        /// What stops everything when something happens too often.
        optional breakers: List<Meant<BreakerText>>,
    }
}

record! {
    /// A bound on a sum over some time.
    struct BudgetText {
        /// Unique in the bundle; the name in receipts.
        required id: NameText,
        /// For the people who maintain it.
        optional description: Prose,
        /// Whose actions count.
        optional scope: ScopeText,
        /// Which actions count.
        optional r#match: MatchText,
        /// A condition in CEL that must also hold.
        optional when: Condition,
        /// What is summed, such as `usd`, `tokens` or `rows`; `calls` counts the actions.
        required unit: UnitText,
        /// The most, a decimal in a string.
        optional limit: AmountText,
        /// Whom it counts by, each combination for itself; `[]` counts everybody together.
        optional per: Dimensions,
        /// Instead of `limit` and `per`: a budget for each of these, all of which must hold.
        optional levels: LevelsText,
        /// Over which time: `hour`, `day` or `month` of UTC, `execution` for the life of a session, or a duration for a rolling window.
        required over: OverText,
        /// What one action takes, in CEL; at least `estimate`, and what the request and the catalogue say.
        optional amount: Formula,
        /// What an action takes that says nothing, or less.
        optional estimate: AmountText,
        /// What happens to an action that does not fit: `deny` unless written, or `require_approval`.
        optional exceed: Choice<Exceeding>,
        /// Who must agree, for `exceed: require_approval`.
        optional approval: ApprovalShape,
        /// What happens from a share of the limit on.
        optional near: NearText,
        /// What outcomes do: with `reported`, the usual, what they report takes the place of what was reserved; with `upward` it can only raise it.
        optional settle: Choice<Settling>,
        /// After how long a reservation whose outcome never came is given back, at most a day; left out, it counts as spent.
        optional release: Duration,
        /// Whether it is enforced; with `monitor` it is only counted and told.
        optional mode: ModeWord,
        /// Why, in a sentence that the agent and its people see.
        optional reason: Prose,
    }
}

record! {
    /// What happens near a limit.
    struct NearText {
        /// From this share of the limit on.
        required at: Percent,
        /// `warn` unless written, or `require_approval`.
        optional then: Choice<Nearing>,
        /// What must be enforced from there on.
        optional constraints: ConstraintsText,
        /// Who must agree, for `then: require_approval`.
        optional approval: ApprovalShape,
    }
}

record! {
    /// A bound on how often something runs.
    struct ThrottleText {
        /// Unique in the bundle; the name in receipts.
        required id: NameText,
        /// For the people who maintain it.
        optional description: Prose,
        /// Whose actions count.
        optional scope: ScopeText,
        /// Which actions count.
        optional r#match: MatchText,
        /// A condition in CEL that must also hold.
        optional when: Condition,
        /// How many come back in which time, such as `10/1m`: a token bucket.
        optional rate: RateText,
        /// How many may run at once; as many as come back unless written.
        optional burst: Whole<1, 1_000_000>,
        /// Instead of `rate`: at most so many in any time of that length.
        optional at_most: Whole<1, 1_000_000_000>,
        /// The time for `at_most`.
        optional within: Duration,
        /// Whom it counts by, each combination for itself; `[]` counts everybody together.
        required per: Dimensions,
        /// Whether it is enforced; with `monitor` it is only counted and told.
        optional mode: ModeWord,
        /// Why, in a sentence that the agent and its people see.
        optional reason: Prose,
    }
}

record! {
    /// What stops everything of those it counts by when something happens too often, until a person resets it.
    struct BreakerText {
        /// Unique in the bundle; the name in receipts.
        required id: NameText,
        /// For the people who maintain it.
        optional description: Prose,
        /// Whose actions count.
        optional scope: ScopeText,
        /// Which actions count.
        optional r#match: MatchText,
        /// A condition in CEL that must also hold.
        optional when: Condition,
        /// Whom it counts and stops, each combination for itself; `[]` stops everybody.
        optional per: Dimensions,
        /// When it opens.
        required trip: TripText,
        /// How it may close without a person; left out, only a person resets it.
        optional half_open: HalfOpenText,
        /// Whether it is enforced; with `monitor` it is only counted and told.
        optional mode: ModeWord,
        /// Why, in a sentence that the agent and its people see.
        optional reason: Prose,
    }
}

record! {
    /// When a breaker opens: one of `denials`, `allowed`, `sum`, `burn`, `distinct` and `failures`.
    struct TripText {
        /// So many denials.
        optional denials: Whole<1, 1_000_000>,
        /// Only denials with one of these codes.
        optional codes: OneOrList<DenialWord>,
        /// So many actions that ran.
        optional allowed: Whole<1, 1_000_000>,
        /// So much in sum over the actions that ran, a decimal in a string.
        optional sum: AmountText,
        /// What is summed.
        optional unit: UnitText,
        /// What one action takes, in CEL.
        optional amount: Formula,
        /// What an action takes that says nothing, or less.
        optional estimate: AmountText,
        /// This share of the limit of a budget.
        optional burn: Percent,
        /// For `burn`, the id of the budget; for `distinct`, in CEL, what must be different.
        optional of: Formula,
        /// So many different values.
        optional distinct: Whole<1, 10_000>,
        /// This share of the actions that ran failed.
        optional failures: Percent,
        /// From so many outcomes on.
        optional at_least: Whole<1, 1_000_000>,
        /// In any time of that length.
        required within: Duration,
    }
}

record! {
    /// How a breaker may close without a person.
    struct HalfOpenText {
        /// After how long one action is tried.
        required after: Duration,
        /// How many must succeed, one after the other; 1 unless written.
        optional probes: Whole<1, 100>,
    }
}
