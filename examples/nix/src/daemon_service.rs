//! What our daemon does for a client: builds with its settings, as far as it may set them.
//!
//! The surprising thing: the context's settings are those of the daemon; a client's are laid over them for its
//! connection only.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::ThreadId;

use nixlang_build::{BuildError, BuildMode as Mode, Builder, CancelToken, remote};
use nixlang_store::content_address::ContentAddress;
use nixlang_store::daemon::DaemonService;
use nixlang_store::derivation::Derivation;
use nixlang_store::error::{Result, StoreError};
use nixlang_store::path::StorePath;
use nixlang_store::store::{GcAction, GcOptions};
use nixlang_store::substituter::Substituters;
use nixlang_store::wire::build_result::{BuildMode, BuildResult, KeyedBuildResult};
use nixlang_store::wire::derived_path::DerivedPath;
use nixlang_store::wire::log::{LogMessage, LogSink, RemoteError};
use nixlang_store::wire::operations::{ClientOptions, Missing, SubstitutableInfo};

use crate::commands::Context;
use crate::failure::Failure;
use crate::settings::Settings;

/// Builds in a store of this machine.
pub(crate) struct LocalService {
    context: Arc<Context>,
    /// The daemon's settings with the client's over them.
    settings: Mutex<Settings>,
    /// What stops the builds that threads wait for.
    building: Mutex<HashMap<ThreadId, CancelToken>>,
    /// Who is asked with these settings, once somebody was.
    substituters: Mutex<Option<Option<Arc<Substituters>>>>,
}

/// What clients that are not trusted may set too.
const HARMLESS: &[&str] = &["timeout", "build-timeout", "max-silent-time", "build-max-silent-time", "build-poll-interval", "connect-timeout"];

impl LocalService {
    pub(crate) fn new(context: Arc<Context>) -> LocalService {
        let settings = Mutex::new(context.settings.clone());
        LocalService { context, settings, building: Mutex::default(), substituters: Mutex::default() }
    }

    /// Changes settings for the builds to come.
    pub(crate) fn set(&self, name: &str, value: &str) {
        let mut settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that there are not are passed over.
        let _ = settings.set(name, value);
        drop(settings);
        self.forget_substituters();
    }

