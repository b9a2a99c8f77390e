//! Evaluating several things that do not need each other: while what one of them imports from is built, the others go on, so that several builds
//! are in flight during one evaluation.
//!
//! The surprising part: there is no second stack. What has to wait fails with an error that no thunk remembers, and is evaluated again later, when
//! most of it is there already; what it said the first time is not said again.

use std::cell::{Cell, RefCell};

use super::{ErrorKind, EvalError, EvalResult, Evaluator};
use crate::host::{Message, WantedOutput};

/// What an evaluator knows of waiting.
#[derive(Default)]
pub(crate) struct Interleaving {
    /// Whether what would have to wait may fail instead.
    may_wait: Cell<bool>,
    /// What the attempt that goes on said.
    said: RefCell<Vec<(Message, String)>>,
    /// What attempts said that had to wait. Whoever takes them up would say it again.
    said_before: RefCell<Vec<(Message, String)>>,
}

impl<'h> Evaluator<'h> {
    /// Evaluates `n` things and returns what `evaluate` returns for each number below `n`, or the error of the first that fails.
    ///
    /// `evaluate` may be called several times for one number, so all it does must be good to do again: it ends early, with an error of the kind
    /// [`ErrorKind::Waiting`], where it needs an output that the host [builds in the background](crate::host::Host::begin_realise). `is_waiting`
    /// recognises such an error in an `E`, which has to be returned as it came.
    ///
    /// # Errors
    /// Those of `evaluate`, but never one of that kind, unless this is called within another `interleaved`.
    pub fn interleaved<T, E>(&self, n: usize, mut evaluate: impl FnMut(usize) -> Result<T, E>, is_waiting: impl Fn(&E) -> bool) -> Result<Vec<T>, E> {
        let state = &self.interleaving;
        let is_within = state.may_wait.get();
        let mut results: Vec<Option<T>> = (0..n).map(|_| None).collect();
        let mut failure = None;
        // What comes after a failure is not evaluated, what comes before it is.
        let (mut end, mut n_open) = (n, n);
        let outcome = loop {
            let mut waits = None;
            for i in 0..end {
                if results[i].is_some() {
                    continue;
                }
                state.may_wait.set(is_within || n_open > 1);
                let result = evaluate(i);
                state.may_wait.set(is_within);
                match result {
                    Ok(value) => {
                        results[i] = Some(value);
                        n_open -= 1;
                    }
                    Err(error) if is_waiting(&error) => {
                        state.said_before.borrow_mut().append(&mut state.said.borrow_mut());
                        waits.get_or_insert(error);
                    }
                    Err(error) => {
                        failure = Some(error);
                        end = i;
                        n_open = results[..end].iter().filter(|result| result.is_none()).count();
                        break;
                    }
                }
                if !is_within {
                    state.said.borrow_mut().clear();
                }
            }
            match waits {
                None => break failure.map_or(Ok(()), Err),
                Some(error) if is_within => break Err(error),
                Some(_) => self.host.await_realised(),
            }
        };
        if !is_within {
            state.said_before.borrow_mut().clear();
        }
        outcome.map(|()| results.into_iter().flatten().collect())
    }

    /// Makes sure that outputs are there, and returns their paths.
    pub(crate) fn realise(&self, outputs: &[WantedOutput]) -> EvalResult<Vec<nixlang_store::path::StorePath>> {
        let realised = match self.interleaving.may_wait.get() {
            true => self.host.begin_realise(outputs),
            false => self.host.realise(outputs).map(Some),
        };
        realised.map_err(|error| self.host_error(error))?.ok_or_else(|| EvalError::new(ErrorKind::Waiting, "an output is being built"))
    }

