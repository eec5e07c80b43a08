//! Who may do what to the gate, by the policy that holds unless the operator gives another.

use callgate_core::facts::Facts;
use callgate_core::value::Value;

use super::*;

fn decision(who: &Credential, action: &str, args: Map) -> Decision {
    let snapshot = callgate_policy::compile(&default_bundle()).unwrap();
    let ask = Ask::Request(Box::new(request(who, person(who).unwrap(), action, args).unwrap()));
    callgate_core::decide::decide(&snapshot, ask, &Facts::new(who.clone(), 0)).settled.decision
}

fn with(roles: &[&str]) -> Credential {
    let roles = roles.iter().map(|role| (*role).to_owned()).collect();
    Credential::Person { id: "ana".to_owned(), roles, tenant: None }
}

#[test]
fn each_role_may_do_its_part_and_no_more() {
    let actions =
        ["stage", "publish", "rollback", "rollout", "mode", "key", "erase", "control", "acknowledge"];
    for (role, may) in [
        ("operator", &actions[..]),
        ("publisher", &["stage", "publish", "rollback", "rollout"]),
        ("reviewer", &[]),
        ("auditor", &[]),
        ("point", &["acknowledge"]),
        ("finance", &[]),
    ] {
        for action in actions {
            let expected = if may.contains(&action) { Decision::Allow } else { Decision::Deny };
            assert_eq!(decision(&with(&[role]), action, Map::default()), expected, "{role}: {action}");
        }
    }
    assert_eq!(decision(&Credential::Local, "mode", Map::default()), Decision::Allow);
}

#[test]
fn an_override_needs_a_second_person_where_the_policy_in_force_says_so() {
    for (second, expected) in [(true, Decision::RequireApproval), (false, Decision::Allow)] {
        let mut args = Map::default();
        args.insert("override".to_owned(), Value::Str("incident 7".to_owned()));
        args.insert("second_person".to_owned(), Value::Bool(second));
        for role in ["publisher", "operator"] {
            assert_eq!(decision(&with(&[role]), "publish", args.clone()), expected, "{role}");
        }
        assert_eq!(decision(&with(&["auditor"]), "stage", args), Decision::Deny);
    }
}

#[test]
fn a_role_in_other_letters_is_another_role() {
    for role in ["Operator", "operat0r", "ｏｐｅｒａｔｏｒ"] {
        assert_eq!(decision(&with(&[role]), "mode", Map::default()), Decision::Deny, "{role}");
    }
}

#[test]
fn nobody_acts_as_another_person() {
    let snapshot = callgate_policy::compile(&default_bundle()).unwrap();
    let (ana, mallory) = (with(&["operator"]), with(&[]));
    let Credential::Person { .. } = mallory else { unreachable!() };
    let mut forged = request(&ana, "bob", "mode", Map::default()).unwrap();
    forged.agent.id = Name::new("person:bob").unwrap();
    let ask = Ask::Request(Box::new(forged));
    let decided = callgate_core::decide::decide(&snapshot, ask, &Facts::new(ana, 0));
    assert_eq!(decided.settled.decision, Decision::Deny);
}
