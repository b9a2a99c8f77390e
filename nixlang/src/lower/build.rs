//! The sink of the parser that makes the tree between text and IR.
//!
//! It does what the reference's parser actions do, at the same moments: names are interned, sets
//! merged and duplicates reported when a production ends. So symbol numbers and the error that is
//! reported first are the same; a lambda's parameter gets its number after the body's names.

use bumpalo::Bump;

use super::error::{LowerError, LowerErrorKind};
use super::lint::{Lint, LintLevel, Lints};
use super::expr::BinaryOperator;
use super::show::Show;
use super::tree::{Raw, RawFormal, RawName, Set, SetId};
use crate::source::Pos;
use crate::symbol::{Symbol, SymbolTable};
use crate::syntax::error::SyntaxError;
use crate::syntax::kind::SyntaxKind;
use crate::syntax::lexer::Token;
use crate::syntax::parser::{Sink, Step, Stop};
use crate::syntax::text;

use SyntaxKind as K;

/// What path literals are relative to.
#[derive(Clone, Copy, Debug)]
pub struct PathContext<'a> {
    /// The directory that relative paths start from; absolute and canonical.
    pub base: &'a [u8],
    /// What `~` stands for.
    pub home: Home<'a>,
}

/// What `~` stands for.
#[derive(Clone, Copy, Debug)]
pub enum Home<'a> {
    /// This directory.
    Directory(&'a [u8]),
    /// Nothing, the evaluation is pure.
    Pure,
    /// Nothing, nobody said.
    Unknown,
}

