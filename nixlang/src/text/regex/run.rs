//! Backtracking executor with the search order of libstdc++'s depth-first one, on a stack of its own.
//!
//! Two rules set it apart from other engines. In a search both branches of an alternation are explored and the
//! longest end wins (the first found among equals), while a repetition stops at its first success. And a loop
//! whose body matched nothing runs once more before it is left, which empties the groups inside.
//! A budget of steps bounds the time, the stack's length bounds the memory.

use super::parse::{ByteSet, Node, Parsed, Repeat};

/// A compiled expression.
#[derive(Debug)]
pub(super) struct Program {
    states: Vec<State>,
    sets: Vec<ByteSet>,
    start: u32,
    n_counters: u32,
    n_groups: u32,
    /// Bytes that a match can begin with; `None` if it can be empty.
    first_bytes: Option<ByteSet>,
    /// The byte, if there is only one.
    first_byte: Option<u8>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Byte { byte: u8, next: u32 },
    Set { set: u32, next: u32 },
    /// As many bytes of the set as possible, then fewer.
    SetLoop { set: u32, next: u32 },
    Open { group: u32, next: u32 },
    Close { group: u32, next: u32 },
    Start { next: u32 },
    End { next: u32 },
    Alternate { first: u32, second: u32 },
    Repeat { body: u32, next: u32 },
    /// A repetition whose body can match nothing.
    CountedRepeat { body: u32, next: u32, counter: u32 },
    Accept,
}

/// A group's begin and end.
pub(super) type Groups = Vec<Option<(usize, usize)>>;

/// Why there is no answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OutOfBudget;

/// Longest stack of choices.
const FRAME_LIMIT: usize = 1 << 22;

impl Program {
    pub(super) fn new(parsed: &Parsed) -> Program {
        let mut program = Program {
            states: vec![State::Accept],
            sets: Vec::new(),
            start: 0,
            n_counters: 0,
            n_groups: parsed.n_groups,
            first_bytes: None,
            first_byte: None,
        };
        program.start = program.compile(&parsed.node, 0);
        if !parsed.node.is_nullable() {
            let first = first_bytes(&parsed.node);
            program.first_byte = first.single();
            program.first_bytes = Some(first);
        }
        program
    }

    /// Returns the first place from `at` on where a match might begin.
    pub(super) fn candidate(&self, text: &[u8], at: usize) -> Option<usize> {
        let rest = text.get(at..)?;
        let offset = match (&self.first_bytes, self.first_byte) {
            (None, _) => 0,
            (_, Some(byte)) => memchr::memchr(byte, rest)?,
            (Some(first), None) => rest.iter().position(|&byte| first.contains(byte))?,
        };
        Some(at + offset)
    }

    fn push(&mut self, state: State) -> u32 {
        self.states.push(state);
        u32::try_from(self.states.len() - 1).expect("the parser limits the number of states")
    }

    fn set(&mut self, set: ByteSet) -> u32 {
        let known = self.sets.iter().position(|&it| it == set);
        let index = known.unwrap_or_else(|| {
            self.sets.push(set);
            self.sets.len() - 1
        });
        u32::try_from(index).expect("there are fewer sets than states")
    }

    /// Adds the states of `node` that go on at `next`; returns the first of them.
    fn compile(&mut self, node: &Node, next: u32) -> u32 {
        match node {
            Node::Set(set) => match set.single() {
                Some(byte) => self.push(State::Byte { byte, next }),
                None => {
                    let set = self.set(*set);
                    self.push(State::Set { set, next })
                }
            },
            Node::Start => self.push(State::Start { next }),
            Node::End => self.push(State::End { next }),
            Node::Group(group, inner) => {
                let close = self.push(State::Close { group: *group, next });
                let inner = self.compile(inner, close);
                self.push(State::Open { group: *group, next: inner })
            }
            Node::Concat(parts) => parts.iter().rev().fold(next, |next, part| self.compile(part, next)),
            Node::Alternate(parts) => {
                let mut parts = parts.iter().rev();
                let last = parts.next().map_or(next, |part| self.compile(part, next));
                parts.fold(last, |second, part| {
                    let first = self.compile(part, next);
                    self.push(State::Alternate { first, second })
                })
            }
            Node::Repeat(inner, Repeat::Star) => self.repeat(inner, next).0,
            Node::Repeat(inner, Repeat::Plus) => match **inner {
                Node::Set(_) => {
                    let (rest, _) = self.repeat(inner, next);
                    self.compile(inner, rest)
                }
                _ => self.repeat(inner, next).1,
            },
            Node::Repeat(inner, Repeat::Optional) => self.optional(inner, next, next),
            Node::Repeat(inner, Repeat::Interval { min, max }) => {
                let mut first = match max {
                    None => self.repeat(inner, next).0,
                    Some(max) => (*min..*max).fold(next, |more, _| self.optional(inner, more, next)),
                };
                for _ in 0..*min {
                    first = self.compile(inner, first);
                }
                first
            }
        }
    }

