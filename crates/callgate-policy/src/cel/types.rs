//! The types an expression is checked against, and the kinds values have when it runs.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The type of a value at evaluation, as `type(x)` gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// `null_type`.
    Null,
    /// `bool`.
    Bool,
    /// `int`: 64 bits, signed.
    Int,
    /// `uint`: 64 bits, unsigned.
    Uint,
    /// `double`: IEEE 754, 64 bits.
    Double,
    /// `decimal`: exact, 34 digits.
    Decimal,
    /// `string`: Unicode scalar values.
    Str,
    /// `bytes`.
    Bytes,
    /// `google.protobuf.Timestamp`.
    Timestamp,
    /// `google.protobuf.Duration`.
    Duration,
    /// `list`.
    List,
    /// `map`.
    Map,
    /// `type`.
    Type,
    /// `optional_type`: a value or none.
    Optional,
    /// `net.IP`: an address.
    Ip,
    /// `net.CIDR`: an address with the length of its network's prefix.
    Cidr,
}

impl Kind {
    /// The name in the language.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Null => "null_type",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Uint => "uint",
            Self::Double => "double",
            Self::Decimal => "decimal",
            Self::Str => "string",
            Self::Bytes => "bytes",
            Self::Timestamp => "google.protobuf.Timestamp",
            Self::Duration => "google.protobuf.Duration",
            Self::List => "list",
            Self::Map => "map",
            Self::Type => "type",
            Self::Optional => "optional_type",
            Self::Ip => "net.IP",
            Self::Cidr => "net.CIDR",
        }
    }

    /// The kind a name in an expression denotes.
    pub(super) fn named(name: &str) -> Option<Self> {
        const ALL: [Kind; 16] = [
            Kind::Null,
            Kind::Bool,
            Kind::Int,
            Kind::Uint,
            Kind::Double,
            Kind::Decimal,
            Kind::Str,
            Kind::Bytes,
            Kind::Timestamp,
            Kind::Duration,
            Kind::List,
            Kind::Map,
            Kind::Type,
            Kind::Optional,
            Kind::Ip,
            Kind::Cidr,
        ];
        ALL.into_iter().find(|kind| kind.name() == name)
    }

    pub(super) const fn is_number(self) -> bool {
        matches!(self, Self::Int | Self::Uint | Self::Double | Self::Decimal)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Timestamp => "timestamp",
            Self::Duration => "duration",
            Self::Optional => "optional",
            Self::Ip => "ip",
            Self::Cidr => "cidr",
            other => other.name(),
        })
    }
}

/// A type known when an expression is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    /// Any value; checked when it runs.
    Dyn,
    /// What an empty list holds: fits everywhere, and no value has it.
    Never,
    /// A value of one kind that has no parts.
    Plain(Kind),
    /// The type or `null`.
    Nullable(Arc<Type>),
    /// A list of one type.
    List(Arc<Type>),
    /// A map from one type to another.
    Map(Arc<Type>, Arc<Type>),
    /// A map with named fields.
    Object(Arc<ObjectType>),
    /// A value of the type, or none.
    Optional(Arc<Type>),
}

/// A map with string keys, of which some are declared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObjectType {
    /// The declared fields.
    pub fields: BTreeMap<String, Field>,
    /// The type of undeclared fields; without one, they are a check error.
    pub rest: Option<Type>,
}

/// One declared field of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// The type of its value.
    pub ty: Type,
    /// Whether the schema requires it.
    pub required: bool,
}

impl Type {
    /// `bool`.
    pub const BOOL: Self = Self::Plain(Kind::Bool);
    /// `int`.
    pub const INT: Self = Self::Plain(Kind::Int);
    /// `uint`.
    pub const UINT: Self = Self::Plain(Kind::Uint);
    /// `double`.
    pub const DOUBLE: Self = Self::Plain(Kind::Double);
    /// `decimal`; a JSON whole number read as this becomes a decimal.
    pub const DECIMAL: Self = Self::Plain(Kind::Decimal);
    /// `string`.
    pub const STRING: Self = Self::Plain(Kind::Str);
    /// `bytes`.
    pub const BYTES: Self = Self::Plain(Kind::Bytes);
    /// `null`.
    pub const NULL: Self = Self::Plain(Kind::Null);
    /// `timestamp`.
    pub const TIMESTAMP: Self = Self::Plain(Kind::Timestamp);
    /// `duration`.
    pub const DURATION: Self = Self::Plain(Kind::Duration);
    /// `type`.
    pub const TYPE: Self = Self::Plain(Kind::Type);

