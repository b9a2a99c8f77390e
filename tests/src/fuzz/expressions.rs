//! Expressions from bytes: always right as text, mostly of the types that operators and builtins want, so that an evaluation gets somewhere.

use std::fmt::Write;

use super::Bytes;

const VARIABLES: &[&str] = &["a", "b", "c", "x", "y", "f"];
const ATTRIBUTES: &[&str] = &["a", "b", "c", "\"d e\"", "name", "value", "type"];
const INTEGERS: &[&str] = &["0", "1", "2", "3", "7", "10", "255", "4294967296", "9223372036854775807", "(-1)", "(-9223372036854775807)"];
const FLOATS: &[&str] = &["0.0", "1.0", "1.5", "(-2.25)", "1.0e10", "0.1", "3.14", "1.0e-5"];
const STRINGS: &[&str] = &["", "a", "b", "abc", "a-b", "1", "1.2.3", "x/y", "é", "\\n", "''", "\\\"", "$", "\\${", "[a-z]+", "(.)(b)?", "{\\\"a\\\": [1, null]}", " "];
/// Functions of builtins, with the types of their arguments: i(nt), n(umber), s(tring), l(ist), a(ttrs), b(ool), f(unction), g (of two arguments), e (anything).
const BUILTINS: &[(&str, &str)] = &[
    ("add", "nn"), ("sub", "nn"), ("mul", "nn"), ("div", "nn"), ("lessThan", "nn"), ("ceil", "n"), ("floor", "n"), ("bitAnd", "ii"), ("bitOr", "ii"), ("bitXor", "ii"),
    ("stringLength", "s"), ("substring", "iis"), ("replaceStrings", "lls"), ("split", "ss"), ("match", "ss"), ("concatStringsSep", "sl"), ("toString", "e"), ("hashString", "ss"),
    ("toJSON", "e"), ("fromJSON", "s"), ("toXML", "e"), ("splitVersion", "s"), ("compareVersions", "ss"), ("parseDrvName", "s"), ("baseNameOf", "s"), ("dirOf", "s"),
    ("length", "l"), ("head", "l"), ("tail", "l"), ("elemAt", "li"), ("elem", "el"), ("concatLists", "l"), ("map", "fl"), ("filter", "fl"), ("all", "fl"), ("any", "fl"),
    ("foldl'", "gel"), ("genList", "fi"), ("sort", "gl"), ("partition", "fl"), ("groupBy", "fl"), ("concatMap", "fl"), ("genericClosure", "a"), ("listToAttrs", "l"),
    ("attrNames", "a"), ("attrValues", "a"), ("getAttr", "sa"), ("hasAttr", "sa"), ("removeAttrs", "al"), ("intersectAttrs", "aa"), ("mapAttrs", "ga"), ("catAttrs", "sl"),
    ("zipAttrsWith", "gl"), ("functionArgs", "f"), ("typeOf", "e"), ("isAttrs", "e"), ("isList", "e"), ("isString", "e"), ("isInt", "e"), ("isFloat", "e"), ("isBool", "e"),
    ("isNull", "e"), ("isFunction", "e"), ("seq", "ee"), ("deepSeq", "ee"), ("tryEval", "e"), ("throw", "s"), ("abort", "s"), ("fromTOML", "s"), ("addErrorContext", "se"),
    ("unsafeGetAttrPos", "sa"), ("hasContext", "s"), ("getContext", "s"), ("unsafeDiscardStringContext", "s"), ("convertHash", "a"),
];

/// Returns an expression without free variables.
pub fn expression(bytes: &mut Bytes<'_>) -> String {
    let mut generator = Generator { bytes, scope: Vec::new(), out: String::new() };
    generator.any(5);
    generator.out
}

struct Generator<'g, 'b> {
    bytes: &'g mut Bytes<'b>,
    scope: Vec<&'static str>,
    out: String,
}

impl Generator<'_, '_> {
    fn push(&mut self, text: &str) {
        self.out.push_str(text);
    }

    fn any(&mut self, depth: usize) {
        let kind = *self.bytes.pick(b"insslabfge");
        self.of_type(kind, depth);
    }

