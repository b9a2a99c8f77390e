//! Store paths: the hash part and name of a store object, and the directory they live in.
//!
//! A [`StorePath`] is hash and name only. Which directory stands before it is a property of the
//! store, so text with a directory is read and written through a [`StoreDir`] value; the literal
//! default appears once, in [`StoreDir::DEFAULT`]. The surprising thing: the directory is part of
//! the hash's preimage (see [`StoreDir::make_store_path`]), so a store elsewhere has different paths for equal contents.
//!
//! Format source: manual of Nix 2.34, "Store Path" and its protocol page; messages are those of
//! 2.34.8.

use std::fmt;
use std::str::FromStr;

use smol_str::SmolStr;

use crate::hash::nix32;

mod make;
mod store_dir;

pub use make::MakePathError;
pub(crate) use make::output_path_name;
pub use store_dir::{StoreDir, StoreDirError};

/// Number of characters of the hash part.
pub const HASH_LEN: usize = 32;

/// Longest name, in bytes: a base name must fit the 255 bytes that file systems allow, together
/// with suffixes such as `.lock` and `.check`.
pub const MAX_NAME_LEN: usize = 211;

/// What is wrong with the name of a store object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// There is no name.
    #[error("name must not be empty")]
    Empty,
    /// The name is longer than [`MAX_NAME_LEN`].
    #[error("name '{name}' must be no longer than {MAX_NAME_LEN} characters")]
    TooLong {
        /// The name.
        name: String,
    },
    /// The name is `.` or `..`.
    #[error("name '{name}' is not valid")]
    Dots {
        /// The name.
        name: String,
    },
    /// The name begins with `.-` or `..-`.
    #[error("name '{name}' is not valid: first dash-separated component must not be '{component}'")]
    DotsDash {
        /// The name.
        name: String,
        /// `.` or `..`
        component: &'static str,
    },
    /// A byte outside of `0-9 a-z A-Z + - . _ ? =`.
    #[error("name '{name}' contains illegal character '{}'", char::from(*found))]
    IllegalCharacter {
        /// The name; bytes that are not UTF-8 are replaced.
        name: String,
        /// The offending byte.
        found: u8,
        /// Its place, in bytes.
        position: usize,
    },
}

/// What is wrong with the text of a store path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StorePathError {
    /// Fewer than 32 digits and a dash.
    #[error("'{base_name}' is too short to be a valid store path")]
    TooShort {
        /// The text.
        base_name: String,
    },
    /// The hash part contains something else than Nix32 digits.
    #[error("store path '{base_name}' contains illegal base-32 character '{}'", char::from(*found))]
    IllegalDigit {
        /// The text.
        base_name: String,
        /// The offending byte.
        found: u8,
    },
    /// No dash after the hash part. (The reference does not look at this byte.)
    #[error("store path '{base_name}' has no dash after its hash part")]
    MissingDash {
        /// The text.
        base_name: String,
    },
    /// The name is not valid.
    #[error("path '{base_name}' is not a valid store path: {source}")]
    Name {
        /// The text.
        base_name: String,
        /// Why the name is not valid.
        source: NameError,
    },
    /// The path is not a child of the store directory.
    #[error("path '{path}' is not in the Nix store")]
    NotInStore {
        /// The text.
        path: String,
    },
}

/// The checked name of a store object: 1 to 211 bytes of a small ASCII alphabet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StorePathName(SmolStr);

impl StorePathName {
    /// Checks `name` with the reference's rules.
    ///
    /// ```
    /// use nixlang_store::path::StorePathName;
    ///
    /// assert!(StorePathName::new("hello-2.12.1").is_ok());
    /// assert_eq!(
    ///     StorePathName::new("a b").unwrap_err().to_string(),
    ///     "name 'a b' contains illegal character ' '",
    /// );
    /// ```
    pub fn new(name: impl AsRef<[u8]>) -> Result<Self, NameError> {
        check_name(name.as_ref()).map(|name| Self(name.into()))
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StorePathName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for StorePathName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        Self::new(name)
    }
}