/// What the nodes and tokens so far have become.
#[derive(Clone, Copy)]
pub(super) enum Item<'a> {
    /// An expression and where it begins.
    Expression(&'a Raw<'a>, Pos),
    Token(SyntaxKind, Pos),
    /// Text of a string or path; says whether its leading spaces are indentation.
    Text { text: &'a [u8], indentation: bool, pos: Pos },
    Name(RawName<'a>),
    Path(&'a [RawName<'a>], Pos),
    Source(&'a Raw<'a>),
    /// A parameter's name: its bytes, not interned yet.
    Parameter(&'a [u8], Pos),
    Formal(RawFormal<'a>),
    Pattern { bind: Option<(&'a [u8], Pos)>, entries: &'a [RawFormal<'a>], ellipsis: bool },
}

#[derive(Clone, Copy)]
struct Frame {
    base: usize,
    position: u32,
    kind: SyntaxKind,
    set: SetId,
}

const NO_SET: SetId = SetId(u32::MAX);

/// The sink.
pub(super) struct Builder<'a, 'h> {
    pub(super) bump: &'a Bump,
    pub(super) source: &'a [u8],
    start: Pos,
    pub(super) symbols: &'a SymbolTable<'h>,
    paths: PathContext<'a>,
    lints: Lints,
    /// What lints only warn of, with positions.
    pub(super) warnings: Vec<(Lint, Pos)>,
    pub(super) items: Vec<Item<'a>>,
    frames: Vec<Frame>,
    pub(super) sets: Vec<Set<'a>>,
    /// The token that came last, and the identifier that came last.
    last: Token,
    last_name: Token,
    body: Symbol,
    scratch: Vec<u8>,
    pub(super) error: Option<LowerError>,
    /// Whether the root holds bindings and not an expression.
    bindings: bool,
}

impl<'a, 'h> Builder<'a, 'h> {
    /// Returns a builder for a source whose first byte is at `start`.
    pub(super) fn new(
        bump: &'a Bump,
        source: &'a [u8],
        start: Pos,
        symbols: &'a SymbolTable<'h>,
        paths: PathContext<'a>,
        lints: Lints,
        bindings: bool,
    ) -> Builder<'a, 'h> {
        let nothing = Token { start: 0, end: 0, kind: K::Eof };
        Builder {
            bump,
            source,
            start,
            symbols,
            paths,
            lints,
            warnings: Vec::new(),
            items: Vec::new(),
            frames: Vec::new(),
            sets: Vec::new(),
            last: nothing,
            last_name: nothing,
            body: symbols.intern(b"body"),
            scratch: Vec::new(),
            error: None,
            bindings,
        }
    }

    /// Returns what the root holds: an expression, or the set of bindings.
    pub(super) fn finished(&self) -> Option<&'a Raw<'a>> {
        match self.items.first() {
            Some(Item::Expression(raw, _)) => Some(raw),
            _ => None,
        }
    }

    pub(super) fn pos(&self, offset: u32) -> Pos {
        Pos(self.start.0 + offset)
    }

    fn text(&self, token: Token) -> &'a [u8] {
        &self.source[token.start as usize..token.end as usize]
    }

    pub(super) fn fail<T>(&mut self, kind: LowerErrorKind, pos: Pos) -> Step<T> {
        self.error = Some(LowerError { kind, pos });
        Err(Stop)
    }

    pub(super) fn raw(&mut self, raw: Raw<'a>, position: u32) {
        let pos = self.pos(position);
        self.items.push(Item::Expression(self.bump.alloc(raw), pos));
    }

    fn push_raw(&mut self, raw: &'a Raw<'a>, position: u32) {
        let pos = self.pos(position);
        self.items.push(Item::Expression(raw, pos));
    }

    pub(super) fn pop(&mut self) -> (&'a Raw<'a>, Pos) {
        match self.items.pop() {
            Some(Item::Expression(raw, pos)) => (raw, pos),
            _ => unreachable!("the grammar sends an expression here"),
        }
    }

    fn pop_path(&mut self) -> (&'a [RawName<'a>], Pos) {
        match self.items.pop() {
            Some(Item::Path(path, pos)) => (path, pos),
            _ => unreachable!("the grammar sends an attribute path here"),
        }
    }

    fn expressions(&mut self, base: usize) -> &'a [&'a Raw<'a>] {
        let raws = self.bump.alloc_slice_fill_iter(self.items[base..].iter().map(|item| match item {
            Item::Expression(raw, _) => *raw,
            _ => unreachable!("the grammar sends expressions here"),
        }));
        self.items.truncate(base);
        raws
    }

    /// Returns the set that bindings of the innermost node belong to.
    fn current_set(&self) -> SetId {
        self.frames.last().map_or(NO_SET, |frame| frame.set)
    }

    fn unescaped(&mut self, text: &'a [u8]) -> &'a [u8] {
        if memchr::memchr2(b'\\', b'\r', text).is_none() {
            return text;
        }
        self.scratch.clear();
        text::unescape(text, &mut self.scratch);
        self.bump.alloc_slice_copy(&self.scratch)
    }

    /// Calls are flattened: an application of a call adds arguments to it.
    fn apply(
        &self,
        function: &'a Raw<'a>,
        arguments: &'a [&'a Raw<'a>],
        pos: Pos,
    ) -> Raw<'a> {
        match function {
            Raw::Apply { function, arguments: first, pos } => {
                let all = first.iter().chain(arguments).copied();
                let mut merged = Vec::with_capacity(first.len() + arguments.len());
                merged.extend(all);
                Raw::Apply { function, arguments: self.bump.alloc_slice_copy(&merged), pos: *pos }
            }
            _ => Raw::Apply { function, arguments, pos },
        }
    }

    fn binary(&mut self, base: usize) {
        let (right, right_pos) = self.pop();
        let Some(Item::Token(operator, pos)) = self.items.pop() else {
            unreachable!("the grammar sends an operator here")
        };
        let (left, left_pos) = self.pop();
        debug_assert_eq!(self.items.len(), base);
        let simple = |operator| Raw::Binary { operator, left, right, pos };
        let swapped =
            Raw::Binary { operator: BinaryOperator::Less, left: right, right: left, pos };
        let raw = match operator {
            K::EqEq => simple(BinaryOperator::Equal),
            K::NotEq => simple(BinaryOperator::NotEqual),
            K::AndAnd => simple(BinaryOperator::And),
            K::OrOr => simple(BinaryOperator::Or),
            K::Implies => simple(BinaryOperator::Implies),
            K::Update => simple(BinaryOperator::Update),
            K::Concat => simple(BinaryOperator::Concat),
            K::Minus => simple(BinaryOperator::Subtract),
            K::Star => simple(BinaryOperator::Multiply),
            K::Slash => simple(BinaryOperator::Divide),
            K::Less => simple(BinaryOperator::Less),
            K::Greater => swapped,
            K::LessEq => Raw::Not(self.bump.alloc(swapped)),
            K::GreaterEq => Raw::Not(self.bump.alloc(simple(BinaryOperator::Less))),
            K::PipeFrom => self.apply(left, self.bump.alloc_slice_copy(&[right]), pos),
            K::PipeInto => self.apply(right, self.bump.alloc_slice_copy(&[left]), pos),
            _ => Raw::Join {
                parts: self.bump.alloc_slice_copy(&[(left, left_pos), (right, right_pos)]),
                interpolation: false,
                pos,
            },
        };
        self.items.push(Item::Expression(self.bump.alloc(raw), left_pos));
    }

    /// Turns what `string` or `${}` left into an attribute's name.
    fn name(&mut self, parent: SyntaxKind) -> Step {
        let (raw, pos) = self.pop();
        let name = match raw {
            Raw::String(text) => RawName::Static(self.symbols.intern(text), pos),
            _ if parent == K::InheritBinding => {
                return self.fail(LowerErrorKind::DynamicInInherit, pos);
            }
            _ => RawName::Dynamic(raw, pos),
        };
        self.items.push(Item::Name(name));
        Ok(())
    }

    pub(super) fn show_symbol(&self, symbol: Symbol) -> String {
        Show::new(self.symbols, &self.sets).symbol(symbol)
    }

    fn lint(&mut self, found: Option<(LintLevel, Lint)>, pos: Pos) -> Step {
        match found {
            Some((LintLevel::Fatal, lint)) => self.fail(LowerErrorKind::Lint(lint), pos),
            Some((_, lint)) => {
                self.warnings.push((lint, pos));
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn literal(&mut self, position: u32) -> Step {
        let text = self.text(self.last);
        if self.last.kind == K::Uri {
            self.lint(self.lints.of_url(text), self.pos(position))?;
        }
        let ascii = || str::from_utf8(text).unwrap_or_default();
        let raw = match self.last.kind {
            // The lexer has rejected what doesn't fit.
            K::Integer => Raw::Int(ascii().parse().unwrap_or_default()),
            K::Float => Raw::Float(ascii().parse().unwrap_or_default()),
            _ => Raw::String(text),
        };
        self.raw(raw, position);
        Ok(())
    }

    /// Returns the path value that the first token of a path stands for.
    pub(super) fn resolve_path(&mut self, kind: SyntaxKind, text: &[u8], pos: Pos) -> Step<&'a [u8]> {
        let written = || String::from_utf8_lossy(text).into_owned();
        if kind != K::HomePath || !matches!(self.paths.home, Home::Pure) {
            self.lint(self.lints.of_path(kind == K::HomePath, text), pos)?;
        }
        let joined;
        let absolute = match (kind, text.first()) {
            (K::HomePath, _) => match self.paths.home {
                Home::Directory(home) => {
                    joined = [home, &text[1..]].concat();
                    &joined
                }
                Home::Pure => {
                    let kind = LowerErrorKind::HomeInPureMode { path: written() };
                    return self.fail(kind, Pos::NONE);
                }
                Home::Unknown => return self.fail(LowerErrorKind::NoHome { path: written() }, pos),
            },
            (_, Some(b'/')) => text,
            _ => {
                joined = [self.paths.base, text].join(&b'/');
                &joined
            }
        };
        let mut path = crate::path::canonicalise(absolute);
        if text.len() > 1 && text.last() == Some(&b'/') {
            path.push(b'/');
        }
        Ok(self.bump.alloc_slice_copy(&path))
    }

    fn inherit(&mut self, base: usize) -> Step {
        let set = self.current_set();
        let first = match self.items.get(base) {
            Some(&Item::Source(source)) => {
                let sources = &mut self.sets[set.0 as usize].sources;
                sources.push(source);
                Some(sources.len() as u32 - 1)
            }
            _ => None,
        };
        for index in base..self.items.len() {
            if let Item::Name(RawName::Static(symbol, pos)) = self.items[index] {
                self.add_inherited(set, symbol, pos, first)?;
            }
        }
        self.items.truncate(base);
        Ok(())
    }
}

impl<'a> Sink for Builder<'a, '_> {
    type Checkpoint = (usize, u32);
    const RECOVER: bool = false;

    fn token(&mut self, token: Token) {
        self.last = token;
        let pos = self.pos(token.start);
        match token.kind {
            K::Ident | K::Or => self.last_name = token,
            K::StringContent => {
                let text = self.unescaped(self.text(token));
                self.items.push(Item::Text { text, indentation: false, pos });
            }
            K::IndStringContent => {
                self.items.push(Item::Text { text: self.text(token), indentation: true, pos });
            }
            K::IndStringEscape => {
                self.scratch.clear();
                text::unescape_indented(self.text(token), &mut self.scratch);
                let text = self.bump.alloc_slice_copy(&self.scratch);
                self.items.push(Item::Text { text, indentation: false, pos });
            }
            K::Path | K::HomePath | K::PathContent => {
                self.items.push(Item::Text { text: self.text(token), indentation: false, pos });
            }
            // Operators; those of other meanings are dropped below.
            K::EqEq | K::NotEq | K::LessEq | K::GreaterEq | K::Less | K::Greater | K::Update
            | K::Concat | K::AndAnd | K::OrOr | K::Implies | K::PipeFrom | K::PipeInto
            | K::Plus | K::Minus | K::Star | K::Slash | K::Not | K::Ellipsis => {
                self.items.push(Item::Token(token.kind, pos));
            }
            _ => {}
        }
    }

    fn checkpoint(&mut self, position: u32) -> (usize, u32) {
        (self.items.len(), position)
    }

    fn start(&mut self, kind: SyntaxKind, position: u32) {
        let makes_set = match kind {
            K::AttrSet | K::LegacyLet | K::LetIn => true,
            K::Root => self.bindings,
            _ => false,
        };
        let set = if makes_set {
            let pos = self.pos(position);
            self.sets.push(Set::at(pos, self.bump));
            SetId(self.sets.len() as u32 - 1)
        } else {
            NO_SET
        };
        self.frames.push(Frame { base: self.items.len(), position, kind, set });
    }

    fn start_at(&mut self, (base, position): (usize, u32), kind: SyntaxKind) {
        self.frames.push(Frame { base, position, kind, set: NO_SET });
    }

    fn finish(&mut self, kind: SyntaxKind) -> Step {
        let frame = self.frames.pop().expect("the grammar starts what it finishes");
        let Frame { base, position, set, .. } = frame;
        debug_assert_eq!(frame.kind, kind);
        let pos = self.pos(position);
        let parent = self.frames.last().map_or(K::Root, |frame| frame.kind);
        match kind {
            K::Root => {
                if set != NO_SET {
                    self.raw(Raw::Set(set), position);
                }
            }
            K::Variable => {
                let text = self.text(self.last_name);
                // The old form `f or` gives its variable the place of the whole.
                let pos = match (self.last_name.kind, self.frames.last()) {
                    (K::Or, Some(apply)) => self.pos(apply.position),
                    _ => pos,
                };
                let raw = match text {
                    b"__curPos" => Raw::CurrentPosition(pos),
                    _ => Raw::Variable(self.symbols.intern(text), pos),
                };
                self.raw(raw, position);
            }
            K::Literal => self.literal(position)?,
            K::SearchPathNode => {
                let text = self.text(self.last);
                self.raw(Raw::SearchPath(&text[1..text.len() - 1], pos), position);
            }
            K::StringNode => {
                let raw = self.string(base);
                self.push_raw(raw, position);
                if matches!(parent, K::AttrPath | K::InheritBinding) {
                    self.name(parent)?;
                }
            }
            K::IndStringNode => {
                let raw = self.ind_string(base, pos);
                self.push_raw(raw, position);
            }
            K::PathNode => {
                let raw = self.path(base, pos)?;
                self.push_raw(raw, position);
            }
            K::Paren | K::Interpolation => {
                let (raw, _) = self.pop();
                self.push_raw(raw, position);
            }
            K::List => {
                let elements = self.expressions(base);
                self.raw(Raw::List(elements), position);
            }
            K::AttrSet => {
                self.sets[set.0 as usize].recursive = self.source[position as usize] == b'r';
                self.raw(Raw::Set(set), position);
            }
            K::LegacyLet => {
                self.sets[set.0 as usize].recursive = true;
                let base = &*self.bump.alloc(Raw::Set(set));
                let name = RawName::Static(self.body, Pos::NONE);
                let path = &*self.bump.alloc_slice_fill_iter([name]);
                self.raw(Raw::Select { base, path, default: None, pos: Pos::NONE }, position);
            }
            K::Select => {
                let default = match self.items.last() {
                    Some(Item::Expression(..)) => Some(self.pop().0),
                    _ => None,
                };
                let (path, _) = self.pop_path();
                let (base, _) = self.pop();
                self.raw(Raw::Select { base, path, default, pos }, position);
            }
            K::HasAttr => {
                let (path, _) = self.pop_path();
                let (base, _) = self.pop();
                self.raw(Raw::HasAttr { base, path, pos }, position);
            }
            K::Apply => {
                let all = self.expressions(base);
                if self.last.kind == K::Or
                    && matches!(parent, K::List | K::Apply | K::Select)
                    && matches!(all, [_, Raw::Variable(name, _)] if self.symbols.text(*name) == b"or")
                {
                    let text = &self.source[position as usize..self.last.end as usize];
                    let text = String::from_utf8_lossy(text).into_owned();
                    self.warnings.push((Lint::OrAsVariable { text }, pos));
                }
                if let [function, arguments @ ..] = all {
                    let raw = self.apply(function, arguments, pos);
                    self.raw(raw, position);
                }
            }
            K::UnaryOp => {
                let (operand, _) = self.pop();
                let raw = match self.items.pop() {
                    Some(Item::Token(K::Not, _)) => Raw::Not(operand),
                    _ => Raw::Binary {
                        operator: BinaryOperator::Subtract,
                        left: self.bump.alloc(Raw::Int(0)),
                        right: operand,
                        pos,
                    },
                };
                self.raw(raw, position);
            }
            K::BinaryOp => self.binary(base),
            K::Lambda => self.lambda(position)?,
            K::IdentParam | K::PatternBind => {
                let name = self.text(self.last_name);
                let pos = self.pos(self.last_name.start);
                self.items.push(Item::Parameter(name, pos));
            }
            K::Pattern => self.pattern(base),
            K::PatternEntry => self.pattern_entry(base, position),
            K::LetIn => {
                let (body, _) = self.pop();
                if !self.sets[set.0 as usize].dynamic.is_empty() {
                    return self.fail(LowerErrorKind::DynamicInLet, pos);
                }
                self.raw(Raw::Let { set, body }, position);
            }
            K::WithExpr => {
                let (body, _) = self.pop();
                let (scope, _) = self.pop();
                self.raw(Raw::With { scope, body, pos }, position);
            }
            K::AssertExpr => {
                let (body, _) = self.pop();
                let (condition, _) = self.pop();
                self.raw(Raw::Assert { condition, body, pos }, position);
            }
            K::IfElse => {
                let (otherwise, _) = self.pop();
                let (then, _) = self.pop();
                let (condition, _) = self.pop();
                self.raw(Raw::If { condition, then, otherwise, pos }, position);
            }
            K::Name => {
                let symbol = self.symbols.intern(self.text(self.last_name));
                self.items.push(Item::Name(RawName::Static(symbol, pos)));
            }
            K::DynamicAttr => {
                let (raw, _) = self.pop();
                self.push_raw(raw, position);
                self.name(parent)?;
            }
            K::AttrPath => {
                let names = self.items[base..].iter().map(|item| match item {
                    Item::Name(name) => *name,
                    _ => unreachable!("the grammar sends names here"),
                });
                let path = self.bump.alloc_slice_fill_iter(names);
                self.items.truncate(base);
                self.items.push(Item::Path(path, pos));
            }
            K::Binding => {
                let (value, _) = self.pop();
                let (path, pos) = self.pop_path();
                let set = self.current_set();
                self.add_binding(set, path, pos, value)?;
            }
            K::InheritFrom => {
                let (source, _) = self.pop();
                self.items.push(Item::Source(source));
            }
            K::InheritBinding => self.inherit(base)?,
            _ => {}
        }
        Ok(())
    }

    fn error(&mut self, error: SyntaxError) {
        let pos = self.pos(error.position);
        self.error = Some(LowerError { kind: LowerErrorKind::Syntax(error.kind), pos });
    }
}
