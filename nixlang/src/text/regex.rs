//! Regular expressions for `match` and `split`, as libstdc++'s `std::regex::extended` has them, on bytes.
//!
//! Source of the semantics: recorded answers of the reference (the tests below) and `bits/regex_*.h` of GCC 13.
//! Most expressions are small and run once or twice per evaluation, so they start on the own executor of
//! `run.rs`, which costs next to nothing to set up. Where that needs too many steps and the order of matches is
//! the same, `regex-automata` takes over with its linear-time engines.

mod parse;
mod run;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, OnceLock, RwLock};

use regex_automata::meta;
use regex_automata::{Anchored, Input};
use regex_syntax::hir;
use rustc_hash::FxBuildHasher;

use parse::{Node, Parsed, Repeat};
use run::{Executor, Groups, Mode, OutOfBudget, Program};

/// Why an expression can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RegexError {
    /// The text isn't an expression.
    #[error("invalid regular expression")]
    Invalid,
    /// The reference's limit on states, or ours on nesting.
    #[error("memory limit exceeded by regular expression")]
    TooLarge,
    /// The search took too many steps.
    #[error("step limit exceeded by regular expression")]
    TooManySteps,
}

impl From<OutOfBudget> for RegexError {
    fn from(_: OutOfBudget) -> Self {
        RegexError::TooManySteps
    }
}

/// Steps after which a linear-time engine is asked, where there is one.
const CHEAP_STEPS: u64 = 4_096;
/// Steps after which the search is given up.
const MAX_STEPS: u64 = 1 << 28;

/// A compiled regular expression. Immutable, so that threads can share it.
#[derive(Debug)]
pub(crate) struct Regex {
    program: Program,
    parsed: Parsed,
    /// The text that it matches, if it is nothing but bytes.
    literal: Option<Vec<u8>>,
    full: OnceLock<Option<meta::Regex>>,
    search: OnceLock<Option<meta::Regex>>,
}

/// The groups of a match: where each lies in the text, `None` if it took no part.
pub(crate) type Captures = Vec<Option<Range<usize>>>;

/// A piece of a split text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// What lies between two matches.
    Text(Range<usize>),
    /// The groups of a match.
    Match(Captures),
}

impl Regex {
    /// Compiles `pattern`.
    pub(crate) fn new(pattern: &[u8]) -> Result<Regex, RegexError> {
        let parsed = parse::parse(pattern)?;
        Ok(Regex {
            program: Program::new(&parsed),
            literal: literal(&parsed.node),
            parsed,
            full: OnceLock::new(),
            search: OnceLock::new(),
        })
    }

    /// Matches all of `text`; returns the groups.
    pub(crate) fn full_match(&self, text: &[u8]) -> Result<Option<Captures>, RegexError> {
        if let Some(literal) = &self.literal {
            return Ok((literal.as_slice() == text).then(Vec::new));
        }
        let n_steps = CHEAP_STEPS + 16 * text.len() as u64;
        if let Ok(found) = Executor::new(&self.program, text, n_steps).run(0, Mode::Full) {
            return Ok(found.map(|(_, groups)| captures(groups)));
        }
        if !self.parsed.has_nullable_loop
            && let Some(automaton) = self.full.get_or_init(|| self.automaton(true))
        {
            let mut found = automaton.create_captures();
            automaton.captures(Input::new(text).anchored(Anchored::Yes), &mut found);
            return Ok(found.is_match().then(|| self.captures_of(&found)));
        }
        let found = Executor::new(&self.program, text, MAX_STEPS).run(0, Mode::Full)?;
        Ok(found.map(|(_, groups)| captures(groups)))
    }

    /// Cuts `text` at every match: a text, then a match and a text again for each. Without a match there is one piece.
    pub(crate) fn split(&self, text: &[u8]) -> Result<Vec<Piece>, RegexError> {
        let mut pieces = Vec::new();
        let mut steps = Steps { left: MAX_STEPS };
        let mut end_of_last = 0;
        let mut next = self.find(text, 0, &mut steps)?;
        while let Some(found) = next {
            pieces.push(Piece::Text(end_of_last..found.span.start));
            let Range { start, end } = found.span;
            pieces.push(Piece::Match(found.groups));
            end_of_last = end;
            next = if start < end {
                self.find(text, end, &mut steps)?
            } else if end == text.len() {
                None
            } else {
                // After an empty match: one that isn't, right here; otherwise any from the next byte on.
                match self.find_non_empty_at(text, end, &mut steps)? {
                    Some(found) => Some(found),
                    None => self.find(text, end + 1, &mut steps)?,
                }
            };
        }
        pieces.push(Piece::Text(end_of_last..text.len()));
        Ok(pieces)
    }

    fn find(&self, text: &[u8], from: usize, steps: &mut Steps) -> Result<Option<Found>, RegexError> {
        if let Some(literal) = &self.literal
            && !literal.is_empty()
        {
            return Ok(memchr::memmem::find(&text[from..], literal).map(|offset| Found {
                span: from + offset..from + offset + literal.len(),
                groups: Vec::new(),
            }));
        }
        let n_cheap = CHEAP_STEPS + 16 * (text.len() - from) as u64;
        if let Ok(found) = self.search(text, from, n_cheap.min(steps.left), steps) {
            return Ok(found);
        }
        if !self.parsed.has_nullable_loop
            && !self.parsed.has_alternation
            && let Some(automaton) = self.search.get_or_init(|| self.automaton(false))
        {
            let mut found = automaton.create_captures();
            automaton.captures(Input::new(text).range(from..), &mut found);
            return Ok(found.get_match().map(|all| Found {
                span: all.range(),
                groups: self.captures_of(&found),
            }));
        }
        Ok(self.search(text, from, steps.left, steps)?)
    }