    fn forget_substituters(&self) {
        *self.substituters.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn substituters(&self) -> Option<Arc<Substituters>> {
        let mut known = self.substituters.lock().unwrap_or_else(PoisonError::into_inner);
        known.get_or_insert_with(|| crate::fetch::substituters(&self.context, &self.settings())).clone()
    }

    fn settings(&self) -> Settings {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Builds until somebody wants this thread to stop.
    fn unless_hung_up<T>(&self, build: impl FnOnce(&CancelToken) -> std::result::Result<T, BuildError>) -> Result<T> {
        let (thread, cancel) = (std::thread::current().id(), self.context.cancel.token().child());
        self.building.lock().unwrap_or_else(PoisonError::into_inner).insert(thread, cancel.clone());
        let built = build(&cancel);
        self.building.lock().unwrap_or_else(PoisonError::into_inner).remove(&thread);
        built.map_err(|error| failed(Failure::from_error(&error)))
    }

    fn builder(&self, mode: BuildMode) -> Result<Builder> {
        let settings = self.settings();
        let mut options = crate::building::options_of(&settings, &self.context.helper).map_err(failed)?;
        options.substituters = self.substituters();
        options.mode = match mode {
            BuildMode::Normal => Mode::Normal,
            BuildMode::Repair => Mode::Repair,
            BuildMode::Check => Mode::Check,
        };
        crate::building::builder(&self.context, &settings, options).map_err(failed)
    }
}

/// Turns a failure of a command's part into an error that travels.
fn failed(failure: Failure) -> StoreError {
    let message = match failure {
        Failure::Shown(diagnostic) => diagnostic.message,
        Failure::Usage(message) => message,
        Failure::Status(_) | Failure::BrokenPipe => "interrupted by the user".to_owned(),
    };
    StoreError::Remote { source: RemoteError::new(message) }
}

fn warn(log: &dyn LogSink, text: &str) {
    log.log(&LogMessage::Text(format!("warning: {text}\n").into_bytes()));
}

impl DaemonService for LocalService {
    fn hang_up(&self, thread: ThreadId) {
        if let Some(cancel) = self.building.lock().unwrap_or_else(PoisonError::into_inner).get(&thread) {
            cancel.cancel();
        }
    }

    fn build_paths(&self, wanted: &[DerivedPath], mode: BuildMode, log: &dyn LogSink) -> Result<Vec<KeyedBuildResult>> {
        let builder = self.builder(mode)?;
        self.unless_hung_up(|cancel| remote::build_paths(&builder, wanted, log, cancel))
    }

    fn build_derivation(&self, path: &StorePath, derivation: &Derivation, mode: BuildMode, log: &dyn LogSink) -> Result<BuildResult> {
        let builder = self.builder(mode)?;
        self.unless_hung_up(|cancel| remote::build_derivation(&builder, path, derivation, log, cancel))
    }

    fn query_missing(&self, wanted: &[DerivedPath], _log: &dyn LogSink) -> Result<Missing> {
        let builder = self.builder(BuildMode::Normal)?;
        remote::query_missing(&builder, wanted).map_err(|error| failed(Failure::from_error(&error)))
    }

    fn ensure_path(&self, path: &StorePath, log: &dyn LogSink) -> Result<()> {
        let results = self.build_paths(&[DerivedPath::Opaque(path.clone())], BuildMode::Normal, log)?;
        match results.into_iter().find(|keyed| !keyed.result.status.is_success()) {
            None => Ok(()),
            Some(keyed) => Err(StoreError::Remote { source: RemoteError::new(keyed.result.error) }),
        }
    }

    fn substitute_paths(&self, paths: &[StorePath], log: &dyn LogSink) -> Result<()> {
        let wanted: Vec<DerivedPath> = paths.iter().cloned().map(DerivedPath::Opaque).collect();
        let missing = self.query_missing(&wanted, log)?;
        let wanted: Vec<DerivedPath> = missing.will_substitute.into_iter().map(DerivedPath::Opaque).collect();
        if !wanted.is_empty() {
            self.build_paths(&wanted, BuildMode::Normal, log)?;
        }
        Ok(())
    }

    fn available_paths(&self, paths: &[StorePath], _log: &dyn LogSink) -> Result<BTreeSet<StorePath>> {
        let store_dir = self.context.store.store_dir();
        Ok(self.substituters().map(|substituters| substituters.available(store_dir, paths)).unwrap_or_default())
    }

    fn substitutable_infos(
        &self,
        paths: &BTreeMap<StorePath, Option<ContentAddress>>,
        _log: &dyn LogSink,
    ) -> Result<BTreeMap<StorePath, SubstitutableInfo>> {
        let store_dir = self.context.store.store_dir();
        Ok(self.substituters().map(|substituters| substituters.infos(store_dir, paths)).unwrap_or_default())
    }

    fn set_options(&self, options: &ClientOptions, is_trusted: bool, log: &dyn LogSink) -> Result<()> {
        self.forget_substituters();
        let mut settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        let flag = |flag: bool| if flag { "true" } else { "false" };
        let plain = [
            ("keep-failed", flag(options.keep_failed).to_owned()),
            ("keep-going", flag(options.keep_going).to_owned()),
            ("fallback", flag(options.fallback).to_owned()),
            ("max-jobs", options.max_jobs.to_string()),
            ("max-silent-time", options.max_silent_time.to_string()),
            ("cores", options.cores.to_string()),
            ("substitute", flag(options.use_substitutes).to_owned()),
        ];
        for (name, value) in plain {
            settings.set(name, &value).map_err(|error| failed(error.into()))?;
        }
        let known: Vec<String> = settings.list("substituters").chain(settings.list("trusted-substituters")).map(str::to_owned).collect();
        for (name, value) in &options.overrides {
            match name.as_str() {
                // Those of the daemon count.
                "experimental-features" | "extra-experimental-features" | "ssh-auth-sock" => {}
                "plugin-files" => warn(log, "Ignoring the client-specified plugin-files.\nThe client specifying plugins to the daemon never made sense, and was removed in Nix >=2.14."),
                name if is_trusted || HARMLESS.contains(&name) || (name == "builders" && value.is_empty()) => {
                    if let Err(error) = settings.set_or_remember(name, value) {
                        warn(log, &error.to_string());
                    }
                }
                "substituters" | "binary-caches" => {
                    let mut kept = Vec::new();
                    for address in value.split_whitespace() {
                        if known.iter().any(|known| known.trim_end_matches('/') == address.trim_end_matches('/')) {
                            kept.push(address);
                        } else {
                            warn(log, &format!(
                                "ignoring untrusted substituter '{address}', you are not a trusted user.\nRun `man nix.conf` for more information on the `substituters` configuration option."
                            ));
                        }
                    }
                    settings.set("substituters", &kept.join(" ")).map_err(|error| failed(error.into()))?;
                }
                name => warn(log, &format!("ignoring the client-specified setting '{name}', because it is a restricted setting and you are not a trusted user")),
            }
        }
        Ok(())
    }

    fn gc_options(&self, action: GcAction) -> GcOptions {
        let settings = self.settings();
        let mut options = GcOptions::new(action);
        options.keep_derivations = settings.is_on("keep-derivations");
        options.keep_outputs = settings.is_on("keep-outputs");
        options
    }
}
