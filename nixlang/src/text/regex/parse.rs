//! POSIX extended regular expressions as libstdc++'s `std::regex::extended` reads them.
//!
//! The dialect is neither POSIX nor that of the `regex` crate: a backslash may only stand before one of
//! `.[\()*+?{|^$`, means itself inside brackets, an anchor can't be repeated, and bytes compare as *signed*
//! chars inside a range (`[a-é]` is therefore an error). Checked against recorded answers in `../regex.rs`.

use super::RegexError;

/// A set of bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ByteSet([u64; 4]);

impl ByteSet {
    pub(super) const EMPTY: ByteSet = ByteSet([0; 4]);
    pub(super) const ALL: ByteSet = ByteSet([u64::MAX; 4]);

    pub(super) fn of(byte: u8) -> ByteSet {
        let mut set = ByteSet::EMPTY;
        set.insert(byte);
        set
    }

    pub(super) fn insert(&mut self, byte: u8) {
        self.0[usize::from(byte >> 6)] |= 1 << (byte & 63);
    }

    #[inline]
    pub(super) fn contains(&self, byte: u8) -> bool {
        self.0[usize::from(byte >> 6)] >> (byte & 63) & 1 != 0
    }

    pub(super) fn union(self, other: ByteSet) -> ByteSet {
        ByteSet(std::array::from_fn(|i| self.0[i] | other.0[i]))
    }

    fn complement(self) -> ByteSet {
        ByteSet(self.0.map(|word| !word))
    }

    /// The only member, if there is exactly one.
    pub(super) fn single(&self) -> Option<u8> {
        let mut members = self.iter();
        let first = members.next()?;
        members.next().is_none().then_some(first)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = u8> + '_ {
        (0..=255).filter(|&byte| self.contains(byte))
    }
}

/// A parsed expression.
#[derive(Debug)]
pub(super) enum Node {
    /// One byte out of a set.
    Set(ByteSet),
    /// `^`.
    Start,
    /// `$`.
    End,
    /// A group, numbered from 1 in the order of opening parentheses.
    Group(u32, Box<Node>),
    /// One after the other; none is the empty expression.
    Concat(Vec<Node>),
    /// Two or more, in the order in which they are tried.
    Alternate(Vec<Node>),
    /// A repeated expression.
    Repeat(Box<Node>, Repeat),
}

/// How often. `+` isn't `{1,}`: the first shares one copy of its body among all turns, the second doesn't.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Repeat {
    Star,
    Plus,
    Optional,
    Interval { min: u32, max: Option<u32> },
}

impl Node {
    /// Whether it can match nothing.
    pub(super) fn is_nullable(&self) -> bool {
        match self {
            Node::Set(_) => false,
            Node::Start | Node::End => true,
            Node::Group(_, inner) => inner.is_nullable(),
            Node::Concat(parts) => parts.iter().all(Node::is_nullable),
            Node::Alternate(parts) => parts.iter().any(Node::is_nullable),
            Node::Repeat(inner, repeat) => match repeat {
                Repeat::Star | Repeat::Optional => true,
                Repeat::Plus => inner.is_nullable(),
                Repeat::Interval { min, .. } => *min == 0 || inner.is_nullable(),
            },
        }
    }
}

/// A parsed expression with what its compilation must know.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) node: Node,
    pub(super) n_groups: u32,
    pub(super) has_alternation: bool,
    /// Whether the body of some repetition can match nothing.
    pub(super) has_nullable_loop: bool,
}

/// The reference's limit on automaton states (`_GLIBCXX_REGEX_STATE_LIMIT`).
const STATE_LIMIT: u64 = 100_000;
/// How deep groups and repetitions may nest; the reference runs out of stack or states somewhere above.
const NEST_LIMIT: usize = 1_000;

/// Parses `pattern`.
pub(super) fn parse(pattern: &[u8]) -> Result<Parsed, RegexError> {
    let mut parser = Parser {
        rest: pattern,
        n_groups: 0,
        has_alternation: false,
        has_nullable_loop: false,
    };
    let (node, size) = parser.disjunction()?;
    if size.allocated > STATE_LIMIT {
        return Err(RegexError::TooLarge);
    }
    Ok(Parsed {
        node,
        n_groups: parser.n_groups,
        has_alternation: parser.has_alternation,
        has_nullable_loop: parser.has_nullable_loop,
    })
}