    fn search(&self, text: &[u8], from: usize, limit: u64, steps: &mut Steps) -> Result<Option<Found>, OutOfBudget> {
        let mut executor = Executor::new(&self.program, text, limit);
        let mut at = from;
        let outcome = loop {
            let Some(start) = self.program.candidate(text, at) else { break Ok(None) };
            match executor.run(start, Mode::Prefix) {
                Ok(Some((end, groups))) => {
                    break Ok(Some(Found {
                        span: start..end,
                        groups: captures(groups),
                    }));
                }
                Ok(None) => at = start + 1,
                Err(error) => break Err(error),
            }
        };
        steps.left = steps.left.saturating_sub(limit - executor.steps_left());
        outcome
    }

    fn find_non_empty_at(&self, text: &[u8], at: usize, steps: &mut Steps) -> Result<Option<Found>, RegexError> {
        let mut executor = Executor::new(&self.program, text, steps.left);
        let found = executor.run(at, Mode::NonEmptyPrefix)?;
        steps.left = executor.steps_left();
        Ok(found.map(|(end, groups)| Found {
            span: at..end,
            groups: captures(groups),
        }))
    }

    /// The same expression for `regex-automata`, if that can hold it.
    fn automaton(&self, is_full: bool) -> Option<meta::Regex> {
        let mut expression = to_hir(&self.parsed.node);
        if is_full {
            expression = hir::Hir::concat(vec![
                hir::Hir::look(hir::Look::Start),
                expression,
                hir::Hir::look(hir::Look::End),
            ]);
        }
        meta::Builder::new()
            .configure(meta::Config::new().utf8_empty(false))
            .build_from_hir(&expression)
            .ok()
    }

    fn captures_of(&self, found: &regex_automata::util::captures::Captures) -> Captures {
        (1..=self.parsed.n_groups as usize)
            .map(|group| found.get_group(group).map(|span| span.range()))
            .collect()
    }
}

struct Found {
    span: Range<usize>,
    groups: Captures,
}

/// Steps that all searches of one split may still take.
struct Steps {
    left: u64,
}

fn captures(groups: Groups) -> Captures {
    groups.into_iter().map(|group| group.map(|(start, end)| start..end)).collect()
}

fn literal(node: &Node) -> Option<Vec<u8>> {
    match node {
        Node::Set(set) => Some(vec![set.single()?]),
        Node::Concat(parts) => parts
            .iter()
            .map(|part| match part {
                Node::Set(set) => set.single(),
                _ => None,
            })
            .collect(),
        _ => None,
    }
}

fn to_hir(node: &Node) -> hir::Hir {
    match node {
        Node::Set(set) => hir::Hir::class(hir::Class::Bytes(hir::ClassBytes::new(
            set.iter().map(|byte| hir::ClassBytesRange::new(byte, byte)),
        ))),
        Node::Start => hir::Hir::look(hir::Look::Start),
        Node::End => hir::Hir::look(hir::Look::End),
        Node::Group(group, inner) => hir::Hir::capture(hir::Capture {
            index: *group,
            name: None,
            sub: Box::new(to_hir(inner)),
        }),
        Node::Concat(parts) => hir::Hir::concat(parts.iter().map(to_hir).collect()),
        Node::Alternate(parts) => hir::Hir::alternation(parts.iter().map(to_hir).collect()),
        Node::Repeat(inner, repeat) => {
            let (min, max) = match *repeat {
                Repeat::Star => (0, None),
                Repeat::Plus => (1, None),
                Repeat::Optional => (0, Some(1)),
                Repeat::Interval { min, max } => (min, max),
            };
            hir::Hir::repetition(hir::Repetition {
                min,
                max,
                greedy: true,
                sub: Box::new(to_hir(inner)),
            })
        }
    }
}

/// Compiled expressions by pattern, errors too. Owned by an evaluator, shared by its threads.
#[derive(Debug, Default)]
pub(crate) struct RegexCache {
    compiled: RwLock<HashMap<Box<[u8]>, Compiled, FxBuildHasher>>,
}

type Compiled = Result<Arc<Regex>, RegexError>;

/// More patterns than this are compiled anew each time: they are computed, and would only pile up.
const CACHE_LIMIT: usize = 10_000;

impl RegexCache {
    /// Returns the compiled form of `pattern`.
    pub(crate) fn get(&self, pattern: &[u8]) -> Result<Arc<Regex>, RegexError> {
        let read = self.compiled.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(known) = read.get(pattern) {
            return known.clone();
        }
        let is_full = read.len() >= CACHE_LIMIT;
        drop(read);
        let compiled = Regex::new(pattern).map(Arc::new);
        if !is_full {
            let mut write = self.compiled.write().unwrap_or_else(|poisoned| poisoned.into_inner());
            write.insert(pattern.into(), compiled.clone());
        }
        compiled
    }
}

#[cfg(test)]
mod tests;
