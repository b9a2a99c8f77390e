//! Where a local store keeps what, and making a new one.
//!
//! A store can be rooted in any directory: then everything lies below it, while its paths keep saying `/nix/store`.

use std::fs::{DirBuilder, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::error::{IoContext, Result, StoreError};
use crate::local::LocalStoreOptions;
use crate::path::StoreDir;

/// The directories of a local store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The directory that paths name.
    pub store_dir: StoreDir,
    /// The directory where the files are.
    pub real_store_dir: PathBuf,
    /// Database, roots and locks: `/nix/var/nix`.
    pub state_dir: PathBuf,
    /// Logs: `/nix/var/log/nix`.
    pub log_dir: PathBuf,
}

impl Layout {
    /// Computes the directories that options ask for.
    ///
    /// Symbolic links on the way to a root are resolved, and only there allowed: which directory a user takes for a
    /// root is the user's business, what lies in it is the store's.
    pub(crate) fn new(options: &LocalStoreOptions) -> Result<Layout> {
        let root = match &options.root {
            Some(root) => {
                if !options.read_only {
                    make_dirs(root)?;
                }
                Some(root.canonicalize().at("opening", root)?)
            }
            None => None,
        };
        let root = root.as_deref();
        let below = |path: &str| match root {
            Some(root) => root.join(path.trim_start_matches('/')),
            None => PathBuf::from(path),
        };
        let given = |path: &Option<PathBuf>, otherwise: PathBuf| -> Result<PathBuf> {
            let path = path.clone().unwrap_or(otherwise);
            std::path::absolute(&path).at("resolving", &path)
        };
        let real = match root {
            // The reference puts the files below `nix/store` whatever the paths are called.
            Some(root) => root.join("nix/store"),
            None => PathBuf::from(options.store_dir.as_str()),
        };
        Ok(Layout {
            store_dir: options.store_dir.clone(),
            real_store_dir: given(&options.real_store_dir, real)?,
            state_dir: given(&options.state_dir, below("/nix/var/nix"))?,
            log_dir: given(&options.log_dir, below("/nix/var/log/nix"))?,
        })
    }

    /// `db`: the database and its lock.
    pub(crate) fn db_dir(&self) -> PathBuf {
        self.state_dir.join("db")
    }

    /// `.links` in the store: one hard link per distinct file.
    pub(crate) fn links_dir(&self) -> PathBuf {
        self.real_store_dir.join(".links")
    }

    /// Whether files lie elsewhere than paths say.
    pub fn is_rooted(&self) -> bool {
        self.real_store_dir != Path::new(self.store_dir.as_str())
    }

    /// Makes directories that are missing.
    pub(crate) fn make_directories(&self) -> Result<()> {
        let state = |name: &str| self.state_dir.join(name);
        for dir in [
            self.real_store_dir.clone(),
            self.links_dir(),
            state("profiles"),
            state("temproots"),
            state("db"),
            state("gcroots"),
        ] {
            make_dirs(&dir)?;
        }
        // Users make their own directories in these; nobody else may write there.
        for dir in [state("profiles/per-user"), state("gcroots/per-user")] {
            make_dirs(&dir)?;
            let mode = dir.metadata().at("reading the status of", &dir)?.permissions().mode();
            if mode & 0o777 != 0o755 {
                std::fs::set_permissions(&dir, PermissionsExt::from_mode(0o755)).at("changing the mode of", &dir)?;
            }
        }
        Ok(())
    }

    /// Refuses a store directory that is a symbolic link or below one: it could be exchanged.
    pub(crate) fn refuse_symlinks(&self) -> Result<()> {
        for dir in self.real_store_dir.ancestors() {
            match dir.symlink_metadata() {
                Ok(metadata) if metadata.is_symlink() => {
                    return Err(StoreError::SymlinkedStore { path: dir.to_owned() });
                }
                Ok(_) => {}
                Err(error) => return Err(StoreError::io("reading the status of", dir, error)),
            }
        }
        Ok(())
    }

    /// Keeps disk space that a collection on a full disk can free for the database. Failures don't matter.
    pub(crate) fn reserve_space(&self, size: u64) {
        let path = self.db_dir().join("reserved");
        if path.metadata().is_ok_and(|metadata| metadata.len() == size) {
            return;
        }
        use std::os::unix::fs::OpenOptionsExt;
        let file = File::options().write(true).create(true).truncate(false).mode(0o600).open(&path);
        if let Ok(file) = file {
            if size > 0 {
                let _ = rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, size);
            }
            let _ = file.set_len(size);
        }
    }

    /// Reads `db/schema`; 0 if there is none.
    pub(crate) fn schema_version(&self) -> Result<u32> {
        let path = self.db_dir().join("schema");
        match std::fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().map_err(|error| {
                StoreError::io("reading", &path, std::io::Error::new(ErrorKind::InvalidData, error))
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
            Err(error) => Err(StoreError::io("reading", &path, error)),
        }
    }

    /// Writes `db/schema`, which says that the database is complete.
    pub(crate) fn write_schema_version(&self, version: u32) -> Result<()> {
        let path = self.db_dir().join("schema");
        let write = || {
            // Others may be making the same store; the name is ours alone.
            let mut file = tempfile::Builder::new().prefix(".schema-").tempfile_in(self.db_dir())?;
            file.write_all(version.to_string().as_bytes())?;
            file.as_file().set_permissions(PermissionsExt::from_mode(0o644))?;
            file.as_file().sync_all()?;
            file.persist(&path).map_err(|error| error.error).map(drop)
        };
        write().at("writing", &path)
    }
}

/// Makes a directory and its parents, which may be there already.
pub(crate) fn make_dirs(path: &Path) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o777).create(path).at("creating directory", path)
}
