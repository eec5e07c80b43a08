//! What a module is made of, read off its syntax tree: its package, its rules, and what each rule
//! mentions. Nothing is evaluated; what cannot be told apart counts as mentioned.

use regorus::unstable::{
    Expr, Literal, LiteralStmt, Module, Parser, Query, Ref, Rule, RuleAssign, RuleBody, RuleHead, Source,
    Span as RegoSpan,
};

use crate::syntax::Span;

/// The most statements of one body: each may be a loop inside the one before it.
const MAX_STATEMENTS: usize = 100;
/// How deep an expression may be: `a + b + c` is two deep. Each level takes stack when it is evaluated.
const MAX_DEPTH: usize = 100;

/// A module and what it mentions.
#[derive(Debug)]
pub(crate) struct Survey {
    /// The segments of its package, without `data`.
    pub(crate) package: Vec<String>,
    /// Where the package clause stands.
    pub(crate) span: Span,
    pub(crate) rules: Vec<Surveyed>,
    /// Whether only the interpreter answers it rightly. In bytecode, an error inside a rule leaves
    /// that rule undefined instead of failing, so whatever may fail is left to the interpreter; so is
    /// what was seen to give other answers.
    pub(crate) needs_tree: bool,
    /// The first body or expression that is too long.
    pub(crate) too_long: Option<Span>,
}

/// One rule.
#[derive(Debug)]
pub(crate) struct Surveyed {
    /// The first segment of its head.
    pub(crate) name: String,
    /// Whether its head is that segment alone.
    pub(crate) plain: bool,
    pub(crate) is_function: bool,
    /// Whether it may give another value than `true`, or than an element of a set.
    has_value: bool,
    /// Whether it is `default`, which contradicts nothing.
    is_default: bool,
    pub(crate) span: Span,
    pub(crate) mentions: Vec<Mention>,
}

/// A name with what follows it as far as that is written out, imports resolved.
#[derive(Debug)]
pub(crate) struct Mention {
    pub(crate) path: Vec<String>,
    pub(crate) span: Span,
    /// For a call, which of its arguments are written out as text.
    pub(crate) call: Option<Vec<bool>>,
}

/// Why a module cannot be read.
#[derive(Debug)]
pub(crate) struct Unreadable {
    pub(crate) at: Span,
    pub(crate) message: String,
}

/// Whether two definitions of one name may give different values, which is an error.
fn may_conflict(rules: &[Surveyed]) -> bool {
    let said = rules.iter().filter(|rule| !rule.is_default);
    let mut names: Vec<(&str, bool)> = said.map(|rule| (rule.name.as_str(), rule.has_value)).collect();
    names.sort_unstable();
    let valued =
        |pair: &[(&str, bool)]| matches!(pair, [(a, first), (b, other)] if a == b && (*first || *other));
    names.windows(2).any(valued)
}

/// Parses `text` and takes stock. Recursive, so it wants a stack with room.
///
/// # Errors
/// The first problem of syntax.
pub(crate) fn survey(path: &str, text: &str) -> Result<Survey, Unreadable> {
    let failed = |error: anyhow_text::Text| Unreadable { at: error.place(text), message: error.problem() };
    let source = Source::from_contents(path.to_owned(), text.to_owned())
        .map_err(|e| failed(format!("{e:#}").into()))?;
    let module = parse(&source).map_err(|e| failed(e.into()))?;
    let mut reader = Reader::of(&module);
    let rules: Vec<Surveyed> = module.policy.iter().filter_map(|rule| reader.rule(rule)).collect();
    reader.needs_tree |= may_conflict(&rules);
    Ok(Survey {
        package: path_of(&module.package.refr),
        span: span(module.package.refr.span()),
        rules,
        needs_tree: reader.needs_tree,
        too_long: reader.too_long,
    })
}