/// Returns `name` as text if it is a valid store path name.
fn check_name(name: &[u8]) -> Result<&str, NameError> {
    let lossy = || String::from_utf8_lossy(name).into_owned();
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > MAX_NAME_LEN {
        return Err(NameError::TooLong { name: lossy() });
    }
    match name {
        b"." | b".." => return Err(NameError::Dots { name: lossy() }),
        [b'.', b'-', ..] => return Err(NameError::DotsDash { name: lossy(), component: "." }),
        [b'.', b'.', b'-', ..] => return Err(NameError::DotsDash { name: lossy(), component: ".." }),
        _ => {}
    }
    let is_legal = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.' | b'_' | b'?' | b'=')
    };
    match name.iter().position(|byte| !is_legal(*byte)) {
        Some(position) => {
            Err(NameError::IllegalCharacter { name: lossy(), found: name[position], position })
        }
        None => Ok(std::str::from_utf8(name).expect("legal characters are ASCII")),
    }
}

/// The identity of a store object: 20 bytes of hash and a name, without the store directory.
///
/// Ordered as its base name text is.
///
/// ```
/// use nixlang_store::path::{StoreDir, StorePath};
///
/// let path = StorePath::from_base_name("vxjiwkjkn7x4079qvh1jkl5pn05j2aw0-foo")?;
/// assert_eq!(path.name(), "foo");
/// assert_eq!(path.to_string(), "vxjiwkjkn7x4079qvh1jkl5pn05j2aw0-foo");
/// let dir = StoreDir::new("/gnu/store")?;
/// assert_eq!(dir.display(&path), "/gnu/store/vxjiwkjkn7x4079qvh1jkl5pn05j2aw0-foo");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StorePath {
    /// Last byte first, so that the derived order is that of the (reversed) Nix32 text.
    reversed_hash: [u8; 20],
    name: SmolStr,
}

impl StorePath {
    /// Reads `<32 digits>-<name>`.
    pub fn from_base_name(base_name: impl AsRef<[u8]>) -> Result<Self, StorePathError> {
        let bytes = base_name.as_ref();
        let lossy = || String::from_utf8_lossy(bytes).into_owned();
        let Some((hash, rest)) = bytes.split_first_chunk::<HASH_LEN>() else {
            return Err(StorePathError::TooShort { base_name: lossy() });
        };
        let Some((dash, name)) = rest.split_first() else {
            return Err(StorePathError::TooShort { base_name: lossy() });
        };
        let reversed_hash = nix32::decode_reversed_20(hash).ok_or_else(|| {
            let found = hash.iter().copied().find(|byte| !nix32::is_digit(*byte));
            let found = found.expect("32 digits are exactly 20 bytes, so only a digit can be wrong");
            StorePathError::IllegalDigit { base_name: lossy(), found }
        })?;
        if *dash != b'-' {
            return Err(StorePathError::MissingDash { base_name: lossy() });
        }
        match check_name(name) {
            Ok(name) => Ok(Self { reversed_hash, name: name.into() }),
            Err(source) => Err(StorePathError::Name { base_name: lossy(), source }),
        }
    }

    /// Puts a hash part and a checked name together.
    pub fn from_parts(mut hash_part: [u8; 20], name: &StorePathName) -> Self {
        hash_part.reverse();
        Self { reversed_hash: hash_part, name: name.0.clone() }
    }

    /// Puts a hash part and a name together, checking the name.
    ///
    /// # Errors
    /// [`StorePathError::Name`], with the would-be base name as the reference reports it.
    pub fn new(hash_part: [u8; 20], name: &str) -> Result<Self, StorePathError> {
        match StorePathName::new(name) {
            Ok(name) => Ok(Self::from_parts(hash_part, &name)),
            Err(source) => {
                let base_name = format!("{}-{name}", nix32::encode(&hash_part));
                Err(StorePathError::Name { base_name, source })
            }
        }
    }

    /// Returns the 20 bytes of the hash part.
    pub fn hash_part(&self) -> [u8; 20] {
        let mut hash = self.reversed_hash;
        hash.reverse();
        hash
    }

    /// Returns the 32 digits of the hash part; ASCII.
    pub fn hash_digits(&self) -> [u8; HASH_LEN] {
        nix32::encode_reversed_20(&self.reversed_hash)
    }