    fn repeat_state(&mut self, inner: &Node, body: u32, next: u32) -> State {
        if inner.is_nullable() {
            let counter = self.n_counters;
            self.n_counters += 1;
            State::CountedRepeat { body, next, counter }
        } else {
            State::Repeat { body, next }
        }
    }

    /// A loop; returns the state that decides on another turn and the first of the body.
    fn repeat(&mut self, inner: &Node, next: u32) -> (u32, u32) {
        if let Node::Set(set) = inner {
            let set = self.set(*set);
            let state = self.push(State::SetLoop { set, next });
            return (state, state);
        }
        let state = self.push(State::Accept);
        let body = self.compile(inner, state);
        self.states[state as usize] = self.repeat_state(inner, body, next);
        (state, body)
    }

    /// Once, going on at `more`, or not at all, going on at `next`.
    fn optional(&mut self, inner: &Node, more: u32, next: u32) -> u32 {
        let body = self.compile(inner, more);
        let state = self.repeat_state(inner, body, next);
        self.push(state)
    }
}

/// What a match of `node` that isn't empty can begin with.
fn first_bytes(node: &Node) -> ByteSet {
    match node {
        Node::Set(set) => *set,
        Node::Start | Node::End => ByteSet::EMPTY,
        Node::Group(_, inner) | Node::Repeat(inner, _) => first_bytes(inner),
        Node::Alternate(parts) => parts.iter().fold(ByteSet::EMPTY, |set, part| set.union(first_bytes(part))),
        Node::Concat(parts) => {
            let mut set = ByteSet::EMPTY;
            for part in parts {
                set = set.union(first_bytes(part));
                if !part.is_nullable() {
                    break;
                }
            }
            set
        }
    }
}

/// What kind of match is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// The whole text.
    Full,
    /// A prefix of what follows the given place.
    Prefix,
    /// A prefix that isn't empty.
    NonEmptyPrefix,
}

enum Frame {
    Begin { group: u32, old: usize },
    Span { group: u32, old: Option<(usize, usize)> },
    Counter { counter: u32, old: (usize, u8) },
    /// A repetition's way out, if another turn led to nothing.
    Leave { state: u32, at: usize },
    /// Fewer turns of a loop over a set.
    Fewer { state: u32, least: usize, at: usize },
    /// The second branch of an alternation, taken in any case.
    Second { state: u32, at: usize },
    /// The first branch's result.
    Merge { found: bool },
}

/// One run's working memory, reused from place to place.
pub(super) struct Executor<'r> {
    program: &'r Program,
    text: &'r [u8],
    begins: Vec<usize>,
    spans: Groups,
    counters: Vec<(usize, u8)>,
    frames: Vec<Frame>,
    steps_left: u64,
    best: Option<(usize, Groups)>,
}

