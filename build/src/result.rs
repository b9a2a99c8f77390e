//! What became of a build: status numbers as the daemon protocol has them, outputs, and how it was isolated.
//!
//! The surprising part: a hash mismatch has a status of its own here and in exit codes, but travels over the protocol
//! as a rejected output.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use nixlang_store::derivation::OutputName;
use nixlang_store::path::StorePath;

use crate::sandbox::Isolation;

/// How a build, or an attempt to get a path otherwise, ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum BuildStatus {
    /// Built now.
    Built,
    /// Fetched from a substituter.
    Substituted,
    /// Was there already.
    AlreadyValid,
    /// The builder failed, and would again.
    PermanentFailure,
    /// Can't be built here: another kind of machine, missing features, broken derivation.
    InputRejected,
    /// The builder succeeded, but what it made is not acceptable.
    OutputRejected,
    /// Failed for a reason that may pass.
    TransientFailure,
    /// Failed before, and that is remembered.
    CachedFailure,
    /// Took too long, or was silent for too long.
    TimedOut,
    /// Anything else, such as a sandbox that could not be made.
    MiscFailure,
    /// Something that it needs failed.
    DependencyFailed,
    /// Wrote more to its log than allowed.
    LogLimitExceeded,
    /// Built twice, with different results.
    NotDeterministic,
    /// The same as another derivation that is built already.
    ResolvesToAlreadyValid,
    /// No substituter has it, and there is no way to build it.
    NoSubstituters,
    /// A fixed output has another hash than specified.
    HashMismatch,
    /// Stopped by the caller, or never started because something else failed.
    Cancelled,
}

impl BuildStatus {
    /// Returns the number in the daemon protocol (`common-protocol.cc` of the reference, 2.34).
    pub fn protocol_number(self) -> u8 {
        match self {
            BuildStatus::Built => 0,
            BuildStatus::Substituted => 1,
            BuildStatus::AlreadyValid => 2,
            BuildStatus::PermanentFailure => 3,
            BuildStatus::InputRejected => 4,
            BuildStatus::OutputRejected | BuildStatus::HashMismatch => 5,
            BuildStatus::TransientFailure => 6,
            BuildStatus::CachedFailure => 7,
            BuildStatus::TimedOut => 8,
            BuildStatus::MiscFailure | BuildStatus::Cancelled => 9,
            BuildStatus::DependencyFailed => 10,
            BuildStatus::LogLimitExceeded => 11,
            BuildStatus::NotDeterministic => 12,
            BuildStatus::ResolvesToAlreadyValid => 13,
            BuildStatus::NoSubstituters => 14,
        }
    }

    /// Returns whether the outputs are there.
    pub fn is_success(self) -> bool {
        matches!(
            self,
            BuildStatus::Built
                | BuildStatus::Substituted
                | BuildStatus::AlreadyValid
                | BuildStatus::ResolvesToAlreadyValid
        )
    }
}

/// The result of one derivation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildResult {
    /// How it ended.
    pub status: BuildStatus,
    /// The reference's message for a failure; empty for a success. Several lines, no `error:` in front.
    pub message: String,
    /// The last lines of the log of a failed build, oldest first.
    pub log_tail: Vec<Vec<u8>>,
    /// Valid outputs.
    pub outputs: BTreeMap<OutputName, StorePath>,
    /// How the builder was isolated; none if it did not run.
    pub isolation: Option<Isolation>,
    /// What `/bin/sh` was in the sandbox.
    pub shell: Option<String>,
    /// Seconds since 1970 at which the builder started; 0 if it did not.
    pub start_time: u64,
    /// Seconds since 1970 at which the builder ended; 0 if it did not run.
    pub stop_time: u64,
    /// Processor time in user mode.
    pub cpu_user: Duration,
    /// Processor time in the kernel.
    pub cpu_system: Duration,
}

impl BuildResult {
    /// Returns a result with a status and nothing else.
    pub(crate) fn new(status: BuildStatus, message: impl Into<String>) -> BuildResult {
        BuildResult {
            status,
            message: message.into(),
            log_tail: Vec::new(),
            outputs: BTreeMap::new(),
            isolation: None,
            shell: None,
            start_time: 0,
            stop_time: 0,
            cpu_user: Duration::ZERO,
            cpu_system: Duration::ZERO,
        }
    }

