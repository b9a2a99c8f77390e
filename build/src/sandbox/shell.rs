//! `/bin/sh` in the sandbox: the one program that every derivation may count on.
//!
//! Found once per builder, not per build. A static shell is one file; the machine's own shell also needs its loader and
//! libraries, which then are visible in the sandbox at their usual places. Which one a build had is part of its result.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use goblin::elf::Elf;

use super::Mount;

/// What the host program wants as `/bin/sh`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ShellChoice {
    /// The first static shell found (bash, busybox), else the machine's `sh` with its loader and libraries.
    #[default]
    Find,
    /// This program, with its loader and libraries if it isn't static.
    Program(PathBuf),
    /// No `/bin/sh` at all; `sandbox-paths` may bring one.
    None,
}

/// The shell that builds get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shell {
    /// Where it is on the machine.
    pub program: PathBuf,
    /// What it needs.
    pub kind: ShellKind,
}

/// What a shell needs to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShellKind {
    /// Nothing else.
    Static,
    /// These files: the loader and libraries, at their places.
    Dynamic {
        /// Path in the sandbox → file on the machine.
        files: BTreeMap<PathBuf, PathBuf>,
    },
}

impl fmt::Display for Shell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ShellKind::Static => write!(f, "{} (static)", self.program.display()),
            ShellKind::Dynamic { files } => {
                write!(f, "{} of this machine, with {} files of its loader and libraries", self.program.display(), files.len())
            }
        }
    }
}

