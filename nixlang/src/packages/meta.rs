//! `meta`: what a package says of itself. Only plain data counts, which can be kept in an environment's manifest.
//!
//! The surprising thing: numbers and truth values may be written as strings, which is older than their own types.

use crate::eval::EvalResult;
use crate::heap::{Attrs, Kind, Value};

use super::Package;

impl<'h> Package<'_, 'h> {
    /// Returns the names of `meta`, sorted; none without a `meta`.
    ///
    /// # Errors
    /// Those of the evaluation of `meta`, and if that is no set.
    pub fn meta_names(&self) -> EvalResult<Vec<String>> {
        let Some(meta) = self.meta_attrs()? else { return Ok(Vec::new()) };
        let eval = self.eval;
        let members = meta.flat(eval.heap).iter_lexicographic(eval.heap, &eval.symbols);
        Ok(members.map(|entry| String::from_utf8_lossy(eval.symbols.text(entry.symbol)).into_owned()).collect())
    }

    /// Returns an attribute of `meta` with everything in it evaluated. `None` without one, and if it isn't plain data: strings, numbers, truth
    /// values, and lists and sets of them, but no derivations or other sets with an `outPath`.
    ///
    /// # Errors
    /// Those of the evaluation of `meta` and of the attribute.
    pub fn meta(&self, name: &str) -> EvalResult<Option<Value<'h>>> {
        let Some(meta) = self.meta_attrs()? else { return Ok(None) };
        let Some(slot) = meta.get(self.symbol(name)) else { return Ok(None) };
        let value = slot.get();
        Ok(if self.is_plain(value)? { Some(self.eval.force(value)?) } else { None })
    }

    /// Returns a string of `meta`, `None` if there isn't any.
    ///
    /// # Errors
    /// Those of [`meta`](Self::meta).
    pub fn meta_string(&self, name: &str) -> EvalResult<Option<String>> {
        Ok(self.meta(name)?.and_then(text))
    }

    /// Returns an integer of `meta`, which may be written as a string; `None` if there isn't any.
    ///
    /// # Errors
    /// Those of [`meta`](Self::meta).
    pub fn meta_int(&self, name: &str) -> EvalResult<Option<i64>> {
        Ok(self.meta(name)?.and_then(|value| if let Kind::Int(int) = value.kind() { Some(int) } else { text(value)?.parse().ok() }))
    }

    /// Returns a float of `meta`, which may be written as a string; `None` if there isn't any.
    ///
    /// # Errors
    /// Those of [`meta`](Self::meta).
    pub fn meta_float(&self, name: &str) -> EvalResult<Option<f64>> {
        Ok(self.meta(name)?.and_then(|value| if let Kind::Float(float) = value.kind() { Some(float) } else { text(value)?.parse().ok() }))
    }

    /// Returns a truth value of `meta`, which may be written as a string; `None` if there isn't any.
    ///
    /// # Errors
    /// Those of [`meta`](Self::meta).
    pub fn meta_bool(&self, name: &str) -> EvalResult<Option<bool>> {
        Ok(self.meta(name)?.and_then(|value| if let Kind::Bool(bool) = value.kind() { Some(bool) } else { text(value)?.parse().ok() }))
    }

    fn meta_attrs(&self) -> EvalResult<Option<Attrs<'h>>> {
        let Some(meta) = self.attrs.find(self.eval.names.meta) else { return Ok(None) };
        self.eval.force_attrs(meta.slot.get(), meta.pos, "while evaluating the 'meta' attribute of a derivation").map(Some)
    }

    fn is_plain(&self, value: Value<'h>) -> EvalResult<bool> {
        let eval = self.eval;
        let _depth = eval.enter_call(eval.place_of(value))?;
        Ok(match eval.force(value)?.kind() {
            Kind::List(list) => {
                for element in list.iter() {
                    if !self.is_plain(element)? {
                        return Ok(false);
                    }
                }
                true
            }
            Kind::Attrs(attrs) => {
                if attrs.get(eval.names.out_path).is_some() {
                    return Ok(false);
                }
                for entry in attrs.flat(eval.heap).iter() {
                    if !self.is_plain(entry.slot.get())? {
                        return Ok(false);
                    }
                }
                true
            }
            Kind::Int(_) | Kind::Bool(_) | Kind::String(_) | Kind::Float(_) => true,
            _ => false,
        })
    }
}

fn text(value: Value<'_>) -> Option<String> {
    match value.kind() {
        Kind::String(text) => Some(String::from_utf8_lossy(text.bytes()).into_owned()),
        _ => None,
    }
}
