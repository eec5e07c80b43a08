//! Tokens to an expression, by recursive descent of bounded depth.

use std::ops::Range;

use super::ast::{Expr, Form, Literal, Order};
use super::error::CelError;
use super::fuel::Limits;
use super::lexer::{Spanned, Token, tokens};
use super::macros::{binding, loop_kind, looping, presence, within};
use super::number::Arithmetic;

/// Words that cannot name a variable or a function.
const RESERVED: [&str; 17] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "namespace",
    "package",
    "return",
    "var",
    "void",
    "while",
];

/// Parses `source`; at most one syntax error is reported, but every unreadable token.
pub(super) fn parse(source: &str, limits: &Limits) -> Result<Expr, Vec<CelError>> {
    if source.len() > limits.source_bytes {
        let error = CelError::new(
            0..source.len(),
            format!("the expression has {} bytes, more than {}", source.len(), limits.source_bytes),
        );
        return Err(vec![error.hint("split the rule, or move its lists into data")]);
    }
    let tokens = tokens(source)?;
    let mut parser = Parser { tokens, at: 0, nesting: 0, nodes: 0, limits: *limits };
    parser.whole().map_err(|error| vec![error])
}

struct Parser {
    tokens: Vec<Spanned>,
    at: usize,
    nesting: u32,
    nodes: u32,
    limits: Limits,
}

type Parsed = Result<Expr, CelError>;

impl Parser {
    fn whole(&mut self) -> Parsed {
        let expr = self.expression()?;
        match self.token() {
            Token::End => Ok(expr),
            _ => Err(self.unexpected("an operator or the end")),
        }
    }

    fn token(&self) -> &Token {
        self.tokens.get(self.at).map_or(&Token::End, |spanned| &spanned.token)
    }

    fn span(&self) -> Range<usize> {
        self.tokens.get(self.at).map_or(0..0, |spanned| spanned.span.clone())
    }

    fn is(&self, wanted: &str) -> bool {
        matches!(self.token(), Token::Sign(sign) if *sign == wanted)
    }

    fn next_is(&self, wanted: &str) -> bool {
        let next = self.tokens.get(self.at.saturating_add(1)).map(|spanned| &spanned.token);
        matches!(next, Some(Token::Sign(sign)) if *sign == wanted)
    }

    /// Takes the sign if it is next.
    fn accept(&mut self, wanted: &str) -> bool {
        let found = self.is(wanted);
        if found {
            self.at = self.at.saturating_add(1);
        }
        found
    }

    fn expect(&mut self, wanted: &'static str) -> Result<(), CelError> {
        if self.accept(wanted) { Ok(()) } else { Err(self.unexpected(&format!("`{wanted}`"))) }
    }

    fn unexpected(&self, wanted: &str) -> CelError {
        let found = match self.token() {
            Token::Name(name) => format!("`{}`", super::error::shown(name)),
            Token::Quoted(_) => "a name in backticks".to_owned(),
            Token::Literal(_) | Token::MinimumDigits => "a literal".to_owned(),
            Token::Sign(sign) => format!("`{sign}`"),
            Token::End => "the end".to_owned(),
        };
        CelError::new(self.span(), format!("expected {wanted}, found {found}"))
    }

    /// The end of the last token taken.
    fn end(&self) -> usize {
        self.at.checked_sub(1).and_then(|at| self.tokens.get(at)).map_or(0, |spanned| spanned.span.end)
    }

