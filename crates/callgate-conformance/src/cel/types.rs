//! Types as the suite writes them.

use callgate_policy::cel::{Kind, Type};

use crate::textproto::{Message, Value};

/// Reads a `cel.expr.Type` of a declaration.
///
/// # Errors
/// A type that the language does not have.
pub(crate) fn read(message: &Message) -> Result<Type, String> {
    let (name, value) = message.0.first().ok_or("a type has no kind")?;
    Ok(match (name.as_str(), value) {
        ("dyn", _) => Type::Dyn,
        ("null", _) => Type::NULL,
        ("primitive", Value::Word(word)) => primitive(word)?,
        ("well_known", Value::Word(word)) => match word.as_str() {
            "TIMESTAMP" => Type::TIMESTAMP,
            "DURATION" => Type::DURATION,
            _ => Type::Dyn,
        },
        ("list_type", Value::Message(list)) => Type::list(inner(list, "elem_type")?),
        ("map_type", Value::Message(map)) => Type::map(inner(map, "key_type")?, inner(map, "value_type")?),
        ("type", _) => Type::TYPE,
        ("abstract_type", Value::Message(known)) if known.text("name") == Some("optional_type") => {
            Type::optional(inner(known, "parameter_types")?)
        }
        (other, _) => return Err(format!("the type `{other}`")),
    })
}

fn inner(message: &Message, name: &str) -> Result<Type, String> {
    message.message(name).map_or(Ok(Type::Dyn), read)
}

fn primitive(word: &str) -> Result<Type, String> {
    Ok(match word {
        "BOOL" => Type::BOOL,
        "INT64" => Type::INT,
        "UINT64" => Type::UINT,
        "DOUBLE" => Type::DOUBLE,
        "STRING" => Type::STRING,
        "BYTES" => Type::BYTES,
        other => return Err(format!("the type `{other}`")),
    })
}

/// The deduced type that is wanted, as [`shown`] writes it.
pub(crate) fn wanted(message: &Message) -> Result<String, String> {
    let (name, value) = message.0.first().ok_or("a type has no kind")?;
    let part = |message: &Message, name: &str| message.message(name).map_or(Ok("dyn".to_owned()), wanted);
    match (name.as_str(), value) {
        ("wrapper", _) => Err("wrapper types".to_owned()),
        ("list_type", Value::Message(list)) => Ok(format!("list({})", part(list, "elem_type")?)),
        ("map_type", Value::Message(map)) => {
            Ok(format!("map({}, {})", part(map, "key_type")?, part(map, "value_type")?))
        }
        ("abstract_type", Value::Message(known)) => {
            let parameters: Result<Vec<_>, _> = known.messages("parameter_types").map(wanted).collect();
            let name = known.text("name").unwrap_or("?");
            Ok(format!("{name}({})", parameters?.join(", ")))
        }
        _ => read(message).map(|ty| shown(&ty)),
    }
}

/// A type with the specification's names; what nothing decides is `dyn`.
pub(crate) fn shown(ty: &Type) -> String {
    match ty {
        Type::Dyn | Type::Never => "dyn".to_owned(),
        Type::Plain(kind) => kind_name(*kind),
        Type::Nullable(inner) => format!("{} or null", shown(inner)),
        Type::List(element) => format!("list({})", shown(element)),
        Type::Map(key, value) => format!("map({}, {})", shown(key), shown(value)),
        Type::Optional(inner) => format!("optional_type({})", shown(inner)),
        Type::Object(_) => "object".to_owned(),
    }
}

fn kind_name(kind: Kind) -> String {
    match kind {
        Kind::Ip | Kind::Cidr | Kind::Type => format!("{}()", kind.name()),
        kind => kind.name().to_owned(),
    }
}