/// Automaton states as the reference counts them: all that were made, and those that a copy would copy. And the
/// nesting, since the passes over the parsed expression recurse.
#[derive(Clone, Copy)]
struct Size {
    allocated: u64,
    reachable: u64,
    depth: usize,
}

impl Size {
    fn of(n: u64) -> Size {
        Size { allocated: n, reachable: n, depth: 0 }
    }

    fn plus(self, other: Size) -> Size {
        Size {
            allocated: self.allocated.saturating_add(other.allocated),
            reachable: self.reachable.saturating_add(other.reachable),
            depth: self.depth.max(other.depth),
        }
    }

    fn nested(self) -> Result<Size, RegexError> {
        let depth = self.depth + 1;
        if depth > NEST_LIMIT || self.allocated > STATE_LIMIT {
            return Err(RegexError::TooLarge);
        }
        Ok(Size { depth, ..self })
    }
}

struct Parser<'p> {
    rest: &'p [u8],
    n_groups: u32,
    has_alternation: bool,
    has_nullable_loop: bool,
}

/// What has been read of a group that isn't closed yet.
struct Open {
    group: u32,
    branches: Vec<Node>,
    terms: Vec<Node>,
    size: Size,
}

impl Open {
    fn new(group: u32) -> Open {
        Open {
            group,
            branches: Vec::new(),
            terms: Vec::new(),
            size: Size::of(1),
        }
    }

    fn into_node(mut self) -> Node {
        let last = concat(self.terms);
        if self.branches.is_empty() {
            last
        } else {
            self.branches.push(last);
            Node::Alternate(self.branches)
        }
    }
}

fn concat(mut terms: Vec<Node>) -> Node {
    match terms.len() {
        1 => terms.pop().expect("the length is 1"),
        _ => Node::Concat(terms),
    }
}

