//! Which derivations a value has: itself, or those in its lists and sets, as `nix-build` and `nix-instantiate` see them.

use std::collections::HashSet;

use nixlang::eval::{Coercion, ErrorKind, EvalError, EvalResult};
use nixlang::heap::{Attrs, Kind, Value};
use nixlang::source::Pos;
use nixlang_store::path::StorePath;

use crate::evaluation::{Evaluation, Step, Stop};
use crate::failure::Failure;

/// A derivation that an expression gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FoundDerivation {
    /// Where it is.
    pub(crate) path: StorePath,
    /// The output that the value stands for.
    pub(crate) output: String,
    /// Its attribute path, for messages.
    pub(crate) attribute: String,
    /// `meta.outputsToInstall`, or else the output that the value stands for.
    pub(crate) outputs_to_install: Vec<String>,
}

/// Returns the derivations of a value, in the reference's order, each once.
pub(crate) fn find_derivations<'h>(evaluation: &Evaluation<'_, 'h>, value: Value<'h>) -> Step<Vec<FoundDerivation>> {
    let mut found = Search { evaluation }.all(value, "")?;
    evaluation.flush()?;
    let mut seen = HashSet::new();
    found.retain(|found| seen.insert(found.0));
    Ok(found.into_iter().map(|found| found.1).collect())
}

/// A search may be broken off where it has to wait for a build, and begun anew; so it keeps nothing.
struct Search<'s, 'e, 'h> {
    evaluation: &'s Evaluation<'e, 'h>,
}

/// Derivations with the identity of their sets.
type Found = Vec<(u64, FoundDerivation)>;

impl<'h> Search<'_, '_, 'h> {
    fn all(&self, value: Value<'h>, prefix: &str) -> Step<Found> {
        let eval = self.evaluation.eval;
        let _depth = eval.enter_call(Pos::NONE)?;
        let value = self.evaluation.auto_call(value)?;
        if let Some(found) = self.one(value, prefix)? {
            return Ok(vec![found]);
        }
        let found = match value.kind() {
            Kind::Attrs(attrs) => {
                let combine = attrs.get(eval.symbols.intern(b"_combineChannels")).is_some();
                let members: Vec<_> = attrs.flat(eval.heap).iter_lexicographic(eval.heap, &eval.symbols).collect();
                let named: Vec<_> = members.iter().map(|entry| (entry, eval.text(entry.symbol))).filter(|(_, name)| is_attr_path_component(name)).collect();
                let member = |i: usize| {
                    let (entry, name) = &named[i];
                    self.attribute(entry.slot.get(), &add_to_path(prefix, name), combine).map_err(|stop| match stop {
                        Stop::Error(error) => error.while_(entry.pos, format!("while evaluating the attribute '{name}'")).into(),
                        other => other,
                    })
                };
                eval.interleaved(named.len(), member, Stop::is_waiting)?
            }
            Kind::List(list) => {
                let member = |i: usize| {
                    let (value, prefix) = (list.slots()[i].get(), add_to_path(prefix, &i.to_string()));
                    match self.one(value, &prefix)? {
                        Some(found) => Ok(vec![found]),
                        None => self.all(value, &prefix),
                    }
                };
                eval.interleaved(list.len(), member, Stop::is_waiting)?
            }
            _ => return Err(EvalError::new(ErrorKind::Type, "expression does not evaluate to a derivation (or a set or list of those)").into()),
        };
        Ok(found.into_iter().flatten().collect())
    }

    fn attribute(&self, value: Value<'h>, prefix: &str, combine: bool) -> Step<Found> {
        let eval = self.evaluation.eval;
        if combine {
            return self.all(value, prefix);
        }
        if let Some(found) = self.one(value, prefix)? {
            return Ok(vec![found]);
        }
        // A set within a set counts only if it says so.
        if let Kind::Attrs(attrs) = eval.force(value)?.kind()
            && let Some(entry) = attrs.find(eval.symbols.intern(b"recurseForDerivations"))
            && eval.force_bool(entry.slot.get(), entry.pos, "while evaluating the attribute `recurseForDerivations`")?
        {
            return self.all(value, prefix);
        }
        Ok(Found::new())
    }

