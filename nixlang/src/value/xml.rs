//! Values as XML (`toXML`, `--xml`).

use rustc_hash::FxHashSet;

use super::Context;
use crate::eval::{EvalResult, Evaluator};
use crate::heap::{Attrs, Kind, Value};
use crate::host::internal;
use crate::lower::expr::Lambda;
use crate::source::{Origin, Pos};
use crate::text::number;
use crate::text::xml::XmlWriter;

/// How values become XML.
#[derive(Clone, Copy, Debug)]
pub struct XmlOptions {
    /// Evaluate everything; otherwise what isn't evaluated is shown as such.
    pub force: bool,
    /// Say where attributes and functions were defined.
    pub locations: bool,
}

struct XmlPrinter<'e, 'h> {
    eval: &'e Evaluator<'h>,
    options: XmlOptions,
    out: XmlWriter,
    references: Option<&'h Context<'h>>,
    /// Derivations shown so far, by their path.
    seen: FxHashSet<&'h [u8]>,
}

impl<'h> Evaluator<'h> {
    /// Returns a value as an XML document, with the context of all strings in it.
    pub fn to_xml(&self, value: Value<'h>, pos: Pos, options: XmlOptions) -> EvalResult<(Vec<u8>, Option<&'h Context<'h>>)> {
        let mut printer = XmlPrinter { eval: self, options, out: XmlWriter::new(), references: None, seen: FxHashSet::default() };
        printer.out.open("expr", &[]);
        printer.value(value, pos)?;
        Ok((printer.out.finish(), printer.references))
    }
}

impl<'h> XmlPrinter<'_, 'h> {
    fn forced(&self, value: Value<'h>, pos: Pos) -> EvalResult<Value<'h>> {
        match value.kind() {
            Kind::Thunk(_) if self.options.force => self.eval.force_at(value, pos),
            Kind::Thunk(thunk) => Ok(thunk.value().unwrap_or(value)),
            _ => Ok(value),
        }
    }

    fn value(&mut self, value: Value<'h>, pos: Pos) -> EvalResult<()> {
        let eval = self.eval;
        let _depth = eval.enter_call(pos)?;
        eval.charge(self.out.len())?;
        let value = self.forced(value, pos)?;
        match value.kind() {
            Kind::Null => self.out.empty("null", &[]),
            Kind::Bool(bool) => self.scalar("bool", if bool { b"true" } else { b"false" }),
            Kind::Int(int) => self.scalar("int", int.to_string().as_bytes()),
            Kind::Float(float) => self.scalar("float", number::format_general(float).as_bytes()),
            Kind::Path(path) => self.scalar("path", internal::in_tree(path.text.bytes())),
            Kind::String(string) => {
                self.references = eval.contexts.union(self.references, string.context());
                self.scalar("string", string.bytes());
            }
            Kind::Attrs(attrs) if eval.is_derivation(value)? => self.derivation(attrs)?,
            Kind::Attrs(attrs) => {
                self.out.open("attrs", &[]);
                self.members(attrs)?;
                self.out.close();
            }
            Kind::List(list) => {
                self.out.open("list", &[]);
                for element in list.iter() {
                    self.value(element, pos)?;
                }
                self.out.close();
            }
            Kind::Lambda(closure) => self.function(closure.lambda, 0),
            Kind::Partial(partial) => match partial.function.kind() {
                Kind::Lambda(closure) => self.function(closure.lambda, partial.arguments.len()),
                _ => self.out.empty("unevaluated", &[]),
            },
            Kind::External(external) => match external.write_xml(eval, self.options, pos)? {
                Some((text, context)) => {
                    self.references = eval.contexts.union(self.references, eval.contexts.context(context));
                    self.out.raw(&text);
                }
                None => self.out.empty("unevaluated", &[]),
            },
            Kind::Builtin(_) | Kind::Thunk(_) => self.out.empty("unevaluated", &[]),
        }
        Ok(())
    }

    fn scalar(&mut self, name: &'static str, value: &[u8]) {
        self.out.empty(name, &[("value", value)]);
    }

    fn derivation(&mut self, attrs: Attrs<'h>) -> EvalResult<()> {
        let eval = self.eval;
        let mut attributes: Vec<(&'static str, &[u8])> = Vec::new();
        let mut path: &'h [u8] = b"";
        for (name, symbol) in [("drvPath", eval.names.drv_path), ("outPath", eval.names.out_path)] {
            let Some(entry) = attrs.find(symbol) else { continue };
            if let Kind::String(text) = self.forced(entry.slot.get(), entry.pos)?.kind() {
                attributes.push((name, text.bytes()));
                if name == "drvPath" {
                    path = text.bytes();
                }
            }
        }
        self.out.open("derivation", &attributes);
        if !path.is_empty() && self.seen.insert(path) {
            self.members(attrs)?;
        } else {
            self.out.empty("repeated", &[]);
        }
        self.out.close();
        Ok(())
    }

    fn members(&mut self, attrs: Attrs<'h>) -> EvalResult<()> {
        let eval = self.eval;
        for entry in attrs.flat(eval.heap).iter_lexicographic(eval.heap, &eval.symbols) {
            let location = self.location(entry.pos);
            let mut attributes = location.attributes();
            attributes.push(("name", eval.symbols.text(entry.symbol)));
            attributes.sort_unstable();
            self.out.open("attr", &attributes);
            self.value(entry.slot.get(), entry.pos)?;
            self.out.close();
        }
        Ok(())
    }

    fn function(&mut self, lambda: &'h Lambda<'h>, n_applied: usize) {
        let symbols = &self.eval.symbols;
        let pos = lambda.positions.get(n_applied).copied().unwrap_or_default();
        let name = lambda.params.get(n_applied).map(|symbol| symbols.text(*symbol));
        let location = self.location(pos);
        self.out.open("function", &location.attributes());
        match lambda.formals {
            Some(formals) => {
                let mut attributes: Vec<(&'static str, &[u8])> = Vec::new();
                if formals.ellipsis {
                    attributes.push(("ellipsis", b"1"));
                }
                attributes.extend(name.filter(|_| formals.whole.is_some()).map(|name| ("name", name)));
                self.out.open("attrspat", &attributes);
                let mut names: Vec<&[u8]> = formals.entries.iter().map(|formal| symbols.text(formal.symbol)).collect();
                names.sort_unstable();
                names.into_iter().for_each(|name| self.out.empty("attr", &[("name", name)]));
                self.out.close();
            }
            None => self.out.empty("varpat", &[("name", name.unwrap_or_default())]),
        }
        self.out.close();
    }

    fn location(&self, pos: Pos) -> LocationText {
        let found = if self.options.locations { self.eval.sources.locate(pos) } else { None };
        LocationText(found.map(|it| {
            let path = match it.source.origin {
                Origin::File(path) => Some(internal::shown(&path).into_owned()),
                _ => None,
            };
            (it.column.to_string(), it.line.to_string(), path)
        }))
    }
}

/// Column, line and file of something, as text.
struct LocationText(Option<(String, String, Option<Vec<u8>>)>);

impl LocationText {
    fn attributes(&self) -> Vec<(&'static str, &[u8])> {
        let Some((column, line, path)) = &self.0 else { return Vec::new() };
        let mut attributes = vec![("column", column.as_bytes()), ("line", line.as_bytes())];
        attributes.extend(path.as_ref().map(|path| ("path", path.as_slice())));
        attributes
    }
}
