//! What is shown while builds run: on a terminal a few lines that change, otherwise one line per event.
//!
//! ```text
//! hello-2.12 (buildPhase)  gcc -c hello.c            12s
//! 3 of 17 built, 1 running, 0 failed
//! ```

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nixlang::diagnostics::{Diagnostic, filter_escapes};
use nixlang_build::{BuildEvent, Observer, building};
use nixlang_store::path::{StoreDir, StorePath};
use serde_json::Value;

use crate::commands::Context;
use crate::json_log::{self, activity};
use crate::ui::{Ui, Verbosity};

/// How often the lines on a terminal are drawn anew.
const INTERVAL: Duration = Duration::from_millis(100);
/// Builds that are shown at once.
const MAX_SHOWN: usize = 8;

/// Watches builds.
pub(crate) struct Progress {
    shared: Arc<Shared>,
    drawing: Option<std::thread::JoinHandle<()>>,
}

struct Shared {
    ui: Ui,
    store_dir: StoreDir,
    is_classic: bool,
    prints_logs: bool,
    is_live: bool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    running: BTreeMap<StorePath, Running>,
    done: usize,
    total: usize,
    failed: usize,
    /// Lines that are on the terminal and will be drawn over.
    n_drawn: usize,
    is_finished: bool,
    has_ended: bool,
    /// Activities begun so far, besides the first three.
    n_activities: u64,
    /// Activities of builds, and of hooks and waiting.
    activities: BTreeMap<(StorePath, u32), u64>,
}

/// Returns the number of an activity: unique among processes, as the reference makes it.
fn activity_id(number: u64) -> u64 {
    (u64::from(std::process::id()) << 32) + number
}

struct Running {
    since: Instant,
    phase: String,
    line: String,
}

impl Progress {
    pub(crate) fn new(context: &Context) -> Progress {
        let ui = context.ui;
        let is_live = context.common.progress.unwrap_or(ui.is_terminal && ui.verbosity >= Verbosity::NOTICE) && ui.json.is_none();
        let shared = Arc::new(Shared {
            ui,
            store_dir: context.store.store_dir().clone(),
            is_classic: context.common.is_classic,
            prints_logs: context.prints_build_logs(),
            is_live,
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let drawing = is_live.then(|| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || shared.draw_until_finished())
        });
        // The numbers of these three are fixed, those of builds follow.
        for (number, kind) in [activity::REALISE, activity::BUILDS, activity::COPY_PATHS].into_iter().enumerate() {
            ui.activity(|| json_log::start(activity_id(number as u64), 0, kind, "", &[]));
        }
        Progress { shared, drawing }
    }

