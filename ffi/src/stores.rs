//! Stores by address, as hosts open them: what they can do beside the trait, how they are called, and how something is built in them.
//!
//! Opening, substituting and fetching are those of [`nixlang_store::open`], which the command line uses too. What is our own: `dummy://` keeps
//! what is added in memory if it is asked to, and addresses are printed as the reference's C API prints them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nixlang_build::remote::machines::{Machine, parse_machines};
use nixlang_build::remote::{ObserverLog, RemoteBuilders, RemoteStore, build_by_service};
use nixlang_build::{BuildEvent, BuildMode, BuildOptions, BuildOutcome, BuildStatus, Builder, CancelToken, DerivedPath, Helper, Observer, OutputsSpec};
use nixlang_store::closure::Follow;
use nixlang_store::daemon::DaemonService;
use nixlang_store::derivation::OutputName;
use nixlang_store::local::LocalStore;
use nixlang_store::memory::MemoryStore;
use nixlang_store::open::{Opener, StoreKind, StorePlace};
use nixlang_store::path::{StoreDir, StorePath};
use nixlang_store::store::Store;
use nixlang_store::transfer::Interrupt;

use crate::settings::Settings;

/// The version of the reference that this library stands in for.
pub(crate) const REFERENCE_VERSION: &str = "2.34.8";

/// A store that a host has open.
pub(crate) struct OpenStore {
    /// The store.
    pub(crate) store: Arc<dyn Store>,
    /// The same, if it is one on this machine's disk, where builds are possible.
    pub(crate) local: Option<Arc<LocalStore>>,
    /// Who builds in it, if that is somebody else.
    pub(crate) service: Option<Arc<dyn DaemonService>>,
    /// Its address with all parameters.
    pub(crate) address: String,
    /// Whether evaluations add something to it.
    pub(crate) is_writable: bool,
}

/// Returns what opens stores with these settings, until `cancel` is cancelled.
fn opener(settings: &Settings, cancel: &CancelToken) -> Opener {
    let cancel = cancel.clone();
    Opener::new(Arc::new(settings.clone())).interrupt(Interrupt::new(move || cancel.is_cancelled()))
}

impl OpenStore {
    /// Opens a store. Parameters are added to those of the address.
    pub(crate) fn open(address: &str, parameters: &[(String, String)], settings: &Settings) -> Result<OpenStore, String> {
        crate::guard::refuse_second_implementation()?;
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
        if matches!(base, "dummy" | "dummy://") {
            let store_dir = match all.get("store").cloned().or_else(|| std::env::var("NIX_STORE_DIR").ok()) {
                Some(path) => StoreDir::new(&path).map_err(|error| error.to_string())?,
                None => StoreDir::default(),
            };
            let store: Arc<dyn Store> = Arc::new(MemoryStore::new(store_dir));
            let is_writable = all.get("read-only").is_some_and(|value| value == "false");
            return Ok(OpenStore { store, local: None, service: None, address: render("dummy://", &all), is_writable });
        }
        let place = StorePlace::choose(settings, &render(base, &all)).map_err(|error| error_text(&error))?;
        let opened = opener(settings, &CancelToken::new()).open(&place).map_err(|error| error_text(&error))?;
        let (address, is_writable) = match &place.kind {
            StoreKind::Local => {
                if let Some(root) = &place.options.root {
                    all.insert("root".into(), root.display().to_string());
                }
                (render("local://", &all), !place.options.read_only)
            }
            StoreKind::Remote(remote) => (remote.address().to_owned(), true),
            _ => (render(base, &all), base.starts_with("file:")),
        };
        Ok(OpenStore { store: opened.store, local: opened.local, service: opened.service, address, is_writable })
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
        if let Some(service) = &self.service {
            let log = ObserverLog::new(&*self.store, observer);
            let outcome = build_by_service(&**service, &*self.store, wanted, BuildMode::Normal, &log, cancel).map_err(|error| error_text(&error))?;
            for (derivation, result) in outcome.results.iter().filter(|(path, _)| path.is_derivation()) {
                observer.event(&BuildEvent::Finished { derivation, result });
            }
            return Ok(outcome);
        }
        let Some(local) = &self.local else { return Err(format!("building in store '{}' is not supported", self.address)) };
        let mut options = BuildOptions::configured(settings, &helper()?).map_err(|error| error_text(&error))?;
        options.substituters = opener(settings, cancel).substituters(self.store.store_dir());
        options.remote = machines(settings, cancel, local)?;
        let builder = Builder::new(local.clone(), options);
        let plan = builder.plan(wanted).map_err(|error| error_text(&error))?;
        Ok(builder.run(&plan, observer, cancel))
    }

    /// Builds all outputs of a derivation, and returns their paths by name.
    pub(crate) fn realise(&self, derivation: &StorePath, settings: &Settings) -> Result<BTreeMap<String, StorePath>, String> {
        let wanted = if derivation.is_derivation() {
            DerivedPath::built(derivation.clone(), OutputsSpec::All)
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
                let outputs = OutputsSpec::Names(BTreeSet::from([OutputName::from(output.as_str())]));
                DerivedPath::built(derivation.clone(), outputs)
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

/// Returns the machines of the setting `builders`, if there are any. Each is opened when a build is sent there.
fn machines(settings: &Settings, cancel: &CancelToken, local: &LocalStore) -> Result<Option<Arc<RemoteBuilders>>, String> {
    let read_file = |path: &str| std::fs::read_to_string(path).ok();
    let machines = parse_machines(&settings.text("builders"), &settings.text("system"), &read_file).map_err(|error| error_text(&error))?;
    if machines.is_empty() {
        return Ok(None);
    }
    let opener = opener(settings, cancel);
    let substitutes = settings.is_on("builders-use-substitutes");
    let open = move |machine: &Machine, stderr: std::os::fd::OwnedFd| {
        let mut place = StorePlace::choose(opener.configuration(), &machine.full_address()).map_err(|error| error_text(&error))?;
        if let StoreKind::Remote(remote) = &mut place.kind {
            remote.set_stderr(stderr);
        }
        let opened = opener.open(&place).map_err(|error| error_text(&error))?;
        // Whether it can be reached shows when it is asked something.
        opened.store.are_valid(&[]).map_err(|error| error_text(&error))?;
        let service = opened.service.ok_or_else(|| format!("store '{}' is one of this machine, where nothing is sent to", opened.store.address()))?;
        Ok(RemoteStore { store: opened.store, service })
    };
    Ok(Some(Arc::new(RemoteBuilders::new(machines, &local.layout().state_dir, substitutes, Box::new(open)))))
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
        let daemon = OpenStore::open("unix:///nowhere/socket", &[], &Settings::default()).expect("it is connected to later");
        assert_eq!((daemon.address.as_str(), daemon.local.is_some(), daemon.service.is_some()), ("unix:///nowhere/socket", false, true));
        assert!(daemon.store.all_valid_paths().is_err());
        let ssh = OpenStore::open("ssh-ng://nobody@nowhere", &[("compress".into(), "true".into())], &Settings::default()).expect("as above");
        assert_eq!(ssh.address, "ssh-ng://nobody@nowhere?compress=true");
        let cache = OpenStore::open(&format!("file://{}", root.display()).replace(' ', "%20"), &[], &Settings::default());
        assert_eq!(cache.expect("it opens").version(), None);
        assert_eq!(decode("a%2Fb%zz%"), "a/b%zz%");
    }
}
