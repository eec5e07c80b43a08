//! The answer of the endpoint, read strictly.
//!
//! A completion says exactly `{"question": …, "ruling": …, "confidence": …}` or it says nothing:
//! another key, another type, text around the object, or the id of another question is malformed.

use callgate_core::decimal::Decimal;
use callgate_core::finding::{Answer, Failure, Question, Ruling};
use callgate_core::json::{self, Limits};
use callgate_core::value::{Map, Value};
use serde::Deserialize;

/// The most bytes of an endpoint's answer that are read.
pub const MAX_ANSWER: usize = 64 * 1024;

/// Bounds on the completion's own text.
const COMPLETION: Limits = Limits { bytes: 4096, depth: 4, values: 16 };

/// The parts of a chat completion that count; endpoints add others.
#[derive(Deserialize)]
struct Completion {
    #[serde(default)]
    model: Option<String>,
    choices: Vec<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    message: Message,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    refusal: Option<String>,
    #[serde(default)]
    tool_calls: Option<Vec<serde::de::IgnoredAny>>,
}

/// What the body of a successful response says of `question`.
#[must_use]
pub fn read(question: &Question, body: &[u8]) -> Answer {
    try_read(question, body).unwrap_or_else(|failure| Answer::Failed { failure })
}

fn try_read(question: &Question, body: &[u8]) -> Result<Answer, Failure> {
    let completion: Completion = serde_json::from_slice(body).map_err(|_| Failure::Malformed)?;
    let [choice] = completion.choices.as_slice() else { return Err(Failure::Malformed) };
    let message = &choice.message;
    let filtered = choice.finish_reason.as_deref() == Some("content_filter");
    if filtered || message.refusal.as_ref().is_some_and(|refusal| !refusal.is_empty()) {
        return Err(Failure::Refused);
    }
    let calls = message.tool_calls.as_ref().is_some_and(|calls| !calls.is_empty());
    // An answer that was cut off may still look whole.
    if calls || choice.finish_reason.as_deref() != Some("stop") {
        return Err(Failure::Malformed);
    }
    let content = message.content.as_deref().ok_or(Failure::Malformed)?;
    let (ruling, confidence) = ruling(question, content).ok_or(Failure::Malformed)?;
    let model = completion.model.unwrap_or_else(|| question.model.to_string());
    Ok(Answer::Given { model, ruling, confidence })
}

/// Reads the completion's text.
fn ruling(question: &Question, content: &str) -> Option<(Ruling, Decimal)> {
    let Value::Map(answer) = json::parse(content.as_bytes(), &COMPLETION).ok()? else { return None };
    let word = |key| answer.get(key).and_then(Value::as_str);
    let ruling = Ruling::ALL.into_iter().find(|ruling| word("ruling") == Some(ruling.as_str()))?;
    let own = word("question") == Some(question.id().as_str());
    let confidence = confidence(&answer)?;
    (own && answer.len() == 3).then_some((ruling, confidence))
}

