//! Places on other machines: which one a build gets, and what is at hand there.
//!
//! Slots are files in `current-load` that are locked while a build has one, as the reference does, so that several
//! programs on this machine don't overload the same builder. The surprising part: nothing tells when a slot of another
//! program becomes free, so that is looked at once a second; slots of our own are waited for.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use nixlang_store::daemon::DaemonService;
use nixlang_store::path::StorePath;
use nixlang_store::store::Store;
use rustix::fs::FlockOperation;

use super::machines::Machine;
use crate::event::CancelToken;

/// How often slots of other programs are looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A machine's store, and who builds there.
pub struct RemoteStore {
    /// Its store.
    pub store: Arc<dyn Store>,
    /// What it builds with.
    pub service: Arc<dyn DaemonService>,
}

/// Opens a machine's store and connects to it. What the other side says on standard error goes to the descriptor.
pub type OpenMachine = dyn Fn(&Machine, OwnedFd) -> Result<RemoteStore, String> + Send + Sync;

/// Machines that build for this one.
pub struct RemoteBuilders {
    machines: Vec<Machine>,
    /// Those that can't be reached.
    is_down: Mutex<Vec<bool>>,
    freed: Condvar,
    current_load: PathBuf,
    substitutes: bool,
    open: Box<OpenMachine>,
}

impl std::fmt::Debug for RemoteBuilders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemoteBuilders").field("machines", &self.machines).finish_non_exhaustive()
    }
}

impl RemoteBuilders {
    /// Returns builders. `state_dir` is the store's, where slots are kept; with `substitutes` the machines fetch what they
    /// can themselves (`builders-use-substitutes`).
    pub fn new(machines: Vec<Machine>, state_dir: &Path, substitutes: bool, open: Box<OpenMachine>) -> RemoteBuilders {
        let is_down = Mutex::new(vec![false; machines.len()]);
        let current_load = state_dir.join("current-load");
        RemoteBuilders { machines, is_down, freed: Condvar::new(), current_load, substitutes, open }
    }

    /// Returns how many builds run at once at most.
    pub(crate) fn n_slots(&self) -> usize {
        self.machines.iter().map(|machine| machine.max_jobs).sum()
    }

    pub(crate) fn substitutes(&self) -> bool {
        self.substitutes
    }