    fn operand(&mut self, kind: u8, depth: usize) {
        self.push("(");
        self.of_type(kind, depth);
        self.push(")");
    }

    /// Writes an expression that is probably of this type.
    fn of_type(&mut self, kind: u8, depth: usize) {
        if depth == 0 || self.bytes.is_empty() {
            return self.simple(kind);
        }
        let depth = depth - 1;
        match self.bytes.below(16) {
            0..=2 => self.simple(kind),
            3 => {
                self.push("if ");
                self.of_type(b'b', depth);
                self.push(" then ");
                self.of_type(kind, depth);
                self.push(" else ");
                self.of_type(kind, depth);
            }
            4 => {
                self.push("let ");
                let outer = self.scope.len();
                let names: Vec<&'static str> = (0..1 + self.bytes.below(3)).map(|_| *self.bytes.pick(VARIABLES)).collect();
                let mut distinct: Vec<&'static str> = Vec::new();
                for name in names {
                    if !distinct.contains(&name) {
                        distinct.push(name);
                    }
                }
                self.scope.extend(&distinct);
                for name in distinct {
                    self.push(name);
                    self.push(" = ");
                    self.any(depth);
                    self.push("; ");
                }
                self.push("in ");
                self.of_type(kind, depth);
                self.scope.truncate(outer);
            }
            5 => {
                self.push("with ");
                self.operand(b'a', depth);
                self.push("; ");
                self.of_type(kind, depth);
            }
            6 => {
                self.push("assert ");
                self.of_type(b'b', depth);
                self.push("; ");
                self.of_type(kind, depth);
            }
            7 => {
                self.operand(b'f', depth);
                self.push(" ");
                self.operand(b'e', depth);
            }
            8 => {
                self.operand(b'a', depth);
                let attribute = *self.bytes.pick(ATTRIBUTES);
                let _ = write!(self.out, ".{attribute}");
                if self.bytes.byte() & 1 == 0 {
                    self.push(" or ");
                    self.operand(kind, depth);
                }
            }
            9..=11 => self.builtin(depth),
            _ => self.typed(kind, depth),
        }
    }

    fn builtin(&mut self, depth: usize) {
        let (name, arguments) = *self.bytes.pick(BUILTINS);
        let _ = write!(self.out, "builtins.{name}");
        for kind in arguments.bytes() {
            self.push(" ");
            if name == "hashString" && self.out.ends_with("hashString ") {
                self.push("\"sha256\"");
            } else {
                self.operand(kind, depth);
            }
        }
    }

    /// Writes an expression made by an operator or a literal of this type.
    fn typed(&mut self, kind: u8, depth: usize) {
        match kind {
            b'i' | b'n' => {
                let operator = *self.bytes.pick(&["+", "-", "*", "/"]);
                self.binary(operator, kind, kind, depth);
            }
            b's' => match self.bytes.below(3) {
                0 => self.binary("+", b's', b's', depth),
                1 => {
                    self.push("\"a${");
                    self.of_type(b's', depth);
                    self.push("}b\"");
                }
                _ => {
                    self.push("''\n  x\n    ${");
                    self.of_type(b's', depth);
                    self.push("}\n ''");
                }
            },
            b'b' => match self.bytes.below(6) {
                0 => {
                    let operator = *self.bytes.pick(&["&&", "||", "->"]);
                    self.binary(operator, b'b', b'b', depth);
                }
                1 => {
                    let operator = *self.bytes.pick(&["==", "!="]);
                    self.binary(operator, b'e', b'e', depth);
                }
                2 | 3 => {
                    let operator = *self.bytes.pick(&["<", "<=", ">", ">="]);
                    let kind = *self.bytes.pick(b"nnsl");
                    self.binary(operator, kind, kind, depth);
                }
                4 => {
                    self.push("!");
                    self.operand(b'b', depth);
                }
                _ => {
                    self.operand(b'a', depth);
                    let attribute = *self.bytes.pick(ATTRIBUTES);
                    let _ = write!(self.out, " ? {attribute}");
                }
            },
            b'l' => match self.bytes.below(3) {
                0 => self.binary("++", b'l', b'l', depth),
                _ => {
                    let kind = *self.bytes.pick(b"nsale");
                    self.push("[ ");
                    for _ in 0..self.bytes.below(5) {
                        self.operand(kind, depth);
                        self.push(" ");
                    }
                    self.push("]");
                }
            },
            b'a' => match self.bytes.below(4) {
                0 => self.binary("//", b'a', b'a', depth),
                recursive => self.attributes(recursive == 1, depth),
            },
            b'f' | b'g' => self.function(kind, depth),
            _ => {
                let kind = *self.bytes.pick(b"nsbla");
                self.typed(kind, depth);
            }
        }
    }

