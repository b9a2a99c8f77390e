//! `nix-store --check-validity`, `--dump-db`, `--load-db`, `--register-validity`: what the database says, as lines of text.
//!
//! A registration is: path, NAR hash, NAR size, deriver or nothing, number of references, references; each on a line of its own.

use std::io::BufRead;

use nixlang_store::hash::{Algorithm, Hash, HashFormat, Hasher};
use nixlang_store::path_info::{PathInfo, UnkeyedPathInfo};
use nixlang_store::store::Store;

use super::Call;
use crate::failure::{Failure, Outcome};

pub(super) fn check(call: &Call) -> Outcome<u8> {
    call.only(&["--print-invalid"])?;
    for path in call.paths()? {
        if call.store()?.is_valid(&path)? {
            continue;
        }
        if !call.has(&["--print-invalid"]) {
            return Err(Failure::new(format!("path '{}' is not valid", call.show(&path))));
        }
        println!("{}", call.show(&path));
    }
    Ok(0)
}

pub(super) fn dump_db(call: &Call) -> Outcome<u8> {
    call.only(&[])?;
    let store = call.store()?;
    let mut paths = if call.words.is_empty() { store.all_valid_paths()? } else { call.paths()? };
    if call.words.is_empty() {
        paths.sort();
    }
    for path in paths {
        let info = store.path_info(&path)?.info;
        println!("{}\n{}\n{}", call.show(&path), info.nar_hash.format(HashFormat::Base16, false), info.nar_size);
        println!("{}\n{}", info.deriver.map(|deriver| call.show(&deriver)).unwrap_or_default(), info.references.len());
        for reference in info.references {
            println!("{}", call.show(&reference));
        }
    }
    Ok(0)
}

pub(super) fn load_db(call: &Call) -> Outcome<u8> {
    call.only(&[])?;
    register_lines(call, true, true)
}

pub(super) fn register(call: &Call) -> Outcome<u8> {
    call.only(&["--reregister", "--hash-given"])?;
    register_lines(call, call.has(&["--reregister"]), call.has(&["--hash-given"]))
}

fn register_lines(call: &Call, again: bool, has_hash: bool) -> Outcome<u8> {
    if !call.words.is_empty() {
        return Err(Failure::Usage("no arguments expected".into()));
    }
    let store = call.local()?;
    let parse = |text: &str| call.context.store.store_dir().parse(text).map_err(|error| Failure::new(error.to_string()));
    let mut lines = std::io::stdin().lock().lines();
    let mut infos = Vec::new();
    while let Some(first) = lines.next() {
        let path = parse(&first?)?;
        let mut line = || -> Outcome<String> { Ok(lines.next().ok_or_else(|| Failure::new("missing input"))??) };
        let number = |text: &str| text.parse::<u64>().map_err(|_| Failure::new("number expected"));
        let mut info = if has_hash {
            let hash = Hash::parse(&line()?, Some(Algorithm::Sha256)).map_err(|error| Failure::new(error.to_string()))?;
            UnkeyedPathInfo::new(hash, number(&line()?)?)
        } else {
            UnkeyedPathInfo::new(Hash::zero(Algorithm::Sha256), 0)
        };
        let deriver = line()?;
        info.deriver = if deriver.is_empty() { None } else { Some(parse(&deriver)?) };
        for _ in 0..number(&line()?)? {
            info.references.insert(parse(&line()?)?);
        }
        if !again && store.is_valid(&path)? {
            continue;
        }
        if !has_hash {
            let mut counter = Counter { hasher: Hasher::new(Algorithm::Sha256), size: 0 };
            nixlang_store::fs::dump(&store.to_real_path(&path), None, &mut counter)?;
            (info.nar_hash, info.nar_size) = (counter.hasher.finish(), counter.size);
        }
        infos.push(PathInfo { path, info });
    }
    store.register_paths(&infos)?;
    Ok(0)
}

/// Hashes and counts.
struct Counter {
    hasher: Hasher,
    size: u64,
}

impl std::io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