    /// Takes a place for a build, or none if it should be built here: no machine fits, or none is free and it can be
    /// built here. Waits for a place otherwise.
    pub(crate) fn acquire(
        self: &Arc<Self>,
        system: &str,
        features: &BTreeSet<String>,
        can_build_here: bool,
        cancel: &CancelToken,
        warn: &dyn Fn(&str),
    ) -> std::io::Result<Option<Place>> {
        while !cancel.is_cancelled() {
            match self.try_acquire(system, features, &mut |message| warn(&message))? {
                Attempt::Place(place) => return Ok(Some(place)),
                Attempt::Busy if !can_build_here => {
                    let is_down = self.is_down.lock().unwrap_or_else(PoisonError::into_inner);
                    let _ = self.freed.wait_timeout(is_down, LOOK_AGAIN);
                }
                Attempt::Busy | Attempt::NoMachine => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Returns what is told of a build that no machine can take, nor this one: what it needs and what there is.
    pub(crate) fn lack(&self, derivation: &StorePath, system: &str, features: &BTreeSet<String>) -> String {
        let list = |words: &BTreeSet<String>| words.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let mut text = format!(
            "Failed to find a machine for remote build!\nderivation: {derivation}\nrequired (system, features): ({system}, [{}])\n\
             {} available machines:\n(systems, maxjobs, supportedFeatures, mandatoryFeatures)",
            list(features),
            self.machines.len()
        );
        for Machine { systems, max_jobs, features, mandatory_features, .. } in &self.machines {
            text += &format!("\n([{}], {max_jobs}, [{}], [{}])", list(systems), list(features), list(mandatory_features));
        }
        text
    }

    /// Takes a place for a build if there is one right now.
    pub(crate) fn try_acquire(
        self: &Arc<Self>,
        system: &str,
        features: &BTreeSet<String>,
        warn: &mut dyn FnMut(String),
    ) -> std::io::Result<Attempt> {
        std::fs::DirBuilder::new().recursive(true).mode(0o777).create(&self.current_load)?;
        loop {
            let main_lock = self.lock_file("main-lock")?;
            rustix::fs::flock(&main_lock, FlockOperation::LockExclusive)?;
            let mut fits = false;
            let mut best: Option<(usize, f64, usize, File)> = None;
            for (index, machine) in self.machines.iter().enumerate() {
                if self.is_down(index) || !machine.fits(system, features) {
                    continue;
                }
                fits = true;
                let (load, Some(slot)) = self.load(machine)? else { continue };
                let relative = load as f64 / machine.speed;
                let is_better = best.as_ref().is_none_or(|(other, other_relative, other_load, _)| {
                    let other_speed = self.machines[*other].speed;
                    relative < *other_relative
                        || relative == *other_relative
                            && (machine.speed > other_speed || machine.speed == other_speed && load < *other_load)
                });
                if is_better {
                    best = Some((index, relative, load, slot));
                }
            }
            drop(main_lock);
            let Some((index, _, _, slot)) = best else {
                return Ok(if fits { Attempt::Busy } else { Attempt::NoMachine });
            };
            let machine = &self.machines[index];
            let (said, says) = std::io::pipe()?;
            match (self.open)(machine, OwnedFd::from(says)) {
                Ok(remote) => {
                    return Ok(Attempt::Place(Place { builders: Arc::clone(self), index, remote, said, slot }));
                }
                Err(error) => {
                    drop(slot);
                    let mut text = String::new();
                    let _ = std::io::Read::read_to_string(&mut { said }, &mut text);
                    let said = if text.trim().is_empty() { String::new() } else { format!(": {}", text.trim_end()) };
                    warn(format!("cannot build on '{}': {error}{said}", machine.address()));
                    self.is_down.lock().unwrap_or_else(PoisonError::into_inner)[index] = true;
                    self.freed.notify_all();
                }
            }
        }
    }

    /// Lets one upload after the other go to a machine. Returns a lock.
    pub(crate) fn lock_uploads(&self, address: &str) -> std::io::Result<File> {
        let file = self.lock_file(&format!("{}.upload-lock", file_name(address)))?;
        rustix::fs::flock(&file, FlockOperation::LockExclusive)?;
        Ok(file)
    }

    fn is_down(&self, index: usize) -> bool {
        self.is_down.lock().unwrap_or_else(PoisonError::into_inner)[index]
    }

    fn lock_file(&self, name: &str) -> std::io::Result<File> {
        File::options().create(true).truncate(false).write(true).mode(0o600).open(self.current_load.join(name))
    }

    /// Returns how many slots of a machine are taken, and a free one.
    fn load(&self, machine: &Machine) -> std::io::Result<(usize, Option<File>)> {
        let (mut load, mut free) = (0, None);
        for slot in 0..machine.max_jobs {
            let file = self.lock_file(&format!("{}-{slot}", file_name(&machine.store)))?;
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) if free.is_none() => free = Some(file),
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => load += 1,
                Err(error) => return Err(error.into()),
            }
        }
        Ok((load, free))
    }
}

/// Returns the name of a file for an address, which may be long.
fn file_name(address: &str) -> String {
    let name = address.replace('/', "_");
    if name.len() <= 200 {
        return name;
    }
    let hash = nixlang_store::hash::Hash::digest(nixlang_store::hash::Algorithm::Md5, address.as_bytes());
    hash.format(nixlang_store::hash::HashFormat::Base16, false)
}

/// What came of asking for a place.
pub(crate) enum Attempt {
    /// It is there.
    Place(Place),
    /// All machines that fit are at work.
    Busy,
    /// No machine fits, or none that does can be reached.
    NoMachine,
}

/// A slot on a machine, with a connection to it.
pub(crate) struct Place {
    builders: Arc<RemoteBuilders>,
    index: usize,
    pub(crate) remote: RemoteStore,
    /// What the other side writes to standard error.
    pub(crate) said: std::io::PipeReader,
    /// Held until the build is done.
    pub(crate) slot: File,
}

impl Place {
    pub(crate) fn machine(&self) -> &Machine {
        &self.builders.machines[self.index]
    }

    pub(crate) fn builders(&self) -> &Arc<RemoteBuilders> {
        &self.builders
    }
}

/// Wakes up who waits for a slot, once it is free.
pub(crate) fn wake(builders: &RemoteBuilders) {
    builders.freed.notify_all();
}
