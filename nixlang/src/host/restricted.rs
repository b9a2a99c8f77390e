//! A host that shows only part of another one: files below allowed paths, fetches below allowed addresses, no environment.
//! It is what `restrict-eval` stands for.

use nixlang_store::input::url::Url;
use nixlang_store::path::StorePath;

use super::*;

/// An allow-list around a host. The store is always allowed: what is in there was put there by an evaluation or a build. See [`Host`].
pub struct RestrictedHost {
    inner: Box<dyn Host>,
    paths: Vec<Vec<u8>>,
    addresses: Vec<String>,
}

impl RestrictedHost {
    /// Returns a host that shows of `inner` the files at and below `paths` (absolute, canonical), and fetches from `addresses` and what begins with one
    /// of them and a slash.
    pub fn new(inner: Box<dyn Host>, paths: Vec<Vec<u8>>, addresses: Vec<String>) -> Self {
        RestrictedHost { inner, paths, addresses }
    }

    fn is_allowed(&self, path: &[u8]) -> bool {
        self.inner.store_dir().is_in_store(path) || self.paths.iter().any(|allowed| is_at_or_below(path, allowed))
    }

    fn check(&self, path: &[u8]) -> HostResult<()> {
        if self.is_allowed(path) {
            return Ok(());
        }
        let path = String::from_utf8_lossy(path);
        Err(HostError::Forbidden { message: format!("access to absolute path '{path}' is forbidden in restricted mode") })
    }

    /// What lies on the way to an allowed path may be asked for its type, or no path could be followed.
    fn check_on_the_way(&self, path: &[u8]) -> HostResult<()> {
        let store_dir = self.inner.store_dir().as_str().as_bytes();
        if is_at_or_below(store_dir, path) || self.paths.iter().any(|allowed| is_at_or_below(allowed, path)) { Ok(()) } else { self.check(path) }
    }
}

fn is_at_or_below(path: &[u8], directory: &[u8]) -> bool {
    directory == b"/" || path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// An allowed address stands for itself, for what follows after a slash, and for all of a scheme if it is just that.
fn is_address_below(address: &str, allowed: &str) -> bool {
    address.strip_prefix(allowed).is_some_and(|rest| {
        rest.is_empty() || !allowed.is_empty() && (allowed.ends_with('/') || rest.starts_with('/') || is_just_a_scheme(allowed))
    })
}

fn is_just_a_scheme(text: &str) -> bool {
    text.strip_suffix(':').is_some_and(|scheme| {
        scheme.starts_with(|c: char| c.is_ascii_lowercase()) && scheme.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "+.-".contains(c))
    })
}

impl HostLayer for RestrictedHost {
    fn inner(&self) -> &dyn Host {
        &*self.inner
    }

    fn read_file(&self, path: &[u8]) -> HostResult<Vec<u8>> {
        self.check(path)?;
        self.inner.read_file(path)
    }

    fn read_dir(&self, path: &[u8]) -> HostResult<Vec<(Vec<u8>, Option<FileType>)>> {
        if !self.is_allowed(path) {
            let leads_to_allowed = |path: &[u8]| path == b"/" || self.paths.iter().any(|allowed| is_at_or_below(allowed, path));
            if !leads_to_allowed(path) {
                self.check(path)?;
            }
            // Of a directory on the way only the way is shown.
            let mut entries = self.inner.read_dir(path)?;
            entries.retain(|(name, _)| leads_to_allowed(&crate::path::join(path, name)));
            return Ok(entries);
        }
        self.inner.read_dir(path)
    }

    fn file_type(&self, path: &[u8]) -> HostResult<Option<FileType>> {
        self.check_on_the_way(path)?;
        self.inner.file_type(path)
    }

    fn read_link(&self, path: &[u8]) -> HostResult<Vec<u8>> {
        self.check_on_the_way(path)?;
        self.inner.read_link(path)
    }

    fn env_var(&self, _name: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn fetch(&self, request: &FetchRequest) -> HostResult<StorePath> {
        HostLayer::check_address(self, &request.url)?;
        self.inner.fetch(request)
    }

    fn check_address(&self, address: &str) -> HostResult<()> {
        if self.addresses.iter().any(|allowed| is_address_below(address, allowed)) {
            return Ok(());
        }
        // What is a file by another name is as open as the file.
        let path = match Url::parse(address, &mut |_| {}) {
            _ if address.starts_with('/') => Some(address.to_owned()),
            Ok(url) if url.scheme == "file" => url.file_path().ok(),
            _ => None,
        };
        match path {
            Some(path) => self.check(&crate::path::canonicalise(path.as_bytes())),
            None => Err(HostError::Forbidden { message: format!("access to URI '{address}' is forbidden in restricted mode") }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::{EvalOptions, session};
    use crate::source::Origin;

    fn evaluate(expression: &str) -> Result<String, String> {
        let host = || -> Box<dyn Host> {
            let files = MemoryHost::with_files([("/open/a.nix", "\"a\""), ("/openly.nix", "\"no\""), ("/shut/b.nix", "\"b\"")]);
            Box::new(RestrictedHost::new(Box::new(files), vec![b"/open".to_vec()], vec!["https://example.org/x".into()]))
        };
        session(host, EvalOptions::default(), |eval| {
            let value = eval.eval_text(expression.as_bytes(), Origin::String, b"/").and_then(|value| eval.force_deep(value));
            value.and_then(|value| eval.print_plain(value)).map(|text| String::from_utf8_lossy(&text).into_owned()).map_err(|e| e.to_string())
        })
        .expect("a thread can be had")
    }

    #[test]
    fn only_what_is_allowed_can_be_reached() {
        let forbidden = |path: &str| Err(format!("access to absolute path '{path}' is forbidden in restricted mode"));
        assert_eq!(evaluate("import /open/a.nix"), Ok("\"a\"".into()));
        assert_eq!(evaluate("import /shut/b.nix"), forbidden("/shut"));
        assert_eq!(evaluate("builtins.readFile /openly.nix"), forbidden("/openly.nix"));
        assert_eq!(evaluate("builtins.readFile (/open + \"/../shut/b.nix\")"), forbidden("/shut/b.nix"));
        assert_eq!(evaluate("builtins.pathExists /shut/b.nix"), Ok("false".into()));
        assert_eq!(evaluate("builtins.readDir /."), Ok("{ open = \"directory\"; }".into()));
        assert_eq!(evaluate("builtins.readDir /shut"), forbidden("/shut"));
        let refused = "access to URI 'https://example.org/xy' is forbidden in restricted mode";
        assert_eq!(evaluate("builtins.fetchurl \"https://example.org/xy\""), Err(refused.into()));
        assert_ne!(evaluate("builtins.fetchurl \"https://example.org/x/y\""), Err(refused.replace("xy", "x/y")));
    }
}
