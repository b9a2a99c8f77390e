//! `nix-store --gc`, `--delete`, `--verify`, `--verify-path`, `--init`.

use std::collections::BTreeSet;

use nixlang_store::gc::roots::RootsEvent;
use nixlang_store::gc::{GcAction, GcOptions, GcResults};
use nixlang_store::local::VerifyEvent;

use super::Call;
use crate::commands::Context;
use crate::failure::{Failure, Outcome};
use crate::ui::Verbosity;

pub(super) fn gc(call: &Call) -> Outcome<u8> {
    let mut options = GcOptions::new(GcAction::DeleteDead);
    let mut print_roots = false;
    let mut flags = call.flags.iter();
    while let Some(flag) = flags.next() {
        match flag.as_str() {
            "--print-roots" => print_roots = true,
            "--print-live" => options.action = GcAction::ReturnLive,
            "--print-dead" => options.action = GcAction::ReturnDead,
            "--max-freed" => {
                let value = flags.next().map_or("", String::as_str);
                options.max_freed = crate::settings::parse_integer(value).ok_or_else(|| Failure::Usage(format!("'{value}' is not an integer")))?;
            }
            other => return Err(Failure::Usage(format!("bad sub-operation '{other}' in GC"))),
        }
    }
    if !call.words.is_empty() {
        return Err(Failure::Usage("no arguments expected".into()));
    }
    if print_roots {
        let mut lines = BTreeSet::new();
        for (path, links) in call.store()?.find_roots(&mut |event| report_roots(&call.context, &event))? {
            lines.extend(links.into_iter().map(|link| (link, call.show(&path))));
        }
        for (link, path) in lines {
            println!("\"{link}\" -> {path}");
        }
        return Ok(0);
    }
    let deletes = options.action == GcAction::DeleteDead;
    let results = collect(&call.context, options)?;
    if deletes {
        show_freed(&results);
    } else {
        for path in results.paths {
            println!("{path}");
        }
    }
    Ok(0)
}

pub(super) fn delete(call: &Call) -> Outcome<u8> {
    call.only(&["--ignore-liveness", "--skip-live"])?;
    let paths = call.paths()?.into_iter().collect();
    let (ignore_liveness, skip_live) = (call.has(&["--ignore-liveness"]), call.has(&["--skip-live"]));
    let results = collect(&call.context, GcOptions::new(GcAction::DeletePaths { paths, ignore_liveness, skip_live, also_referrers: false }))?;
    show_freed(&results);
    Ok(0)
}

/// Collects garbage with the user's settings.
pub(crate) fn collect(context: &Context, mut options: GcOptions) -> Outcome<GcResults> {
    options.keep_derivations = context.settings.is_on("keep-derivations");
    options.keep_outputs = context.settings.is_on("keep-outputs");
    let ui = context.ui;
    ui.line(Verbosity::INFO, "finding garbage collector roots...");
    let mut deleting = |path: &str| ui.line(Verbosity::INFO, &format!("deleting '{path}'"));
    Ok(context.store.open()?.collect_garbage(&options, &mut deleting)?)
}

/// Says what a collection did.
pub(crate) fn show_freed(results: &GcResults) {
    println!("{} store paths deleted, {} freed", results.paths.len(), crate::commands::path_info::human_size(results.bytes_freed).trim_start());
}

fn report_roots(context: &Context, event: &RootsEvent) {
    let text = match event {
        RootsEvent::Invalid { link, target } => format!("skipping invalid root from {link:?} to {target:?}"),
        RootsEvent::Stale { link, target } => format!("removing stale link from {link:?} to {target:?}"),
        RootsEvent::StaleTemporary { file } => format!("removing stale temporary roots file {file:?}"),
        RootsEvent::Unreadable { path } => format!("cannot read potential root {path:?}"),
        _ => return,
    };
    context.ui.line(Verbosity::INFO, &text);
}

