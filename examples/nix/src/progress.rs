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

use nixlang::diagnostics::filter_escapes;
use nixlang_build::{BuildEvent, Observer};
use nixlang_store::path::{StoreDir, StorePath};

use crate::commands::Context;
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
}

struct Running {
    since: Instant,
    phase: String,
    line: String,
}

impl Progress {
    pub(crate) fn new(context: &Context) -> Progress {
        let ui = context.ui;
        let is_live = ui.is_terminal && ui.verbosity >= Verbosity::NOTICE;
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

impl Observer for Progress {
    fn event(&self, event: &BuildEvent<'_>) {
        let shared = &*self.shared;
        let state = &mut *shared.lock();
        match event {
            BuildEvent::Started { derivation, isolation } => {
                let path = shared.store_dir.display(derivation);
                shared.line(state, Verbosity::INFO, &format!("building '{path}'..."));
                shared.line(state, Verbosity::INFO.more(1), &format!("'{path}' is built with this isolation: {isolation}"));
                state.running.insert((*derivation).clone(), Running { since: Instant::now(), phase: String::new(), line: String::new() });
            }
            BuildEvent::WaitingForLock { derivation } => {
                let text = format!("waiting for another process that builds '{}'", shared.store_dir.display(derivation));
                shared.line(state, Verbosity::INFO, &text);
            }
            BuildEvent::LogLine { derivation, line } => {
                let line = String::from_utf8_lossy(line);
                if shared.prints_logs {
                    let prefix = if shared.is_classic && !shared.is_live { String::new() } else { format!("{}> ", name(derivation)) };
                    shared.line(state, Verbosity::ERROR, &format!("{prefix}{line}"));
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
                    shared.line(state, Verbosity::WARNING, &format!("warning: '{path}': {note}"));
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
