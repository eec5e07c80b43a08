//! Allows that are used again, used for something else, or not used at all.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::wire::{may_run_unchecked, proxied, proxy};
use crate::audit::Times;
use crate::call::{Call, PAY, Phase, WIPE};
use crate::disk::Disk;
use crate::inside::Inside;
use crate::points::{Answer, Client};
use crate::round::Round;
use crate::scene::Scene;
use crate::trouble::Trouble;
use crate::wire::{Proxy, Wire};

/// An allow, or the call it was for, a second time.
pub(super) async fn replayed(scene: &mut Scene) -> Result<(), Trouble> {
    let (round, disk) = (scene.round()?, Disk::new());
    let mut inside = scene.open(&disk, &proxied(scene), &round).await?;
    scene.control(&round, &inside).await;
    let call = round.one(PAY, Phase::Fault);
    round.limit(call.n, 1, 1);
    if let Some(client) = inside.client.lines() {
        // The same line again and again while the first is under way: one id is one call.
        let line = line_of(&call, 9_000);
        round.note(&call, &Answer::Silent("sent by hand".to_owned()));
        client.raw(&line.repeat(20)).await;
        round.feel(19);
        tokio::time::sleep(Duration::from_millis(300)).await;
        // An id that came back is a new call, which is decided anew.
        round.limit(call.n, 1, 20);
    } else {
        round.ask(&inside.client, vec![call.clone()], 1).await;
        // The very question again: its nonce is used.
        round.ask(&inside.client, vec![call.clone(), call.clone()], 1).await;
        round.feel(2);
    }
    if inside.proxy.is_some() {
        let answer = proxy(&inside)?.recorded();
        inside = used_answer(scene, &round, &disk, inside, &call, answer).await?;
    }
    scene.control(&round, &inside).await;
    let key = inside.close().await;
    scene.judge(&round, &disk.after_power_cut(), &key, Times::Machine).await
}

/// An old allow of the same action comes as the answer: to the point that used it, and to one that was started again and
/// remembers nothing.
async fn used_answer(
    scene: &Scene,
    round: &Arc<Round>,
    disk: &Disk,
    inside: Inside,
    call: &Call,
    denial: Vec<u8>,
) -> Result<Inside, Trouble> {
    // The last answer was a denial; a fresh allow of another call is what will be replayed.
    let fresh = round.one(PAY, Phase::Fault);
    round.ask(&inside.client, vec![fresh.clone()], 1).await;
    round.limit(fresh.n, 1, 1);
    let allow = proxy(&inside)?.allow();
    let anew = Call { nonce: Some(format!("anew-{}", fresh.n)), ..fresh.clone() };
    let other = round.one(PAY, Phase::Fault);
    let say = |wire: &Proxy, bytes: &[u8]| wire.set(Wire::Says(bytes.to_vec()));
    say(proxy(&inside)?, &allow);
    round.ask(&inside.client, vec![fresh.clone(), anew.clone(), other.clone(), call.clone()], 1).await;
    say(proxy(&inside)?, &denial);
    round.ask(&inside.client, vec![other.clone()], 1).await;
    round.feel(5);
    inside.close().await;
    let inside = scene.open(disk, &proxied(scene), round).await?;
    say(proxy(&inside)?, &allow);
    round.ask(&inside.client, vec![anew, other], 1).await;
    proxy(&inside)?.set(Wire::Passes);
    Ok(inside)
}

fn line_of(call: &Call, id: u64) -> String {
    let params = json!({"name": call.tool, "arguments": call.args});
    format!("{}\n", json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}))
}

