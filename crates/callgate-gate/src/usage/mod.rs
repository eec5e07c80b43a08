//! What is used of limits, and what is left: every meter by name, or those that bound somebody.

mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use callgate_core::decision::Mode;
use callgate_core::limit::{Amount, Dimension, Does, Gauge, Limit, Meter, Trip, Whom};
use callgate_core::name::{Name, fold};
use callgate_core::request::DEFAULT_TENANT;
use callgate_core::snapshot::Snapshot;
use callgate_core::state::meters::Meters;
use callgate_core::state::{Holder, State};
use serde::Deserialize;

use crate::Credential;
use crate::breakers::{MAX_LISTED, is_of};
use crate::error::ControlError;
use crate::gate::Gate;
use crate::stops::home;

pub use view::{Bounds, LimitView, MeterView, Standing, Unseen};

/// How many meters of one limit are looked through for those of somebody.
const MAX_LOOKED: usize = 10_000;

/// Which meters to list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitFilter {
    /// Only those whose name begins so.
    #[serde(default)]
    pub prefix: Option<String>,
    /// Only those after this name.
    #[serde(default)]
    pub after: Option<String>,
    /// At most so many; 1,000 if absent.
    #[serde(default)]
    pub limit: Option<usize>,
}

/// Whom limits are looked at for: what is left out of it is not known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bounded {
    /// The tenant; that of the agent's keys if absent, else `default`.
    pub tenant: Option<String>,
    /// The team; that of the agent's keys if absent.
    pub team: Option<String>,
    /// The agent.
    pub agent: Option<String>,
    /// On whose behalf.
    pub user: Option<String>,
    /// The session.
    pub session: Option<String>,
    /// The tool: `server.name`.
    pub tool: Option<String>,
}

/// The most that one of its meters holds before something happens; a share is none.
fn most(limit: &Limit) -> Option<Amount> {
    match &limit.does {
        Does::Breaker(breaker) => (!matches!(breaker.trip, Trip::Failed { .. })).then_some(breaker.at),
        _ => limit.most(),
    }
}

/// The limit that a meter belongs to.
struct Owner<'a> {
    standing: Standing,
    limit: Arc<Limit>,
    snapshot: &'a Snapshot,
}

/// The limits that meters belong to, by what their names begin with.
struct Owners<'a> {
    by_stem: BTreeMap<String, Owner<'a>>,
}

impl<'a> Owners<'a> {
    fn new(live: &'a Snapshot, tried: Option<&'a Snapshot>) -> Self {
        let of = |standing, snapshot: &'a Snapshot| {
            snapshot
                .limits()
                .into_iter()
                .map(move |limit| (limit.stem(), Owner { standing, limit, snapshot }))
        };
        // What both have is held against the snapshot in force.
        let tried = tried.into_iter().flat_map(|tried| of(Standing::Tried, tried));
        Self { by_stem: tried.chain(of(Standing::InForce, live)).collect() }
    }

    /// The limit that a meter belongs to, if any, and whom the meter counts.
    fn owner<'n>(&self, name: &'n str, gauge: Gauge) -> (Option<&Owner<'a>>, &'n str) {
        for (at, _) in name.match_indices(':') {
            let (Some(stem), Some(key)) = (name.get(..at), name.get(at.saturating_add(1)..)) else {
                continue;
            };
            if let Some(owner) = self.by_stem.get(stem).filter(|owner| owner.limit.gauge() == gauge) {
                return (Some(owner), key);
            }
        }
        let behind = name.split_once('@').map_or(name, |(_, rest)| rest);
        (None, behind.split_once(':').map_or("", |(_, key)| key))
    }
}

/// One meter of a limit, or of none any more.
fn view(
    name: String,
    key: &str,
    (meter, counted): (&Meter, bool),
    owner: Option<&Owner<'_>>,
    open: bool,
    now_ms: i64,
) -> MeterView {
    let (gauge, used) = (meter.gauge(), meter.used(now_ms));
    let limit = owner.map(|owner| &owner.limit);
    let bound = limit.and_then(|limit| most(limit));
    let wait = |most: Amount| {
        let at = meter.fits_at(now_ms, Amount::ONE, most)?;
        u64::try_from(at.saturating_sub(now_ms)).ok()
    };
    let throttles = limit.is_some_and(|limit| matches!(limit.does, Does::Throttle(_)));
    MeterView {
        name,
        counts: key.to_owned(),
        used: used.to_string(),
        left: bound.map(|most| most.minus(used).to_string()),
        first: false,
        open,
        retry_after_ms: bound.filter(|_| throttles).and_then(wait),
        resets_at_ms: match gauge {
            Gauge::Sum { over } => over.resets_ms(now_ms),
            _ => None,
        },
        outcomes: matches!(gauge, Gauge::Failures { .. }).then(|| meter.failures(now_ms).0.to_string()),
        gauge,
        ends_ms: counted.then(|| meter.ends_ms()),
        standing: owner.map_or(Standing::Gone, |owner| owner.standing),
        limit: owner.map(|owner| LimitView::of(&owner.limit, owner.snapshot)),
    }
}

