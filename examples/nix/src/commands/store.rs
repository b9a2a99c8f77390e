//! `store …`: work on the store, in the words of the new command line.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use nixlang_store::content_address::ContentAddressMethod;
use nixlang_store::gc::{GcAction, GcOptions};
use nixlang_store::hash::Algorithm;
use nixlang_store::path::StorePath;
use nixlang_store::store::Store;

use super::nix_store::{add_path, collect, show_freed, verify_store};
use super::{Context, Invocation};
use crate::failure::{Failure, Outcome};
use crate::installables::{Installables, store_path};

/// Reads flags by `flag`, and returns the plain words.
fn words(invocation: &mut Invocation, mut flag: impl FnMut(&str, &mut crate::args::Args) -> Outcome<bool>) -> Outcome<Vec<String>> {
    let mut words = Vec::new();
    invocation.parse(&mut flag, |word, _| {
        words.push(word);
        Ok(())
    })?;
    Ok(words)
}

fn only_paths(context: &Context, words: &[String]) -> Outcome<Vec<StorePath>> {
    words.iter().map(|word| store_path(context, word).ok_or_else(|| Failure::new(format!("path '{word}' is not in the Nix store")))).collect()
}

/// `store add [--name NAME] [--mode flat|nar|text] [--hash-algo ALGORITHM] PATH`
pub(super) fn add(mut invocation: Invocation) -> Outcome<u8> {
    let (mut method, mut algorithm, mut name) = (ContentAddressMethod::Nar, Algorithm::Sha256, None);
    if invocation.name == "store add-file" {
        method = ContentAddressMethod::Flat;
    }
    let mut dry_run = false;
    let words = words(&mut invocation, |flag, args| {
        match flag {
            "-n" | "--name" => name = Some(args.value(flag)?),
            "--mode" => {
                method = match args.value(flag)?.as_str() {
                    "flat" => ContentAddressMethod::Flat,
                    "nar" | "recursive" => ContentAddressMethod::Nar,
                    "text" => ContentAddressMethod::Text,
                    other => return Err(Failure::Usage(format!("unknown or unsupported file ingestion mode '{other}'"))),
                }
            }
            "--hash-algo" => algorithm = args.value(flag)?.parse().map_err(|error: nixlang_store::hash::HashError| Failure::Usage(error.to_string()))?,
            "--dry-run" => dry_run = true,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let context = invocation.context()?;
    if dry_run {
        return Err(Failure::new("'--dry-run' is not supported yet"));
    }
    for word in words {
        let path = std::path::absolute(&word)?;
        let base = path.file_name().map(|base| base.to_string_lossy().into_owned()).unwrap_or_default();
        let added = add_path(&context, name.as_deref().unwrap_or(&base), &path, method, algorithm)?;
        println!("{}", context.store.store_dir().display(&added));
    }
    Ok(0)
}

/// `store gc [--max BYTES]`
pub(super) fn gc(mut invocation: Invocation) -> Outcome<u8> {
    let mut options = GcOptions::new(GcAction::DeleteDead);
    let mut dry_run = false;
    let words = words(&mut invocation, |flag, args| {
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
    if dry_run {
        options.action = GcAction::ReturnDead;
    }
    let context = invocation.context()?;
    let results = collect(&context, options)?;
    if dry_run {
        for path in results.paths {
            println!("{path}");
        }
    } else {
        show_freed(&results);
    }
    Ok(0)
}

/// `store delete [--ignore-liveness] PATH…`
pub(super) fn delete(mut invocation: Invocation) -> Outcome<u8> {
    let (mut ignore_liveness, mut recursive) = (false, false);
    let words = words(&mut invocation, |flag, _| {
        match flag {
            "--ignore-liveness" => ignore_liveness = true,
            "-r" | "--recursive" => recursive = true,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let context = invocation.context()?;
    let mut paths = only_paths(&context, &words)?;
    if recursive {
        paths = context.store.open()?.closure(&paths)?.into_iter().collect();
    }
    let paths = paths.into_iter().collect();
    show_freed(&collect(&context, GcOptions::new(GcAction::DeletePaths { paths, ignore_liveness, skip_live: false }))?);
    Ok(0)
}

/// `store verify [--no-contents]`
pub(super) fn verify(mut invocation: Invocation) -> Outcome<u8> {
    let mut contents = true;
    let words = words(&mut invocation, |flag, _| {
        match flag {
            "--no-contents" => contents = false,
            "--all" | "--no-trust" => {}
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    if !words.is_empty() {
        return Err(Failure::new("verifying single paths is not supported yet; use 'nix-store --verify-path'"));
    }
    verify_store(&*invocation.context()?, contents)
}

/// `store dump-path INSTALLABLE`
pub(super) fn dump_path(mut invocation: Invocation) -> Outcome<u8> {
    let mut installables = Installables::default();
    let words = words(&mut invocation, |flag, args| installables.flag(flag, args))?;
    installables.words = words;
    installables.check(&mut invocation.common)?;
    let context = invocation.context()?;
    let mut stdout = std::io::BufWriter::with_capacity(1 << 16, std::io::stdout().lock());
    for target in installables.targets(&context, true)? {
        for (_, path) in target.outputs(&context)? {
            context.store.open()?.write_nar(&path, &mut stdout)?;
        }
    }
    stdout.flush()?;
    Ok(0)
}

/// `store cat PATH`
pub(super) fn cat(mut invocation: Invocation) -> Outcome<u8> {
    let words = words(&mut invocation, |_, _| Ok(false))?;
    let context = invocation.context()?;
    let mut stdout = std::io::stdout().lock();
    for word in words {
        let real = real_path(&context, &word)?;
        let mut file = std::fs::File::open(&real).map_err(|error| Failure::new(format!("opening '{word}': {}", crate::failure::plain(&error))))?;
        std::io::copy(&mut file, &mut stdout)?;
    }
    Ok(0)
}

/// `store ls [-l] [-R] PATH`
pub(super) fn ls(mut invocation: Invocation) -> Outcome<u8> {
    let (mut long, mut recursive) = (false, false);
    let words = words(&mut invocation, |flag, _| {
        match flag {
            "-l" | "--long" => long = true,
            "-R" | "--recursive" => recursive = true,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let context = invocation.context()?;
    for word in words {
        list(&real_path(&context, &word)?, long, recursive)?;
    }
    Ok(0)
}

fn list(root: &std::path::Path, long: bool, recursive: bool) -> Outcome<()> {
    use std::os::unix::fs::PermissionsExt;
    // Paths relative to the root, last first.
    let mut stack: Vec<PathBuf> = vec![PathBuf::new()];
    while let Some(path) = stack.pop() {
        let real = if path.as_os_str().is_empty() { root.to_owned() } else { root.join(&path) };
        let metadata = std::fs::symlink_metadata(&real)?;
        let is_root = path.as_os_str().is_empty();
        if metadata.is_dir() && (is_root || recursive) {
            let mut names = std::fs::read_dir(&real)?.map(|entry| entry.map(|entry| entry.file_name())).collect::<std::io::Result<Vec<_>>>()?;
            names.sort();
            stack.extend(names.into_iter().rev().map(|name| path.join(name)));
        }
        if is_root && metadata.is_dir() {
            continue;
        }
        let shown = if is_root { String::new() } else { format!("./{}", path.display()) };
        if !long {
            println!("{shown}");
            continue;
        }
        let mode = match () {
            () if metadata.is_dir() => "dr-xr-xr-x",
            () if metadata.is_symlink() => "lrwxrwxrwx",
            () if metadata.permissions().mode() & 0o100 != 0 => "-r-xr-xr-x",
            () => "-r--r--r--",
        };
        let size = if metadata.is_file() { metadata.len() } else { 0 };
        let target = if metadata.is_symlink() { format!(" -> {}", std::fs::read_link(&real)?.display()) } else { String::new() };
        println!("{mode} {size:>20} {shown}{target}");
    }
    Ok(())
}

/// Returns where a path in the store really is.
fn real_path(context: &Context, word: &str) -> Outcome<PathBuf> {
    let store_dir = context.store.store_dir();
    let (path, rest) = store_dir.split_store_path(word.as_bytes()).map_err(|error| Failure::new(error.to_string()))?;
    let store: &Arc<_> = context.store.open()?;
    if !store.is_valid(&path)? {
        return Err(store.invalid(&path).into());
    }
    let rest = String::from_utf8_lossy(&rest).into_owned();
    Ok(store.to_real_path(&path).join(rest.trim_start_matches('/')))
}

/// `store info`
pub(super) fn info(mut invocation: Invocation) -> Outcome<u8> {
    let mut json = false;
    words(&mut invocation, |flag, _| {
        json |= flag == "--json";
        Ok(flag == "--json")
    })?;
    let context = invocation.context()?;
    let store = context.store.open()?;
    let url = if store.layout().is_rooted() { store.options().root.as_ref().map_or("local".into(), |root| format!("local?root={}", root.display())) } else { "local".to_owned() };
    if json {
        println!("{}", serde_json::json!({ "trusted": true, "url": url, "version": super::VERSION }));
    } else {
        context.ui.line(crate::ui::Verbosity::ERROR, &format!("Store URL: {url}\nVersion: {}\nTrusted: 1", super::VERSION));
    }
    Ok(0)
}
