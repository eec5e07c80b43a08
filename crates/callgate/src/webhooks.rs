//! The operator's receivers of events: who they are, from a file, with secrets from where it says.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use callgate_gate::{Addressee, Gate, Outbox, OutboxOptions};
use callgate_policy::webhooks::{self, Source, WebhookFormat};
use callgate_voice::Endpoint;
use callgate_voice::webhook::{Format, Secret, Webhook};

use crate::failure::Failure;
use crate::{files, output};

/// How long deliveries under way may take once the gate stops.
const DRAIN: Duration = Duration::from_secs(5);

/// Who is told of events.
#[derive(Debug, clap::Args)]
pub(crate) struct WebhookArgs {
    /// Tell the receivers in this file of what happens (docs/events.md)
    #[arg(long, value_name = "FILE")]
    webhooks: Option<PathBuf>,
}

impl WebhookArgs {
    /// The receivers. Nobody is told anything yet.
    pub(crate) fn read(&self) -> Result<Vec<Addressee>, Failure> {
        let Some(path) = &self.webhooks else { return Ok(Vec::new()) };
        let text = files::read_text(path)?;
        let listed = webhooks::webhooks(&path.display().to_string(), &text).map_err(|report| {
            output::note(report.render().trim_end());
            Failure::usage(format!("`{}` has errors; see above", path.display()))
        })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        listed.into_iter().map(|webhook| addressee(webhook, folder)).collect()
    }
}

fn addressee(webhook: webhooks::Webhook, folder: &Path) -> Result<Addressee, Failure> {
    let wrong =
        |problem: &dyn std::fmt::Display| Failure::usage(format!("the webhook `{}`: {problem}", webhook.id));
    let url = resolve(&webhook.url, folder)?;
    let endpoint = Endpoint::new(url.trim(), false).map_err(|e| wrong(&e))?;
    let secrets = webhook.secret.as_ref().map(|source| resolve(source, folder)).transpose()?;
    let secrets = secrets.map(|text| Secret::read_all(&text)).transpose().map_err(|e| wrong(&e))?;
    let format = match webhook.format {
        WebhookFormat::Callgate => Format::Standard,
        WebhookFormat::Slack => Format::Slack,
    };
    let timeout = Duration::from_millis(webhook.timeout_ms);
    let courier =
        Webhook::new(endpoint, format, secrets.unwrap_or_default(), timeout).map_err(|e| wrong(&e))?;
    Ok(Addressee {
        id: webhook.id,
        wants: webhook.events,
        give_up: Duration::from_millis(webhook.give_up_ms),
        courier: Arc::new(courier),
    })
}

/// A text from where the file says; what is missing is named, never shown.
fn resolve(source: &Source, folder: &Path) -> Result<String, Failure> {
    match source {
        Source::Here(text) => Ok(text.clone()),
        Source::File(path) => files::read_text(&folder.join(path)),
        Source::Variable(name) => files::variable(name).filter(|value| !value.is_empty()).ok_or_else(|| {
            Failure::usage(format!("the environment variable `{name}` is not set, and the webhooks need it"))
        }),
    }
}

/// Begins to tell them.
pub(crate) async fn start(gate: &Arc<Gate>, addressees: Vec<Addressee>) -> Result<Outbox, Failure> {
    let options = OutboxOptions { log: Arc::new(output::warn), ..OutboxOptions::default() };
    Outbox::start(gate, addressees, &options).await.map_err(Failure::unavailable)
}

/// Lets deliveries under way end, for a limited time; what was not recorded is delivered again.
pub(crate) async fn stop(outbox: Outbox) {
    if tokio::time::timeout(DRAIN, outbox.close()).await.is_err() {
        output::warn("a delivery was still under way; it is made again at the next start");
    }
}
