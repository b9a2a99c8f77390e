//! From a `flake.nix` to a [`Flake`]: which attributes there may be and of which types.
//!
//! Nothing is computed: a value counts if it stands there as a literal, or as the name of one; sets, lists and functions are built.

use std::collections::BTreeMap;

use nixlang_store::input::{Attr, Attrs, FlakeRef, InputError};

use super::{ConfigValue, FetchedFlake, Flake, FlakeInput, FlakeInputs, InputPath, parse_input_path};
use crate::builtins::flake_ref::{failed, with_reader};
use crate::eval::{ErrorKind, EvalError, EvalResult, Evaluator};
use crate::heap::{Attrs as AttrsValue, Entry, Kind, Value};
use crate::lower::expr::Expr;
use crate::source::Pos;

fn wrong(message: String) -> EvalError {
    EvalError::new(ErrorKind::Evaluation, message)
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Evaluates what costs nothing: sets, lists and functions.
fn build<'h>(eval: &Evaluator<'h>, value: Value<'h>, pos: Pos) -> EvalResult<Value<'h>> {
    let Kind::Thunk(thunk) = value.kind() else { return Ok(value) };
    if let Some(value) = thunk.value() {
        return Ok(value);
    }
    match thunk.suspended_expression() {
        Some(Expr::Attrs(literal)) if literal.dynamic.is_empty() => eval.force_at(value, pos),
        Some(Expr::Lambda(_) | Expr::List(_)) => eval.force_at(value, pos),
        _ => Ok(value),
    }
}

fn unexpected(eval: &Evaluator<'_>, expected: &str, found: Value<'_>, pos: Pos) -> EvalError {
    wrong(format!("expected {expected} but got {} at {}", found.plain_type(), eval.show_pos(pos)))
}

fn attrs_at<'h>(eval: &Evaluator<'h>, value: Value<'h>, pos: Pos) -> EvalResult<AttrsValue<'h>> {
    let value = build(eval, value, pos)?;
    match value.kind() {
        Kind::Attrs(attrs) => Ok(attrs),
        _ => Err(unexpected(eval, "a set", value, pos)),
    }
}

fn text_at<'h>(eval: &Evaluator<'h>, value: Value<'h>, pos: Pos) -> EvalResult<String> {
    let value = build(eval, value, pos)?;
    match value.kind() {
        Kind::String(text) => Ok(lossy(text.bytes())),
        _ => Err(unexpected(eval, "a string", value, pos)),
    }
}

/// Where a `flake.nix` is, and what its inputs are seen from.
struct Reading<'e, 'h> {
    eval: &'e Evaluator<'h>,
    /// The flake's place in the lock file.
    prefix: &'e [String],
    /// The directory of the file.
    directory: Vec<u8>,
    /// The root of the tree that it lies in.
    tree: Vec<u8>,
}

/// Reads the `flake.nix` in a directory of a tree. `prefix` is where the flake is in the lock file that is made.
pub(super) fn read(eval: &Evaluator<'_>, fetched: FetchedFlake, prefix: &[String]) -> EvalResult<Flake> {
    let FetchedFlake { original, resolved, locked, tree, directory, fingerprint } = fetched;
    let tree_root = match &tree {
        Some(tree) => eval.host.store_dir().display(tree).into_bytes(),
        None => match eval.host.store_dir().split_store_path(&directory) {
            Ok((path, _)) => eval.host.store_dir().display(&path).into_bytes(),
            Err(_) => b"/".to_vec(),
        },
    };
    let directory = crate::path::canonicalise(&directory);
    let value = eval.import_literal_set(&crate::path::join(&directory, b"flake.nix"))?;
    let reading = Reading { eval, prefix, directory: directory.clone(), tree: tree_root };
    let attrs = attrs_at(eval, value, Pos::NONE)?;
    let find = |name: &str| attrs.find(eval.symbols.intern(name.as_bytes()));
    let description = find("description").map(|entry| text_at(eval, entry.slot.get(), entry.pos)).transpose()?;
    let (mut inputs, self_attrs) = match find("inputs") {
        Some(entry) => reading.inputs(entry.slot.get(), entry.pos, true)?,
        None => Default::default(),
    };
    let Some(outputs) = find("outputs") else {
        return Err(wrong(format!("flake '{resolved}' lacks attribute 'outputs'")));
    };
    reading.inputs_of_outputs(outputs, &mut inputs)?;
    let config = match find("nixConfig") {
        Some(entry) => reading.config(entry)?,
        None => BTreeMap::new(),
    };
    for entry in attrs.flat(eval.heap).iter() {
        let name = lossy(eval.symbols.text(entry.symbol));
        if !matches!(name.as_str(), "description" | "inputs" | "outputs" | "nixConfig") {
            return Err(wrong(format!("flake '{resolved}' has an unsupported attribute '{name}', at {}", eval.show_pos(entry.pos))));
        }
    }
    Ok(Flake { original, resolved, locked, directory, tree, fingerprint, is_dirty: false, description, inputs, self_attrs, config })
}

