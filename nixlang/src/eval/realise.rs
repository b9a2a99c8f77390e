//! Import from derivation: what a string refers to must exist before the evaluation can look at it.

use nixlang_store::path::StorePath;

use super::{ErrorKind, EvalError, EvalResult, Evaluator};
use crate::heap::Value;
use crate::host::WantedOutput;
use crate::source::Pos;
use crate::value::{Context, ContextKind};

impl<'h> Evaluator<'h> {
    /// Has everything built or fetched that a context refers to.
    pub fn realise_context(&self, context: Option<&'h Context<'h>>) -> EvalResult<()> {
        let Some(context) = context else { return Ok(()) };
        let mut outputs = Vec::new();
        for element in context.elements {
            let path = self.store_path(self.contexts.path_text(element))?;
            match element.kind {
                ContextKind::Opaque | ContextKind::DeepDerivation => self.host.ensure_path(&path).map_err(|e| self.host_error(e))?,
                ContextKind::Output => outputs.push(WantedOutput { derivation: path, output: self.contexts.output_text(element).to_owned() }),
            }
        }
        if !outputs.is_empty() {
            self.host.realise(&outputs).map_err(|e| self.host_error(e))?;
        }
        Ok(())
    }

    /// Coerces a value to a path whose contents can be read: what its context refers to is built, and symbolic links are followed.
    pub fn realise_path(&self, value: Value<'h>, pos: Pos, context: &'static str) -> EvalResult<Vec<u8>> {
        let (path, references) = self.coerce_to_path(value, pos, context)?;
        if references.is_some() {
            let shown = String::from_utf8_lossy(path);
            self.realise_context(references).map_err(|e| e.while_(pos, format!("while realising the context of path '{shown}'")))?;
        }
        self.resolve_links(path)
    }

    /// Returns the store path that a full path is.
    pub fn store_path(&self, text: &str) -> EvalResult<StorePath> {
        self.host.store_dir().parse(text).map_err(|error| EvalError::new(ErrorKind::Evaluation, error.to_string()))
    }
}
