//! From a commit to a NAR: one listing, and one stream of all contents in the order of the archive.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::process::Stdio;

use super::super::command::{Git, spawn};
use super::super::{FetchError, FetchResult, Fetchers};
use super::{Reading, attributes};
use crate::nar::{NarError, NarWriter};

/// An entry of a tree.
#[derive(Debug)]
enum Node {
    Directory(BTreeMap<Vec<u8>, Node>),
    File { executable: bool, id: String },
    Symlink { id: String },
}

/// What git lists: mode, object, path.
pub(super) struct Listed {
    pub(super) mode: String,
    pub(super) id: String,
    pub(super) path: Vec<u8>,
}

/// Lists all of a commit, directories before what is in them.
pub(super) fn list(git: &Git, revision: &str) -> FetchResult<Vec<Listed>> {
    let output = git.run("ls-tree", ["-r", "-t", "-z", "--full-tree", revision])?;
    let entries = output.stdout.split(|byte| *byte == 0).filter(|entry| !entry.is_empty());
    let listed = entries.map(|entry| {
        let tab = entry.iter().position(|byte| *byte == b'\t')?;
        let words = std::str::from_utf8(&entry[..tab]).ok()?;
        let mut words = words.split(' ');
        let (mode, _, id) = (words.next()?, words.next()?, words.next()?);
        Some(Listed { mode: mode.to_owned(), id: id.to_owned(), path: entry[tab + 1..].to_vec() })
    });
    listed.collect::<Option<_>>().ok_or_else(|| FetchError::refused(format!("git lists the tree of '{revision}' in a form that is not known")))
}

fn nar(error: NarError) -> FetchError {
    FetchError::Store(crate::error::StoreError::format("writing a NAR", error))
}

impl Fetchers {
    /// Writes the NAR of a commit. Submodules are empty directories.
    pub(super) fn write_commit(&self, git: &Git, revision: &str, reading: Reading, sink: &mut dyn Write) -> FetchResult<()> {
        let listed = list(git, revision)?;
        if reading.lfs && attributes::uses_lfs(git, revision, &listed)? {
            return Err(FetchError::refused("fetching files of Git LFS is not supported yet"));
        }
        let ignored = if reading.export_ignore { attributes::export_ignored(git, revision, &listed)? } else { Default::default() };
        let mut root = BTreeMap::new();
        for entry in listed {
            // What is below something that is left out is left out.
            let prefixes = entry.path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| &entry.path[..at]);
            if !ignored.is_empty() && prefixes.chain([&entry.path[..]]).any(|path| ignored.contains(path)) {
                continue;
            }
            add(&mut root, entry)?;
        }
        write(git, &root, sink)
    }
}

fn add(root: &mut BTreeMap<Vec<u8>, Node>, entry: Listed) -> FetchResult<()> {
    let Listed { mode, id, path } = entry;
    let shown = || String::from_utf8_lossy(&path).into_owned();
    let node = match mode.as_str() {
        "040000" | "160000" => Node::Directory(BTreeMap::new()),
        "120000" => Node::Symlink { id },
        "100755" => Node::File { executable: true, id },
        mode if mode.starts_with("100") => Node::File { executable: false, id },
        _ => return Err(FetchError::refused(format!("file '{}' has an unsupported Git file type", shown()))),
    };
    let mut components: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
    let name = components.pop().unwrap_or_default();
    let mut directory = root;
    for component in components {
        match directory.get_mut(component) {
            Some(Node::Directory(entries)) => directory = entries,
            _ => return Err(FetchError::refused(format!("path '{}' has a non-directory parent", shown()))),
        }
    }
    directory.insert(name.to_vec(), node);
    Ok(())
}