impl<'h> Reading<'_, 'h> {
    fn name(&self, entry: &Entry<'h>) -> String {
        lossy(self.eval.symbols.text(entry.symbol))
    }

    fn inputs(&self, value: Value<'h>, pos: Pos, may_have_self: bool) -> EvalResult<(FlakeInputs, Attrs)> {
        let (mut inputs, mut self_attrs) = (FlakeInputs::new(), Attrs::new());
        // Inputs of inputs of inputs may be many.
        let _depth = self.eval.enter_call(pos)?;
        for entry in attrs_at(self.eval, value, pos)?.flat(self.eval.heap).iter() {
            let name = self.name(&entry);
            if name != "self" {
                inputs.insert(name, self.input(entry.slot.get(), entry.pos)?);
                continue;
            }
            if !may_have_self {
                return Err(wrong(format!("'self' input attribute not allowed at {}", self.eval.show_pos(entry.pos))));
            }
            for attribute in attrs_at(self.eval, entry.slot.get(), entry.pos)?.flat(self.eval.heap).iter() {
                self.attribute(&attribute, &mut self_attrs)?;
            }
        }
        Ok((inputs, self_attrs))
    }

    fn input(&self, value: Value<'h>, pos: Pos) -> EvalResult<FlakeInput> {
        let eval = self.eval;
        let mut input = FlakeInput::default();
        let mut attrs = Attrs::new();
        let mut url: Option<String> = None;
        for entry in attrs_at(eval, value, pos)?.flat(eval.heap).iter() {
            let name = self.name(&entry);
            let mut read = || {
                match name.as_str() {
                    "url" => {
                        let text = self.url(entry.slot.get(), pos, entry.pos)?;
                        attrs.insert("url".into(), Attr::from(text.as_str()));
                        url = Some(text);
                    }
                    "flake" => match build(eval, entry.slot.get(), entry.pos)? {
                        value if let Kind::Bool(is_flake) = value.kind() => input.is_flake = is_flake,
                        value => return Err(unexpected(eval, "a Boolean", value, entry.pos)),
                    },
                    "inputs" => input.overrides = self.inputs(entry.slot.get(), entry.pos, false)?.0,
                    "follows" => {
                        let path = parse_input_path(&text_at(eval, entry.slot.get(), entry.pos)?).map_err(wrong)?;
                        input.follows = Some(self.prefix.iter().cloned().chain(path).collect::<InputPath>());
                    }
                    _ => self.attribute(&entry, &mut attrs)?,
                }
                Ok(())
            };
            read().map_err(|error: EvalError| error.while_(entry.pos, format!("while evaluating flake attribute '{name}'")))?;
        }
        if attrs.contains_key("type") {
            let reference = with_reader(eval, |reader| FlakeRef::from_attrs(attrs, reader));
            input.reference = Some(reference.map_err(|error| error.while_(pos, "while evaluating flake input"))?);
        } else {
            attrs.remove("url");
            if let Some(name) = attrs.keys().next() {
                return Err(wrong(format!("unexpected flake input attribute '{name}', at {}", eval.show_pos(pos))));
            }
            if let Some(url) = url {
                input.reference = Some(with_reader(eval, |reader| FlakeRef::parse_within_flake(&url, input.is_flake, reader))?);
            }
        }
        if input.reference.is_some() && input.follows.is_some() {
            return Err(wrong(format!("flake input has both a flake reference and a follows attribute, at {}", eval.show_pos(pos))));
        }
        Ok(input)
    }

    fn url(&self, value: Value<'h>, pos: Pos, entry_pos: Pos) -> EvalResult<String> {
        let value = build(self.eval, value, pos)?;
        match value.kind() {
            Kind::String(text) => Ok(lossy(text.bytes())),
            Kind::Path(path) => {
                let path = path.text.bytes();
                if path != self.tree && !path.strip_prefix(self.tree.as_slice()).is_some_and(|rest| rest.starts_with(b"/")) {
                    return Err(wrong(format!(
                        "input attribute path '{}' at {} must be in the same source tree as {}",
                        lossy(path),
                        self.eval.show_pos(entry_pos),
                        lossy(&self.directory)
                    )));
                }
                Ok(format!("path:{}", relative(&lossy(&self.directory), &lossy(path))))
            }
            _ => Err(wrong(format!("expected a string or a path but got {} at {}", value.plain_type(), self.eval.show_pos(entry_pos)))),
        }
    }

    /// Takes an attribute of a reference. It is looked at as it stands there.
    fn attribute(&self, entry: &Entry<'h>, attrs: &mut Attrs) -> EvalResult<()> {
        let name = self.name(entry);
        let mut value = entry.slot.get();
        if let Kind::Thunk(thunk) = value.kind()
            && let Some(known) = thunk.value()
        {
            value = known;
        }
        let attr = match value.kind() {
            Kind::String(text) => Attr::Text(lossy(text.bytes())),
            Kind::Bool(value) => Attr::Bool(value),
            Kind::Int(number) => match u64::try_from(number) {
                Ok(number) => Attr::Number(number),
                Err(_) => return Err(wrong(format!("negative value given for flake input attribute {name}: {number}"))),
            },
            _ if name == "publicKeys" => {
                with_reader(self.eval, |reader| reader.require("verified-fetches"))?;
                Attr::Text(lossy(&self.eval.to_json(value, entry.pos, false)?.0))
            }
            _ => {
                let message = format!("flake input attribute '{name}' is {} while a string, Boolean, or integer is expected", value.described_type());
                return Err(EvalError::new(ErrorKind::Type, message));
            }
        };
        attrs.insert(name, attr);
        Ok(())
    }

    /// Adds what the function `outputs` takes and `inputs` doesn't have.
    fn inputs_of_outputs(&self, outputs: Entry<'h>, inputs: &mut FlakeInputs) -> EvalResult<()> {
        let value = build(self.eval, outputs.slot.get(), outputs.pos)?;
        match value.kind() {
            Kind::Builtin(_) | Kind::Partial(_) => Ok(()),
            Kind::Lambda(closure) => {
                for formal in closure.lambda.formals.map_or(&[][..], |formals| formals.entries) {
                    let name = lossy(self.eval.symbols.text(formal.symbol));
                    if name != "self" && !inputs.contains_key(&name) {
                        let (reference, fragment) = with_reader(self.eval, |reader| FlakeRef::parse(&name, true, reader))?;
                        let reference = reference.without_fragment(&fragment, &name).map_err(|error: InputError| failed(error))?;
                        inputs.insert(name, FlakeInput { reference: Some(reference), ..FlakeInput::default() });
                    }
                }
                Ok(())
            }
            _ => Err(unexpected(self.eval, "a function", value, outputs.pos)),
        }
    }

    fn config(&self, config: Entry<'h>) -> EvalResult<BTreeMap<String, ConfigValue>> {
        let eval = self.eval;
        let mut settings = BTreeMap::new();
        for entry in attrs_at(eval, config.slot.get(), config.pos)?.flat(eval.heap).iter() {
            let name = self.name(&entry);
            let value = build(eval, entry.slot.get(), entry.pos)?;
            let setting = match value.kind() {
                Kind::String(_) => ConfigValue::Text(lossy(eval.force_string_no_context(value, entry.pos, "")?.bytes())),
                Kind::Path(_) => {
                    let (path, _) = eval.coerce_to_path(value, entry.pos, "")?;
                    ConfigValue::Text(lossy(eval.copy_to_store(path)?.bytes()))
                }
                Kind::Int(number) => ConfigValue::Number(number),
                Kind::Bool(value) => ConfigValue::Bool(value),
                Kind::List(list) => {
                    let word = |element: Value<'h>| match element.kind() {
                        Kind::String(_) => Ok(lossy(eval.force_string_no_context(element, entry.pos, "")?.bytes())),
                        _ => {
                            let message = format!("list element in flake configuration setting '{name}' is {} while a string is expected", value.described_type());
                            Err(EvalError::new(ErrorKind::Type, message))
                        }
                    };
                    ConfigValue::List(list.iter().map(word).collect::<EvalResult<_>>()?)
                }
                _ => {
                    let message = format!("flake configuration setting '{name}' is {}", value.described_type());
                    return Err(EvalError::new(ErrorKind::Type, message));
                }
            };
            settings.insert(name, setting);
        }
        Ok(settings)
    }
}

/// Returns the way from one canonical path to another.
fn relative(from: &str, to: &str) -> String {
    let parts = |path: &str| path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let (from, to) = (parts(from), parts(to));
    let n_common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = std::iter::repeat_n("..", from.len() - n_common);
    let way: Vec<&str> = up.chain(to[n_common..].iter().map(String::as_str)).collect();
    if way.is_empty() { ".".into() } else { way.join("/") }
}

#[cfg(test)]
mod tests {
    use super::relative;

    #[test]
    fn ways_between_paths() {
        for (from, to, way) in [("/s/a", "/s/a", "."), ("/s/a", "/s/a/b/c", "b/c"), ("/s/a/b", "/s/c", "../../c")] {
            assert_eq!(relative(from, to), way);
        }
    }
}