impl<'p> Parser<'p> {
    fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    fn bump(&mut self) -> Option<u8> {
        let (&first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    fn disjunction(&mut self) -> Result<(Node, Size), RegexError> {
        let mut outer: Vec<Open> = Vec::new();
        let mut open = Open::new(0);
        // Groups are kept on `outer`, not on the call stack.
        while let Some(byte) = self.bump() {
            let (node, size) = match byte {
                b'(' => {
                    if outer.len() >= NEST_LIMIT {
                        return Err(RegexError::TooLarge);
                    }
                    self.n_groups += 1;
                    outer.push(std::mem::replace(&mut open, Open::new(self.n_groups)));
                    continue;
                }
                b')' => {
                    let parent = outer.pop().ok_or(RegexError::Invalid)?;
                    let group = std::mem::replace(&mut open, parent);
                    let (number, size) = (group.group, group.size);
                    (Node::Group(number, Box::new(group.into_node())), size.plus(Size::of(2)).nested()?)
                }
                b'|' => {
                    self.has_alternation = true;
                    let branch = concat(std::mem::take(&mut open.terms));
                    open.branches.push(branch);
                    open.size = open.size.plus(Size::of(3));
                    continue;
                }
                b'^' | b'$' => {
                    open.terms.push(if byte == b'^' { Node::Start } else { Node::End });
                    open.size = open.size.plus(Size::of(1));
                    continue;
                }
                b'*' | b'+' | b'?' | b'{' => return Err(RegexError::Invalid),
                b'.' => (Node::Set(ByteSet::ALL), Size::of(1)),
                b'[' => (Node::Set(self.bracket()?), Size::of(1)),
                b'\\' => match self.bump() {
                    Some(escaped) if b".[\\()*+?{|^$".contains(&escaped) => {
                        (Node::Set(ByteSet::of(escaped)), Size::of(1))
                    }
                    _ => return Err(RegexError::Invalid),
                },
                byte => (Node::Set(ByteSet::of(byte)), Size::of(1)),
            };
            let (node, size) = self.quantifiers(node, size)?;
            open.terms.push(node);
            open.size = open.size.plus(size);
            if open.size.allocated > STATE_LIMIT {
                return Err(RegexError::TooLarge);
            }
        }
        if !outer.is_empty() {
            return Err(RegexError::Invalid);
        }
        let size = open.size;
        Ok((open.into_node(), size.plus(Size::of(3))))
    }

    fn quantifiers(&mut self, mut node: Node, mut size: Size) -> Result<(Node, Size), RegexError> {
        loop {
            let repeat = match self.peek() {
                Some(b'*') => Repeat::Star,
                Some(b'+') => Repeat::Plus,
                Some(b'?') => Repeat::Optional,
                Some(b'{') => Repeat::Interval { min: 0, max: None },
                _ => return Ok((node, size)),
            };
            self.bump();
            let repeat = match repeat {
                Repeat::Interval { .. } => self.interval()?,
                other => other,
            };
            size = match repeat {
                Repeat::Star | Repeat::Plus => size.plus(Size::of(1)),
                Repeat::Optional => size.plus(Size::of(2)),
                Repeat::Interval { min, max } => {
                    let (copies, extra) = match max {
                        None => (u64::from(min) + 1, 1),
                        Some(max) => (u64::from(max), 1 + u64::from(max - min)),
                    };
                    let reachable = size.reachable.saturating_mul(copies).saturating_add(1 + extra);
                    Size {
                        allocated: size.allocated.saturating_add(reachable),
                        reachable,
                        depth: size.depth,
                    }
                }
            }
            .nested()?;
            self.has_nullable_loop |= node.is_nullable();
            node = Node::Repeat(Box::new(node), repeat);
        }
    }

    /// What stands after `{`, with the closing brace.
    fn interval(&mut self) -> Result<Repeat, RegexError> {
        let min = self.count()?.ok_or(RegexError::Invalid)?;
        let max = match self.bump() {
            Some(b'}') => Some(min),
            Some(b',') => {
                let max = self.count()?;
                if self.bump() != Some(b'}') || max.is_some_and(|max| max < min) {
                    return Err(RegexError::Invalid);
                }
                max
            }
            _ => return Err(RegexError::Invalid),
        };
        Ok(Repeat::Interval { min, max })
    }

    fn count(&mut self) -> Result<Option<u32>, RegexError> {
        let n_digits = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if n_digits == 0 {
            return Ok(None);
        }
        let (digits, rest) = self.rest.split_at(n_digits);
        self.rest = rest;
        let mut count: u32 = 0;
        for digit in digits {
            count = count
                .checked_mul(10)
                .and_then(|count| count.checked_add(u32::from(digit - b'0')))
                .filter(|&count| count <= i32::MAX as u32)
                .ok_or(RegexError::Invalid)?;
        }
        Ok(Some(count))
    }

    /// What stands after `[`, with the closing bracket.
    fn bracket(&mut self) -> Result<ByteSet, RegexError> {
        let negated = self.peek() == Some(b'^');
        if negated {
            self.bump();
        }
        let mut set = ByteSet::EMPTY;
        // What a following `-` would make a range of.
        let mut last = match self.bracket_token(true)? {
            BracketToken::Char(byte) => Last::Char(byte),
            BracketToken::Dash => Last::Char(b'-'),
            token => {
                let mut last = Last::Nothing;
                self.bracket_term(token, &mut last, &mut set)?;
                last
            }
        };
        loop {
            match self.bracket_token(false)? {
                BracketToken::End => break,
                BracketToken::Dash => match self.bracket_token(false)? {
                    BracketToken::End => {
                        last.flush(&mut set);
                        last = Last::Char(b'-');
                        break;
                    }
                    end => {
                        let Last::Char(from) = last else {
                            return Err(RegexError::Invalid);
                        };
                        let to = match end {
                            BracketToken::Char(byte) => byte,
                            BracketToken::Dash => b'-',
                            _ => return Err(RegexError::Invalid),
                        };
                        if from as i8 > to as i8 {
                            return Err(RegexError::Invalid);
                        }
                        for byte in from as i8..=to as i8 {
                            set.insert(byte as u8);
                        }
                        last = Last::Nothing;
                    }
                },
                token => self.bracket_term(token, &mut last, &mut set)?,
            }
        }
        last.flush(&mut set);
        Ok(if negated { set.complement() } else { set })
    }

    fn bracket_term(&self, token: BracketToken<'p>, last: &mut Last, set: &mut ByteSet) -> Result<(), RegexError> {
        last.flush(set);
        match token {
            BracketToken::Char(byte) => *last = Last::Char(byte),
            BracketToken::Collating(name) => {
                *last = Last::Char(collating_element(name).ok_or(RegexError::Invalid)?);
            }
            BracketToken::Equivalence(name) => {
                let byte = collating_element(name).ok_or(RegexError::Invalid)?;
                set.insert(byte.to_ascii_lowercase());
                set.insert(byte.to_ascii_uppercase());
                *last = Last::Class;
            }
            BracketToken::Class(name) => {
                let is_member = class(&name.to_ascii_lowercase()).ok_or(RegexError::Invalid)?;
                for byte in (0..128).filter(|&byte| is_member(byte)) {
                    set.insert(byte);
                }
                *last = Last::Class;
            }
            BracketToken::Dash | BracketToken::End => unreachable!("the caller handles both"),
        }
        Ok(())
    }

    fn bracket_token(&mut self, is_first: bool) -> Result<BracketToken<'p>, RegexError> {
        Ok(match self.bump().ok_or(RegexError::Invalid)? {
            b'-' => BracketToken::Dash,
            b']' if !is_first => BracketToken::End,
            b'[' => match self.peek().ok_or(RegexError::Invalid)? {
                b'.' => BracketToken::Collating(self.bracket_name(b'.')?),
                b':' => BracketToken::Class(self.bracket_name(b':')?),
                b'=' => BracketToken::Equivalence(self.bracket_name(b'=')?),
                _ => BracketToken::Char(b'['),
            },
            byte => BracketToken::Char(byte),
        })
    }

    /// The name between `[:` and `:]`, the colon being `mark`.
    fn bracket_name(&mut self, mark: u8) -> Result<&'p [u8], RegexError> {
        let body = &self.rest[1..];
        let end = memchr::memchr(mark, body).ok_or(RegexError::Invalid)?;
        if body.get(end + 1) != Some(&b']') {
            return Err(RegexError::Invalid);
        }
        self.rest = &body[end + 2..];
        Ok(&body[..end])
    }
}

