//! Webhooks against a real socket that answers well and badly.
#![expect(clippy::unwrap_used, reason = "a test stops at what it cannot read")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use callgate_core::event::{Courier as _, Data, Delivery, Event, Kind, Letter};
use callgate_voice::Endpoint;
use callgate_voice::webhook::{Format, Secret, Webhook};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// What the receiver of the test does once it has read a request.
#[derive(Debug, Clone, Copy)]
enum Acts {
    /// Sends these bytes and hangs up.
    Says(&'static str),
    /// Sends them and stays.
    SaysAndStays(&'static str),
    /// Says yes, and then a body without end.
    Babbles,
    /// Hangs up before it has read anything.
    HangsUp,
}

struct Receiver {
    url: String,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Receiver {
    async fn start(acts: Acts) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hooks/secret-path?token=t", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let kept = Arc::clone(&kept);
                tokio::spawn(async move {
                    if matches!(acts, Acts::HangsUp) {
                        return;
                    }
                    let request = read(&mut stream).await;
                    kept.lock().unwrap().push(request);
                    match acts {
                        Acts::Says(text) => drop(stream.write_all(text.as_bytes()).await),
                        Acts::SaysAndStays(text) => {
                            let _ = stream.write_all(text.as_bytes()).await;
                            std::future::pending::<()>().await;
                        }
                        Acts::Babbles => {
                            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
                            while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
                        }
                        Acts::HangsUp => {}
                    }
                });
            }
        });
        Self { url, seen }
    }

    fn webhook(&self, format: Format, secrets: Vec<Secret>) -> Webhook {
        let endpoint = Endpoint::new(&self.url, false).unwrap();
        Webhook::new(endpoint, format, secrets, Duration::from_millis(600)).unwrap()
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

/// A request with its body.
async fn read(stream: &mut tokio::net::TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return text;
            }
        }
        if stream.read_buf(&mut bytes).await.unwrap() == 0 {
            return text;
        }
    }
}

fn event() -> Event {
    let data = Data::from([("key", "k1".into()), ("by", "ana".into())]);
    Event {
        id: 41,
        kind: Kind::KeyRevoked,
        timestamp: "2026-11-20T09:30:00.123Z".to_owned(),
        time_ms: 0,
        data,
    }
}

async fn deliver(webhook: &Webhook) -> Delivery {
    let event = event();
    webhook.deliver(&Letter { id: "msg_1", event: &event, sent_ms: 1_614_265_330_999 }).await
}

fn secret(byte: u8) -> String {
    format!("whsec_{}", STANDARD.encode([byte; 32]))
}

#[tokio::test]
async fn an_event_is_signed_with_every_secret() {
    let receiver = Receiver::start(Acts::Says("HTTP/1.1 204 No Content\r\n\r\n")).await;
    let secrets = Secret::read_all(&format!("{}\n{}\n", secret(1), secret(2))).unwrap();
    assert_eq!(deliver(&receiver.webhook(Format::Standard, secrets)).await, Delivery::Taken);
    let seen = receiver.seen();
    let (head, body) = seen[0].split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /hooks/secret-path?token=t HTTP/1.1\r\n"), "{head}");
    assert_eq!(
        body,
        r#"{"type":"key.revoked","timestamp":"2026-11-20T09:30:00.123Z","data":{"by":"ana","key":"k1"}}"#
    );
    let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(&format!("{name}: "))).unwrap();
    assert_eq!((header("webhook-id"), header("webhook-timestamp")), ("msg_1", "1614265330"));
    assert_eq!(header("content-type"), "application/json");
    let signatures: Vec<&str> = header("webhook-signature").split(' ').collect();
    assert_eq!(signatures.len(), 2);
    assert!(
        signatures.iter().all(|signature| signature.starts_with("v1,")) && signatures[0] != signatures[1]
    );
}

#[tokio::test]
async fn slack_gets_a_message_and_needs_no_secret() {
    let receiver = Receiver::start(Acts::Says("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")).await;
    assert_eq!(deliver(&receiver.webhook(Format::Slack, Vec::new())).await, Delivery::Taken);
    let seen = receiver.seen();
    assert!(seen[0].contains(r#""text":"Key revoked: k1""#), "{}", seen[0]);
    assert!(!seen[0].contains("webhook-signature"), "{}", seen[0]);
}

#[tokio::test]
async fn whatever_else_comes_back_is_a_failure_that_quotes_nothing() {
    let cases = [
        (Acts::Says("HTTP/1.1 500 Oops\r\ncontent-length: 6\r\n\r\nsecret"), "answered 500"),
        (Acts::Says("HTTP/1.1 404 Nope\r\n\r\nsecret"), "answered 404"),
        (Acts::Says("garbage secret\r\n\r\n"), "reached"),
        (Acts::Says("HTTP/1.1 200"), "reached"),
        (Acts::Says(""), "reached"),
        (Acts::HangsUp, "reached"),
        (Acts::SaysAndStays(""), "in time"),
        (Acts::SaysAndStays("HTTP/1.1 200 OK\r\nx: "), "in time"),
    ];
    for (acts, words) in cases {
        let receiver = Receiver::start(acts).await;
        let Delivery::Failed { why, wait } = deliver(&receiver.webhook(Format::Slack, Vec::new())).await
        else {
            panic!("{acts:?}")
        };
        assert!(why.contains(words) && wait.is_none(), "{acts:?}: {why}");
        assert!(!why.contains("secret") && !why.contains("127.0.0.1"), "{why}");
    }
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let nobody = Receiver { url, seen: Arc::default() };
    assert!(matches!(
        deliver(&nobody.webhook(Format::Slack, Vec::new())).await,
        Delivery::Failed { why, .. } if why.contains("reached")
    ));
}

#[tokio::test]
async fn gone_is_gone_and_a_receiver_may_ask_for_rest() {
    let gone = Receiver::start(Acts::Says("HTTP/1.1 410 Gone\r\n\r\n")).await;
    assert_eq!(deliver(&gone.webhook(Format::Slack, Vec::new())).await, Delivery::Gone);
    let busy = Receiver::start(Acts::Says("HTTP/1.1 429 Slower\r\nretry-after: 30\r\n\r\n")).await;
    let Delivery::Failed { wait, .. } = deliver(&busy.webhook(Format::Slack, Vec::new())).await else {
        panic!("no failure")
    };
    assert_eq!(wait, Some(Duration::from_secs(30)));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let other = Receiver::start(Acts::Says("HTTP/1.1 200 OK\r\n\r\n")).await;
    let location = format!("HTTP/1.1 307 There\r\nlocation: {}\r\n\r\n", other.url);
    let receiver = Receiver::start(Acts::Says(Box::leak(location.into_boxed_str()))).await;
    let Delivery::Failed { why, .. } = deliver(&receiver.webhook(Format::Slack, Vec::new())).await else {
        panic!("it was followed")
    };
    assert!(why.contains("not followed") && other.seen().is_empty(), "{why}");
}

/// What a receiver says after its yes changes nothing.
#[tokio::test]
async fn a_body_without_end_holds_up_nothing() {
    for acts in [Acts::Babbles, Acts::SaysAndStays("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n")] {
        let receiver = Receiver::start(acts).await;
        assert_eq!(deliver(&receiver.webhook(Format::Slack, Vec::new())).await, Delivery::Taken, "{acts:?}");
    }
}
