//! `hash …` and `nix-hash`: hashes of files, and their notations.

use std::path::Path;

use nixlang_store::hash::{Algorithm, Hash, HashError, HashFormat, Hasher};
use nixlang_store::store::with_nar;

use super::Invocation;
use crate::failure::{Failure, Outcome, plain};

/// What the flags of both commands say.
#[derive(Debug)]
struct Flags {
    algorithm: Option<Algorithm>,
    format: Option<HashFormat>,
    from: Option<HashFormat>,
    flat: bool,
    git: bool,
    /// The words are hashes, not files.
    convert: bool,
    truncate: bool,
    case_hack: bool,
    words: Vec<String>,
}

fn usage(error: HashError) -> Failure {
    Failure::Usage(error.to_string())
}

fn format_of(name: &str) -> Outcome<HashFormat> {
    Ok(match name {
        "base16" => HashFormat::Base16,
        "nix32" | "base32" => HashFormat::Nix32,
        "base64" => HashFormat::Base64,
        "sri" => HashFormat::Sri,
        _ => return Err(Failure::Usage(format!("unknown hash format '{name}', expect 'base16', 'base32', 'base64', or 'sri'"))),
    })
}

fn name_of(format: HashFormat) -> &'static str {
    match format {
        HashFormat::Base16 => "base16",
        HashFormat::Nix32 => "nix32",
        HashFormat::Base64 => "base64",
        HashFormat::Sri => "sri",
    }
}

fn parse(invocation: &mut Invocation, mut flags: Flags) -> Outcome<Flags> {
    let words = invocation.words(|flag, args| {
        match flag {
            "--type" | "--algo" | "--hash-algo" => flags.algorithm = Some(args.value(flag)?.parse().map_err(usage)?),
            "--to" => flags.format = Some(format_of(&args.value(flag)?)?),
            "--from" => flags.from = Some(format_of(&args.value(flag)?)?),
            "--format" => flags.format = Some(format_of(&args.value(flag)?)?),
            "--flat" => flags.flat = true,
            "--mode" => {
                (flags.flat, flags.git) = match args.value(flag)?.as_str() {
                    "flat" => (true, false),
                    "nar" | "recursive" => (false, false),
                    "git" => (false, true),
                    other => return Err(Failure::Usage(format!("unknown file ingestion method '{other}', expect 'flat', 'nar', or 'git'"))),
                }
            }
            "--truncate" => flags.truncate = true,
            "--base16" | "--base32" | "--base64" | "--sri" => flags.format = Some(format_of(&flag[2..])?),
            "--to-base16" | "--to-base32" | "--to-base64" | "--to-sri" => {
                flags.format = Some(format_of(&flag[5..])?);
                flags.convert = true;
            }
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    flags.words = words;
    flags.case_hack = invocation.common.settings.is_on("use-case-hack");
    Ok(flags)
}

const DEFAULTS: Flags = Flags { algorithm: None, format: None, from: None, flat: false, git: false, convert: false, truncate: false, case_hack: false, words: Vec::new() };

/// `hash file`, `hash path`
pub(super) fn files(mut invocation: Invocation) -> Outcome<u8> {
    let flat = invocation.name == "hash file";
    let flags = parse(&mut invocation, Flags { flat, ..DEFAULTS })?;
    let format = flags.format.unwrap_or(HashFormat::Sri);
    for word in &flags.words {
        let hash = hash(Path::new(word), flags.algorithm.unwrap_or(Algorithm::Sha256), &flags)?;
        println!("{}", hash.format(format, format == HashFormat::Sri));
    }
    Ok(0)
}

/// `hash convert`, and `hash to-…` of old times.
pub(super) fn convert(mut invocation: Invocation) -> Outcome<u8> {
    let format = match invocation.name.strip_prefix("hash to-") {
        Some(name) => Some(format_of(name)?),
        None => None,
    };
    let flags = parse(&mut invocation, Flags { format, convert: true, ..DEFAULTS })?;
    show_converted(&flags, flags.format.unwrap_or(HashFormat::Sri))
}

fn show_converted(flags: &Flags, format: HashFormat) -> Outcome<u8> {
    for word in &flags.words {
        let (hash, found) = Hash::parse_returning_format(word, flags.algorithm).map_err(|error| Failure::from_error(&error))?;
        if let Some(from) = flags.from.filter(|from| *from != found) {
            let message = format!("input hash '{word}' has format '{}', but '--from {}' was specified", name_of(found), name_of(from));
            return Err(Failure::new(message));
        }
        println!("{}", hash.format(format, format == HashFormat::Sri));
    }
    Ok(0)
}

/// `nix-hash`
pub(super) fn classic(mut invocation: Invocation) -> Outcome<u8> {
    let flags = parse(&mut invocation, DEFAULTS)?;
    let format = flags.format.unwrap_or(HashFormat::Base16);
    let algorithm = flags.algorithm.unwrap_or(Algorithm::Md5);
    if flags.convert {
        // Only here a hash may lack its algorithm.
        return show_converted(&Flags { algorithm: flags.algorithm.or(Some(algorithm)), ..flags }, format);
    }
    for word in &flags.words {
        let mut hash = hash(Path::new(word), algorithm, &flags)?;
        if flags.truncate && hash.as_bytes().len() > 20 {
            let bytes = hash.compress_to_20();
            hash = Hash::from_bytes(Algorithm::Sha1, &bytes).ok_or_else(|| Failure::new("a hash of 20 bytes is one of SHA-1's length"))?;
        }
        println!("{}", hash.format(format, format == HashFormat::Sri));
    }
    Ok(0)
}

/// Hashes a file's bytes, or the NAR of a file tree.
fn hash(path: &Path, algorithm: Algorithm, flags: &Flags) -> Outcome<Hash> {
    if flags.git {
        let mut hash = None;
        with_nar(&mut |sink| nixlang_store::fs::dump(path, None, sink), &mut |nar| {
            let hashed = nixlang_store::git_hash::hash_nar(algorithm, std::io::BufReader::new(nar));
            hash = Some(hashed.map_err(|error| nixlang_store::error::StoreError::format("hashing as git does", error))?);
            Ok(())
        })?;
        return Ok(hash.expect("it was hashed"));
    }
    let mut hasher = Hasher::new(algorithm);
    if flags.flat {
        let failed = |error: std::io::Error| Failure::new(format!("opening file {path:?}: {}", plain(&error)));
        std::io::copy(&mut std::fs::File::open(path).map_err(failed)?, &mut hasher).map_err(failed)?;
    } else {
        nixlang_store::fs::dump_with(path, None, flags.case_hack, &mut hasher)?;
    }
    Ok(hasher.finish())
}
