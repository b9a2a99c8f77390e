//! ATerm → derivation, with errors that say at which byte.
//!
//! Input is untrusted: nothing is allocated beyond its length, nesting is bounded, and any byte
//! string is accepted or refused without panicking. The surprising thing: the reference also reads
//! lists without commas, ignores what follows the last parenthesis and keeps the last of two equal
//! keys. Nothing ever wrote such files, so they are errors here.

use std::borrow::Cow;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::structured_attrs::ENV_NAME;
use super::{Derivation, DerivationOutput, InputOutputs, OutputName, StructuredAttrs, StructuredAttrsError};
use crate::content_address::{ContentAddress, ContentAddressMethod};
use crate::hash::{Hash, HashError};
use crate::path::{StoreDir, StorePath, StorePathError};

/// Deepest nesting of dynamic outputs that is read.
pub const MAX_DYNAMIC_DEPTH: usize = 64;

/// What is wrong with the text of a derivation.
#[derive(Debug, thiserror::Error)]
#[error("error parsing derivation at byte {position}: {kind}")]
pub struct ParseError {
    /// Where, in bytes from the start.
    pub position: usize,
    /// What.
    #[source]
    pub kind: ParseErrorKind,
}

/// Kinds of [`ParseError`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ParseErrorKind {
    /// Some fixed text is missing.
    #[error("expected string '{expected}'")]
    Expected {
        /// The fixed text.
        expected: &'static str,
    },
    /// Neither of the two forms.
    #[error("derivation does not start with 'Derive' or 'DrvWithVersion'")]
    NotADerivation,
    /// A version of the newer form that nobody knows.
    #[error("unknown derivation ATerm format version '{version}'")]
    UnknownVersion {
        /// The version.
        version: String,
    },
    /// A string without its closing quote.
    #[error("unterminated string in derivation")]
    UnterminatedString,
    /// A path that is not absolute.
    #[error("bad path '{path}' in derivation")]
    BadPath {
        /// The text.
        path: String,
    },
    /// An absolute path that is no store path.
    #[error(transparent)]
    StorePath(#[from] StorePathError),
    /// A hash or algorithm.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// Output fields that contradict each other.
    #[error("{kind} derivation output should not specify output path")]
    UnexpectedOutputPath {
        /// `impure` or `content-addressing`
        kind: &'static str,
    },
    /// Text that has to be UTF-8.
    #[error("name '{name}' is not UTF-8")]
    NotUtf8 {
        /// The text with replacements.
        name: String,
    },
    /// Two entries with the same key.
    #[error("duplicate {what} '{key}'")]
    Duplicate {
        /// What kind of entry.
        what: &'static str,
        /// The key.
        key: String,
    },
    /// Dynamic outputs nested deeper than [`MAX_DYNAMIC_DEPTH`].
    #[error("dynamic outputs nested deeper than {MAX_DYNAMIC_DEPTH} levels")]
    TooDeep,
    /// The variable `__json` does not hold a JSON object.
    #[error(transparent)]
    StructuredAttrs(#[from] StructuredAttrsError),
    /// Bytes after the derivation.
    #[error("trailing bytes after the derivation")]
    TrailingBytes,
}

impl Derivation {
    /// Reads the bytes of a `.drv` file. `name` is the name of its store path without `.drv`.
    ///
    /// # Errors
    /// When the text is not a derivation in canonical layout. Whether the outputs' paths are the
    /// right ones is [`Derivation::check_output_paths`]'s question.
    pub fn parse_aterm(store_dir: &StoreDir, name: &str, text: &[u8]) -> Result<Self, ParseError> {
        Parser { store_dir, text, position: 0 }.derivation(name)
    }
}

struct Parser<'t> {
    store_dir: &'t StoreDir,
    text: &'t [u8],
    position: usize,
}

type Parsed<T> = Result<T, ParseError>;

