//! Text operations on absolute paths. A canonical path has no `.`, `..` or empty component and no slash at its end (but for `/` itself).

/// Returns the canonical form of an absolute path, without looking at any file.
pub fn canonicalise(path: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    if parts.is_empty() {
        return b"/".to_vec();
    }
    let mut canonical = Vec::with_capacity(path.len());
    for part in parts {
        canonical.push(b'/');
        canonical.extend_from_slice(part);
    }
    canonical
}

/// Returns the last component of a canonical path; nothing for `/`.
pub fn base_name(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

/// Returns the directory that a canonical path lies in; `/` for `/`.
pub fn parent(path: &[u8]) -> &[u8] {
    match path.iter().rposition(|byte| *byte == b'/') {
        None | Some(0) => b"/",
        Some(slash) => &path[..slash],
    }
}

/// Returns a canonical directory joined with one component.
pub fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    let mut joined = directory.to_vec();
    if joined != b"/" {
        joined.push(b'/');
    }
    joined.extend_from_slice(name);
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_form() {
        for (path, canonical) in [("/", "/"), ("//a/./b/../c/", "/a/c"), ("/../x", "/x"), ("/a/..", "/")] {
            assert_eq!(canonicalise(path.as_bytes()), canonical.as_bytes(), "{path}");
        }
        assert_eq!((base_name(b"/a/b"), parent(b"/a/b"), parent(b"/a"), base_name(b"/")), (&b"b"[..], &b"/a"[..], &b"/"[..], &b""[..]));
        assert_eq!((join(b"/", b"a"), join(b"/a", b"b")), (b"/a".to_vec(), b"/a/b".to_vec()));
    }
}
