//! Flake references: an input as people write it.
//!
//! A reference is read three ways, and the next is tried when a way finds the text to be no URL of its kind: as a short name
//! (`nixpkgs/nixos-23.05`), as a URL, as a path. That is why a mistake in a URL may be reported as a path that isn't absolute.

use super::url::{self, Authority, Url};
use super::{Attr, Attrs, Input, InputError, Reader, is_flake_id, is_mercurial_ref};

/// Reads a flake reference. Returns its attributes, `dir` among them, and what follows `#`. `require_tree` is as for [`Input::from_url`].
///
/// # Errors
/// When the text is none, or as [`Input::from_url`].
pub fn parse_reference(text: &str, require_tree: bool, reader: &mut Reader<'_>) -> Result<(Attrs, String), InputError> {
    if let Some((url, fragment)) = short_name(text) {
        return Ok((Input::from_url(&url, require_tree, reader)?.into_attrs(), url::decode(fragment)?));
    }
    let as_url = Url::parse_lenient(text, reader.dubious).and_then(|url| from_url(url, require_tree, reader));
    match as_url {
        Err(InputError::BadUrl(_)) => path(text, require_tree, reader),
        answer => answer,
    }
}

fn from_url(mut url: Url, require_tree: bool, reader: &mut Reader<'_>) -> Result<(Attrs, String), InputError> {
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

fn path(text: &str, require_tree: bool, reader: &mut Reader<'_>) -> Result<(Attrs, String), InputError> {
    let (rest, fragment) = text.split_once('#').unwrap_or((text, ""));
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let query = url::decode_query(query, reader.dubious)?;
    let fragment = url::decode(fragment)?;
    if !path.starts_with('/') {
        return Err(InputError::BadUrl(format!("flake reference '{text}' is not an absolute path")));
    }
    let path = Url::segments_of_file(path);
    from_url(Url { scheme: "path".into(), authority: Some(Authority::default()), path, query, fragment }, require_tree, reader)
}
