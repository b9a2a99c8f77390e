//! Substituters: the stores that are asked for what would have to be built otherwise.
//!
//! They are asked in the order of their priority, about many paths at once. One that does not answer is left alone for a
//! minute, and its failure is told once: nobody's build fails because a cache is down. What is not signed by somebody
//! trusted is passed over before anything is downloaded.
//!
//! The surprising thing: what a substituter offers counts only with everything it refers to. [`Substituters::plan`]
//! returns offers that are complete, and apart from them the paths that nobody has.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::binary_cache::BinaryCache;
use crate::content_address::ContentAddress;
use crate::copy::{self, CopyObserver, CopyOptions};
use crate::error::{Result, StoreError};
use crate::local::LocalStore;
use crate::path::StorePath;
use crate::path_info::PathInfo;
use crate::store::Store;
use crate::transfer::Interrupt;

mod questions;

/// How long a substituter is left alone that did not answer.
const PAUSE: Duration = Duration::from_secs(60);

/// A store that may have what is wanted.
#[derive(Clone)]
pub struct Substituter {
    store: Arc<dyn Store>,
    cache: Option<Arc<BinaryCache>>,
    priority: i64,
    is_trusted: bool,
}

impl Substituter {
    /// A store. It is asked after those with lower priority.
    pub fn new(store: Arc<dyn Store>, priority: i64) -> Substituter {
        Substituter { store, cache: None, priority, is_trusted: false }
    }

    /// A binary cache with its own priority.
    pub fn cache(cache: Arc<BinaryCache>) -> Substituter {
        let priority = cache.priority();
        Substituter { store: Arc::clone(&cache) as Arc<dyn Store>, cache: Some(cache), priority, is_trusted: false }
    }

    /// Believes it without signatures (`trusted` in its address).
    #[must_use]
    pub fn trusted(self, is_trusted: bool) -> Substituter {
        Substituter { is_trusted, ..self }
    }

    /// Returns the store.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Returns whether it may be asked about many paths that nobody needs right now.
    pub fn wants_mass_query(&self) -> bool {
        self.cache.as_ref().is_some_and(|cache| cache.wants_mass_query())
    }

    /// Returns what it has of these paths, with the number of bytes that have to be downloaded, 0 if unknown.
    fn query(&self, paths: &[StorePath]) -> Result<Vec<Option<(PathInfo, u64)>>> {
        Ok(match &self.cache {
            Some(cache) => {
                let narinfos = cache.query_narinfos(paths)?.into_iter();
                narinfos.map(|narinfo| narinfo.map(|narinfo| (narinfo.path_info.clone(), narinfo.file_size))).collect()
            }
            None => self.store.query_path_infos(paths)?.into_iter().map(|info| info.map(|info| (info, 0))).collect(),
        })
    }
}

/// Opens a substituter when it is first needed.
pub type OpenSubstituter = Box<dyn Fn() -> Result<Substituter> + Send + Sync>;

/// Gets told what users should know.
pub trait SubstituterObserver: Send + Sync {
    /// A substituter did not answer, or not with sense, and others are asked instead. It is left alone for a while if
    /// there is a `pause`.
    fn failed(&self, address: &str, error: &StoreError, pause: Option<Duration>) {
        let _ = (address, error, pause);
    }

    /// A substitute is passed over because nobody trusted has signed it.
    fn unsigned(&self, address: &str, path: &StorePath) {
        let _ = (address, path);
    }

    /// A path is being fetched.
    fn fetching(&self, address: &str, info: &PathInfo) {
        let _ = (address, info);
    }

    /// So many bytes of a path's NAR have come.
    fn progress(&self, info: &PathInfo, n_bytes: u64) {
        let _ = (info, n_bytes);
    }

    /// A path has been fetched, or not.
    fn finished(&self, path: &StorePath, error: Option<&StoreError>) {
        let _ = (path, error);
    }
}

/// Watches nothing.
impl SubstituterObserver for () {}

/// Content addresses of paths, as far as somebody knows them.
pub type ContentAddresses = BTreeMap<StorePath, ContentAddress>;

/// What is offered for a path.
#[derive(Clone, Debug)]
pub struct Offer {
    /// What is known about it.
    pub info: PathInfo,
    /// Bytes to download, 0 if unknown.
    pub download_size: u64,
}

