//! TOML 1.0.0 as `fromTOML` reads it.
//!
//! Own code, because current TOML libraries read 1.1, which accepts more, and because messages and what counts as a
//! conflict between tables are those of toml11, the library that the reference uses. Dates become text here.
//! Checked against recorded answers of the reference (the tests below).

mod datetime;
mod error;
mod number;
mod parser;
mod tables;

use std::collections::BTreeMap;

pub(crate) use error::TomlError;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TomlValue {
    /// `true` or `false`.
    Boolean(bool),
    /// A number without fraction and exponent.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// UTF-8 without NUL.
    String(Vec<u8>),
    /// A date, a time or both, in the reference's normal form.
    Timestamp(String),
    /// A list.
    Array(Vec<TomlValue>),
    /// Values by name; the names are UTF-8 without NUL.
    Table(BTreeMap<Vec<u8>, TomlValue>),
}

/// Deepest nesting of arrays and tables. (The reference overflows its stack at some greater depth.)
const NEST_LIMIT: usize = 256;

/// Parses `text` as a table. Dates and times are an error unless `timestamps` says that they are wanted.
pub(crate) fn parse(text: &[u8], timestamps: bool) -> Result<TomlValue, TomlError> {
    let table = parser::Parser::new(text).file()?;
    tables::into_value(tables::Node::Table(table), timestamps)
}

#[cfg(test)]
mod tests;
