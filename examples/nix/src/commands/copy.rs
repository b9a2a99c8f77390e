//! `copy`, `store copy-log`: from store to store.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nixlang_store::copy::{CopyObserver, CopyOptions};
use nixlang_store::path_info::PathInfo;
use nixlang_store::store::Store;

use super::{Context, Invocation};
use crate::args::Args;
use crate::failure::{Failure, Outcome};
use crate::installables::{Installables, Target};
use crate::store_choice::StoreChoice;
use crate::store_paths::StorePaths;
use crate::ui::{Ui, Verbosity};

/// `--from` and `--to`.
#[derive(Default)]
struct Ends {
    from: Option<String>,
    to: Option<String>,
}

impl Ends {
    fn flag(&mut self, flag: &str, args: &mut Args) -> Outcome<bool> {
        match flag {
            "--from" => self.from = Some(args.value(flag)?),
            "--to" => self.to = Some(args.value(flag)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn check(&self) -> Outcome<()> {
        if self.from.is_none() && self.to.is_none() {
            return Err(Failure::Usage("you must pass '--from' and/or '--to'".into()));
        }
        Ok(())
    }

    fn open(&self, context: &Context) -> Outcome<(Arc<dyn Store>, Arc<dyn Store>)> {
        let end = |address: &Option<String>| match address {
            Some(address) => StoreChoice::at(&context.settings, address)?.any(),
            None => context.store.any(),
        };
        Ok((end(&self.from)?, end(&self.to)?))
    }
}

/// `copy [--from STORE] [--to STORE] [--no-check-sigs] [--substitute-on-destination] [--no-recursive] PATH…`
pub(super) fn run(invocation: Invocation) -> Outcome<u8> {
    let mut ends = Ends::default();
    let mut options = CopyOptions::default();
    let mut out_link = None;
    let mut profile = None;
    let (context, paths) = StorePaths::parse_recursive(invocation, |flag, args| {
        match flag {
            "--no-check-sigs" => options.check_signatures = false,
            "-s" | "--substitute-on-destination" => options.substitute = true,
            "-o" | "--out-link" => out_link = Some(args.value(flag)?),
            "--profile" => profile = Some(args.value(flag)?),
            _ => return ends.flag(flag, args),
        }
        Ok(true)
    })?;
    ends.check()?;
    options.interrupt = context.cancel.interrupt();
    let (from, to) = ends.open(&context)?;
    let wanted = paths.to_copy(&context, &*from, ends.from.is_none())?;
    let all: BTreeSet<_> = wanted.paths.iter().cloned().collect();
    let watch = Watch { ui: context.ui, from: from.address(), to: to.address(), dir: from.store_dir().clone(), is_announced: AtomicBool::new(false) };
    nixlang_store::copy::copy(&*from, &*to, &all, &options, &watch)?;
    nixlang_store::copy::copy_realisations(&*to, &wanted.realisations, &options)?;
    if let Some(profile) = profile {
        let [path] = &wanted.roots[..] else {
            let n_paths = wanted.roots.len();
            return Err(Failure::new(format!("'--profile' requires that the arguments produce a single store path, but there are {n_paths}")));
        };
        to.add_permanent_root(path, &std::path::absolute(profile)?)?;
    }
    if let Some(link) = out_link {
        for (idx, path) in wanted.roots.iter().enumerate() {
            let link = if idx == 0 { link.clone() } else { format!("{link}-{idx}") };
            to.add_permanent_root(path, &std::path::absolute(link)?)?;
        }
    }
    Ok(0)
}

struct Watch {
    ui: Ui,
    from: String,
    to: String,
    dir: nixlang_store::path::StoreDir,
    is_announced: AtomicBool,
}

impl CopyObserver for Watch {
    fn planned(&self, n_paths: usize, _: u64) {
        if !self.is_announced.swap(true, Ordering::Relaxed) && n_paths > 0 {
            self.ui.line(Verbosity::INFO, &format!("copying {n_paths} paths..."));
        }
    }

    fn started(&self, info: &PathInfo) {
        let path = self.dir.display(&info.path);
        self.ui.line(Verbosity::INFO, &format!("{}...", nixlang_store::copy::message(&self.from, &self.to, &path)));
    }
}

/// `store copy-log [--from STORE] [--to STORE] INSTALLABLE…`
pub(super) fn log(invocation: Invocation) -> Outcome<u8> {
    let mut ends = Ends::default();
    let (installables, context) = Installables::parse(invocation, |flag, args| ends.flag(flag, args))?;
    ends.check()?;
    let (from, to) = ends.open(&context)?;
    for target in installables.targets(&context, true)? {
        let derivation = match target {
            Target::Built { derivation, .. } => derivation,
            Target::Nested { derivation, .. } => derivation.root().clone(),
            Target::Path(path) if path.is_derivation() => path,
            Target::Path(path) => {
                let known = [&from, &context.store.any()?].into_iter().find_map(|store| store.query_path_info(&path).ok()??.info.deriver);
                known.ok_or_else(|| Failure::new(format!("'{}' does not have a known deriver", from.store_dir().display(&path))))?
            }
        };
        let log = from.build_log(&derivation)?;
        let missing = || Failure::new(format!("build log for '{}' is not available", from.store_dir().display(&derivation)));
        to.add_build_log(&derivation, &log.ok_or_else(missing)?)?;
    }
    Ok(0)
}
