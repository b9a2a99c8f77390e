//! `nix-store -r`: builds derivations, or fetches paths, and prints what they give.

use nixlang_build::DerivedPath;

use super::Call;
use crate::building::{BuildFlags, build, output};
use crate::failure::{Failure, Outcome};

pub(super) fn run(call: &Call) -> Outcome<u8> {
    call.only(&["--dry-run", "--check", "--ignore-unknown"])?;
    let store = call.store()?;
    let mut wanted = Vec::new();
    for word in &call.words {
        // `PATH!out,dev` names outputs.
        let (path, outputs) = word.split_once('!').map_or((word.as_str(), None), |(path, outputs)| (path, Some(outputs)));
        let path = call.path(path)?;
        if call.has(&["--ignore-unknown"]) && !store.is_valid(&path)? {
            continue;
        }
        wanted.push(match outputs {
            Some(outputs) if path.is_derivation() => output(&path, outputs.split(',')),
            _ => DerivedPath::from_path(path),
        });
    }
    let flags = BuildFlags { check: call.has(&["--check"]), dry_run: call.has(&["--dry-run"]), ..BuildFlags::default() };
    let outcome = build(&call.context, &wanted, flags)?;
    if flags.dry_run || call.no_output {
        return Ok(0);
    }
    let mut warn = call.context.common.gc_warning;
    let mut n_roots = 0;
    for (wanted, realised) in wanted.iter().zip(outcome.realised) {
        let is_plain = matches!(wanted, DerivedPath::Opaque(_));
        let paths = realised.outputs.into_iter().map(|(name, path)| (path, if is_plain { String::new() } else { name.to_string() }));
        n_roots += 1;
        for (path, name) in paths {
            let Some(root) = &call.root else {
                if std::mem::take(&mut warn) {
                    call.context.ui.warn("you did not specify '--add-root'; the result might be removed by the garbage collector");
                }
                println!("{}", call.show(&path));
                continue;
            };
            let link = super::super::nix_build::link_name(root, n_roots, if name.is_empty() { "out" } else { &name })?;
            crate::roots::make(&call.context, &path, &link).map_err(|failure| match failure {
                Failure::Shown(diagnostic) => Failure::new(diagnostic.message),
                other => other,
            })?;
            println!("{}", link.display());
        }
    }
    Ok(0)
}
