//! A rooted store in a scratch directory, and derivations made by hand.
#![allow(dead_code, unreachable_pub, reason = "each test program uses another part")]

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use nixlang_build::{
    BuildEvent, BuildOptions, BuildOutcome, Builder, CancelToken, DerivedPath, Helper, Observer,
};
use nixlang_store::content_address::{ContentAddress, ContentAddressMethod};
use nixlang_store::derivation::{Derivation, DerivationOutput, HashModulo, InputOutputs, StructuredAttrs};
use nixlang_store::hash::Hash;
use nixlang_store::local::{LocalStore, LocalStoreOptions};
use nixlang_store::path::StorePath;
use nixlang_store::store::Store;

/// A store of its own per test.
pub struct World {
    pub scratch: tempfile::TempDir,
    pub store: Arc<LocalStore>,
    cache: Mutex<HashMap<StorePath, HashModulo>>,
}

/// A derivation to be.
pub struct Recipe {
    pub derivation: Derivation,
}

/// `/bin/sh -c SCRIPT`, with one output `out`.
pub fn sh(name: &str, script: &str) -> Recipe {
    Recipe {
        derivation: Derivation {
            name: name.into(),
            outputs: [("out".into(), DerivationOutput::Deferred)].into(),
            system: b"x86_64-linux".to_vec(),
            builder: b"/bin/sh".to_vec(),
            args: vec![b"-c".to_vec(), script.as_bytes().to_vec()],
            env: [(b"name".to_vec(), name.as_bytes().to_vec()), (b"out".to_vec(), vec![])].into(),
            ..Derivation::default()
        },
    }
}

impl Recipe {
    pub fn env(mut self, name: &str, value: &str) -> Recipe {
        self.derivation.env.insert(name.into(), value.into());
        self
    }

    pub fn outputs(mut self, names: &[&str]) -> Recipe {
        self.derivation.outputs = names.iter().map(|&name| (name.into(), DerivationOutput::Deferred)).collect();
        for name in names {
            self.derivation.env.insert(name.as_bytes().to_vec(), Vec::new());
        }
        self
    }

    pub fn fixed(mut self, method: ContentAddressMethod, hash: Hash) -> Recipe {
        let output = DerivationOutput::Fixed(ContentAddress { method, hash });
        self.derivation.outputs = [("out".into(), output)].into();
        self
    }

    pub fn input(mut self, derivation: &StorePath) -> Recipe {
        self.derivation.input_derivations.insert(derivation.clone(), InputOutputs::plain(["out"]));
        self
    }

    pub fn source(mut self, path: &StorePath) -> Recipe {
        self.derivation.input_sources.insert(path.clone());
        self
    }

    pub fn structured(mut self, json: &str) -> Recipe {
        self.derivation.structured_attrs = Some(StructuredAttrs::parse(json.as_bytes()).unwrap());
        self.derivation.env.clear();
        self.derivation.env.insert(b"out".to_vec(), vec![]);
        self
    }
}

impl World {
    pub fn new() -> World {
        let scratch = tempfile::tempdir().unwrap();
        let store = open(scratch.path());
        World { scratch, store, cache: Mutex::default() }
    }

    pub fn at(scratch: tempfile::TempDir, store: LocalStore) -> World {
        World { scratch, store: Arc::new(store), cache: Mutex::default() }
    }

    /// Writes the derivation; returns its path and those of its outputs.
    pub fn add(&self, recipe: Recipe) -> (StorePath, BTreeMap<String, StorePath>) {
        let path = self.add_path(recipe);
        let outputs = self.store.derivation_outputs(&path).unwrap();
        (path, outputs.into_iter().map(|(name, path)| (name, path.unwrap())).collect())
    }

