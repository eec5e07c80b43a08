//! Linking: which package builds on which, which of them decide, and whether every rule comes to an
//! end. A rule may build on others, but not on itself, and not through too many steps, since each
//! step takes stack.

use std::collections::{BTreeMap, BTreeSet};

use crate::codes::Code;
use crate::diagnostic::Problems;
use crate::language::rego::HeaderText;
use crate::rego::Entry;
use crate::rego::builtins;
use crate::rego::survey::{Mention, Survey, Surveyed};
use crate::syntax::{Node, SourceFile, Span};

/// How many rules may build on each other in one line.
const MAX_CHAIN: usize = 32;

/// One file.
pub(super) struct Unit<'a> {
    pub(super) file: &'a SourceFile<'a>,
    pub(super) survey: Survey,
    pub(super) header: Option<HeaderText>,
    /// The header as written.
    pub(super) meaning: Option<Node>,
}

/// All packages, and what they build on.
#[derive(Default)]
pub(super) struct Linked {
    pub(super) packages: Vec<Linkage>,
    /// The packages that decide, and by which rule.
    pub(super) entries: Vec<(usize, Entry)>,
}

/// One package.
#[derive(Default)]
pub(super) struct Linkage {
    /// Its files.
    pub(super) units: Vec<usize>,
    /// The packages it builds on.
    uses: BTreeSet<usize>,
}

impl Linked {
    /// The files that `package` needs, its own too.
    pub(super) fn closure(&self, package: usize) -> BTreeSet<usize> {
        self.reachable(package)
            .into_iter()
            .filter_map(|at| self.packages.get(at))
            .flat_map(|it| &it.units)
            .copied()
            .collect()
    }

    fn reachable(&self, package: usize) -> BTreeSet<usize> {
        let (mut seen, mut open) = (BTreeSet::from([package]), vec![package]);
        while let Some(at) = open.pop() {
            for next in self.packages.get(at).into_iter().flat_map(|it| &it.uses) {
                if seen.insert(*next) {
                    open.push(*next);
                }
            }
        }
        seen
    }
}

/// Rules by package and name.
struct Names<'u> {
    /// Numbers of packages, by path.
    packages: BTreeMap<&'u [String], usize>,
    /// Numbers of rules, by package and name.
    rules: BTreeMap<(usize, &'u str), usize>,
    /// Where a rule stands: its unit and its first head.
    places: Vec<(usize, Span)>,
}

impl<'u> Names<'u> {
    fn of(units: &'u [Unit<'_>]) -> Self {
        let mut names = Self { packages: BTreeMap::new(), rules: BTreeMap::new(), places: Vec::new() };
        for (at, unit) in units.iter().enumerate() {
            let count = names.packages.len();
            let package = *names.packages.entry(&unit.survey.package).or_insert(count);
            for rule in &unit.survey.rules {
                let places = &mut names.places;
                names.rules.entry((package, rule.name.as_str())).or_insert_with(|| {
                    places.push((at, rule.span));
                    places.len().saturating_sub(1)
                });
            }
        }
        names
    }

    fn all_of(&self, package: usize) -> impl Iterator<Item = usize> {
        self.rules.range((package, "")..(package.saturating_add(1), "")).map(|(_, rule)| *rule)
    }

    /// The packages and rules that a path below `data` may lead to.
    fn targets(&self, path: &[String], packages: &mut BTreeSet<usize>, rules: &mut BTreeSet<usize>) {
        for length in 1..=path.len() {
            let Some((head, rest)) = path.split_at_checked(length) else { break };
            let Some(package) = self.packages.get(head) else { continue };
            packages.insert(*package);
            match rest.first() {
                Some(name) => rules.extend(self.rules.get(&(*package, name.as_str()))),
                None => rules.extend(self.all_of(*package)),
            }
        }
        let below = self.packages.range(path..).take_while(|(below, _)| below.starts_with(path));
        for (_, package) in below {
            packages.insert(*package);
            rules.extend(self.all_of(*package));
        }
    }
}