/// A step of the archive.
enum Step<'t> {
    Entry(&'t [u8]),
    Directory,
    End,
    File { executable: bool, id: &'t str },
    Symlink { id: &'t str },
}

/// Returns the archive's steps in their order; without recursion.
fn steps(root: &BTreeMap<Vec<u8>, Node>) -> Vec<Step<'_>> {
    let mut steps = vec![Step::Directory];
    let mut open = vec![root.iter()];
    while let Some(entries) = open.last_mut() {
        let Some((name, node)) = entries.next() else {
            steps.push(Step::End);
            open.pop();
            continue;
        };
        steps.push(Step::Entry(name));
        match node {
            Node::Directory(entries) => {
                steps.push(Step::Directory);
                open.push(entries.iter());
            }
            Node::File { executable, id } => steps.push(Step::File { executable: *executable, id }),
            Node::Symlink { id } => steps.push(Step::Symlink { id }),
        }
    }
    steps
}

fn write(git: &Git, root: &BTreeMap<Vec<u8>, Node>, sink: &mut dyn Write) -> FetchResult<()> {
    let steps = steps(root);
    let broken = |error: std::io::Error| FetchError::Program { message: format!("reading from 'git cat-file': {error}") };
    let mut command = git.command("cat-file");
    command.args(["--batch", "--buffer"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = spawn(&mut command)?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let written = std::thread::scope(|scope| {
        let mut stdin = BufWriter::new(stdin.expect("it was asked for"));
        let steps = &steps;
        scope.spawn(move || {
            for step in steps {
                if let Step::File { id, .. } | Step::Symlink { id } = step
                    && writeln!(stdin, "{id}").is_err()
                {
                    // The reader says why.
                    return;
                }
            }
        });
        let mut blobs = BufReader::with_capacity(1 << 16, stdout.expect("it was asked for"));
        let mut archive = NarWriter::new(sink);
        for step in steps {
            match step {
                Step::Entry(name) => archive.entry(name).map_err(nar)?,
                Step::Directory => archive.directory().map_err(nar)?,
                Step::End => archive.end_directory().map_err(nar)?,
                Step::File { executable, id } => {
                    let size = header(&mut blobs, id)?;
                    archive.begin_file(*executable, size).map_err(nar)?;
                    let mut left = size;
                    while left > 0 {
                        let bytes = blobs.fill_buf().map_err(broken)?;
                        let n = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
                        if n == 0 {
                            return Err(broken(std::io::ErrorKind::UnexpectedEof.into()));
                        }
                        archive.contents(&bytes[..n]).map_err(nar)?;
                        blobs.consume(n);
                        left -= n as u64;
                    }
                    archive.end_file().map_err(nar)?;
                    end_of_line(&mut blobs)?;
                }
                Step::Symlink { id } => {
                    let size = header(&mut blobs, id)?;
                    let mut target = Vec::new();
                    (&mut blobs).take(size.min(crate::nar::MAX_TARGET_LEN as u64 + 1)).read_to_end(&mut target).map_err(broken)?;
                    archive.symlink(&target).map_err(nar)?;
                    end_of_line(&mut blobs)?;
                }
            }
        }
        archive.finish().map_err(nar).map(drop)
    });
    if written.is_err() {
        let _ = child.kill();
    }
    let _ = child.wait();
    written
}

/// Reads `ID TYPE SIZE`.
fn header(blobs: &mut impl BufRead, id: &str) -> FetchResult<u64> {
    let mut line = String::new();
    let broken = |error: std::io::Error| FetchError::Program { message: format!("reading from 'git cat-file': {error}") };
    blobs.take(1024).read_line(&mut line).map_err(broken)?;
    let words: Vec<&str> = line.split_whitespace().collect();
    match words[..] {
        [found, "blob", size] if found == id => size.parse().map_err(|_| FetchError::refused(format!("Git object '{id}' has the size '{size}'"))),
        _ => Err(FetchError::refused(format!("getting Git object '{id}': {}", line.trim()))),
    }
}

fn end_of_line(blobs: &mut impl BufRead) -> FetchResult<()> {
    let mut end = [0; 1];
    match blobs.read_exact(&mut end) {
        Ok(()) if end == *b"\n" => Ok(()),
        _ => Err(FetchError::Program { message: "reading from 'git cat-file': it ended early".into() }),
    }
}
