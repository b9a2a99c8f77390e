//! Files that are part of this library: the `derivation` function, `<nix/fetchurl.nix>`. Their paths have a NUL byte, so that no file of a
//! host can be meant; messages and `toString` show what the reference shows.

use std::borrow::Cow;

/// What paths of such files begin with. After it comes the tree, then the file: `/␀nix/fetchurl.nix`.
const MARK: &[u8] = b"/\0";
/// Files that expressions can name: `<nix/…>`.
pub(crate) const CORE: &[u8] = b"/\0nix/";
/// What `derivation` is made of.
pub(super) const DERIVATION: &[u8] = b"/\0nix-internal/derivation-internal.nix";
/// What `import` of a `.drv` file calls.
pub(super) const IMPORTED_DERIVATION: &[u8] = b"/\0nix-internal/imported-drv-to-derivation.nix";

/// Returns whether a path is one of this library's, be there such a file or not.
pub(crate) fn is_internal(path: &[u8]) -> bool {
    path.starts_with(MARK)
}

/// Returns the text of a file of this library.
pub(crate) fn text(path: &[u8]) -> Option<&'static [u8]> {
    match path {
        _ if !is_internal(path) => None,
        b"/\0nix/fetchurl.nix" => Some(include_bytes!("fetchurl.nix")),
        DERIVATION => Some(include_bytes!("derivation.nix")),
        IMPORTED_DERIVATION => Some(include_bytes!("imported-derivation.nix")),
        _ => None,
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
