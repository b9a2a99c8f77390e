//! Printing values: the notation of `--eval` and that of error messages.

use super::{EvalResult, Evaluator, ErrorKind, EvalError};
use crate::heap::{FlatAttrs, Kind, Slot, Value};
use crate::host::internal;
use crate::source::Pos;

/// How much of a value is printed.
#[derive(Clone, Copy, Debug)]
pub struct PrintOptions {
    /// Evaluate what is printed.
    pub force: bool,
    /// Nesting that is shown.
    pub max_depth: usize,
    /// Attributes shown in all.
    pub max_attrs: usize,
    /// List elements shown in all.
    pub max_list_items: usize,
    /// Bytes of a string that are shown.
    pub max_string_length: usize,
    /// Show derivations as `«derivation /nix/store/….drv»` (only together with `force`).
    pub derivation_paths: bool,
    /// Spaces per level; 0 for one line.
    pub indent: usize,
    /// Show sets and lists that were shown before as `«repeated»`.
    pub track_repeated: bool,
    /// Tell kinds of values apart by colours (ANSI escape sequences).
    pub colour: bool,
}

impl PrintOptions {
    /// What error messages show.
    pub const ERROR: PrintOptions = PrintOptions {
        force: false,
        max_depth: 10,
        max_attrs: 10,
        max_list_items: 10,
        max_string_length: 1024,
        derivation_paths: false,
        indent: 0,
        track_repeated: true,
        colour: false,
    };
    /// Everything, evaluated.
    pub const ALL: PrintOptions = PrintOptions {
        force: true,
        max_depth: usize::MAX,
        max_attrs: usize::MAX,
        max_list_items: usize::MAX,
        max_string_length: usize::MAX,
        derivation_paths: false,
        indent: 0,
        track_repeated: true,
        colour: false,
    };
}

const KEYWORDS: [&[u8]; 9] = [b"if", b"then", b"else", b"assert", b"with", b"let", b"in", b"rec", b"inherit"];

/// Appends a string literal.
pub fn print_string(out: &mut Vec<u8>, text: &[u8], max_length: usize) {
    out.push(b'"');
    for (i, byte) in text.iter().enumerate() {
        if i >= max_length {
            out.extend_from_slice("\" «".as_bytes());
            elided(out, text.len() - i, "byte", "bytes");
            out.extend_from_slice("»".as_bytes());
            return;
        }
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'$' if text.get(i + 1) == Some(&b'{') => out.extend_from_slice(b"\\$"),
            byte => out.push(*byte),
        }
    }
    out.push(b'"');
}

fn elided(out: &mut Vec<u8>, n: usize, one: &str, many: &str) {
    out.extend_from_slice(format!("{n} {} elided", if n == 1 { one } else { many }).as_bytes());
}

/// Appends an attribute name, quoted where the grammar wants it.
pub fn print_attr_name(out: &mut Vec<u8>, name: &[u8]) {
    let plain = name.first().is_some_and(|c| c.is_ascii_alphabetic() || *c == b'_')
        && name.iter().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-' | b'\''))
        && !KEYWORDS.contains(&name);
    if plain { out.extend_from_slice(name) } else { print_string(out, name, usize::MAX) }
}

/// Colours of kinds of values, as the reference has them.
mod colour {
    pub(super) const MAGENTA: &str = "\x1b[35;1m";
    pub(super) const CYAN: &str = "\x1b[36;1m";
    pub(super) const GREEN: &str = "\x1b[32;1m";
    pub(super) const BLUE: &str = "\x1b[34;1m";
    pub(super) const RED: &str = "\x1b[31;1m";
    pub(super) const FAINT: &str = "\x1b[2m";
    pub(super) const NORMAL: &str = "\x1b[0m";
}

struct Printer<'e, 'h> {
    eval: &'e Evaluator<'h>,
    options: PrintOptions,
    seen: rustc_hash::FxHashSet<u64>,
    n_attrs: usize,
    n_items: usize,
    indent: usize,
}

/// State of printing in the plain notation.
#[derive(Default)]
struct Plain {
    seen: rustc_hash::FxHashSet<u64>,
    functions_are_code: bool,
}

impl<'h> Evaluator<'h> {
    /// Returns a value as error messages show it. Evaluates nothing.
    #[cold]
    pub fn show_for_error(&self, value: Value<'h>) -> String {
        self.print(value, PrintOptions::ERROR).map_or_else(|_| "«error»".into(), |text| String::from_utf8_lossy(&text).into_owned())
    }

