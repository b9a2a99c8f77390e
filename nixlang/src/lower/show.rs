//! The tree as text, as the reference prints it (`nix-instantiate --parse`; `ExprX::show` in
//! `src/libexpr/nixexpr.cc`). Failed assertions show their condition in this form too.

use super::expr::BinaryOperator;
use super::tree::{Raw, RawName, RawValue, Set, SetId};
use crate::symbol::{Symbol, SymbolTable};

/// Prints trees.
pub(super) struct Show<'a, 'b, 'h> {
    symbols: &'b SymbolTable<'h>,
    sets: &'b [Set<'a>],
}

const KEYWORDS: [&[u8]; 9] =
    [b"if", b"then", b"else", b"assert", b"with", b"let", b"in", b"rec", b"inherit"];

/// Appends a string literal.
fn literal(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for (index, &byte) in text.iter().enumerate() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'$' if text.get(index + 1) == Some(&b'{') => out.extend_from_slice(b"\\$"),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

/// Appends a name, quoted unless it is an identifier.
fn identifier(text: &[u8], out: &mut Vec<u8>) {
    let starts = text.first().is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_');
    let continues =
        text.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'\'' | b'-'));
    if starts && continues && !KEYWORDS.contains(&text) {
        out.extend_from_slice(text);
    } else {
        literal(text, out);
    }
}

