//! Logs of builds: `drvs/<2 letters>/<rest>` below the log directory, with `.bz2` behind if compressed.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use bzip2::Compression;
use bzip2::read::MultiBzDecoder;
use bzip2::write::BzEncoder;

use crate::error::{IoContext, Result, StoreError};
use crate::local::{LocalStore, make_dirs};
use crate::path::StorePath;
use crate::store::Store;

/// Returns where the log of a derivation is kept, without the `.bz2` of a compressed one.
pub fn log_path(log_dir: &Path, derivation: &StorePath) -> PathBuf {
    let base_name = derivation.base_name();
    let (start, rest) = base_name.split_at(2);
    log_dir.join("drvs").join(start).join(rest)
}

/// Reads the log of a derivation's build, or of the build that made a path, from a directory of logs.
pub(crate) fn read_log(log_dir: &Path, store: &dyn Store, path: &StorePath) -> Result<Option<Vec<u8>>> {
    let derivation = if path.is_derivation() {
        path.clone()
    } else {
        match store.query_path_info(path)?.and_then(|info| info.info.deriver) {
            Some(deriver) => deriver,
            None => return Ok(None),
        }
    };
    let plain = log_path(log_dir, &derivation);
    let mut compressed = plain.clone();
    compressed.as_mut_os_string().push(".bz2");
    let mut log = Vec::new();
    match File::open(&plain) {
        Ok(mut file) => {
            file.read_to_end(&mut log).at("reading", &plain)?;
            return Ok(Some(log));
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(StoreError::io("opening", plain, error)),
    }
    let file = match File::open(&compressed) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StoreError::io("opening", compressed, error)),
    };
    // The log of a build that was killed has no end: what is there is the log.
    match MultiBzDecoder::new(file).read_to_end(&mut log) {
        Err(error) if log.is_empty() => Err(StoreError::io("reading", compressed, error)),
        _ => Ok(Some(log)),
    }
}

impl LocalStore {
    /// See [`Store::build_log`].
    pub(super) fn read_log(&self, path: &StorePath) -> Result<Option<Vec<u8>>> {
        read_log(&self.layout.log_dir, self, path)
    }

    /// See [`Store::add_build_log`].
    pub(super) fn write_log(&self, derivation: &StorePath, log: &[u8]) -> Result<()> {
        self.writable("keeping a log")?;
        let mut path = log_path(&self.layout.log_dir, derivation);
        path.as_mut_os_string().push(".bz2");
        let dir = path.parent().expect("logs lie in directories");
        make_dirs(dir)?;
        let write = || {
            let mut file = tempfile::Builder::new().prefix(".log-").tempfile_in(dir)?;
            let mut encoder = BzEncoder::new(&mut file, Compression::best());
            encoder.write_all(log)?;
            encoder.finish()?;
            file.as_file().set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
            file.persist(&path).map_err(|error| error.error).map(drop)
        };
        write().at("writing", &path)
    }
}
