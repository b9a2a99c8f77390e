//! Between the two sets of types.

use std::time::Duration;

use nixlang_store::wire;
use nixlang_store::wire::build_result::BuildStatus as WireStatus;

use crate::options::BuildMode;
use crate::result::{BuildResult, BuildStatus};

/// Returns the mode that travels.
pub fn to_wire_mode(mode: BuildMode) -> wire::build_result::BuildMode {
    match mode {
        BuildMode::Normal => wire::build_result::BuildMode::Normal,
        BuildMode::Check => wire::build_result::BuildMode::Check,
        BuildMode::Repair => wire::build_result::BuildMode::Repair,
    }
}

/// Returns the result that travels, without its outputs.
pub fn to_wire_result(result: &BuildResult) -> wire::build_result::BuildResult {
    let status = WireStatus::ALL[usize::from(result.status.protocol_number())];
    let micros = |time: Duration| (!time.is_zero()).then(|| i64::try_from(time.as_micros()).unwrap_or(i64::MAX));
    let seconds = |time: u64| i64::try_from(time).unwrap_or(i64::MAX);
    wire::build_result::BuildResult {
        times_built: u64::from(result.start_time != 0),
        is_non_deterministic: result.status == BuildStatus::NotDeterministic,
        start_time: seconds(result.start_time),
        stop_time: seconds(result.stop_time),
        cpu_user_us: micros(result.cpu_user),
        cpu_system_us: micros(result.cpu_system),
        ..wire::build_result::BuildResult::new(status, result.message.clone())
    }
}

/// Reads a result that has travelled.
pub fn from_wire_result(result: &wire::build_result::BuildResult) -> BuildResult {
    let status = match result.status {
        WireStatus::Built => BuildStatus::Built,
        WireStatus::Substituted => BuildStatus::Substituted,
        WireStatus::AlreadyValid => BuildStatus::AlreadyValid,
        WireStatus::PermanentFailure => BuildStatus::PermanentFailure,
        WireStatus::InputRejected => BuildStatus::InputRejected,
        WireStatus::OutputRejected => BuildStatus::OutputRejected,
        WireStatus::TransientFailure => BuildStatus::TransientFailure,
        WireStatus::CachedFailure => BuildStatus::CachedFailure,
        WireStatus::TimedOut => BuildStatus::TimedOut,
        WireStatus::MiscFailure => BuildStatus::MiscFailure,
        WireStatus::DependencyFailed => BuildStatus::DependencyFailed,
        WireStatus::LogLimitExceeded => BuildStatus::LogLimitExceeded,
        WireStatus::NotDeterministic => BuildStatus::NotDeterministic,
        WireStatus::ResolvesToAlreadyValid => BuildStatus::ResolvesToAlreadyValid,
        WireStatus::NoSubstituters => BuildStatus::NoSubstituters,
    };
    let duration = |micros: Option<i64>| Duration::from_micros(micros.map_or(0, |micros| micros.max(0).cast_unsigned()));
    BuildResult {
        outputs: result.outputs.iter().map(|(name, output)| (name.clone(), output.made.path.clone())).collect(),
        start_time: result.start_time.max(0).cast_unsigned(),
        stop_time: result.stop_time.max(0).cast_unsigned(),
        cpu_user: duration(result.cpu_user_us),
        cpu_system: duration(result.cpu_system_us),
        ..BuildResult::new(status, result.error.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_statuses_travel() {
        for status in WireStatus::ALL {
            let there = wire::build_result::BuildResult::new(status, "x");
            assert_eq!(to_wire_result(&from_wire_result(&there)).status, status);
        }
    }
}
