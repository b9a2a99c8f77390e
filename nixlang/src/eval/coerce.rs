//! Coercion to strings and paths, and what it puts into the store.

use std::io;

use nixlang_store::content_address::ContentAddressMethod;
use nixlang_store::path::StorePath;

use super::{ErrorData, ErrorKind, EvalError, EvalResult, Evaluator};
use crate::heap::{Kind, Str, Value};
use crate::host::internal;
use crate::source::Pos;
use crate::value::{Context, ContextElement, ContextKind, ContextSum};

/// What may be coerced, and how.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Coercion {
    /// Also null, numbers, truth values and lists.
    pub more: bool,
    /// A path becomes its copy in the store, not its own text.
    pub copy_to_store: bool,
}

impl Coercion {
    /// `"${e}"`: strings, paths (copied), sets that say how.
    pub const INTERPOLATION: Coercion = Coercion { more: false, copy_to_store: true };
    /// A part of a path.
    pub const PATH_SEGMENT: Coercion = Coercion { more: false, copy_to_store: false };
    /// `toString`.
    pub const TO_STRING: Coercion = Coercion { more: true, copy_to_store: false };
    /// Attributes of derivations.
    pub const DERIVATION: Coercion = Coercion { more: true, copy_to_store: true };
}

impl<'h> Evaluator<'h> {
    /// Coerces a value to a string, whose context says what it refers to.
    pub fn coerce_to_string(&self, value: Value<'h>, pos: Pos, coercion: Coercion, context: &'static str) -> EvalResult<Str<'h>> {
        if let Kind::String(string) = value.kind() {
            return Ok(string);
        }
        let _depth = self.enter_call(pos)?;
        let given = value;
        let value = self.force_at(value, pos)?;
        match value.kind() {
            Kind::String(string) => return Ok(string),
            Kind::Path(path) if coercion.copy_to_store => return self.copy_to_store(path.text.bytes()),
            Kind::Path(path) if internal::is_internal(path.text.bytes()) => return Ok(self.heap.str(internal::in_tree(path.text.bytes()))),
            Kind::Path(path) => return Ok(path.text),
            Kind::Attrs(attrs) => {
                if let Some(to_string) = attrs.get(self.names.to_string) {
                    let result = self.call(to_string.get(), &[value], pos)?;
                    return self.coerce_to_string(result, pos, coercion, "while evaluating the result of the `__toString` attribute");
                }
                if let Some(out_path) = attrs.get(self.names.out_path) {
                    return self.coerce_to_string(out_path.get(), pos, coercion, context);
                }
            }
            Kind::External(external) => {
                let text = external.coerce_to_string(self, coercion)?;
                if let Some(text) = text {
                    return Ok(text);
                }
            }
            Kind::Null | Kind::Bool(false) if coercion.more => return Ok(self.heap.str(b"")),
            Kind::Bool(true) if coercion.more => return Ok(self.heap.str(b"1")),
            Kind::Int(int) if coercion.more => return Ok(self.heap.str(int.to_string().as_bytes())),
            Kind::Float(float) if coercion.more => return Ok(self.heap.str(crate::text::number::format_fixed(float).as_bytes())),
            Kind::List(list) if coercion.more => {
                let (mut text, mut references) = (Vec::new(), ContextSum::default());
                for (i, slot) in list.slots().iter().enumerate() {
                    let part = self
                        .coerce_to_string(slot.get(), pos, coercion, "while evaluating one element of the list")
                        .map_err(|e| e.while_(pos, context))?;
                    text.extend_from_slice(part.bytes());
                    references.add(part.context());
                    // An element that is an empty list gets no space after it.
                    let is_empty_list = matches!(self.force(slot.get())?.kind(), Kind::List(inner) if inner.is_empty());
                    if i + 1 < list.len() && !is_empty_list {
                        text.push(b' ');
                    }
                }
                return Ok(self.heap.str_from_parts(&[&text], self.contexts.sum(references)));
            }
            _ => {}
        }
        let message = format!("cannot coerce {} to a string: {}", value.described_type(), self.show_for_error(given));
        Err(EvalError::new(ErrorKind::Type, message).while_(pos, context))
    }

    /// Coerces a value to a path: absolute and canonical. Its string context is returned with it.
    pub fn coerce_to_path(&self, value: Value<'h>, pos: Pos, context: &'static str) -> EvalResult<(&'h [u8], Option<&'h Context<'h>>)> {
        let forced = self.force_at(value, pos).map_err(|e| e.while_(pos, context))?;
        match forced.kind() {
            Kind::Path(path) => return Ok((path.text.bytes(), None)),
            Kind::Attrs(attrs) => {
                if let Some(to_string) = attrs.get(self.names.to_string) {
                    let _depth = self.enter_call(pos)?;
                    let result = self.call(to_string.get(), &[forced], pos)?;
                    return self.coerce_to_path(result, pos, context);
                }
            }
            _ => {}
        }
        let string = self.coerce_to_string(value, pos, Coercion::PATH_SEGMENT, context)?;
        if string.bytes().first() != Some(&b'/') {
            let message = format!("string '{}' doesn't represent an absolute path", String::from_utf8_lossy(string.bytes()));
            return Err(EvalError::new(ErrorKind::Evaluation, message).while_(pos, context));
        }
        let canonical = crate::path::canonicalise(string.bytes());
        Ok((if canonical == string.bytes() { string.bytes() } else { self.heap.str(&canonical).bytes() }, string.context()))
    }

    /// Puts a file or directory into the store (or computes where it would be) and returns its store path, with itself as context.
    pub fn copy_to_store(&self, path: &[u8]) -> EvalResult<Str<'h>> {
        if let Some(known) = self.sources_in_store.borrow().get(path) {
            let context = self.contexts.context(vec![self.contexts.opaque(known)]);
            return Ok(self.heap.str_from_parts(&[known.as_bytes()], context));
        }
        if path.ends_with(b".drv") {
            return Err(EvalError::new(ErrorKind::Evaluation, "file names are not allowed to end in '.drv'"));
        }
        let name = crate::path::base_name(path);
        let store_path = self.add_source(path, &String::from_utf8_lossy(name), ContentAddressMethod::Nar, None, &mut |_, _| Ok(true))?;
        let text = self.host.store_dir().display(&store_path);
        self.sources_in_store.borrow_mut().insert(path.to_vec(), text.clone());
        let context = self.contexts.context(vec![self.contexts.opaque(&text)]);
        Ok(self.heap.str_from_parts(&[text.as_bytes()], context))
    }

    /// Puts a file or directory into the store under a name; `filter` decides which entries (by path and type) go in.
    pub fn add_source(
        &self,
        path: &[u8],
        name: &str,
        method: ContentAddressMethod,
        expected: Option<nixlang_store::hash::Hash>,
        filter: &mut dyn FnMut(&[u8], crate::host::FileType) -> EvalResult<bool>,
    ) -> EvalResult<StorePath> {
        self.add_source_with_references(path, name, method, expected, &std::collections::BTreeSet::new(), filter)
    }

    /// As [`add_source`](Self::add_source), for a source that refers to store paths.
    pub fn add_source_with_references(
        &self,
        path: &[u8],
        name: &str,
        method: ContentAddressMethod,
        expected: Option<nixlang_store::hash::Hash>,
        references: &std::collections::BTreeSet<StorePath>,
        filter: &mut dyn FnMut(&[u8], crate::host::FileType) -> EvalResult<bool>,
    ) -> EvalResult<StorePath> {
        // Links on the way there are followed, a link at the end is copied as a link.
        let path = self.resolve_parent(path)?;
        let mut failure: Option<EvalError> = None;
        let mut dump = |out: &mut dyn io::Write| {
            let result = match method {
                ContentAddressMethod::Flat | ContentAddressMethod::Text => {
                    self.host.read_file(&path).map_err(|e| self.host_error(e)).map(|bytes| out.write_all(&bytes))
                }
                _ => crate::source_dump::dump(self, &path, out, filter),
            };
            match result {
                Ok(written) => written,
                Err(error) => {
                    failure = Some(error);
                    Err(io::Error::other("evaluation failed"))
                }
            }
        };
        let source = crate::host::SourceToAdd { name, method, expected, references, dump: &mut dump };
        let added = self.host.add_source(source);
        match (failure, added) {
            (Some(error), _) => Err(error),
            (None, Err(crate::host::HostError::WrongHash)) => {
                let path = String::from_utf8_lossy(&path);
                let message = format!("store path mismatch in (possibly filtered) path added from '{path}'");
                Err(EvalError::new(ErrorKind::Evaluation, message))
            }
            (None, added) => added.map_err(|error| self.host_error(error)),
        }
    }

    /// Returns an error of the host as an evaluation error.
    #[cold]
    pub fn host_error(&self, error: crate::host::HostError) -> EvalError {
        use crate::host::HostError;
        if let HostError::While { message, error } = error {
            return self.host_error(*error).while_(Pos::NONE, message);
        }
        let kind = match &error {
            HostError::Forbidden { .. } => ErrorKind::Restricted,
            HostError::Unsupported { .. } => ErrorKind::Unsupported,
            _ => ErrorKind::Host,
        };
        let message = match &error {
            HostError::NotFound { path } => match self.sources.tree_of(path.as_bytes()) {
                Some((root, below)) if root.starts_with('/') => self.host.missing_in_working_copy(&root, &below),
                Some((root, below)) => format!("'{root}/{below}' does not exist"),
                None => error.to_string(),
            },
            _ => error.to_string(),
        };
        let exit_status = if matches!(error, HostError::HashMismatch { .. }) { 102 } else { 1 };
        EvalError::from_data(ErrorData { kind, message, pos: Pos::NONE, suggestions: Vec::new(), cycle: Vec::new(), needs_itself: None, exit_status })
    }

    /// Returns how messages show a context element.
    pub fn show_context_element(&self, element: &ContextElement) -> String {
        let path = self.contexts.path_text(element);
        match element.kind {
            ContextKind::Opaque => path.into(),
            ContextKind::DeepDerivation => format!("{path} (deep)"),
            ContextKind::Output => format!("{path}^{}", self.contexts.output_text(element)),
        }
    }
}