    /// Runs `inner` one level deeper.
    fn nested<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T, CelError>) -> Result<T, CelError> {
        self.nesting = self.nesting.saturating_add(1);
        if self.nesting > self.limits.nesting {
            let message = format!("the expression nests deeper than {}", self.limits.nesting);
            return Err(CelError::new(self.span(), message).hint("split the rule"));
        }
        let result = inner(self);
        self.nesting = self.nesting.saturating_sub(1);
        result
    }

    /// Makes a node that begins at `start` and ends with the last token taken.
    fn node(&mut self, start: usize, below: u32, form: Form) -> Parsed {
        let span = start..self.end().max(start);
        self.nodes = self.nodes.saturating_add(1);
        if self.nodes > self.limits.nodes {
            let message = format!("the expression has more than {} parts", self.limits.nodes);
            return Err(CelError::new(span, message).hint("split the rule"));
        }
        let height = below.saturating_add(1);
        if height > self.limits.height {
            let message =
                format!("the expression chains or nests more than {} operators", self.limits.height);
            return Err(CelError::new(span, message).hint("split the rule, or use a list with `in`"));
        }
        Ok(Expr { form, span, height })
    }

    fn expression(&mut self) -> Parsed {
        self.nested(Self::conditional)
    }

    fn conditional(&mut self) -> Parsed {
        let start = self.span().start;
        let test = self.alternatives()?;
        if !self.accept("?") {
            return Ok(test);
        }
        let then = self.alternatives()?;
        self.expect(":")?;
        let other = self.expression()?;
        let below = test.height.max(then.height).max(other.height);
        self.node(start, below, Form::Choose(Box::new([test, then, other])))
    }

    fn alternatives(&mut self) -> Parsed {
        self.joined("||", Self::conjunction, Form::Or)
    }

    fn conjunction(&mut self) -> Parsed {
        self.joined("&&", |parser| parser.binary(0), Form::And)
    }

    /// One or more operands between `sign`s, as one node.
    fn joined(
        &mut self,
        sign: &'static str,
        operand: fn(&mut Self) -> Parsed,
        form: fn(Vec<Expr>) -> Form,
    ) -> Parsed {
        let start = self.span().start;
        let first = operand(self)?;
        if !self.is(sign) {
            return Ok(first);
        }
        let mut operands = vec![first];
        while self.accept(sign) {
            operands.push(operand(self)?);
        }
        let below = tallest(&operands);
        self.node(start, below, form(operands))
    }

    /// Relations (level 0), sums (1) and products (2), all left-associative.
    fn binary(&mut self, level: u32) -> Parsed {
        let start = self.span().start;
        let operand = |parser: &mut Self| {
            if level < 2 { parser.binary(level.saturating_add(1)) } else { parser.unary() }
        };
        let mut left = operand(self)?;
        while let Token::Sign(sign) = self.token() {
            let Some(make) = binary_form(level, sign) else { break };
            self.at = self.at.saturating_add(1);
            let right = operand(self)?;
            let below = left.height.max(right.height);
            left = self.node(start, below, make(Box::new(left), Box::new(right)))?;
        }
        Ok(left)
    }

    fn unary(&mut self) -> Parsed {
        let start = self.span().start;
        if self.accept("!") {
            let operand = self.nested(Self::unary)?;
            return self.node(start, operand.height, Form::Not(Box::new(operand)));
        }
        if self.is("-") && !self.negative_literal_follows() {
            self.at = self.at.saturating_add(1);
            let operand = self.nested(Self::unary)?;
            return self.node(start, operand.height, Form::Negate(Box::new(operand)));
        }
        self.member()
    }

    fn negative_literal_follows(&self) -> bool {
        let next = self.tokens.get(self.at.saturating_add(1)).map(|spanned| &spanned.token);
        matches!(next, Some(Token::MinimumDigits | Token::Literal(Literal::Int(_) | Literal::Double { .. })))
    }

    fn member(&mut self) -> Parsed {
        let start = self.span().start;
        let mut left = self.primary()?;
        loop {
            if self.accept(".") {
                left = self.after_dot(start, left)?;
            } else if self.accept("[") {
                left = self.indexed(start, left)?;
            } else {
                return Ok(left);
            }
        }
    }

    fn indexed(&mut self, start: usize, left: Expr) -> Parsed {
        let optional = self.accept("?");
        let key = self.expression()?;
        self.expect("]")?;
        let below = left.height.max(key.height);
        let (operand, key) = (Box::new(left), Box::new(key));
        let form = if optional { Form::OptionalIndex { operand, key } } else { Form::Index { operand, key } };
        self.node(start, below, form)
    }

    fn after_dot(&mut self, start: usize, left: Expr) -> Parsed {
        let optional = self.accept("?");
        let (field, callable) = self.selector()?;
        if optional {
            let height = left.height;
            return self.node(start, height, Form::OptionalSelect { operand: Box::new(left), field });
        }
        if callable && self.accept("(") {
            let args = self.expressions(")")?;
            return self.call(start, Some(left), field, false, args);
        }
        let height = left.height;
        self.node(start, height, Form::Select { operand: Box::new(left), field })
    }

    /// An element of a list or the value of an entry; one that follows `?` is left out if it is none.
    fn maybe(&mut self, optional: bool) -> Parsed {
        let start = self.span().start;
        let inner = self.expression()?;
        if !optional {
            return Ok(inner);
        }
        let height = inner.height;
        self.node(start, height, Form::Maybe(Box::new(inner)))
    }

    /// A field name; one in backticks cannot be called.
    fn selector(&mut self) -> Result<(String, bool), CelError> {
        let found = match self.token() {
            Token::Name(name) => Some((name.clone(), true)),
            Token::Quoted(name) => Some((name.clone(), false)),
            _ => None,
        };
        let found = found.ok_or_else(|| self.unexpected("a field name"))?;
        self.at = self.at.saturating_add(1);
        Ok(found)
    }

    /// Expressions separated by commas, up to and with `close`; a comma may come last.
    fn expressions(&mut self, close: &'static str) -> Result<Vec<Expr>, CelError> {
        let mut found = Vec::new();
        while !self.accept(close) {
            let optional = close == "]" && self.accept("?");
            found.push(self.maybe(optional)?);
            if !self.accept(",") {
                self.expect(close)?;
                break;
            }
            if close == ")" && self.is(close) {
                return Err(self.unexpected("an argument"));
            }
        }
        Ok(found)
    }

    fn primary(&mut self) -> Parsed {
        let start = self.span().start;
        if self.accept("(") {
            let inner = self.expression()?;
            self.expect(")")?;
            return Ok(inner);
        }
        if self.accept("[") {
            let items = self.expressions("]")?;
            let below = tallest(&items);
            return self.node(start, below, Form::List(items));
        }
        if self.accept("{") {
            return self.map(start);
        }
        let negative = self.accept("-");
        let rooted = !negative && self.accept(".");
        match self.token() {
            Token::Name(_) => self.name(start, rooted),
            Token::Literal(_) | Token::MinimumDigits if !rooted => {
                let literal = self.literal(negative)?;
                self.node(start, 0, Form::Literal(literal))
            }
            _ => Err(self.unexpected("a value")),
        }
    }

    fn literal(&mut self, negative: bool) -> Result<Literal, CelError> {
        let at = self.at;
        let taken = self.tokens.get_mut(at).map(|spanned| std::mem::replace(&mut spanned.token, Token::End));
        let literal = match taken {
            Some(Token::Literal(Literal::Int(number))) if negative => Literal::Int(number.saturating_neg()),
            Some(Token::Literal(Literal::Double { value, written })) if negative => {
                Literal::Double { value: -value, written: format!("-{written}") }
            }
            Some(Token::Literal(literal)) if !negative => literal,
            Some(Token::MinimumDigits) if negative => Literal::Int(i64::MIN),
            _ => {
                return Err(CelError::new(self.span(), "this number is too large")
                    .hint("whole numbers have 64 bits; write `dec(\"…\")` for larger ones"));
            }
        };
        self.at = at.saturating_add(1);
        Ok(literal)
    }

    fn name(&mut self, start: usize, rooted: bool) -> Parsed {
        let span = self.span();
        let (name, _) = self.selector()?;
        if RESERVED.contains(&name.as_str()) {
            return Err(CelError::new(span, format!("`{name}` is a reserved word")));
        }
        if self.accept("(") {
            let args = self.expressions(")")?;
            return self.call(start, None, name, rooted, args);
        }
        if self.is("{") && !self.next_is("{") {
            return Err(CelError::new(self.span(), "messages are not part of the language")
                .hint("write a map: `{\"field\": value}`"));
        }
        self.node(start, 0, Form::Name { name, rooted })
    }

    fn map(&mut self, start: usize) -> Parsed {
        let mut entries = Vec::new();
        while !self.accept("}") {
            let optional = self.accept("?");
            let key = self.expression()?;
            self.expect(":")?;
            let value = self.maybe(optional)?;
            entries.push((key, value));
            if !self.accept(",") {
                self.expect("}")?;
                break;
            }
        }
        let below = entries.iter().map(|(key, value)| key.height.max(value.height)).max().unwrap_or(0);
        self.node(start, below, Form::Map(entries))
    }

    /// A call, or what a macro of that name stands for.
    fn call(
        &mut self,
        start: usize,
        target: Option<Expr>,
        name: String,
        rooted: bool,
        args: Vec<Expr>,
    ) -> Parsed {
        let below = tallest(&args).max(target.as_ref().map_or(0, |target| target.height));
        let span = start..self.end();
        let form = match (target, name.as_str()) {
            (None, "has") => presence(args, &span)?,
            (Some(Expr { form: Form::Name { name: space, .. }, .. }), "bind") if space == "cel" => {
                binding(args, &span)?
            }
            (Some(operand), "optMap" | "optFlatMap") if args.len() == 2 => {
                within(operand, args, name == "optFlatMap", &span)?
            }
            (Some(range), method) => match loop_kind(method, args.len()) {
                Some(kind) => looping(kind, range, args, &span)?,
                None => Form::Call { name, rooted, target: Some(Box::new(range)), args },
            },
            (None, _) => Form::Call { name, rooted, target: None, args },
        };
        self.node(start, below, form)
    }
}

