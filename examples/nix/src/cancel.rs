//! Ctrl-C: the first asks everything to stop, the second ends the process.

use nixlang_build::CancelToken;

/// Returns a token that is cancelled when the user or the system wants this process to end.
pub(crate) fn on_signals() -> CancelToken {
    let token = CancelToken::new();
    let signals = [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP];
    if let Ok(mut signals) = signal_hook::iterator::Signals::new(signals) {
        let cancelled = token.clone();
        std::thread::spawn(move || {
            for signal in signals.forever() {
                if cancelled.is_cancelled() {
                    std::process::exit(128 + signal);
                }
                cancelled.cancel();
            }
        });
    }
    token
}
