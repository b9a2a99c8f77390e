//! A flake reference: an input, and the directory within its tree that has the `flake.nix`.
//!
//! A reference to `./x` below another flake is one too; then the input is a relative path, which means something only beside that flake.

use super::reference::{Relative, read};
use super::url::Url;
use super::{Attr, Attrs, Input, InputError, Reader, kinds};

/// See the file's comment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FlakeRef {
    /// The tree.
    pub input: Input,
    /// The directory within it; empty for the tree's root.
    pub subdir: String,
}

impl FlakeRef {
    /// Returns the reference to a directory of a tree.
    pub fn new(input: Input, subdir: impl Into<String>) -> FlakeRef {
        FlakeRef { input, subdir: subdir.into() }
    }

    /// Returns the reference to what the registries have for a name.
    ///
    /// # Errors
    /// When it is none.
    pub fn indirect(id: &str, reader: &mut Reader<'_>) -> Result<FlakeRef, InputError> {
        let attrs = [("type", "indirect"), ("id", id)].map(|(name, text)| (name.to_owned(), Attr::from(text)));
        FlakeRef::from_attrs(attrs.into(), reader)
    }

    /// Checks attributes, `dir` among them.
    ///
    /// # Errors
    /// As [`Input::from_attrs`], or when `dir` is no text.
    pub fn from_attrs(mut attrs: Attrs, reader: &mut Reader<'_>) -> Result<FlakeRef, InputError> {
        let subdir = kinds::maybe_text(&attrs, "dir")?.unwrap_or_default().to_owned();
        attrs.remove("dir");
        Ok(FlakeRef { input: Input::from_attrs(attrs, reader)?, subdir })
    }

    /// Reads a reference and the fragment behind it. `require_tree` is as for [`Input::from_url`].
    ///
    /// # Errors
    /// When the text is none, or as [`Input::from_url`].
    pub fn parse(text: &str, require_tree: bool, reader: &mut Reader<'_>) -> Result<(FlakeRef, String), InputError> {
        Self::of_parsed(read(text, require_tree, Relative::Refused, reader)?)
    }

    /// Reads a reference of a `flake.nix`, where relative paths stay what they are.
    ///
    /// # Errors
    /// As [`FlakeRef::parse`], and when there is a fragment.
    pub fn parse_within_flake(text: &str, require_tree: bool, reader: &mut Reader<'_>) -> Result<FlakeRef, InputError> {
        let (reference, fragment) = Self::of_parsed(read(text, require_tree, Relative::Kept, reader)?)?;
        reference.without_fragment(&fragment, text)
    }

    /// Returns this if there is no fragment.
    ///
    /// # Errors
    /// When there is one; `text` is what was read.
    pub fn without_fragment(self, fragment: &str, text: &str) -> Result<FlakeRef, InputError> {
        match fragment {
            "" => Ok(self),
            _ => Err(InputError::Other(format!("unexpected fragment '{fragment}' in flake reference '{text}'"))),
        }
    }

    pub(crate) fn of_parsed((mut attrs, fragment): (Attrs, String)) -> Result<(FlakeRef, String), InputError> {
        let subdir = kinds::maybe_text(&attrs, "dir")?.unwrap_or_default().to_owned();
        attrs.remove("dir");
        Ok((FlakeRef { input: Input { attrs }, subdir }, fragment))
    }

    /// Returns the attributes, `dir` among them.
    pub fn to_attrs(&self) -> Attrs {
        let mut attrs = self.input.attrs().clone();
        if !self.subdir.is_empty() {
            attrs.entry("dir".to_owned()).or_insert_with(|| Attr::from(self.subdir.as_str()));
        }
        attrs
    }

    /// Returns the URL that says the same.
    ///
    /// # Errors
    /// As [`Input::to_url`].
    pub fn to_url(&self) -> Result<Url, InputError> {
        let mut url = self.input.to_url()?;
        if !self.subdir.is_empty() {
            url.query.entry("dir".to_owned()).or_insert_with(|| self.subdir.clone());
        }
        Ok(url)
    }

    /// Returns the path if it is relative to the flake that has this reference.
    pub fn relative_path(&self) -> Option<&str> {
        self.input.relative_path()
    }

    /// Returns this in the form in which it is compared with older ones: these had `dir` in the tree's address too.
    #[must_use]
    pub fn canonical(&self) -> FlakeRef {
        let mut canonical = self.clone();
        if let Some(text) = self.input.text("url")
            && let Ok(mut url) = Url::parse_lenient(text, &mut |_| {})
        {
            if !self.subdir.is_empty() && url.query.get("dir") == Some(&self.subdir) {
                url.query.remove("dir");
            }
            canonical.input.set("url", url.to_string());
        }
        canonical
    }
}

/// The URL, or the attributes if there is no URL for them.
impl std::fmt::Display for FlakeRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.to_url() {
            Ok(url) => write!(f, "{url}"),
            Err(_) => f.write_str(&super::to_json(&self.to_attrs())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::lenient;

    fn parsed(text: &str) -> Result<FlakeRef, InputError> {
        lenient(|reader| FlakeRef::parse_within_flake(text, true, reader))
    }

    #[test]
    fn relative_paths_stay() {
        let reference = parsed("./a/../b?dir=c").unwrap();
        assert_eq!((reference.relative_path(), reference.subdir.as_str()), (Some("./a/../b"), "c"));
        assert_eq!(reference.to_string(), "path:./a/../b?dir=c");
        assert_eq!(parsed("path:sub").unwrap().relative_path(), Some("sub"));
        assert_eq!(parsed("path:/abs").unwrap().relative_path(), None);
        assert_eq!(parsed("nixpkgs").unwrap().relative_path(), None);
        assert_eq!(parsed("nixpkgs#x").unwrap_err().to_string(), "unexpected fragment 'x' in flake reference 'nixpkgs#x'");
        assert!(lenient(|reader| FlakeRef::parse("./a", true, reader)).is_err());
    }

    #[test]
    fn the_directory_of_older_references() {
        let attrs = [("type", "git"), ("url", "https://h/x?dir=d&a=1"), ("dir", "d")].map(|(name, text)| (name.to_owned(), Attr::from(text)));
        let old = lenient(|reader| FlakeRef::from_attrs(attrs.into(), reader)).unwrap();
        let new = parsed("git+https://h/x?dir=d&a=1").unwrap();
        assert_ne!(old, new);
        assert_eq!(old.canonical(), new.canonical());
    }
}
