//! Listings: the tree of an archive without its contents.
//!
//! Binary caches keep one next to an archive (`<hash>.ls`), so that a client can look around, and
//! with the offsets fetch a single file. The surprising thing: names are bytes in an archive but text
//! in JSON, so a tree with other names has no JSON listing.
//!
//! Format source: `nix nar ls --json -R` of Nix 2.34.8, see `fixtures/nar/tree.ls`.

use std::collections::BTreeMap;
use std::io::BufRead;

use serde_json::{Map, Value};

use super::{Event, MAX_DEPTH, NarError, NarReader};

/// A node of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listing {
    /// A regular file.
    Regular {
        /// Number of bytes.
        size: u64,
        /// Whether its owner may execute it.
        executable: bool,
        /// Where its contents begin in the archive, if that is known.
        nar_offset: Option<u64>,
    },
    /// A directory by names.
    Directory(BTreeMap<Vec<u8>, Listing>),
    /// A symbolic link to this target.
    Symlink(Vec<u8>),
}

/// Why a listing has no JSON, or JSON is no listing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ListingError {
    /// A name or target that is not UTF-8.
    #[error("'{text}' is not UTF-8 and has no JSON form")]
    NotUtf8 {
        /// The name or target with replacements.
        text: String,
    },
    /// Another version than 1.
    #[error("unsupported version of a NAR listing")]
    UnsupportedVersion,
    /// A field that is missing or has the wrong type.
    #[error("NAR listing has no valid '{key}'")]
    InvalidField {
        /// The field.
        key: &'static str,
    },
    /// A name that no file can have.
    #[error("NAR listing contains invalid file name '{name}'")]
    InvalidName {
        /// The name.
        name: String,
    },
    /// Nested more deeply than archives are.
    #[error("NAR listing exceeds maximum depth of {MAX_DEPTH}")]
    TooDeep,
}

/// A directory whose entries are being read.
#[derive(Default)]
struct OpenDirectory {
    entries: BTreeMap<Vec<u8>, Listing>,
    next_name: Vec<u8>,
}

impl Listing {
    /// Forgets where contents stand in an archive, as there may be none.
    pub fn forget_offsets(&mut self) {
        let mut todo = vec![self];
        while let Some(node) = todo.pop() {
            match node {
                Listing::Regular { nar_offset, .. } => *nar_offset = None,
                Listing::Directory(entries) => todo.extend(entries.values_mut()),
                Listing::Symlink(_) => {}
            }
        }
    }

    /// Reads a whole archive and collects its tree.
    ///
    /// # Errors
    /// When the source fails or is no archive.
    pub fn read(source: impl BufRead) -> Result<Self, NarError> {
        let mut reader = NarReader::new(source);
        let mut open: Vec<OpenDirectory> = Vec::new();
        let mut root = None;
        loop {
            let mut file = None;
            let node = match reader.next_event()? {
                None => break,
                Some(Event::Directory) => {
                    open.push(OpenDirectory::default());
                    continue;
                }
                Some(Event::Entry(name)) => {
                    let directory = open.last_mut().expect("entries stand in directories");
                    name.clone_into(&mut directory.next_name);
                    continue;
                }
                Some(Event::EndDirectory) => {
                    Self::Directory(open.pop().expect("a directory ends after it began").entries)
                }
                Some(Event::File { executable, size }) => {
                    file = Some((executable, size));
                    Self::Symlink(Vec::new())
                }
                Some(Event::Contents(_) | Event::EndFile) => continue,
                Some(Event::Symlink(target)) => Self::Symlink(target.to_vec()),
            };
            let node = match file {
                Some((executable, size)) => {
                    Self::Regular { size, executable, nar_offset: Some(reader.position()) }
                }
                None => node,
            };
            match open.last_mut() {
                Some(directory) => {
                    directory.entries.insert(std::mem::take(&mut directory.next_name), node);
                }
                None => root = Some(node),
            }
        }
        Ok(root.expect("an archive has a root node"))
    }

