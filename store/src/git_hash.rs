//! The hash that git gives a file tree, from its NAR: blobs, and trees of them by name.
//!
//! An executable has mode 100755, another file 100644, a link 120000, a directory 40000. The surprising thing: git sorts
//! the entries of a tree as if the names of directories ended in a slash, so `a.c` comes before a directory `a`.
//!
//! Format source: git's documentation of its objects; hashes of `git write-tree` in the tests.

use std::io::BufRead;

use crate::hash::{Algorithm, Hash, Hasher};
use crate::nar::{Event, NarError, NarReader};

/// An entry of a tree: what it is sorted by, and its line.
struct Entry {
    key: Vec<u8>,
    line: Vec<u8>,
}

/// A node that is complete.
struct Node {
    mode: &'static str,
    hash: Hash,
}

/// Reads a NAR and returns the hash of its tree, or of its file alone.
///
/// # Errors
/// When the source fails or is no archive.
pub fn hash_nar(algorithm: Algorithm, nar: impl BufRead) -> Result<Hash, NarError> {
    let mut reader = NarReader::new(nar);
    // Directories that are being read, each with the name of its next entry.
    let mut open: Vec<(Vec<Entry>, Vec<u8>)> = Vec::new();
    let mut file: Option<(bool, Hasher)> = None;
    let mut root = None;
    while let Some(event) = reader.next_event()? {
        let node = match event {
            Event::Directory => {
                open.push((Vec::new(), Vec::new()));
                continue;
            }
            Event::Entry(name) => {
                name.clone_into(&mut open.last_mut().expect("entries stand in directories").1);
                continue;
            }
            Event::File { executable, size } => {
                file = Some((executable, header(algorithm, "blob", size)));
                continue;
            }
            Event::Contents(bytes) => {
                file.as_mut().expect("contents come inside of a file").1.update(bytes);
                continue;
            }
            Event::EndFile => {
                let (executable, hasher) = file.take().expect("a file ends once");
                Node { mode: if executable { "100755" } else { "100644" }, hash: hasher.finish() }
            }
            Event::Symlink(target) => {
                let mut hasher = header(algorithm, "blob", target.len() as u64);
                hasher.update(target);
                Node { mode: "120000", hash: hasher.finish() }
            }
            Event::EndDirectory => {
                let (mut entries, _) = open.pop().expect("a directory ends after it began");
                entries.sort_by(|a, b| a.key.cmp(&b.key));
                let size = entries.iter().map(|entry| entry.line.len() as u64).sum();
                let mut hasher = header(algorithm, "tree", size);
                entries.iter().for_each(|entry| hasher.update(&entry.line));
                Node { mode: "40000", hash: hasher.finish() }
            }
        };
        match open.last_mut() {
            Some((entries, name)) => {
                let mut key = name.clone();
                if node.mode == "40000" {
                    key.push(b'/');
                }
                let line = [node.mode.as_bytes(), b" ", name, b"\0", node.hash.as_bytes()].concat();
                entries.push(Entry { key, line });
            }
            None => root = Some(node.hash),
        }
    }
    Ok(root.expect("an archive has a root node"))
}

fn header(algorithm: Algorithm, kind: &str, size: u64) -> Hasher {
    let mut hasher = Hasher::new(algorithm);
    hasher.update(format!("{kind} {size}\0").as_bytes());
    hasher
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::HashFormat;
    use crate::nar::NarWriter;

    fn check(write: impl Fn(&mut NarWriter<&mut Vec<u8>>) -> Result<(), NarError>, sha1: &str) {
        let mut nar = Vec::new();
        let mut writer = NarWriter::new(&mut nar);
        write(&mut writer).unwrap();
        writer.finish().unwrap();
        let hash = hash_nar(Algorithm::Sha1, nar.as_slice()).unwrap();
        assert_eq!(hash.format(HashFormat::Base16, false), sha1);
    }

    #[test]
    fn hashes_are_those_of_git() {
        // `git hash-object` of a file, `git write-tree` of an empty tree and of one with all kinds of entries.
        check(|nar| nar.file(false, b"hello\n"), "ce013625030ba8dba906f756967f9e9ca394464a");
        let empty = |nar: &mut NarWriter<&mut Vec<u8>>| {
            nar.directory()?;
            nar.end_directory()
        };
        check(empty, "4b825dc642cb6eb9a060e54bf8d69288fbee4904");
        let tree = |nar: &mut NarWriter<&mut Vec<u8>>| {
            nar.directory()?;
            nar.entry(b"a")?;
            nar.directory()?;
            nar.entry(b"x")?;
            nar.file(true, b"#!\n")?;
            nar.end_directory()?;
            nar.entry(b"a.c")?;
            nar.file(false, b"c\n")?;
            nar.entry(b"l")?;
            nar.symlink(b"a.c")?;
            nar.end_directory()
        };
        check(tree, "5b5c9d1f3ac3a33a60d6f694666368cfaa4d302f");
    }
}