    /// `ip`.
    pub const IP: Self = Self::Plain(Kind::Ip);
    /// `cidr`.
    pub const CIDR: Self = Self::Plain(Kind::Cidr);

    /// `optional(inner)`.
    #[must_use]
    pub fn optional(inner: Self) -> Self {
        Self::Optional(Arc::new(inner))
    }

    /// `list(element)`.
    #[must_use]
    pub fn list(element: Self) -> Self {
        Self::List(Arc::new(element))
    }

    /// `map(key, value)`.
    #[must_use]
    pub fn map(key: Self, value: Self) -> Self {
        Self::Map(Arc::new(key), Arc::new(value))
    }

    /// The type or `null`.
    #[must_use]
    pub fn nullable(self) -> Self {
        match self {
            Self::Dyn | Self::Never | Self::Nullable(_) | Self::Plain(Kind::Null) => self,
            other => Self::Nullable(Arc::new(other)),
        }
    }

    /// An object whose fields are all required and which has no others.
    #[must_use]
    pub fn object<'n>(fields: impl IntoIterator<Item = (&'n str, Self)>) -> Self {
        let fields =
            fields.into_iter().map(|(name, ty)| (name.to_owned(), Field { ty, required: true })).collect();
        Self::Object(Arc::new(ObjectType { fields, rest: None }))
    }

    /// `true` if nothing is known before it runs.
    pub(super) const fn is_dynamic(&self) -> bool {
        matches!(self, Self::Dyn | Self::Never)
    }

    /// Without the possibility of `null`.
    pub(super) fn present(&self) -> &Self {
        match self {
            Self::Nullable(inner) => inner,
            other => other,
        }
    }

    /// The kind its values (other than `null` of a nullable type) have, if there is one.
    pub(super) fn kind(&self) -> Option<Kind> {
        match self.present() {
            Self::Plain(kind) => Some(*kind),
            Self::List(_) => Some(Kind::List),
            Self::Map(..) | Self::Object(_) => Some(Kind::Map),
            Self::Optional(_) => Some(Kind::Optional),
            Self::Dyn | Self::Never | Self::Nullable(_) => None,
        }
    }

    /// `true` if a value of this type may be compared with one of `other` for equality: the types
    /// agree wherever both are known. All numbers compare with each other.
    pub(super) fn comparable(&self, other: &Self) -> bool {
        match (self, other) {
            (a, b) if a.is_dynamic() || b.is_dynamic() => true,
            (Self::Nullable(_), Self::Plain(Kind::Null)) | (Self::Plain(Kind::Null), Self::Nullable(_)) => {
                true
            }
            (Self::Nullable(a), b) | (b, Self::Nullable(a)) => a.comparable(b.present()),
            (Self::Plain(a), Self::Plain(b)) => a == b || (a.is_number() && b.is_number()),
            (Self::List(a), Self::List(b)) | (Self::Optional(a), Self::Optional(b)) => a.comparable(b),
            (Self::Map(ak, av), Self::Map(bk, bv)) => ak.comparable(bk) && av.comparable(bv),
            (Self::Object(_), Self::Object(_)) => true,
            (Self::Object(_), Self::Map(key, _)) | (Self::Map(key, _), Self::Object(_)) => {
                key.comparable(&Self::STRING)
            }
            _ => false,
        }
    }

    /// The narrowest type that has the values of both.
    pub(super) fn join(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Never, other) => other.clone(),
            (this, Self::Never) => this.clone(),
            (a, b) if a == b => a.clone(),
            (Self::Plain(Kind::Null), other) | (other, Self::Plain(Kind::Null)) => other.clone().nullable(),
            (Self::Nullable(a), b) | (b, Self::Nullable(a)) => a.join(b.present()).nullable(),
            (Self::List(a), Self::List(b)) => Self::list(a.join(b)),
            (Self::Optional(a), Self::Optional(b)) => Self::optional(a.join(b)),
            (Self::Map(ak, av), Self::Map(bk, bv)) => Self::map(ak.join(bk), av.join(bv)),
            _ => Self::Dyn,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dyn => f.write_str("dyn"),
            Self::Never => f.write_str("nothing"),
            Self::Plain(kind) => kind.fmt(f),
            Self::Nullable(inner) => write!(f, "{inner} or null"),
            Self::List(element) => write!(f, "list({element})"),
            Self::Map(key, value) => write!(f, "map({key}, {value})"),
            Self::Object(_) => f.write_str("object"),
            Self::Optional(inner) => write!(f, "optional({inner})"),
        }
    }
}
