//! Replaces hash parts of store paths in a file tree by others of the same length.
//!
//! Without a sandbox a builder must not write to an output that is valid already, so it writes to another path, and what
//! it made is rewritten afterwards. The tree is rewritten as its NAR, so names and link targets change too.

use std::io::{self, Write};
use std::path::Path;

use nixlang_store::fs::{Metadata, dump, remove_tree, restore};
use nixlang_store::path::HASH_LEN;

use crate::error::BuildError;

/// Pairs of hash parts: what to look for, what to put in its place.
pub(super) type HashPairs = [([u8; HASH_LEN], [u8; HASH_LEN])];

/// Rewrites the tree at `path` in place.
pub(super) fn rewrite_tree(path: &Path, pairs: &HashPairs) -> Result<(), BuildError> {
    let rewritten = path.with_added_extension("rewritten");
    remove_tree(&rewritten)?;
    pipe_through(path, &rewritten, |pipe| Rewriter { pairs, pending: Vec::new(), sink: pipe }, Rewriter::finish)?;
    remove_tree(path)?;
    super::files::rename(&rewritten, path)
}

/// Dumps `from` through a writer into a restore at `to`.
pub(super) fn pipe_through<W: Write>(
    from: &Path,
    to: &Path,
    wrap: impl FnOnce(io::PipeWriter) -> W,
    finish: impl FnOnce(W) -> io::Result<()>,
) -> Result<(), BuildError> {
    let (mut reader, writer) = io::pipe().map_err(BuildError::io("making a pipe to copy", from))?;
    std::thread::scope(|scope| {
        let restored = scope.spawn(move || {
            let result = restore(&mut reader, to, Metadata::Canonical);
            // A writer that still has something to say must not wait for ever.
            let _ = io::copy(&mut reader, &mut io::sink());
            result
        });
        let mut sink = wrap(writer);
        let dumped = dump(from, None, &mut sink);
        // The pipe is closed here, or the other side would wait for more.
        let finished = finish(sink).map_err(BuildError::io("copying", from));
        let restored = restored.join().expect("restoring does not panic");
        dumped.and(restored)?;
        finished
    })
}

/// Replaces hash parts in what passes through.
struct Rewriter<'p, W> {
    pairs: &'p HashPairs,
    /// Bytes not passed on yet: at most the start of a hash.
    pending: Vec<u8>,
    sink: W,
}

impl<W: Write> Rewriter<'_, W> {
    fn replace(&mut self) {
        for (from, to) in self.pairs {
            let positions: Vec<usize> = memchr::memmem::find_iter(&self.pending, from).collect();
            for position in positions {
                self.pending[position..position + HASH_LEN].copy_from_slice(to);
            }
        }
    }

    fn finish(mut self) -> io::Result<()> {
        self.replace();
        self.sink.write_all(&self.pending)
    }
}

impl<W: Write> Write for Rewriter<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pending.extend_from_slice(bytes);
        self.replace();
        let n_ready = self.pending.len().saturating_sub(HASH_LEN - 1);
        self.sink.write_all(&self.pending[..n_ready])?;
        self.pending.drain(..n_ready);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn hashes_are_replaced_wherever_writes_end() {
        let (from, to) = ([b'a'; HASH_LEN], [b'b'; HASH_LEN]);
        let text = [&b"x"[..], &from, b"yz", &from, &from[..31]].concat();
        let expected = [&b"x"[..], &to, b"yz", &to, &from[..31]].concat();
        for n_chunk in 1..text.len() {
            let mut sink = Vec::new();
            let mut rewriter = Rewriter { pairs: &[(from, to)], pending: Vec::new(), sink: &mut sink };
            for chunk in text.chunks(n_chunk) {
                rewriter.write_all(chunk).unwrap();
            }
            rewriter.finish().unwrap();
            assert_eq!(sink, expected, "chunks of {n_chunk}");
        }
    }

    #[test]
    fn names_and_links_change_too() {
        let scratch = tempfile::tempdir().unwrap();
        let tree = scratch.path().join("tree");
        let (from, to) = ("a".repeat(HASH_LEN), "b".repeat(HASH_LEN));
        fs::create_dir(&tree).unwrap();
        fs::write(tree.join(&from), format!("<{from}>")).unwrap();
        std::os::unix::fs::symlink(format!("/x/{from}"), tree.join("link")).unwrap();
        rewrite_tree(&tree, &[([b'a'; HASH_LEN], [b'b'; HASH_LEN])]).unwrap();
        assert_eq!(fs::read_to_string(tree.join(&to)).unwrap(), format!("<{to}>"));
        assert_eq!(fs::read_link(tree.join("link")).unwrap(), Path::new(&format!("/x/{to}")));
    }
}
