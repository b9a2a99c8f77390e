//! `derivationStrict` and `placeholder`: from an attribute set to a store derivation.

use std::cell::RefCell;
use std::collections::BTreeSet;

use nixlang_store::content_address::{ContentAddress, ContentAddressMethod};
use nixlang_store::derivation::{Derivation, DerivationOutput, HashModulo, InputOutputs, LookupError, Placeholder, StructuredAttrs};
use nixlang_store::hash::{Algorithm, Hash};
use nixlang_store::path::StorePath;
use rustc_hash::FxHashMap;

use super::Definition;
use super::attrs::required;
use crate::eval::{Coercion, ErrorKind, EvalError, EvalResult, Evaluator};
use crate::heap::{Attrs, Entry, Kind, Value};
use crate::host::Message;
use crate::source::Pos;
use crate::value::{Context, ContextElement, ContextKind};

pub(super) const BUILTINS: &[Definition] = &[
    Definition::new("derivationStrict", &["attrs"], derivation_strict).strict(1).global().doc("Makes a store derivation; returns its path and those of its outputs."),
    Definition::new("outputOf", &["derivation-reference", "output-name"], output_of)
        .feature("dynamic-derivations")
        .doc("Returns a string that stands for output *output-name* of the derivation that *derivation-reference* is, or is going to be once it is built."),
    Definition::new("placeholder", &["output"], placeholder).strict(1).global().doc("Returns a string that stands for the path of *output* within a derivation that is being defined."),
];

/// What builtins remember of derivations: the hash modulo of each that this evaluator has seen.
#[derive(Default)]
pub(crate) struct DerivationCache {
    hashes: RefCell<FxHashMap<StorePath, HashModulo>>,
}

/// An output of something that may itself be an output. In contexts such a derivation is written `/nix/store/…-x.drv^out`.
fn output_of<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let what = "while evaluating the first argument to builtins.outputOf";
    let reference = eval.force_string(args[0], pos, what)?;
    let output = eval.force_string_no_context(args[1], pos, "while evaluating the second argument to builtins.outputOf")?;
    let output = String::from_utf8_lossy(output.bytes()).into_owned();
    let text = String::from_utf8_lossy(reference.bytes());
    let wrong = |message: String| EvalError::new(ErrorKind::Evaluation, message).while_(pos, what);
    let elements = reference.context().map_or(&[][..], |context| context.elements);
    let [element] = elements else {
        let n_elements = elements.len();
        return Err(wrong(format!("string '{text}' has {n_elements} entries in its context. It should only have exactly one entry")));
    };
    let path = eval.contexts.path_text(element);
    let derivation = match element.kind {
        ContextKind::DeepDerivation => {
            return Err(wrong(format!(
                "string '{text}' has a context which refers to a complete source and binary closure. This is not supported at this time"
            )));
        }
        ContextKind::Opaque if text != path => {
            return Err(wrong(format!("path string '{text}' has context with the different path '{path}'")));
        }
        ContextKind::Opaque => path.to_owned(),
        ContextKind::Output => {
            let name = eval.contexts.output_text(element);
            let expected = output_string(eval, path, name)?;
            if text != expected {
                return Err(wrong(format!(
                    "string '{text}' has context with the output '{name}' from derivation '{path}', but the string is not the right \
                     placeholder for this derivation output. It should be '{expected}'"
                )));
            }
            format!("{path}^{name}")
        }
    };
    let made = output_string(eval, &derivation, &output)?;
    let context = eval.contexts.context(vec![eval.contexts.output(&derivation, &output)]);
    Ok(Value::string(eval.heap.str_from_parts(&[made.as_bytes()], context)))
}

/// Returns the string of an output: its path if that is known, or else the placeholder.
fn output_string(eval: &Evaluator<'_>, derivation: &str, output: &str) -> EvalResult<String> {
    let mut names = derivation.split('^');
    let root = names.next().unwrap_or_default();
    let store_dir = eval.host.store_dir();
    let path = store_dir.parse(root).map_err(|error| invalid(error.to_string()))?;
    let names: Vec<&str> = names.chain([output]).collect();
    if let [output] = names[..]
        && path.is_derivation()
    {
        let known = eval.host.read_derivation(&path).map_err(|error| eval.host_error(error))?;
        let Some(found) = known.outputs.get(output) else {
            return Err(invalid(format!("derivation '{root}' does not have output '{output}'")));
        };
        if let Ok(Some(path)) = found.path(store_dir, &known.name, output) {
            return Ok(store_dir.display(&path));
        }
    }
    let first = Placeholder::content_addressed_output(&path, names[0]);
    Ok(names[1..].iter().fold(first, |placeholder, name| placeholder.output(name)).to_string())
}

