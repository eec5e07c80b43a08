//! The request to the endpoint: OpenAI's chat completions, without streaming.
//!
//! Trusted text is one system message; the data is one user message, and nothing else is. The same
//! question is always the same bytes.

use callgate_core::finding::{Question, Ruling};
use serde_json::{Value, json};

/// The body of the request that asks `question`.
pub(crate) fn body(question: &Question) -> Vec<u8> {
    let mut body = json!({
        "model": &*question.model,
        "messages": [
            {"role": "system", "content": question.instructions},
            {"role": "user", "content": question.data},
        ],
        "temperature": 0,
        "seed": 0,
        "n": 1,
        "stream": false,
        "max_tokens": question.max_tokens,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "ruling", "strict": true, "schema": schema(question)},
        },
    });
    // The same bytes whatever order the library keeps keys in.
    body.sort_all_objects();
    body.to_string().into_bytes()
}

/// What an answer must look like.
fn schema(question: &Question) -> Value {
    json!({
        "type": "object",
        "properties": {
            "question": {"type": "string", "enum": [question.id()]},
            "ruling": {"type": "string", "enum": Ruling::ALL.map(Ruling::as_str)},
            "confidence": {"type": "number"},
        },
        "required": ["question", "ruling", "confidence"],
        "additionalProperties": false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use callgate_core::digest::Digest;

    /// Findings are kept under a digest that has no part of this page in it: whoever changes what is
    /// sent must change the name of the format in the question, and then this test.
    #[test]
    fn the_request_is_what_it_was_for_this_format() {
        let question = Question {
            digest: Digest::of(b"q"),
            model: "m-1".into(),
            instructions: "Judge.\n\"x\"".to_owned(),
            data: r#"{"a":"\u003c"}"#.to_owned(),
            max_tokens: 64,
            timeout_ms: 800,
        };
        let text = String::from_utf8(body(&question)).unwrap();
        let id = question.id();
        let expected = format!(
            r#"{{"max_tokens":64,"messages":[{{"content":"Judge.\n\"x\"","role":"system"}},{{"content":"{{\"a\":\"\\u003c\"}}","role":"user"}}],"model":"m-1","n":1,"response_format":{{"json_schema":{{"name":"ruling","schema":{{"additionalProperties":false,"properties":{{"confidence":{{"type":"number"}},"question":{{"enum":["{id}"],"type":"string"}},"ruling":{{"enum":["complies","violates","unsure"],"type":"string"}}}},"required":["question","ruling","confidence"],"type":"object"}},"strict":true}},"type":"json_schema"}},"seed":0,"stream":false,"temperature":0}}"#
        );
        assert_eq!(text, expected);
    }
}
