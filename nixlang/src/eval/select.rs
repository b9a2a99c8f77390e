//! Attribute selection: `e.a.b`, `e.a or d`, `e ? a`.

use std::sync::atomic::Ordering;

use super::statistics::count;
use super::{ErrorKind, EvalError, EvalResult, Evaluator};
use crate::heap::{Attrs, Entry, Env, Kind, Slot, Value};
use crate::lower::expr::{AttrName, HasAttr, Select};
use crate::source::Pos;
use crate::symbol::Symbol;

impl<'h> Evaluator<'h> {
    pub(super) fn eval_select(&self, select: &'h Select<'h>, env: Env<'h>) -> EvalResult<Value<'h>> {
        let base = self.eval(&select.base, env)?;
        count(&self.heap.counters().lookups, select.path.len());
        // One static step is what nearly all selections are.
        if let ([AttrName::Static(symbol, _)], Kind::Attrs(attrs)) = (select.path, base.kind())
            && let Some((slot, pos)) = self.find_cached(select, attrs, *symbol)
        {
            let value = slot.get();
            if !value.is_thunk() {
                return Ok(value);
            }
            return self.force_slot_at(slot, pos.or(select.pos)).map_err(|e| self.while_selecting(e, select, pos, env));
        }
        let mut found: Option<Entry<'h>> = None;
        let selected = match self.walk_path(select, base, env, &mut found) {
            Ok(None) => self.eval(select.default.as_ref().expect("without a default a missing attribute is an error"), env),
            Ok(Some(value)) => Ok(value),
            Err(error) => Err(error),
        };
        match selected {
            Ok(value) => Ok(value),
            Err(error) => match found {
                Some(entry) => Err(self.while_selecting(error, select, entry.pos, env)),
                None => Err(error),
            },
        }
    }

    /// Looks up a selection's first step, by its inline cache if the set has the shape that the cache remembers.
    #[inline]
    fn find_cached(&self, select: &'h Select<'h>, attrs: Attrs<'h>, symbol: Symbol) -> Option<(&'h Slot<'h>, Pos)> {
        let Some(flat) = attrs.as_flat() else { return attrs.find(symbol).map(|entry| (entry.slot, entry.pos)) };
        let number = flat.shape.number();
        let cached = select.cache.load(Ordering::Relaxed);
        if number != 0 && cached >> 32 == number as u64 {
            // The cache is a hint: the name is compared all the same.
            let index = cached as u32 as usize;
            if flat.shape.symbols().get(index) == Some(&symbol) {
                return Some((&flat.slots[index], flat.shape.position(index)));
            }
        }
        let index = flat.shape.find(symbol)?;
        if number != 0 {
            select.cache.store((number as u64) << 32 | index as u64, Ordering::Relaxed);
        }
        Some((&flat.slots[index], flat.shape.position(index)))
    }

    /// Returns `None` when a step is missing and there is a default. `found` is the last attribute that was found.
    fn walk_path(&self, select: &'h Select<'h>, base: Value<'h>, env: Env<'h>, found: &mut Option<Entry<'h>>) -> EvalResult<Option<Value<'h>>> {
        let mut value = base;
        for step in select.path {
            let symbol = self.attr_name(step, env)?;
            value = match *found {
                Some(entry) => self.force_slot_at(entry.slot, select.pos)?,
                None => value,
            };
            let entry = match value.kind() {
                Kind::Attrs(attrs) => match attrs.find(symbol) {
                    Some(entry) => entry,
                    None if select.default.is_some() => return Ok(None),
                    None => return Err(self.missing_attribute(attrs, symbol, select.pos)),
                },
                _ if select.default.is_some() => return Ok(None),
                _ => return Err(self.type_error("a set", found.map_or(value, |entry| entry.slot.get())).while_(select.pos, "while selecting an attribute")),
            };
            *found = Some(entry);
        }
        let entry = found.expect("a path has at least one step");
        self.force_slot_at(entry.slot, entry.pos.or(select.pos)).map(Some)
    }

    /// Returns the error for an attribute that a set lacks.
    #[cold]
    pub fn missing_attribute(&self, attrs: Attrs<'h>, symbol: Symbol, pos: Pos) -> EvalError {
        let name = self.text(symbol);
        let candidates = attrs.flat(self.heap).iter().map(|entry| self.symbols.text(entry.symbol));
        let suggestions = self.suggestions(self.symbols.text(symbol), candidates);
        EvalError::new(ErrorKind::MissingAttribute, format!("attribute '{name}' missing")).at(pos).suggest(suggestions)
    }

    /// Returns the names that may have been meant by `wanted`, best first.
    pub fn suggestions(&self, wanted: &[u8], names: impl Iterator<Item = &'h [u8]>) -> Vec<String> {
        let nearest = crate::text::suggestions::nearest(wanted, names);
        nearest.into_iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect()
    }

    #[cold]
    fn while_selecting(&self, error: EvalError, select: &'h Select<'h>, pos: Pos, env: Env<'h>) -> EvalError {
        if !pos.is_some() || self.is_internal(pos) {
            return error;
        }
        let path: Vec<String> = select.path.iter().map(|step| self.show_attr_name(step, env)).collect();
        error.while_(pos, format!("while evaluating the attribute '{}'", path.join(".")))
    }

    fn show_attr_name(&self, step: &'h AttrName<'h>, env: Env<'h>) -> String {
        match self.attr_name(step, env) {
            Ok(symbol) => self.text(symbol),
            Err(_) => {
                let AttrName::Dynamic(expr, pos) = step else { unreachable!("a static name is known") };
                format!("\"${{{}}}\"", self.show_source(self.pos_of(expr).or(*pos)).as_deref().unwrap_or("…"))
            }
        }
    }

    /// Returns the expression that begins at a position as the parser prints it.
    fn show_source(&self, pos: Pos) -> Option<String> {
        let text = crate::diagnostics::source_text(&self.sources, pos)?;
        // Below `with` any variable is fine.
        let text: std::sync::Arc<[u8]> = format!("with null; {text}").into_bytes().into();
        let start = self.sources.add(crate::source::Origin::String, text.clone()).ok()?;
        let shown = String::from_utf8(crate::lower::show(self, &text, start, b"/").ok()?).ok()?;
        Some(shown.strip_prefix("(with null; ")?.strip_suffix(')')?.to_owned())
    }

    /// Returns the name of a step of an attribute path.
    pub(super) fn attr_name(&self, step: &'h AttrName<'h>, env: Env<'h>) -> EvalResult<Symbol> {
        match step {
            AttrName::Static(symbol, _) => Ok(*symbol),
            AttrName::Dynamic(expr, pos) => {
                let name = self.eval(expr, env)?;
                let name = self.force_string_no_context(name, self.pos_of(expr).or(*pos), "while evaluating an attribute name")?;
                Ok(self.symbols.intern(name.bytes()))
            }
        }
    }

    pub(super) fn eval_has_attr(&self, has_attr: &'h HasAttr<'h>, env: Env<'h>) -> EvalResult<Value<'h>> {
        let mut value = self.eval(&has_attr.base, env)?;
        let mut slot: Option<&'h Slot<'h>> = None;
        for step in has_attr.path {
            if let Some(slot) = slot {
                value = self.force_slot_at(slot, has_attr.pos)?;
            }
            let symbol = self.attr_name(step, env)?;
            slot = match value.kind() {
                Kind::Attrs(attrs) => attrs.get(symbol),
                _ => None,
            };
            if slot.is_none() {
                return Ok(Value::FALSE);
            }
        }
        Ok(Value::TRUE)
    }

    /// Returns whether a position lies in a source of our own (the `derivation` wrapper).
    pub(super) fn is_internal(&self, pos: Pos) -> bool {
        match self.sources.source(pos).map(|source| source.origin) {
            Some(crate::source::Origin::File(path)) => crate::host::internal::is_internal(&path),
            _ => false,
        }
    }
}
