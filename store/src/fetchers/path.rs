//! Local files and directories.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::cache::texts;
use super::{FetchError, FetchResult, Fetchers, Found, Importance, Source, add_nar, quoted};
use crate::hash::HashFormat;
use crate::input::{Attr, Input};
use crate::store::Store;

impl Fetchers {
    pub(super) fn find_path<'a>(&'a self, store: &'a dyn Store, input: &Input) -> FetchResult<(Found<'a>, Input)> {
        let mut input = input.clone();
        let text = input.text("path").unwrap_or_default();
        if !text.starts_with('/') {
            return Err(FetchError::refused(format!("cannot fetch input '{input}' because it uses a relative path")));
        }
        let text = canonical(text);
        let path = PathBuf::from(&text);
        let mut stored = store.store_dir().parse(text.as_bytes()).ok();
        let mut modified = 0;
        if let Some(object) = &stored {
            store.add_temp_roots(std::slice::from_ref(object))?;
            if object.name() != "source" || !store.is_valid(object)? {
                stored = None;
            }
        }
        let object = match stored {
            Some(object) => object,
            None => {
                self.observer.message(Importance::Talkative, &format!("copying {} to the store", quoted(&path)));
                // Whoever writes a store path means the file, wherever that is.
                let real = match store.store_dir().split_store_path(&text) {
                    Ok((object, rest)) => store.real_path(&object).map_or_else(|| path.clone(), |real| join(&real, &String::from_utf8_lossy(&rest))),
                    Err(_) => path.clone(),
                };
                modified = last_modified(&real)?;
                add_nar(store, "source", &mut |sink: &mut dyn Write| Ok(crate::fs::dump(&real, None, sink)?))?.0
            }
        };
        let hash = store.path_info(&object)?.nar_hash.format(HashFormat::Sri, true);
        let fingerprint = format!("path:{hash}");
        let key = texts([("fingerprint", &fingerprint), ("method", "nar"), ("path", "/")]);
        self.cache.upsert("sourcePathToHash", &key, &texts([("hash", &hash)]));
        // Somebody who says when it was changed is believed.
        if input.number("lastModified").is_none() {
            input.set("lastModified", Attr::Number(modified));
        }
        Ok((Found { source: Source::Stored(object), fingerprint: Some(fingerprint), shown: text }, input))
    }
}

fn join(real: &Path, rest: &str) -> PathBuf {
    let rest = rest.trim_start_matches('/');
    if rest.is_empty() { real.to_owned() } else { real.join(rest) }
}

/// Removes `.`, `..` and double slashes from an absolute path.
fn canonical(path: &str) -> String {
    let mut components: Vec<&str> = Vec::new();
    for component in path.split('/') {
        match component {
            "" | "." => {}
            ".." => drop(components.pop()),
            name => components.push(name),
        }
    }
    format!("/{}", components.join("/"))
}

/// Returns when the youngest of all files was changed.
fn last_modified(path: &Path) -> FetchResult<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut newest = 0;
    let mut pending = vec![path.to_owned()];
    while let Some(path) = pending.pop() {
        let failed = |error| FetchError::io("reading the status of", &path, error);
        let metadata = match std::fs::symlink_metadata(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(FetchError::refused(format!("path '{}' does not exist", path.display())));
            }
            metadata => metadata.map_err(failed)?,
        };
        newest = newest.max(u64::try_from(metadata.mtime()).unwrap_or(0));
        if metadata.is_dir() {
            for entry in std::fs::read_dir(&path).map_err(failed)? {
                pending.push(entry.map_err(failed)?.path());
            }
        }
    }
    Ok(newest)
}
