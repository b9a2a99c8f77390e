//! Parses every .nix file of a tree: MB/s of lexing, of parsing to IR and of parsing to the lossless tree, on one
//! thread; and checks that the text of each tree equals its file.
//!
//! usage: `NIXPKGS=DIRECTORY parse [--runs N]`
//!
//! The files are read first, so that the disk is not measured. The three passes take turns; each goes over all files.
//! The time of a pass is CPU time, user and system, so that a busy machine changes it little; the freeing of what the
//! pass made is in it. MB are 10⁶ bytes.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use nixlang::eval::{EvalOptions, session};
use nixlang::host::MemoryHost;
use nixlang::lower::{self, StaticScope};
use nixlang::source::Origin;
use nixlang::syntax::lexer::{LexOptions, lex};
use nixlang::syntax::tree::{self, ParseOptions};
use nixlang_benches::Spread;
use rustix::time::{ClockId, clock_gettime};

struct File {
    path: PathBuf,
    text: Arc<[u8]>,
}

fn read_files(directory: &Path, files: &mut Vec<File>) -> std::io::Result<()> {
    let mut entries = fs::read_dir(directory)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            read_files(&path, files)?;
        } else if entry.file_type()?.is_file() && path.extension().is_some_and(|extension| extension == "nix") {
            files.push(File { text: fs::read(&path)?.into(), path });
        }
    }
    Ok(())
}

/// Returns the CPU time of this process so far, in seconds.
fn cpu_s() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Lexes all files and returns how many tokens they have.
fn lex_all(files: &[File]) -> usize {
    files.iter().map(|file| lex(&file.text, LexOptions { pipe_operators: false, keep_trivia: false }).tokens.len()).sum()
}

/// Parses all files to IR, on one heap, and returns those that have errors, with the first one.
fn parse_all(files: &[File]) -> Result<Vec<String>, Box<dyn Error>> {
    let options = EvalOptions { home: Some("/home/user".into()), ..EvalOptions::default() };
    let failed = session(
        || Box::new(MemoryHost::default()),
        options,
        |eval| {
            let mut failed = Vec::new();
            for file in files {
                let path = file.path.as_os_str().as_encoded_bytes();
                let start = eval.sources.add(Origin::File(path.into()), file.text.clone()).map_err(|error| error.to_string())?;
                let directory = file.path.parent().map_or(&b"/"[..], |parent| parent.as_os_str().as_encoded_bytes());
                if let Err(error) = lower::parse(eval, &file.text, start, directory, &StaticScope::default()) {
                    failed.push(format!("{}: {}", file.path.display(), error.data().message));
                }
            }
            Ok::<_, String>(failed)
        },
    )?;
    Ok(failed?)
}

/// Parses all files to trees and returns how many have errors; each tree is dropped before the next.
fn tree_all(files: &[File]) -> Result<usize, Box<dyn Error>> {
    let mut n_failed = 0;
    for file in files {
        let parsed = tree::parse_bytes(&file.text, ParseOptions::default()).map_err(|e| format!("{}: {e}", file.path.display()))?;
        n_failed += usize::from(!parsed.errors().is_empty());
    }
    Ok(n_failed)
}

/// Returns the files whose tree has another text.
fn differing(files: &[File]) -> Result<Vec<&Path>, Box<dyn Error>> {
    let mut found = Vec::new();
    for file in files {
        let parsed = tree::parse_bytes(&file.text, ParseOptions::default())?;
        if parsed.root().to_string().as_bytes() != &*file.text {
            found.push(file.path.as_path());
        }
    }
    Ok(found)
}

fn run() -> Result<(), Box<dyn Error>> {
    let directory = PathBuf::from(env::var_os("NIXPKGS").ok_or("NIXPKGS is not set: it says which tree to parse")?);
    let mut n_runs = 5;
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--runs" => n_runs = arguments.next().ok_or("--runs needs a number")?.parse::<usize>()?.max(1),
            _ => return Err(format!("unknown argument '{argument}'").into()),
        }
    }
    let mut files = Vec::new();
    read_files(&directory, &mut files).map_err(|e| format!("{}: {e}", directory.display()))?;
    let n_bytes: usize = files.iter().map(|file| file.text.len()).sum();
    if files.is_empty() {
        return Err(format!("{}: no .nix files", directory.display()).into());
    }
    println!("{} files, {:.1} MB, {} tokens, {n_runs} runs", files.len(), n_bytes as f64 / 1e6, lex_all(&files));

    let differing = differing(&files)?;
    println!("text of the tree equals the file: {} of {}", files.len() - differing.len(), files.len());
    let (failed, n_failed_trees) = (parse_all(&files)?, tree_all(&files)?);
    println!("with errors: {} as IR, {n_failed_trees} as tree", failed.len());
    for line in failed.iter().take(10) {
        println!("  {line}");
    }

    let mut speeds = [const { Vec::new() }; 3];
    for _ in 0..n_runs {
        let mut pass = |pass_idx: usize, run: &dyn Fn() -> Result<(), Box<dyn Error>>| {
            let began = cpu_s();
            let result = run();
            speeds[pass_idx].push(n_bytes as f64 / 1e6 / (cpu_s() - began));
            result
        };
        pass(0, &|| {
            std::hint::black_box(lex_all(&files));
            Ok(())
        })?;
        pass(1, &|| parse_all(&files).map(drop))?;
        pass(2, &|| tree_all(&files).map(drop))?;
    }
    for (name, speeds) in ["lex", "parse to IR", "parse to tree"].into_iter().zip(speeds) {
        println!("{name:14} {:.0} MB/s", Spread::of(speeds).expect("at least one run was made"));
    }
    if let Some(path) = differing.first() {
        return Err(format!("the text of {} trees differs from their file, first {}", differing.len(), path.display()).into());
    }
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("parse: {error}");
            ExitCode::FAILURE
        }
    }
}
