//! The judge's endpoint, from the operator: never from a bundle, and the key never on the command line.

use std::sync::Arc;

use callgate_gate::{Gate, Judge};
use callgate_voice::judge::{CacheOptions, CachedJudge, HttpJudge};
use callgate_voice::{Endpoint, EndpointError, Key};

use crate::failure::Failure;
use crate::{files, output};

/// The variable that names the endpoint.
const URL: &str = "CALLGATE_JUDGE_URL";
/// The variable that holds its key.
const KEY: &str = callgate_mcp::JUDGE_KEY;

/// Whom rules with `judge` ask.
#[derive(Debug, clap::Args)]
pub(crate) struct JudgeArgs {
    /// The OpenAI-compatible endpoint that rules with `judge` ask, such as `https://api.example.com/v1`;
    /// `CALLGATE_JUDGE_URL` if left out. Its key is read from `CALLGATE_JUDGE_KEY`
    #[arg(long, value_name = "URL")]
    judge_url: Option<String>,
    /// Let that endpoint be `http://` on another machine, which shows it to the network
    #[arg(long)]
    judge_plain_http: bool,
}

impl JudgeArgs {
    /// The judge, if there is an endpoint. Nothing is asked yet.
    pub(crate) fn open(&self) -> Result<Option<Arc<dyn Judge>>, Failure> {
        let url = self.judge_url.clone().or_else(|| files::variable(URL)).filter(|url| !url.is_empty());
        let Some(url) = url else { return Ok(None) };
        let refused = |error: EndpointError| Failure::usage(format!("the judge cannot be asked: {error}"));
        let endpoint = Endpoint::new(&url, self.judge_plain_http).map_err(refused)?;
        let key = files::variable(KEY).filter(|key| !key.is_empty()).map(Key::new);
        let judge = HttpJudge::new(&endpoint, key.as_ref()).map_err(refused)?;
        Ok(Some(Arc::new(CachedJudge::new(judge, CacheOptions::default()))))
    }
}

/// Says loudly that rules want to ask a judge, and nobody can be asked.
pub(crate) fn warn_if_missing(gate: &Gate) {
    if let Some(model) = gate.missing_judge() {
        output::warn(&format!(
            "the policy wants to ask the judge `{model}`, and there is no endpoint: its rules give the stricter decision for every request they match; give `--judge-url` or `{URL}`"
        ));
    }
}