    /// Says something by the host, unless an attempt that had to wait said it.
    pub(crate) fn say(&self, kind: Message, text: &str) {
        let state = &self.interleaving;
        let message = || (kind, text.to_owned());
        if state.may_wait.get() || !state.said_before.borrow().is_empty() {
            let mut before = state.said_before.borrow_mut();
            let known = before.iter().position(|(known, said)| *known == kind && said == text);
            state.said.borrow_mut().push(message());
            if let Some(known) = known {
                before.remove(known);
                return;
            }
        }
        self.host.message(kind, text);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::rc::Rc;

    use nixlang_store::path::StorePath;

    use super::*;
    use crate::eval::EvalOptions;
    use crate::host::{Host, HostError, HostLayer, HostResult, MemoryHost};
    use crate::source::Origin;

    /// Builds one output at a time, when it is waited for; tells what happened.
    struct Builds {
        files: MemoryHost,
        states: RefCell<BTreeMap<String, bool>>,
        log: Rc<RefCell<Vec<String>>>,
    }

    impl Builds {
        fn note(&self, what: String) {
            self.log.borrow_mut().push(what);
        }
    }

    impl HostLayer for Builds {
        fn inner(&self) -> &dyn Host {
            &self.files
        }

        fn realise(&self, outputs: &[WantedOutput]) -> HostResult<Vec<StorePath>> {
            self.note(format!("builds {}", outputs[0].derivation.name()));
            Ok(outputs.iter().map(|output| output.derivation.clone()).collect())
        }

        fn begin_realise(&self, outputs: &[WantedOutput]) -> HostResult<Option<Vec<StorePath>>> {
            let name = outputs[0].derivation.name().to_owned();
            match self.states.borrow().get(&name) {
                Some(true) if name.starts_with("bad") => return Err(HostError::Failed { message: format!("{name} failed") }),
                Some(true) => return Ok(Some(outputs.iter().map(|output| output.derivation.clone()).collect())),
                Some(false) => return Ok(None),
                None => {}
            }
            self.note(format!("begins {name}"));
            self.states.borrow_mut().insert(name, false);
            Ok(None)
        }

        fn await_realised(&self) {
            let mut states = self.states.borrow_mut();
            if let Some((name, built)) = states.iter_mut().find(|(_, built)| !**built) {
                self.note(format!("built {name}"));
                *built = true;
            }
        }

        fn message(&self, _kind: Message, text: &str) {
            self.note(text.to_owned());
        }
    }

    /// Evaluates the attributes of a set side by side. Returns what came out, and what happened.
    fn run(text: &str, names: &[&str]) -> (Result<Vec<String>, String>, Vec<String>) {
        let text = format!("let drv = name: derivation {{ inherit name; builder = \"b\"; system = \"s\"; }}; read = name: builtins.readFile \"${{drv name}}\"; in {text}");
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let log = Rc::new(RefCell::new(Vec::new()));
                let heap = crate::heap::Heap::new();
                let host = Builds { files: MemoryHost::default(), states: RefCell::default(), log: Rc::clone(&log) };
                let eval = Evaluator::new(&heap, Box::new(host), EvalOptions::default());
                let set = eval.eval_text(text.as_bytes(), Origin::String, b"/").expect("a set");
                let crate::heap::Kind::Attrs(attrs) = set.kind() else { panic!("a set") };
                let evaluate = |i: usize| {
                    let value = attrs.get(eval.symbols.intern(names[i].as_bytes())).expect("it is there").get();
                    eval.force(value).and_then(|value| eval.print_plain(value)).map(|text| String::from_utf8_lossy(&text).into_owned())
                };
                let result = eval.interleaved(names.len(), evaluate, |error| error.kind() == ErrorKind::Waiting).map_err(|error| error.to_string());
                (result, log.take())
            });
            thread.join().expect("it ends")
        })
    }

    #[test]
    fn builds_begin_while_others_wait_and_nothing_is_said_twice() {
        let text = "{ a = builtins.trace \"a looks\" (builtins.pathExists \"${drv \"x\"}/f\"); b = builtins.trace \"b looks\" (builtins.pathExists \"${drv \"y\"}/f\"); c = 3; }";
        let (result, log) = run(text, &["a", "b", "c"]);
        assert_eq!(result, Ok(vec!["false".into(), "false".into(), "3".into()]));
        assert_eq!(log, ["a looks", "begins x.drv", "b looks", "begins y.drv", "built x.drv", "builds y.drv"]);
    }

    #[test]
    fn the_first_failure_is_the_result() {
        let text = "{ a = builtins.pathExists \"${drv \"bad-x\"}/f\"; b = throw \"b\"; c = throw \"c\"; d = builtins.pathExists \"${drv \"y\"}/f\"; }";
        assert_eq!(run(text, &["d", "b", "c"]).0, Err("b".into()));
        assert_eq!(run(text, &["a", "d", "b"]).0, Err("bad-x.drv failed".into()));
    }
}