/// What can be fetched.
#[derive(Clone, Debug, Default)]
pub struct SubstitutionPlan {
    /// What will be fetched, with all that it refers to and that is not valid yet.
    pub offers: BTreeMap<StorePath, Offer>,
    /// Paths that offered ones refer to and that nobody has. What needs them is not among the offers.
    pub unavailable: BTreeSet<StorePath>,
}

/// Why something was not fetched.
#[derive(Debug)]
pub struct SubstitutionFailure {
    /// What the last substituter gave.
    pub error: StoreError,
    /// Whether it is merely not there any more, which is as if it had never been offered.
    pub is_gone: bool,
}

/// See the module.
pub struct Substituters {
    open: Vec<(String, OpenSubstituter)>,
    opened: OnceLock<Vec<Opened>>,
    observer: Arc<dyn SubstituterObserver>,
    interrupt: Interrupt,
    n_parallel: usize,
}

struct Opened {
    address: String,
    substituter: Substituter,
    paused_until: Mutex<Option<Instant>>,
}

impl Substituters {
    /// Returns the substituters of these addresses; nothing is opened yet.
    pub fn new(
        open: Vec<(String, OpenSubstituter)>,
        observer: Arc<dyn SubstituterObserver>,
        interrupt: Interrupt,
    ) -> Substituters {
        Substituters { open, opened: OnceLock::new(), observer, interrupt, n_parallel: 16 }
    }

    /// Sets how many paths are fetched at the same time (`max-substitution-jobs`).
    #[must_use]
    pub fn n_parallel(self, n_parallel: usize) -> Substituters {
        Substituters { n_parallel: n_parallel.max(1), ..self }
    }

    /// Returns how many paths are fetched at the same time.
    pub fn max_parallel(&self) -> usize {
        self.n_parallel
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Returns those that could be opened, the first to be asked first.
    pub fn all(&self) -> impl Iterator<Item = &Substituter> {
        self.opened().iter().map(|opened| &opened.substituter)
    }

    fn opened(&self) -> &[Opened] {
        self.opened.get_or_init(|| {
            let mut opened = Vec::with_capacity(self.open.len());
            for (address, open) in &self.open {
                match open() {
                    Ok(substituter) => {
                        let paused_until = Mutex::new(None);
                        opened.push(Opened { address: substituter.store.address(), substituter, paused_until });
                    }
                    Err(error) => self.observer.failed(address, &error, None),
                }
            }
            opened.sort_by_key(|opened| opened.substituter.priority);
            opened
        })
    }

    /// Calls `ask` with those that are not left alone. What one can't answer the next is asked.
    fn each(&self, mut ask: impl FnMut(&Opened) -> Result<bool>) {
        for opened in self.opened() {
            if self.interrupt.is_interrupted() || opened.is_paused() {
                continue;
            }
            match ask(opened) {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => self.blame(opened, &error),
            }
        }
    }

    fn blame(&self, opened: &Opened, error: &StoreError) {
        let pause = matches!(error, StoreError::Transfer(error) if error.kind == crate::transfer::TransferErrorKind::Transient);
        if pause {
            *opened.paused_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + PAUSE);
        }
        self.observer.failed(&opened.address, error, pause.then_some(PAUSE));
    }

    /// Finds out what can be fetched of these paths, which are not valid, with all that they refer to.
    ///
    /// # Errors
    /// When `store` can't be read.
    pub fn plan(&self, store: &LocalStore, wanted: &[StorePath]) -> Result<SubstitutionPlan> {
        self.plan_addressed(store, wanted, &ContentAddresses::new())
    }

