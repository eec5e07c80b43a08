//! Base64 (RFC 4648 section 4); padding may be left out when reading.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::super::error::EvalError;
use super::super::fuel::Fuel;
use super::super::value::CelValue;
use super::{BYTES, Definition, STR, Style, define, sig, unsuited};

const ALPHABET: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

pub(super) const TABLE: &[Definition] = &[
    define("base64.encode", Style::Function, &[sig(&[BYTES], STR)], encode),
    define("base64.decode", Style::Function, &[sig(&[STR], BYTES)], decode),
];

fn encode<'a>(args: &[CelValue<'a>], fuel: &mut Fuel) -> Result<CelValue<'a>, EvalError> {
    let [CelValue::Bytes(octets)] = args else { return Err(unsuited("base64.encode", args)) };
    fuel.burn_bytes(octets.len().saturating_mul(2))?;
    Ok(CelValue::string(ALPHABET.encode(&**octets)))
}

fn decode<'a>(args: &[CelValue<'a>], fuel: &mut Fuel) -> Result<CelValue<'a>, EvalError> {
    let [CelValue::Str(text)] = args else { return Err(unsuited("base64.decode", args)) };
    fuel.burn_bytes(text.len().saturating_mul(2))?;
    let read = ALPHABET.decode(text.as_bytes());
    read.map(CelValue::octets).map_err(|_| EvalError::argument("base64.decode", text, "it is not base64"))
}