fn tallest(exprs: &[Expr]) -> u32 {
    exprs.iter().map(|expr| expr.height).max().unwrap_or(0)
}

type Binary = fn(Box<Expr>, Box<Expr>) -> Form;

/// How to make the node of a binary operator of this precedence level.
fn binary_form(level: u32, sign: &str) -> Option<Binary> {
    Some(match (level, sign) {
        (0, "==") => |left, right| Form::Equal { negated: false, left, right },
        (0, "!=") => |left, right| Form::Equal { negated: true, left, right },
        (0, "in") => |left, right| Form::In { left, right },
        (0, "<") => |left, right| Form::Compare { order: Order::Less, left, right },
        (0, "<=") => |left, right| Form::Compare { order: Order::LessOrEqual, left, right },
        (0, ">") => |left, right| Form::Compare { order: Order::Greater, left, right },
        (0, ">=") => |left, right| Form::Compare { order: Order::GreaterOrEqual, left, right },
        (1, "+") => |left, right| Form::Arithmetic { sign: Arithmetic::Add, left, right },
        (1, "-") => |left, right| Form::Arithmetic { sign: Arithmetic::Subtract, left, right },
        (2, "*") => |left, right| Form::Arithmetic { sign: Arithmetic::Multiply, left, right },
        (2, "/") => |left, right| Form::Arithmetic { sign: Arithmetic::Divide, left, right },
        (2, "%") => |left, right| Form::Arithmetic { sign: Arithmetic::Remainder, left, right },
        _ => return None,
    })
}
