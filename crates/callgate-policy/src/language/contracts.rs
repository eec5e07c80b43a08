//! `contracts/*.yaml`.

use super::actions::ActionsText;
use super::steps::StepsText;
use crate::decode::{List, Meant, NameText, OneOrList, Patterns, Prose, Version};

record! {
    /// A file of contracts.
    struct ContractsFile {
        /// The version of the language: `v1`.
        required version: Version,
        /// The contracts; their order says nothing.
        required contracts: List<Meant<ContractText>>,
    }
}

record! {
    /// The order of a session's steps, and what each function may do.
    struct ContractText {
        /// Unique in the bundle; the name in receipts.
        required id: NameText,
        /// For the people who maintain it.
        optional description: Prose,
        /// The steps in order: a list, a comma-separated text, or the variable that holds one.
        required steps: StepsText,
        /// The action types each function permits; left out, only the order is enforced.
        optional actions: ActionsText,
        /// The step that ends the session; the last one unless written.
        optional seal_at: NameText,
        /// The action types that end it there; left out, any.
        optional seal_on: OneOrList<NameText>,
        /// Agents that must follow this contract even where they name no step.
        optional agents: Patterns,
    }
}
