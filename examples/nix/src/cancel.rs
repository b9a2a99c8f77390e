//! Ctrl-C: the first asks everything to stop, the second ends the process.
//!
//! The surprising part: an interactive session outlives it. So what is cancelled can be replaced by what isn't, and whoever works for long asks
//! for the tokens when the work begins.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nixlang::eval;
use nixlang_build::CancelToken;
use nixlang_store::transfer::Interrupt;

/// What the user's wish to stop reaches. Copies are the same.
#[derive(Clone, Default)]
pub(crate) struct Cancel(Arc<Mutex<Tokens>>);

#[derive(Default)]
struct Tokens {
    building: CancelToken,
    evaluation: eval::CancelToken,
}

impl Cancel {
    /// Returns one that is cancelled when the user or the system wants this process to end.
    pub(crate) fn on_signals() -> Cancel {
        let cancel = Cancel::default();
        let signals = [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP];
        if let Ok(mut signals) = signal_hook::iterator::Signals::new(signals) {
            let cancelled = cancel.clone();
            std::thread::spawn(move || {
                for signal in signals.forever() {
                    if cancelled.is_cancelled() {
                        std::process::exit(128 + signal);
                    }
                    cancelled.cancel();
                }
            });
        }
        cancel
    }

    fn tokens(&self) -> MutexGuard<'_, Tokens> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks everything to stop that is going on now.
    pub(crate) fn cancel(&self) {
        let tokens = self.tokens();
        tokens.evaluation.cancel();
        tokens.building.cancel();
    }

    /// Returns whether everything is to stop.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.tokens().building.is_cancelled()
    }

    /// Lets what begins from now on go on.
    pub(crate) fn renew(&self) {
        *self.tokens() = Tokens::default();
    }

    /// Returns what stops a build that begins now.
    pub(crate) fn token(&self) -> CancelToken {
        self.tokens().building.clone()
    }

    /// Returns what stops an evaluation that begins now.
    pub(crate) fn evaluation(&self) -> eval::CancelToken {
        self.tokens().evaluation.clone()
    }

    /// Returns what transfers are stopped by, whenever they begin.
    pub(crate) fn interrupt(&self) -> Interrupt {
        let cancel = self.clone();
        Interrupt::new(move || cancel.is_cancelled())
    }
}