fn parse(source: &Source) -> Result<Module, String> {
    let mut parser = Parser::new(source).map_err(|e| format!("{e:#}"))?;
    parser.enable_rego_v1().map_err(|e| format!("{e:#}"))?;
    parser.parse().map_err(|e| format!("{e:#}"))
}

/// The text of an error of the parser, which draws its own excerpt.
mod anyhow_text {
    use crate::syntax::Span;

    pub(super) struct Text(String);

    impl From<String> for Text {
        fn from(text: String) -> Self {
            Self(text)
        }
    }

    impl Text {
        /// What is wrong, without the excerpt.
        pub(super) fn problem(&self) -> String {
            let text = self.0.rsplit_once("error: ").map_or(self.0.as_str(), |(_, problem)| problem);
            text.trim().lines().next().unwrap_or_default().chars().take(200).collect()
        }

        /// Where: the excerpt begins with `--> file:line:column`.
        pub(super) fn place(&self, text: &str) -> Span {
            let found = self.0.split_once("--> ").and_then(|(_, rest)| {
                let mut parts = rest.lines().next()?.rsplit(':');
                let column: usize = parts.next()?.trim().parse().ok()?;
                let line: usize = parts.next()?.trim().parse().ok()?;
                let start: usize = text
                    .split_inclusive('\n')
                    .take(line.saturating_sub(1))
                    .map(str::len)
                    .fold(0, usize::saturating_add);
                let rest = text.get(start..)?;
                let before = rest.char_indices().nth(column.saturating_sub(1)).map_or(0, |(at, _)| at);
                Some(start.saturating_add(before))
            });
            let at = found.unwrap_or(0);
            Span::new(at, at)
        }
    }
}

fn span(span: &RegoSpan) -> Span {
    let offset = |at: u32| usize::try_from(at).unwrap_or(usize::MAX);
    Span::new(offset(span.start), offset(span.end))
}

/// The name of a variable or the text of a string.
fn word(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Var { value, .. } | Expr::String { value, .. } | Expr::RawString { value, .. } => {
            value.as_string().ok().map(|text| text.to_string())
        }
        _ => None,
    }
}

/// The written-out beginning of a reference, and the expressions that choose the rest.
fn chain<'e>(expr: &'e Expr, chosen: &mut Vec<&'e Expr>) -> Option<(Vec<String>, bool)> {
    match expr {
        Expr::Var { .. } => Some((vec![word(expr)?], true)),
        Expr::RefDot { refr, field, .. } => {
            let (mut path, open) = chain(refr, chosen)?;
            if open {
                path.push(field.1.as_string().ok()?.to_string());
            }
            Some((path, open))
        }
        Expr::RefBrack { refr, index, .. } => {
            let (mut path, open) = chain(refr, chosen)?;
            match index.as_ref() {
                Expr::String { .. } | Expr::RawString { .. } if open => {
                    path.push(word(index)?);
                    Some((path, true))
                }
                other => {
                    chosen.push(other);
                    Some((path, false))
                }
            }
        }
        _ => None,
    }
}

/// The written-out path of a reference.
fn path_of(expr: &Expr) -> Vec<String> {
    chain(expr, &mut Vec::new()).map(|(path, _)| path).unwrap_or_default()
}

struct Reader {
    /// Names that imports give, and what they stand for.
    aliases: Vec<(String, Vec<String>)>,
    mentions: Vec<Mention>,
    needs_tree: bool,
    too_long: Option<Span>,
    /// How deep the expression at hand is.
    depth: usize,
    /// Whether the rule at hand tries several values.
    iterates: bool,
}

impl Reader {
    fn of(module: &Module) -> Self {
        let alias = |import: &regorus::unstable::Import| {
            let path = path_of(&import.refr);
            let name = import.r#as.as_ref().map(|name| name.text().to_owned());
            Some((name.or_else(|| path.last().cloned())?, path))
        };
        Self {
            aliases: module.imports.iter().filter_map(alias).collect(),
            mentions: Vec::new(),
            needs_tree: false,
            too_long: None,
            depth: 0,
            iterates: false,
        }
    }

