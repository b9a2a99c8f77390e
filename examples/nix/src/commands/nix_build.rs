//! `nix-build`: instantiates, builds, and makes links named `result`.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use nixlang_store::path::StorePath;

use super::sources::Sources;
use super::{Context, Invocation};
use crate::building::{BuildFlags, build, output, output_path};
use crate::derivations::{FoundDerivation, find_derivations};
use crate::evaluation::{Stop, evaluate};
use crate::failure::{Failure, Outcome};

#[derive(Debug)]
struct Flags {
    sources: Sources,
    build: BuildFlags,
    link: Option<PathBuf>,
}

pub(super) fn run(mut invocation: Invocation) -> Outcome<u8> {
    let mut flags = Flags { sources: Sources::default(), build: BuildFlags::default(), link: Some("result".into()) };
    let files = invocation.words(|flag, args| {
        match flag {
            "-o" | "--out-link" | "--add-root" => flags.link = Some(args.value(flag)?.into()),
            "--no-out-link" | "--no-link" => flags.link = None,
            "--drv-link" => drop(args.value(flag)?),
            "--add-drv-link" | "--indirect" => {}
            "--dry-run" => flags.build.dry_run = true,
            "--check" => flags.build.check = true,
            _ => return flags.sources.flag(flag, args),
        }
        Ok(true)
    })?;
    flags.sources.complete(files);
    if flags.sources.is_empty() {
        flags.sources.words.push("./default.nix".into());
    }
    let context = invocation.context()?;
    let found = derivations(&context, &flags)?;
    let wanted: Vec<_> = found.iter().map(|found| output(&found.path, [&found.output])).collect();
    let outcome = build(&context, &wanted, flags.build)?;
    if flags.build.dry_run {
        return Ok(0);
    }
    let mut numbers: HashMap<StorePath, usize> = HashMap::new();
    let mut paths = Vec::new();
    for (found, mut realised) in found.iter().zip(outcome.realised) {
        let next = numbers.len() + 1;
        let number = *numbers.entry(found.path.clone()).or_insert(next);
        let path = match realised.outputs.remove(&*found.output) {
            Some(path) => path,
            None => output_path(&context, &found.path, &found.output)?,
        };
        // In a cache nothing is kept alive.
        if let Some(link) = flags.link.as_ref().filter(|_| !context.store.is_cache()) {
            crate::roots::make(&context, &path, &link_name(link, number, &found.output)?)?;
        }
        paths.push(path);
    }
    for path in paths {
        println!("{}", context.store.store_dir().display(&path));
    }
    Ok(0)
}

/// Returns `result`, `result-2`, `result-dev`, `result-2-dev`.
pub(crate) fn link_name(link: &std::path::Path, number: usize, output: &str) -> Outcome<PathBuf> {
    let mut link = std::path::absolute(link)?;
    if number > 1 {
        link.as_mut_os_string().push(format!("-{number}"));
    }
    if output != "out" {
        link.as_mut_os_string().push(format!("-{output}"));
    }
    Ok(link)
}

/// Returns the derivation of a word that names one in the store, with one of its outputs behind a `!` perhaps.
pub(super) fn made_before(context: &Context, word: &str) -> Outcome<Option<FoundDerivation>> {
    let path = std::path::absolute(word)?;
    let path = path.canonicalize().unwrap_or(path);
    let Some(path) = path.to_str() else { return Ok(None) };
    let (path, outputs) = path.split_once('!').unwrap_or((path, ""));
    let Ok(derivation) = context.store.store_dir().parse(path) else { return Ok(None) };
    if !derivation.is_derivation() {
        return Ok(None);
    }
    if outputs.contains(',') {
        return Err(Failure::new(format!("building more than one derivation output is not supported, in '{path}!{outputs}'")));
    }
    let contents = context.eval_store().open()?.read_derivation(&derivation)?;
    let output = match outputs {
        "" => contents.env.get(&b"outputName"[..]).map_or("out".into(), |name| String::from_utf8_lossy(name)),
        name => name.into(),
    };
    if !contents.outputs.contains_key(&*output) {
        return Err(Failure::new(format!("derivation '{path}' does not have output '{output}'")));
    }
    Ok(Some(FoundDerivation { path: derivation, output: output.into_owned() }))
}

/// Evaluates what the command line names, and writes its derivations.
fn derivations(context: &Arc<Context>, flags: &Flags) -> Outcome<Vec<FoundDerivation>> {
    // Derivations are written even if nothing is built, as the reference does.
    evaluate(context, true, |evaluation| {
        let mut found = Vec::new();
        let mut inputs = Vec::new();
        if flags.sources.stdin {
            inputs.push(evaluation.stdin()?);
        }
        for file in &flags.sources.words {
            if flags.sources.expressions {
                inputs.push(evaluation.text(file.as_bytes())?);
                continue;
            }
            if let Some(derivation) = made_before(context, file)? {
                found.push(derivation);
                continue;
            }
            inputs.push(evaluation.file(file)?);
        }
        let wanted: Vec<_> = inputs.iter().flat_map(|root| flags.sources.attributes.iter().map(|attribute| (*root, attribute))).collect();
        let find = |i: usize| find_derivations(evaluation, evaluation.select(wanted[i].0, wanted[i].1)?);
        found.extend(evaluation.eval.interleaved(wanted.len(), find, Stop::is_waiting)?.into_iter().flatten());
        Ok(found)
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn names_of_links() {
        let check = |number: usize, output: &str, expected: &str| {
            assert_eq!(link_name(Path::new("/d/result"), number, output).expect("absolute"), Path::new(expected));
        };
        check(1, "out", "/d/result");
        check(2, "out", "/d/result-2");
        check(1, "dev", "/d/result-dev");
        check(2, "dev", "/d/result-2-dev");
    }
}