fn placeholder<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let output = eval.force_string_no_context(args[0], pos, "while evaluating the first argument passed to builtins.placeholder")?;
    Ok(eval.heap.string(nixlang_store::derivation::placeholder(&String::from_utf8_lossy(output.bytes())).as_bytes()))
}

fn derivation_strict<'h>(eval: &Evaluator<'h>, args: &[Value<'h>], pos: Pos) -> EvalResult<Value<'h>> {
    let attrs = eval.force_attrs(args[0], pos, "while evaluating the argument passed to builtins.derivationStrict")?;
    let name_attr = required(eval, attrs, eval.names.name, "in the attrset passed as argument to builtins.derivationStrict")?;
    let name = eval
        .force_string_no_context(name_attr.slot.get(), pos, "while evaluating the `name` attribute passed to builtins.derivationStrict")
        .map_err(|e| e.while_(name_attr.pos, "while evaluating the derivation attribute 'name'"))?;
    let name = String::from_utf8_lossy(name.bytes());
    Builder::new(eval, &name, attrs).and_then(|builder| builder.build(attrs)).map_err(|e| {
        let place = eval.show_pos(name_attr.pos);
        e.while_(Pos::NONE, format!("while evaluating derivation '{name}'\n  whose name attribute is located at {place}"))
    })
}

/// A derivation in the making.
struct Builder<'e, 'h> {
    eval: &'e Evaluator<'h>,
    name: &'e str,
    derivation: Derivation,
    context: Option<&'h Context<'h>>,
    structured: Option<Vec<u8>>,
    ignore_nulls: bool,
    content_addressed: bool,
    impure: bool,
    outputs: BTreeSet<String>,
    hash: Option<String>,
    hash_algorithm: Option<Algorithm>,
    method: Option<ContentAddressMethod>,
}

fn invalid(message: impl Into<String>) -> EvalError {
    EvalError::new(ErrorKind::Evaluation, message)
}

impl<'e, 'h> Builder<'e, 'h> {
    fn new(eval: &'e Evaluator<'h>, name: &'e str, attrs: Attrs<'h>) -> EvalResult<Self> {
        if let Err(error) = nixlang_store::path::StorePathName::new(name) {
            return Err(invalid(format!("invalid derivation name: {error}. Please pass a different 'name'.")));
        }
        let flag = |symbol, context| match attrs.get(symbol) {
            Some(slot) => eval.force_bool(slot.get(), Pos::NONE, context),
            None => Ok(false),
        };
        let structured = flag(eval.names.structured_attrs, "while evaluating the `__structuredAttrs` attribute passed to builtins.derivationStrict")?;
        let ignore_nulls = flag(eval.names.ignore_nulls, "while evaluating the `__ignoreNulls` attribute passed to builtins.derivationStrict")?;
        Ok(Builder {
            eval,
            name,
            derivation: Derivation { name: name.into(), ..Derivation::default() },
            context: None,
            structured: structured.then(|| b"{".to_vec()),
            ignore_nulls,
            content_addressed: false,
            impure: false,
            outputs: ["out".to_string()].into(),
            hash: None,
            hash_algorithm: None,
            method: None,
        })
    }

    fn build(mut self, attrs: Attrs<'h>) -> EvalResult<Value<'h>> {
        let eval = self.eval;
        for entry in attrs.flat(eval.heap).iter_lexicographic(eval.heap, &eval.symbols) {
            if entry.symbol != eval.names.ignore_nulls {
                self.attribute(entry).map_err(|e| {
                    e.while_(entry.pos, format!("while evaluating attribute '{}' of derivation '{}'", eval.text(entry.symbol), self.name))
                })?;
            }
        }
        if let Some(mut json) = self.structured.take() {
            json.push(b'}');
            let json = String::from_utf8(json).map_err(|_| invalid("structured attributes are not UTF-8"))?;
            self.derivation.structured_attrs = Some(StructuredAttrs::from_canonical_text(json));
        }
        self.add_inputs()?;
        self.check_required()?;
        self.set_outputs()?;
        self.instantiate()
    }

    fn coerce(&mut self, value: Value<'h>, context: &'static str) -> EvalResult<Vec<u8>> {
        let string = self.eval.coerce_to_string(value, Pos::NONE, Coercion::DERIVATION, context)?;
        self.context = self.eval.contexts.union(self.context, string.context());
        Ok(string.bytes().to_vec())
    }

    fn text_without_context(&self, value: Value<'h>) -> EvalResult<String> {
        let string = self.eval.force_string_no_context(value, Pos::NONE, "")?;
        Ok(String::from_utf8_lossy(string.bytes()).into_owned())
    }

    fn attribute(&mut self, entry: Entry<'h>) -> EvalResult<()> {
        let eval = self.eval;
        let names = &eval.names;
        let value = eval.force_slot_at(entry.slot, Pos::NONE);
        if self.ignore_nulls && matches!(value.as_ref().map(|value| value.kind()), Ok(Kind::Null)) {
            return Ok(());
        }
        let value = value?;
        let symbol = entry.symbol;
        if symbol == names.content_addressed {
            if eval.force_bool(value, Pos::NONE, "")? {
                self.require_feature("ca-derivations")?;
                self.content_addressed = true;
            }
            return Ok(());
        }
        if symbol == names.impure {
            if eval.force_bool(value, Pos::NONE, "")? {
                self.require_feature("impure-derivations")?;
                self.impure = true;
            }
            return Ok(());
        }
        if symbol == names.args {
            for argument in eval.force_list(value, Pos::NONE, "")?.iter() {
                let argument = self.coerce(argument, "while evaluating an element of the argument list")?;
                self.derivation.args.push(argument);
            }
            return Ok(());
        }
        if self.structured.is_some() { self.structured_attribute(entry, value) } else { self.plain_attribute(entry, value) }
    }

    /// One attribute as an environment variable.
    fn plain_attribute(&mut self, entry: Entry<'h>, value: Value<'h>) -> EvalResult<()> {
        let names = &self.eval.names;
        let text = self.coerce(value, "")?;
        let lossy = || String::from_utf8_lossy(&text).into_owned();
        let symbol = entry.symbol;
        if symbol == names.json {
            self.eval.say(
                Message::Warning,
                &format!(
                    "In derivation '{}': setting structured attributes via '__json' is deprecated, and may be disallowed in future versions of Nix. Set '__structuredAttrs = true' instead.",
                    self.name
                ),
            );
            self.derivation.structured_attrs = Some(StructuredAttrs::parse(&text).map_err(|e| invalid(e.to_string()))?);
            return Ok(());
        }
        if symbol == names.builder {
            self.derivation.builder = text.clone();
        } else if symbol == names.system {
            self.derivation.system = text.clone();
        } else if symbol == names.output_hash {
            self.hash = Some(lossy());
        } else if symbol == names.output_hash_algo {
            self.hash_algorithm = parse_algorithm(&lossy());
        } else if symbol == names.output_hash_mode {
            self.set_method(&lossy())?;
        } else if symbol == names.outputs {
            let outputs = lossy();
            self.set_output_names(outputs.split([' ', '\t', '\n', '\r']).filter(|name| !name.is_empty()).map(str::to_string).collect())?;
        }
        self.derivation.env.insert(self.eval.symbols.text(symbol).to_vec(), text);
        Ok(())
    }

    /// One attribute as a member of the JSON object.
    fn structured_attribute(&mut self, entry: Entry<'h>, value: Value<'h>) -> EvalResult<()> {
        let eval = self.eval;
        let names = &eval.names;
        let symbol = entry.symbol;
        if symbol == names.structured_attrs {
            return Ok(());
        }
        let (json, references) = eval.to_json(value, Pos::NONE, true)?;
        self.context = eval.contexts.union(self.context, references);
        if let Some(object) = &mut self.structured {
            if object.len() > 1 {
                object.push(b',');
            }
            crate::text::json::write_string(object, eval.symbols.text(symbol)).map_err(|e| invalid(e.to_string()))?;
            object.push(b':');
            object.extend_from_slice(&json);
        }
        if symbol == names.builder {
            let builder = eval.force_string(value, Pos::NONE, "")?;
            self.context = eval.contexts.union(self.context, builder.context());
            self.derivation.builder = builder.bytes().to_vec();
        } else if symbol == names.system {
            self.derivation.system = self.text_without_context(value)?.into_bytes();
        } else if symbol == names.output_hash {
            self.hash = Some(self.text_without_context(value)?);
        } else if symbol == names.output_hash_algo {
            self.hash_algorithm = parse_algorithm(&self.text_without_context(value)?);
        } else if symbol == names.output_hash_mode {
            let mode = self.text_without_context(value)?;
            self.set_method(&mode)?;
        } else if symbol == names.outputs {
            let list = eval.force_list(value, Pos::NONE, "")?;
            let outputs = list.iter().map(|name| self.text_without_context(name)).collect::<EvalResult<Vec<_>>>()?;
            self.set_output_names(outputs)?;
        }
        let ignored = [
            names.allowed_references,
            names.allowed_requisites,
            names.disallowed_references,
            names.disallowed_requisites,
            names.max_size,
            names.max_closure_size,
        ];
        if ignored.contains(&symbol) {
            let (name, attribute) = (self.name, String::from_utf8_lossy(eval.symbols.text(symbol)));
            let message = format!(
                "In a derivation named '{name}', 'structuredAttrs' disables the effect of the derivation attribute '{attribute}'; use 'outputChecks.<output>.{attribute}' instead"
            );
            eval.say(Message::Warning, &message);
        }
        Ok(())
    }

    fn require_feature(&self, feature: &str) -> EvalResult<()> {
        if self.eval.options.has_feature(feature) {
            return Ok(());
        }
        let message = format!("experimental Nix feature '{feature}' is disabled; add '--extra-experimental-features {feature}' to enable it");
        Err(EvalError::new(ErrorKind::Unsupported, message))
    }

    fn set_method(&mut self, mode: &str) -> EvalResult<()> {
        self.method = Some(match mode {
            "recursive" | "nar" => ContentAddressMethod::Nar,
            "flat" => ContentAddressMethod::Flat,
            "text" => {
                self.require_feature("dynamic-derivations")?;
                ContentAddressMethod::Text
            }
            "git" => {
                self.require_feature("git-hashing")?;
                ContentAddressMethod::Git
            }
            _ => return Err(invalid(format!("invalid value '{mode}' for 'outputHashMode' attribute"))),
        });
        Ok(())
    }

    fn set_output_names(&mut self, names: Vec<String>) -> EvalResult<()> {
        self.outputs.clear();
        for name in names {
            if name == "drvPath" {
                return Err(invalid("invalid derivation output name 'drvPath'"));
            }
            if self.outputs.contains(&name) {
                return Err(invalid(format!("duplicate derivation output '{name}'")));
            }
            self.outputs.insert(name);
        }
        if self.outputs.is_empty() {
            return Err(invalid("derivation cannot have an empty set of outputs"));
        }
        Ok(())
    }

    /// Returns the store path of an element, and the outputs of outputs that lead from there to the derivation.
    fn parse_path(&self, element: &ContextElement) -> EvalResult<(StorePath, Vec<&'h str>)> {
        let mut parts = self.eval.contexts.path_text(element).split('^');
        let root = parts.next().unwrap_or_default();
        let path = self.eval.host.store_dir().parse(root).map_err(|e| invalid(e.to_string()))?;
        Ok((path, parts.collect()))
    }

    /// Everything in the context of the attributes becomes an input.
    fn add_inputs(&mut self) -> EvalResult<()> {
        let eval = self.eval;
        for element in self.context.map_or(&[][..], |context| context.elements) {
            let (path, names) = self.parse_path(element)?;
            match element.kind {
                ContextKind::Opaque => drop(self.derivation.input_sources.insert(path)),
                ContextKind::Output => {
                    let mut inputs = self.derivation.input_derivations.entry(path).or_default();
                    for name in names {
                        inputs = inputs.dynamic.entry(name.into()).or_default();
                    }
                    inputs.outputs.insert(eval.contexts.output_text(element).into());
                }
                ContextKind::DeepDerivation => {
                    for path in eval.host.closure(&path).map_err(|e| eval.host_error(e))? {
                        if path.is_derivation() {
                            let outputs = eval.host.read_derivation(&path).map_err(|e| eval.host_error(e))?.outputs.into_keys();
                            self.derivation.input_derivations.entry(path.clone()).or_default().outputs.extend(InputOutputs::plain(outputs).outputs);
                        }
                        self.derivation.input_sources.insert(path);
                    }
                }
            }
        }
        Ok(())
    }

    fn check_required(&self) -> EvalResult<()> {
        if self.derivation.builder.is_empty() {
            return Err(invalid("required attribute 'builder' missing"));
        }
        if self.derivation.system.is_empty() {
            return Err(invalid("required attribute 'system' missing"));
        }
        let is_single_text = self.method == Some(ContentAddressMethod::Text) && self.outputs.iter().eq(["out"]);
        if self.name.ends_with(".drv") && !is_single_text {
            return Err(invalid("derivation names are allowed to end in '.drv' only if they produce a single derivation file"));
        }
        Ok(())
    }

    fn set_outputs(&mut self) -> EvalResult<()> {
        let store_dir = self.eval.host.store_dir();
        if let Some(text) = self.hash.take() {
            if !self.outputs.iter().eq(["out"]) {
                return Err(invalid("multiple outputs are not supported in fixed-output derivations"));
            }
            let hash = self.parse_hash(&text)?;
            let output = DerivationOutput::Fixed(ContentAddress { method: self.method.unwrap_or(ContentAddressMethod::Flat), hash });
            let path = output.path(store_dir, self.name, "out").map_err(|e| invalid(e.to_string()))?;
            let path = path.map(|path| store_dir.display(&path)).unwrap_or_default();
            self.derivation.env.insert(b"out".to_vec(), path.into_bytes());
            self.derivation.outputs.insert("out".into(), output);
            return Ok(());
        }
        if self.content_addressed && self.impure {
            return Err(invalid("derivation cannot be both content-addressed and impure"));
        }
        let algorithm = self.hash_algorithm.unwrap_or(Algorithm::Sha256);
        let method = self.method.unwrap_or(ContentAddressMethod::Nar);
        for name in &self.outputs {
            let (value, output) = if self.impure {
                (nixlang_store::derivation::placeholder(name), DerivationOutput::Impure { method, algorithm })
            } else if self.content_addressed {
                (nixlang_store::derivation::placeholder(name), DerivationOutput::Floating { method, algorithm })
            } else {
                (String::new(), DerivationOutput::Deferred)
            };
            self.derivation.env.insert(name.clone().into_bytes(), value.into_bytes());
            self.derivation.outputs.insert(name.as_str().into(), output);
        }
        Ok(())
    }

    fn parse_hash(&self, text: &str) -> EvalResult<Hash> {
        if text.is_empty() {
            let Some(algorithm) = self.hash_algorithm else { return Err(invalid("empty hash requires explicit hash algorithm")) };
            let hash = Hash::zero(algorithm);
            let shown = hash.format(nixlang_store::hash::HashFormat::Sri, true);
            self.eval.say(Message::Warning, &format!("found empty hash, assuming '{shown}'"));
            return Ok(hash);
        }
        Hash::parse(text, self.hash_algorithm).map_err(|e| invalid(e.to_string()))
    }

    fn instantiate(mut self) -> EvalResult<Value<'h>> {
        let eval = self.eval;
        let host = &eval.host;
        let store_dir = host.store_dir();
        let mut lookup = |path: &StorePath| host.read_derivation(path).map_err(|e| LookupError::from(e.to_string()));
        let mut hashes = eval.caches.derivations.hashes.borrow_mut();
        let instantiated = self.derivation.instantiate(store_dir, &mut *hashes, &mut lookup).map_err(|e| invalid(e.to_string()))?;
        drop(hashes);
        host.add_derivation(&self.derivation, &instantiated.path, &instantiated.contents).map_err(|e| eval.host_error(e))?;
        let drv_path = store_dir.display(&instantiated.path);
        let deep = eval.contexts.context(vec![eval.contexts.deep(&drv_path)]);
        let mut result = vec![(eval.names.drv_path, Value::string(eval.heap.str_from_parts(&[drv_path.as_bytes()], deep)))];
        for (name, output) in &self.derivation.outputs {
            let path = match output.path(store_dir, self.name, name).map_err(|e| invalid(e.to_string()))? {
                Some(path) => store_dir.display(&path),
                None => nixlang_store::derivation::Placeholder::content_addressed_output(&instantiated.path, name).to_string(),
            };
            let context = eval.contexts.context(vec![eval.contexts.output(&drv_path, name)]);
            result.push((eval.symbols.intern(name.as_bytes()), Value::string(eval.heap.str_from_parts(&[path.as_bytes()], context))));
        }
        Ok(eval.attrs_of(result))
    }
}

fn parse_algorithm(text: &str) -> Option<Algorithm> {
    text.parse().ok()
}
