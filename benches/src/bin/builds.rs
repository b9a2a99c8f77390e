//! Measures builds of many trivial derivations, side by side with another `nix-build` in one run.
//!
//! ```text
//! builds OURS [--theirs NIX-BUILD] [--runs N] [--large N] [--only-large yes] [--scratch DIR]
//! ```
//!
//! Each case has a store of its own below the scratch directory (`NIX_STORE_DIR` and its companions, which both honour).
//! An *aggregate* is one derivation with N inputs that need nothing, a *chain* one after the other. Times are wall clock;
//! the smallest of all runs is printed first, then the median; memory is the peak of the largest process. With `--large`
//! our program alone builds aggregates of a tenth, a half and all of so many, and then finds that there is nothing to do.
//! With `--only-large` that is all.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use wait4::Wait4;

const AGGREGATE: &str = r#"{ n, seed }: derivation { name = "agg"; system = "x86_64-linux"; builder = "/bin/sh"; inherit seed; args = [ "-c" "echo ok > $out" ];
  deps = builtins.genList (i: derivation { name = "d-${toString i}"; system = "x86_64-linux"; builder = "/bin/sh"; inherit seed; args = [ "-c" "echo $name$seed > $out" ]; }) n; }"#;
/// As [`AGGREGATE`], but no single string becomes longer than a kernel takes.
const LARGE: &str = r#"{ n, seed }: derivation { name = "agg"; system = "x86_64-linux"; builder = "/bin/sh"; inherit seed; args = [ "-c" "echo ok > $out" ]; passAsFile = [ "deps" ];
  deps = builtins.genList (i: derivation { name = "d-${toString i}"; system = "x86_64-linux"; builder = "/bin/sh"; inherit seed; args = [ "-c" "echo $name$seed > $out" ]; }) n; }"#;
const CHAIN: &str = r#"{ n, seed }: builtins.foldl' (prev: i: derivation { name = "c-${toString i}"; system = "x86_64-linux"; builder = "/bin/sh"; inherit seed prev; args = [ "-c" "echo $name$seed > $out" ]; }) "x" (builtins.genList (i: i) n)"#;

struct Program {
    name: &'static str,
    command: Vec<String>,
}

struct Sample {
    time: Duration,
    /// Processor time of the program and everything that it waited for, builders included.
    cpu: Duration,
    /// Peak memory in MiB.
    memory: u64,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let ours = arguments.next().ok_or("usage: builds OURS [--theirs NIX-BUILD] [--runs N] [--large N] [--scratch DIR]")?;
    let (mut theirs, mut n_runs, mut n_large, mut only_large, mut scratch) = (None, 3, 0, false, std::env::temp_dir());
    while let Some(flag) = arguments.next() {
        let value = arguments.next().ok_or("a flag without a value")?;
        match flag.as_str() {
            "--theirs" => theirs = Some(value),
            "--runs" => n_runs = value.parse()?,
            "--large" => n_large = value.parse()?,
            "--only-large" => only_large = value == "yes",
            "--scratch" => scratch = PathBuf::from(value),
            _ => return Err(format!("unknown flag {flag}").into()),
        }
    }
    let mut programs = vec![Program { name: "ours", command: vec![ours, "nix-build".into()] }];
    programs.extend(theirs.map(|command| Program { name: "theirs", command: vec![command] }));
    println!("load: {}", std::fs::read_to_string("/proc/loadavg")?.trim());
    println!("| case | sandbox | program | least | median | processor | per build | memory |\n|---|---|---|---|---|---|---|---|");
    for (kind, expression, n) in
        [("aggregate", AGGREGATE, 50), ("aggregate", AGGREGATE, 100), ("aggregate", AGGREGATE, 200), ("chain", CHAIN, 100)]
    {
        for sandbox in [false, true].into_iter().filter(|_| !only_large) {
            let mut samples: Vec<Vec<Sample>> = programs.iter().map(|_| Vec::new()).collect();
            // One after the other, so that what else happens on the machine hits all alike.
            for run in 0..n_runs {
                for (program, samples) in programs.iter().zip(&mut samples) {
                    let place = Place::new(&scratch)?;
                    samples.push(place.build(program, expression, n, run, sandbox)?);
                }
            }
            for (program, samples) in programs.iter().zip(samples) {
                print(&format!("{kind} of {n}"), sandbox, program.name, n, samples);
            }
        }
    }
    if n_large > 0 {
        for n in [n_large / 10, n_large / 2] {
            let sample = Place::new(&scratch)?.build(&programs[0], LARGE, n, 0, true)?;
            print(&format!("aggregate of {n}"), true, "ours", n, vec![sample]);
        }
        let place = Place::new(&scratch)?;
        let sample = place.build(&programs[0], LARGE, n_large, 0, true)?;
        print(&format!("aggregate of {n_large}"), true, "ours", n_large, vec![sample]);
        let again = (0..n_runs).map(|_| place.build(&programs[0], LARGE, n_large, 0, true)).collect::<Result<_, _>>()?;
        print(&format!("nothing to do of {n_large}, with evaluation"), true, "ours", n_large, again);
        let derivation = place.derivation(&programs[0], LARGE, n_large)?;
        let again = (0..n_runs).map(|_| place.realise(&programs[0], &derivation)).collect::<Result<_, _>>()?;
        print(&format!("nothing to do of {n_large}"), true, "ours", n_large, again);
        let inputs = place.inputs(&derivation)?;
        let again = (0..n_runs).map(|_| place.realise_all(&programs[0], &inputs)).collect::<Result<_, _>>()?;
        print(&format!("{n_large} wanted, all valid"), true, "ours", n_large, again);
    }
    Ok(())
}

