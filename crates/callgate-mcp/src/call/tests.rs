//! What was decided is what is sent, for any arguments.

use callgate_core::request::Agent;
use proptest::prelude::*;

use super::*;
use crate::message::{Members, Message};

fn options() -> WrapOptions {
    let name = |text: &str| Name::new(text).unwrap();
    let agent = Agent { id: name("bot"), team: None, chain: Vec::new(), on_behalf_of: None };
    WrapOptions::new(name("files"), agent, name("default"), "none".into(), Vec::new())
}

fn read(kind: Decided, params: &str) -> Result<Call, CallError> {
    let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
    let stamp = Stamp { nonce: "n".into(), now_ms: 1 };
    let id = Id::read(&raw("1")).unwrap();
    Call::read(id, kind, Some(&raw(params)), &options(), &Limits::REQUEST, stamp)
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i32>().prop_map(Into::into),
        any::<f64>().prop_filter("finite", |n| n.is_finite()).prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    leaf.prop_recursive(3, 24, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
            any_object(inner).prop_map(serde_json::Value::Object),
        ]
    })
}

fn any_object(
    inner: impl Strategy<Value = serde_json::Value>,
) -> impl Strategy<Value = serde_json::Map<String, serde_json::Value>> {
    proptest::collection::hash_map("[a-z\u{2028}\"é]{0,4}", inner, 0..5)
        .prop_map(|map| map.into_iter().collect())
}

proptest! {
    /// Reading what the server gets gives the action that was decided, for every kind of call.
    #[test]
    fn what_is_sent_is_the_action_that_was_decided(
        arguments in any_object(any_json()),
        rest in any_object(any_json()),
        text in "[a-z/ ]{1,8}x",
    ) {
        let text = text.trim();
        for (kind, mut params) in [
            (Decided::Tool, serde_json::json!({"name": text, "arguments": arguments})),
            (Decided::Prompt, serde_json::json!({"name": text, "arguments": arguments})),
            (Decided::Resource, serde_json::json!({"uri": text})),
        ] {
            for (key, value) in &rest {
                params[format!("_{key}")] = value.clone();
            }
            let call = read(kind, &params.to_string());
            let Ok(call) = call else {
                // Only keys that fold together are refused here.
                prop_assert!(matches!(call, Err(CallError::Ambiguous(..))), "{:?}", call);
                continue;
            };
            let line = call.line();
            let breaks = ['\n', '\r', '\u{2028}'];
            prop_assert!(!line.contains(breaks));
            let Ok(Message::Request { method, params: Some(sent), .. }) = Message::read(&line) else {
                return Err(TestCaseError::fail(line));
            };
            prop_assert_eq!(&method, kind.as_str());
            let again = read(kind, sent.get()).unwrap();
            prop_assert_eq!(again.request.action_digest(), call.request.action_digest());
            prop_assert_eq!(again.line(), call.line());
            // Nothing the gate does not read is lost.
            let members = Members::read(sent.get()).unwrap();
            let kept = |key: &String| members.get(&format!("_{key}")).is_some();
            prop_assert!(rest.keys().all(kept));
        }
    }

    #[test]
    fn any_parameters_read_or_err(params in any_json()) {
        for kind in Decided::ALL {
            let _total = read(kind, &params.to_string());
        }
    }
}

#[test]
fn absent_and_empty_arguments_stay_what_they_were() {
    assert!(!read(Decided::Tool, r#"{"name":"t"}"#).unwrap().line().contains("arguments"));
    assert!(
        read(Decided::Tool, r#"{"name":"t","arguments":{}}"#).unwrap().line().contains(r#""arguments":{}"#)
    );
}