/// What the keys of an agent say: its tenant and team, where all of them say the same.
fn registered(state: &State, agent: &str, tenant: Option<&str>) -> (Option<String>, Option<String>) {
    let (agent, tenant) = (fold(agent), tenant.map(fold));
    let (mut tenants, mut teams) = (BTreeSet::new(), BTreeSet::new());
    for key in state.keys().values() {
        if let Holder::Agent { agent: held, team, tenant: home, .. } = &key.holder
            && fold(held) == agent
            && tenant.as_ref().is_none_or(|tenant| fold(home) == *tenant)
        {
            tenants.insert(home.clone());
            teams.insert(team.clone().unwrap_or_default());
        }
    }
    let only = |mut all: BTreeSet<String>| if all.len() == 1 { all.pop_first() } else { None };
    (only(tenants), only(teams))
}

/// Whom that is, as far as it is known.
fn whom(asked: &Bounded, state: &State, home: Option<&str>) -> Whom {
    let tenant = asked.tenant.as_deref().or(home);
    let (key_tenant, key_team) = match &asked.agent {
        Some(agent) => registered(state, agent, tenant),
        None => (None, None),
    };
    let tenant = tenant.map(str::to_owned).or(key_tenant).unwrap_or_else(|| DEFAULT_TENANT.to_owned());
    let names = [
        (Dimension::Tenant, Some(tenant)),
        (Dimension::Team, asked.team.clone().or(key_team)),
        (Dimension::Agent, asked.agent.clone()),
        (Dimension::User, asked.user.clone()),
        (Dimension::Session, asked.session.clone()),
        (Dimension::Tool, asked.tool.clone()),
    ];
    let known = names.into_iter().filter_map(|(dimension, name)| Some((dimension, name?)));
    known.fold(Whom::default(), |whom, (dimension, name)| whom.named(dimension, &name))
}

/// What one limit holds against somebody.
struct Look<'a> {
    meters: &'a Meters,
    whom: &'a Whom,
    home: Option<&'a str>,
    now_ms: i64,
}

impl Look<'_> {
    /// Its meters, and why there may be more.
    fn at(&self, limit: &Arc<Limit>, snapshot: &Snapshot) -> (Vec<MeterView>, Option<String>) {
        let owner = Owner { standing: Standing::InForce, limit: Arc::clone(limit), snapshot };
        let (stem, key) = (limit.stem(), self.whom.prefix(&limit.per));
        let unknown: Vec<Dimension> =
            limit.per.iter().copied().filter(|dimension| !self.whom.knows(*dimension)).collect();
        if self.home.is_some()
            && !limit.per.iter().any(|it| matches!(it, Dimension::Tenant | Dimension::Session))
        {
            return (Vec::new(), Some("it counts what several tenants do together".to_owned()));
        }
        let open = |name: &str| self.meters.breaker(name).is_some();
        let from = format!("{stem}:{key}");
        if unknown.is_empty() {
            if !is_of(&key, self.home) {
                return (Vec::new(), None);
            }
            let empty = Meter::new(limit.gauge());
            let found = self.meters.get(&from).filter(|meter| meter.gauge() == limit.gauge());
            let meter = (found.unwrap_or(&empty), found.is_some());
            let open = open(&from);
            return (vec![view(from, &key, meter, Some(&owner), open, self.now_ms)], None);
        }
        let words: Vec<String> = unknown.iter().map(|dimension| format!("`{dimension}`")).collect();
        let words = words.join(" and ");
        if unknown.len() == limit.per.len() && !self.narrows(&limit.per) {
            return (Vec::new(), Some(format!("it counts by {words}: give it, too")));
        }
        let head = stem.len().saturating_add(1);
        let mut looked = 0usize;
        let mut found = Vec::new();
        for (name, meter) in self.meters.list(&from).take_while(|(name, _)| name.starts_with(&from)) {
            looked = looked.saturating_add(1);
            if looked > MAX_LOOKED {
                return (found, Some(format!("it has too many meters to look through: give {words}, too")));
            }
            let key = name.get(head..).unwrap_or_default();
            if self.whom.fits(key) && is_of(key, self.home) {
                found.push(view(name.to_owned(), key, (meter, true), Some(&owner), open(name), self.now_ms));
            }
        }
        (found, Some(format!("it counts by {words}, too: another one may use all of it")))
    }

    /// Whether what is known of a session says anything.
    fn narrows(&self, per: &[Dimension]) -> bool {
        per.contains(&Dimension::Session) && self.whom.knows(Dimension::Agent)
    }
}