    /// Returns the node at a relative path, its parts separated by slashes; links are not followed.
    pub fn find(&self, path: &[u8]) -> Option<&Self> {
        path.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).try_fold(self, |node, part| {
            match node {
                Self::Directory(entries) => entries.get(part),
                _ => None,
            }
        })
    }

    /// Returns the document of a `.ls` file: `{"root":…,"version":1}`.
    pub fn to_json_document(&self) -> Result<Value, ListingError> {
        Ok(serde_json::json!({ "root": self.to_json()?, "version": 1 }))
    }

    /// Reads the document of a `.ls` file.
    pub fn from_json_document(document: &Value) -> Result<Self, ListingError> {
        if document.get("version").and_then(Value::as_u64) != Some(1) {
            return Err(ListingError::UnsupportedVersion);
        }
        Self::from_json(document.get("root").ok_or(ListingError::InvalidField { key: "root" })?)
    }

    /// Returns the JSON object of a node and all below it.
    pub fn to_json(&self) -> Result<Value, ListingError> {
        fn text(bytes: &[u8]) -> Result<String, ListingError> {
            match std::str::from_utf8(bytes) {
                Ok(text) => Ok(text.to_owned()),
                Err(_) => {
                    let text = String::from_utf8_lossy(bytes).into_owned();
                    Err(ListingError::NotUtf8 { text })
                }
            }
        }
        let mut object = Map::new();
        match self {
            Self::Regular { size, executable, nar_offset } => {
                object.insert("type".into(), "regular".into());
                object.insert("size".into(), (*size).into());
                if *executable {
                    object.insert("executable".into(), true.into());
                }
                if let Some(offset) = nar_offset {
                    object.insert("narOffset".into(), (*offset).into());
                }
            }
            Self::Directory(entries) => {
                let mut children = Map::new();
                for (name, child) in entries {
                    children.insert(text(name)?, child.to_json()?);
                }
                object.insert("type".into(), "directory".into());
                object.insert("entries".into(), children.into());
            }
            Self::Symlink(target) => {
                object.insert("type".into(), "symlink".into());
                object.insert("target".into(), text(target)?.into());
            }
        }
        Ok(object.into())
    }

    /// Reads the JSON object of a node and all below it.
    pub fn from_json(json: &Value) -> Result<Self, ListingError> {
        Self::from_json_at(json, 0)
    }

    fn from_json_at(json: &Value, depth: usize) -> Result<Self, ListingError> {
        if depth >= MAX_DEPTH {
            return Err(ListingError::TooDeep);
        }
        let invalid = |key| ListingError::InvalidField { key };
        match json.get("type").and_then(Value::as_str) {
            Some("regular") => Ok(Self::Regular {
                size: match json.get("size") {
                    None => 0,
                    Some(size) => size.as_u64().ok_or(invalid("size"))?,
                },
                executable: match json.get("executable") {
                    None => false,
                    Some(flag) => flag.as_bool().ok_or(invalid("executable"))?,
                },
                // Old caches wrote 0 where the offset was not known.
                nar_offset: match json.get("narOffset") {
                    None => None,
                    Some(offset) => Some(offset.as_u64().ok_or(invalid("narOffset"))?),
                }
                .filter(|offset| *offset != 0),
            }),
            Some("directory") => {
                let entries = json.get("entries").and_then(Value::as_object).ok_or(invalid("entries"))?;
                let mut children = BTreeMap::new();
                for (name, child) in entries {
                    if super::check_name(name.as_bytes(), b"").is_err() {
                        return Err(ListingError::InvalidName { name: name.clone() });
                    }
                    children.insert(name.as_bytes().to_vec(), Self::from_json_at(child, depth + 1)?);
                }
                Ok(Self::Directory(children))
            }
            Some("symlink") => {
                let target = json.get("target").and_then(Value::as_str).ok_or(invalid("target"))?;
                Ok(Self::Symlink(target.as_bytes().to_vec()))
            }
            _ => Err(invalid("type")),
        }
    }
}