    fn binary(&mut self, operator: &str, left: u8, right: u8, depth: usize) {
        self.operand(left, depth);
        let _ = write!(self.out, " {operator} ");
        self.operand(right, depth);
    }

    fn attributes(&mut self, recursive: bool, depth: usize) {
        self.push(if recursive { "rec { " } else { "{ " });
        let mut names: Vec<&'static str> = Vec::new();
        for _ in 0..self.bytes.below(4) {
            let name = *self.bytes.pick(ATTRIBUTES);
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let outer = self.scope.len();
        if recursive {
            self.scope.extend(names.iter().filter(|name| VARIABLES.contains(name)));
        }
        for name in names {
            self.push(name);
            self.push(" = ");
            self.any(depth);
            self.push("; ");
        }
        self.scope.truncate(outer);
        self.push("}");
    }

    fn function(&mut self, kind: u8, depth: usize) {
        let outer = self.scope.len();
        let name = *self.bytes.pick(VARIABLES);
        if kind == b'f' && self.bytes.below(3) == 0 {
            let _ = write!(self.out, "{{ {name} ? ");
            self.any(depth);
            let end = *self.bytes.pick(&[", ... }: ", " }: "]);
            self.push(end);
        } else {
            let _ = write!(self.out, "{name}: ");
        }
        self.scope.push(name);
        if kind == b'g' {
            let name = *self.bytes.pick(VARIABLES);
            let _ = write!(self.out, "{name}: ");
            self.scope.push(name);
        }
        self.any(depth);
        self.scope.truncate(outer);
    }

    fn simple(&mut self, kind: u8) {
        if !self.scope.is_empty() && self.bytes.below(3) == 0 {
            let index = self.bytes.below(self.scope.len());
            let name = self.scope[index];
            return self.push(name);
        }
        let text = match kind {
            b'i' => *self.bytes.pick(INTEGERS),
            b'n' => {
                let from = if self.bytes.byte() & 3 == 0 { FLOATS } else { INTEGERS };
                *self.bytes.pick(from)
            }
            b's' => {
                let text = *self.bytes.pick(STRINGS);
                let _ = write!(self.out, "\"{text}\"");
                return;
            }
            b'b' => *self.bytes.pick(&["true", "false"]),
            b'l' => *self.bytes.pick(&["[ ]", "[ 1 2 ]", "[ \"a\" \"b\" ]", "[ { a = 1; } ]", "[ 3 1 2 ]", "[ { name = \"a\"; value = 1; } ]"]),
            b'a' => *self.bytes.pick(&["{ }", "{ a = 1; }", "{ a.b = \"c\"; }", "{ b = 2; c = [ ]; }", "{ __functor = self: x: x; }", "{ __toString = self: \"s\"; }"]),
            b'f' => *self.bytes.pick(&["x: x", "x: true", "x: x + 1", "x: [ x ]", "{ a ? 1, ... }: a", "builtins.toString", "x: y: x"]),
            b'g' => *self.bytes.pick(&["x: y: x", "x: y: y", "x: y: x + y", "x: y: x < y", "x: y: [ x y ]", "builtins.add"]),
            _ => *self.bytes.pick(&["null", "1", "\"a\"", "true", "[ ]", "{ }", "x: x", "./x"]),
        };
        self.push(text);
    }
}