    /// Returns a value that is a derivation as one, `None` if it isn't.
    fn one(&self, value: Value<'h>, attribute: &str) -> Step<Option<(u64, FoundDerivation)>> {
        let eval = self.evaluation.eval;
        let value = eval.force(value)?;
        if !eval.is_derivation(value)? {
            return Ok(None);
        }
        let Kind::Attrs(attrs) = value.kind() else { return Ok(None) };
        let context = "while evaluating the 'drvPath' attribute of a derivation";
        let path = match self.text(attrs, b"drvPath", context)? {
            Some(path) => eval.host.store_dir().parse(&path).map_err(|error| Failure::new(error.to_string()))?,
            None => return Err(EvalError::new(ErrorKind::MissingAttribute, "derivation does not contain a 'drvPath' attribute").into()),
        };
        if !path.is_derivation() {
            let pos = attrs.find(eval.symbols.intern(b"drvPath")).map_or(Pos::NONE, |entry| entry.pos);
            let message = format!("store path '{path}' is not a valid derivation path");
            return Err(EvalError::new(ErrorKind::Evaluation, message).while_(pos, context).into());
        }
        let output = self.text(attrs, b"outputName", "while evaluating the output name of a derivation")?;
        let output = output.filter(|output| !output.is_empty()).unwrap_or_else(|| "out".into());
        let outputs_to_install = self.outputs_to_install(attrs, &output)?;
        Ok(Some((value.word(), FoundDerivation { path, output, attribute: attribute.to_owned(), outputs_to_install })))
    }

    fn text(&self, attrs: Attrs<'h>, name: &[u8], context: &'static str) -> EvalResult<Option<String>> {
        let eval = self.evaluation.eval;
        let Some(entry) = attrs.find(eval.symbols.intern(name)) else { return Ok(None) };
        let text = eval.coerce_to_string(entry.slot.get(), entry.pos, Coercion::PATH_SEGMENT, context)?;
        Ok(Some(String::from_utf8_lossy(text.bytes()).into_owned()))
    }

    /// Returns what the new command line builds of a derivation.
    fn outputs_to_install(&self, attrs: Attrs<'h>, output: &str) -> EvalResult<Vec<String>> {
        let eval = self.evaluation.eval;
        if let Some(entry) = attrs.find(eval.symbols.intern(b"outputSpecified"))
            && eval.force_bool(entry.slot.get(), entry.pos, "while evaluating the 'outputSpecified' attribute of a derivation")?
        {
            return Ok(vec![output.to_owned()]);
        }
        let all = || match attrs.find(eval.symbols.intern(b"outputs")) {
            None => Ok(vec!["out".to_owned()]),
            Some(outputs) => {
                let context = "while evaluating the 'outputs' attribute of a derivation";
                let list = eval.force_list(outputs.slot.get(), outputs.pos, context)?;
                let names = list.slots().iter().map(|slot| {
                    let text = eval.force_string(slot.get(), outputs.pos, context)?;
                    Ok(String::from_utf8_lossy(text.bytes()).into_owned())
                });
                names.collect::<EvalResult<Vec<_>>>()
            }
        };
        let Some(meta) = attrs.find(eval.symbols.intern(b"meta")) else { return all() };
        let meta = eval.force_attrs(meta.slot.get(), meta.pos, "while evaluating the 'meta' attribute of a derivation")?;
        let Some(wanted) = meta.find(eval.symbols.intern(b"outputsToInstall")) else { return all() };
        let context = "while evaluating the 'meta.outputsToInstall' attribute of a derivation";
        let list = eval.force_list(wanted.slot.get(), wanted.pos, context)?;
        let names = list.slots().iter().map(|slot| {
            let text = eval.force_string(slot.get(), wanted.pos, context)?;
            Ok(String::from_utf8_lossy(text.bytes()).into_owned())
        });
        let names = names.collect::<EvalResult<Vec<_>>>()?;
        Ok(if names.is_empty() { vec!["out".to_owned()] } else { names })
    }
}

fn add_to_path(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") }
}

/// Names that can stand in an attribute path; other attributes are passed over.
fn is_attr_path_component(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '+'))
}