impl<'t> Parser<'t> {
    fn derivation(mut self, name: &str) -> Parsed<Derivation> {
        let is_versioned = if self.eat(b"Derive(") {
            false
        } else if self.eat(b"DrvWithVersion(") {
            let position = self.position;
            let version = self.string()?;
            if &*version != b"xp-dyn-drv" {
                let version = String::from_utf8_lossy(&version).into_owned();
                return Err(error(position, ParseErrorKind::UnknownVersion { version }));
            }
            self.expect(",")?;
            true
        } else {
            return Err(error(0, ParseErrorKind::NotADerivation));
        };
        let mut derivation = Derivation { name: name.into(), ..Derivation::default() };

        self.list(|parser| {
            let position = parser.position;
            let (name, output) = parser.output()?;
            insert_once(&mut derivation.outputs, name, output, "output", position)
        })?;
        self.expect(",")?;
        self.list(|parser| {
            let position = parser.position;
            parser.expect("(")?;
            let path = parser.store_path()?;
            parser.expect(",")?;
            let outputs = parser.input_outputs(is_versioned, 0)?;
            parser.expect(")")?;
            insert_once(&mut derivation.input_derivations, path, outputs, "input derivation", position)
        })?;
        self.expect(",")?;
        self.list(|parser| {
            derivation.input_sources.insert(parser.store_path()?);
            Ok(())
        })?;
        self.expect(",")?;
        derivation.system = self.string()?.into_owned();
        self.expect(",")?;
        derivation.builder = self.string()?.into_owned();
        self.expect(",")?;
        self.list(|parser| {
            derivation.args.push(parser.string()?.into_owned());
            Ok(())
        })?;
        self.expect(",")?;
        self.list(|parser| parser.variable(&mut derivation))?;
        self.expect(")")?;
        if self.position != self.text.len() {
            return Err(self.error(ParseErrorKind::TrailingBytes));
        }
        Ok(derivation)
    }

    fn variable(&mut self, derivation: &mut Derivation) -> Parsed<()> {
        let position = self.position;
        self.expect("(")?;
        let key = self.string()?;
        self.expect(",")?;
        let value_position = self.position;
        let value = self.string()?;
        self.expect(")")?;
        if &*key != ENV_NAME {
            return match derivation.env.entry(key.into_owned()) {
                Entry::Vacant(slot) => {
                    slot.insert(value.into_owned());
                    Ok(())
                }
                Entry::Occupied(slot) => {
                    let key = String::from_utf8_lossy(slot.key()).into_owned();
                    Err(error(position, ParseErrorKind::Duplicate { what: "variable", key }))
                }
            };
        }
        let attrs = StructuredAttrs::parse(&value).map_err(|kind| error(value_position, kind))?;
        match derivation.structured_attrs.replace(attrs) {
            None => Ok(()),
            Some(_) => {
                let key = "__json".to_owned();
                Err(error(position, ParseErrorKind::Duplicate { what: "variable", key }))
            }
        }
    }

    fn output(&mut self) -> Parsed<(OutputName, DerivationOutput)> {
        self.expect("(")?;
        let name = self.name()?;
        self.expect(",")?;
        let path_position = self.position;
        let path = self.string()?;
        self.expect(",")?;
        let algorithm_position = self.position;
        let algorithm = self.string()?;
        self.expect(",")?;
        let hash_position = self.position;
        let hash = self.string()?;
        self.expect(")")?;

        let algorithm = utf8(algorithm, algorithm_position)?;
        let hash = utf8(hash, hash_position)?;
        let no_path = |kind| {
            if path.is_empty() {
                Ok(())
            } else {
                Err(error(path_position, ParseErrorKind::UnexpectedOutputPath { kind }))
            }
        };
        if algorithm.is_empty() {
            let output = if path.is_empty() {
                DerivationOutput::Deferred
            } else {
                DerivationOutput::InputAddressed(self.parse_store_path(&path, path_position)?)
            };
            return Ok((name, output));
        }
        let (method, algorithm) = ContentAddressMethod::parse_with_algorithm(&algorithm)
            .map_err(|kind| error(algorithm_position, kind))?;
        let output = match &*hash {
            "impure" => {
                no_path("impure")?;
                DerivationOutput::Impure { method, algorithm }
            }
            "" => {
                no_path("content-addressing")?;
                DerivationOutput::Floating { method, algorithm }
            }
            digits => {
                check_absolute(&path, path_position)?;
                let hash =
                    Hash::parse_unprefixed(digits, algorithm).map_err(|kind| error(hash_position, kind))?;
                DerivationOutput::Fixed(ContentAddress { method, hash })
            }
        };
        Ok((name, output))
    }

