//! Roots of running processes: what they execute, have open or mapped, or name in their environment.
//!
//! Processes come and go while this reads, and others' files may not be readable; what can't be read is passed over.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::path::StorePath;

/// Finds store paths in use by processes, with the files of `/proc` that say so. They need not be valid.
///
/// `prefixes` are the directories, without trailing slash, that a store path may begin with.
pub(crate) fn find(prefixes: &[&[u8]]) -> BTreeMap<StorePath, BTreeSet<String>> {
    let mut found = Found { prefixes, roots: BTreeMap::new() };
    let Ok(processes) = std::fs::read_dir("/proc") else { return found.roots };
    for process in processes.flatten() {
        let name = process.file_name();
        if !name.as_bytes().iter().all(u8::is_ascii_digit) {
            continue;
        }
        let dir = process.path();
        found.link(dir.join("exe"));
        found.link(dir.join("cwd"));
        if let Ok(descriptors) = std::fs::read_dir(dir.join("fd")) {
            descriptors.flatten().for_each(|descriptor| found.link(descriptor.path()));
        }
        for file in ["maps", "environ"] {
            found.text(dir.join(file));
        }
    }
    for file in ["modprobe", "fbsplash", "poweroff_cmd"] {
        found.text(Path::new("/proc/sys/kernel").join(file));
    }
    found.roots
}

struct Found<'p> {
    prefixes: &'p [&'p [u8]],
    roots: BTreeMap<StorePath, BTreeSet<String>>,
}

impl Found<'_> {
    fn link(&mut self, file: PathBuf) {
        if let Ok(target) = std::fs::read_link(&file) {
            for prefix in self.prefixes {
                if let Some(below) = target.as_os_str().as_bytes().strip_prefix(*prefix)
                    && let Some(b'/') = below.first()
                {
                    self.add(&below[1..], &file);
                }
            }
        }
    }

    /// Takes every store path that stands anywhere in a file.
    fn text(&mut self, file: PathBuf) {
        let Ok(text) = std::fs::read(&file) else { return };
        for prefix in self.prefixes {
            for start in memchr::memmem::find_iter(&text, prefix) {
                if let Some((b'/', below)) = text[start + prefix.len()..].split_first() {
                    self.add(below, &file);
                }
            }
        }
    }

    fn add(&mut self, below: &[u8], file: &Path) {
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-._?=".contains(byte);
        let length = below.iter().position(|byte| !is_name(byte)).unwrap_or(below.len());
        if let Ok(path) = StorePath::from_base_name(&below[..length]) {
            self.roots.entry(path).or_default().insert(file.to_string_lossy().into_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_file_of_this_process_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let name = "vxjiwkjkn7x4079qvh1jkl5pn05j2aw0-foo";
        std::fs::create_dir(dir.path().join(name)).unwrap();
        let open = std::fs::File::create(dir.path().join(name).join("file")).unwrap();
        let roots = find(&[dir.path().as_os_str().as_bytes()]);
        let path = StorePath::from_base_name(name).unwrap();
        assert!(roots[&path].iter().any(|file| file.contains("/fd/")), "{roots:?}");
        drop(open);
        assert!(!find(&[dir.path().as_os_str().as_bytes()]).contains_key(&path));
    }
}
