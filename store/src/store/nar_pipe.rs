//! From somebody who writes a NAR to somebody who reads it.
//!
//! The surprising thing: no pipe of the operating system is between them but a few buffers that change hands. Each byte is
//! copied once, by the writer, and not three times, of which two are the kernel's.

use std::io::{self, BufRead, Read, Write};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use crate::error::{Result, StoreError};

/// How much is handed over at once, in bytes.
const CHUNK: usize = 256 * 1024;

/// How many full buffers may wait for the reader.
const N_WAITING: usize = 2;

/// Lets `read` read what `write` writes, on a thread of its own, so that neither holds it all.
///
/// # Errors
/// What the two give. If a source breaks off its error is returned, not that of the reader who missed the rest; a
/// reader that leaves the rest unread is no error.
pub fn with_nar(
    write: &mut (dyn FnMut(&mut dyn Write) -> Result<()> + Send),
    read: &mut dyn FnMut(&mut dyn BufRead) -> Result<()>,
) -> Result<()> {
    let pipe_error = |error| StoreError::format("passing on a NAR", error);
    let (full, filled) = sync_channel(N_WAITING);
    let (empty, emptied) = channel();
    std::thread::scope(|scope| {
        let writing = scope.spawn(move || {
            let mut sink = ChunkWriter { chunk: Vec::new(), full, emptied };
            write(&mut sink).and_then(|()| sink.flush().map_err(pipe_error))
        });
        let mut reader = ChunkReader { chunk: Vec::new(), start: 0, filled, empty };
        let result = read(&mut reader);
        drop(reader);
        let written = writing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match (result, written) {
            (Ok(()), Err(error)) if !is_broken_pipe(&error) => Err(error),
            (Ok(()), _) => Ok(()),
            (Err(_), Err(error)) if !is_broken_pipe(&error) => Err(error),
            (Err(error), _) => Err(error),
        }
    })
}

/// Hands over what is written, in large pieces. What is left is handed over by `flush`, not when it is dropped.
struct ChunkWriter {
    chunk: Vec<u8>,
    full: SyncSender<Vec<u8>>,
    /// Buffers that can be used again.
    emptied: Receiver<Vec<u8>>,
}

impl Write for ChunkWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = bytes.len().min(CHUNK - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..n]);
        if self.chunk.len() == CHUNK {
            self.flush()?;
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let next = self.emptied.try_recv().unwrap_or_default();
        self.full.send(std::mem::replace(&mut self.chunk, next)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// Reads what a [`ChunkWriter`] hands over; the end is where that one is no more.
struct ChunkReader {
    chunk: Vec<u8>,
    start: usize,
    filled: Receiver<Vec<u8>>,
    empty: Sender<Vec<u8>>,
}

impl BufRead for ChunkReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.start == self.chunk.len()
            && let Ok(next) = self.filled.recv()
        {
            let mut used = std::mem::replace(&mut self.chunk, next);
            self.start = 0;
            used.clear();
            // The writer may be gone already.
            let _ = self.empty.send(used);
        }
        Ok(&self.chunk[self.start..])
    }

    fn consume(&mut self, length: usize) {
        self.start = (self.start + length).min(self.chunk.len());
    }
}

impl Read for ChunkReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n_read = self.fill_buf()?.read(buffer)?;
        self.consume(n_read);
        Ok(n_read)
    }
}

fn is_broken_pipe(error: &StoreError) -> bool {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = source {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return io.kind() == std::io::ErrorKind::BrokenPipe;
        }
        source = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_cause_is_told() {
        let source_error = || StoreError::Unsupported { operation: "this test" };
        let broke_off = with_nar(&mut |sink| sink.write_all(b"12").map(drop).map_err(|_| source_error()).and(Err(source_error())), &mut |nar| {
            let mut bytes = [0; 3];
            nar.read_exact(&mut bytes).map_err(|error| StoreError::format("reading", error))
        });
        assert!(matches!(broke_off, Err(StoreError::Unsupported { .. })), "{broke_off:?}");

        let left_unread = with_nar(
            &mut |sink| sink.write_all(&[0; 1 << 20]).map_err(|error| StoreError::format("writing", error)),
            &mut |_| Ok(()),
        );
        assert!(left_unread.is_ok(), "{left_unread:?}");
    }

    #[test]
    fn every_byte_arrives_in_its_place() {
        for n_bytes in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 10 * CHUNK + 7] {
            let sent: Vec<u8> = (0..n_bytes).map(|i| (i % 251) as u8).collect();
            let mut got = Vec::new();
            let mut write = |sink: &mut dyn Write| {
                let (first, rest) = sent.split_at(n_bytes / 3);
                first.chunks(4097).chain(rest.chunks(3 * CHUNK)).try_for_each(|part| sink.write_all(part))
                    .and_then(|()| sink.flush())
                    .map_err(|error| StoreError::format("writing", error))
            };
            with_nar(&mut write, &mut |nar| {
                nar.read_to_end(&mut got).map(drop).map_err(|error| StoreError::format("reading", error))
            })
            .unwrap();
            assert!(got == sent, "{n_bytes}");
        }
    }
}
