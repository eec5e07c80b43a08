//! What a condition reads, found once when the bundle is loaded.

use std::collections::{BTreeMap, BTreeSet};

use callgate_core::name::{MAX_NAME, fold};
use cedar_policy_core::ast::{BinaryOp, Expr, ExprKind, Literal, PatternElem, UnaryOp, Var};
use smol_str::SmolStr;

use super::PAST;
use super::names::eid;

/// Parts of a request, as bits.
pub(crate) type Parts = u16;

pub(crate) const SESSION: Parts = 1;
pub(crate) const TAGS: Parts = 2;
pub(crate) const LABELS: Parts = 4;
pub(crate) const ENVIRONMENT: Parts = 8;
pub(crate) const COST: Parts = 16;
pub(crate) const CONFIDENCE: Parts = 32;
pub(crate) const TOPIC: Parts = 64;
pub(crate) const NOW: Parts = 128;
/// Some argument, or whether there are arguments.
pub(crate) const ARGS: Parts = 256;
/// All arguments.
pub(crate) const ALL_ARGS: Parts = 512;
/// Attributes of entities.
pub(crate) const ATTRIBUTES: Parts = 1024;
const EVERYTHING: Parts = 2047;

/// What a condition reads, which texts it compares with, and how much work it is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reads {
    pub(crate) parts: Parts,
    /// Arguments read by name.
    pub(crate) args: BTreeSet<SmolStr>,
    /// The clauses about the past.
    pub(crate) past: BTreeSet<SmolStr>,
    /// Texts and entity names, by their folds.
    pub(crate) spellings: BTreeMap<String, SmolStr>,
    /// Texts that something may be compared with.
    pub(crate) texts: BTreeSet<SmolStr>,
    /// How many nodes the condition has.
    pub(crate) nodes: u64,
    /// How often it may walk through a whole value: once for each operation on sets, and for `like`
    /// once for each element of the pattern.
    pub(crate) walks: u64,
    /// The longest pattern of a `like`.
    pub(crate) longest: usize,
}

impl Reads {
    pub(crate) fn of(condition: Option<&Expr>) -> Self {
        let mut reads = Self::default();
        if let Some(condition) = condition {
            reads.visit(condition);
        }
        reads
    }

    pub(crate) const fn has(&self, part: Parts) -> bool {
        self.parts & part != 0
    }

    pub(crate) fn reads_arg(&self, name: &str) -> bool {
        self.has(ALL_ARGS) || self.args.contains(name)
    }

    /// Notes that this name is compared with.
    pub(crate) fn spell(&mut self, text: &str) {
        if text.len() <= MAX_NAME {
            self.spellings.entry(fold(text)).or_insert_with(|| text.into());
        }
    }

    fn visit(&mut self, expr: &Expr) {
        self.nodes = self.nodes.saturating_add(1);
        match expr.expr_kind() {
            ExprKind::GetAttr { expr: of, attr } | ExprKind::HasAttr { expr: of, attr } => {
                self.attribute(of, attr);
            }
            ExprKind::Var(Var::Context) => self.parts |= EVERYTHING,
            ExprKind::Lit(Literal::String(text)) => self.text(text),
            ExprKind::Lit(Literal::EntityUID(uid)) => self.spell(eid(uid)),
            ExprKind::Like { expr: of, pattern } => {
                let plain = |elem: &PatternElem| match elem {
                    PatternElem::Char(c) => Some(*c),
                    PatternElem::Wildcard => None,
                };
                self.text(&pattern.iter().filter_map(plain).collect::<String>());
                self.longest = self.longest.max(pattern.len());
                self.walk(pattern.len());
                self.visit(of);
            }
            ExprKind::BinaryApp { op, arg1, arg2 } => {
                if matches!(op, BinaryOp::GetTag | BinaryOp::HasTag | BinaryOp::In) {
                    self.parts |= ATTRIBUTES;
                }
                self.walk(1);
                self.visit(arg1);
                self.visit(arg2);
            }
            _ => {
                self.walk(1);
                for child in children(expr) {
                    self.visit(child);
                }
            }
        }
    }

    fn walk(&mut self, count: usize) {
        self.walks = self.walks.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
    }

    fn text(&mut self, text: &str) {
        self.texts.insert(text.into());
        self.spell(text);
    }

    fn attribute(&mut self, of: &Expr, attr: &SmolStr) {
        match of.expr_kind() {
            ExprKind::Var(Var::Context) if attr.starts_with(PAST) => drop(self.past.insert(attr.clone())),
            ExprKind::Var(Var::Context) => self.parts |= part(attr),
            ExprKind::GetAttr { expr: base, attr: args }
                if args == "args" && matches!(base.expr_kind(), ExprKind::Var(Var::Context)) =>
            {
                self.parts |= ARGS;
                self.args.insert(attr.clone());
            }
            _ => {
                self.parts |= ATTRIBUTES;
                self.visit(of);
            }
        }
    }
}

/// The part of the context that an attribute is.
fn part(attribute: &str) -> Parts {
    match attribute {
        "session" => SESSION,
        "risk_tags" => TAGS,
        "labels" => LABELS,
        "environment" => ENVIRONMENT,
        "cost" => COST,
        "confidence" => CONFIDENCE,
        "topic" => TOPIC,
        "now" => NOW,
        "args" => ARGS | ALL_ARGS,
        _ => EVERYTHING,
    }
}

