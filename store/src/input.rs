//! What a fetcher is asked for: attributes such as `{ type = "git"; url = …; rev = …; }`, and the URL that says the same.
//!
//! Text and tables only, nothing is looked up or fetched here. A set of attributes that was checked is an [`Input`]. The surprising
//! thing: an input of a kind that nobody knows is one too, so that a lock file from a newer program can be read and shown; only
//! fetching it fails.

mod flake_ref;
mod git_names;
mod kinds;
pub(crate) mod reference;
pub mod url;

use std::collections::BTreeMap;

pub use self::flake_ref::FlakeRef;
pub use self::git_names::{is_flake_id, is_legal_ref, is_mercurial_ref, is_revision};
pub use self::kinds::PublicKey;
pub use self::reference::parse_reference;
use self::url::{Dubious, Url};
use crate::hash::{Algorithm, Hash, HashError, HashFormat};
use crate::path::{StoreDir, StorePath};

/// An attribute of an input.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(untagged)]
pub enum Attr {
    /// A yes or no.
    Bool(bool),
    /// A count or a time.
    Number(u64),
    /// Anything else.
    Text(String),
}

impl std::fmt::Display for Attr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Attr::Text(text) => f.write_str(text),
            Attr::Number(number) => write!(f, "{number}"),
            Attr::Bool(value) => f.write_str(if *value { "1" } else { "0" }),
        }
    }
}

impl From<&str> for Attr {
    fn from(text: &str) -> Attr {
        Attr::Text(text.to_owned())
    }
}

impl From<String> for Attr {
    fn from(text: String) -> Attr {
        Attr::Text(text)
    }
}

/// Attributes by name.
pub type Attrs = BTreeMap<String, Attr>;

/// Writes attributes as JSON, the way they stand in lock files, caches and messages.
pub fn to_json(attrs: &Attrs) -> String {
    kinds::json(attrs)
}

/// Why a text or a set of attributes is no input.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// It is none of this notation; another may fit.
    #[error("{0}")]
    BadUrl(String),
    /// It is wrong in any notation.
    #[error("{0}")]
    Other(String),
}

impl From<HashError> for InputError {
    fn from(error: HashError) -> Self {
        InputError::Other(error.to_string())
    }
}

/// What the reading of an input depends on.
pub struct Reader<'a> {
    /// Whether an experimental feature is enabled.
    pub has_feature: &'a dyn Fn(&str) -> bool,
    /// Hears of a query's words without `=`.
    pub dubious: Dubious<'a>,
}

impl Reader<'_> {
    /// Fails unless a feature is enabled.
    ///
    /// # Errors
    /// When it isn't.
    pub fn require(&self, feature: &str) -> Result<(), InputError> {
        if (self.has_feature)(feature) { Ok(()) } else { Err(InputError::Other(feature_message(feature))) }
    }
}

/// Returns what is said where a feature isn't enabled.
pub fn feature_message(feature: &str) -> String {
    format!("experimental Nix feature '{feature}' is disabled; add '--extra-experimental-features {feature}' to enable it")
}

/// Runs `read` with everything allowed; for inputs that were checked before.
fn lenient<T>(read: impl FnOnce(&mut Reader<'_>) -> T) -> T {
    read(&mut Reader { has_feature: &|_| true, dubious: &mut |_| {} })
}

/// Reads a place as git takes it, a URL, a file's path or `user@host:path`, and returns it as a URL.
///
/// # Errors
/// When it is none of these.
pub fn git_url(text: &str, reader: &mut Reader<'_>) -> Result<Url, InputError> {
    kinds::git_url(text, reader)
}

/// Attributes that were checked: those of a known kind are ones that it has, of the right type and form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Input {
    attrs: Attrs,
}

impl Input {
    /// Checks attributes.
    ///
    /// # Errors
    /// When one is missing, unknown, of the wrong type or form, or belongs to a feature that isn't enabled.
    pub fn from_attrs(attrs: Attrs, reader: &mut Reader<'_>) -> Result<Input, InputError> {
        Ok(Input { attrs: kinds::from_attrs(attrs, reader)? })
    }

    /// Reads a URL without `dir` and fragment. `require_tree` says that a file of unknown extension stands for an archive's contents
    /// rather than for itself.
    ///
    /// # Errors
    /// As [`Input::from_attrs`], or when no kind knows the URL's scheme.
    pub fn from_url(url: &Url, require_tree: bool, reader: &mut Reader<'_>) -> Result<Input, InputError> {
        Ok(Input { attrs: kinds::from_url(url, require_tree, reader)? })
    }

    /// Returns the attributes.
    pub fn attrs(&self) -> &Attrs {
        &self.attrs
    }

    /// Returns the attributes and gives up the promise that they were checked.
    pub fn into_attrs(self) -> Attrs {
        self.attrs
    }

