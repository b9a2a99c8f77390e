//! Garbage collection: what nothing keeps alive goes.
//!
//! The whole reference graph is read at once and marked from the roots; then dead paths are deleted in small groups,
//! those that refer before what they refer to, each group's rows in one transaction and before its files. A path is
//! valid as long as its row is there, so a collection that is killed leaves files without rows and nothing worse.
//!
//! Others go on working meanwhile. They can't register anything that refers to a deleted path (the database refuses),
//! and they tell the collection through a socket what they are about to use: see [`temp_roots`] for their side and
//! [`server`] for ours.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::OsString;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use crate::error::{IoContext, Result, StoreError};
use crate::local::LocalStore;
use crate::local::index::Graph;
use crate::local::locks::{LockMode, lock, open_lock_file, try_lock};
use crate::path::StorePath;
use crate::store::Store;

pub use crate::store::{GcAction, GcOptions, GcResults};

pub mod roots;
mod runtime;
mod server;
pub(crate) mod temp_roots;

use server::RootsServer;

/// How many paths are deleted between two looks at new roots.
const GROUP: usize = 100;

impl LocalStore {
    /// See [`Store::collect_garbage`].
    pub(crate) fn collect(&self, options: &GcOptions, deleting: &mut dyn FnMut(&str)) -> Result<GcResults> {
        self.writable("collecting garbage")?;
        let deletes = matches!(options.action, GcAction::DeleteDead | GcAction::DeletePaths { .. });
        if deletes {
            // The space that was kept for this moment: SQLite needs some to delete.
            let _ = std::fs::remove_file(self.layout().db_dir().join("reserved"));
        }
        let lock_path = self.layout().state_dir.join("gc.lock");
        let lock_file = open_lock_file(&lock_path)?;
        lock(&lock_file, LockMode::Exclusive, &lock_path)?;
        // For tests of others' behaviour between lock and socket, and further down after the roots are known.
        if let Some(fifo) = std::env::var_os("_NIX_TEST_GC_SYNC_1") {
            let _ = std::fs::read(fifo);
        }
        // From here to the end nobody can add a root without telling us.
        RootsServer::run(self.layout(), |server| {
            let mut collection = Collection::new(self, options, server)?;
            match &options.action {
                GcAction::ReturnLive => collection.results.paths = collection.paths_where(true),
                GcAction::ReturnDead => collection.results.paths = collection.all_dead()?,
                GcAction::DeleteDead => collection.delete_dead(deleting)?,
                GcAction::DeletePaths { paths, skip_live, also_referrers, .. } => {
                    let mut paths = paths.clone();
                    if *also_referrers {
                        collection.add_referrers(&mut paths);
                    }
                    if *skip_live {
                        paths = collection.deletable(&paths);
                    }
                    collection.delete_paths(&paths, deleting)?;
                }
            }
            if deletes {
                collection.delete_unused_links()?;
                self.remount_if_needed()?;
            }
            Ok(collection.results)
        })
    }
}

struct Collection<'s> {
    store: &'s LocalStore,
    options: &'s GcOptions,
    server: &'s RootsServer,
    graph: Graph,
    node_of: HashMap<StorePath, u32>,
    paths: Vec<StorePath>,
    /// What keeps what alive: references, and derivers and outputs as the options say.
    edges: Edges,
    live: Vec<bool>,
    results: GcResults,
}

