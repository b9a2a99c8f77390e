//! What an evaluation can tell of itself: traces of calls, profiles, statistics, and a record of what it read.

use std::cell::RefCell;
use std::io::Write;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nixlang::eval::{Call, CallCounter, Debugger, EvalError, EvalResult, Evaluator, Observer, Profiler, statistics_json};
use nixlang::heap::Value;
use nixlang::host::Reads;

use crate::commands::Context;
use crate::failure::{Failure, Outcome};
use crate::ui::{Ui, Verbosity};

/// Functions in the table of `eval-profiler = functions`.
const MOST_FUNCTIONS: usize = 200;

/// What is watched during one evaluation.
pub(crate) struct Observation {
    profiler: Option<(Rc<Profiler>, Output)>,
    counter: Option<Rc<CallCounter>>,
    count_calls: bool,
}

/// Where a profile goes, and in which form.
struct Output {
    file: std::fs::File,
    name: String,
    is_table: bool,
}

/// Prints every call as it begins and ends.
struct Tracer(Ui);

impl Tracer {
    fn say(&self, eval: &Evaluator<'_>, what: &str, call: &Call<'_, '_>) {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        self.0.line(Verbosity::INFO, &format!("function-trace {what} {} at {time}", eval.show_pos(call.pos)));
    }
}

impl<'h> Observer<'h> for Tracer {
    fn enter(&self, eval: &Evaluator<'h>, call: &Call<'_, 'h>) -> EvalResult<()> {
        self.say(eval, "entered", call);
        Ok(())
    }

    fn leave(&self, eval: &Evaluator<'h>, call: &Call<'_, 'h>, _error: Option<&EvalError>) {
        self.say(eval, "exited", call);
    }
}

/// Several observers as one.
struct All<'h>(RefCell<Vec<Rc<dyn Observer<'h> + 'h>>>);

impl<'h> Observer<'h> for All<'h> {
    fn enter(&self, eval: &Evaluator<'h>, call: &Call<'_, 'h>) -> EvalResult<()> {
        self.0.borrow().iter().try_for_each(|observer| observer.enter(eval, call))
    }

    fn leave(&self, eval: &Evaluator<'h>, call: &Call<'_, 'h>, error: Option<&EvalError>) {
        self.0.borrow().iter().for_each(|observer| observer.leave(eval, call, error));
    }

    fn pause(&self, eval: &Evaluator<'h>, value: Value<'h>) -> EvalResult<()> {
        self.0.borrow().iter().try_for_each(|observer| observer.pause(eval, value))
    }
}

fn is_set(variable: &str) -> bool {
    std::env::var(variable).is_ok_and(|value| value != "0")
}

impl Observation {
    /// Begins to watch what the settings and the environment ask for.
    pub(crate) fn begin(context: &Context, eval: &Evaluator<'_>) -> Outcome<Observation> {
        let settings = &context.settings;
        let mut observers: Vec<Rc<dyn Observer<'_>>> = Vec::new();
        if settings.is_on("trace-function-calls") {
            observers.push(Rc::new(Tracer(context.ui)));
        }
        if context.common.debugger {
            observers.push(Rc::new(Debugger::new(crate::debugging::ask)));
        }
        let profiler = match settings.text("eval-profiler") {
            "disabled" => None,
            kind @ ("flamegraph" | "functions") => {
                let period = match settings.integer("eval-profiler-frequency") {
                    0 => Duration::ZERO,
                    frequency => Duration::from_nanos(1_000_000_000 / frequency),
                };
                let name = settings.text("eval-profile-file").to_owned();
                let file = std::fs::File::create(&name).map_err(|error| Failure::new(format!("opening file '{name}': {}", crate::failure::plain(&error))))?;
                let profiler = Rc::new(Profiler::every(period));
                observers.push(profiler.clone());
                Some((profiler, Output { file, name, is_table: kind == "functions" }))
            }
            other => return Err(Failure::Usage(format!("option 'eval-profiler' has invalid value '{other}'"))),
        };
        let counter = is_set("NIX_SHOW_STATS").then(CallCounter::new);
        if let Some(counter) = &counter {
            observers.push(counter.clone());
        }
        match observers.len() {
            0 => {}
            1 => eval.set_observer(observers.pop()),
            _ => eval.set_observer(Some(Rc::new(All(RefCell::new(observers))))),
        }
        Ok(Observation { profiler, counter, count_calls: is_set("NIX_COUNT_CALLS") })
    }

    /// Writes what was seen. Profiles of failed evaluations are written too, statistics are not.
    pub(crate) fn end(self, eval: &Evaluator<'_>, succeeded: bool) -> Outcome<()> {
        eval.set_observer(None);
        if let Some((profiler, mut output)) = self.profiler {
            let text = if output.is_table { profiler.table(eval, MOST_FUNCTIONS) } else { profiler.folded(eval) };
            output.file.write_all(text.as_bytes()).map_err(|error| Failure::new(format!("writing file '{}': {}", output.name, crate::failure::plain(&error))))?;
        }
        if let Some(counter) = self.counter.filter(|_| succeeded) {
            let json = statistics_json(eval, cpu_seconds(), &counter, self.count_calls);
            let mut text = nixlang_store::json::to_string_pretty(&json);
            text.push('\n');
            match std::env::var("NIX_SHOW_STATS_PATH") {
                Ok(path) if path != "-" => std::fs::write(&path, text).map_err(|error| Failure::new(format!("writing file '{path}': {}", crate::failure::plain(&error))))?,
                _ => std::io::stderr().lock().write_all(text.as_bytes())?,
            }
        }
        Ok(())
    }
}

/// Returns the processor time that this process has used.
fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Writes a record of what was read: a line of JSON for each.
pub(crate) fn write_reads(path: &std::path::Path, reads: &Arc<Mutex<Reads>>) -> Outcome<()> {
    let reads = reads.lock().unwrap_or_else(PoisonError::into_inner);
    let lines: String = reads
        .iter()
        .map(|(read, found)| format!("{}\n", serde_json::json!({ "kind": read.kind(), "name": read.name(), "found": found })))
        .collect();
    std::fs::write(path, lines).map_err(|error| Failure::new(format!("writing file '{}': {}", path.display(), crate::failure::plain(&error))))
}
