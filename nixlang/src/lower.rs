//! From text to the IR.
//!
//! Two passes over one source. The parser feeds a builder (`build.rs`) that makes a compact tree
//! with names, doing what the reference's parser does at the same moments; then the resolver
//! (`resolve.rs`) turns names into slots and the tree into IR in the heap. The tree is freed
//! afterwards.
//!
//! The surprising thing: a variable that nothing defines is an error of the whole source, even in
//! code that is never evaluated.

mod bindings;
mod build;
mod error;
pub mod expr;
mod lint;
mod patterns;
mod resolve;
mod scope;
mod show;
mod strings;
#[cfg(test)]
mod tests;
mod tree;

use bumpalo::Bump;

pub use build::{Home, PathContext};
pub use error::{LowerError, LowerErrorKind};
pub use lint::{Lint, LintLevel, Lints, UnknownLintLevel};
pub(crate) use scope::FrameNames;

use self::build::Builder;
use self::resolve::{Place, Resolver};
use self::show::Show;
use self::tree::Raw;
use crate::eval::{ErrorKind, EvalError, EvalResult, Evaluator};
use crate::host::Message;
use crate::source::{Pos, Source};
use crate::symbol::Symbol;
use crate::syntax::grammar;
use crate::syntax::lexer::{LexOptions, Lexed, lex_into};
use crate::syntax::parser::{Parser, Stop};
use expr::Expr;

/// Variables that are in scope beside the globals: name `i` is in slot `i` of the environment that
/// the text is evaluated in.
#[derive(Clone, Debug, Default)]
pub struct StaticScope {
    /// The names, one per slot.
    pub names: Vec<Symbol>,
}

/// Whether a source is an expression or a line of bindings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Entry {
    Expression,
    Bindings,
}

/// Room that one parse leaves to the next.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    lexed: Lexed,
    bump: Bump,
}

/// Room beyond this isn't kept.
const MOST_KEPT_BYTES: usize = 16 << 20;

/// What is wanted beside the IR.
enum Wanted<'w> {
    Nothing,
    /// The tree as text.
    Text(&'w mut Vec<u8>),
    /// What is in scope at a call or operator. The source was lowered before, so nothing is said of it.
    Names(Pos, &'w mut Option<Vec<FrameNames>>),
}

/// What to do with the tree.
struct Lowering<'e, 'h> {
    eval: &'e Evaluator<'h>,
    start: Pos,
    base: &'e [u8],
    scope: &'e StaticScope,
    entry: Entry,
}

/// Parses a source and resolves its variables. `start` is the position of its first byte, `base`
/// the directory that relative paths start from.
///
/// # Errors
/// The first error of the source, with its position.
pub fn parse<'h>(
    eval: &Evaluator<'h>,
    text: &[u8],
    start: Pos,
    base: &[u8],
    scope: &StaticScope,
) -> EvalResult<&'h Expr<'h>> {
    let lowering = Lowering { eval, start, base, scope, entry: Entry::Expression };
    lowering.run(text, Wanted::Nothing)
}

/// As [`parse`], of bindings as the line editor takes them (`a = 1; inherit (b) c;`): the IR is
/// that of a set that isn't recursive.
///
/// # Errors
/// As [`parse`].
pub fn parse_bindings<'h>(
    eval: &Evaluator<'h>,
    text: &[u8],
    start: Pos,
    base: &[u8],
    scope: &StaticScope,
) -> EvalResult<&'h Expr<'h>> {
    let lowering = Lowering { eval, start, base, scope, entry: Entry::Bindings };
    lowering.run(text, Wanted::Nothing)
}

/// Returns what an expression is after parsing, as text (`nix-instantiate --parse`).
///
/// # Errors
/// As [`parse`]: variables are checked as well.
pub fn show(eval: &Evaluator<'_>, text: &[u8], start: Pos, base: &[u8]) -> EvalResult<Vec<u8>> {
    let scope = &StaticScope::default();
    let lowering = Lowering { eval, start, base, scope, entry: Entry::Expression };
    let mut shown = Vec::new();
    lowering.run(text, Wanted::Text(&mut shown))?;
    Ok(shown)
}

/// Returns what is in scope at the call or operator that stands at `pos` of a source, frame by frame, innermost first; `None` if no such thing
/// stands there. Slots are those of the IR that [`parse`] made of the same source, since lowering depends on nothing else.
pub(crate) fn names_at(eval: &Evaluator<'_>, source: &Source, pos: Pos) -> Option<Vec<FrameNames>> {
    let scope = &StaticScope::default();
    let lowering = Lowering { eval, start: source.start, base: b"/", scope, entry: Entry::Expression };
    let mut names = None;
    lowering.run(&source.text, Wanted::Names(pos, &mut names)).ok()?;
    names
}