/// Why no shell could be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShellError {
    /// Nothing was found.
    #[error("there is no shell for '/bin/sh' in the sandbox; install a static one (bash-static, busybox-static) or name one in the setting 'sandbox-shell'")]
    NotFound,
    /// The program can't be read.
    #[error("the shell '{}' can't be used in the sandbox", path.display())]
    Unreadable {
        /// The program.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The program isn't one for Linux.
    #[error("the shell '{}' is no program: {reason}", path.display())]
    NoProgram {
        /// The program.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A library is missing.
    #[error("the shell '{}' needs the library '{library}', which was not found", path.display())]
    MissingLibrary {
        /// The program.
        path: PathBuf,
        /// The library.
        library: String,
    },
}

/// Static shells, best first.
const STATIC_SHELLS: &[&str] = &[
    "/bin/bash-static",
    "/usr/bin/bash-static",
    "/bin/busybox",
    "/usr/bin/busybox",
    "/bin/busybox.static",
    "/usr/lib/busybox/busybox-static",
];

/// Where the loader looks, apart from what a program says itself.
const LIBRARY_DIRECTORIES: &[&str] = &["/lib64", "/usr/lib64", "/lib", "/usr/lib"];

/// A program is at most this long; a guard against reading something absurd into memory.
const MAX_PROGRAM: u64 = 256 << 20;

impl Shell {
    /// Finds the shell that `choice` asks for. Returns `None` for [`ShellChoice::None`].
    ///
    /// # Errors
    ///
    /// There is none, or it can't be used.
    pub fn find(choice: &ShellChoice) -> Result<Option<Shell>, ShellError> {
        match choice {
            ShellChoice::None => Ok(None),
            ShellChoice::Program(path) => Shell::inspect(path).map(Some),
            ShellChoice::Find => {
                let static_shell = STATIC_SHELLS
                    .iter()
                    .filter_map(|path| Shell::inspect(Path::new(path)).ok())
                    .find(|shell| shell.kind == ShellKind::Static);
                match static_shell {
                    Some(shell) => Ok(Some(shell)),
                    None if Path::new("/bin/sh").exists() => Shell::inspect(Path::new("/bin/sh")).map(Some),
                    None => Err(ShellError::NotFound),
                }
            }
        }
    }

    /// Reads what the program at `path` needs.
    fn inspect(path: &Path) -> Result<Shell, ShellError> {
        let unreadable = |source| ShellError::Unreadable { path: path.to_owned(), source };
        let program = std::fs::canonicalize(path).map_err(unreadable)?;
        let mut files = BTreeMap::new();
        let mut seen = BTreeSet::new();
        let mut pending = vec![program.clone()];
        while let Some(object) = pending.pop() {
            let length = std::fs::metadata(&object).map_err(unreadable)?.len();
            if length > MAX_PROGRAM {
                return Err(unreadable(std::io::ErrorKind::FileTooLarge.into()));
            }
            let bytes = std::fs::read(&object).map_err(unreadable)?;
            let elf = Elf::parse(&bytes)
                .map_err(|error| ShellError::NoProgram { path: path.to_owned(), reason: error.to_string() })?;
            if let Some(loader) = elf.interpreter
                && seen.insert(loader.to_owned())
            {
                let real = std::fs::canonicalize(loader).map_err(unreadable)?;
                files.insert(PathBuf::from(loader), real);
            }
            let loader_name = |library: &str| {
                files.keys().any(|file: &PathBuf| file.file_name().is_some_and(|name| name == library))
            };
            let libraries: Vec<&str> = elf.libraries.iter().copied().filter(|library| !loader_name(library)).collect();
            for library in libraries {
                if !seen.insert(library.to_owned()) {
                    continue;
                }
                let own = elf.runpaths.iter().chain(&elf.rpaths).flat_map(|list| list.split(':'));
                let found = library_path(library, own, elf.is_64).ok_or_else(|| ShellError::MissingLibrary {
                    path: path.to_owned(),
                    library: library.to_owned(),
                })?;
                let real = std::fs::canonicalize(&found).map_err(unreadable)?;
                pending.push(real.clone());
                files.insert(found, real);
            }
        }
        let kind = if files.is_empty() { ShellKind::Static } else { ShellKind::Dynamic { files } };
        Ok(Shell { program, kind })
    }

    /// Returns what to mount so that the shell is `/bin/sh`.
    pub fn mounts(&self) -> Vec<Mount> {
        let mut mounts = vec![Mount::read_only(&self.program, "/bin/sh")];
        if let ShellKind::Dynamic { files } = &self.kind {
            mounts.extend(files.iter().map(|(target, source)| Mount::read_only(source, target)));
        }
        mounts
    }
}

/// Finds a library where the loader would, without its cache.
fn library_path<'a>(library: &str, own: impl Iterator<Item = &'a str>, is_64: bool) -> Option<PathBuf> {
    if library.contains('/') {
        return Some(PathBuf::from(library));
    }
    let triplet = match (std::env::consts::ARCH, is_64) {
        ("x86_64", true) => "x86_64-linux-gnu",
        ("x86_64", false) => "i386-linux-gnu",
        ("aarch64", true) => "aarch64-linux-gnu",
        ("riscv64", true) => "riscv64-linux-gnu",
        _ => "",
    };
    let multiarch = ["/lib", "/usr/lib"].iter().map(|directory| Path::new(directory).join(triplet));
    own.filter(|directory| directory.starts_with('/'))
        .map(PathBuf::from)
        .chain(multiarch)
        .chain(LIBRARY_DIRECTORIES.iter().map(PathBuf::from))
        .map(|directory| directory.join(library))
        .find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shell_of_this_machine_is_usable() {
        let shell = Shell::find(&ShellChoice::Program("/bin/sh".into())).unwrap().expect("a program was named");
        let mounts = shell.mounts();
        assert_eq!(mounts[0].target, Path::new("/bin/sh"));
        assert!(mounts.iter().all(|mount| mount.source.is_file()), "{mounts:#?}");
        if let ShellKind::Dynamic { files } = &shell.kind {
            assert!(files.keys().any(|file| file.to_string_lossy().contains("ld")), "{files:#?}");
        }
    }

    #[test]
    fn what_is_no_program_is_refused() {
        let error = Shell::find(&ShellChoice::Program("/etc/passwd".into())).unwrap_err();
        assert!(error.to_string().contains("is no program"), "{error}");
        assert!(matches!(
            Shell::find(&ShellChoice::Program("/nonexistent".into())),
            Err(ShellError::Unreadable { .. })
        ));
        assert_eq!(Shell::find(&ShellChoice::None).unwrap(), None);
    }
}
