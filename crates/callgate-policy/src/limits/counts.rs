//! How much one action is to a limit.

use std::sync::Arc;

use callgate_core::catalogue::Catalogue;
use callgate_core::decimal::Decimal;
use callgate_core::digest::Digest;
use callgate_core::limit::Amount;
use callgate_core::name::fold;
use callgate_core::request::Request;
use callgate_core::value::{Map, Value};

use crate::cel::{CelError, CelValue, Kind, Program, Type};
use crate::condition::{self, Asked, Budget};

/// What a limit counts of an action.
#[derive(Debug, Clone)]
pub(crate) enum Counts {
    /// The action.
    Action,
    /// An amount of some unit.
    Amounts(Amounts),
    /// A name, which must be different.
    Name(Arc<Expression>),
}

/// What an action takes of a unit: the most of what is said.
#[derive(Debug, Clone)]
pub(crate) struct Amounts {
    /// The folded unit.
    unit: String,
    /// What an action takes that says nothing, or less.
    estimate: Amount,
    /// What the limit makes of the request.
    expression: Option<Arc<Expression>>,
}

/// A compiled expression whose value counts.
#[derive(Debug)]
pub(crate) struct Expression {
    program: Program,
    word: &'static str,
}

/// What an expression comes to before any request is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// A number, or what may be one.
    Number,
    /// Something that surely is none.
    Other,
}

impl Counts {
    /// What `request` counts.
    ///
    /// # Errors
    /// Why that cannot be told.
    pub(super) fn of(
        &self,
        request: &Request,
        catalogue: &Catalogue,
        budget: &mut Budget,
    ) -> Result<(Amount, Option<Digest>), String> {
        match self {
            Self::Action => Ok((Amount::ONE, None)),
            Self::Amounts(amounts) => amounts.of(request, catalogue, budget).map(|amount| (amount, None)),
            Self::Name(expression) => {
                expression.digest(request, budget).map(|digest| (Amount::ONE, Some(digest)))
            }
        }
    }
}

impl Amounts {
    pub(crate) fn new(unit: &str, estimate: Option<Amount>, expression: Option<Arc<Expression>>) -> Self {
        Self { unit: fold(unit), estimate: estimate.unwrap_or(Amount::ZERO), expression }
    }

    fn of(&self, request: &Request, catalogue: &Catalogue, budget: &mut Budget) -> Result<Amount, String> {
        let mut most = self.estimate;
        let said = request.cost.iter().filter(|(unit, _)| unit.folded() == self.unit);
        for (unit, amount) in said {
            let amount = Amount::from_decimal(*amount).map_err(|e| format!("`cost.{unit}`: {e}"))?;
            most = most.max(amount);
        }
        let tool = request.tool.as_ref().and_then(|tool| catalogue.get(&tool.identity));
        if let Some(amount) = tool.and_then(|tool| tool.cost.get(&self.unit)) {
            most = most.max(*amount);
        }
        match &self.expression {
            Some(expression) => expression.amount(request, budget).map(|amount| most.max(amount)),
            None => Ok(most),
        }
    }
}

impl Expression {
    /// Compiles `source`, which stands at the key `word`, for tools that take `args`.
    ///
    /// # Errors
    /// Every mistake, in the order of the text.
    pub(crate) fn compile(source: &str, word: &'static str, args: Type) -> Result<Self, Vec<CelError>> {
        condition::compile_value(source, args).map(|program| Self { program, word })
    }

    /// Whether its value may be a number that counts.
    pub(crate) fn meaning(&self) -> Meaning {
        match self.program.result_type() {
            Type::Dyn => Meaning::Number,
            Type::Plain(kind) => number_kind(*kind),
            Type::Nullable(inner) => match inner.as_ref() {
                Type::Plain(kind) => number_kind(*kind),
                _ => Meaning::Other,
            },
            _ => Meaning::Other,
        }
    }

    /// The type of its value, in words.
    pub(crate) fn result_type(&self) -> String {
        self.program.result_type().to_string()
    }

    /// The amount of a constant; `None` if it depends on the request.
    pub(crate) fn constant(&self) -> Option<Result<Amount, String>> {
        self.program.constant().map(|value| amount_of(&value))
    }

    fn amount(&self, request: &Request, budget: &mut Budget) -> Result<Amount, String> {
        self.value(request, budget, amount_of)
    }

    fn digest(&self, request: &Request, budget: &mut Budget) -> Result<Digest, String> {
        self.value(request, budget, |value| {
            let value = json_of(value).ok_or_else(|| format!("{} has no JSON form", value.kind()))?;
            Ok(Digest::of(value.canonical().as_bytes()))
        })
    }

    fn value<T>(
        &self,
        request: &Request,
        budget: &mut Budget,
        read: impl FnOnce(&CelValue<'_>) -> Result<T, String>,
    ) -> Result<T, String> {
        let asked = Asked(request);
        let value = budget.spend(|fuel| self.program.evaluate(&asked, fuel));
        let read = value.map_err(|error| error.to_string()).and_then(|value| read(&value));
        read.map_err(|problem| format!("`{}`: {problem}", self.word))
    }
}

const fn number_kind(kind: Kind) -> Meaning {
    match kind {
        Kind::Int | Kind::Uint | Kind::Decimal => Meaning::Number,
        _ => Meaning::Other,
    }
}

/// The amount that a value is; a numeric text is none, and neither is a double, which may be `NaN`.
fn amount_of(value: &CelValue<'_>) -> Result<Amount, String> {
    let number = match value {
        CelValue::Int(number) => Decimal::from(*number),
        CelValue::Uint(number) => Decimal::new(i128::from(*number), 0).map_err(|error| error.to_string())?,
        CelValue::Decimal(number) => *number,
        other => return Err(format!("it is a {}, no whole number or decimal", other.kind())),
    };
    Amount::from_decimal(number).map_err(|error| error.to_string())
}

/// The value as JSON; `None` for what JSON has no form of.
fn json_of(value: &CelValue<'_>) -> Option<Value> {
    Some(match value {
        CelValue::Null => Value::Null,
        CelValue::Bool(flag) => Value::Bool(*flag),
        CelValue::Int(number) => Value::Int(*number),
        CelValue::Uint(number) => Value::Int(i64::try_from(*number).ok()?),
        CelValue::Decimal(number) => number.to_i64().map_or(Value::Decimal(*number), Value::Int),
        CelValue::Str(text) => Value::from(&**text),
        CelValue::List(items) => Value::List(items.iter().map(|item| json_of(&item)).collect::<Option<_>>()?),
        CelValue::Map(map) => {
            let mut out = Map::default();
            for (key, value) in map.entries() {
                let CelValue::Str(key) = key else { return None };
                out.insert((*key).to_owned(), json_of(&value)?);
            }
            Value::Map(out)
        }
        _ => return None,
    })
}
