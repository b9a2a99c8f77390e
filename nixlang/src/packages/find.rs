//! The walk through a value that finds its packages.
//!
//! The surprising thing: only names that could stand in an attribute path without quotes are looked at, so that `{ "a.b" = drv; }` has none.

use std::collections::HashSet;

use crate::eval::{ErrorKind, EvalError, EvalResult, Evaluator};
use crate::heap::{Kind, Value};

use super::Package;

/// How packages are looked for. The default is that of `nix-build`, without arguments.
#[derive(Clone, Default)]
pub struct FindOptions<'h> {
    /// A set of arguments for functions that name their arguments, which are called on the way; without one they must have defaults.
    pub arguments: Option<Value<'h>>,
    /// What attribute paths begin with: that of the value.
    pub prefix: String,
    /// Whether what fails by an assertion or a `throw` is passed over, as `nix-env` does with what is available.
    pub skips_failed_assertions: bool,
}

/// Returns the packages of a value in the order of their attributes' names, each derivation once: the first time.
///
/// # Errors
/// Those of the evaluation, if a package has no proper name, and if the value is neither a derivation nor a set nor a list.
pub fn find<'e, 'h>(eval: &'e Evaluator<'h>, value: Value<'h>, options: &FindOptions<'h>) -> EvalResult<Vec<Package<'e, 'h>>> {
    let arguments = options.arguments.unwrap_or_else(|| eval.attrs_of([]));
    let walk = Walk { eval, arguments, skips: options.skips_failed_assertions };
    let mut found = walk.all(value, &options.prefix)?;
    let mut seen = HashSet::new();
    found.retain(|(identity, _)| seen.insert(*identity));
    Ok(found.into_iter().map(|(_, package)| package).collect())
}

/// Returns a value as a package, `None` if it is something else. With `skips_failed_assertions`, also if it fails by an assertion or a `throw`.
///
/// # Errors
/// Those of the evaluation, and if it has no proper name.
pub fn package<'e, 'h>(eval: &'e Evaluator<'h>, value: Value<'h>, skips_failed_assertions: bool) -> EvalResult<Option<Package<'e, 'h>>> {
    let walk = Walk { eval, arguments: Value::NULL, skips: skips_failed_assertions };
    Ok(match walk.one(value, "")? {
        Seen::Package(mut found) => found.pop().map(|(_, package)| package),
        Seen::Failed | Seen::Other(_) => None,
    })
}

/// A walk may be broken off where it has to wait for a build, and begun anew; so it keeps nothing.
struct Walk<'e, 'h> {
    eval: &'e Evaluator<'h>,
    arguments: Value<'h>,
    skips: bool,
}

/// Packages with the identity of their sets.
type Found<'e, 'h> = Vec<(u64, Package<'e, 'h>)>;

/// What a value turned out to be.
enum Seen<'e, 'h> {
    Package(Found<'e, 'h>),
    Failed,
    Other(Value<'h>),
}

impl<'e, 'h> Walk<'e, 'h> {
    fn all(&self, value: Value<'h>, prefix: &str) -> EvalResult<Found<'e, 'h>> {
        let eval = self.eval;
        let _depth = eval.enter_call(eval.place_of(value))?;
        let value = match self.one(eval.auto_call(value, self.arguments)?, prefix)? {
            Seen::Package(found) => return Ok(found),
            Seen::Failed => return Ok(Found::new()),
            Seen::Other(value) => value,
        };
        let is_waiting = |error: &EvalError| error.kind() == ErrorKind::Waiting;
        let found = match value.kind() {
            Kind::Attrs(attrs) => {
                let combines = attrs.get(eval.symbols.intern(b"_combineChannels")).is_some();
                let members: Vec<_> = attrs.flat(eval.heap).iter_lexicographic(eval.heap, &eval.symbols).collect();
                let named: Vec<_> = members.iter().map(|entry| (entry, String::from_utf8_lossy(eval.symbols.text(entry.symbol)))).filter(|(_, name)| is_attr_path_component(name)).collect();
                let member = |i: usize| {
                    let (entry, name) = &named[i];
                    let found = self.attribute(entry.slot.get(), &add_to_path(prefix, name), combines);
                    found.map_err(|error| error.while_(entry.pos, format!("while evaluating the attribute '{name}'")))
                };
                eval.interleaved(named.len(), member, is_waiting)?
            }
            Kind::List(list) => {
                let member = |i: usize| {
                    let (value, prefix) = (list.slots()[i].get(), add_to_path(prefix, &i.to_string()));
                    match self.one(value, &prefix)? {
                        Seen::Package(found) => Ok(found),
                        Seen::Failed => Ok(Found::new()),
                        Seen::Other(value) => self.all(value, &prefix),
                    }
                };
                eval.interleaved(list.len(), member, is_waiting)?
            }
            _ => return Err(EvalError::new(ErrorKind::Type, "expression does not evaluate to a derivation (or a set or list of those)")),
        };
        Ok(found.into_iter().flatten().collect())
    }

    fn attribute(&self, value: Value<'h>, path: &str, combines: bool) -> EvalResult<Found<'e, 'h>> {
        let eval = self.eval;
        if combines {
            return self.all(value, path);
        }
        let value = match self.one(value, path)? {
            Seen::Package(found) => return Ok(found),
            Seen::Failed => return Ok(Found::new()),
            Seen::Other(value) => value,
        };
        // A set within a set counts only if it says so.
        if let Kind::Attrs(attrs) = value.kind()
            && let Some(entry) = attrs.find(eval.names.recurse_for_derivations)
            && eval.force_bool(entry.slot.get(), entry.pos, "while evaluating the attribute `recurseForDerivations`")?
        {
            return self.all(value, path);
        }
        Ok(Found::new())
    }

    fn one(&self, value: Value<'h>, path: &str) -> EvalResult<Seen<'e, 'h>> {
        let eval = self.eval;
        let look = || -> EvalResult<Seen<'e, 'h>> {
            let value = eval.force(value)?;
            let Kind::Attrs(attrs) = value.kind() else { return Ok(Seen::Other(value)) };
            if !eval.is_derivation(value)? {
                return Ok(Seen::Other(value));
            }
            let package = Package { eval, attrs, attribute_path: path.to_owned() };
            package.name()?;
            Ok(Seen::Package(vec![(value.word(), package)]))
        };
        match look() {
            Err(error) if self.skips && error.is_catchable() => Ok(Seen::Failed),
            looked => looked,
        }
    }
}

fn add_to_path(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") }
}

/// Names that can stand in an attribute path; other attributes are passed over.
fn is_attr_path_component(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '+'))
}
