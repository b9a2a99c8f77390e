//! `nix-instantiate`: evaluates, parses, finds files, or makes derivations and prints their paths.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nixlang::heap::Value;
use nixlang::source::{Origin, Pos};
use nixlang::value::XmlOptions;

use super::sources::Sources;
use super::{Context, Invocation};
use crate::derivations::find_derivations;
use crate::evaluation::{Evaluation, Step, evaluate, working_directory};
use crate::failure::Outcome;
use crate::roots::Roots;

/// How a value is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Output {
    #[default]
    Plain,
    Json,
    Xml,
    Raw,
}

#[derive(Debug, Default)]
struct Flags {
    sources: Sources,
    find_file: bool,
    eval: bool,
    parse: bool,
    strict: bool,
    no_location: bool,
    read_write: bool,
    dry_run: bool,
    output: Output,
    root: Option<PathBuf>,
}

pub(super) fn run(mut invocation: Invocation) -> Outcome<u8> {
    let mut flags = Flags::default();
    let files = invocation.words(|flag, args| {
        match flag {
            "--eval" | "--eval-only" => flags.eval = true,
            "--read-write-mode" => flags.read_write = true,
            "--parse" | "--parse-only" => flags.parse = true,
            "--find-file" => flags.find_file = true,
            "--add-root" => flags.root = Some(args.value(flag)?.into()),
            "--indirect" => {}
            "--raw" => flags.output = Output::Raw,
            "--xml" => flags.output = Output::Xml,
            "--json" => flags.output = Output::Json,
            "--no-location" => flags.no_location = true,
            "--strict" => flags.strict = true,
            "--dry-run" => flags.dry_run = true,
            _ => return flags.sources.flag(flag, args),
        }
        Ok(true)
    })?;
    flags.sources.complete(files);
    if flags.sources.is_empty() {
        flags.sources.words.push("./default.nix".into());
    }
    let context = invocation.context()?;
    let read_write = !flags.dry_run && (!(flags.eval || flags.parse) || flags.read_write);
    let mut roots = Roots::new(&context, flags.root.as_deref().map(Path::to_owned));
    let of_body = Arc::clone(&context);
    evaluate(&context, read_write, move |evaluation| {
        let mut command = Command { evaluation, context: &of_body, flags: &flags, roots: &mut roots };
        if flags.find_file {
            return command.find_files();
        }
        if flags.sources.stdin {
            command.process(&Input::Stdin)?;
        }
        for file in &flags.sources.words {
            command.process(&if flags.sources.expressions { Input::Text(file) } else { Input::File(file) })?;
        }
        Ok(())
    })?;
    Ok(0)
}

enum Input<'i> {
    Stdin,
    Text(&'i str),
    File(&'i str),
}

struct Command<'c, 'e, 'h> {
    evaluation: &'c Evaluation<'e, 'h>,
    context: &'c Context,
    flags: &'c Flags,
    roots: &'c mut Roots,
}

impl<'h> Command<'_, '_, 'h> {
    fn find_files(&self) -> Step<()> {
        for name in &self.flags.sources.words {
            print(&self.evaluation.find_file(name)?)?;
            print(b"\n")?;
        }
        Ok(())
    }

    fn process(&mut self, input: &Input<'_>) -> Step<()> {
        if self.flags.parse {
            return self.parse(input);
        }
        let root = match input {
            Input::Stdin => self.evaluation.stdin()?,
            Input::Text(text) => self.evaluation.text(text.as_bytes())?,
            Input::File(file) => self.evaluation.file(file)?,
        };
        for attribute in &self.flags.sources.attributes {
            let value = self.evaluation.select(root, attribute)?;
            if self.flags.eval {
                let value = if self.evaluation.has_auto_arguments { self.evaluation.auto_call(value)? } else { value };
                self.print_value(value)?;
            } else {
                self.instantiate(value)?;
            }
        }
        Ok(())
    }

    /// Prints the expression as the parser understood it.
    fn parse(&self, input: &Input<'_>) -> Step<()> {
        let eval = self.evaluation.eval;
        let (text, origin, base) = match input {
            Input::Stdin => (crate::common::read_stdin()?, Origin::Stdin, working_directory()),
            Input::Text(text) => (text.as_bytes().to_vec(), Origin::String, working_directory()),
            Input::File(file) => {
                let path = eval.resolve_expr_path(&self.evaluation.file_argument(file)?)?;
                let text = eval.host.read_file(&path).map_err(|error| eval.host_error(error))?;
                let base = nixlang::path::parent(&path).to_vec();
                (text, Origin::File(path.into()), base)
            }
        };
        let text: Arc<[u8]> = text.into();
        let start = eval.sources.add(origin, Arc::clone(&text)).map_err(|error| crate::failure::Failure::new(error.to_string()))?;
        print(&nixlang::lower::show(eval, &text, start, &base)?)?;
        Ok(print(b"\n")?)
    }

    fn print_value(&self, value: Value<'h>) -> Step<()> {
        let eval = self.evaluation.eval;
        let text = match self.flags.output {
            Output::Raw => {
                let context = "while generating the nix-instantiate output";
                eval.coerce_to_string(value, Pos::NONE, nixlang::eval::Coercion::PATH_SEGMENT, context)?.bytes().to_vec()
            }
            Output::Xml => {
                let options = XmlOptions { force: self.flags.strict, locations: !self.flags.no_location };
                eval.to_xml(value, Pos::NONE, options)?.0
            }
            Output::Json => line(eval.to_json(value, Pos::NONE, true)?.0),
            Output::Plain => {
                if self.flags.strict {
                    eval.force_deep(value)?;
                    line(eval.print_plain(value)?)
                } else {
                    line(eval.print_surface(value)?)
                }
            }
        };
        self.evaluation.flush()?;
        Ok(print(&text)?)
    }

    /// Prints the paths of all derivations that a value has.
    fn instantiate(&mut self, value: Value<'h>) -> Step<()> {
        for found in find_derivations(self.evaluation, value)? {
            let output = if found.output == "out" { String::new() } else { format!("!{}", found.output) };
            let shown = self.roots.add(self.context, &found.path)?;
            print(format!("{shown}{output}\n").as_bytes())?;
        }
        Ok(())
    }
}

fn line(mut text: Vec<u8>) -> Vec<u8> {
    text.push(b'\n');
    text
}

/// Writes to stdout at once: what follows may fail, and this was said.
fn print(bytes: &[u8]) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()
}
