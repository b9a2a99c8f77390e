//! Loading: files and sets whose attributes become variables, and doing it again.

use super::{Loader, Output, Repl, Show, failed};
use crate::eval::{EvalResult, print_attr_name};
use crate::heap::{Kind, Value};
use crate::source::{Origin, Pos};

/// Names that are shown of what was added.
const MAX_SHOWN: usize = 20;

impl<'e, 'h> Repl<'e, 'h> {
    /// Loads a file (a path, or `<name>` of the search path) and adds the attributes of its value, called with the session's arguments if it is a
    /// function.
    ///
    /// # Errors
    /// When it cannot be read or evaluated, or is no set.
    pub fn load(&mut self, file: &str, show: Show<'_>) -> EvalResult<()> {
        self.files.retain(|other| other != file);
        self.files.push(file.to_owned());
        let eval = self.eval;
        let path = match file.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')) {
            Some(name) => {
                let bytes = |text: &String| text.clone().into_bytes();
                let entries: Vec<_> = eval.options.search_path.iter().map(|(prefix, path)| (bytes(prefix), bytes(path))).collect();
                eval.find_file(&entries, name.as_bytes(), Pos::NONE)?
            }
            None => crate::path::canonicalise(&crate::path::join(&self.options.directory, file.as_bytes())),
        };
        let path = eval.resolve_expr_path(&path)?;
        let text = eval.host.read_file(&path).map_err(|error| eval.host_error(error))?;
        let value = eval.eval_text(&text, Origin::File(path.as_slice().into()), crate::path::parent(&path))?;
        let arguments = self.options.auto_arguments.unwrap_or_else(|| eval.attrs_of([]));
        let value = eval.auto_call(value, arguments)?;
        self.add(value, show)
    }

    /// Loads something now and by every reload. `what` is how it is announced.
    ///
    /// # Errors
    /// Those of the loader, and when its value is no set.
    pub fn load_installable(&mut self, what: impl Into<String>, loader: Loader<'e, 'h>, show: Show<'_>) -> EvalResult<()> {
        let what = what.into();
        show(Output::Notice(&format!("Loading installable '{what}'...")));
        let value = loader(self.eval);
        self.installables.push((what, loader));
        self.add(value?, show)
    }

    /// Adds the outputs of a flake, now and by every reload. `reference` is how it is announced then.
    ///
    /// # Errors
    /// Those of the loader, and when its value is no set.
    pub fn load_flake(&mut self, reference: impl Into<String>, loader: Loader<'e, 'h>, show: Show<'_>) -> EvalResult<()> {
        let reference = reference.into();
        self.flakes.retain(|(other, _)| *other != reference);
        let value = loader(self.eval);
        self.flakes.push((reference, loader));
        self.add(value?, show)
    }

    /// Forgets all variables, and loads again what was loaded.
    ///
    /// # Errors
    /// Of the first thing that cannot be loaded any more.
    pub fn reload(&mut self, show: Show<'_>) -> EvalResult<()> {
        self.eval.forget_files();
        self.scope = super::Scope::new(self.eval);
        for file in std::mem::take(&mut self.files) {
            show(Output::Notice(&format!("Loading \"{file}\"...")));
            self.load(&file, show)?;
        }
        let installables = std::mem::take(&mut self.installables);
        let mut result = Ok(());
        for (what, loader) in &installables {
            show(Output::Notice(&format!("Loading installable '{what}'...")));
            result = loader(self.eval).and_then(|value| self.add(value, show));
            if result.is_err() {
                break;
            }
        }
        self.installables = installables;
        result?;
        let flakes = std::mem::take(&mut self.flakes);
        let mut result = Ok(());
        for (reference, loader) in &flakes {
            show(Output::Notice(&format!("Loading flake '{reference}'...")));
            result = loader(self.eval).and_then(|value| self.add(value, show));
            if result.is_err() {
                break;
            }
        }
        self.flakes = flakes;
        result
    }

    /// Adds the attributes of a set as variables, and says which.
    ///
    /// # Errors
    /// When it is no set.
    pub fn add(&mut self, value: Value<'h>, show: Show<'_>) -> EvalResult<()> {
        let eval = self.eval;
        let attrs = eval.force_attrs(value, Pos::NONE, "while evaluating an attribute set to be merged in the global scope")?;
        let flat = attrs.flat(eval.heap);
        let mut names = Vec::new();
        for entry in flat.iter_lexicographic(eval.heap, &eval.symbols) {
            self.scope.bind(eval, entry.symbol, entry.slot.get());
            names.push(entry.symbol);
        }
        self.last_loaded = Some(Value::attrs(attrs));
        show(Output::Notice(&format!("Added {} variables.", names.len())));
        let mut shown = Vec::new();
        for (i, name) in names.iter().take(MAX_SHOWN).enumerate() {
            if i > 0 {
                shown.extend_from_slice(b", ");
            }
            print_attr_name(&mut shown, eval.symbols.text(*name));
        }
        show(Output::Notice(&String::from_utf8_lossy(&shown)));
        if names.len() > MAX_SHOWN {
            show(Output::Notice(&format!("... and {} more; view with :ll", names.len() - MAX_SHOWN)));
        }
        Ok(())
    }

    pub(super) fn last_loaded_names(&self) -> EvalResult<Vec<String>> {
        let eval = self.eval;
        match self.last_loaded.map(Value::kind) {
            Some(Kind::Attrs(attrs)) => {
                let flat = attrs.flat(eval.heap);
                let names = flat.iter_lexicographic(eval.heap, &eval.symbols).map(|entry| eval.symbols.text(entry.symbol));
                Ok(names.map(|name| String::from_utf8_lossy(name).into_owned()).collect())
            }
            _ => Err(failed("nothing has been loaded yet")),
        }
    }
}
