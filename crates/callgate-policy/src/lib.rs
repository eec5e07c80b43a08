//! Bundle text to a snapshot: parse, check, lower. Reads no file, knows no clock.

pub mod cel;
