//! A state with something of everything in it is written out and read back: nothing is left behind.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use callgate_core::digest::Digest;
use callgate_core::state::{Delta, State};
use ciborium::Value;

/// A life that leaves something in every part of the state. `D` and a digit stand for a digest.
const LIFE: &[&str] = &[
    r#"{"kind":"key_created","holder":{"kind":"agent","agent":"bot","owner":"ana","team":"ops","tenant":"t"},"id":"k1","sha256":"00"}"#,
    r#"{"kind":"key_created","holder":{"kind":"person","person":"ana","roles":["reviewer","role"],"tenant":"t"},"id":"k2","sha256":"01"}"#,
    r#"{"kind":"control_activated","digest":"sha256:c","version":1}"#,
    r#"{"kind":"snapshot_staged","author":"ana","digest":"sha256:a","git":{"branch":"main","commit":"00","dirty":true},"note":"n","signature":"s","tested":{"failed":0,"passed":3},"version":1}"#,
    r#"{"kind":"snapshot_simulated","version":1,"evidence":{"baseline":"b","candidate":"c","constraints_changed":1,"decisions":2,"loosened":3,"not_evaluated":4,"report_sha256":"5","tightened":6}}"#,
    r#"{"kind":"snapshot_activated","blind":"D0","digest":"sha256:a","version":1,"monitors":[{"id":"D1","measure":"newest","reach_ms":1000},{"id":"D2","measure":"totals","reach_ms":1000},{"id":"D3","measure":"distinct","reach_ms":1000},{"id":"D4","measure":"streak","reach_ms":1000}]}"#,
    r#"{"kind":"rollout_started","candidate":{"digest":"sha256:b","version":2},"max_drift_bp":100,"min_decisions":5,"trial":{"kind":"canary","agents":["bot"],"by":"session","share_bp":50,"tenants":["t"]}}"#,
    r#"{"kind":"mode_set","monitor":true,"scope":{"scope":"agent","agent":"bot","tenant":"t"}}"#,
    r#"{"kind":"mode_set","monitor":true,"scope":{"scope":"everyone"}}"#,
    r#"{"kind":"point_acknowledged","enforces":["max_rows"],"id":"p","snapshot":"v1"}"#,
    r#"{"kind":"delivered","endpoint":"e","through":3}"#,
    r#"{"kind":"decision","advance":{"contract":"c","step":"s","sealed":true},"epoch":4,"key":{"agent":"bot","session":"s","tenant":"t"},"nonce":{"until_ms":900,"value":"n"},"observations":[{"series":{"key":"D5","monitor":"D1"}},{"number":7,"series":{"key":"D5","monitor":"D2"}},{"name":"D6","number":-7,"series":{"key":"D5","monitor":"D3"}},{"name":"D6","series":{"key":"D5","monitor":"D4"}}],"open_until_ms":900,"slot":4,"snapshot":1,"team":"ops","tried":{"candidate":true,"decision":"ALLOW"},"version":0}"#,
    r#"{"kind":"decision","epoch":4,"key":{"agent":"bot","session":"","tenant":"t"},"observations":[{"name":"D7","number":3,"series":{"key":"D5","monitor":"D3"}},{"name":"D7","series":{"key":"D5","monitor":"D4"}}],"slot":5,"snapshot":1,"version":0}"#,
    r#"{"kind":"decision","approval":{"action":"D1","scope":"D2","seen":"D3","effect":{"kind":"opens","hold":{"action":"pay","blast_radius":"b","chain":["x"],"environment":"prod","expires_at_ms":500,"on_behalf_of":"u","rollback":"r","rule":"r1","span_ms":300,"stages":[{"quorum":1,"reviewers":["role:role"]},{"quorum":2,"reviewers":[]}],"terms":"D4"}}},"epoch":4,"key":{"agent":"bot","session":"s","tenant":"t"},"snapshot":1,"team":"ops","version":1}"#,
    r#"{"kind":"approval_voted","approval":13,"approve":true,"commented":true,"person":"ana","seat":"role:role","stage":0}"#,
    r#"{"kind":"approval_delegated","approval":13,"from":"bob","seat":"","stage":1,"to":"eve"}"#,
    r#"{"kind":"approval_commented","approval":13,"person":"eve"}"#,
    r#"{"kind":"decision","approval":{"action":"D5","scope":"D2","seen":"D3","effect":{"kind":"opens","hold":{"action":"pay","expires_at_ms":500,"rule":"r1","span_ms":300,"stages":[{"quorum":1,"reviewers":[]}],"terms":"D4"}}},"epoch":4,"key":{"agent":"bot","session":"s","tenant":"t"},"snapshot":1,"version":2}"#,
    r#"{"kind":"approval_voted","approval":17,"approve":true,"grants":true,"person":"ana","seat":"any","stage":0,"standing":{"arguments":"D8","fixed":["to"],"span_ms":400,"uses":3}}"#,
    r#"{"kind":"decision","approval":{"action":"D6","scope":"D2","seen":"D3","effect":{"kind":"opens","hold":{"action":"pay","expires_at_ms":500,"rule":"r1","span_ms":300,"stages":[{"quorum":1,"reviewers":[]}],"terms":"D4"}}},"epoch":4,"key":{"agent":"bot","session":"s","tenant":"t"},"snapshot":1,"version":3}"#,
    r#"{"kind":"approval_voted","approval":19,"approve":true,"grants":true,"person":"ana","seat":"any","stage":0,"standing":{"arguments":"D8","span_ms":400,"uses":3}}"#,
    r#"{"kind":"standing_revoked","person":"ana","standing":18}"#,
    r#"{"kind":"stop_created","scope":{"scope":"agent","agent":"other","tenant":"t"},"by":"ana"}"#,
    r#"{"kind":"point_leased","expires_at_ms":5000,"key":{"agent":"low","point":"p","tenant":"t"},"terms":{"constraints":"{}","deadline_ms":1,"lease_ms":2,"max_actions":3,"tools":["a"],"window_ms":4},"tier":"low"}"#,
    r#"{"kind":"decision","epoch":4,"key":{"agent":"low","session":"","tenant":"t"},"open_until_ms":900,"snapshot":1,"unchecked":{"at_ms":24,"journal":"j","lease":23,"point":"p","sequence":0},"version":0}"#,
    r#"{"kind":"session_erased","agent":"bot","session":"s","tenant":"t"}"#,
];