impl<'a, 'b, 'h> Show<'a, 'b, 'h> {
    /// Returns a printer of trees with these sets.
    pub(super) fn new(symbols: &'b SymbolTable<'h>, sets: &'b [Set<'a>]) -> Show<'a, 'b, 'h> {
        Show { symbols, sets }
    }

    /// Returns a name as it is shown.
    pub(super) fn symbol(&self, symbol: Symbol) -> String {
        let mut out = Vec::new();
        identifier(self.symbols.text(symbol), &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    /// Appends an attribute path.
    pub(super) fn path(&self, path: &[RawName<'a>], out: &mut Vec<u8>) {
        for (index, name) in path.iter().enumerate() {
            if index > 0 {
                out.push(b'.');
            }
            match name {
                RawName::Static(symbol, _) => identifier(self.symbols.text(*symbol), out),
                RawName::Dynamic(raw, _) => {
                    out.extend_from_slice(b"\"${");
                    self.expression(raw, out);
                    out.extend_from_slice(b"}\"");
                }
            }
        }
    }

    fn pair(&self, left: &Raw<'a>, operator: &str, right: &Raw<'a>, out: &mut Vec<u8>) {
        out.push(b'(');
        self.expression(left, out);
        out.push(b' ');
        out.extend_from_slice(operator.as_bytes());
        out.push(b' ');
        self.expression(right, out);
        out.push(b')');
    }

    /// Appends what is a call underneath, without the parentheses around it. Returns whether it
    /// is one.
    fn hidden_call(&self, raw: &Raw<'a>, out: &mut Vec<u8>) -> bool {
        match raw {
            Raw::SearchPath(text, _) => {
                out.extend_from_slice(b"__findFile __nixPath ");
                literal(text, out);
            }
            Raw::Binary { operator, left, right, .. } => {
                out.extend_from_slice(match operator {
                    BinaryOperator::Subtract => &b"__sub "[..],
                    BinaryOperator::Multiply => b"__mul ",
                    BinaryOperator::Divide => b"__div ",
                    BinaryOperator::Less => b"__lessThan ",
                    _ => return false,
                });
                self.expression(left, out);
                out.push(b' ');
                self.expression(right, out);
            }
            _ => return false,
        }
        true
    }

    /// Appends an expression.
    pub(super) fn expression(&self, raw: &Raw<'a>, out: &mut Vec<u8>) {
        match raw {
            Raw::Int(int) => out.extend_from_slice(int.to_string().as_bytes()),
            Raw::Float(float) => {
                out.extend_from_slice(crate::text::number::format_general(*float).as_bytes());
            }
            Raw::String(text) => literal(text, out),
            Raw::Path(text) => out.extend_from_slice(text),
            Raw::Variable(symbol, _) => identifier(self.symbols.text(*symbol), out),
            Raw::CurrentPosition(_) => out.extend_from_slice(b"__curPos"),
            Raw::SearchPath(..) => {
                out.push(b'(');
                self.hidden_call(raw, out);
                out.push(b')');
            }
            Raw::Select { base, path, default, .. } => {
                out.push(b'(');
                self.expression(base, out);
                out.extend_from_slice(b").");
                self.path(path, out);
                if let Some(default) = default {
                    out.extend_from_slice(b" or (");
                    self.expression(default, out);
                    out.push(b')');
                }
            }
            Raw::HasAttr { base, path, .. } => {
                out.extend_from_slice(b"((");
                self.expression(base, out);
                out.extend_from_slice(b") ? ");
                self.path(path, out);
                out.push(b')');
            }
            Raw::Set(id) => {
                if self.sets[id.0 as usize].recursive {
                    out.extend_from_slice(b"rec ");
                }
                out.extend_from_slice(b"{ ");
                self.bindings(*id, out);
                out.push(b'}');
            }
            Raw::List(elements) => {
                out.extend_from_slice(b"[ ");
                for element in *elements {
                    out.push(b'(');
                    self.expression(element, out);
                    out.extend_from_slice(b") ");
                }
                out.push(b']');
            }
            Raw::Lambda(lambda) => {
                out.push(b'(');
                if let Some(formals) = &lambda.formals {
                    self.formals(formals, out);
                    if lambda.argument.is_some() {
                        out.extend_from_slice(b" @ ");
                    }
                }
                if let Some(argument) = lambda.argument {
                    identifier(self.symbols.text(argument), out);
                }
                out.extend_from_slice(b": ");
                self.expression(lambda.body, out);
                out.push(b')');
            }
            Raw::Apply { function, arguments, .. } => {
                out.push(b'(');
                // Operators that are calls underneath take more arguments as calls do.
                if !self.hidden_call(function, out) {
                    self.expression(function, out);
                }
                for argument in *arguments {
                    out.push(b' ');
                    self.expression(argument, out);
                }
                out.push(b')');
            }
            Raw::Let { set, body } => {
                out.extend_from_slice(b"(let ");
                self.bindings(*set, out);
                out.extend_from_slice(b"in ");
                self.expression(body, out);
                out.push(b')');
            }
            Raw::With { scope, body, .. } => {
                out.extend_from_slice(b"(with ");
                self.expression(scope, out);
                out.extend_from_slice(b"; ");
                self.expression(body, out);
                out.push(b')');
            }
            Raw::If { condition, then, otherwise, .. } => {
                out.extend_from_slice(b"(if ");
                self.expression(condition, out);
                out.extend_from_slice(b" then ");
                self.expression(then, out);
                out.extend_from_slice(b" else ");
                self.expression(otherwise, out);
                out.push(b')');
            }
            Raw::Assert { condition, body, .. } => {
                out.extend_from_slice(b"assert ");
                self.expression(condition, out);
                out.extend_from_slice(b"; ");
                self.expression(body, out);
            }
            Raw::Not(operand) => {
                out.extend_from_slice(b"(! ");
                self.expression(operand, out);
                out.push(b')');
            }
            Raw::Binary { operator, left, right, .. } => match operator {
                BinaryOperator::Equal => self.pair(left, "==", right, out),
                BinaryOperator::NotEqual => self.pair(left, "!=", right, out),
                BinaryOperator::And => self.pair(left, "&&", right, out),
                BinaryOperator::Or => self.pair(left, "||", right, out),
                BinaryOperator::Implies => self.pair(left, "->", right, out),
                BinaryOperator::Update => self.pair(left, "//", right, out),
                BinaryOperator::Concat => self.pair(left, "++", right, out),
                _ => {
                    out.push(b'(');
                    self.hidden_call(raw, out);
                    out.push(b')');
                }
            },
            Raw::Join { parts, .. } => {
                out.push(b'(');
                for (index, (part, _)) in parts.iter().enumerate() {
                    if index > 0 {
                        out.extend_from_slice(b" + ");
                    }
                    self.expression(part, out);
                }
                out.push(b')');
            }
        }
    }

    fn formals(&self, formals: &super::tree::RawFormals<'a>, out: &mut Vec<u8>) {
        let mut entries: Vec<_> = formals.entries.iter().collect();
        entries.sort_by_key(|formal| self.symbols.text(formal.symbol));
        out.extend_from_slice(b"{ ");
        for (index, formal) in entries.iter().enumerate() {
            if index > 0 {
                out.extend_from_slice(b", ");
            }
            identifier(self.symbols.text(formal.symbol), out);
            if let Some(default) = formal.default {
                out.extend_from_slice(b" ? ");
                self.expression(default, out);
            }
        }
        if formals.ellipsis {
            out.extend_from_slice(if entries.is_empty() { b"..." } else { b", ..." });
        }
        out.extend_from_slice(b" }");
    }

    /// Appends bindings: inherited ones first, then the others, each in the order of their names.
    fn bindings(&self, id: SetId, out: &mut Vec<u8>) {
        let set = &self.sets[id.0 as usize];
        let mut attrs: Vec<_> = set.attrs.iter().collect();
        attrs.sort_by_key(|attr| self.symbols.text(attr.symbol));
        let names = |wanted: &dyn Fn(&RawValue<'a>) -> bool, out: &mut Vec<u8>| {
            for attr in attrs.iter().filter(|attr| wanted(&attr.value)) {
                out.push(b' ');
                identifier(self.symbols.text(attr.symbol), out);
            }
            out.extend_from_slice(b"; ");
        };
        let is_inherited = |value: &RawValue<'a>| matches!(value, RawValue::Inherited);
        if attrs.iter().any(|attr| is_inherited(&attr.value)) {
            out.extend_from_slice(b"inherit");
            names(&is_inherited, out);
        }
        for (index, source) in set.sources.iter().enumerate() {
            let index = index as u32;
            let is_from =
                |value: &RawValue<'a>| matches!(value, RawValue::InheritedFrom(from) if *from == index);
            if attrs.iter().any(|attr| is_from(&attr.value)) {
                out.extend_from_slice(b"inherit (");
                self.expression(source, out);
                out.push(b')');
                names(&is_from, out);
            }
        }
        for attr in &attrs {
            if let RawValue::Plain(value) = attr.value {
                identifier(self.symbols.text(attr.symbol), out);
                out.extend_from_slice(b" = ");
                self.expression(value, out);
                out.extend_from_slice(b"; ");
            }
        }
        for dynamic in &set.dynamic {
            out.extend_from_slice(b"\"${");
            self.expression(dynamic.name, out);
            out.extend_from_slice(b"}\" = ");
            self.expression(dynamic.value, out);
            out.extend_from_slice(b"; ");
        }
    }
}