    /// Writes the derivation; returns its path.
    pub fn add_path(&self, recipe: Recipe) -> StorePath {
        let mut derivation = recipe.derivation;
        let dir = self.store.store_dir().clone();
        let mut cache = self.cache.lock().unwrap();
        let made = derivation
            .instantiate(&dir, &mut *cache, &mut |path| Ok(self.store.read_derivation(path)?))
            .expect("the recipe makes a derivation");
        let name = format!("{}.drv", derivation.name);
        let path = self.store.add_text(&name, &made.contents, &derivation.references()).unwrap();
        assert_eq!(path, made.path);
        path
    }

    /// Writes the derivation; returns its path and that of `out`.
    pub fn add_one(&self, recipe: Recipe) -> (StorePath, StorePath) {
        let (path, mut outputs) = self.add(recipe);
        (path, outputs.remove("out").unwrap())
    }

    pub fn options(&self) -> BuildOptions {
        options()
    }

    pub fn build(&self, derivation: &StorePath) -> BuildOutcome {
        self.build_with(self.options(), std::slice::from_ref(derivation)).0
    }

    pub fn build_with(&self, options: BuildOptions, derivations: &[StorePath]) -> (BuildOutcome, Recorder) {
        let wanted: Vec<DerivedPath> = derivations.iter().cloned().map(DerivedPath::from_path).collect();
        let builder = Builder::new(Arc::clone(&self.store), options);
        let recorder = Recorder::default();
        let plan = builder.plan(&wanted).unwrap();
        let outcome = builder.run(&plan, &recorder, &CancelToken::new());
        (outcome, recorder)
    }

    /// Builds and returns what the file `out` says.
    pub fn output_text(&self, recipe: Recipe) -> String {
        let (path, out) = self.add_one(recipe);
        let (outcome, recorder) = self.build_with(self.options(), std::slice::from_ref(&path));
        assert!(outcome.is_success(), "{:#?}\n{:?}", outcome.results, recorder.lines());
        std::fs::read_to_string(self.real(&out)).unwrap()
    }

    pub fn real(&self, path: &StorePath) -> PathBuf {
        self.store.to_real_path(path)
    }

    /// Everything in the store directory that is neither valid nor an ordinary part of a store.
    pub fn leftovers(&self) -> Vec<String> {
        let mut leftovers = Vec::new();
        for entry in std::fs::read_dir(&self.store.layout().real_store_dir).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let is_valid =
                StorePath::from_base_name(&name).is_ok_and(|path| self.store.is_valid(&path).unwrap());
            if !is_valid && name != ".links" && !name.starts_with("tmp-") {
                leftovers.push(name);
            }
        }
        let builds = self.store.layout().state_dir.join("builds");
        if let Ok(entries) = std::fs::read_dir(builds) {
            leftovers.extend(entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()));
        }
        leftovers
    }
}

pub fn open(root: &Path) -> Arc<LocalStore> {
    Arc::new(LocalStore::open(LocalStoreOptions::rooted(root.join("root"))).unwrap())
}

pub fn options() -> BuildOptions {
    BuildOptions::new(Helper::program(env!("CARGO_BIN_EXE_nixlang-build-helper")))
}

/// Remembers events as text.
#[derive(Default)]
pub struct Recorder(Mutex<Vec<String>>);

impl Recorder {
    pub fn events(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    pub fn lines(&self) -> Vec<String> {
        self.events().iter().filter_map(|event| event.strip_prefix("line ")).map(str::to_owned).collect()
    }
}

impl Observer for Recorder {
    fn event(&self, event: &BuildEvent<'_>) {
        let text = match event {
            BuildEvent::Started { derivation, .. } => format!("started {}", derivation.name()),
            BuildEvent::LogLine { line, .. } => format!("line {}", String::from_utf8_lossy(line)),
            BuildEvent::Phase { phase, .. } => format!("phase {phase}"),
            BuildEvent::Finished { derivation, result } => format!("finished {} {}", derivation.name(), result.status),
            BuildEvent::WaitingForLock { derivation } => format!("waiting {}", derivation.name()),
            _ => return,
        };
        self.0.lock().unwrap().push(text);
    }
}
