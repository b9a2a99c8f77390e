//! `build`: builds installables and links to what they give.

use std::path::PathBuf;

use serde_json::json;

use super::Invocation;
use crate::building::BuildFlags;
use crate::failure::Outcome;
use crate::installables::{Installables, Target, realise_targets};

pub(super) fn run(mut invocation: Invocation) -> Outcome<u8> {
    let mut installables = Installables::default();
    let mut words = Vec::new();
    let mut flags = BuildFlags::default();
    let mut link: Option<PathBuf> = Some("result".into());
    let (mut print_paths, mut json) = (false, false);
    invocation.parse(
        |flag, args| {
            match flag {
                "-o" | "--out-link" => link = Some(args.value(flag)?.into()),
                "--no-link" => link = None,
                "--print-out-paths" => print_paths = true,
                "--json" => json = true,
                "--dry-run" => flags.dry_run = true,
                "--rebuild" => flags.check = true,
                _ => return installables.flag(flag, args),
            }
            Ok(true)
        },
        |word, _| {
            words.push(word);
            Ok(())
        },
    )?;
    installables.words = words;
    installables.check(&mut invocation.common)?;
    let context = invocation.context()?;
    let targets = installables.targets(&context, true)?;
    realise_targets(&context, &targets, flags)?;
    let store_dir = context.store.store_dir();
    if json {
        let mut all = Vec::new();
        for target in &targets {
            all.push(match target {
                Target::Path(path) => json!(store_dir.display(path)),
                Target::Built { derivation, .. } => {
                    let outputs = target.outputs(&context)?.into_iter().map(|(name, path)| (name.unwrap_or_default(), store_dir.display(&path).into()));
                    json!({ "drvPath": store_dir.display(derivation), "outputs": outputs.collect::<serde_json::Map<_, _>>() })
                }
            });
        }
        println!("{}", serde_json::Value::Array(all));
    }
    if flags.dry_run {
        return Ok(0);
    }
    for (i, target) in targets.iter().enumerate() {
        for (name, path) in target.outputs(&context)? {
            if let Some(link) = &link {
                crate::roots::make(&context, &path, &link_name(link, i, name.as_deref())?)?;
            }
            if print_paths && !json {
                println!("{}", store_dir.display(&path));
            }
        }
    }
    Ok(0)
}

/// Returns `result`, `result-1`, `result-dev`: the second is 1 here, unlike in `nix-build`.
fn link_name(link: &std::path::Path, index: usize, output: Option<&str>) -> Outcome<PathBuf> {
    let mut link = std::path::absolute(link)?;
    if index > 0 {
        link.as_mut_os_string().push(format!("-{index}"));
    }
    if let Some(output) = output.filter(|output| *output != "out") {
        link.as_mut_os_string().push(format!("-{output}"));
    }
    Ok(link)
}
