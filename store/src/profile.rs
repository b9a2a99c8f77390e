//! Profiles and their generations.
//!
//! A profile is a symbolic link `<p>` to one of its generations `<p>-<n>-link`, each of which is a link to a store path
//! and a root. The surprising thing: a generation that would repeat the last one is not made, so that installing the
//! same thing again and again leaves nothing behind.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::error::{IoContext, Result, StoreError};
use crate::gc::roots::replace_symlink;
use crate::local::locks::PathLocks;
use crate::path::StorePath;
use crate::store::Store;

/// A generation of a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    /// Its number.
    pub number: u64,
    /// Its link.
    pub link: PathBuf,
    /// When it was made, in seconds since 1970.
    pub created: i64,
}

/// The generations of a profile, oldest first, and which one it is at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Generations {
    /// All, by number.
    pub all: Vec<Generation>,
    /// The number of the current one; `None` if the profile points elsewhere or is not there.
    pub current: Option<u64>,
}

/// Which old generations to delete. The current one always stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Old {
    /// All.
    All,
    /// Those with these numbers.
    Numbers(BTreeSet<u64>),
    /// Those that had been replaced at this time already, in seconds since 1970: what was current then stays.
    Before(i64),
    /// All but the current one and this number less one of those before it. Later ones stay.
    AllBut(u64),
}

/// A profile, by its link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    link: PathBuf,
}

impl Profile {
    /// The profile with this link, which need not exist.
    ///
    /// # Errors
    /// When the path can't be made absolute or names no file.
    pub fn new(link: &Path) -> Result<Profile> {
        let link = std::path::absolute(link).at("resolving", link)?;
        if link.file_name().is_none() {
            return Err(StoreError::io("opening profile", link, std::io::Error::from(std::io::ErrorKind::InvalidInput)));
        }
        Ok(Profile { link })
    }

    /// Returns the link.
    pub fn link(&self) -> &Path {
        &self.link
    }

    /// Keeps others from changing the profile until the value is dropped.
    ///
    /// # Errors
    /// When the lock can't be made.
    pub fn lock(&self) -> Result<PathLocks> {
        PathLocks::lock(&BTreeSet::from([self.link.clone()]))
    }

    /// Returns what the link points to, to see later whether somebody changed the profile meanwhile.
    pub fn state(&self) -> Option<PathBuf> {
        std::fs::read_link(&self.link).ok()
    }

    fn generation_link(&self, number: u64) -> PathBuf {
        let mut link = self.link.clone().into_os_string();
        link.push(format!("-{number}-link"));
        link.into()
    }

    fn number_of(&self, link: &Path) -> Option<u64> {
        let name = self.link.file_name()?.to_str()?;
        let rest = link.file_name()?.to_str()?.strip_prefix(name)?.strip_prefix('-')?;
        rest.split_once("-link")?.0.parse().ok()
    }

