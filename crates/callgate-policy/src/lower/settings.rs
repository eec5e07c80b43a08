//! `callgate.yaml` to defaults.

use callgate_core::decision::Mode;
use callgate_core::fail::{FailOpen, Tier, Tiers};
use callgate_core::finding::JudgeSettings;
use callgate_core::pattern::Pattern;
use callgate_core::snapshot::{Defaults, Rollout};

use crate::decode::Spanned;
use crate::language::judge::JudgeSettingsText;
use crate::language::settings::{FailOpenText, RolloutText, SettingsFile, TiersText};

/// How long a judge is waited for, in milliseconds.
const TIMEOUT_MS: u64 = 800;
/// The longest answer of a judge, in tokens.
const MAX_TOKENS: u32 = 128;

/// The window of what may run unchecked, in milliseconds.
const FAIL_WINDOW_MS: u64 = 5 * 60 * 1000;
/// How long an enforcement point may rely on the terms, in milliseconds.
const LEASE_MS: u64 = 24 * 60 * 60 * 1000;
/// How long it waits for the gate, in milliseconds.
const DEADLINE_MS: u64 = 2000;

/// What holds where no rule says otherwise.
pub(super) fn lower(settings: Option<&SettingsFile>) -> Defaults {
    let Some(settings) = settings else { return Defaults::default() };
    let agents = settings.monitor.iter().filter_map(|monitor| monitor.value.agents.as_ref());
    let mut defaults = Defaults {
        judge: settings.judge.as_ref().and_then(|text| judge(&text.value)),
        mode: settings.mode.as_ref().map_or(Mode::Enforce, |mode| mode.value),
        monitored: agents.flat_map(|agents| &agents.value).map(|agent| agent.value.clone()).collect(),
        rollout: settings.rollout.as_ref().map_or_else(Rollout::default, |text| rollout(&text.value)),
        tiers: settings.tiers.as_ref().map_or_else(Tiers::default, |text| tiers(&text.value)),
        fail_open: settings.fail_open.as_ref().and_then(|text| fail_open(&text.value)),
        ..Defaults::default()
    };
    let Some(Spanned { value: text, .. }) = &settings.defaults else { return defaults };
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

/// The limits of a rollout, the usual ones where none are written.
fn rollout(text: &RolloutText) -> Rollout {
    let usual = Rollout::default();
    let flips = text.max_flips.as_ref().map(|flips| &flips.value);
    let share = |written: Option<&Spanned<u32>>, usual: u32| written.map_or(usual, |share| share.value);
    let decisions = text.min_decisions.as_ref().and_then(|it| u64::try_from(it.value).ok());
    let second = text.r#override.as_ref().and_then(|it| it.value.second_person.as_ref());
    Rollout {
        max_loosen_bp: share(flips.and_then(|it| it.loosen.as_ref()), usual.max_loosen_bp),
        max_tighten_bp: share(flips.and_then(|it| it.tighten.as_ref()), usual.max_tighten_bp),
        second_person: second.map_or(usual.second_person, |flag| flag.value),
        max_drift_bp: share(text.max_drift.as_ref(), usual.max_drift_bp),
        min_decisions: decisions.unwrap_or(usual.min_decisions),
    }
}

fn tiers(text: &TiersText) -> Tiers {
    let named = [
        (Tier::Critical, &text.critical),
        (Tier::High, &text.high),
        (Tier::Medium, &text.medium),
        (Tier::Low, &text.low),
    ];
    let of = |(tier, patterns): (Tier, &Option<Spanned<Vec<Spanned<Pattern>>>>)| {
        let patterns = patterns.iter().flat_map(|patterns| &patterns.value);
        patterns.map(|pattern| (tier, pattern.value.clone())).collect::<Vec<_>>()
    };
    Tiers::new(named.into_iter().flat_map(of))
}

/// What may run unchecked; `None` only after a report.
fn fail_open(text: &FailOpenText) -> Option<FailOpen> {
    let time = |written: &Option<Spanned<u64>>, usual: u64| written.as_ref().map_or(usual, |it| it.value);
    Some(FailOpen {
        tiers: text.tiers.as_ref()?.value.iter().map(|tier| tier.value).collect(),
        max_actions: u64::try_from(text.max_actions.as_ref()?.value).ok()?,
        window_ms: time(&text.window, FAIL_WINDOW_MS),
        tools: text.tools.as_ref().map(|it| it.value.iter().map(|tool| tool.value.clone()).collect()),
        lease_ms: time(&text.lease, LEASE_MS),
        deadline_ms: time(&text.deadline, DEADLINE_MS),
    })
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
