//! `flake show`: the outputs of a flake, as a tree or as JSON. What is to be a package or the like is evaluated, everything else is only named.

use nixlang::eval::{ErrorKind, EvalError, EvalResult};
use nixlang::heap::{Kind, Value};
use nixlang::source::Pos;
use serde_json::{Map, Value as Json, json};

use super::Flake;
use crate::commands::Invocation;
use crate::evaluation::{Evaluation, Step, evaluate};
use crate::failure::Outcome;
use crate::ui::Verbosity;

struct Show<'e, 'h> {
    evaluation: &'e Evaluation<'e, 'h>,
    is_json: bool,
    with_legacy: bool,
    all_systems: bool,
    system: String,
}

pub(in crate::commands) fn show(mut invocation: Invocation) -> Outcome<u8> {
    let (mut with_legacy, mut all_systems) = (false, false);
    let flake = Flake::parse(&mut invocation, |flag, _| {
        match flag {
            "--legacy" => with_legacy = true,
            "--all-systems" => all_systems = true,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    if !invocation.common.settings.is_set("allow-import-from-derivation") {
        invocation.common.settings.set("allow-import-from-derivation", "false")?;
    }
    let context = flake.context(invocation)?;
    let reference = flake.reference(&context)?;
    let options = flake.flags.options(&context)?;
    let system = context.settings.system().to_owned();
    let is_json = flake.json;
    let json = evaluate(&context, true, |evaluation| {
        let locked = crate::flakes::locked(evaluation, &reference, &options)?;
        let outputs = crate::flakes::outputs_of(evaluation, &locked)?;
        let show = Show { evaluation, is_json, with_legacy, all_systems, system };
        show.visit(outputs, &[], &format!("\x1b[1m{}\x1b[0m", locked.flake.locked), "")
    })?;
    if flake.json {
        flake.print(&json);
    }
    Ok(0)
}

/// Whether an error says that something would have to be built first.
fn needs_build(error: &EvalError) -> bool {
    error.kind() == ErrorKind::Restricted && error.data().message.contains("'allow-import-from-derivation' is disabled")
}

impl<'h> Show<'_, 'h> {
    fn member(&self, value: Value<'h>, name: &str) -> EvalResult<Option<Value<'h>>> {
        let eval = self.evaluation.eval;
        Ok(match eval.force(value)?.kind() {
            Kind::Attrs(attrs) => match attrs.find(eval.symbols.intern(name.as_bytes())) {
                Some(entry) => Some(eval.force_at(entry.slot.get(), entry.pos)?),
                None => None,
            },
            _ => None,
        })
    }

    fn text(&self, value: Value<'h>, path: &[String]) -> EvalResult<String> {
        match self.evaluation.eval.force(value)?.kind() {
            Kind::String(text) => Ok(String::from_utf8_lossy(text.bytes()).into_owned()),
            _ => Err(EvalError::new(ErrorKind::Type, format!("'{}' is not a string but {}", path.join("."), value.described_type()))),
        }
    }

    fn names(&self, value: Value<'h>, path: &[String]) -> EvalResult<Vec<String>> {
        let eval = self.evaluation.eval;
        match eval.force(value)?.kind() {
            Kind::Attrs(attrs) => {
                let flat = attrs.flat(eval.heap);
                Ok(flat.iter_lexicographic(eval.heap, &eval.symbols).map(|entry| String::from_utf8_lossy(eval.symbols.text(entry.symbol)).into_owned()).collect())
            }
            _ => Err(EvalError::new(ErrorKind::Type, format!("'{}' is not an attribute set", path.join(".")))),
        }
    }

    fn is_derivation(&self, value: Value<'h>) -> EvalResult<bool> {
        let value = self.evaluation.eval.force(value)?;
        self.evaluation.eval.is_derivation(value)
    }

    /// Whether something is worth a line. Sets that are there for the sake of their place alone aren't.
    fn has_content(&self, value: Value<'h>, path: &[String]) -> bool {
        let is_nested = matches!(path[0].as_str(), "apps" | "checks" | "devShells" | "legacyPackages" | "packages") && path.len() <= 2
            || matches!(path[0].as_str(), "formatter" | "nixosConfigurations" | "nixosModules" | "overlays") && path.len() == 1;
        if !is_nested {
            return true;
        }
        let any = || -> EvalResult<bool> {
            for name in self.names(value, path)? {
                let inner: Vec<String> = path.iter().cloned().chain([name.clone()]).collect();
                let eval = self.evaluation.eval;
                let Kind::Attrs(attrs) = eval.force(value)?.kind() else { return Ok(true) };
                let Some(slot) = attrs.get(eval.symbols.intern(name.as_bytes())) else { continue };
                if self.has_content(slot.get(), &inner) {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        any().unwrap_or(true)
    }

    /// Shows an output and what is below. Returns it as JSON.
    fn visit(&self, value: Value<'h>, path: &[String], header: &str, prefix: &str) -> Step<Json> {
        let shown = path.join(".");
        self.evaluation.context().ui.line(Verbosity::INFO, &format!("evaluating '{shown}'..."));
        let _depth = self.evaluation.eval.enter_call(Pos::NONE)?;
        let mut json = Map::new();
        match self.look(value, path, header, prefix, &mut json) {
            Err(crate::evaluation::Stop::Error(_)) if path.first().is_some_and(|name| name == "legacyPackages") => {}
            other => other?,
        }
        Ok(json.into())
    }

    fn look(&self, value: Value<'h>, path: &[String], header: &str, prefix: &str, json: &mut Map<String, Json>) -> Step<()> {
        let names: Vec<&str> = path.iter().map(String::as_str).collect();
        let is_other_system = || !self.all_systems && path[1] != self.system;
        let systems = || self.omit(path, header, "use '--all-systems' to show");
        match &names[..] {
            []
            | ["defaultPackage" | "devShell" | "formatter" | "nixosConfigurations" | "nixosModules" | "defaultApp" | "templates" | "overlays"]
            | ["checks" | "packages" | "devShells" | "apps"]
            | ["checks" | "packages" | "devShells" | "apps", _] => self.recurse(value, path, header, prefix, json),
            ["defaultPackage" | "devShell" | "formatter", _] | ["checks" | "packages" | "devShells", _, _] => {
                if is_other_system() {
                    systems();
                    return Ok(());
                }
                self.unless_built(path, header, || {
                    if self.is_derivation(value)? {
                        self.derivation(value, path, header, json)
                    } else {
                        self.evaluation.context().ui.warn_as_is(&format!("{}.name is not a derivation", path.join(".")));
                        Ok(())
                    }
                })
            }
            ["hydraJobs", ..] => self.unless_built(path, header, || match self.is_derivation(value)? {
                true => self.derivation(value, path, header, json),
                false => self.recurse(value, path, header, prefix, json),
            }),
            ["legacyPackages"] => self.recurse(value, path, header, prefix, json),
            ["legacyPackages", ..] if !self.with_legacy => {
                self.omit(path, header, "use '--legacy' to show");
                Ok(())
            }
            ["legacyPackages", ..] if is_other_system() => {
                systems();
                Ok(())
            }
            ["legacyPackages", ..] => self.unless_built(path, header, || {
                if self.is_derivation(value)? {
                    self.derivation(value, path, header, json)
                } else if path.len() <= 2 {
                    self.recurse(value, path, header, prefix, json)
                } else {
                    Ok(())
                }
            }),
            ["defaultApp", _] | ["apps", _, _] => {
                let kind = self.member(value, "type")?.map(|kind| self.text(kind, path)).transpose()?;
                let description = self.description(value, path)?;
                if kind.as_deref() != Some("app") {
                    return Err(EvalError::new(ErrorKind::Evaluation, "not an app definition").into());
                }
                if self.is_json {
                    json.insert("type".into(), "app".into());
                    json.extend(description.map(|text| ("description".to_owned(), text.into())));
                } else {
                    println!("{header}: app: \x1b[1m{}\x1b[0m", description.as_deref().unwrap_or("no description"));
                }
                Ok(())
            }
            ["defaultTemplate"] | ["templates", _] => {
                let description = match self.member(value, "description")? {
                    Some(text) => self.text(text, path)?,
                    None => return Err(EvalError::new(ErrorKind::MissingAttribute, format!("attribute '{}.description' does not exist", path.join("."))).into()),
                };
                if self.is_json {
                    json.insert("type".into(), "template".into());
                    json.insert("description".into(), description.into());
                } else {
                    println!("{header}: template: \x1b[1m{description}\x1b[0m");
                }
                Ok(())
            }
            _ => {
                let (kind, text) = match &names[..] {
                    ["overlay"] | ["overlays", _] => ("nixpkgs-overlay", "Nixpkgs overlay"),
                    ["nixosConfigurations", _] => ("nixos-configuration", "NixOS configuration"),
                    ["nixosModule"] | ["nixosModules", _] => ("nixos-module", "NixOS module"),
                    _ => ("unknown", "unknown"),
                };
                if self.is_json {
                    json.insert("type".into(), kind.into());
                } else {
                    println!("{header}: \x1b[35;1m{text}\x1b[0m");
                }
                Ok(())
            }
        }
    }

    fn recurse(&self, value: Value<'h>, path: &[String], header: &str, prefix: &str, json: &mut Map<String, Json>) -> Step<()> {
        if !self.is_json {
            println!("{header}");
        }
        let eval = self.evaluation.eval;
        let names = self.names(value, path)?;
        let Kind::Attrs(attrs) = eval.force(value)?.kind() else { return Ok(()) };
        let mut members = Vec::new();
        for name in names {
            let inner: Vec<String> = path.iter().cloned().chain([name.clone()]).collect();
            let Some(slot) = attrs.get(eval.symbols.intern(name.as_bytes())) else { continue };
            if self.has_content(slot.get(), &inner) {
                members.push((inner, name, slot.get()));
            }
        }
        let n_members = members.len();
        for (i, (inner, name, member)) in members.into_iter().enumerate() {
            let is_last = i + 1 == n_members;
            let header = format!("\x1b[32;1m{prefix}{}\x1b[0m\x1b[1m{name}\x1b[0m", if is_last { "└───" } else { "├───" });
            let below = format!("{prefix}{}", if is_last { "    " } else { "│   " });
            let found = self.visit(member, &inner, &header, &below)?;
            json.insert(name, found);
        }
        Ok(())
    }

    fn description(&self, value: Value<'h>, path: &[String]) -> EvalResult<Option<String>> {
        let Some(meta) = self.member(value, "meta")? else { return Ok(None) };
        self.member(meta, "description")?.map(|text| self.text(text, path)).transpose()
    }

    fn derivation(&self, value: Value<'h>, path: &[String], header: &str, json: &mut Map<String, Json>) -> Step<()> {
        let name = match self.member(value, "name")? {
            Some(name) => self.text(name, path)?,
            None => return Err(EvalError::new(ErrorKind::MissingAttribute, format!("attribute '{}.name' does not exist", path.join("."))).into()),
        };
        if self.is_json {
            let description = self.description(value, path)?.unwrap_or_default();
            let Json::Object(found) = json!({ "type": "derivation", "name": name, "description": description }) else { unreachable!("it is written as one") };
            json.extend(found);
            return Ok(());
        }
        let what = match (path[0].as_str(), path.len()) {
            ("devShell", 2) | ("devShells", 2..) => "development environment",
            ("checks", 3) | ("hydraJobs", _) => "derivation",
            _ => "package",
        };
        println!("{header}: {what} '{name}'");
        Ok(())
    }

    fn omit(&self, path: &[String], header: &str, why: &str) {
        match self.is_json {
            true => self.evaluation.context().ui.warn_as_is(&format!("{} omitted ({why})", path.join("."))),
            false => println!("{header} \x1b[35;1momitted\x1b[0m ({why})"),
        }
    }

    /// Shows something unless that would have to build something.
    fn unless_built(&self, path: &[String], header: &str, show: impl FnOnce() -> Step<()>) -> Step<()> {
        match show() {
            Err(crate::evaluation::Stop::Error(error)) if needs_build(&error) => {
                match self.is_json {
                    true => self.evaluation.context().ui.warn_as_is(&format!("{} omitted due to use of import from derivation", path.join("."))),
                    false => println!("{header} \x1b[35;1momitted due to use of import from derivation\x1b[0m"),
                }
                Ok(())
            }
            other => other,
        }
    }
}