#[derive(Clone, Copy)]
enum BracketToken<'p> {
    Char(u8),
    Dash,
    End,
    Class(&'p [u8]),
    Collating(&'p [u8]),
    Equivalence(&'p [u8]),
}

/// What was read last inside brackets.
#[derive(Clone, Copy)]
enum Last {
    Nothing,
    Char(u8),
    Class,
}

impl Last {
    fn flush(&mut self, set: &mut ByteSet) {
        if let Last::Char(byte) = *self {
            set.insert(byte);
        }
    }
}

fn class(name: &[u8]) -> Option<fn(u8) -> bool> {
    Some(match name {
        b"alpha" => |byte| byte.is_ascii_alphabetic(),
        b"digit" | b"d" => |byte| byte.is_ascii_digit(),
        b"alnum" => |byte| byte.is_ascii_alphanumeric(),
        b"w" => |byte| byte.is_ascii_alphanumeric() || byte == b'_',
        b"space" | b"s" => |byte| matches!(byte, b' ' | b'\t'..=b'\r'),
        b"blank" => |byte| matches!(byte, b' ' | b'\t'),
        b"cntrl" => |byte| byte.is_ascii_control(),
        b"graph" => |byte| byte.is_ascii_graphic(),
        b"print" => |byte| matches!(byte, b' '..=b'~'),
        b"punct" => |byte| byte.is_ascii_punctuation(),
        b"lower" => |byte| byte.is_ascii_lowercase(),
        b"upper" => |byte| byte.is_ascii_uppercase(),
        b"xdigit" => |byte| byte.is_ascii_hexdigit(),
        _ => return None,
    })
}

/// The byte that a name inside `[. .]` stands for: POSIX's names of the characters below 128.
fn collating_element(name: &[u8]) -> Option<u8> {
    if let [letter] = name
        && letter.is_ascii_alphabetic()
    {
        return Some(*letter);
    }
    let name = std::str::from_utf8(name).ok()?;
    COLLATING_NAMES.iter().find_map(|(first, names)| {
        let offset = names.split(' ').position(|it| it == name)?;
        u8::try_from(offset).ok()?.checked_add(*first)
    })
}

/// Runs of names, each with the byte of its first.
const COLLATING_NAMES: [(u8, &str); 4] = [
    (
        0,
        "NUL SOH STX ETX EOT ENQ ACK alert backspace tab newline vertical-tab form-feed carriage-return SO SI \
         DLE DC1 DC2 DC3 DC4 NAK SYN ETB CAN EM SUB ESC IS4 IS3 IS2 IS1",
    ),
    (
        b' ',
        "space exclamation-mark quotation-mark number-sign dollar-sign percent-sign ampersand apostrophe \
         left-parenthesis right-parenthesis asterisk plus-sign comma hyphen period slash \
         zero one two three four five six seven eight nine \
         colon semicolon less-than-sign equals-sign greater-than-sign question-mark commercial-at",
    ),
    (
        b'[',
        "left-square-bracket backslash right-square-bracket circumflex underscore grave-accent",
    ),
    (b'{', "left-curly-bracket vertical-line right-curly-bracket tilde DEL"),
];