    /// Returns the hash part as text, the key under which binary caches know the object.
    pub fn hash_text(&self) -> SmolStr {
        let digits = self.hash_digits();
        SmolStr::new(std::str::from_utf8(&digits).expect("Nix32 digits are ASCII"))
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Tells whether the name ends in `.drv`.
    pub fn is_derivation(&self) -> bool {
        self.name.ends_with(DERIVATION_EXTENSION)
    }

    /// Returns the name without `.drv`, or `None` if this is no derivation's path.
    pub fn derivation_name(&self) -> Option<&str> {
        self.name.strip_suffix(DERIVATION_EXTENSION)
    }

    /// Returns `<32 digits>-<name>`, the file name in the store directory.
    pub fn base_name(&self) -> String {
        let mut text = Vec::with_capacity(HASH_LEN + 1 + self.name.len());
        self.append_to(&mut text);
        String::from_utf8(text).expect("digits and names are ASCII")
    }

    /// Appends the base name to `text`; the fast way for formats that are bytes.
    pub fn append_to(&self, text: &mut Vec<u8>) {
        text.extend_from_slice(&self.hash_digits());
        text.push(b'-');
        text.extend_from_slice(self.name.as_bytes());
    }
}

/// The ending of the names of derivations.
pub const DERIVATION_EXTENSION: &str = ".drv";

/// Writes the base name.
impl fmt::Display for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hash_text())?;
        f.write_str("-")?;
        f.write_str(&self.name)
    }
}

impl fmt::Debug for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Reads a base name.
impl FromStr for StorePath {
    type Err = StorePathError;

    fn from_str(base_name: &str) -> Result<Self, StorePathError> {
        Self::from_base_name(base_name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGITS: &str = "vxjiwkjkn7x4079qvh1jkl5pn05j2aw0";

    #[test]
    fn base_names_round_trip() {
        for name in ["x", "hello-2.12.1", "a+b_c?d=e", ".hidden", "..x", "...", &"n".repeat(211)] {
            let text = format!("{DIGITS}-{name}");
            let path = StorePath::from_base_name(&text).unwrap();
            assert_eq!((path.to_string(), path.base_name()), (text.clone(), text));
            assert_eq!(StorePath::new(path.hash_part(), name).unwrap(), path);
        }
    }

    /// Messages of `builtins.storePath` and `builtins.toFile` in Nix 2.34.8.
    #[test]
    fn refused_base_names() {
        let check = |text: &str, message: &str| {
            assert_eq!(StorePath::from_base_name(text).unwrap_err().to_string(), message);
        };
        check("abc", "'abc' is too short to be a valid store path");
        check(DIGITS, &format!("'{DIGITS}' is too short to be a valid store path"));
        let bad_digit = format!("e{}-x", &DIGITS[1..]);
        check(
            &bad_digit,
            &format!("store path '{bad_digit}' contains illegal base-32 character 'e'"),
        );
        let name = |name: &str, reason: &str| {
            let text = format!("{DIGITS}-{name}");
            check(&text, &format!("path '{text}' is not a valid store path: {reason}"));
        };
        name("", "name must not be empty");
        name("a b", "name 'a b' contains illegal character ' '");
        name(".", "name '.' is not valid");
        name("..", "name '..' is not valid");
        name(".-x", "name '.-x' is not valid: first dash-separated component must not be '.'");
        name("..-", "name '..-' is not valid: first dash-separated component must not be '..'");
        let long = "n".repeat(212);
        name(&long, &format!("name '{long}' must be no longer than 211 characters"));
        check(
            &format!("{DIGITS}xfoo"),
            &format!("store path '{DIGITS}xfoo' has no dash after its hash part"),
        );
        assert!(StorePath::from_base_name([0xff; 40]).is_err());
    }

    #[test]
    fn order_is_that_of_the_text() {
        let mut texts: Vec<String> = (0u8..50)
            .map(|seed| {
                let hash = crate::hash::Hash::digest(crate::hash::Algorithm::Sha1, &[seed]);
                format!("{}-{}", nix32::encode(hash.as_bytes()), seed % 3)
            })
            .collect();
        texts.push(format!("{DIGITS}-a"));
        texts.push(format!("{DIGITS}-a-b"));
        let mut paths: Vec<StorePath> =
            texts.iter().map(|text| StorePath::from_base_name(text).unwrap()).collect();
        texts.sort();
        paths.sort();
        let sorted: Vec<String> = paths.iter().map(StorePath::base_name).collect();
        assert_eq!(sorted, texts);
    }
}