    /// Ends the changing lines.
    pub(crate) fn finish(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        let mut state = self.shared.lock();
        state.is_finished = true;
        self.shared.changed.notify_all();
        self.shared.erase(&mut state);
        if !std::mem::replace(&mut state.has_ended, true) {
            for number in (0..3).rev() {
                self.shared.ui.activity(|| json_log::stop(activity_id(number)));
            }
        }
        drop(state);
        if let Some(drawing) = self.drawing.take() {
            let _ = drawing.join();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows a line that stays.
    fn line(&self, state: &mut State, level: Verbosity, text: &str) {
        if level <= self.ui.verbosity {
            self.erase(state);
            self.ui.line(level, text);
        }
    }

    /// Shows a line that has another form in JSON.
    fn text(&self, state: &mut State, level: Verbosity, text: &str) {
        if level <= self.ui.verbosity {
            self.erase(state);
            self.ui.text(level, text);
        }
    }

    fn erase(&self, state: &mut State) {
        if state.n_drawn > 0 {
            let n_lines = std::mem::take(&mut state.n_drawn);
            let _ = std::io::stderr().lock().write_all(format!("\x1b[{n_lines}F\x1b[J").as_bytes());
        }
    }

    fn draw_until_finished(&self) {
        let mut state = self.lock();
        while !state.is_finished {
            self.draw(&mut state);
            state = self.changed.wait_timeout(state, INTERVAL).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn draw(&self, state: &mut State) {
        let width = terminal_width();
        let mut text = String::new();
        let mut n_lines = 0;
        let mut add = |line: &str| {
            let line: String = line.chars().take(width.saturating_sub(1)).collect();
            text.push_str(&format!("\x1b[2K{line}\n"));
            n_lines += 1;
        };
        for (path, running) in state.running.iter().take(MAX_SHOWN) {
            let phase = if running.phase.is_empty() { String::new() } else { format!(" ({})", running.phase) };
            add(&format!("▶ {}{phase} {}s  {}", name(path), running.since.elapsed().as_secs(), running.line));
        }
        if state.running.len() > MAX_SHOWN {
            add(&format!("▶ and {} more", state.running.len() - MAX_SHOWN));
        }
        if state.total > 0 {
            let failed = if state.failed > 0 { format!(", {} failed", state.failed) } else { String::new() };
            add(&format!("{} of {} built, {} running{failed}", state.done, state.total, state.running.len()));
        }
        let back = if state.n_drawn > 0 { format!("\x1b[{}F", state.n_drawn) } else { String::new() };
        state.n_drawn = n_lines;
        let _ = std::io::stderr().lock().write_all(format!("{back}{text}\x1b[J").as_bytes());
    }
}

impl Shared {
    /// Writes what an event means in terms of activities.
    fn activity(&self, state: &mut State, event: &BuildEvent<'_>) {
        if self.ui.json.is_none() && self.ui.json_copy.is_none() {
            return;
        }
        let display = |path: &StorePath| self.store_dir.display(path);
        let mut start = |path: &StorePath, level: Verbosity, kind: u32, text: &str, fields: &[Value]| {
            state.n_activities += 1;
            let id = activity_id(2 + state.n_activities);
            if let Some(earlier) = state.activities.insert((path.clone(), kind), id) {
                self.ui.activity(|| json_log::stop(earlier));
            }
            self.ui.activity(|| json_log::start(id, level.0, kind, text, fields));
        };
        match event {
            BuildEvent::Started { derivation, .. } => {
                let path = display(derivation);
                start(derivation, Verbosity::INFO, activity::BUILD, &building(&path, ""), &[path.clone().into(), "".into(), 1.into(), 1.into()]);
            }
            BuildEvent::StartedElsewhere { derivation, machine } => {
                let path = display(derivation);
                start(derivation, Verbosity::INFO, activity::BUILD, &building(&path, machine), &[path.clone().into(), (*machine).into(), 1.into(), 1.into()]);
            }
            BuildEvent::Resolved { derivation, resolved } => {
                let (from, to) = (display(derivation), display(resolved));
                start(derivation, Verbosity::INFO, activity::BUILD_WAITING, &format!("resolved derivation: '{from}' -> '{to}'"), &[from.clone().into(), to.clone().into()]);
            }
            BuildEvent::WaitingForLock { derivation } => {
                start(derivation, Verbosity::WARNING, activity::BUILD_WAITING, &format!("waiting for lock on '{}'", display(derivation)), &[]);
            }
            BuildEvent::HookStarted { derivation, program } => {
                start(derivation, Verbosity::INFO.more(1), activity::POST_BUILD_HOOK, &format!("running post-build-hook '{}'", program.display()), &[display(derivation).into()]);
            }
            BuildEvent::LogLine { derivation, line } => {
                if let Some(&id) = state.activities.get(&((*derivation).clone(), activity::BUILD)) {
                    let line = String::from_utf8_lossy(line);
                    self.ui.activity(|| json_log::outcome(id, json_log::result::BUILD_LOG_LINE, &[(*line).into()]));
                }
            }
            BuildEvent::HookLine { derivation, line } => {
                if let Some(&id) = state.activities.get(&((*derivation).clone(), activity::POST_BUILD_HOOK)) {
                    let line = String::from_utf8_lossy(line);
                    self.ui.activity(|| json_log::outcome(id, json_log::result::POST_BUILD_LOG_LINE, &[(*line).into()]));
                }
            }
            BuildEvent::Phase { derivation, phase } => {
                if let Some(&id) = state.activities.get(&((*derivation).clone(), activity::BUILD)) {
                    self.ui.activity(|| json_log::outcome(id, json_log::result::SET_PHASE, &[(*phase).into()]));
                }
            }
            BuildEvent::HookFinished { derivation } => {
                if let Some(id) = state.activities.remove(&((*derivation).clone(), activity::POST_BUILD_HOOK)) {
                    self.ui.activity(|| json_log::stop(id));
                }
            }
            BuildEvent::Ended { derivation } | BuildEvent::Finished { derivation, .. } => {
                for kind in [activity::BUILD, activity::BUILD_WAITING] {
                    if let Some(id) = state.activities.remove(&((*derivation).clone(), kind)) {
                        self.ui.activity(|| json_log::stop(id));
                    }
                }
            }
            BuildEvent::Progress { done, total, running, failed } => {
                let n_built = done.saturating_sub(*failed);
                let fields: Vec<Value> = [n_built, *total, *running, *failed].map(Value::from).to_vec();
                self.ui.activity(|| json_log::outcome(activity_id(1), json_log::result::PROGRESS, &fields));
            }
            _ => {}
        }
    }
}

impl Observer for Progress {
    fn event(&self, event: &BuildEvent<'_>) {
        let shared = &*self.shared;
        let state = &mut *shared.lock();
        shared.activity(state, event);
        match event {
            BuildEvent::Started { derivation, isolation } => {
                let path = shared.store_dir.display(derivation);
                shared.text(state, Verbosity::INFO, &format!("{}...", building(&path, "")));
                shared.line(state, Verbosity::INFO.more(1), &format!("'{path}' is built with this isolation: {isolation}"));
                state.running.insert((*derivation).clone(), Running { since: Instant::now(), phase: String::new(), line: String::new() });
            }
            BuildEvent::StartedElsewhere { derivation, machine } => {
                let path = shared.store_dir.display(derivation);
                shared.text(state, Verbosity::INFO, &format!("{}...", building(&path, machine)));
                state.running.insert((*derivation).clone(), Running { since: Instant::now(), phase: String::new(), line: String::new() });
            }
            BuildEvent::Note { message, .. } => shared.line(state, Verbosity::INFO, message),
            BuildEvent::Fetching { path, from, .. } => {
                let text = nixlang_store::copy::message(from, "local", &shared.store_dir.display(path));
                shared.line(state, Verbosity::INFO, &format!("{text}..."));
                state.running.insert((*path).clone(), Running { since: Instant::now(), phase: "fetching".into(), line: String::new() });
            }
            BuildEvent::FetchProgress { path, n_bytes, nar_size } => {
                if let Some(running) = state.running.get_mut(*path) {
                    running.line = format!("{} of {}", crate::building::size(*n_bytes), crate::building::size(*nar_size));
                }
            }
            BuildEvent::Fetched { path, error } => {
                state.running.remove(*path);
                if let Some(error) = error {
                    shared.erase(state);
                    let text = crate::failure::message(*error);
                    // What is gone is as if it had never been there.
                    let is_gone = matches!(error, nixlang_store::error::StoreError::Gone { .. });
                    shared.ui.show(&if is_gone { Diagnostic::warning(text) } else { Diagnostic::error(text) });
                }
            }
            BuildEvent::WaitingForLock { derivation } => {
                let text = format!("waiting for another process that builds '{}'", shared.store_dir.display(derivation));
                shared.text(state, Verbosity::INFO, &text);
            }
            BuildEvent::Resolved { derivation, resolved } => {
                let (from, to) = (shared.store_dir.display(derivation), shared.store_dir.display(resolved));
                shared.text(state, Verbosity::INFO, &format!("resolved derivation: '{from}' -> '{to}'..."));
            }
            BuildEvent::Executing { program, .. } => {
                shared.line(state, Verbosity(5), &format!("executing builder '{}'", String::from_utf8_lossy(program)));
            }
            BuildEvent::Warning { message, .. } => {
                shared.erase(state);
                shared.ui.warn(*message);
            }
            BuildEvent::HookLine { derivation, line } => {
                let prefix = if shared.is_classic && !shared.is_live { String::new() } else { format!("{} (post)> ", name(derivation)) };
                shared.text(state, Verbosity::ERROR, &format!("{prefix}{}", String::from_utf8_lossy(line)));
            }
            BuildEvent::LogLine { derivation, line } => {
                let line = String::from_utf8_lossy(line);
                if shared.prints_logs {
                    let prefix = if shared.is_classic && !shared.is_live { String::new() } else { format!("{}> ", name(derivation)) };
                    shared.text(state, Verbosity::ERROR, &format!("{prefix}{line}"));
                }
                if let Some(running) = state.running.get_mut(*derivation) {
                    running.line = filter_escapes(&line, false);
                }
            }
            BuildEvent::Phase { derivation, phase } => {
                if let Some(running) = state.running.get_mut(*derivation) {
                    running.phase = filter_escapes(phase, false);
                }
            }
            BuildEvent::Finished { derivation, result } => {
                state.running.remove(*derivation);
                let path = shared.store_dir.display(derivation);
                if let Some(note) = crate::building::isolation_note(result.isolation) {
                    // A setting asked for it; nothing else leads to it.
                    shared.line(state, Verbosity::INFO.more(1), &format!("warning: '{path}': {note}"));
                }
                if let Some(shell) = &result.shell {
                    shared.line(state, Verbosity::INFO.more(1), &format!("'{path}' had as /bin/sh: {shell}"));
                }
            }
            BuildEvent::Progress { done, total, failed, .. } => (state.done, state.total, state.failed) = (*done, *total, *failed),
            _ => {}
        }
    }
}

/// Returns the name of what a derivation makes.
fn name(derivation: &StorePath) -> &str {
    derivation.derivation_name().unwrap_or(derivation.name())
}

fn terminal_width() -> usize {
    rustix::termios::tcgetwinsize(std::io::stderr()).map_or(80, |size| if size.ws_col == 0 { 80 } else { usize::from(size.ws_col) })
}
