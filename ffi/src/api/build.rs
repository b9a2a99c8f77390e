//! `nixlang/build.h`: builds that run on a thread of their own, with events in a queue and a descriptor that is readable while there are some.
#![expect(unsafe_code, reason = "exported symbols that take pointers")]

use std::collections::{BTreeSet, VecDeque};
use std::ffi::c_int;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nixlang_build::{BuildEvent, BuildOutcome, CancelToken, DerivedPath, Observer, OutputsSpec};
use nixlang_store::derivation::OutputName;
use nixlang_store::path::StorePath;
use parking_lot::{Condvar, Mutex};
use rustix::event::{EventfdFlags, eventfd};

use super::base::{CText, ErrorPointer, Str, look, plain, put, run};
use super::engine::ConfigHandle;
use super::error::{Code, Failure};
use super::store::{StoreHandle, store_path};
use crate::pool::{self, Slot};
use crate::settings::Settings;
use crate::stores::OpenStore;

/// Events that wait; then progress and log lines are dropped.
const MAX_EVENTS: usize = 100_000;

/// `nixlang_build`
pub struct BuildHandle {
    shared: Arc<Shared>,
    cancel: CancelToken,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// The event that was taken last; C looks at its strings.
    taken: Mutex<Option<Box<Event>>>,
    outputs: Mutex<Option<Vec<(CText, CText, CText)>>>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    wake: Option<OwnedFd>,
    store: Arc<OpenStore>,
}

#[derive(Default)]
struct State {
    events: VecDeque<Event>,
    outcome: Option<Result<BuildOutcome, String>>,
}

#[derive(Default)]
struct Event {
    kind: c_int,
    derivation: CText,
    text: CText,
    done: usize,
    total: usize,
    running: usize,
    failed: usize,
}

crate::pool::pooled!(BuildHandle);

impl Drop for BuildHandle {
    fn drop(&mut self) {
        self.cancel.cancel();
        if let Some(thread) = self.thread.get_mut().take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn push(&self, event: Event, may_drop: bool) {
        let mut state = self.state.lock();
        if !(may_drop && state.events.len() >= MAX_EVENTS) {
            state.events.push_back(event);
            self.signal();
        }
    }

    fn signal(&self) {
        if let Some(wake) = &self.wake {
            let _ = rustix::io::write(wake, &1_u64.to_ne_bytes());
        }
        self.changed.notify_all();
    }
}

impl Observer for Shared {
    fn event(&self, event: &BuildEvent<'_>) {
        let shown = |path: &StorePath| CText::new(self.store.store.store_dir().display(path));
        let (event, may_drop) = match event {
            BuildEvent::Started { derivation, .. } | BuildEvent::StartedElsewhere { derivation, .. } => (Event { kind: 1, derivation: shown(derivation), ..Event::default() }, false),
            BuildEvent::WaitingForLock { derivation } => (Event { kind: 2, derivation: shown(derivation), ..Event::default() }, false),
            BuildEvent::LogLine { derivation, line } => (Event { kind: 3, derivation: shown(derivation), text: CText::new(*line), ..Event::default() }, true),
            BuildEvent::Phase { derivation, phase } => (Event { kind: 4, derivation: shown(derivation), text: CText::new(*phase), ..Event::default() }, false),
            BuildEvent::Finished { derivation, result } => (Event { kind: 5, derivation: shown(derivation), text: CText::new(result.message.clone()), failed: usize::from(!result.status.is_success()), ..Event::default() }, false),
            BuildEvent::Progress { done, total, running, failed } => (Event { kind: 6, done: *done, total: *total, running: *running, failed: *failed, ..Event::default() }, true),
            _ => return,
        };
        self.push(event, may_drop);
    }
}

/// Reads `path`, `path^out,doc` or `path^*`.
///
/// # Safety
/// The header's contract.
unsafe fn wanted(store: &OpenStore, text: Str) -> Result<DerivedPath, Failure> {
    // SAFETY: the header's contract.
    let bytes = unsafe { text.bytes() };
    let (path, outputs) = match bytes.iter().position(|byte| *byte == b'^') {
        Some(at) => (&bytes[..at], Some(&bytes[at + 1..])),
        None => (bytes, None),
    };
    // SAFETY: a part of the string above.
    let path = unsafe { store_path(store, Str::plain(path)) }?;
    let outputs = match outputs {
        None if path.is_derivation() => OutputsSpec::All,
        None => return Ok(DerivedPath::Opaque(path)),
        Some(b"*") => OutputsSpec::All,
        Some(names) => {
            let names = std::str::from_utf8(names).map_err(|_| Failure::argument("names of outputs are UTF-8"))?;
            OutputsSpec::Names(names.split(',').map(OutputName::from).collect::<BTreeSet<_>>())
        }
    };
    Ok(DerivedPath::built(path, outputs))
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_build_start(
    store: *mut Slot<StoreHandle>,
    config: *const Slot<ConfigHandle>,
    paths: *const Str,
    n_paths: usize,
    result: *mut *mut Slot<BuildHandle>,
) -> ErrorPointer {
    // SAFETY: the header's contract.
    run(|| unsafe {
        let store = look(store, "store")?.0.clone();
        let settings = if config.is_null() { Settings::embedded() } else { look(config, "config")?.parts.lock().settings.clone() };
        if paths.is_null() && n_paths != 0 {
            return Err(Failure::argument("the array of paths is NULL"));
        }
        let paths = if n_paths == 0 { &[][..] } else { std::slice::from_raw_parts(paths, n_paths) };
        let paths = paths.iter().map(|path| wanted(&store, *path)).collect::<Result<Vec<_>, _>>()?;
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).ok();
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new(), wake, store });
        let cancel = CancelToken::new();
        let (of_thread, token) = (shared.clone(), cancel.clone());
        let work = move || {
            let outcome = crate::guard::catch(|| of_thread.store.build(&paths, &settings, &*of_thread, &token));
            of_thread.state.lock().outcome = Some(outcome.unwrap_or_else(Err));
            of_thread.push(Event { kind: 7, ..Event::default() }, false);
        };
        let thread = std::thread::Builder::new().name("build".into()).spawn(work).map_err(|error| Failure::new(Code::Internal, error.to_string()))?;
        let handle = BuildHandle { shared, cancel, thread: Mutex::new(Some(thread)), taken: Mutex::default(), outputs: Mutex::default() };
        put(result, pool::give(handle))
    })
}