impl<'s> Collection<'s> {
    fn new(store: &'s LocalStore, options: &'s GcOptions, server: &'s RootsServer) -> Result<Collection<'s>> {
        let ignore_liveness = matches!(options.action, GcAction::DeletePaths { ignore_liveness: true, .. });
        let mut root_paths: BTreeSet<StorePath> = BTreeSet::new();
        if !ignore_liveness {
            root_paths.extend(roots::find_persistent(store, &mut |_| {})?.into_keys());
        }
        let temp_roots = roots::find_temporary(store.layout(), &mut |_| {})?;
        server.add_all(temp_roots.keys());
        root_paths.extend(temp_roots.into_keys());
        if let Some(fifo) = std::env::var_os("_NIX_TEST_GC_SYNC_2") {
            let _ = std::fs::read(fifo);
        }

        let graph = store.index.graph()?;
        let dir = store.store_dir();
        let paths: Vec<StorePath> =
            graph.paths.iter().map(|path| crate::local::rows::parse_path(dir, path)).collect::<Result<_>>()?;
        let node_of: HashMap<StorePath, u32> = paths.iter().cloned().zip(0..).collect();
        // Deleting a path on demand must not drag its outputs or derivers along.
        let keep_derivations = options.keep_derivations && !ignore_liveness;
        let keep_outputs = options.keep_outputs && !ignore_liveness;
        let kept = graph
            .references
            .iter()
            .chain(graph.derivers.iter().filter(|_| keep_derivations))
            .chain(graph.outputs.iter().filter(|_| keep_outputs));
        let edges = Edges::new(paths.len(), kept);
        let live = vec![false; paths.len()];
        let results = GcResults::default();
        let mut collection = Collection { store, options, server, graph, node_of, paths, edges, live, results };
        for root in &root_paths {
            if let Some(node) = collection.node_of.get(root) {
                collection.edges.mark(*node, &mut collection.live);
            }
        }
        if !ignore_liveness {
            collection.spare_by_age();
        }
        Ok(collection)
    }

    /// Keeps what is too young or was used too recently, with all that it refers to.
    fn spare_by_age(&mut self) {
        if let Some(time) = self.options.registered_before {
            for node in 0..self.paths.len() {
                if self.graph.registration_times[node] >= time {
                    self.edges.mark(node as u32, &mut self.live);
                }
            }
        }
        if let Some(time) = self.options.unused_since {
            for node in 0..self.paths.len() {
                if !self.live[node] && last_use(self.store, &self.paths[node]).is_some_and(|used| used >= time) {
                    self.edges.mark(node as u32, &mut self.live);
                }
            }
        }
    }

    /// Returns the full paths of valid paths that are alive or dead.
    fn paths_where(&self, live: bool) -> BTreeSet<String> {
        let is_live = self.live.iter().zip(&self.graph.paths);
        is_live.filter(|(is_live, _)| **is_live == live).map(|(_, path)| path.clone()).collect()
    }

    /// Returns what is dead, with left-overs that are called like store paths.
    fn all_dead(&self) -> Result<BTreeSet<String>> {
        let mut dead = self.paths_where(false);
        for name in self.left_overs()? {
            if let Some(path) = name.to_str().and_then(|name| StorePath::from_base_name(name).ok())
                && !self.server.is_root(&path)
            {
                dead.insert(self.store.store_dir().display(&path));
            }
        }
        Ok(dead)
    }

    /// Lists what is in the store directory without being valid.
    fn left_overs(&self) -> Result<Vec<OsString>> {
        let dir = self.store.own_store_dir();
        let mut names = Vec::new();
        for entry in std::fs::read_dir(dir).at("reading directory", dir)? {
            let name = entry.at("reading directory", dir)?.file_name();
            let path = name.to_str().and_then(|name| StorePath::from_base_name(name).ok());
            if name != ".links" && !path.is_some_and(|path| self.node_of.contains_key(&path)) {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn delete_dead(&mut self, deleting: &mut dyn FnMut(&str)) -> Result<()> {
        if self.options.max_freed == 0 {
            return Ok(());
        }
        let dead: Vec<u32> = (0..).zip(&self.live).filter(|(_, live)| !**live).map(|(node, _)| node).collect();
        let order = self.referrers_first(&dead);
        // Who wants little to be freed shall not lose more than that.
        let group_size = if self.options.max_freed == u64::MAX { GROUP } else { 1 };
        for group in order.chunks(group_size) {
            self.delete_group(group, deleting)?;
            if self.limit_reached() {
                return Ok(());
            }
        }
        for name in self.left_overs()? {
            self.store.go_on()?;
            self.delete_left_over(&name, deleting)?;
            if self.limit_reached() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Adds all that keeps one of these paths.
    fn add_referrers(&self, wanted: &mut BTreeSet<StorePath>) {
        let mut referrers: Vec<Vec<u32>> = vec![Vec::new(); self.paths.len()];
        for node in 0..self.paths.len() {
            for kept in self.edges.of(node) {
                referrers[*kept as usize].push(node as u32);
            }
        }
        let mut todo: Vec<u32> = wanted.iter().filter_map(|path| self.node_of.get(path).copied()).collect();
        while let Some(node) = todo.pop() {
            todo.extend(referrers[node as usize].iter().copied().filter(|referrer| wanted.insert(self.paths[*referrer as usize].clone())));
        }
    }

    /// Returns those of these paths that are neither alive nor kept by something that is not to be deleted.
    fn deletable(&self, wanted: &BTreeSet<StorePath>) -> BTreeSet<StorePath> {
        let mut kept = self.live.clone();
        for node in 0..self.paths.len() {
            if !kept[node] && !wanted.contains(&self.paths[node]) {
                self.edges.mark(node as u32, &mut kept);
            }
        }
        let is_kept = |path: &&StorePath| self.node_of.get(*path).is_some_and(|node| kept[*node as usize]);
        wanted.iter().filter(|path| !is_kept(path)).cloned().collect()
    }

    fn delete_paths(&mut self, wanted: &BTreeSet<StorePath>, deleting: &mut dyn FnMut(&str)) -> Result<()> {
        let still_alive = |path: &StorePath| StoreError::StillAlive { path: self.store.store_dir().display(path) };
        let nodes: Vec<u32> = wanted.iter().filter_map(|path| self.node_of.get(path).copied()).collect();
        for node in &nodes {
            if self.live[*node as usize] {
                return Err(still_alive(&self.paths[*node as usize]));
            }
        }
        // Dead, but in the way: those that keep a wanted one and are not wanted themselves.
        let is_wanted: HashSet<u32> = nodes.iter().copied().collect();
        for node in 0..self.paths.len() {
            for kept in self.edges.of(node) {
                if is_wanted.contains(kept) && !is_wanted.contains(&(node as u32)) && *kept as usize != node {
                    return Err(still_alive(&self.paths[*kept as usize]));
                }
            }
        }
        let order = self.referrers_first(&nodes);
        for group in order.chunks(GROUP) {
            self.delete_group(group, deleting)?;
        }
        for path in wanted {
            if !self.node_of.contains_key(path) {
                self.delete_left_over(path.base_name().as_ref(), deleting)?;
            }
        }
        // What became a root in between is not an error of ours, but was not deleted either.
        match wanted.iter().find(|path| self.node_of.get(*path).is_some_and(|node| self.live[*node as usize])) {
            Some(path) => Err(StoreError::StillAlive { path: self.store.store_dir().display(path) }),
            None => Ok(()),
        }
    }

    /// Sorts nodes so that each comes before those that it refers to.
    fn referrers_first(&self, nodes: &[u32]) -> Vec<u32> {
        let references = Edges::new(self.paths.len(), self.graph.references.iter());
        let wanted: HashSet<u32> = nodes.iter().copied().collect();
        let mut seen = vec![false; self.paths.len()];
        let mut sorted = Vec::with_capacity(nodes.len());
        for start in nodes {
            if std::mem::replace(&mut seen[*start as usize], true) {
                continue;
            }
            let mut stack = vec![(*start, 0)];
            while let Some((node, next)) = stack.last_mut() {
                let node = *node;
                match references.of(node as usize).get(*next) {
                    None => {
                        stack.pop();
                        sorted.push(node);
                    }
                    Some(reference) => {
                        *next += 1;
                        if wanted.contains(reference) && !std::mem::replace(&mut seen[*reference as usize], true) {
                            stack.push((*reference, 0));
                        }
                    }
                }
            }
        }
        // The walk finishes a node after what it refers to.
        sorted.reverse();
        sorted
    }

    /// Deletes valid paths, in order, unless they became roots meanwhile.
    fn delete_group(&mut self, group: &[u32], deleting: &mut dyn FnMut(&str)) -> Result<()> {
        self.store.go_on()?;
        let dead: Vec<u32> = group.iter().copied().filter(|node| !self.live[*node as usize]).collect();
        let dead_paths: Vec<&StorePath> = dead.iter().map(|node| &self.paths[*node as usize]).collect();
        let (pending, rooted) = self.server.begin_deletion(&dead_paths);
        for path in rooted {
            self.edges.mark(self.node_of[&path], &mut self.live);
        }
        let dead: Vec<u32> = dead.into_iter().filter(|node| !self.live[*node as usize]).collect();
        let texts: HashSet<&str> = dead.iter().map(|node| self.graph.paths[*node as usize].as_str()).collect();
        let mut deleted = dead.clone();
        match self.store.index.invalidate_all(&texts) {
            Ok(()) => {}
            // Somebody registered a path that refers to one of these since the graph was read.
            Err(StoreError::PathInUse { .. }) => {
                deleted.clear();
                for node in dead {
                    match self.store.index.invalidate(&self.graph.paths[node as usize]) {
                        Ok(()) => deleted.push(node),
                        Err(StoreError::PathInUse { .. }) => self.edges.mark(node, &mut self.live),
                        Err(error) => return Err(error),
                    }
                }
            }
            Err(error) => return Err(error),
        }
        for node in deleted {
            let path = &self.paths[node as usize];
            deleting(&self.graph.paths[node as usize]);
            self.results.paths.insert(self.graph.paths[node as usize].clone());
            let freed = self.store.remove_entry(path.base_name().as_ref())?;
            self.results.bytes_freed = self.results.bytes_freed.saturating_add(freed);
        }
        drop(pending);
        Ok(())
    }

    /// Deletes something that is not valid, unless somebody is making it.
    fn delete_left_over(&mut self, name: &std::ffi::OsStr, deleting: &mut dyn FnMut(&str)) -> Result<()> {
        let path = name.to_str().and_then(|name| StorePath::from_base_name(name).ok());
        let mut pending = None;
        match &path {
            Some(path) => {
                let (deletion, rooted) = self.server.begin_deletion(&[path]);
                pending = Some(deletion);
                // Lock files, and whatever else is called after a path that somebody works on, share its hash part.
                // The database has the last word about what came after the graph was read.
                if !rooted.is_empty() || self.store.is_valid(path)? {
                    return Ok(());
                }
            }
            None if name.as_encoded_bytes().starts_with(b"tmp-") && is_locked(self.store, name) => return Ok(()),
            None => {}
        }
        let full = format!("{}/{}", self.store.store_dir(), name.to_string_lossy());
        deleting(&full);
        let freed = self.store.remove_entry(name)?;
        self.results.bytes_freed = self.results.bytes_freed.saturating_add(freed);
        self.results.paths.insert(full);
        drop(pending);
        Ok(())
    }

    fn limit_reached(&self) -> bool {
        self.results.bytes_freed > self.options.max_freed
    }

    /// Deletes files of `.links` that no path has any more.
    fn delete_unused_links(&self) -> Result<()> {
        use std::os::unix::fs::MetadataExt;
        if self.store.lower().is_some() {
            // These are the links of the store below.
            return Ok(());
        }
        let dir = self.store.layout().links_dir();
        for entry in std::fs::read_dir(&dir).at("reading directory", &dir)? {
            let entry = entry.at("reading directory", &dir)?;
            // Others link and unlink at the same time; what is gone is gone.
            if entry.metadata().is_ok_and(|metadata| metadata.nlink() == 1) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
        Ok(())
    }
}

/// Returns when a path was last read, in seconds since 1970, as far as the file system notes it.
fn last_use(store: &LocalStore, path: &StorePath) -> Option<i64> {
    use std::os::unix::fs::MetadataExt;
    let real = store.to_real_path(path);
    let metadata = real.symlink_metadata().ok()?;
    let mut latest = metadata.atime();
    if metadata.is_dir() {
        for entry in std::fs::read_dir(&real).ok()?.flatten() {
            latest = latest.max(entry.metadata().map_or(0, |metadata| metadata.atime()));
        }
    }
    Some(latest)
}

/// Whether a directory of work in progress belongs to somebody. One that can't be opened is left alone too.
fn is_locked(store: &LocalStore, name: &std::ffi::OsStr) -> bool {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(&store.store_fd, name, flags, Mode::empty()) {
        Ok(dir) => !try_lock(&dir, LockMode::Exclusive, Path::new(name)).unwrap_or(false),
        Err(error) => error != rustix::io::Errno::NOTDIR,
    }
}

/// A directed graph in two arrays: the edges of node `i` are `targets[starts[i]..starts[i + 1]]`.
struct Edges {
    starts: Vec<u32>,
    targets: Vec<u32>,
}

impl Edges {
    fn new<'e>(n_nodes: usize, edges: impl Iterator<Item = &'e (u32, u32)> + Clone) -> Edges {
        let mut starts = vec![0; n_nodes + 1];
        for (from, _) in edges.clone() {
            starts[*from as usize + 1] += 1;
        }
        for node in 0..n_nodes {
            starts[node + 1] += starts[node];
        }
        let mut next = starts.clone();
        let mut targets = vec![0; starts[n_nodes] as usize];
        for (from, to) in edges {
            let place = &mut next[*from as usize];
            targets[*place as usize] = *to;
            *place += 1;
        }
        Edges { starts, targets }
    }

    fn of(&self, node: usize) -> &[u32] {
        &self.targets[self.starts[node] as usize..self.starts[node + 1] as usize]
    }

    /// Marks a node and all that can be reached from it.
    fn mark(&self, start: u32, marked: &mut [bool]) {
        let mut todo = vec![start];
        while let Some(node) = todo.pop() {
            if !std::mem::replace(&mut marked[node as usize], true) {
                todo.extend(self.of(node as usize).iter().filter(|target| !marked[**target as usize]));
            }
        }
    }
}