    fn resolved(&self, mut path: Vec<String>) -> Vec<String> {
        let found = path.first().and_then(|first| self.aliases.iter().find(|(name, _)| name == first));
        if let Some((_, target)) = found {
            let rest = path.split_off(1);
            path = target.clone();
            path.extend(rest);
        }
        path
    }

    fn rule(&mut self, rule: &Rule) -> Option<Surveyed> {
        self.iterates = false;
        let (refr, is_function) = match rule {
            Rule::Default { refr, value, args, .. } => {
                self.exprs(args);
                self.expr(value);
                self.needs_tree |= !is_constant(value);
                (refr, !args.is_empty())
            }
            Rule::Spec { head, bodies, .. } => {
                for body in bodies {
                    self.body(body);
                }
                (self.head(head), matches!(head, RuleHead::Func { .. }))
            }
        };
        let mut chosen = Vec::new();
        let path = chain(refr, &mut chosen)?.0;
        let plain = path.len() == 1 && chosen.is_empty() && matches!(refr.as_ref(), Expr::Var { .. });
        for expr in chosen {
            self.expr(expr);
        }
        self.needs_tree |= !plain || is_function;
        let values = values(rule);
        // One definition may give several values, too.
        self.needs_tree |= self.iterates && values.iter().any(|value| !is_constant(value));
        let is_default = matches!(rule, Rule::Default { .. });
        let name = path.into_iter().next()?;
        let mentions = std::mem::take(&mut self.mentions);
        let has_value = !values.is_empty();
        Some(Surveyed { name, plain, is_function, has_value, is_default, span: span(refr.span()), mentions })
    }