    /// As [`Substituters::plan`], where the content addresses of some paths are known: such a path can come from a store
    /// in another directory too.
    ///
    /// # Errors
    /// When `store` can't be read.
    pub fn plan_addressed(
        &self,
        store: &LocalStore,
        wanted: &[StorePath],
        addresses: &ContentAddresses,
    ) -> Result<SubstitutionPlan> {
        let mut offers: BTreeMap<StorePath, Offer> = BTreeMap::new();
        let mut unavailable = BTreeSet::new();
        let mut seen: BTreeSet<StorePath> = wanted.iter().cloned().collect();
        let mut level: Vec<StorePath> = seen.iter().cloned().collect();
        let mut is_first = true;
        while !level.is_empty() {
            if self.interrupt.is_interrupted() {
                return Err(StoreError::Interrupted);
            }
            let mut found = self.query(store, &level, addresses);
            let mut next = Vec::new();
            for path in level {
                match found.remove(&path) {
                    Some(offer) => {
                        next.extend(offer.info.references.iter().filter(|path| seen.insert((*path).clone())).cloned());
                        offers.insert(path, offer);
                    }
                    None if is_first => {}
                    None => drop(unavailable.insert(path)),
                }
            }
            is_first = false;
            store.add_temp_roots(&next)?;
            let valid = store.are_valid(&next)?;
            level = next.into_iter().zip(valid).filter(|(_, valid)| !valid).map(|(path, _)| path).collect();
        }
        retain_complete(store, &mut offers, wanted)?;
        Ok(SubstitutionPlan { offers, unavailable })
    }

    /// Fetches what a plan offers, several paths at a time, references first. Returns what was not fetched and why.
    ///
    /// # Errors
    /// [`StoreError::Interrupted`].
    pub fn fetch(
        &self,
        store: &LocalStore,
        plan: &SubstitutionPlan,
        observer: &dyn SubstituterObserver,
    ) -> Result<BTreeMap<StorePath, SubstitutionFailure>> {
        let offers: Vec<&Offer> = plan.offers.values().collect();
        let index: HashMap<&StorePath, usize> = offers.iter().map(|offer| &offer.info.path).zip(0..).collect();
        let dependencies: Vec<Vec<usize>> = offers
            .iter()
            .map(|offer| {
                let others = offer.info.references.iter().filter(|path| **path != offer.info.path);
                others.filter_map(|path| index.get(path).copied()).collect()
            })
            .collect();
        let failures: Mutex<BTreeMap<StorePath, SubstitutionFailure>> = Mutex::default();
        crate::parallel::in_order(&dependencies, self.n_parallel, &|idx| {
            if self.interrupt.is_interrupted() {
                return Err(StoreError::Interrupted);
            }
            let path = &offers[idx].info.path;
            let lock = || failures.lock().unwrap_or_else(PoisonError::into_inner);
            let broken = {
                let failures = lock();
                let mut of_references = dependencies[idx].iter().filter_map(|idx| failures.get(&offers[*idx].info.path));
                of_references.next().map(|failure| failure.is_gone)
            };
            let result = match broken {
                Some(is_gone) => {
                    let path = store.store_dir().display(path);
                    Err(SubstitutionFailure { error: StoreError::BrokenReferences { path }, is_gone })
                }
                None => self.fetch_path(store, &offers[idx].info, observer, &Interrupt::default()),
            };
            match result {
                Err(SubstitutionFailure { error: StoreError::Interrupted, .. }) => return Err(StoreError::Interrupted),
                Err(failure) => {
                    observer.finished(path, Some(&failure.error));
                    lock().insert(path.clone(), failure);
                }
                Ok(()) => observer.finished(path, None),
            }
            Ok(())
        })?;
        Ok(failures.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// Fetches one path of a plan's offers, whose references are valid, from the first that can give it; `interrupt` stops only this.
    /// `observer` is not told that it has finished.
    ///
    /// # Errors
    /// Why the last one could not give it.
    pub fn fetch_path(
        &self,
        store: &LocalStore,
        offered: &PathInfo,
        observer: &dyn SubstituterObserver,
        interrupt: &Interrupt,
    ) -> Result<(), SubstitutionFailure> {
        let path = &offered.path;
        let (all, this) = (self.interrupt.clone(), interrupt.clone());
        let interrupt = Interrupt::new(move || all.is_interrupted() || this.is_interrupted());
        let mut failure: Option<SubstitutionFailure> = None;
        let mut is_done = false;
        self.each(|opened| {
            let there_dir = opened.substituter.store.store_dir();
            let Some(there) = questions::name_there(store.store_dir(), there_dir, path, offered.content_address.as_ref()) else {
                return Ok(true);
            };
            let Some((mut info, _)) = opened.substituter.query(std::slice::from_ref(&there))?.pop().flatten() else {
                return Ok(true);
            };
            info.path = path.clone();
            if !opened.substituter.is_trusted && !store.accepts(&info) {
                return Ok(true);
            }
            if let Some(SubstitutionFailure { error, .. }) = failure.take() {
                // There is somebody else to ask.
                self.observer.failed(&opened.address, &error, None);
            }
            observer.fetching(&opened.address, &info);
            let options = CopyOptions {
                check_signatures: !opened.substituter.is_trusted,
                interrupt: interrupt.clone(),
                ..CopyOptions::default()
            };
            let watch = Watch(observer);
            match copy::copy(&*opened.substituter.store, store, &[there].into(), &options, &watch) {
                Ok(_) => {
                    is_done = true;
                    Ok(false)
                }
                Err(error) => {
                    let is_gone = matches!(error, StoreError::Gone { .. });
                    failure = Some(SubstitutionFailure { error, is_gone });
                    Ok(!interrupt.is_interrupted())
                }
            }
        });
        if is_done {
            return Ok(());
        }
        if interrupt.is_interrupted() {
            return Err(SubstitutionFailure { error: StoreError::Interrupted, is_gone: false });
        }
        Err(failure.unwrap_or_else(|| SubstitutionFailure {
            error: StoreError::NoSubstitute { path: store.store_dir().display(path) },
            is_gone: true,
        }))
    }
}

impl std::fmt::Debug for Substituters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.open.iter().map(|(address, _)| address)).finish()
    }
}