fn confidence(answer: &Map) -> Option<Decimal> {
    match answer.get("confidence")? {
        Value::Int(whole) => Some(Decimal::from(*whole)),
        Value::Decimal(decimal) => Some(*decimal),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use callgate_core::digest::Digest;
    use callgate_core::finding::Finding;

    fn question() -> Question {
        Question {
            digest: Digest::of(b"q"),
            model: "asked".into(),
            instructions: String::new(),
            data: String::new(),
            max_tokens: 64,
            timeout_ms: 800,
        }
    }

    fn completion(content: &str) -> Vec<u8> {
        let message = serde_json::json!({"role": "assistant", "content": content});
        serde_json::json!({
            "id": "x", "object": "chat.completion", "model": "answered-1", "usage": {"total_tokens": 9},
            "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        })
        .to_string()
        .into_bytes()
    }

    fn content(ruling: &str, confidence: &str) -> String {
        format!(r#"{{"question":"{}","ruling":"{ruling}","confidence":{confidence}}}"#, question().id())
    }

    /// As the gate takes it.
    fn judged(body: &[u8]) -> Answer {
        let finding = Finding {
            question: question().digest,
            answer: read(&question(), body),
            latency_ms: 0,
            cached: false,
        };
        finding.checked(&question()).answer
    }

    #[test]
    fn an_answer_is_read() {
        for ruling in Ruling::ALL {
            for (text, confidence) in
                [("0.85", "0.85"), ("1", "1"), ("0", "0"), ("1.0", "1"), ("5e-1", "0.5")]
            {
                let given = Answer::Given {
                    model: "answered-1".into(),
                    ruling,
                    confidence: confidence.parse().unwrap(),
                };
                assert_eq!(judged(&completion(&content(ruling.as_str(), text))), given, "{text}");
                let spaced = format!(" \n{}\n", content(ruling.as_str(), text));
                assert_eq!(judged(&completion(&spaced)), given);
            }
        }
    }

    #[test]
    fn anything_else_is_malformed() {
        let id = question().id();
        let other = Digest::of(b"other").hex();
        let other = other.get(..32).unwrap();
        let texts = [
            String::new(),
            "complies".to_owned(),
            format!("```json\n{}\n```", content("complies", "1")),
            format!("{} I hope this helps.", content("complies", "1")),
            format!("{}{}", content("complies", "1"), content("violates", "1")),
            content("complies", "1.01"),
            content("complies", "-0.1"),
            content("complies", "1e-9"),
            content("complies", "\"0.9\""),
            content("complies", "null"),
            content("complies", "NaN"),
            content("Complies", "1"),
            content("allow", "1"),
            format!(r#"{{"question":"{id}","ruling":"complies"}}"#),
            format!(r#"{{"question":"{id}","ruling":"complies","confidence":1,"reason":"x"}}"#),
            format!(r#"{{"question":"{id}","ruling":"violates","ruling":"complies","confidence":1}}"#),
            format!(r#"{{"question":"{other}","ruling":"complies","confidence":1}}"#),
            r#"{"ruling":"complies","confidence":1}"#.to_owned(),
            format!(r#"[{}]"#, content("complies", "1")),
            format!(r#"{{"question":{},"ruling":"complies","confidence":1}}"#, "[".repeat(100_000)),
        ];
        for text in texts {
            let malformed = Answer::Failed { failure: Failure::Malformed };
            assert_eq!(
                judged(&completion(&text)),
                malformed,
                "{}",
                text.chars().take(80).collect::<String>()
            );
        }
    }

    #[test]
    fn a_completion_that_is_none_is_no_answer() {
        let good = String::from_utf8(completion(&content("complies", "1"))).unwrap();
        let cases = [
            (r#""finish_reason":"stop""#, r#""finish_reason":"length""#, Failure::Malformed),
            (r#""finish_reason":"stop""#, r#""finish_reason":"content_filter""#, Failure::Refused),
            (r#""finish_reason":"stop","#, "", Failure::Malformed),
            (r#""message":{"#, r#""message":{"refusal":"I cannot","#, Failure::Refused),
            (r#""message":{"#, r#""message":{"tool_calls":[{}],"#, Failure::Malformed),
            (r#""choices":["#, r#""choices":[],"other":["#, Failure::Malformed),
            ("answered-1", "an\\nswered", Failure::Malformed),
            ("answered-1", "", Failure::Malformed),
            ("}]", "}", Failure::Malformed),
        ];
        for (from, to, failure) in cases {
            assert!(good.contains(from), "{from}");
            assert_eq!(judged(good.replacen(from, to, 1).as_bytes()), Answer::Failed { failure }, "{to}");
        }
        let long = good.replace("answered-1", &"m".repeat(129));
        assert_eq!(judged(long.as_bytes()), Answer::Failed { failure: Failure::Malformed });
        let unnamed = good.replace(r#""model":"answered-1","#, "");
        assert!(matches!(judged(unnamed.as_bytes()), Answer::Given { model, .. } if model == "asked"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), text in ".{0,80}") {
            let malformed = Answer::Failed { failure: Failure::Malformed };
            prop_assert_eq!(judged(&bytes), malformed.clone());
            prop_assert_eq!(judged(&completion(&text)), malformed);
        }
    }
}