    fn head<'r>(&mut self, head: &'r RuleHead) -> &'r Ref<Expr> {
        match head {
            RuleHead::Compr { refr, assign, .. } => {
                self.assigned(assign.as_ref());
                refr
            }
            RuleHead::Set { refr, key, .. } => {
                self.exprs(key.as_slice());
                refr
            }
            RuleHead::Func { refr, args, assign, .. } => {
                self.exprs(args);
                self.assigned(assign.as_ref());
                refr
            }
        }
    }

    fn assigned(&mut self, assign: Option<&RuleAssign>) {
        if let Some(assign) = assign {
            self.expr(&assign.value);
        }
    }

    fn body(&mut self, body: &RuleBody) {
        self.assigned(body.assign.as_ref());
        self.query(&body.query);
    }

    fn query(&mut self, query: &Query) {
        if query.stmts.len() > MAX_STATEMENTS {
            self.too_long.get_or_insert(span(&query.span));
        }
        for statement in &query.stmts {
            self.statement(statement);
        }
    }

    fn statement(&mut self, statement: &LiteralStmt) {
        for with in &statement.with_mods {
            self.needs_tree = true;
            // What is replaced may be a builtin, so it is looked at as if it were called.
            self.mention(&with.refr, Some(Vec::new()));
            self.expr(&with.r#as);
        }
        match &statement.literal {
            Literal::SomeVars { .. } => self.iterates = true,
            Literal::SomeIn { key, value, collection, .. } => {
                self.iterates = true;
                self.exprs(key.as_slice());
                self.expr(value);
                self.expr(collection);
            }
            Literal::Expr { expr, .. } | Literal::NotExpr { expr, .. } => self.expr(expr),
            Literal::Every { domain, query, .. } => {
                self.expr(domain);
                self.query(query);
            }
        }
    }

    fn exprs(&mut self, exprs: &[Ref<Expr>]) {
        for expr in exprs {
            self.expr(expr);
        }
    }

    fn mention(&mut self, expr: &Expr, call: Option<Vec<bool>>) {
        let mut chosen = Vec::new();
        match chain(expr, &mut chosen) {
            Some((path, _)) => {
                let path = self.resolved(path);
                self.needs_tree |= path.first().is_some_and(|first| first == "data");
                self.mentions.push(Mention { path, span: span(expr.span()), call });
            }
            // A reference into something else than a name, such as `f(x).y`.
            None => match expr {
                Expr::RefDot { refr, .. } => self.expr(refr),
                Expr::RefBrack { refr, index, .. } => {
                    self.iterates |= !is_constant(index);
                    self.expr(refr);
                    self.expr(index);
                }
                _ => {}
            },
        }
        for expr in chosen {
            self.iterates |= !is_constant(expr);
            self.expr(expr);
        }
    }

    fn expr(&mut self, expr: &Expr) {
        if self.depth == MAX_DEPTH {
            self.too_long.get_or_insert(span(expr.span()));
        } else {
            self.depth = self.depth.saturating_add(1);
            self.parts(expr);
            self.depth = self.depth.saturating_sub(1);
        }
    }

    fn parts(&mut self, expr: &Expr) {
        match expr {
            Expr::String { .. }
            | Expr::RawString { .. }
            | Expr::Number { .. }
            | Expr::Bool { .. }
            | Expr::Null { .. } => {}
            Expr::Var { .. } | Expr::RefDot { .. } | Expr::RefBrack { .. } => self.mention(expr, None),
            Expr::Array { items, .. } | Expr::Set { items, .. } => self.exprs(items),
            Expr::Object { fields, .. } => {
                for (_, key, value) in fields {
                    self.expr(key);
                    self.expr(value);
                }
            }
            Expr::ArrayCompr { term, query, .. } | Expr::SetCompr { term, query, .. } => {
                self.expr(term);
                self.query(query);
            }
            Expr::ObjectCompr { key, value, query, .. } => {
                self.expr(key);
                self.expr(value);
                self.query(query);
            }
            Expr::Call { fcn, params, .. } => {
                self.needs_tree = true;
                self.mention(fcn, Some(params.iter().map(|param| is_written_out(param)).collect()));
                self.exprs(params);
            }
            Expr::UnaryExpr { expr, .. } => {
                self.needs_tree = true;
                self.expr(expr);
            }
            Expr::BinExpr { lhs, rhs, .. } | Expr::ArithExpr { lhs, rhs, .. } => {
                self.needs_tree = true;
                self.expr(lhs);
                self.expr(rhs);
            }
            Expr::BoolExpr { lhs, rhs, .. } | Expr::AssignExpr { lhs, rhs, .. } => {
                self.expr(lhs);
                self.expr(rhs);
            }
            Expr::Membership { key, value, collection, .. } => {
                self.exprs(key.as_slice());
                self.expr(value);
                self.expr(collection);
            }
        }
    }
}

/// The values that a rule gives, those of `else` too, as far as they are written.
fn values(rule: &Rule) -> Vec<&Expr> {
    let Rule::Spec { head, bodies, .. } = rule else { return Vec::new() };
    let head = match head {
        RuleHead::Compr { assign, .. } | RuleHead::Func { assign, .. } => assign.as_ref(),
        RuleHead::Set { .. } => None,
    };
    let bodies = bodies.iter().filter_map(|body| body.assign.as_ref());
    head.into_iter().chain(bodies).map(|assign| assign.value.as_ref()).collect()
}

/// Whether `expr` is one literal.
fn is_constant(expr: &Expr) -> bool {
    matches!(expr, Expr::Bool { .. } | Expr::Null { .. }) || is_written_out(expr)
}

/// Whether nothing of `expr` comes from elsewhere.
fn is_written_out(expr: &Expr) -> bool {
    match expr {
        Expr::String { .. } | Expr::RawString { .. } | Expr::Number { .. } => true,
        Expr::Object { fields, .. } => {
            fields.iter().all(|(_, key, value)| is_written_out(key) && is_written_out(value))
        }
        Expr::Array { items, .. } => items.iter().all(|item| is_written_out(item)),
        _ => false,
    }
}
