//! Side by side with an installed real Nix: CPU time and peak memory of evaluations of Nixpkgs.
//!
//! usage: `REAL_NIX=COMMAND NIXPKGS=DIRECTORY compare [--runs N] [--nixlang PROGRAM] [WORKLOAD...]`
//!
//! REAL_NIX runs the command line behind it with the real Nix in its PATH (`env` where it is installed); NIXPKGS is the
//! tree to evaluate. Every run is a process of its own, one after the other, ours and theirs in turn, so that a change in the machine's
//! load meets both. One run of each is made before and not counted: it fills the page cache and checks that both give
//! the same answer. What REAL_NIX itself costs (it may be a wrapper) is measured with `true` and taken off.

use std::env;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use nixlang_benches::{Run, Spread, measure};

/// A named expression; `NIXPKGS` in it stands for the path of the tree.
struct Workload {
    name: &'static str,
    expression: &'static str,
}

const WORKLOADS: [Workload; 3] = [
    Workload {
        name: "hello",
        expression: "(import NIXPKGS { system = \"x86_64-linux\"; config = { }; overlays = [ ]; }).hello.drvPath",
    },
    Workload {
        name: "firefox",
        expression: "(import NIXPKGS { system = \"x86_64-linux\"; config = { }; overlays = [ ]; }).firefox.drvPath",
    },
    Workload {
        name: "nixos",
        expression: r#"(import NIXPKGS/nixos {
            system = "x86_64-linux";
            configuration = {
                boot.loader.grub.device = "/dev/vda";
                fileSystems."/" = { device = "/dev/vda1"; fsType = "ext4"; };
                networking.hostName = "bench";
                services.openssh.enable = true;
                users.users.someone.isNormalUser = true;
                system.stateVersion = "26.05";
            };
        }).system.drvPath"#,
    },
];

struct Options {
    real_nix: String,
    nixpkgs: PathBuf,
    nixlang: PathBuf,
    n_runs: usize,
    workloads: Vec<&'static Workload>,
}

fn options() -> Result<Options, Box<dyn Error>> {
    let mut options = Options {
        real_nix: env::var("REAL_NIX").map_err(|_| "REAL_NIX is not set: it says how to run the real Nix")?,
        nixpkgs: env::var_os("NIXPKGS").ok_or("NIXPKGS is not set: it says which tree to evaluate")?.into(),
        nixlang: env::current_exe()?.with_file_name("nixlang"),
        n_runs: 5,
        workloads: Vec::new(),
    };
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--runs" => options.n_runs = arguments.next().ok_or("--runs needs a number")?.parse()?,
            "--nixlang" => options.nixlang = arguments.next().ok_or("--nixlang needs a program")?.into(),
            name => {
                let known = WORKLOADS.iter().find(|workload| workload.name == name);
                options.workloads.push(known.ok_or_else(|| format!("unknown workload '{name}'"))?);
            }
        }
    }
    if options.workloads.is_empty() {
        options.workloads = WORKLOADS.iter().collect();
    }
    if options.n_runs == 0 {
        return Err("--runs must be at least 1".into());
    }
    options.nixpkgs = options.nixpkgs.canonicalize().map_err(|e| format!("NIXPKGS {}: {e}", options.nixpkgs.display()))?;
    options.nixlang = options.nixlang.canonicalize().map_err(|e| {
        format!("{}: {e} (cargo build --release makes it)", options.nixlang.display())
    })?;
    Ok(options)
}

fn run(program: &Path, arguments: &[&str]) -> Result<Run, Box<dyn Error>> {
    let mut command = Command::new(program);
    // One thread, and nothing of the user's: no search path, no configuration of Nixpkgs.
    command.args(arguments).current_dir("/").env("RAYON_NUM_THREADS", "1").env("NIX_PATH", "").env("HOME", std::env::temp_dir().join("nixlang-benches"));
    command.env_remove("NIXPKGS_CONFIG").env_remove("NIXPKGS_ALLOW_UNFREE").env_remove("XDG_CONFIG_HOME");
    let run = measure(&mut command).map_err(|e| format!("{}: {e}", program.display()))?;
    if !run.success {
        return Err(format!("{} {} failed:\n{}", program.display(), arguments.join(" "), run.stderr).into());
    }
    Ok(run)
}

fn compare(options: &Options) -> Result<(), Box<dyn Error>> {
    let real_nix = Path::new(&options.real_nix);
    // A real Nix in a root of its own comes with a command that shows it a directory.
    let share = PathBuf::from(format!("{}-share", options.real_nix));
    if share.exists() {
        run(&share, &[options.nixpkgs.to_str().ok_or("NIXPKGS is not UTF-8")?])?;
    }
    let version = run(real_nix, &["nix-instantiate", "--version"])?.stdout;
    println!("theirs: {}   runs: {}   nixpkgs: {}", version.trim(), options.n_runs, options.nixpkgs.display());

    let wrapper: Result<Vec<f64>, Box<dyn Error>> =
        (0..options.n_runs.max(5)).map(|_| Ok(run(real_nix, &["true"])?.cpu_s)).collect();
    let wrapper = Spread::of(wrapper?).expect("at least five runs were made");
    println!("taken off theirs for REAL_NIX itself: {:.0} ms\n", wrapper.median * 1000.0);
    println!("{:8} {:24} {:24} {:20} {:22} {:22} {:20}", "", "CPU s: ours", "theirs", "ratio", "peak MiB: ours", "theirs", "ratio");

    for workload in &options.workloads {
        let path = options.nixpkgs.to_str().ok_or("NIXPKGS is not UTF-8")?;
        let expression = workload.expression.replace("NIXPKGS", path);
        let evaluate = ["nix-instantiate", "--eval", "--strict", "-E", &expression];
        let ours = || run(&options.nixlang, &evaluate);
        let theirs = || {
            run(real_nix, &evaluate).map(|mut run| {
                run.cpu_s -= wrapper.median;
                run
            })
        };
        let (our_answer, their_answer) = (ours()?.stdout, theirs()?.stdout);
        if our_answer != their_answer {
            return Err(format!("{}: ours says {our_answer}theirs says {their_answer}", workload.name).into());
        }
        let mut pairs = Vec::new();
        for _ in 0..options.n_runs {
            pairs.push((ours()?, theirs()?));
        }
        if let Some((a, b)) = pairs.iter().find(|(a, b)| a.stdout != our_answer || b.stdout != our_answer) {
            return Err(format!("{}: answers changed between runs: {}{}", workload.name, a.stdout, b.stdout).into());
        }
        let spread = |of: &dyn Fn(&(Run, Run)) -> f64| Spread::of(pairs.iter().map(of)).expect("at least one pair was run");
        println!(
            "{:8} {:24} {:24} {:20} {:22} {:22} {:20}",
            workload.name,
            spread(&|(ours, _)| ours.cpu_s).to_string(),
            spread(&|(_, theirs)| theirs.cpu_s).to_string(),
            spread(&|(ours, theirs)| ours.cpu_s / theirs.cpu_s).to_string(),
            format!("{:.0}", spread(&|(ours, _)| ours.peak_mib)),
            format!("{:.0}", spread(&|(_, theirs)| theirs.peak_mib)),
            spread(&|(ours, theirs)| ours.peak_mib / theirs.peak_mib).to_string(),
        );
    }
    println!("\nmedian (smallest–largest); a ratio is of one pair of runs: below 1 ours needs less");
    Ok(())
}

fn main() -> ExitCode {
    match options().and_then(|options| compare(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}