/// Links the units; reports what cannot stand.
pub(super) fn link(units: &[Unit<'_>], problems: &mut Problems) -> Linked {
    let names = Names::of(units);
    let mut linked = connect(units, &names, problems);
    linked.entries = entries(units, &names, problems);
    silent(&linked, units, problems);
    linked
}

/// Links units of which none decides, and finds the package of that path.
pub(super) fn link_bare(
    units: &[Unit<'_>],
    package: &[String],
    problems: &mut Problems,
) -> (Linked, Option<usize>) {
    let names = Names::of(units);
    (connect(units, &names, problems), names.packages.get(package).copied())
}

/// Finds which package builds on which; reports what may not be called, and what has no end.
fn connect(units: &[Unit<'_>], names: &Names<'_>, problems: &mut Problems) -> Linked {
    let mut linked = Linked::default();
    linked.packages.resize_with(names.packages.len(), Linkage::default);
    let mut edges = vec![BTreeSet::new(); names.places.len()];
    for (at, unit) in units.iter().enumerate() {
        let Some(package) = names.packages.get(unit.survey.package.as_slice()).copied() else { continue };
        let mut uses = BTreeSet::new();
        for rule in &unit.survey.rules {
            let Some(number) = names.rules.get(&(package, rule.name.as_str())) else { continue };
            let mut targets = BTreeSet::new();
            for mention in &rule.mentions {
                follow(mention, package, unit, names, (&mut uses, &mut targets), problems);
            }
            if let Some(edges) = edges.get_mut(*number) {
                edges.extend(targets);
            }
        }
        if let Some(linkage) = linked.packages.get_mut(package) {
            linkage.units.push(at);
            linkage.uses.extend(uses);
        }
    }
    unending(&edges, names, units, problems);
    linked
}

/// Finds what a mention leads to; reports functions that nobody may call.
fn follow(
    mention: &Mention,
    package: usize,
    unit: &Unit<'_>,
    names: &Names<'_>,
    (packages, rules): (&mut BTreeSet<usize>, &mut BTreeSet<usize>),
    problems: &mut Problems,
) {
    let Some((first, rest)) = mention.path.split_first() else { return };
    if first == "input"
        || first == "rego" && rest.first().is_some_and(|word| word == "metadata") && mention.call.is_none()
    {
        return;
    }
    if first == "data" {
        names.targets(rest, packages, rules);
    } else if let Some(rule) = names.rules.get(&(package, first.as_str())) {
        rules.insert(*rule);
    } else if let Some(arguments) = &mention.call {
        let name = mention.path.join(".");
        let shown: String = name.escape_debug().take(64).collect();
        if !builtins::is_claimed(&name) {
            problems
                .add(
                    Code::RegoBuiltin,
                    unit.file,
                    mention.span,
                    format!("`{shown}` is not a function a decision may use"),
                )
                .help(builtins::instead(&name));
        } else if builtins::is_void(&name, arguments) {
            problems
                .add(Code::RegoBuiltin, unit.file, mention.span, format!("`{shown}` has no value here"))
                .help("write `walk(what, [path, value])`");
        } else if let Some(what) = builtins::not_written_out(&name, arguments) {
            problems
                .add(Code::RegoWrittenOut, unit.file, mention.span, format!("{what} of `{shown}` is not written out"))
                .help("write the text itself as the argument; otherwise a request could make it as long as it likes");
        }
    }
}

/// Reports rules that build on themselves, and chains that are too long.
fn unending(edges: &[BTreeSet<usize>], names: &Names<'_>, units: &[Unit<'_>], problems: &mut Problems) {
    let mut callers: Vec<Vec<usize>> = vec![Vec::new(); edges.len()];
    for (from, targets) in edges.iter().enumerate() {
        for to in targets {
            if let Some(callers) = callers.get_mut(*to) {
                callers.push(from);
            }
        }
    }
    let mut left: Vec<usize> = edges.iter().map(BTreeSet::len).collect();
    let mut depth = vec![1usize; edges.len()];
    let mut ready: Vec<usize> =
        left.iter().enumerate().filter(|(_, left)| **left == 0).map(|(rule, _)| rule).collect();
    while let Some(rule) = ready.pop() {
        let below = depth.get(rule).copied().unwrap_or(0).saturating_add(1);
        for caller in callers.get(rule).into_iter().flatten() {
            if let (Some(left), Some(depth)) = (left.get_mut(*caller), depth.get_mut(*caller)) {
                *depth = below.max(*depth);
                *left = left.saturating_sub(1);
                if *left == 0 {
                    ready.push(*caller);
                }
            }
        }
    }
    let mut report = |rule: usize, message: String, help: &str| {
        if let Some((at, span)) = names.places.get(rule)
            && let Some(unit) = units.get(*at)
        {
            problems.add(Code::RegoRecursion, unit.file, *span, message).help(help);
        }
    };
    if let Some(rule) = left.iter().position(|left| *left > 0) {
        let message = "the rule builds on itself, or on one that does".to_owned();
        report(
            rule,
            message,
            "name local variables differently from rules, and write loops with `some … in`",
        );
    } else if let Some(rule) = depth.iter().position(|depth| *depth == MAX_CHAIN.saturating_add(1)) {
        let message = format!("more than {MAX_CHAIN} rules build on each other in one line");
        report(rule, message, "fold some of them into one");
    }
}

/// The packages that have `decision` or `deny`.
fn entries(units: &[Unit<'_>], names: &Names<'_>, problems: &mut Problems) -> Vec<(usize, Entry)> {
    let mut found: BTreeMap<usize, Entry> = BTreeMap::new();
    for unit in units {
        let Some(package) = names.packages.get(unit.survey.package.as_slice()) else { continue };
        for rule in unit.survey.rules.iter().filter(|rule| rule.plain && !rule.is_function) {
            let Some(entry) = entry(rule) else { continue };
            if *found.entry(*package).or_insert(entry) != entry {
                problems
                    .add(Code::RegoSilent, unit.file, rule.span, "the package has both `decision` and `deny`")
                    .help("say everything with `decision`, or move one into a package of its own");
            }
        }
    }
    found.into_iter().collect()
}

fn entry(rule: &Surveyed) -> Option<Entry> {
    [Entry::Decision, Entry::Deny].into_iter().find(|entry| entry.as_str() == rule.name)
}

/// Reports packages that neither decide nor serve one that does.
fn silent(linked: &Linked, units: &[Unit<'_>], problems: &mut Problems) {
    let mut used: BTreeSet<usize> = BTreeSet::new();
    for (package, _) in &linked.entries {
        if !used.contains(package) {
            used.extend(linked.reachable(*package));
        }
    }
    let decides = |at: usize| linked.entries.binary_search_by_key(&at, |(entry, _)| *entry).is_ok();
    for (at, package) in linked.packages.iter().enumerate() {
        for unit in package.units.iter().filter_map(|at| units.get(*at)) {
            let Survey { span, .. } = unit.survey;
            if !used.contains(&at) {
                problems.add(Code::RegoSilent, unit.file, span, "no decision comes from this package").help(
                    "write `decision := …` or `deny contains message if { … }`; Callgate reads no other rule",
                );
            } else if unit.header.is_some() && !decides(at) {
                problems
                    .add(
                        Code::RegoHeader,
                        unit.file,
                        span,
                        "the package decides nothing, so nothing is routed to it",
                    )
                    .help("move the header to the package that has `decision` or `deny`");
            }
        }
    }
}