    /// Prints a value in the notation of error messages and of the interactive session.
    pub fn print(&self, value: Value<'h>, options: PrintOptions) -> EvalResult<Vec<u8>> {
        let mut out = Vec::new();
        Printer { eval: self, options, seen: Default::default(), n_attrs: 0, n_items: 0, indent: 0 }.print(value, 0, &mut out)?;
        Ok(out)
    }

    /// Prints a value as `nix-instantiate --eval` does: unevaluated parts as `<CODE>`, functions as `<LAMBDA>`.
    pub fn print_plain(&self, value: Value<'h>) -> EvalResult<Vec<u8>> {
        let mut out = Vec::new();
        self.print_plain_to(&mut out, value, &mut Plain::default(), 0)?;
        Ok(out)
    }

    /// As [`print_plain`](Self::print_plain), for a value that is evaluated on its surface only. A function within it that nobody has looked at is
    /// shown as `<CODE>`: in the reference it is not evaluated yet, while here it is never delayed.
    pub fn print_surface(&self, value: Value<'h>) -> EvalResult<Vec<u8>> {
        let mut out = Vec::new();
        self.print_plain_to(&mut out, value, &mut Plain { functions_are_code: true, ..Plain::default() }, 0)?;
        Ok(out)
    }

    fn print_plain_to(&self, out: &mut Vec<u8>, value: Value<'h>, plain: &mut Plain, depth: usize) -> EvalResult<()> {
        if depth > self.options.max_call_depth as usize {
            return Err(EvalError::new(ErrorKind::CallDepth, "stack overflow; max-call-depth exceeded"));
        }
        self.check_stack(Pos::NONE)?;
        self.step()?;
        let cell = value.word();
        let value = match value.kind() {
            Kind::Thunk(thunk) => thunk.value().unwrap_or(value),
            Kind::Lambda(_) if plain.functions_are_code && depth > 0 => {
                out.extend_from_slice(b"<CODE>");
                return Ok(());
            }
            _ => value,
        };
        match value.kind() {
            Kind::Thunk(thunk) => out.extend_from_slice(if thunk.is_pending() { "«potential infinite recursion»".as_bytes() } else { b"<CODE>" }),
            Kind::Null => out.extend_from_slice(b"null"),
            Kind::Bool(bool) => out.extend_from_slice(if bool { b"true" } else { b"false" }),
            Kind::Int(int) => out.extend_from_slice(int.to_string().as_bytes()),
            Kind::Float(float) => out.extend_from_slice(crate::text::number::format_general(float).as_bytes()),
            Kind::String(string) => print_string(out, string.bytes(), usize::MAX),
            Kind::Path(path) => out.extend_from_slice(&internal::shown(path.text.bytes())),
            Kind::External(external) => out.extend_from_slice(&external.print()),
            Kind::Lambda(_) => out.extend_from_slice(b"<LAMBDA>"),
            Kind::Builtin(_) => out.extend_from_slice(b"<PRIMOP>"),
            Kind::Partial(partial) if matches!(partial.function.kind(), Kind::Builtin(_)) => out.extend_from_slice(b"<PRIMOP-APP>"),
            Kind::Partial(_) => out.extend_from_slice(b"<LAMBDA>"),
            Kind::Attrs(attrs) => {
                if attrs.len(self.heap) != 0 && !plain.seen.insert(value.word()) {
                    out.extend_from_slice("«repeated»".as_bytes());
                    return Ok(());
                }
                out.extend_from_slice(b"{ ");
                for entry in attrs.flat(self.heap).iter_lexicographic(self.heap, &self.symbols) {
                    print_attr_name(out, self.symbols.text(entry.symbol));
                    out.extend_from_slice(b" = ");
                    self.print_plain_to(out, entry.slot.get(), plain, depth + 1)?;
                    out.extend_from_slice(b"; ");
                }
                out.push(b'}');
            }
            Kind::List(list) => {
                // A list's identity is that of its cell, not of its elements.
                if !list.is_empty() && !plain.seen.insert(cell) {
                    out.extend_from_slice("«repeated»".as_bytes());
                    return Ok(());
                }
                out.extend_from_slice(b"[ ");
                for element in list.iter() {
                    self.print_plain_to(out, element, plain, depth + 1)?;
                    out.push(b' ');
                }
                out.push(b']');
            }
        }
        Ok(())
    }

