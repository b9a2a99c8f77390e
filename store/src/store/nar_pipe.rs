//! From somebody who writes a NAR to somebody who reads it.

use std::io::{BufReader, BufWriter, Read, Write};

use crate::error::{Result, StoreError};

/// Lets `read` read what `write` writes, on a thread of its own and through a pipe, so that neither holds it all.
///
/// # Errors
/// What the two give. If a source breaks off its error is returned, not that of the reader who missed the rest; a
/// reader that leaves the rest unread is no error.
pub fn with_nar(
    write: &mut (dyn FnMut(&mut dyn Write) -> Result<()> + Send),
    read: &mut dyn FnMut(&mut dyn Read) -> Result<()>,
) -> Result<()> {
    let pipe_error = |error| StoreError::format("passing on a NAR", error);
    let (reader, mut writer) = std::io::pipe().map_err(pipe_error)?;
    std::thread::scope(|scope| {
        let writing = scope.spawn(move || {
            let mut buffered = BufWriter::with_capacity(64 * 1024, &mut writer);
            let written = write(&mut buffered).and_then(|()| buffered.flush().map_err(pipe_error));
            // What could not be written must not be tried again when the buffer is dropped.
            let _ = buffered.into_parts();
            written
        });
        let mut reader = BufReader::with_capacity(64 * 1024, reader);
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
}
