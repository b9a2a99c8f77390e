//! Packages: the derivations that a value has, and what is known of each.
//!
//! A value is walked as the reference's commands walk it ([`find`]): a derivation is one package; of a list every element counts, of a set every
//! attribute that is a derivation, and what is below attributes that are sets with `recurseForDerivations = true`. What is asked of a [`Package`]
//! later is evaluated when it is asked, and fails in the reference's words.
//!
//! The surprising thing: a package needs no more than `type = "derivation"` and a name. All the rest may be missing or wrong, which only whoever asks
//! for it gets to know.
//! ```
//! use nixlang::eval::{EvalOptions, EvalResult, session};
//! use nixlang::host::MemoryHost;
//! use nixlang::packages::{FindOptions, find};
//! use nixlang::source::Origin;
//!
//! let found = session(|| Box::new(MemoryHost::default()), EvalOptions::default(), |eval| {
//!     let text = br#"
//!       let package = name: derivation { inherit name; system = "x86_64-linux"; builder = "/bin/sh"; } // { meta.priority = 3; };
//!       in { hello = package "hello-2.12"; tools = { recurseForDerivations = true; tree = package "tree-2.1"; }; hidden.x = throw "not looked at"; }
//!     "#;
//!     let value = eval.eval_text(text, Origin::String, b"/")?;
//!     let packages = find(eval, value, &FindOptions::default())?;
//!     let about = packages.iter().map(|package| Ok((package.attribute_path().to_owned(), package.name()?, package.meta_int("priority")?)));
//!     about.collect::<EvalResult<Vec<_>>>()
//! })?;
//! let expected = [("hello".into(), "hello-2.12".into(), Some(3)), ("tools.tree".into(), "tree-2.1".into(), Some(3))];
//! assert_eq!(found.expect("it evaluates"), expected);
//! # Ok::<(), std::io::Error>(())
//! ```

mod find;
mod meta;

use std::collections::BTreeMap;

use nixlang_store::path::StorePath;

use crate::eval::{Coercion, ErrorKind, EvalError, EvalResult, Evaluator};
use crate::heap::{Attrs, Entry, Kind, Value};
use crate::source::Pos;
use crate::symbol::Symbol;

pub use find::{FindOptions, find, package};

/// A derivation as a package: a set whose `type` is `"derivation"`, and where it was found.
///
/// Every method evaluates what it needs, which may take long, say something by the host and fail; values remember what they became, so asking
/// again is cheap.
#[derive(Clone)]
pub struct Package<'e, 'h> {
    eval: &'e Evaluator<'h>,
    attrs: Attrs<'h>,
    attribute_path: String,
}

/// Outputs by name, with their paths where they were asked for.
pub type Outputs = BTreeMap<String, Option<StorePath>>;

impl<'e, 'h> Package<'e, 'h> {
    /// Returns where it was found: names and numbers with dots between them, empty for the value that was searched.
    pub fn attribute_path(&self) -> &str {
        &self.attribute_path
    }

    /// Returns the evaluator that it was found with.
    pub fn evaluator(&self) -> &'e Evaluator<'h> {
        self.eval
    }