    /// Returns the message followed by the last log lines and how to see the rest, for callers that did not show the
    /// log while it came (the reference's text).
    pub fn message_with_log(&self, log_command: &str) -> String {
        let mut text = self.message.clone();
        if !self.log_tail.is_empty() {
            text.push_str(&format!("\nLast {} log lines:\n", self.log_tail.len()));
            for line in &self.log_tail {
                text.push_str(&format!("> {}\n", String::from_utf8_lossy(line)));
            }
            text.push_str(&format!("For full logs, run:\n  {log_command}"));
        }
        text
    }
}

/// What became of a whole plan.
#[derive(Clone, Debug, Default)]
pub struct BuildOutcome {
    /// Result per derivation that was in the plan.
    pub results: BTreeMap<StorePath, BuildResult>,
    /// Derivations that failed, in the order in which they did so far as that is known.
    pub order: Vec<StorePath>,
    /// Those of [`BuildOutcome::order`] that others waited for. The reference tells of them as they fail; of what was
    /// wanted it tells at the end (also, if others waited for it).
    pub told: Vec<StorePath>,
    /// Why a path could not be fetched, per path.
    pub missing: BTreeMap<StorePath, String>,
    /// What everything wanted turned out to be, in the order of [`Plan::wanted`](crate::Plan::wanted). Empty where it
    /// failed.
    pub realised: Vec<Realised>,
}

/// What something wanted turned out to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Realised {
    /// The derivation; none for a plain path.
    pub derivation: Option<StorePath>,
    /// Its wanted outputs.
    pub outputs: BTreeMap<OutputName, StorePath>,
}

impl BuildOutcome {
    /// Returns whether everything that was wanted is there.
    pub fn is_success(&self) -> bool {
        self.missing.is_empty() && self.results.values().all(|result| result.status.is_success())
    }

    /// Returns the results that are failures, with their derivations, in the order in which they failed.
    pub fn failures(&self) -> Vec<(&StorePath, &BuildResult)> {
        let mut failures: Vec<_> = self.results.iter().filter(|(_, result)| !result.status.is_success()).collect();
        let places: HashMap<&StorePath, usize> = self.order.iter().enumerate().map(|(place, path)| (path, place)).collect();
        failures.sort_by_key(|(path, result)| {
            let kind = match result.status {
                BuildStatus::DependencyFailed => 1,
                BuildStatus::Cancelled => 2,
                _ => 0,
            };
            (places.get(path).copied().unwrap_or(usize::MAX), kind)
        });
        failures
    }

    /// Returns the reference's exit status: 0; 100 and more for failures of builders; 1 for everything else.
    ///
    /// 101 is a timeout, 102 a hash mismatch, 104 a build that is not deterministic; they add up bitwise.
    pub fn exit_status(&self) -> u8 {
        if self.is_success() {
            return 0;
        }
        let has = |wanted: &[BuildStatus]| self.results.values().any(|result| wanted.contains(&result.status));
        let timed_out = has(&[BuildStatus::TimedOut]);
        let mismatch = has(&[BuildStatus::HashMismatch]);
        let failed = timed_out || mismatch || has(&[BuildStatus::PermanentFailure, BuildStatus::InputRejected]);
        let differs = has(&[BuildStatus::NotDeterministic]);
        if !failed && !differs {
            return 1;
        }
        0x60 | u8::from(failed) << 2 | u8::from(timed_out) | u8::from(mismatch) << 1 | u8::from(differs) << 3
    }
}

impl fmt::Display for BuildStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_statuses_are_the_references() {
        let path = |index: u8| StorePath::new([index; 20], "x.drv").unwrap();
        for (statuses, expected) in [
            (&[BuildStatus::Built, BuildStatus::AlreadyValid][..], 0),
            (&[BuildStatus::PermanentFailure, BuildStatus::DependencyFailed], 100),
            (&[BuildStatus::InputRejected], 100),
            (&[BuildStatus::TimedOut], 101),
            (&[BuildStatus::HashMismatch], 102),
            (&[BuildStatus::NotDeterministic], 104),
            (&[BuildStatus::TimedOut, BuildStatus::HashMismatch, BuildStatus::NotDeterministic], 111),
            (&[BuildStatus::OutputRejected], 1),
            (&[BuildStatus::TransientFailure], 1),
        ] {
            let results =
                statuses.iter().zip(0..).map(|(&status, index)| (path(index), BuildResult::new(status, ""))).collect();
            let outcome = BuildOutcome { results, ..BuildOutcome::default() };
            assert_eq!(outcome.exit_status(), expected, "{statuses:?}");
        }
    }
}