impl<'h> Lowering<'_, 'h> {
    fn run(&self, text: &[u8], wanted: Wanted<'_>) -> EvalResult<&'h Expr<'h>> {
        let is_known = matches!(wanted, Wanted::Names(..));
        let warn = |text: &str| {
            if !is_known {
                self.eval.say(Message::Warning, text);
            }
        };
        let mut scratch = self.eval.parse_scratch.take();
        let result = self.lower(text, wanted, &warn, &mut scratch);
        scratch.bump.reset();
        if scratch.bump.allocated_bytes() <= MOST_KEPT_BYTES {
            self.eval.parse_scratch.set(scratch);
        }
        result.map_err(|error| to_eval_error(self.eval, error))
    }

    fn lower(
        &self,
        text: &[u8],
        mut wanted: Wanted<'_>,
        warn: &dyn Fn(&str),
        scratch: &mut Scratch,
    ) -> Result<&'h Expr<'h>, LowerError> {
        let eval = self.eval;
        let lex_options = LexOptions {
            pipe_operators: eval.options.has_feature("pipe-operators"),
            keep_trivia: false,
        };
        let Scratch { lexed, bump } = scratch;
        lex_into(text, lex_options, lexed);
        let home = match &eval.options.home {
            _ if eval.options.pure => Home::Pure,
            Some(home) => Home::Directory(home.as_bytes()),
            None => Home::Unknown,
        };
        let paths = PathContext { base: self.base, home };
        let bindings = self.entry == Entry::Bindings;
        let builder = Builder::new(bump, text, self.start, &eval.symbols, paths, eval.options.lints, bindings);
        let mut parser = Parser::new(lexed, builder, nesting_limit(eval.stack_left()));
        let result = match self.entry {
            Entry::Expression => grammar::source(&mut parser),
            Entry::Bindings => grammar::repl_bindings(&mut parser),
        };
        let mut builder = parser.into_sink();
        for (lint, pos) in builder.warnings.drain(..) {
            let at = eval.show_pos(pos);
            warn(&match lint {
                Lint::OrAsVariable { .. } => format!("at {at}: {lint}"),
                _ => {
                    let offset = (pos.0 - self.start.0) as usize;
                    format!("{lint}\n         at {at}:\n{}", excerpt(text, offset))
                }
            });
        }
        if let Err(Stop) = result {
            return Err(builder.error.take().expect("whoever stopped the parser said why"));
        }
        let raw: &Raw<'_> = builder.finished().expect("a source without errors is an expression");
        if let Wanted::Text(shown) = &mut wanted {
            Show::new(&eval.symbols, &builder.sets).expression(raw, shown);
        }
        let mut resolver = Resolver::new(eval, builder.sets, &self.scope.names, text.len());
        if let Wanted::Names(pos, _) = wanted {
            resolver.probe(pos);
        }
        let expr = resolver.expr(raw, Place::Other)?;
        if let Wanted::Names(_, names) = wanted {
            *names = resolver.probed();
        }
        Ok(eval.heap.alloc(expr))
    }
}

/// Returns the line that an offset lies in and those around it, with a mark below, as warnings
/// show it.
fn excerpt(source: &[u8], offset: usize) -> String {
    let before = &source[..offset.min(source.len())];
    let line_idx = memchr::memchr_iter(b'\n', before).count();
    let column = before.iter().rev().take_while(|&&byte| byte != b'\n').count();
    let mut shown = Vec::new();
    for (index, line) in source.split(|&byte| byte == b'\n').enumerate() {
        if index + 1 < line_idx || index > line_idx + 1 {
            continue;
        }
        let text = String::from_utf8_lossy(line);
        shown.push(format!("{:>15}| {text}", index + 1).trim_end().to_owned());
        if index == line_idx {
            shown.push(format!("{:>15}| {:column$}^", "", ""));
        }
    }
    shown.join("\n")
}

/// Returns how deeply expressions may nest, if so many bytes of stack are left.
fn nesting_limit(stack_left: Option<usize>) -> u32 {
    const BYTES_PER_LEVEL: usize = if cfg!(debug_assertions) { 12 * 1024 } else { 1536 };
    const UNKNOWN_STACK: usize = 1024 * 1024;
    const MOST: usize = 50_000;
    (stack_left.unwrap_or(UNKNOWN_STACK) / BYTES_PER_LEVEL).min(MOST) as u32
}

fn to_eval_error(eval: &Evaluator<'_>, error: LowerError) -> EvalError {
    let mut message = error.to_string();
    if let Some(previous) = error.kind.previous() {
        message.push_str(&eval.show_pos(previous));
    }
    let kind = match &error.kind {
        LowerErrorKind::UndefinedVariable { .. } => ErrorKind::UndefinedVariable,
        LowerErrorKind::Syntax(crate::syntax::error::SyntaxErrorKind::TooDeep) => {
            ErrorKind::StackOverflow
        }
        LowerErrorKind::HomeInPureMode { .. } => ErrorKind::Restricted,
        _ => ErrorKind::Syntax,
    };
    let shown = EvalError::new(kind, message).at(error.pos);
    match error.kind {
        LowerErrorKind::UndefinedVariable { suggestions, .. } if !suggestions.is_empty() => shown.suggest(suggestions),
        _ => shown,
    }
}
