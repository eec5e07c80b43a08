//! `callgate.yaml` to defaults.

use callgate_core::snapshot::Defaults;

use crate::language::settings::SettingsFile;

/// What holds where no rule says otherwise.
pub(super) fn lower(settings: Option<&SettingsFile>) -> Defaults {
    let mut defaults = Defaults::default();
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