impl<'r> Executor<'r> {
    pub(super) fn new(program: &'r Program, text: &'r [u8], n_steps: u64) -> Executor<'r> {
        Executor {
            program,
            text,
            begins: vec![0; program.n_groups as usize],
            spans: vec![None; program.n_groups as usize],
            counters: vec![(0, 0); program.n_counters as usize],
            frames: Vec::new(),
            steps_left: n_steps,
            best: None,
        }
    }

    /// Steps that are left of the budget.
    pub(super) fn steps_left(&self) -> u64 {
        self.steps_left
    }

    /// Matches at `from`; returns the end and the groups.
    pub(super) fn run(&mut self, from: usize, mode: Mode) -> Result<Option<(usize, Groups)>, OutOfBudget> {
        self.best = None;
        let mut found = self.forward(self.program.start, from, from, mode)?;
        if mode == Mode::Full && found {
            return Ok(self.best.take());
        }
        while let Some(frame) = self.frames.pop() {
            match frame {
                Frame::Begin { group, old } => self.begins[group as usize] = old,
                Frame::Span { group, old } => self.spans[group as usize] = old,
                Frame::Counter { counter, old } => self.counters[counter as usize] = old,
                Frame::Merge { found: earlier } => found |= earlier,
                Frame::Leave { state, at } => {
                    if !found {
                        found = self.forward(state, at, from, mode)?;
                    }
                }
                Frame::Fewer { state, least, at } => {
                    if !found {
                        found = self.fewer(state, least, at, from, mode)?;
                    }
                }
                Frame::Second { state, at } => {
                    self.frames.push(Frame::Merge { found });
                    found = self.forward(state, at, from, mode)?;
                }
            }
            if mode == Mode::Full && found {
                break;
            }
        }
        Ok(self.best.take())
    }

    /// Goes on after a loop over a set with its turns ending at `at`, or at the last place before where that makes sense.
    fn fewer(&mut self, state: u32, least: usize, mut at: usize, from: usize, mode: Mode) -> Result<bool, OutOfBudget> {
        if let State::Byte { byte, .. } = self.program.states[state as usize] {
            loop {
                if self.text.get(at) == Some(&byte) {
                    break;
                }
                if at == least {
                    return Ok(false);
                }
                at -= 1;
            }
        }
        if at > least {
            self.push(Frame::Fewer { state, least, at: at - 1 })?;
        }
        self.forward(state, at, from, mode)
    }

    #[inline]
    fn push(&mut self, frame: Frame) -> Result<(), OutOfBudget> {
        if self.frames.len() >= FRAME_LIMIT {
            return Err(OutOfBudget);
        }
        self.frames.push(frame);
        Ok(())
    }

    /// Follows one path until it fails or accepts, leaving the other choices on the stack.
    fn forward(&mut self, mut state: u32, mut at: usize, from: usize, mode: Mode) -> Result<bool, OutOfBudget> {
        let program = self.program;
        loop {
            self.steps_left = self.steps_left.checked_sub(1).ok_or(OutOfBudget)?;
            match program.states[state as usize] {
                State::Byte { byte, next } => {
                    if self.text.get(at) != Some(&byte) {
                        return Ok(false);
                    }
                    at += 1;
                    state = next;
                }
                State::Set { set, next } => {
                    match self.text.get(at) {
                        Some(&byte) if program.sets[set as usize].contains(byte) => at += 1,
                        _ => return Ok(false),
                    }
                    state = next;
                }
                State::SetLoop { set, next } => {
                    let set = &program.sets[set as usize];
                    let rest = &self.text[at..];
                    let n_turns = if *set == ByteSet::ALL {
                        rest.len()
                    } else {
                        rest.iter().position(|&byte| !set.contains(byte)).unwrap_or(rest.len())
                    };
                    self.steps_left = self.steps_left.saturating_sub(n_turns as u64 / 16);
                    if mode == Mode::Full && matches!(program.states[next as usize], State::Accept) {
                        // Only the longest can reach the end.
                        at += n_turns;
                        state = next;
                        continue;
                    }
                    return self.fewer(next, at, at + n_turns, from, mode);
                }
                State::Open { group, next } => {
                    let slot = group as usize - 1;
                    let old = std::mem::replace(&mut self.begins[slot], at);
                    self.push(Frame::Begin { group: group - 1, old })?;
                    state = next;
                }
                State::Close { group, next } => {
                    let slot = group as usize - 1;
                    let old = self.spans[slot].replace((self.begins[slot], at));
                    self.push(Frame::Span { group: group - 1, old })?;
                    state = next;
                }
                State::Start { next } => {
                    if at != 0 {
                        return Ok(false);
                    }
                    state = next;
                }
                State::End { next } => {
                    if at != self.text.len() {
                        return Ok(false);
                    }
                    state = next;
                }
                State::Alternate { first, second } => {
                    self.push(Frame::Second { state: second, at })?;
                    state = first;
                }
                State::Repeat { body, next } => {
                    self.push(Frame::Leave { state: next, at })?;
                    state = body;
                }
                State::CountedRepeat { body, next, counter } => {
                    let slot = &mut self.counters[counter as usize];
                    let old = *slot;
                    if old.1 == 0 || old.0 != at {
                        *slot = (at, 1);
                    } else if old.1 < 2 {
                        slot.1 += 1;
                    } else {
                        state = next;
                        continue;
                    }
                    self.push(Frame::Leave { state: next, at })?;
                    self.push(Frame::Counter { counter, old })?;
                    state = body;
                }
                State::Accept => {
                    let is_match = match mode {
                        Mode::Full => at == self.text.len(),
                        Mode::Prefix => true,
                        Mode::NonEmptyPrefix => at != from,
                    };
                    if is_match && self.best.as_ref().is_none_or(|(end, _)| *end < at) {
                        self.best = Some((at, self.spans.clone()));
                    }
                    return Ok(is_match);
                }
            }
        }
    }
}
