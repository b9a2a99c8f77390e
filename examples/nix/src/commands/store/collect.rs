//! `store gc`, `store delete`, `store optimise`: room.

use nixlang_store::gc::{GcAction, GcOptions};

use super::super::Invocation;
use super::super::nix_store::{collect, show_freed};
use crate::failure::{Failure, Outcome};
use crate::store_paths::StorePaths;
use crate::ui::Verbosity;

/// `store gc [--max BYTES]`
pub(in crate::commands) fn gc(mut invocation: Invocation) -> Outcome<u8> {
    let mut options = GcOptions::new(GcAction::DeleteDead);
    let mut dry_run = false;
    let words = invocation.words(|flag, args| {
        match flag {
            "--max" => {
                let value = args.value(flag)?;
                options.max_freed = crate::settings::parse_integer(&value).ok_or_else(|| Failure::Usage(format!("'{value}' is not an integer")))?;
            }
            "--dry-run" => dry_run = true,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    if !words.is_empty() {
        return Err(Failure::Usage("'store gc' takes no arguments".into()));
    }
    if dry_run && options.max_freed != u64::MAX {
        return Err(Failure::Usage("options --max and --dry-run cannot be combined".into()));
    }
    if dry_run {
        options.action = GcAction::ReturnDead;
    }
    let context = invocation.context()?;
    let results = collect(&context, options)?;
    if dry_run {
        for path in &results.paths {
            println!("{path}");
        }
        println!("{} store paths would be deleted", results.paths.len());
    } else {
        show_freed(&results);
    }
    Ok(0)
}

/// `store delete [--ignore-liveness] [--skip-live] PATH…`
pub(in crate::commands) fn delete(invocation: Invocation) -> Outcome<u8> {
    let (mut ignore_liveness, mut skip_live, mut also_referrers) = (false, false, false);
    let (context, paths) = StorePaths::parse(invocation, |flag, _| {
        match flag {
            "--ignore-liveness" => ignore_liveness = true,
            "--skip-live" => skip_live = true,
            "--also-referrers" => also_referrers = true,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let paths = paths.of(&context, &**context.store.open()?, false)?.into_iter().collect();
    show_freed(&collect(&context, GcOptions::new(GcAction::DeletePaths { paths, ignore_liveness, skip_live, also_referrers }))?);
    Ok(0)
}

/// `store optimise`
pub(in crate::commands) fn optimise(mut invocation: Invocation) -> Outcome<u8> {
    invocation.words(|_, _| Ok(false))?;
    let context = invocation.context()?;
    let stats = context.store.any()?.optimise(&mut |_| {})?;
    let freed = crate::commands::path_info::human_size(stats.bytes_freed);
    context.ui.line(Verbosity::INFO, &format!("{} freed by hard-linking {} files", freed.trim_start(), stats.files_linked));
    Ok(0)
}
