//! What the programs in `src/bin` share: running a command while measuring it, and medians with their spread.
//!
//! CPU time and peak memory come from `wait4`, so they are the kernel's own figures for the process and for the
//! children it waited for; nothing is sampled.

use std::fmt;
use std::io::{self, Read};
use std::process::{Command, Stdio};

use wait4::Wait4;

/// What one run of a command cost and said.
#[derive(Debug)]
pub struct Run {
    /// User plus system time of the process and the children it waited for, in seconds.
    pub cpu_s: f64,
    /// Largest resident set of any one of these processes, in MiB.
    pub peak_mib: f64,
    /// Whether it exited with status 0.
    pub success: bool,
    /// Standard output, with invalid UTF-8 replaced.
    pub stdout: String,
    /// Standard error, with invalid UTF-8 replaced.
    pub stderr: String,
}

/// Runs a command to its end, without standard input, and returns what it cost.
///
/// # Errors
///
/// When the command can't be started or its output can't be read. A failing command is not an error here.
pub fn measure(command: &mut Command) -> io::Result<Run> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut errors = child.stderr.take().expect("standard error was set to a pipe above");
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        errors.read_to_end(&mut bytes).map(|_| bytes)
    });
    let mut stdout = Vec::new();
    child.stdout.take().expect("standard output was set to a pipe above").read_to_end(&mut stdout)?;
    let stderr = reader.join().map_err(|_| io::Error::other("the thread that reads standard error panicked"))??;
    let end = child.wait4()?;
    Ok(Run {
        cpu_s: (end.rusage.utime + end.rusage.stime).as_secs_f64(),
        peak_mib: end.rusage.maxrss as f64 / (1024.0 * 1024.0),
        success: end.status.success(),
        stdout: String::from_utf8_lossy(&stdout).into_owned(),
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
    })
}

/// Runs a command to its end with the standard input and output that it was given, and returns what it cost.
///
/// # Errors
///
/// When the command can't be started or its errors can't be read. A failing command is not an error here.
pub fn measure_as_is(command: &mut Command) -> io::Result<Run> {
    let mut child = command.stderr(Stdio::piped()).spawn()?;
    let mut stderr = Vec::new();
    child.stderr.take().expect("standard error was set to a pipe above").read_to_end(&mut stderr)?;
    let end = child.wait4()?;
    Ok(Run {
        cpu_s: (end.rusage.utime + end.rusage.stime).as_secs_f64(),
        peak_mib: end.rusage.maxrss as f64 / (1024.0 * 1024.0),
        success: end.status.success(),
        stdout: String::new(),
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
    })
}

/// Median, smallest and largest of a row of measurements.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The middle one; the mean of the two in the middle when their number is even.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// Returns the spread of the measurements, or `None` of an empty row.
    pub fn of(measurements: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = measurements.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 };
        Some(Self { median, min, max })
    }
}

impl fmt::Display for Spread {
    /// Writes `median (min–max)`, with the precision asked for (default 2).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(2);
        write!(f, "{:.digits$} ({:.digits$}–{:.digits$})", self.median, self.min, self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_has_the_middle_whatever_the_order_and_number() {
        assert_eq!(Spread::of([]), None);
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Some(Spread { median: 2.0, min: 1.0, max: 3.0 }));
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 3.0]), Some(Spread { median: 2.5, min: 1.0, max: 4.0 }));
        assert_eq!(format!("{:.1}", Spread { median: 2.0, min: 1.0, max: 3.0 }), "2.0 (1.0–3.0)");
    }

    #[test]
    fn measure_returns_output_status_and_cost() {
        let run = measure(Command::new("/bin/sh").args(["-c", "echo out; echo err >&2; exit 3"])).expect("there is a /bin/sh");
        assert_eq!((run.stdout.as_str(), run.stderr.as_str(), run.success), ("out\n", "err\n", false));
        assert!(run.peak_mib > 0.1 && run.peak_mib < 1000.0, "{} MiB", run.peak_mib);
    }
}
