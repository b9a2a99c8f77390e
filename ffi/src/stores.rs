//! Stores by address, as hosts open them: what they can do beside the trait, how they are called, and how something is built in them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use nixlang_build::sandbox::{Mount, SandboxMode, ShellChoice};
use nixlang_build::{BuildOptions, BuildOutcome, BuildStatus, Builder, CancelToken, DerivedPath, Helper, Limits, Observer, WantedOutputs};
use nixlang_store::closure::Follow;
use nixlang_store::derivation::OutputName;
use nixlang_store::local::{LocalStore, LocalStoreOptions};
use nixlang_store::memory::MemoryStore;
use nixlang_store::path::{StoreDir, StorePath};
use nixlang_store::store::Store;

use crate::settings::Settings;

/// The version of the reference that this library stands in for.
pub(crate) const REFERENCE_VERSION: &str = "2.34.8";

/// A store that a host has open.
pub(crate) struct OpenStore {
    /// The store.
    pub(crate) store: Arc<dyn Store>,
    /// The same, if it is one on this machine's disk, where builds are possible.
    pub(crate) local: Option<Arc<LocalStore>>,
    /// Its address with all parameters.
    pub(crate) address: String,
    /// Whether evaluations add something to it.
    pub(crate) is_writable: bool,
}

impl OpenStore {
    /// Opens a store. Parameters are added to those of the address.
    pub(crate) fn open(address: &str, parameters: &[(String, String)], settings: &Settings) -> Result<OpenStore, String> {
        let chosen = match address {
            "" => std::env::var("NIX_REMOTE").ok().filter(|remote| !remote.is_empty()).unwrap_or_else(|| settings.text("store")),
            address => address.to_owned(),
        };
        let (base, query) = chosen.split_once('?').unwrap_or((&chosen, ""));
        let mut all: BTreeMap<String, String> = BTreeMap::new();
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, "true"));
            all.insert(name.to_owned(), decode(value));
        }
        all.extend(parameters.iter().cloned());
        let store_dir = match all.get("store").cloned().or_else(|| std::env::var("NIX_STORE_DIR").ok()) {
            Some(path) => StoreDir::new(&path).map_err(|error| error.to_string())?,
            None => StoreDir::default(),
        };
        match base {
            "dummy" | "dummy://" => {
                let store: Arc<dyn Store> = Arc::new(MemoryStore::new(store_dir));
                let is_writable = all.get("read-only").is_some_and(|value| value == "false");
                Ok(OpenStore { store, local: None, address: render("dummy://", &all), is_writable })
            }
            _ if base.starts_with("local://") && base.len() > "local://".len() => {
                all.insert("root".into(), base["local://".len()..].to_owned());
                Self::open_local(&all, store_dir, settings)
            }
            "" | "auto" | "local" | "local://" => Self::open_local(&all, store_dir, settings),
            _ if base.starts_with(['/', '.']) => {
                let root = std::path::absolute(base).map_err(|error| error.to_string())?;
                all.insert("root".into(), root.display().to_string());
                Self::open_local(&all, store_dir, settings)
            }
            _ => crate::remote::open(base, &all, store_dir, settings),
        }
    }

    fn open_local(all: &BTreeMap<String, String>, store_dir: StoreDir, settings: &Settings) -> Result<OpenStore, String> {
        let path = |name: &str, variable: &str| all.get(name).cloned().or_else(|| std::env::var(variable).ok().filter(|value| !value.is_empty())).map(PathBuf::from);
        let options = LocalStoreOptions {
            root: all.get("root").filter(|root| !root.is_empty()).map(PathBuf::from),
            store_dir,
            real_store_dir: all.get("real").map(PathBuf::from),
            state_dir: if all.contains_key("root") { all.get("state").map(PathBuf::from) } else { path("state", "NIX_STATE_DIR") },
            log_dir: if all.contains_key("root") { all.get("log").map(PathBuf::from) } else { path("log", "NIX_LOG_DIR") },
            read_only: all.get("read-only").is_some_and(|value| value == "true"),
            use_wal: settings.is_on("use-sqlite-wal"),
            fsync_metadata: settings.is_on("fsync-metadata"),
            ..LocalStoreOptions::default()
        };
        let is_writable = !options.read_only;
        let local = Arc::new(LocalStore::open(options).map_err(|error| error_text(&error))?);
        Ok(OpenStore { store: local.clone(), local: Some(local), address: render("local://", all), is_writable })
    }

    /// Returns the version that the store claims, if it is of a kind that has one.
    pub(crate) fn version(&self) -> Option<&'static str> {
        self.local.is_some().then_some(REFERENCE_VERSION)
    }

    /// Returns where the files of a path are.
    pub(crate) fn real_path(&self, path: &StorePath) -> String {
        match self.store.real_path(path) {
            Some(real) => real.display().to_string(),
            None => self.store.store_dir().display(path),
        }
    }

    /// Returns the closure of a path.
    pub(crate) fn closure(&self, path: &StorePath, follow: Follow) -> Result<BTreeSet<StorePath>, String> {
        nixlang_store::closure::closure(&*self.store, std::slice::from_ref(path), &follow).map_err(|error| error_text(&error))
    }

    /// Builds what is wanted.
    pub(crate) fn build(&self, wanted: &[DerivedPath], settings: &Settings, observer: &dyn Observer, cancel: &CancelToken) -> Result<BuildOutcome, String> {
        let Some(local) = &self.local else { return Err(format!("building in store '{}' is not supported", self.address)) };
        let builder = Builder::new(local.clone(), build_options(settings)?);
        let plan = builder.plan(wanted).map_err(|error| error_text(&error))?;
        Ok(builder.run(&plan, observer, cancel))
    }

    /// Builds all outputs of a derivation, and returns their paths by name.
    pub(crate) fn realise(&self, derivation: &StorePath, settings: &Settings) -> Result<BTreeMap<String, StorePath>, String> {
        let wanted = if derivation.is_derivation() {
            DerivedPath::Built { derivation: derivation.clone(), outputs: WantedOutputs::All }
        } else {
            DerivedPath::Opaque(derivation.clone())
        };
        let outcome = self.build(&[wanted], settings, &(), &CancelToken::new())?;
        check(&outcome)?;
        let outputs = outcome.results.get(derivation).map(|result| &result.outputs);
        Ok(outputs.into_iter().flatten().map(|(name, path)| (name.to_string(), path.clone())).collect())
    }

    /// Builds one output of each of these derivations, and returns the paths in the same places.
    pub(crate) fn realise_outputs(&self, wanted: &[(StorePath, String)], settings: &Settings) -> Result<Vec<StorePath>, String> {
        let paths: Vec<DerivedPath> = wanted
            .iter()
            .map(|(derivation, output)| {
                let outputs = WantedOutputs::Named(BTreeSet::from([OutputName::from(output.as_str())]));
                DerivedPath::Built { derivation: derivation.clone(), outputs }
            })
            .collect();
        let outcome = self.build(&paths, settings, &(), &CancelToken::new())?;
        check(&outcome)?;
        wanted
            .iter()
            .map(|(derivation, output)| {
                let built = outcome.results.get(derivation).and_then(|result| result.outputs.get(output.as_str()).cloned());
                let known = || self.store.derivation_outputs(derivation).ok().and_then(|mut outputs| outputs.remove(output)).flatten();
                built.or_else(known).ok_or_else(|| {
                    let shown = self.store.store_dir().display(derivation);
                    format!("derivation '{shown}' does not have wanted outputs '{output}'")
                })
            })
            .collect()
    }
}