    /// Returns a position as messages show it: `file:line:column`, or `«none»`.
    pub fn show_pos(&self, pos: Pos) -> String {
        use crate::source::Origin;
        let Some(location) = self.sources.locate_shown(pos) else { return "«none»".into() };
        let origin = match &location.source.origin {
            Origin::File(path) => String::from_utf8_lossy(path).into_owned(),
            Origin::String => "«string»".into(),
            Origin::Stdin => "«stdin»".into(),
            Origin::Repl => "«repl»".into(),
        };
        format!("{origin}:{}:{}", location.line, location.column)
    }
}

impl<'h> Printer<'_, 'h> {
    fn print(&mut self, value: Value<'h>, depth: usize, out: &mut Vec<u8>) -> EvalResult<()> {
        let eval = self.eval;
        if depth > eval.options.max_call_depth as usize {
            return Err(EvalError::new(ErrorKind::CallDepth, "stack overflow; max-call-depth exceeded"));
        }
        eval.check_stack(Pos::NONE)?;
        eval.step()?;
        let cell = value.word();
        let value = match value.kind() {
            Kind::Thunk(_) if self.options.force => match eval.force(value) {
                Ok(value) => value,
                Err(error) if depth > 0 && error.is_permanent() => {
                    self.coloured(out, colour::RED, format!("«error: {}»", error.data().message).as_bytes());
                    return Ok(());
                }
                Err(error) => return Err(error),
            },
            Kind::Thunk(thunk) => thunk.value().unwrap_or(value),
            // As in `print_surface`.
            Kind::Lambda(_) if !self.options.force && depth > 0 => {
                self.coloured(out, colour::MAGENTA, "«thunk»".as_bytes());
                return Ok(());
            }
            _ => value,
        };
        match value.kind() {
            Kind::Thunk(thunk) if thunk.is_pending() => self.coloured(out, colour::RED, "«potential infinite recursion»".as_bytes()),
            Kind::Thunk(_) => self.coloured(out, colour::MAGENTA, "«thunk»".as_bytes()),
            Kind::String(string) => {
                let mut text = Vec::new();
                print_string(&mut text, string.bytes(), self.options.max_string_length);
                self.coloured(out, colour::MAGENTA, &text);
            }
            Kind::Attrs(attrs) => {
                if self.options.track_repeated && !self.seen.insert(value.word()) {
                    self.coloured(out, colour::MAGENTA, "«repeated»".as_bytes());
                } else if self.options.force && self.options.derivation_paths && eval.is_derivation(value)? {
                    let mut text = "«derivation".as_bytes().to_vec();
                    if let Some(entry) = attrs.find(eval.names.drv_path) {
                        let path = eval.coerce_to_string(entry.slot.get(), entry.pos, super::Coercion::PATH_SEGMENT, "while evaluating the drvPath of a derivation")?;
                        text.push(b' ');
                        text.extend_from_slice(path.bytes());
                    }
                    text.extend_from_slice("»".as_bytes());
                    self.coloured(out, colour::GREEN, &text);
                } else if depth < self.options.max_depth {
                    self.print_attrs(attrs.flat(eval.heap), depth, out)?;
                } else {
                    out.extend_from_slice(b"{ ... }");
                }
            }
            Kind::List(list) => {
                if self.options.track_repeated && !list.is_empty() && !self.seen.insert(cell) {
                    self.coloured(out, colour::MAGENTA, "«repeated»".as_bytes());
                } else if depth < self.options.max_depth {
                    self.print_list(list.slots(), depth, out)?;
                } else {
                    out.extend_from_slice(b"[ ... ]");
                }
            }
            Kind::Lambda(closure) => self.print_lambda(closure.lambda, 0, out),
            Kind::Builtin(builtin) => self.coloured(out, colour::BLUE, format!("«primop {}»", builtin.name).as_bytes()),
            Kind::Partial(partial) => match partial.function.kind() {
                Kind::Lambda(closure) => self.print_lambda(closure.lambda, partial.arguments.len(), out),
                Kind::Builtin(builtin) => self.coloured(out, colour::BLUE, format!("«partially applied primop {}»", builtin.name).as_bytes()),
                _ => self.coloured(out, colour::BLUE, "«primop»".as_bytes()),
            },
            kind => {
                let mut text = Vec::new();
                eval.print_plain_to(&mut text, value, &mut Plain::default(), 0)?;
                self.coloured(out, if matches!(kind, Kind::Path(_)) { colour::GREEN } else { colour::CYAN }, &text);
            }
        }
        Ok(())
    }

    fn print_lambda(&self, lambda: &crate::lower::expr::Lambda<'h>, n_applied: usize, out: &mut Vec<u8>) {
        let name = lambda.name.map_or(String::new(), |name| format!(" {}", self.eval.text(name)));
        let pos = lambda.positions.get(n_applied).or(lambda.positions.last()).copied().unwrap_or_default();
        self.coloured(out, colour::BLUE, format!("«lambda{name} @ {}»", self.eval.show_pos(pos)).as_bytes());
    }

    fn coloured(&self, out: &mut Vec<u8>, colour: &str, text: &[u8]) {
        let (colour, normal) = if self.options.colour { (colour, colour::NORMAL) } else { ("", "") };
        out.extend_from_slice(colour.as_bytes());
        out.extend_from_slice(text);
        out.extend_from_slice(normal.as_bytes());
    }

    fn space(&self, pretty: bool, out: &mut Vec<u8>) {
        if pretty {
            out.push(b'\n');
            out.extend(std::iter::repeat_n(b' ', self.indent));
        } else {
            out.push(b' ');
        }
    }

    /// Whether to put each item on a line of its own: several items, or one that is itself a set or list.
    fn is_pretty(&self, slots: &[&'h Slot<'h>]) -> EvalResult<bool> {
        if self.options.indent == 0 || slots.is_empty() {
            return Ok(false);
        }
        if slots.len() > 1 {
            return Ok(true);
        }
        let value = if self.options.force { self.eval.force(slots[0].get()).unwrap_or(slots[0].get()) } else { slots[0].get() };
        Ok(matches!(value.kind(), Kind::List(_) | Kind::Attrs(_) | Kind::Thunk(_)))
    }

    fn print_attrs(&mut self, attrs: FlatAttrs<'h>, depth: usize, out: &mut Vec<u8>) -> EvalResult<()> {
        let eval = self.eval;
        let mut entries: Vec<_> = attrs.iter_lexicographic(eval.heap, &eval.symbols).collect();
        if self.options.max_attrs != usize::MAX {
            // What a set is goes first, before the rest is cut off.
            entries.sort_by_key(|entry| !matches!(eval.symbols.text(entry.symbol), b"type" | b"_type"));
        }
        self.indent += self.options.indent;
        out.push(b'{');
        let pretty = self.is_pretty(&entries.iter().map(|entry| entry.slot).collect::<Vec<_>>())?;
        for (i, entry) in entries.iter().enumerate() {
            self.space(pretty, out);
            if self.n_attrs >= self.options.max_attrs {
                let mut text = "«".as_bytes().to_vec();
                elided(&mut text, entries.len() - i, "attribute", "attributes");
                text.extend_from_slice("»".as_bytes());
                self.coloured(out, colour::FAINT, &text);
                break;
            }
            print_attr_name(out, eval.symbols.text(entry.symbol));
            out.extend_from_slice(b" = ");
            self.print(entry.slot.get(), depth + 1, out)?;
            out.push(b';');
            self.n_attrs += 1;
        }
        self.indent -= self.options.indent;
        self.space(pretty, out);
        out.push(b'}');
        Ok(())
    }

    fn print_list(&mut self, slots: &'h [Slot<'h>], depth: usize, out: &mut Vec<u8>) -> EvalResult<()> {
        self.indent += self.options.indent;
        out.push(b'[');
        let pretty = self.is_pretty(&slots.iter().collect::<Vec<_>>())?;
        for (i, slot) in slots.iter().enumerate() {
            self.space(pretty, out);
            if self.n_items >= self.options.max_list_items {
                let mut text = "«".as_bytes().to_vec();
                elided(&mut text, slots.len() - i, "item", "items");
                text.extend_from_slice("»".as_bytes());
                self.coloured(out, colour::FAINT, &text);
                break;
            }
            self.print(slot.get(), depth + 1, out)?;
            self.n_items += 1;
        }
        self.indent -= self.options.indent;
        self.space(pretty, out);
        out.push(b']');
        Ok(())
    }
}