/// Budgets by unit, the least left first; then throttles and breakers.
fn order(all: &mut [(Option<Amount>, MeterView)]) {
    let rank = |view: &MeterView| match view.limit.as_ref().map(|limit| limit.kind) {
        Some("budget") => 0,
        Some("throttle") => 1,
        _ => 2,
    };
    all.sort_by(|(left, a), (right, b)| {
        let unit = |view: &MeterView| view.limit.as_ref().and_then(|limit| limit.unit.as_deref().map(fold));
        let (a_key, b_key) = ((rank(a), unit(a), left), (rank(b), unit(b), right));
        a_key.cmp(&b_key).then_with(|| a.name.cmp(&b.name))
    });
}

/// Marks the first enforced budget of each unit; `whole` says which meters count nobody else's part of them.
fn mark_first(all: &mut [MeterView], whole: &Whom) {
    let mut units = BTreeSet::new();
    for view in all {
        let Some(limit) = view.limit.as_ref().filter(|it| it.kind == "budget" && it.mode == Mode::Enforce)
        else {
            continue;
        };
        if limit.per.iter().all(|dimension| whole.knows(*dimension)) {
            view.first = units.insert(limit.unit.as_deref().map(fold));
        }
    }
}

impl Gate {
    /// The levels of meters, by name.
    #[must_use]
    pub fn meters(&self, filter: &LimitFilter, who: &Credential) -> Vec<MeterView> {
        let now_ms = self.now_ms();
        let active = self.active.load_full();
        let owners =
            Owners::new(&active.live.snapshot, active.candidate.as_ref().map(|(tried, _)| &*tried.snapshot));
        let most = filter.limit.unwrap_or(MAX_LISTED).min(MAX_LISTED);
        let (prefix, after) =
            (filter.prefix.as_deref().unwrap_or_default(), filter.after.as_deref().unwrap_or_default());
        self.store.state(|state| {
            let all = state.0.meters();
            let shown = |(name, meter): (&str, &Meter)| {
                let (owner, key) = owners.owner(name, meter.gauge());
                let open = all.breaker(name).is_some();
                let shows = name != after && is_of(key, home(who));
                shows.then(|| view(name.to_owned(), key, (meter, true), owner, open, now_ms))
            };
            let begins = all.list(prefix.max(after)).take_while(|(name, _)| name.starts_with(prefix));
            begins.filter_map(shown).take(most).collect()
        })
    }

    /// The limits in force that bound somebody, with what is left of each.
    ///
    /// # Errors
    /// [`ControlError::Invalid`]: a name that no request can have, or a tenant that this person does not look after.
    pub fn bounds(&self, asked: &Bounded, who: &Credential) -> Result<Bounds, ControlError> {
        let Bounded { tenant, team, agent, user, session, tool } = asked;
        let names = [
            ("tenant", tenant),
            ("team", team),
            ("agent", agent),
            ("user", user),
            ("session", session),
            ("tool", tool),
        ];
        for (field, name) in names {
            let checked = name.as_deref().map_or(Ok(()), Name::check);
            checked.map_err(|e| ControlError::Invalid(format!("`{field}`: {e}")))?;
        }
        let home = home(who);
        if let (Some(home), Some(tenant)) = (home, tenant)
            && fold(home) != fold(tenant)
        {
            let text = format!("this person looks after the tenant `{home}` only; leave `tenant` out");
            return Err(ControlError::Invalid(text));
        }
        let now_ms = self.now_ms();
        let active = self.active.load_full();
        let snapshot = &active.live.snapshot;
        Ok(self.store.state(|state| {
            let whom = whom(asked, &state.0, home);
            let look = Look { meters: state.0.meters(), whom: &whom, home, now_ms };
            let (mut meters, mut unseen) = (Vec::new(), Vec::new());
            for limit in snapshot.limits() {
                let (found, why) = look.at(&limit, snapshot);
                let left = |view: MeterView| (view.left.as_ref().and_then(|left| left.parse().ok()), view);
                meters.extend(found.into_iter().map(left));
                unseen.extend(why.map(|why| Unseen { why, limit: LimitView::of(&limit, snapshot) }));
            }
            order(&mut meters);
            let mut meters: Vec<MeterView> =
                meters.into_iter().map(|(_, view)| view).take(MAX_LISTED).collect();
            mark_first(&mut meters, &whom);
            unseen.sort_by(|a, b| a.limit.id.cmp(&b.limit.id));
            Bounds { meters, unseen }
        }))
    }
}