fn digests(text: &str) -> String {
    (0..10).fold(text.to_owned(), |text, digit| {
        let digest = Digest::of(&[digit]);
        text.replace(&format!("\"D{digit}\""), &format!("\"{digest}\""))
    })
}

fn delta(text: &str, now_ms: i64) -> Delta {
    let text = format!(r#"{{"change":{},"now_ms":{now_ms}}}"#, digests(text));
    serde_json::from_str(&text).map_err(|error| format!("{error}: {text}")).unwrap()
}

fn saved(state: &State) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(state, &mut bytes).unwrap();
    bytes
}

fn again(state: &State) -> State {
    ciborium::from_reader(saved(state).as_slice()).unwrap()
}

/// Wherever a gate stops, it goes on as if it had not; and the end of everything is the same, too.
#[test]
fn a_state_with_everything_in_it_survives_a_round_trip_at_any_moment() {
    let later = r#"{"kind":"noted"}"#;
    let life: Vec<Delta> = (0i64..).zip(LIFE).map(|(at, text)| delta(text, at)).collect();
    let ends = [600, 1_000, 70_000, 3_000_000_000].map(|at| delta(later, at));
    let (mut whole, mut broken) = (State::default(), State::default());
    for (index, delta) in (0u64..).zip(life.iter().chain(&ends)) {
        let payload = *Digest::of(&index.to_be_bytes()).as_bytes();
        whole.apply(index, &payload, delta);
        broken = again(&broken);
        broken.apply(index, &payload, delta);
        assert_eq!(format!("{broken:?}"), format!("{whole:?}"), "after {delta:?}");
        assert_eq!(saved(&broken), saved(&whole), "the same state is saved as the same bytes");
    }
}

/// The life above is worth something only while it leaves something everywhere.
#[test]
fn the_life_leaves_something_in_every_part() {
    let mut state = State::default();
    for ((at, index), text) in (0i64..).zip(0u64..).zip(LIFE) {
        state.apply(index, &[9; 32], &delta(text, at));
    }
    let value: Value = ciborium::from_reader(saved(&state).as_slice()).unwrap();
    let mut empty = empty_in("", &value);
    // Limits have a life of their own: `tests/limits.rs` sends its state through the same after every step.
    empty.retain(|path| !path.starts_with(".meters"));
    assert_eq!(empty, Vec::<String>::new(), "nothing lies there");
}

/// The fields that hold an empty list or map, or nothing.
fn empty_in(path: &str, value: &Value) -> Vec<String> {
    match value {
        Value::Map(fields) if !fields.is_empty() => {
            let named = fields.iter().filter_map(|(name, value)| Some((name.as_text()?, value)));
            let named = named.filter(|(name, _)| !OPTIONAL.contains(name));
            named.flat_map(|(name, value)| empty_in(&format!("{path}.{name}"), value)).collect()
        }
        Value::Array(items) if !items.is_empty() => Vec::new(),
        Value::Map(_) | Value::Array(_) | Value::Null => vec![path.to_owned()],
        _ => Vec::new(),
    }
}

/// Empty in one and filled in another of its kind.
const OPTIONAL: [&str; 6] = ["live", "simulated", "votes", "delegations", "remarks", "expected"];