/// What runs is not what was decided, or what was decided is not what was asked.
pub(super) async fn arguments_changed(scene: &mut Scene) -> Result<(), Trouble> {
    let (round, disk) = (scene.round()?, Disk::new());
    let inside = scene.open(&disk, &proxied(scene), &round).await?;
    scene.control(&round, &inside).await;
    match inside.client.as_ref() {
        Client::Embedded(point) => {
            for other in others(&round.one(PAY, Phase::Fault)) {
                let asked = round.one(PAY, Phase::Fault);
                let run = Call { n: asked.n, nonce: asked.nonce.clone(), ..other };
                let answer = point.call_as(&asked, &run).await;
                if answer == Answer::Ran {
                    round.wrong(format!("a permit for {:?} ran {:?}", asked.args, run.args));
                }
                round.note(&asked, &answer);
                round.feel(1);
            }
        }
        Client::Http(_) | Client::Remote(_) => {
            for (from, to) in
                [("1.00", "9.99"), ("\"pay\"", "\"sig\""), ("prover", "robber"), ("1.00", "1.000")]
            {
                proxy(&inside)?.set(Wire::Swaps(from, to));
                let calls = vec![round.one(PAY, Phase::Fault)];
                round.ask(&inside.client, calls, 1).await;
            }
            // The gate is asked about what may run, by a point that wants what may not.
            proxy(&inside)?.set(Wire::Swaps("\"wipe\"", "\"pay\""));
            let calls = vec![round.one(WIPE, Phase::Fault)];
            round.ask(&inside.client, calls, 1).await;
            round.feel(proxy(&inside)?.felt());
            proxy(&inside)?.set(Wire::Passes);
        }
        Client::Lines(client) => {
            for line in ambiguous(&round) {
                client.raw(&line).await;
                round.feel(1);
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        Client::None => {}
    }
    scene.control(&round, &inside).await;
    let key = inside.close().await;
    scene.judge(&round, &disk.after_power_cut(), &key, Times::Machine).await
}

/// Calls that a permit for `call` is not for.
fn others(call: &Call) -> Vec<Call> {
    let with = |key: &str, value: serde_json::Value| {
        let mut other = call.clone();
        if let Some(members) = other.args.as_object_mut() {
            members.insert(key.to_owned(), value);
        }
        other
    };
    vec![
        with("amount", json!("1000.00")),
        with("amount", json!(1)),
        with("amount", json!(["1.00"])),
        with("more", json!(null)),
        with("Amount", json!("1000.00")),
        Call { tool: WIPE.to_owned(), ..call.clone() },
    ]
}

/// Lines that two readers could understand differently.
fn ambiguous(round: &Round) -> Vec<String> {
    let shapes = [
        r#"{"name":"pay","arguments":{"n":"N","amount":"1.00","amount":"1000.00"}}"#,
        r#"{"name":"pay","name":"wipe","arguments":{"n":"N","amount":"1.00"}}"#,
        r#"{"name":"pay","arguments":{"n":"N","amount":"1.00"},"arguments":{"n":"N","amount":"1000.00"}}"#,
        r#"{"name":"pay","Name":"wipe","arguments":{"n":"N","amount":"1.00"}}"#,
        r#"{"name":"pay","arguments":{"n":"N","amount":"1.00","AMOUNT":"1000.00"}}"#,
        r#"{"name":"pa\u0079","arguments":{"n":"N","amount":"1.00"}}"#,
        r#"{"name":"wipe ","arguments":{"n":"N","amount":"1.00"}}"#,
        r#"{"name":"ＷＩＰＥ","arguments":{"n":"N","amount":"1.00"}}"#,
        r#"{"name":"pay","arguments":{"n":"N","amount":"1.00"}},"method":"tools/list","x":{}"#,
    ];
    let line = |shape: &str| {
        let call = round.one(PAY, Phase::Fault);
        round.note(&call, &Answer::Silent("sent by hand".to_owned()));
        let params = shape.replace("\"N\"", &format!("\"{}\"", call.n));
        let id = call.n.saturating_add(10_000);
        format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"tools/call\",\"params\":{params}}}\n")
    };
    shapes.iter().map(|shape| line(shape)).collect()
}

/// Decided, and then somebody is gone.
pub(super) async fn cut_between(scene: &mut Scene) -> Result<(), Trouble> {
    for step in 0..scene.pick(2, 8) {
        let (round, disk) = (scene.round()?, Disk::new());
        let inside = scene.open(&disk, &proxied(scene), &round).await?;
        scene.control(&round, &inside).await;
        let calls = round.mixed(24, Phase::Fault);
        match inside.client.as_ref() {
            Client::Http(_) => {
                proxy(&inside)?.set(Wire::CutAfterDecision);
                round.ask(&inside.client, calls.clone(), 4).await;
                round.feel(proxy(&inside)?.felt());
                proxy(&inside)?.set(Wire::Passes);
                // Asked again as they are, they are used up; nothing was done for them.
                round.ask(&inside.client, calls, 4).await;
            }
            Client::Remote(_) => {
                may_run_unchecked(scene, &round);
                proxy(&inside)?.set(Wire::CutAfterDecision);
                round.ask(&inside.client, calls, 4).await;
                round.feel(proxy(&inside)?.felt());
                proxy(&inside)?.set(Wire::Passes);
                scene.control(&round, &inside).await;
            }
            Client::Lines(client) => {
                let lines: String =
                    calls.iter().map(|call| line_of(call, call.n.saturating_add(10_000))).collect();
                calls.iter().for_each(|call| round.note(call, &Answer::Silent("gone".to_owned())));
                client.raw(&lines).await;
                tokio::time::sleep(Duration::from_millis(step)).await;
                client.leave().await;
                round.feel(1);
            }
            _ => {
                dropped(&round, &inside, calls, step).await;
            }
        }
        let key = inside.close().await;
        scene.judge(&round, &disk.after_power_cut(), &key, Times::Machine).await?;
    }
    Ok(())
}

/// Calls whose caller is gone in the middle of them.
async fn dropped(round: &Arc<Round>, inside: &Inside, calls: Vec<Call>, step: u64) {
    for (call, wait) in calls.into_iter().zip(0u64..) {
        let (client, asked) = (Arc::clone(&inside.client), call.clone());
        let task = tokio::spawn(async move { client.call(&asked).await });
        tokio::time::sleep(Duration::from_micros(wait.saturating_mul(90).saturating_add(step))).await;
        task.abort();
        let answer = task.await.unwrap_or_else(|_| Answer::Silent("gone".to_owned()));
        round.feel(u64::from(answer != Answer::Ran));
        round.note(&call, &answer);
    }
}
