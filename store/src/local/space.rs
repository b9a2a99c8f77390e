//! Guards for free disk space: what `min-free` and `max-free` ask for.
//!
//! Off unless asked for: a collection in the middle of somebody's addition is a surprise in an embedder's process.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use crate::error::{Result, StoreError};
use crate::gc::{GcAction, GcOptions, GcResults};
use crate::local::LocalStore;
use crate::store::Store;

/// How much disk space to keep free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpaceGuard {
    /// `min-free`: garbage is collected when less is free, in bytes. 0 turns the guard off.
    pub min_free: u64,
    /// `max-free`: as much is to be free then, in bytes.
    pub max_free: u64,
    /// `min-free-check-interval`: how long nobody looks after somebody looked.
    pub interval: Duration,
}

impl Default for SpaceGuard {
    /// Off.
    fn default() -> SpaceGuard {
        SpaceGuard { min_free: 0, max_free: u64::MAX, interval: Duration::from_secs(5) }
    }
}

/// What the guard remembers.
#[derive(Debug, Default)]
pub(super) struct GuardState {
    last_look: Option<Instant>,
    free_after: Option<u64>,
}

impl LocalStore {
    /// Collects garbage if the guard of the options says that too little disk space is free. Adding paths calls this;
    /// whoever fills the disk in another way, as a build does, calls it now and then. Returns what was collected.
    ///
    /// # Errors
    /// When the free space can't be found out; as [`Store::collect_garbage`].
    pub fn collect_if_space_is_low(&self) -> Result<Option<GcResults>> {
        let guard = &self.options.space_guard;
        if guard.min_free == 0 || self.options.read_only {
            return Ok(None);
        }
        // Who comes while another collects waits: it needs the space as well.
        let mut state = self.guard_state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.last_look.is_some_and(|last| last.elapsed() < guard.interval) {
            return Ok(None);
        }
        let free = self.free_space()?;
        state.last_look = Some(Instant::now());
        // A collection that found little would find little again.
        let is_news = state.free_after.is_none_or(|after| free <= after / 100 * 97);
        if free >= guard.min_free || free >= guard.max_free || !is_news {
            return Ok(None);
        }
        let mut options = GcOptions::new(GcAction::DeleteDead);
        options.max_freed = guard.max_free.saturating_sub(free);
        let results = self.collect_garbage(&options, &mut |_| {})?;
        state.last_look = Some(Instant::now());
        state.free_after = Some(self.free_space()?);
        Ok(Some(results))
    }

    /// Returns how many bytes the file system of the store has left.
    fn free_space(&self) -> Result<u64> {
        // Tests of the reference pretend that the disk is full by a file that holds the number.
        if let Some(file) = std::env::var_os("_NIX_TEST_FREE_SPACE_FILE")
            && let Ok(text) = std::fs::read_to_string(file)
            && let Ok(free) = text.trim().parse()
        {
            return Ok(free);
        }
        let stat = rustix::fs::fstatvfs(&self.store_fd)
            .map_err(|error| StoreError::io("asking for free space of", &self.layout.real_store_dir, error))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}