/// Fails with what failed first, if something did.
pub(crate) fn check(outcome: &BuildOutcome) -> Result<(), String> {
    if outcome.is_success() {
        return Ok(());
    }
    if let Some((_, result)) = outcome.failures().into_iter().find(|(_, result)| result.status != BuildStatus::Cancelled) {
        return Err(result.message_with_log("nix log"));
    }
    match outcome.missing.values().next() {
        Some(message) => Err(message.clone()),
        None => Err("interrupted by the user".to_owned()),
    }
}

/// Returns an error with its causes in one line.
pub(crate) fn error_text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

fn build_options(settings: &Settings) -> Result<BuildOptions, String> {
    let mut options = BuildOptions::new(helper()?);
    options.max_jobs = match settings.text("max-jobs").as_str() {
        "auto" => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        number => number.parse().map_err(|_| format!("setting 'max-jobs' is neither 'auto' nor a number: '{number}'"))?,
    };
    options.cores = usize::try_from(settings.integer("cores")).unwrap_or(0);
    options.keep_going = settings.is_on("keep-going");
    options.keep_failed = settings.is_on("keep-failed");
    options.sandbox = match settings.text("sandbox").as_str() {
        "true" | "yes" | "1" => SandboxMode::Required,
        "relaxed" => SandboxMode::Relaxed,
        "false" | "no" | "0" => SandboxMode::Off,
        other => return Err(format!("option 'sandbox' has invalid value '{other}'")),
    };
    for path in settings.list("sandbox-paths") {
        let (path, optional) = path.strip_suffix('?').map_or((path.as_str(), false), |path| (path, true));
        let (target, source) = path.split_once('=').unwrap_or((path, path));
        options.sandbox_paths.push(Mount { source: source.into(), target: target.into(), optional, read_only: false });
    }
    let has_shell = options.sandbox_paths.iter().any(|mount| mount.target == std::path::Path::new("/bin/sh"));
    options.shell = match settings.text("sandbox-shell").as_str() {
        _ if has_shell => ShellChoice::None,
        "" => ShellChoice::Find,
        program => ShellChoice::Program(program.into()),
    };
    options.sandbox_build_dir = settings.text("sandbox-build-dir").into();
    options.filter_syscalls = settings.is_on("filter-syscalls");
    options.build_dir = Some(settings.text("build-dir")).filter(|path| !path.is_empty()).map(PathBuf::from);
    let seconds = |name: &str| Some(settings.integer(name)).filter(|seconds| *seconds > 0).map(std::time::Duration::from_secs);
    let max_log_bytes = Some(settings.integer("max-build-log-size")).filter(|size| *size > 0);
    options.limits = Limits { timeout: seconds("timeout"), max_silent: seconds("max-silent-time"), max_log_bytes };
    options.log_lines = usize::try_from(settings.integer("log-lines")).unwrap_or(usize::MAX);
    options.system = settings.text("system");
    if settings.is_set("extra-platforms") {
        options.extra_platforms = settings.list("extra-platforms").into_iter().collect();
    }
    if settings.is_set("system-features") {
        options.system_features = settings.list("system-features").into_iter().collect();
    }
    options.hashed_mirrors = settings.list("hashed-mirrors");
    options.experimental_features = settings.list("experimental-features").into_iter().collect();
    Ok(options)
}