    /// Returns the set itself.
    pub fn attrs(&self) -> Attrs<'h> {
        self.attrs
    }

    /// Returns its `name`, such as `hello-2.12`.
    ///
    /// # Errors
    /// Those of its evaluation; if there is none, if it is no string, or if it has a context.
    pub fn name(&self) -> EvalResult<String> {
        match self.attrs.find(self.eval.names.name) {
            Some(name) => self.plain_text(name.slot.get(), Pos::NONE, "while evaluating the 'name' attribute of a derivation"),
            None => Err(EvalError::new(ErrorKind::Type, "derivation name missing")),
        }
    }

    /// Returns its `system`, `unknown` without one.
    ///
    /// # Errors
    /// Those of its evaluation; if it is no string, or if it has a context.
    pub fn system(&self) -> EvalResult<String> {
        match self.attrs.find(self.eval.names.system) {
            Some(system) => self.plain_text(system.slot.get(), system.pos, "while evaluating the 'system' attribute of a derivation"),
            None => Ok("unknown".to_owned()),
        }
    }

    /// Returns which output the set stands for (`outputName`), nothing if it doesn't say so.
    ///
    /// # Errors
    /// Those of its evaluation; if it is no string, or if it has a context.
    pub fn output_name(&self) -> EvalResult<String> {
        match self.attrs.find(self.eval.names.output_name) {
            Some(name) => self.plain_text(name.slot.get(), Pos::NONE, "while evaluating the output name of a derivation"),
            None => Ok(String::new()),
        }
    }

    /// Returns where the derivation is, if it is known (`drvPath`).
    ///
    /// # Errors
    /// Those of its evaluation, and if it is no path of a derivation.
    pub fn derivation_path(&self) -> EvalResult<Option<StorePath>> {
        let context = "while evaluating the 'drvPath' attribute of a derivation";
        let Some(attribute) = self.attrs.find(self.eval.names.drv_path) else { return Ok(None) };
        let path = self.store_path(attribute, context)?;
        if !path.is_derivation() {
            let message = format!("store path '{path}' is not a valid derivation path");
            return Err(EvalError::new(ErrorKind::Evaluation, message).while_(attribute.pos, context));
        }
        Ok(Some(path))
    }

    /// As [`derivation_path`](Self::derivation_path), for those who need one.
    ///
    /// # Errors
    /// Those of `derivation_path`, and if there is none.
    pub fn require_derivation_path(&self) -> EvalResult<StorePath> {
        let missing = || EvalError::new(ErrorKind::MissingAttribute, "derivation does not contain a 'drvPath' attribute");
        self.derivation_path()?.ok_or_else(missing)
    }

    /// Returns where the output that the set stands for is or will be (`outPath`).
    ///
    /// # Errors
    /// Those of its evaluation; if there is none, or if it is no store path.
    pub fn out_path(&self) -> EvalResult<StorePath> {
        match self.attrs.find(self.eval.names.out_path) {
            Some(path) => self.store_path(path, "while evaluating the output path of a derivation"),
            None => Err(EvalError::new(ErrorKind::MissingAttribute, "derivation does not have attribute 'outPath'")),
        }
    }

    /// Returns its outputs, `out` alone if it doesn't say. With `with_paths`, outputs that the set says nothing more of are left out.
    ///
    /// # Errors
    /// Those of the evaluation of `outputs`, and if that is no list of strings; with `with_paths` those of the paths too.
    pub fn outputs(&self, with_paths: bool) -> EvalResult<Outputs> {
        let (eval, mut all) = (self.eval, Outputs::new());
        let Some(outputs) = self.attrs.find(eval.names.outputs) else {
            all.insert("out".to_owned(), if with_paths { Some(self.out_path()?) } else { None });
            return Ok(all);
        };
        for slot in eval.force_list(outputs.slot.get(), outputs.pos, "while evaluating the 'outputs' attribute of a derivation")?.slots() {
            let name = self.plain_text(slot.get(), outputs.pos, "while evaluating the name of an output of a derivation")?;
            let mut path = None;
            if with_paths {
                let Some(output) = self.attrs.find(self.symbol(&name)) else { continue };
                let output = eval.force_attrs(output.slot.get(), outputs.pos, "while evaluating an output of a derivation")?;
                let Some(of_output) = output.find(eval.names.out_path) else { continue };
                path = Some(self.store_path(of_output, "while evaluating an output path of a derivation")?);
            }
            all.entry(name).or_insert(path);
        }
        Ok(all)
    }

    /// Returns the outputs that are installed: the one that was selected, or those of `meta.outputsToInstall`, or all.
    ///
    /// # Errors
    /// Those of [`outputs`](Self::outputs) and of [`meta`](Self::meta), and if one is to be installed that there isn't.
    pub fn outputs_to_install(&self, with_paths: bool) -> EvalResult<Outputs> {
        let (eval, mut all) = (self.eval, self.outputs(with_paths)?);
        if let Some(specified) = self.attrs.find(eval.names.output_specified)
            && eval.force_bool(specified.slot.get(), specified.pos, "while evaluating the 'outputSpecified' attribute of a derivation")?
        {
            let name = self.output_name()?;
            return match all.remove_entry(&name) {
                Some(output) => Ok(Outputs::from([output])),
                None => Err(EvalError::new(ErrorKind::Evaluation, format!("derivation does not have output '{name}'"))),
            };
        }
        let Some(wanted) = self.meta("outputsToInstall")? else { return Ok(all) };
        let bad = || EvalError::new(ErrorKind::Evaluation, "this derivation has bad 'meta.outputsToInstall'");
        let Kind::List(wanted) = wanted.kind() else { return Err(bad()) };
        let mut chosen = Outputs::new();
        for value in wanted.iter() {
            let Kind::String(name) = eval.force(value)?.kind() else { return Err(bad()) };
            let name = String::from_utf8_lossy(name.bytes()).into_owned();
            let path = all.get(&name).ok_or_else(bad)?.clone();
            chosen.insert(name, path);
        }
        Ok(chosen)
    }

    fn symbol(&self, name: &str) -> Symbol {
        self.eval.symbols.intern(name.as_bytes())
    }

    fn plain_text(&self, value: Value<'h>, pos: Pos, context: &'static str) -> EvalResult<String> {
        let text = self.eval.force_string_no_context(value, pos, context)?;
        Ok(String::from_utf8_lossy(text.bytes()).into_owned())
    }

    fn store_path(&self, attribute: Entry<'h>, context: &'static str) -> EvalResult<StorePath> {
        let text = self.eval.coerce_to_string(attribute.slot.get(), attribute.pos, Coercion::PATH_SEGMENT, context)?;
        let text = String::from_utf8_lossy(text.bytes());
        self.eval.host.store_dir().parse(&*text).map_err(|_| {
            EvalError::new(ErrorKind::Evaluation, format!("path '{text}' is not in the Nix store")).while_(attribute.pos, context)
        })
    }
}

#[cfg(test)]
mod tests;