super::base::free!(nixlang_build_free: BuildHandle);

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_build_descriptor(build: *const Slot<BuildHandle>) -> c_int {
    // SAFETY: the header's contract.
    unsafe { pool::look(build) }.and_then(|build| build.shared.wake.as_ref()).map_or(-1, AsRawFd::as_raw_fd)
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_build_cancel(build: *const Slot<BuildHandle>) {
    // SAFETY: the header's contract.
    if let Some(build) = unsafe { pool::look(build) } {
        build.cancel.cancel();
    }
}

/// `nixlang_event`
#[repr(C)]
pub struct CEvent {
    kind: c_int,
    derivation: Str,
    text: Str,
    done: usize,
    total: usize,
    running: usize,
    failed: usize,
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_build_next_event(build: *mut Slot<BuildHandle>, timeout_ms: i64, result: *mut CEvent) -> bool {
    plain(false, || {
        // SAFETY: the header's contract.
        let (build, result) = unsafe { (pool::look(build)?, result.as_mut()?) };
        let end = u64::try_from(timeout_ms).ok().and_then(|timeout| Instant::now().checked_add(Duration::from_millis(timeout)));
        let mut state = build.shared.state.lock();
        let event = loop {
            if let Some(event) = state.events.pop_front() {
                break event;
            }
            // After the last event there is nothing to wait for.
            if state.outcome.is_some() {
                return None;
            }
            match end {
                None => build.shared.changed.wait(&mut state),
                Some(end) if build.shared.changed.wait_until(&mut state, end).timed_out() && state.events.is_empty() => return None,
                Some(_) => {}
            }
        };
        if state.events.is_empty()
            && let Some(wake) = &build.shared.wake
        {
            let _ = rustix::io::read(wake, &mut [0_u8; 8]);
        }
        drop(state);
        let event = Box::new(event);
        *result = CEvent {
            kind: event.kind,
            derivation: event.derivation.lend(),
            text: event.text.lend(),
            done: event.done,
            total: event.total,
            running: event.running,
            failed: event.failed,
        };
        *build.taken.lock() = Some(event);
        Some(true)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_build_wait(build: *mut Slot<BuildHandle>) -> ErrorPointer {
    // SAFETY: the header's contract.
    run(|| unsafe {
        let build = look(build, "build")?;
        let mut state = build.shared.state.lock();
        while state.outcome.is_none() {
            build.shared.changed.wait(&mut state);
        }
        match state.outcome.as_ref().expect("waited for") {
            Err(message) => Err(Failure::new(Code::Build, message.clone())),
            Ok(_) if build.cancel.is_cancelled() => Err(Failure::new(Code::Cancelled, "the build was cancelled")),
            Ok(outcome) => {
                crate::stores::check(outcome).map_err(|message| Failure::new(Code::Build, message))?;
                let dir = build.shared.store.store.store_dir();
                let outputs = outcome.results.iter().flat_map(|(derivation, result)| {
                    result.outputs.iter().map(move |(name, path)| (CText::new(dir.display(derivation)), CText::new(name.to_string()), CText::new(dir.display(path))))
                });
                build.outputs.lock().get_or_insert_with(|| outputs.collect());
                Ok(())
            }
        }
    })
}

/// `nixlang_output`
#[repr(C)]
pub struct COutput {
    derivation: Str,
    name: Str,
    path: Str,
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_build_output(build: *const Slot<BuildHandle>, index: usize, result: *mut COutput) -> bool {
    plain(false, || {
        // SAFETY: the header's contract.
        let (build, result) = unsafe { (pool::look(build)?, result.as_mut()?) };
        let outputs = build.outputs.lock();
        let (derivation, name, path) = outputs.as_ref()?.get(index)?;
        *result = COutput { derivation: derivation.lend(), name: name.lend(), path: path.lend() };
        Some(true)
    })
}