/// Returns the helper program that builds run under. A library can't execute its host anew, so it looks for the program of its own:
/// `NIXLANG_BUILD_HELPER_PROGRAM`, beside the library, in `../libexec`, in `PATH`.
fn helper() -> Result<Helper, String> {
    const NAME: &str = "nixlang-build-helper";
    if let Some(program) = std::env::var_os("NIXLANG_BUILD_HELPER_PROGRAM").filter(|program| !program.is_empty()) {
        return Ok(Helper::program(program));
    }
    let beside = crate::guard::library_path().and_then(|library| Some(library.parent()?.to_owned()));
    let beside = beside.into_iter().flat_map(|directory| [directory.join(NAME), directory.join("../libexec").join(NAME), directory.join("..").join(NAME)]);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).map(|directory| directory.join(NAME));
    match beside.chain(in_path).find(|program| program.is_file()) {
        Some(program) => Ok(Helper::program(program)),
        None => Err(format!("the program '{NAME}', under which builds run, was not found: install it, or name it in NIXLANG_BUILD_HELPER_PROGRAM")),
    }
}

/// Returns an address with its parameters, sorted, as the reference prints it.
pub(crate) fn render(base: &str, parameters: &BTreeMap<String, String>) -> String {
    let query: Vec<String> = parameters.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
    if query.is_empty() { base.to_owned() } else { format!("{base}?{}", query.join("&")) }
}

fn encode(value: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$'()*,;:@/?".contains(&byte);
    value.bytes().map(|byte| if is_plain(byte) { (byte as char).to_string() } else { format!("%{byte:02X}") }).collect()
}

fn decode(value: &str) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
        match after.get(..2).filter(|_| first == b'%').and_then(hex) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_printed() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path().join("with space");
        let parameters = [("root".to_owned(), root.display().to_string())];
        let store = OpenStore::open("local", &parameters, &Settings::default()).expect("it opens");
        assert!(store.address.starts_with("local://?root=/") && store.address.ends_with("with%20space"), "{}", store.address);
        assert_eq!(store.version(), Some(REFERENCE_VERSION));
        let again = OpenStore::open(&store.address, &[], &Settings::default()).expect("it opens");
        assert_eq!(again.address, store.address);
        assert_eq!(OpenStore::open("dummy://", &[], &Settings::default()).expect("it opens").address, "dummy://");
        assert!(OpenStore::open("invalid://", &[], &Settings::default()).is_err());
        let cache = OpenStore::open(&format!("file://{}", root.display()).replace(' ', "%20"), &[], &Settings::default());
        assert_eq!(cache.expect("it opens").version(), None);
        assert_eq!(decode("a%2Fb%zz%"), "a/b%zz%");
    }
}