fn print(case: &str, sandbox: bool, program: &str, n: usize, mut samples: Vec<Sample>) {
    samples.sort_by_key(|sample| sample.time);
    let least = samples[0].time;
    let median = samples[samples.len() / 2].time;
    let memory = samples.iter().map(|sample| sample.memory).max().unwrap_or(0);
    let cpu = samples.iter().map(|sample| sample.cpu).min().unwrap_or_default().as_secs_f64();
    let per_build = least.as_secs_f64() * 1000.0 / n as f64;
    println!("| {case} | {sandbox} | {program} | {:.3} s | {:.3} s | {cpu:.3} s | {per_build:.2} ms | {memory} MiB |", least.as_secs_f64(), median.as_secs_f64());
}

/// A store of its own.
struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new(scratch: &Path) -> std::io::Result<Place> {
        Ok(Place { directory: tempfile::Builder::new().prefix("bench").tempdir_in(scratch)? })
    }

    fn command(&self, words: &[String]) -> Command {
        let top = self.directory.path();
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .env("NIX_STORE_DIR", top.join("store"))
            .env("NIX_LOCALSTATE_DIR", top.join("var"))
            .env("NIX_STATE_DIR", top.join("var/nix"))
            .env("NIX_LOG_DIR", top.join("var/log/nix"))
            .env("NIX_REMOTE", "")
            .env_remove("NIX_PATH")
            .env("HOME", top)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    fn measure(mut command: Command) -> Result<Sample, Box<dyn std::error::Error>> {
        let started = Instant::now();
        let ended = command.spawn()?.wait4()?;
        let time = started.elapsed();
        if !ended.status.success() {
            return Err(format!("{command:?} failed").into());
        }
        let cpu = ended.rusage.utime + ended.rusage.stime;
        Ok(Sample { time, cpu, memory: ended.rusage.maxrss / 1024 / 1024 })
    }

    fn arguments(expression: &str, n: usize, run: usize) -> Vec<String> {
        let words = ["-E", expression, "--arg", "n", &n.to_string(), "--argstr", "seed", &run.to_string()];
        words.map(str::to_owned).to_vec()
    }

    fn build(&self, program: &Program, expression: &str, n: usize, run: usize, sandbox: bool) -> Result<Sample, Box<dyn std::error::Error>> {
        let mut words = program.command.clone();
        words.extend(["-j2", "--no-out-link", "-Q", "--option", "substitute", "false", "--option", "sandbox"].map(str::to_owned));
        words.push(sandbox.to_string());
        words.extend(Place::arguments(expression, n, run));
        Place::measure(self.command(&words))
    }

    fn derivation(&self, program: &Program, expression: &str, n: usize) -> Result<String, Box<dyn std::error::Error>> {
        let mut words = vec![program.command[0].clone(), "nix-instantiate".to_owned()];
        words.extend(Place::arguments(expression, n, 0));
        let output = self.command(&words).stdout(Stdio::piped()).output()?;
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// Reads the names of input derivations out of the derivation's text.
    fn inputs(&self, derivation: &str) -> Result<Vec<String>, Box<dyn std::error::Error>> {
        let text = std::fs::read_to_string(derivation)?;
        Ok(text.split('"').filter(|word| word.ends_with(".drv")).map(str::to_owned).collect())
    }

    fn realise(&self, program: &Program, derivation: &str) -> Result<Sample, Box<dyn std::error::Error>> {
        self.realise_all(program, &[derivation.to_owned()])
    }

    fn realise_all(&self, program: &Program, derivations: &[String]) -> Result<Sample, Box<dyn std::error::Error>> {
        let mut words = vec![program.command[0].clone(), "nix-store".to_owned(), "--realise".to_owned()];
        words.extend_from_slice(derivations);
        Place::measure(self.command(&words))
    }
}
