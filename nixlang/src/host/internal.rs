//! Files that are part of this library, for every evaluation, whatever its host: the `derivation` function, `<nix/fetchurl.nix>`. Their
//! paths have a NUL byte, so that no file of a host can be meant; messages and `toString` show what the reference shows.

use std::borrow::Cow;

use super::{FileType, Host, HostError, HostLayer, HostResult};

/// What paths of such files begin with. After it comes the tree, then the file: `/␀nix/fetchurl.nix`.
const MARK: &[u8] = b"/\0";
/// Files that expressions can name: `<nix/…>`.
pub(crate) const CORE: &[u8] = b"/\0nix/";
/// What `derivation` is made of.
pub(crate) const DERIVATION: &[u8] = b"/\0nix-internal/derivation-internal.nix";
/// What `import` of a `.drv` file calls.
pub(crate) const IMPORTED_DERIVATION: &[u8] = b"/\0nix-internal/imported-drv-to-derivation.nix";

const FILES: [(&[u8], &[u8]); 3] = [
    (b"/\0nix/fetchurl.nix", include_bytes!("../builtins/fetchurl.nix")),
    (DERIVATION, include_bytes!("../builtins/derivation.nix")),
    (IMPORTED_DERIVATION, include_bytes!("../builtins/imported-derivation.nix")),
];

/// Returns whether a path is one of this library's, be there such a file or not.
pub(crate) fn is_internal(path: &[u8]) -> bool {
    path.starts_with(MARK)
}

/// A host with these files besides its own.
pub(crate) struct WithInternalFiles(pub(crate) Box<dyn Host>);

fn not_found(path: &[u8]) -> HostError {
    HostError::NotFound { path: String::from_utf8_lossy(&shown(path)).into_owned() }
}

/// Returns the names in a directory of these files.
fn entries(directory: &[u8]) -> impl Iterator<Item = &'static [u8]> {
    FILES.iter().filter_map(move |(path, _)| path.strip_prefix(directory)?.strip_prefix(b"/"))
}

impl HostLayer for WithInternalFiles {
    fn inner(&self) -> &dyn Host {
        &*self.0
    }

    fn read_file(&self, path: &[u8]) -> HostResult<Vec<u8>> {
        if !is_internal(path) {
            return self.inner().read_file(path);
        }
        FILES.iter().find(|(it, _)| *it == path).map(|(_, text)| text.to_vec()).ok_or_else(|| not_found(path))
    }

    fn read_dir(&self, path: &[u8]) -> HostResult<Vec<(Vec<u8>, Option<FileType>)>> {
        if !is_internal(path) {
            return self.inner().read_dir(path);
        }
        let found: Vec<_> = entries(path).map(|name| (name.to_vec(), Some(FileType::Regular { executable: false }))).collect();
        if found.is_empty() { Err(not_found(path)) } else { Ok(found) }
    }

    fn file_type(&self, path: &[u8]) -> HostResult<Option<FileType>> {
        if !is_internal(path) {
            return self.inner().file_type(path);
        }
        if FILES.iter().any(|(it, _)| *it == path) {
            return Ok(Some(FileType::Regular { executable: false }));
        }
        Ok(entries(path).next().map(|_| FileType::Directory))
    }

    fn read_link(&self, path: &[u8]) -> HostResult<Vec<u8>> {
        if is_internal(path) { Err(not_found(path)) } else { self.inner().read_link(path) }
    }
}

/// Returns how messages call a path: `<nix/fetchurl.nix>`, `«nix-internal»/derivation-internal.nix`; any other as it is.
pub(crate) fn shown(path: &[u8]) -> Cow<'_, [u8]> {
    let Some(below) = path.strip_prefix(MARK) else { return Cow::Borrowed(path) };
    match below.strip_prefix(b"nix-internal") {
        Some(file) => Cow::Owned(["«nix-internal»".as_bytes(), file].concat()),
        None if below.contains(&b'/') => Cow::Owned([b"<", below, b">"].concat()),
        None => Cow::Owned([b"<", below, b"/>"].concat()),
    }
}

/// Returns a path as values show it: of a file of this library, where it lies in its tree.
pub(crate) fn in_tree(path: &[u8]) -> &[u8] {
    match path.strip_prefix(MARK) {
        Some(below) => below.iter().position(|byte| *byte == b'/').map_or(&b"/"[..], |slash| &below[slash..]),
        None => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_shown_as_the_reference_shows_them() {
        assert_eq!(&*shown(b"/\0nix/fetchurl.nix"), b"<nix/fetchurl.nix>");
        assert_eq!(&*shown(b"/\0nix"), b"<nix/>");
        assert_eq!(&*shown(DERIVATION), "«nix-internal»/derivation-internal.nix".as_bytes());
        assert_eq!(&*shown(b"/nix/fetchurl.nix"), b"/nix/fetchurl.nix");
        assert_eq!(in_tree(b"/\0nix/fetchurl.nix"), b"/fetchurl.nix");
        assert_eq!(in_tree(b"/\0nix"), b"/");
        assert_eq!(in_tree(b"/a/b"), b"/a/b");
    }
}
