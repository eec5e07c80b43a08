//! `callgate.yaml` to defaults.

use callgate_core::finding::JudgeSettings;
use callgate_core::snapshot::Defaults;

use crate::language::judge::JudgeSettingsText;
use crate::language::settings::SettingsFile;

/// How long a judge is waited for, in milliseconds.
const TIMEOUT_MS: u64 = 800;
/// The longest answer of a judge, in tokens.
const MAX_TOKENS: u32 = 128;

/// What holds where no rule says otherwise.
pub(super) fn lower(settings: Option<&SettingsFile>) -> Defaults {
    let judge = settings.and_then(|settings| judge(&settings.judge.as_ref()?.value));
    let mut defaults = Defaults { judge, ..Defaults::default() };
    let Some(text) = settings.and_then(|settings| settings.defaults.as_ref()).map(|text| &text.value) else {
        return defaults;
    };
    let times = [
        (&text.freshness, &mut defaults.freshness_ms),
        (&text.approval_expires, &mut defaults.approval_expires_ms),
        (&text.permit_ttl, &mut defaults.permit_ttl_ms),
        (&text.retry_after, &mut defaults.retry_after_ms),
    ];
    for (written, default) in times {
        if let Some(written) = written {
            *default = written.value;
        }
    }
    if let Some(constraints) = &text.constraints {
        defaults.constraints = constraints.value.clone();
    }
    defaults.require_nonce = text.require_nonce.as_ref().is_some_and(|flag| flag.value);
    defaults
}

/// The judge; `None` only after a report.
fn judge(text: &JudgeSettingsText) -> Option<JudgeSettings> {
    Some(JudgeSettings {
        model: text.model.as_ref()?.value.as_str().into(),
        timeout_ms: text.timeout.as_ref().map_or(TIMEOUT_MS, |timeout| timeout.value),
        max_tokens: text
            .max_tokens
            .as_ref()
            .and_then(|it| u32::try_from(it.value).ok())
            .unwrap_or(MAX_TOKENS),
    })
}