    /// Returns the generations.
    ///
    /// # Errors
    /// When the directory can't be read.
    pub fn generations(&self) -> Result<Generations> {
        let dir = self.link.parent().expect("a link lies in a directory");
        let mut all = Vec::new();
        let entries = match std::fs::read_dir(dir) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Generations::default()),
            entries => entries.at("reading directory", dir)?,
        };
        for entry in entries {
            let link = entry.at("reading directory", dir)?.path();
            let Some(number) = self.number_of(&link) else { continue };
            let metadata = match link.symlink_metadata() {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                metadata => metadata.at("reading the status of", &link)?,
            };
            all.push(Generation { number, created: metadata.mtime(), link });
        }
        all.sort_by_key(|generation| generation.number);
        Ok(Generations { all, current: self.state().and_then(|target| self.number_of(&target)) })
    }

    /// Makes a generation of this path, unless it is what the last one is, and switches to it. Returns its number.
    ///
    /// # Errors
    /// When the links can't be made.
    pub fn add_generation(&self, store: &dyn Store, path: &StorePath) -> Result<u64> {
        let last = self.generations()?.all.pop();
        let names = [Some(PathBuf::from(store.store_dir().display(path))), store.real_path(path)];
        let number = match last {
            Some(last) if names.contains(&std::fs::read_link(&last.link).ok()) => last.number,
            last => {
                let number = last.map_or(0, |last| last.number) + 1;
                store.add_permanent_root(path, &self.generation_link(number))?;
                number
            }
        };
        self.point_to(number)?;
        Ok(number)
    }

    fn point_to(&self, number: u64) -> Result<()> {
        let generation = self.generation_link(number);
        replace_symlink(Path::new(generation.file_name().expect("it has a name")), &self.link)
    }

    /// Switches to the generation with this number, or to the one before the current one. Returns the numbers before
    /// and after. With `dry_run` nothing is changed.
    ///
    /// # Errors
    /// [`StoreError::NoGeneration`], or when the link can't be made.
    pub fn switch(&self, to: Option<u64>, dry_run: bool) -> Result<(u64, u64)> {
        let _lock = self.lock()?;
        let Generations { all, current } = self.generations()?;
        let wanted = all.iter().rev().find(|generation| match to {
            Some(number) => generation.number == number,
            None => current.is_some_and(|current| generation.number < current),
        });
        let profile = self.link.clone();
        let Some(wanted) = wanted else { return Err(StoreError::NoGeneration { profile, number: to.or(current), older: to.is_none() }) };
        if !dry_run {
            self.point_to(wanted.number)?;
        }
        Ok((current.unwrap_or(0), wanted.number))
    }

    /// Deletes old generations; `deleting` hears of the number of each before. With `dry_run` nothing is changed.
    ///
    /// # Errors
    /// [`StoreError::CurrentGeneration`] when the current one is among the numbers, or when links can't be removed.
    pub fn delete_generations(&self, old: &Old, dry_run: bool, deleting: &mut dyn FnMut(u64)) -> Result<()> {
        let _lock = self.lock()?;
        let Generations { all, current } = self.generations()?;
        let newest_first = all.iter().rev();
        let doomed: Vec<&Generation> = match old {
            Old::All => all.iter().filter(|generation| Some(generation.number) != current).collect(),
            Old::Numbers(numbers) => {
                if current.is_some_and(|current| numbers.contains(&current)) {
                    return Err(StoreError::CurrentGeneration { profile: self.link.clone() });
                }
                all.iter().filter(|generation| numbers.contains(&generation.number)).collect()
            }
            Old::Before(time) => newest_first
                .skip_while(|generation| generation.created >= *time)
                .skip(1)
                .filter(|generation| Some(generation.number) != current)
                .collect(),
            Old::AllBut(kept) => newest_first
                .skip_while(|generation| Some(generation.number) != current)
                .skip(usize::try_from((*kept).max(1)).unwrap_or(usize::MAX))
                .collect(),
        };
        for generation in doomed {
            deleting(generation.number);
            if !dry_run {
                std::fs::remove_file(&generation.link).at("removing", &generation.link)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::{LocalStore, LocalStoreOptions};

    struct Fixture {
        _dir: tempfile::TempDir,
        store: LocalStore,
        profile: Profile,
    }

    impl Fixture {
        fn new() -> Fixture {
            let dir = tempfile::tempdir().unwrap();
            let store = LocalStore::open(LocalStoreOptions::rooted(dir.path().join("s"))).unwrap();
            let profile = Profile::new(&dir.path().join("p")).unwrap();
            Fixture { _dir: dir, store, profile }
        }

        fn add(&self, name: &str) -> u64 {
            let path = self.store.add_text(name, b"", &BTreeSet::new()).unwrap();
            self.profile.add_generation(&self.store, &path).unwrap()
        }

        fn numbers(&self) -> (Vec<u64>, Option<u64>) {
            let generations = self.profile.generations().unwrap();
            (generations.all.iter().map(|generation| generation.number).collect(), generations.current)
        }

        fn delete(&self, old: Old) -> Result<Vec<u64>> {
            let mut deleted = Vec::new();
            self.profile.delete_generations(&old, false, &mut |number| deleted.push(number)).map(|()| deleted)
        }
    }

    #[test]
    fn generations_are_made_switched_and_deleted() {
        let fixture = Fixture::new();
        assert_eq!(fixture.numbers(), (vec![], None));
        assert_eq!([fixture.add("a"), fixture.add("b"), fixture.add("b"), fixture.add("a")], [1, 2, 2, 3]);
        assert_eq!(fixture.numbers(), (vec![1, 2, 3], Some(3)));
        assert_eq!(fixture.profile.switch(None, false).unwrap(), (3, 2));
        assert_eq!(fixture.profile.switch(Some(1), false).unwrap(), (2, 1));
        assert!(matches!(fixture.profile.switch(None, false), Err(StoreError::NoGeneration { older: true, .. })));
        assert!(matches!(fixture.profile.switch(Some(9), false), Err(StoreError::NoGeneration { older: false, .. })));
        assert!(matches!(fixture.delete(Old::Numbers([1].into())), Err(StoreError::CurrentGeneration { .. })));
        assert_eq!(fixture.delete(Old::Numbers([2].into())).unwrap(), [2]);
        assert_eq!(fixture.delete(Old::All).unwrap(), [3]);
        assert_eq!(fixture.numbers(), (vec![1], Some(1)));
        assert_eq!(fixture.store.find_roots(&mut |_| {}).unwrap().values().flatten().filter(|place| place.contains("p-1-link")).count(), 1);
    }

    #[test]
    fn what_was_current_at_a_time_stays() {
        let fixture = Fixture::new();
        for (i, name) in ["a", "b", "c", "d"].into_iter().enumerate() {
            let number = fixture.add(name);
            let time = rustix::fs::Timespec { tv_sec: 100 * (i as i64 + 1), tv_nsec: 0 };
            let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
            let link = fixture.profile.generation_link(number);
            rustix::fs::utimensat(rustix::fs::CWD, &link, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).unwrap();
        }
        assert_eq!(fixture.delete(Old::Before(350)).unwrap(), [2, 1]);
        assert_eq!(fixture.delete(Old::Before(100)).unwrap(), [] as [u64; 0]);
        assert_eq!(fixture.delete(Old::AllBut(1)).unwrap(), [3]);
        assert_eq!(fixture.numbers(), (vec![4], Some(4)));
    }
}
