//! What an element of a profile is called: as short as the address of its flake allows.

/// Returns a name for an address with a fragment: its `dir`, the last attribute unless that is the default one, or the last part of the path. The
/// name of a repository at a forge is the second part.
pub(super) fn name_of_address(address: &str) -> Option<String> {
    let (address, fragment) = address.split_once('#').unwrap_or((address, ""));
    let (address, query) = address.split_once('?').unwrap_or((address, ""));
    if let Some(dir) = query.split('&').find_map(|pair| pair.strip_prefix("dir=")) {
        return Some(dir.to_owned());
    }
    if let Some(name) = last_attribute(fragment) {
        return Some(name.to_owned());
    }
    let (scheme, path) = address.split_once(':').unwrap_or(("", address));
    // A host is no part of the path.
    let path = match path.strip_prefix("//") {
        Some(rest) => rest.find('/').map_or("", |start| &rest[start..]),
        None => path,
    };
    if matches!(scheme, "github" | "gitlab" | "sourcehut") {
        let mut parts = path.split('/');
        if let (Some(owner), Some(name)) = (parts.next(), parts.next())
            && is_name(owner)
            && is_name(name)
        {
            return Some(name.to_owned());
        }
    }
    path.rsplit_once('/').map(|(_, last)| last).filter(|last| is_name(last)).map(str::to_owned)
}

/// Returns the last name of an attribute path if there is one that says something.
fn last_attribute(fragment: &str) -> Option<&str> {
    let path = fragment.split('^').next()?;
    let (before, last) = path.rsplit_once('.').unwrap_or(("", path));
    let is_plain = path.split('.').all(is_name);
    (is_plain && last != "default" && before != "defaultPackage").then_some(last)
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_addresses() {
        let named = |address: &str| name_of_address(address).unwrap_or_default();
        assert_eq!(named("path:/a/flake1#packages.x86_64-linux.default"), "flake1");
        assert_eq!(named("path:/a/flake1#packages.x86_64-linux.hello^out"), "hello");
        assert_eq!(named("github:NixOS/nixpkgs/aaaa#defaultPackage.x86_64-linux"), "nixpkgs");
        assert_eq!(named("git+https://example.org/some/where?ref=x#packages.x86_64-linux.default"), "where");
        assert_eq!(named("github:a/b?dir=sub#x"), "sub");
        assert_eq!(named("git+https://example.org"), "");
        assert_eq!(named("path:/a/with.dot"), "");
    }
}
