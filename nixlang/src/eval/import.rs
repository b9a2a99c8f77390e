//! `import`: from a path to a value, once per file; resolution of symbolic links; the search path.

use std::sync::Arc;

use super::{ErrorKind, EvalError, EvalResult, Evaluator};
use crate::heap::{Kind, Value};
use crate::host::internal;
use crate::host::{FileType, Message};
use crate::lower::StaticScope;
use crate::lower::expr::Expr;
use crate::source::{Origin, Pos};

/// Links followed on the way to a file before it is called a cycle.
const MAX_LINKS: usize = 1024;

impl<'h> Evaluator<'h> {
    /// Parses a text and evaluates it. `base` is the directory that relative paths in it start from.
    pub fn eval_text(&self, text: &[u8], origin: Origin, base: &[u8]) -> EvalResult<Value<'h>> {
        self.eval_text_in(text, origin, base, &StaticScope::default(), self.root())
    }

    /// As [`eval_text`](Self::eval_text), with more variables in scope: slot `i` of `env` holds the scope's name `i`.
    pub fn eval_text_in(&self, text: &[u8], origin: Origin, base: &[u8], scope: &StaticScope, env: crate::heap::Env<'h>) -> EvalResult<Value<'h>> {
        let text: Arc<[u8]> = Arc::from(text);
        let start = self.sources.add(origin, text.clone()).map_err(|e| EvalError::new(ErrorKind::Evaluation, e.to_string()))?;
        let expr = crate::lower::parse(self, &text, start, base, scope)?;
        self.eval(expr, env)
    }

    /// Evaluates a file, or a directory's `default.nix`, once per evaluator: a second time gives the same value.
    pub fn import(&self, path: &[u8]) -> EvalResult<Value<'h>> {
        let known = self.imports.borrow().get(path).copied();
        if let Some(value) = known {
            return self.force(value);
        }
        let file = self.resolve_expr_path(path)?;
        let known = self.imports.borrow().get(&file).copied();
        if let Some(value) = known {
            self.imports.borrow_mut().insert(path.to_vec(), value);
            return self.force(value);
        }
        // The cache holds a thunk, so that importing a file while it is evaluated is an infinite recursion and not a second evaluation.
        let value = self.heap.thunk_lazy(crate::value::Lazy::Import(self.heap.str(&file)));
        self.imports.borrow_mut().insert(file.clone(), value);
        self.imports.borrow_mut().insert(path.to_vec(), value);
        self.force(value)
    }

    /// As [`import`](Self::import), of a file that is a set as it stands there, such as a `flake.nix`.
    ///
    /// # Errors
    /// When the file has another kind of expression.
    pub(crate) fn import_literal_set(&self, path: &[u8]) -> EvalResult<Value<'h>> {
        let file = self.resolve_expr_path(path)?;
        let known = self.imports.borrow().get(&file).copied();
        if let Some(value) = known
            && let Kind::Attrs(_) = self.force(value)?.kind()
        {
            return self.force(value);
        }
        let text: Arc<[u8]> = Arc::from(self.host.read_file(&file).map_err(|e| self.host_error(e))?);
        let start = self.sources.add(Origin::File(Arc::from(file.as_slice())), text.clone()).map_err(|e| EvalError::new(ErrorKind::Evaluation, e.to_string()))?;
        let expr = crate::lower::parse(self, &text, start, crate::path::parent(&file), &StaticScope::default())?;
        if !matches!(expr, Expr::Attrs(_)) {
            let shown = self.sources.shown_path(&file);
            let error = EvalError::new(ErrorKind::Evaluation, format!("file '{shown}' must be an attribute set"));
            return Err(error.while_(Pos::NONE, format!("while evaluating the file '{shown}':")));
        }
        let value = self.eval(expr, self.root())?;
        self.imports.borrow_mut().insert(file, value);
        Ok(value)
    }

    /// Forgets which files were evaluated or copied, so that what changed meanwhile is read anew. Values that exist stay what they are.
    pub fn forget_files(&self) {
        self.imports.borrow_mut().clear();
        self.sources_in_store.borrow_mut().clear();
        self.caches.plain_paths.borrow_mut().clear();
        self.host.forget_fetched();
    }

    /// Evaluates a file, whether it was imported before or not.
    pub(super) fn eval_file(&self, file: &[u8]) -> EvalResult<Value<'h>> {
        let text = self.host.read_file(file).map_err(|e| self.host_error(e))?;
        self.eval_text_in(&text, Origin::File(Arc::from(file)), crate::path::parent(file), &StaticScope::default(), self.root())
            .map_err(|e| if e.kind() == ErrorKind::Syntax { e } else { e.while_(Pos::NONE, format!("while evaluating the file '{}':", String::from_utf8_lossy(file))) })
    }

    /// Evaluates a file with more variables in scope (`scopedImport`).
    pub fn eval_file_in(&self, file: &[u8], scope: &StaticScope, env: crate::heap::Env<'h>) -> EvalResult<Value<'h>> {
        let text = self.host.read_file(file).map_err(|e| self.host_error(e))?;
        self.eval_text_in(&text, Origin::File(Arc::from(file)), crate::path::parent(file), scope, env)
    }

    /// Returns the file to evaluate for a path: a link there is followed, a directory stands for its `default.nix`.
    ///
    /// Links on the way to it stay as they are: what the file calls `../x` is found where the path says, not where the file really is.
    pub fn resolve_expr_path(&self, path: &[u8]) -> EvalResult<Vec<u8>> {
        let mut path = path.to_vec();
        for _ in 0..MAX_LINKS {
            let at = self.resolve_parent(&path)?;
            if self.file_type(&at)? != Some(FileType::Symlink) {
                return match self.file_type(&self.resolve_links(&path)?)? {
                    Some(FileType::Directory) => Ok(crate::path::join(&path, b"default.nix")),
                    _ => Ok(path),
                };
            }
            let target = self.host.read_link(&at).map_err(|e| self.host_error(e))?;
            let absolute = target.first() == Some(&b'/');
            path = if absolute { crate::path::canonicalise(&target) } else { crate::path::canonicalise(&crate::path::join(crate::path::parent(&path), &target)) };
        }
        let message = format!("too many symbolic links encountered while traversing the path '{}'", String::from_utf8_lossy(&path));
        Err(EvalError::new(ErrorKind::Host, message))
    }

    /// Returns what is at a path (not following a link there).
    pub fn file_type(&self, path: &[u8]) -> EvalResult<Option<FileType>> {
        self.host.file_type(path).map_err(|e| self.host_error(e))
    }

    /// Follows symbolic links in all of a path. Parts that don't exist stay as they are.
    pub fn resolve_links(&self, path: &[u8]) -> EvalResult<Vec<u8>> {
        self.resolve(path, true)
    }

    /// Follows symbolic links in all of a path but its last component.
    pub fn resolve_parent(&self, path: &[u8]) -> EvalResult<Vec<u8>> {
        self.resolve(path, false)
    }

    fn resolve(&self, path: &[u8], also_last: bool) -> EvalResult<Vec<u8>> {
        if self.caches.plain_paths.borrow().contains(path) {
            return Ok(path.to_vec());
        }
        let mut rest: Vec<Vec<u8>> = path.split(|byte| *byte == b'/').rev().filter(|part| !part.is_empty()).map(<[u8]>::to_vec).collect();
        let mut resolved = b"/".to_vec();
        let mut n_links = 0;
        while let Some(part) = rest.pop() {
            match &part[..] {
                b"." => continue,
                b".." => {
                    resolved = crate::path::parent(&resolved).to_vec();
                    continue;
                }
                _ => {}
            }
            let next = crate::path::join(&resolved, &part);
            if (rest.is_empty() && !also_last) || self.caches.plain_paths.borrow().contains(&next) {
                resolved = next;
                continue;
            }
            match self.file_type(&next)? {
                Some(FileType::Symlink) => {
                    n_links += 1;
                    if n_links > MAX_LINKS {
                        let message = format!("infinite symlink recursion in path '{}'", String::from_utf8_lossy(path));
                        return Err(EvalError::new(ErrorKind::Host, message));
                    }
                    let target = self.host.read_link(&next).map_err(|e| self.host_error(e))?;
                    if target.first() == Some(&b'/') {
                        resolved = b"/".to_vec();
                    }
                    rest.extend(target.split(|byte| *byte == b'/').rev().filter(|part| !part.is_empty()).map(<[u8]>::to_vec));
                }
                Some(_) => {
                    // What was seen to be no link stays none for this evaluator.
                    self.caches.plain_paths.borrow_mut().insert(next.clone());
                    resolved = next;
                }
                None => resolved = next,
            }
        }
        Ok(resolved)
    }

    /// Returns the directory that an entry of a search path stands for, fetched if need be; none, with a warning, if it can't be had.
    fn search_path_root(&self, entry: &[u8]) -> EvalResult<Option<Vec<u8>>> {
        if let Some(known) = self.caches.search_path.borrow().get(entry) {
            return Ok(known.clone());
        }
        let mut root = None;
        let text = String::from_utf8_lossy(entry);
        let scheme = text.split(':').next().filter(|scheme| scheme.len() < text.len() && !scheme.contains('/'));
        if scheme.is_some() {
            root = self.host.fetch_search_path_entry(&text).map_err(|error| self.host_error(error))?;
        }
        if root.is_none() {
            let exists = self.resolve_links(entry).and_then(|resolved| self.file_type(&resolved));
            match exists {
                Ok(Some(_)) => root = Some(entry.to_vec()),
                Err(error) if error.kind() == ErrorKind::Restricted => return Err(error),
                _ => self.say(Message::Warning, &format!("Nix search path entry '{text}' does not exist, ignoring")),
            }
        }
        self.caches.search_path.borrow_mut().insert(entry.to_vec(), root.clone());
        Ok(root)
    }

    /// Looks up `<name>` in a search path; entries are prefix and path.
    pub fn find_file(&self, search_path: &[(Vec<u8>, Vec<u8>)], name: &[u8], pos: Pos) -> EvalResult<Vec<u8>> {
        for (prefix, path) in search_path {
            let rest = if prefix.is_empty() {
                Some(name)
            } else {
                match name.strip_prefix(&prefix[..]) {
                    Some(b"") => Some(&b""[..]),
                    Some(rest) => rest.strip_prefix(b"/"),
                    None => None,
                }
            };
            let Some(rest) = rest else { continue };
            let Some(root) = self.search_path_root(path)? else { continue };
            let candidate = crate::path::canonicalise(&[&root[..], b"/", rest].concat());
            match self.resolve_links(&candidate).and_then(|resolved| self.file_type(&resolved)) {
                Ok(Some(_)) => return Ok(candidate),
                Err(error) if error.kind() == ErrorKind::Restricted => return Err(error),
                _ => {}
            }
        }
        if let Some(rest) = name.strip_prefix(b"nix/") {
            return Ok(crate::path::canonicalise(&[internal::CORE, rest].concat()));
        }
        let shown = String::from_utf8_lossy(name);
        let message = if self.options.pure {
            format!("cannot look up '<{shown}>' in pure evaluation mode (use '--impure' to override)")
        } else {
            format!("file '{shown}' was not found in the Nix search path (add it using $NIX_PATH or -I)")
        };
        Err(EvalError::new(ErrorKind::Assertion, message).at(pos))
    }
}