    fn input_outputs(&mut self, is_versioned: bool, depth: usize) -> Parsed<InputOutputs> {
        if !is_versioned || self.text.get(self.position) == Some(&b'[') {
            return Ok(InputOutputs { outputs: self.names()?, dynamic: BTreeMap::new() });
        }
        if depth == MAX_DYNAMIC_DEPTH {
            return Err(self.error(ParseErrorKind::TooDeep));
        }
        self.expect("(")?;
        let mut input = InputOutputs { outputs: self.names()?, dynamic: BTreeMap::new() };
        self.expect(",")?;
        self.list(|parser| {
            let position = parser.position;
            parser.expect("(")?;
            let name = parser.name()?;
            parser.expect(",")?;
            let inner = parser.input_outputs(is_versioned, depth + 1)?;
            parser.expect(")")?;
            insert_once(&mut input.dynamic, name, inner, "dynamic output", position)
        })?;
        self.expect(")")?;
        Ok(input)
    }

    fn names(&mut self) -> Parsed<BTreeSet<OutputName>> {
        let mut names = BTreeSet::new();
        self.list(|parser| {
            names.insert(parser.name()?);
            Ok(())
        })?;
        Ok(names)
    }

    fn name(&mut self) -> Parsed<OutputName> {
        let position = self.position;
        let name = self.string()?;
        Ok(utf8(name, position)?.into())
    }

    fn store_path(&mut self) -> Parsed<StorePath> {
        let position = self.position;
        let path = self.string()?;
        self.parse_store_path(&path, position)
    }

    fn parse_store_path(&self, path: &[u8], position: usize) -> Parsed<StorePath> {
        check_absolute(path, position)?;
        self.store_dir.parse(path).map_err(|kind| error(position, kind))
    }

    /// Reads `[item,item]`.
    fn list(&mut self, mut item: impl FnMut(&mut Self) -> Parsed<()>) -> Parsed<()> {
        self.expect("[")?;
        if self.eat(b"]") {
            return Ok(());
        }
        loop {
            item(self)?;
            if self.eat(b"]") {
                return Ok(());
            }
            self.expect(",")?;
        }
    }

    /// Reads a quoted string; borrowed when it has no escape.
    fn string(&mut self) -> Parsed<Cow<'t, [u8]>> {
        let start = self.position;
        self.expect("\"")?;
        let unterminated = || error(start, ParseErrorKind::UnterminatedString);
        let mut unescaped: Option<Vec<u8>> = None;
        loop {
            let rest = &self.text[self.position..];
            let end = memchr::memchr2(b'"', b'\\', rest).ok_or_else(unterminated)?;
            let run = &rest[..end];
            if rest[end] == b'"' {
                self.position += end + 1;
                return Ok(match unescaped {
                    None => Cow::Borrowed(run),
                    Some(mut bytes) => {
                        bytes.extend_from_slice(run);
                        Cow::Owned(bytes)
                    }
                });
            }
            let bytes = unescaped.get_or_insert_default();
            bytes.extend_from_slice(run);
            bytes.push(match *rest.get(end + 1).ok_or_else(unterminated)? {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                itself => itself,
            });
            self.position += end + 2;
        }
    }

    fn eat(&mut self, expected: &[u8]) -> bool {
        let is_there = self.text[self.position..].starts_with(expected);
        if is_there {
            self.position += expected.len();
        }
        is_there
    }

    fn expect(&mut self, expected: &'static str) -> Parsed<()> {
        if self.eat(expected.as_bytes()) {
            Ok(())
        } else {
            Err(self.error(ParseErrorKind::Expected { expected }))
        }
    }

    fn error(&self, kind: ParseErrorKind) -> ParseError {
        error(self.position, kind)
    }
}

fn error(position: usize, kind: impl Into<ParseErrorKind>) -> ParseError {
    ParseError { position, kind: kind.into() }
}

fn check_absolute(path: &[u8], position: usize) -> Parsed<()> {
    if path.first() == Some(&b'/') {
        return Ok(());
    }
    let path = String::from_utf8_lossy(path).into_owned();
    Err(error(position, ParseErrorKind::BadPath { path }))
}

fn utf8(bytes: Cow<'_, [u8]>, position: usize) -> Parsed<String> {
    String::from_utf8(bytes.into_owned()).map_err(|failure| {
        let name = String::from_utf8_lossy(failure.as_bytes()).into_owned();
        error(position, ParseErrorKind::NotUtf8 { name })
    })
}

fn insert_once<K: Ord + ToString, V>(
    map: &mut BTreeMap<K, V>,
    key: K,
    value: V,
    what: &'static str,
    position: usize,
) -> Parsed<()> {
    match map.entry(key) {
        Entry::Vacant(slot) => {
            slot.insert(value);
            Ok(())
        }
        Entry::Occupied(slot) => {
            let key = slot.key().to_string();
            Err(error(position, ParseErrorKind::Duplicate { what, key }))
        }
    }
}