/// The parts of an expression.
pub(crate) fn children(expr: &Expr) -> Vec<&Expr> {
    match expr.expr_kind() {
        ExprKind::If { test_expr, then_expr, else_expr } => vec![&**test_expr, &**then_expr, &**else_expr],
        ExprKind::And { left, right } | ExprKind::Or { left, right } => vec![&**left, &**right],
        ExprKind::UnaryApp { arg, .. } => vec![&**arg],
        ExprKind::BinaryApp { arg1, arg2, .. } => vec![&**arg1, &**arg2],
        ExprKind::ExtensionFunctionApp { args, .. } => args.iter().collect(),
        ExprKind::GetAttr { expr, .. }
        | ExprKind::HasAttr { expr, .. }
        | ExprKind::Like { expr, .. }
        | ExprKind::Is { expr, .. } => vec![&**expr],
        ExprKind::Set(items) => items.iter().collect(),
        ExprKind::Record(fields) => fields.values().collect(),
        _ => Vec::new(),
    }
}

/// How deep an expression nests, as far as `most`, without recursion.
pub(crate) fn is_deeper(expr: &Expr, most: usize) -> bool {
    let mut open = vec![(expr, 1usize)];
    while let Some((expr, depth)) = open.pop() {
        if depth > most {
            return true;
        }
        open.extend(children(expr).into_iter().map(|child| (child, depth.saturating_add(1))));
    }
    false
}

/// A test at the head of a condition that needs no evaluator and cannot fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Guard {
    /// `context.environment == "…"`.
    Environment(SmolStr),
    /// `context.risk_tags.contains("…")`.
    Tag(SmolStr),
}

/// The guards a condition begins with: when one of them is false, so is the condition, and nothing
/// before it could have failed.
pub(crate) fn guards(condition: &Expr) -> Vec<Guard> {
    let mut conjuncts = vec![];
    let mut open = vec![condition];
    while let Some(expr) = open.pop() {
        match expr.expr_kind() {
            ExprKind::And { left, right } => open.extend([&**right, &**left]),
            _ => conjuncts.push(expr),
        }
    }
    conjuncts.into_iter().map_while(guard).collect()
}

fn guard(expr: &Expr) -> Option<Guard> {
    let ExprKind::BinaryApp { op, arg1, arg2 } = expr.expr_kind() else { return None };
    let text = |expr: &Expr| match expr.expr_kind() {
        ExprKind::Lit(Literal::String(text)) => Some(text.clone()),
        _ => None,
    };
    match op {
        BinaryOp::Eq if is_context(arg1, "environment") => text(arg2).map(Guard::Environment),
        BinaryOp::Eq if is_context(arg2, "environment") => text(arg1).map(Guard::Environment),
        BinaryOp::Contains if is_context(arg1, "risk_tags") => text(arg2).map(Guard::Tag),
        _ => None,
    }
}

fn is_context(expr: &Expr, attribute: &str) -> bool {
    match expr.expr_kind() {
        ExprKind::GetAttr { expr, attr } => {
            attr == attribute && matches!(expr.expr_kind(), ExprKind::Var(Var::Context))
        }
        _ => false,
    }
}

/// The same expression without the places it stands at, which the evaluator would copy at every step.
pub(crate) fn bare(expr: &Expr) -> Expr {
    rebuilt(expr, &|_| None)
}

/// The same expression without places, where `swap` may give another part for one.
pub(crate) fn rebuilt(expr: &Expr, swap: &dyn Fn(&Expr) -> Option<Expr>) -> Expr {
    if let Some(other) = swap(expr) {
        return other;
    }
    let own = |expr: &Expr| rebuilt(expr, swap);
    match expr.expr_kind() {
        ExprKind::If { test_expr, then_expr, else_expr } => {
            Expr::ite(own(test_expr), own(then_expr), own(else_expr))
        }
        ExprKind::And { left, right } => Expr::and(own(left), own(right)),
        ExprKind::Or { left, right } => Expr::or(own(left), own(right)),
        ExprKind::UnaryApp { op: UnaryOp::Not, arg } => Expr::not(own(arg)),
        ExprKind::UnaryApp { op, arg } => Expr::unary_app(*op, own(arg)),
        ExprKind::BinaryApp { op, arg1, arg2 } => Expr::binary_app(*op, own(arg1), own(arg2)),
        ExprKind::ExtensionFunctionApp { fn_name, args } => {
            Expr::call_extension_fn(fn_name.clone(), args.iter().map(own).collect())
        }
        ExprKind::GetAttr { expr, attr } => Expr::get_attr(own(expr), attr.clone()),
        ExprKind::HasAttr { expr, attr } => Expr::has_attr(own(expr), attr.clone()),
        ExprKind::Like { expr, pattern } => Expr::like(own(expr), pattern.clone()),
        ExprKind::Is { expr, entity_type } => Expr::is_entity_type(own(expr), entity_type.clone()),
        ExprKind::Set(items) => Expr::set(items.iter().map(own)),
        ExprKind::Record(fields) => {
            let fields = fields.iter().map(|(name, value)| (name.clone(), own(value)));
            Expr::record(fields).unwrap_or_else(|_| expr.clone())
        }
        _ => expr.clone().with_maybe_source_loc(None),
    }
}