impl SubstitutionPlan {
    /// Returns the number of bytes to download as far as they are known, and of those that the NARs have.
    pub fn sizes(&self) -> (u64, u64) {
        let sum = |size: fn(&Offer) -> u64| self.offers.values().fold(0, |sum: u64, offer| sum.saturating_add(size(offer)));
        (sum(|offer| offer.download_size), sum(|offer| offer.info.nar_size))
    }

    /// Takes from another plan what these paths need.
    pub fn take(&mut self, other: &SubstitutionPlan, paths: &[StorePath]) {
        let mut stack: Vec<&StorePath> = paths.iter().collect();
        while let Some(path) = stack.pop() {
            if let Some(offer) = other.offers.get(path)
                && !self.offers.contains_key(path)
            {
                self.offers.insert(path.clone(), offer.clone());
                stack.extend(&offer.info.references);
            }
        }
    }
}

impl Opened {
    fn is_paused(&self) -> bool {
        self.paused_until.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|until| Instant::now() < until)
    }
}

struct Watch<'w>(&'w dyn SubstituterObserver);

impl CopyObserver for Watch<'_> {
    fn progress(&self, info: &PathInfo, n_bytes: u64) {
        self.0.progress(info, n_bytes);
    }
}

/// Keeps what is complete with all that it refers to, and of that what `wanted` needs.
fn retain_complete(store: &LocalStore, offers: &mut BTreeMap<StorePath, Offer>, wanted: &[StorePath]) -> Result<()> {
    // From a path to those that refer to it; where one is missing all that leads to it goes.
    let mut referrers: HashMap<&StorePath, Vec<&StorePath>> = HashMap::new();
    let mut absent: BTreeSet<&StorePath> = BTreeSet::new();
    for (path, offer) in offers.iter() {
        for reference in offer.info.references.iter().filter(|reference| *reference != path) {
            referrers.entry(reference).or_default().push(path);
            if !offers.contains_key(reference) {
                absent.insert(reference);
            }
        }
    }
    let absent: Vec<StorePath> = absent.into_iter().cloned().collect();
    let valid = store.are_valid(&absent)?;
    let mut stack: Vec<&StorePath> = absent.iter().zip(valid).filter(|(_, valid)| !valid).map(|(path, _)| path).collect();
    let mut incomplete: BTreeSet<StorePath> = BTreeSet::new();
    while let Some(path) = stack.pop() {
        for referrer in referrers.get(path).into_iter().flatten() {
            if incomplete.insert((*referrer).clone()) {
                stack.push(referrer);
            }
        }
    }
    let mut needed: BTreeSet<StorePath> = BTreeSet::new();
    let mut stack: Vec<&StorePath> = wanted.iter().collect();
    while let Some(path) = stack.pop() {
        if let Some(offer) = offers.get(path)
            && !incomplete.contains(path)
            && needed.insert(path.clone())
        {
            stack.extend(&offer.info.references);
        }
    }
    offers.retain(|path, _| needed.contains(path));
    Ok(())
}

#[cfg(test)]
mod tests;
