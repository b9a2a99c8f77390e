//! Which names of branches, tags, commits and flakes are names at all.

/// Returns whether a text is a commit's SHA-1.
pub fn is_revision(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Returns whether a text is a name of the registry: `nixpkgs`.
pub fn is_flake_id(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

/// Returns whether Mercurial takes a text as the name of a branch or tag; short flake references are read by the same rule.
pub fn is_mercurial_ref(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '@')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '@' | '+' | '-'))
}

/// Returns whether git takes a text as the name of a reference, a branch or a tag (git-check-ref-format(1)).
pub fn is_legal_ref(name: &str) -> bool {
    let is_forbidden = |c: char| c.is_ascii_control() || matches!(c, ' ' | '~' | '^' | ':' | '\\' | '?' | '[' | '*');
    let is_component = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock");
    name != "@"
        && !name.contains(is_forbidden)
        && !name.contains("..")
        && !name.contains("@{")
        && !name.ends_with('.')
        && name.split('/').all(is_component)
        // A branch or tag can't begin so; something like `-x/y` is a reference still.
        && (!name.starts_with('-') || name.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references() {
        for name in ["main", "a/b", "HEAD", "refs/heads/x", "a@b", "v1.0", "-x/y", "é"] {
            assert!(is_legal_ref(name), "{name}");
        }
        for name in ["", "@", "-x", ".x", "a/.b", "x/", "/x", "x//y", "a..b", "a@{b", "x.lock", "a.lock/b", "x.", "a b", "a~1", "a^", "a:b", "a\u{7f}"] {
            assert!(!is_legal_ref(name), "{name}");
        }
    }
}