pub(super) fn verify(call: &Call) -> Outcome<u8> {
    call.only(&["--check-contents"])?;
    if !call.words.is_empty() {
        return Err(Failure::Usage("no arguments expected".into()));
    }
    let context = &call.context;
    let ui = context.ui;
    let show = |path: &nixlang_store::path::StorePath| context.store.store_dir().display(path);
    ui.line(Verbosity::INFO, "reading the Nix store...");
    ui.line(Verbosity::INFO, "checking path existence...");
    let mut repair = |path: &nixlang_store::path::StorePath| match crate::repair::repair_path(context, path) {
        Ok(()) => true,
        Err(Failure::Shown(diagnostic)) => {
            ui.show(&diagnostic);
            false
        }
        Err(_) => false,
    };
    let repair: Option<&mut dyn FnMut(&nixlang_store::path::StorePath) -> bool> = if context.common.repair { Some(&mut repair) } else { None };
    if context.store.service()?.is_some() {
        let mut options = nixlang_store::store::VerifyOptions::new(call.has(&["--check-contents"]));
        options.repair = context.common.repair;
        // What it finds a daemon says itself.
        let is_right = call.store()?.verify(&options, &mut |_| {})?;
        if !is_right {
            ui.warn("not all store errors were fixed");
        }
        return Ok(u8::from(!is_right));
    }
    let is_right = call.local()?.verify_and_repair(call.has(&["--check-contents"]), repair, &mut |event| {
        let text = match &event {
            VerifyEvent::Disappeared { path } => format!("path '{}' disappeared, removing from database...", show(path)),
            VerifyEvent::DisappearedInUse { path } => format!("path '{}' disappeared, but it still has valid referrers!", show(path)),
            VerifyEvent::Modified { path, expected, got } => format!("path '{}' was modified! expected hash '{expected}', got '{got}'", show(path)),
            VerifyEvent::LinkModified { name, got } => format!("link '{name}' was modified! its contents have the hash '{got}'"),
            VerifyEvent::Unreadable { path, error } => format!("error: path '{}' can't be read: {error}", show(path)),
            VerifyEvent::SizeUpdated { path, nar_size } => format!("updating size field on '{}' to {nar_size}", show(path)),
            _ => return,
        };
        ui.line(Verbosity::ERROR, &text);
    })?;
    if is_right {
        return Ok(0);
    }
    ui.warn("not all store errors were fixed");
    Ok(1)
}

pub(super) fn verify_path(call: &Call) -> Outcome<u8> {
    call.only(&[])?;
    let mut status = 0;
    let store = call.context.store.any()?;
    for path in call.paths()? {
        if !crate::commands::store::has_its_hash(&call.context, &*store, &store.path_info(&path)?)? {
            status = 1;
        }
    }
    Ok(status)
}

pub(super) fn repair_path(call: &Call) -> Outcome<u8> {
    call.only(&[])?;
    for path in call.paths()? {
        crate::repair::repair_path(&call.context, &path)?;
    }
    Ok(0)
}

pub(super) fn generate_key(call: &Call) -> Outcome<u8> {
    call.only(&[])?;
    let [name, secret, public] = &call.words[..] else { return Err(Failure::Usage("three arguments expected".into())) };
    crate::commands::key::generate_to_files(name, secret, public)?;
    Ok(0)
}

pub(super) fn optimise(call: &Call) -> Outcome<u8> {
    call.only(&[])?;
    let stats = call.store()?.optimise(&mut |_| {})?;
    let freed = crate::commands::path_info::human_size(stats.bytes_freed);
    call.context.ui.line(Verbosity::INFO, &format!("{} freed by hard-linking {} files", freed.trim_start(), stats.files_linked));
    Ok(0)
}

pub(super) fn init(call: &Call) -> Outcome<u8> {
    call.only(&[])?;
    if !call.words.is_empty() {
        return Err(Failure::Usage("no arguments expected".into()));
    }
    call.store()?;
    Ok(0)
}