    /// Sets an attribute that a fetcher found out.
    pub fn set(&mut self, name: &str, value: impl Into<Attr>) {
        self.attrs.insert(name.to_owned(), value.into());
    }

    /// Drops an attribute.
    pub fn remove(&mut self, name: &str) {
        self.attrs.remove(name);
    }

    /// Returns the `type`.
    pub fn kind(&self) -> &str {
        self.text("type").unwrap_or_default()
    }

    /// Returns a text; none if it is absent or something else.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.attrs.get(name) {
            Some(Attr::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// Returns a number; none if it is absent or something else.
    pub fn number(&self, name: &str) -> Option<u64> {
        match self.attrs.get(name) {
            Some(Attr::Number(number)) => Some(*number),
            _ => None,
        }
    }

    /// Returns whether an attribute is true.
    ///
    /// # Errors
    /// When it is no Boolean.
    pub fn is_on(&self, name: &str) -> Result<bool, InputError> {
        kinds::boolean(&self.attrs, name)
    }

    /// Returns the name of the store path.
    pub fn name(&self) -> &str {
        self.text("name").unwrap_or("source")
    }

    /// Returns the hash that the tree's NAR must have; an empty text stands for one that nothing has.
    ///
    /// # Errors
    /// When it is no SHA-256 in SRI form.
    pub fn nar_hash(&self) -> Result<Option<Hash>, InputError> {
        kinds::nar_hash(&self.attrs)
    }

    /// Returns the commit.
    ///
    /// # Errors
    /// When it is no hash.
    pub fn revision(&self) -> Result<Option<Hash>, InputError> {
        kinds::revision(&self.attrs)
    }

    /// Returns the commit in base 16.
    ///
    /// # Errors
    /// When it is no hash.
    pub fn revision_text(&self) -> Result<Option<String>, InputError> {
        Ok(self.revision()?.map(|hash| hash.format(HashFormat::Base16, false)))
    }

    /// Returns the keys one of which must have signed the commit.
    ///
    /// # Errors
    /// When they don't parse.
    pub fn public_keys(&self) -> Result<Vec<PublicKey>, InputError> {
        kinds::public_keys(&self.attrs)
    }

    /// Returns the URL that says the same.
    ///
    /// # Errors
    /// When the kind is unknown, or what a text attribute holds isn't what it should be.
    pub fn to_url(&self) -> Result<Url, InputError> {
        lenient(|reader| kinds::to_url(&self.attrs, reader))
    }

    /// Returns the path if it is one that is relative to something.
    pub fn relative_path(&self) -> Option<&str> {
        if self.kind() == "path" { self.text("path").filter(|path| !path.starts_with('/')) } else { None }
    }

    /// Whether this says where to fetch from; otherwise a registry has to be asked.
    pub fn is_direct(&self) -> bool {
        self.kind() != "indirect"
    }

    /// Whether nothing is left to find out: all attributes that fetching gives are there.
    pub fn is_final(&self) -> bool {
        matches!(self.attrs.get("__final"), Some(Attr::Bool(true)))
    }

    /// Whether this names contents that don't change. `trust_archives` says that a forge's archive of a commit is trusted to.
    ///
    /// # Errors
    /// When commit or hash don't parse.
    pub fn is_locked(&self, trust_archives: bool) -> Result<bool, InputError> {
        Ok(match self.kind() {
            "git" => self.revision()?.is_some_and(|revision| revision != Hash::zero(Algorithm::Sha1)),
            "hg" => self.revision()?.is_some(),
            "github" | "gitlab" | "sourcehut" => self.revision()?.is_some() && (trust_archives || self.nar_hash()?.is_some()),
            "file" | "tarball" | "path" => self.nar_hash()?.is_some(),
            _ => false,
        })
    }

    /// Returns the store path that the tree has if its hash is known.
    ///
    /// # Errors
    /// When the hash doesn't parse, or the name is none for a store path.
    pub fn store_path(&self, dir: &StoreDir) -> Result<Option<StorePath>, InputError> {
        use crate::content_address::{ContentAddressMethod, ContentAddressWithReferences};
        let Some(hash) = self.nar_hash()? else { return Ok(None) };
        let content = ContentAddressWithReferences { method: ContentAddressMethod::Nar, hash, references: Default::default(), self_reference: false };
        dir.fixed_output_path(self.name(), &content).map(Some).map_err(|error| InputError::Other(error.to_string()))
    }

    /// Whether this stands for another input with the same place and any branch and commit.
    pub fn contains(&self, other: &Input) -> bool {
        if self == other {
            return true;
        }
        let mut bare = other.clone();
        bare.remove("ref");
        bare.remove("rev");
        *self == bare
    }

    /// Returns this with another branch or commit.
    ///
    /// # Errors
    /// When the kind has none, or can't have both.
    pub fn with_overrides(&self, name: Option<&str>, revision: Option<&str>) -> Result<Input, InputError> {
        let fail = |message: String| Err(InputError::Other(message));
        let mut result = self.clone();
        match self.kind() {
            "git" | "hg" | "indirect" => {
                if let Some(revision) = revision {
                    result.set("rev", revision);
                }
                if let Some(name) = name {
                    result.set("ref", name);
                }
                if self.kind() == "git" && result.text("ref").is_none() && result.text("rev").is_some() {
                    return fail(format!("Git input '{result}' has a commit hash but no branch/tag name"));
                }
            }
            "github" | "gitlab" | "sourcehut" => match (name, revision) {
                (Some(name), Some(revision)) => {
                    let message = format!("cannot apply both a commit hash ({revision}) and a branch/tag name ('{name}') to input '{self}'");
                    return Err(InputError::BadUrl(message));
                }
                (None, Some(revision)) => {
                    result.set("rev", revision);
                    result.remove("ref");
                }
                (Some(name), None) => {
                    result.set("ref", name);
                    result.remove("rev");
                }
                (None, None) => (),
            },
            _ => {
                if let Some(name) = name {
                    return fail(format!("don't know how to set branch/tag name of input '{self}' to '{name}'"));
                }
                if let Some(revision) = revision {
                    return fail(format!("don't know how to set revision of input '{self}' to '{revision}'"));
                }
            }
        }
        Ok(result)
    }
}

/// The URL, or the attributes if there is no URL for them.
impl std::fmt::Display for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.to_url() {
            Ok(url) => write!(f, "{url}"),
            Err(_) => f.write_str(&to_json(&self.attrs)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(text: &str) -> Input {
        lenient(|reader| {
            let url = Url::parse(text, reader.dubious)?;
            Input::from_url(&url, true, reader)
        })
        .unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    const REVISION: &str = "ae2e6b3958682513d28f7d633734571fb18285dd";

    #[test]
    fn what_is_locked() {
        let hash = "narHash=sha256-rA9RqKP9OlBrgGCPvfd5HVAXDOy8k2SmPtB/ijShNXc%3D";
        let cases = [
            (format!("git+https://h/x?rev={REVISION}"), true, true),
            ("git+https://h/x?ref=main".to_owned(), false, false),
            (format!("git+https://h/x?rev={}", "0".repeat(40)), false, false),
            (format!("github:a/b/{REVISION}"), true, false),
            (format!("github:a/b/{REVISION}?{hash}"), true, true),
            (format!("https://h/x.tar.gz?{hash}"), true, true),
            ("https://h/x.tar.gz".to_owned(), false, false),
            ("flake:nixpkgs".to_owned(), false, false),
        ];
        for (url, trusting, strict) in cases {
            assert_eq!(input(&url).is_locked(true).unwrap(), trusting, "{url}");
            assert_eq!(input(&url).is_locked(false).unwrap(), strict, "{url}");
        }
    }

    #[test]
    fn overrides() {
        let over = |url: &str, name: Option<&str>, revision: Option<&str>| {
            input(url).with_overrides(name, revision).map_or_else(|error| error.to_string(), |input| input.to_string())
        };
        assert_eq!(over("github:a/b", Some("main"), None), "github:a/b/main");
        assert_eq!(over("github:a/b/main", None, Some(REVISION)), format!("github:a/b/{REVISION}"));
        assert_eq!(over("git+https://h/x", Some("main"), None), "git+https://h/x?ref=main");
        assert_eq!(over("git+https://h/x", None, Some(REVISION)), format!("Git input 'git+https://h/x?rev={REVISION}' has a commit hash but no branch/tag name"));
        assert_eq!(over("https://h/x.tar", Some("v"), None), "don't know how to set branch/tag name of input 'https://h/x.tar' to 'v'");
        assert!(input("flake:nixpkgs").contains(&input("flake:nixpkgs/main")));
        assert!(!input("flake:nixpkgs/main").contains(&input("flake:nixpkgs")));
    }

    #[test]
    fn a_file_without_an_extension_may_be_a_file_or_an_archive() {
        let kind = |text: &str, require_tree: bool| {
            lenient(|reader| {
                let url = Url::parse(text, reader.dubious).unwrap();
                Input::from_url(&url, require_tree, reader).unwrap().kind().to_owned()
            })
        };
        assert_eq!(kind("https://h/x", true), "tarball");
        assert_eq!(kind("https://h/x", false), "file");
        assert_eq!(kind("https://h/x.tar.xz", false), "tarball");
        assert_eq!(kind("file+https://h/x.tar.xz", true), "file");
    }
}
