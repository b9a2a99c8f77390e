//! This program as the build hook of another Nix: `build-hook = PROGRAM __build-remote`.
//!
//! The other program offers one derivation after the other; the first that a machine takes is built there, and then the hook ends. The
//! surprising part: the other program holds the locks of the outputs all the while, so that they must not be taken here.
//!
//! Source of the protocol: `build-remote.cc` and `hook-instance.cc` of the reference, 2.34.8. Numbers and texts are those of the daemon
//! protocol; answers are lines that begin with `# `, among others.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex, PoisonError};

use nixlang_store::local::{LocalStore, LocalStoreOptions};
use nixlang_store::store::Store;
use nixlang_store::wire::log::{Field, LogMessage, LogSink, result as wire_result};
use nixlang_store::wire::{WireError, WireRead};

use super::Builder;
use super::run::Run;
use crate::error::BuildError;
use crate::event::CancelToken;
use crate::plan::Plan;
use crate::remote::builders::{Attempt, Place};
use crate::result::BuildStatus;

/// Longest text that is read, in bytes.
const LIMIT: usize = 16 << 20;

/// What a hook is connected to.
pub struct HookStreams<'h> {
    /// Where offers come from.
    pub offers: &'h mut dyn Read,
    /// Where answers go.
    pub answers: &'h mut (dyn Write + Send),
    /// Where the output of a build goes.
    pub log: &'h Mutex<dyn Write + Send + 'h>,
}

impl std::fmt::Debug for HookStreams<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HookStreams").finish_non_exhaustive()
    }
}

fn broken(message: String) -> BuildError {
    BuildError::Limit { message, status: BuildStatus::MiscFailure }
}

/// Returns a line that the other program shows as a message of this level: 0 is an error, 1 a warning.
pub fn hook_message(level: u32, text: &str) -> String {
    format!("@nix {}\n", serde_json::json!({ "action": "msg", "level": level, "msg": text }))
}

/// Reads the settings that the other program begins with.
///
/// # Errors
///
/// It says something else.
pub fn read_hook_settings(offers: &mut dyn Read) -> Result<Vec<(String, String)>, WireError> {
    let mut settings = Vec::new();
    while offers.read_flag()? {
        settings.push((offers.read_text(LIMIT)?, offers.read_text(LIMIT)?));
    }
    Ok(settings)
}

impl Builder {
    /// Answers the offers of another program until a build is done or there are no more.
    ///
    /// # Errors
    ///
    /// The build failed, or the other program says something that makes no sense.
    pub fn serve_hook(&self, streams: HookStreams<'_>, cancel: &CancelToken) -> Result<(), BuildError> {
        let HookStreams { offers, answers, log } = streams;
        let wire = |error: WireError| broken(format!("reading what is to be built: {error}"));
        let answer = |answers: &mut dyn Write, text: &str| {
            let written = answers.write_all(text.as_bytes()).and_then(|()| answers.flush());
            written.map_err(|error| broken(format!("answering: {error}")))
        };
        let Some(builders) = &self.options.remote else { return answer(answers, "# decline-permanently\n") };
        loop {
            match offers.read_text(LIMIT) {
                Ok(word) if word == "try" => {}
                // An end is one as well.
                Ok(_) | Err(WireError::Io(_)) => return Ok(()),
                Err(error) => return Err(wire(error)),
            }
            let is_willing = offers.read_flag().map_err(wire)?;
            let system = offers.read_text(LIMIT).map_err(wire)?;
            let path = offers.read_text(LIMIT).map_err(wire)?;
            let features = offers.read_list(LIMIT).map_err(wire)?;
            let features: BTreeSet<String> = features.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
            let path = self.store.store_dir().parse(&path).map_err(|error| broken(error.to_string()))?;
            let is_known = self.options.max_jobs > 0 && (system == self.options.system || self.options.extra_platforms.contains(&system));
            let can_build_there = is_willing && is_known && features.is_subset(&self.options.all_system_features());
            let mut complaints = Vec::new();
            let attempt = builders.try_acquire(&system, &features, &mut |message| complaints.push(message));
            for complaint in complaints {
                answer(answers, &hook_message(1, &format!("warning: {complaint}")))?;
            }
            let place = match attempt.map_err(|error| broken(error.to_string()))? {
                Attempt::Place(place) => place,
                Attempt::Busy if !can_build_there => {
                    answer(answers, "# postpone\n")?;
                    continue;
                }
                Attempt::Busy | Attempt::NoMachine => {
                    answer(answers, "# decline\n")?;
                    continue;
                }
            };
            answer(answers, &format!("# accept\n{}\n", place.machine().address()))?;
            // Inputs are looked up here, and all missing outputs are fetched.
            for _ in ["inputs", "wanted outputs"] {
                offers.read_list(LIMIT).map_err(wire)?;
            }
            return self.build_at(place, &path, log, cancel);
        }
    }

    fn build_at(
        &self,
        place: Place,
        path: &nixlang_store::path::StorePath,
        log: &Mutex<dyn Write + Send + '_>,
        cancel: &CancelToken,
    ) -> Result<(), BuildError> {
        let derivation = self.store.read_derivation(path)?;
        let outputs = self.store.derivation_outputs(path)?.into_values().flatten();
        let held_locks = outputs.collect();
        let store = LocalStore::open(LocalStoreOptions { held_locks, ..self.store.options().clone() })?;
        let mut options = self.options.clone();
        options.post_build_hook = None;
        let builder = Builder::with_executor(Arc::new(store), options, Arc::clone(&self.executor));
        let run = Run::new(&builder, Plan::default(), &(), cancel.child());
        let builders = place.builders().clone();
        let machine = place.machine().address();
        let Place { remote, mut said, slot, .. } = place;
        let sink = &LogFile(log);
        std::thread::scope(|scope| {
            let listening = scope.spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(n_read @ 1..) = said.read(&mut buffer) {
                    sink.write(&buffer[..n_read]);
                }
            });
            let built = run.build_with(&remote, &builders, &machine, path, &derivation, sink, None);
            drop(remote);
            drop(slot);
            let _ = listening.join();
            built.map(drop)
        })
    }
}

/// Writes what is said of a build as a builder's output.
struct LogFile<'f>(&'f Mutex<dyn Write + Send + 'f>);

impl LogFile<'_> {
    fn write(&self, bytes: &[u8]) {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Who does not want to know goes without.
        let _ = file.write_all(bytes).and_then(|()| file.flush());
    }
}

impl LogSink for LogFile<'_> {
    fn log(&self, message: &LogMessage) {
        match message {
            LogMessage::Text(text) => self.write(text),
            LogMessage::Result { kind: wire_result::BUILD_LOG_LINE, fields, .. } => {
                if let Some(Field::Text(line)) = fields.first() {
                    self.write(&[line.as_slice(), b"\n"].concat());
                }
            }
            LogMessage::Result { .. } | LogMessage::StartActivity { .. } | LogMessage::StopActivity { .. } => {}
        }
    }
}
