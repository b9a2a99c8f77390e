//! Flake references: an input as people write it.
//!
//! A reference is read three ways, and the next is tried when a way finds the text to be no URL of its kind: as a short name
//! (`nixpkgs/nixos-23.05`), as a URL, as a path. That is why a mistake in a URL may be reported as a path that isn't absolute.

use super::url::{self, Authority, Url};
use super::{Attr, Attrs, Input, InputError, Reader, is_flake_id, is_mercurial_ref};

/// What becomes of paths that don't begin with a slash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relative {
    /// They are an error.
    Refused,
    /// They stay.
    Kept,
}

/// Reads a flake reference. Returns its attributes, `dir` among them, and what follows `#`. `require_tree` is as for [`Input::from_url`].
///
/// # Errors
/// When the text is none, or as [`Input::from_url`].
pub fn parse_reference(text: &str, require_tree: bool, reader: &mut Reader<'_>) -> Result<(Attrs, String), InputError> {
    read(text, require_tree, Relative::Refused, reader)
}

pub(super) fn read(text: &str, require_tree: bool, relative: Relative, reader: &mut Reader<'_>) -> Result<(Attrs, String), InputError> {
    if let Some(found) = from_short_name(text, require_tree, reader)? {
        return Ok(found);
    }
    let as_url = Url::parse_lenient(text, reader.dubious).and_then(|url| from_url(url, require_tree, reader));
    match as_url {
        Err(InputError::BadUrl(_)) => path(text, require_tree, relative, reader),
        answer => answer,
    }
}

/// Reads a short name; none if the text is no such.
pub(crate) fn from_short_name(text: &str, require_tree: bool, reader: &mut Reader<'_>) -> Result<Option<(Attrs, String)>, InputError> {
    match short_name(text) {
        Some((url, fragment)) => Ok(Some((Input::from_url(&url, require_tree, reader)?.into_attrs(), url::decode(fragment)?))),
        None => Ok(None),
    }
}

/// Takes `dir` and fragment off a URL and reads the rest.
pub(crate) fn from_url(mut url: Url, require_tree: bool, reader: &mut Reader<'_>) -> Result<(Attrs, String), InputError> {
    let directory = url.query.remove("dir").filter(|directory| !directory.is_empty());
    let fragment = std::mem::take(&mut url.fragment);
    let mut attrs = Input::from_url(&url, require_tree, reader)?.into_attrs();
    if let Some(directory) = directory {
        attrs.entry("dir".to_owned()).or_insert(Attr::Text(directory));
    }
    Ok((attrs, fragment))
}

/// Reads `id`, `id/ref`, `id/rev`, `id/ref/rev`, each with a fragment behind it or not.
fn short_name(text: &str) -> Option<(Url, &str)> {
    let (path, fragment) = text.split_once('#').unwrap_or((text, ""));
    let (id, rest) = path.split_once('/').map_or((path, None), |(id, rest)| (id, Some(rest)));
    let is_fragment = |c: char| c.is_ascii_alphanumeric() || "-._~!$&'\"()*+,;=:@/? ^%".contains(c);
    if !is_flake_id(id)
        || rest.is_some_and(|rest| !is_mercurial_ref(rest))
        || !fragment.chars().all(is_fragment)
        || url::decode(fragment).is_err()
    {
        return None;
    }
    let path = path.split('/').map(str::to_owned).collect();
    Some((Url { scheme: "flake".into(), path, ..Default::default() }, fragment))
}

/// A path as people write it, with a query and a fragment behind.
pub(crate) struct WrittenPath<'t> {
    pub(crate) path: &'t str,
    pub(crate) query: std::collections::BTreeMap<String, String>,
    pub(crate) fragment: String,
}

impl<'t> WrittenPath<'t> {
    pub(crate) fn parse(text: &'t str, reader: &mut Reader<'_>) -> Result<Self, InputError> {
        let (rest, fragment) = text.split_once('#').unwrap_or((text, ""));
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        Ok(WrittenPath { path, query: url::decode_query(query, reader.dubious)?, fragment: url::decode(fragment)? })
    }
}

fn path(text: &str, require_tree: bool, relative: Relative, reader: &mut Reader<'_>) -> Result<(Attrs, String), InputError> {
    let WrittenPath { path, query, fragment } = WrittenPath::parse(text, reader)?;
    let is_absolute = path.starts_with('/');
    if !is_absolute && relative == Relative::Refused {
        return Err(InputError::BadUrl(format!("flake reference '{text}' is not an absolute path")));
    }
    let authority = is_absolute.then(Authority::default);
    from_url(Url { scheme: "path".into(), authority, path: Url::segments_of_file(path), query, fragment }, require_tree, reader)
}
