//! Copying closures from store to store.

use std::collections::BTreeSet;

use crate::closure::topologically_sorted;
use crate::error::{Result, StoreError};
use crate::path::StorePath;
use crate::store::{AddOptions, Store};

/// Copies these paths and all they refer to, as far as they are missing; each after what it refers to. Returns what was
/// copied.
///
/// # Errors
/// When a path is not valid in `from`, when the stores name their paths differently, and what reading and adding give.
/// What was copied until then stays.
pub fn copy_closure(from: &dyn Store, to: &dyn Store, paths: &[StorePath]) -> Result<Vec<StorePath>> {
    let closure = from.closure(paths)?;
    copy_paths(from, to, &closure)
}

/// Copies these paths as far as they are missing; what they refer to must be among them or valid in `to`.
///
/// # Errors
/// As [`copy_closure`].
pub fn copy_paths(from: &dyn Store, to: &dyn Store, paths: &BTreeSet<StorePath>) -> Result<Vec<StorePath>> {
    if from.store_dir() != to.store_dir() {
        return Err(StoreError::Unsupported { operation: "copying between stores with different directories" });
    }
    let all: Vec<StorePath> = paths.iter().cloned().collect();
    to.add_temp_roots(&all)?;
    let valid = to.are_valid(&all)?;
    let missing: BTreeSet<StorePath> =
        all.into_iter().zip(valid).filter_map(|(path, valid)| (!valid).then_some(path)).collect();
    let sorted = topologically_sorted(from, &missing)?;
    for (path, info) in sorted.iter().zip(from.query_path_infos(&sorted)?) {
        let mut info = info.ok_or_else(|| from.invalid(path))?;
        // Facts about the other store, not about the object.
        info.info.ultimate = false;
        info.info.registration_time = 0;
        copy_one(from, to, &info)?;
    }
    Ok(sorted)
}

fn copy_one(from: &dyn Store, to: &dyn Store, info: &crate::path_info::PathInfo) -> Result<()> {
    let pipe_error = |error| StoreError::format("copying a path", error);
    let (mut reader, mut writer) = std::io::pipe().map_err(pipe_error)?;
    std::thread::scope(|scope| {
        let reading = scope.spawn(move || {
            let mut buffered = std::io::BufWriter::with_capacity(64 * 1024, &mut writer);
            let written = from
                .write_nar(&info.path, &mut buffered)
                .and_then(|()| std::io::Write::flush(&mut buffered).map_err(pipe_error));
            // What could not be written must not be tried again when the buffer is dropped.
            let _ = buffered.into_parts();
            written
        });
        let added = to.add_nar(info, &mut reader, &AddOptions::default());
        drop(reader);
        let read = reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match (added, read) {
            (Ok(()), _) => Ok(()),
            // A source that broke off is why the archive was incomplete; a pipe that broke is not.
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
