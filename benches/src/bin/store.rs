//! Side by side with an installed real Nix: CPU time and peak memory of work on stores.
//!
//! usage: `REAL_NIX=COMMAND store [--runs N] [--nixlang PROGRAM] [--dir DIRECTORY] [WORKLOAD...]`
//!
//! REAL_NIX runs the command line behind it with the real Nix in its PATH. Everything happens below DIRECTORY, which that
//! Nix must see: a tree of 53 000 small files (generated, the same every time), one file of 1 GiB, rooted stores and binary
//! caches. Each run is a process of its own, ours and theirs in turn; what is made before (a store to collect in) is not
//! counted. What REAL_NIX itself costs is measured with `true` and taken off. At the end it says whether our peak memory was at most
//! 64 MiB wherever there is a NAR, and fails if it was not.

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;

use nixlang_benches::{Run, Spread, measure, measure_as_is};
use nixlang_store::binary_cache::{BinaryCache, BinaryCacheOptions};
use nixlang_store::compression::Compression;
use nixlang_store::copy::copy_closure;
use nixlang_store::local::{LocalStore, LocalStoreOptions};
use nixlang_store::store::{Addressing, Contents, Store, Text};
use nixlang_store::transfer::http::{HttpOptions, HttpTransport};

/// What is measured: a command line in which words in braces stand for what this run works on, see [`Bench::command`].
struct Workload {
    name: &'static str,
    command: &'static str,
    /// What the run begins with.
    before: Before,
    /// What is read from standard input.
    stdin: Option<&'static str>,
    /// The goal: ours may need at most this part of their CPU time.
    goal: f64,
}

impl Workload {
    /// Whether there is an archive in it, of whatever size.
    fn has_nar(&self) -> bool {
        self.command.contains("{tree") || self.command.contains("{big") || self.stdin.is_some()
    }
}

/// The goal for our peak memory wherever there is a NAR, in MiB.
const PEAK_GOAL_MIB: f64 = 64.0;

#[derive(Clone, Copy, PartialEq)]
enum Before {
    /// An empty store and an empty cache.
    Empty,
    /// A store in which the same command was run before.
    Again,
    /// A store with 30 000 paths that nothing keeps alive.
    Dead,
}

const fn work(name: &'static str, goal: f64, before: Before, command: &'static str) -> Workload {
    Workload { name, command, before, stdin: None, goal }
}

const WORKLOADS: &[Workload] = &[
    work("dump", 0.5, Before::Empty, "nix-store --dump {tree}"),
    work("hash", 0.5, Before::Empty, "nix-hash --type sha256 {tree}"),
    work("add", 0.5, Before::Empty, "nix-store --store {store} --add {tree}"),
    work("add-again", 0.5, Before::Again, "nix-store --store {store} --add {tree}"),
    Workload { stdin: Some("tree.nar"), ..work("restore", 0.9, Before::Empty, "nix-store --restore {out}") },
    work("copy-none", 0.9, Before::Empty, "nix copy --store {full} --to file://{cache}?compression=none {tree-path}"),
    work("copy-zstd", 0.9, Before::Empty, "nix copy --store {full} --to file://{cache}?compression=zstd {tree-path}"),
    work("substitute", 0.9, Before::Empty, "nix-store --store {store} --realise {tree-path} --option substituters file://{full-cache}"),
    work("drvs", 0.5, Before::Empty, "nix-instantiate --store {store} {drvs}"),
    work("gc", 0.5, Before::Dead, "nix-store --store {store} --gc"),
    work("path-info", 0.5, Before::Dead, "nix path-info -r --store {store} {top}"),
    work("closure-size", 0.5, Before::Dead, "nix path-info -S --store {store} {top}"),
    work("big-dump", 1.05, Before::Empty, "nix-store --dump {big}"),
    work("big-hash", 1.05, Before::Empty, "nix-hash --type sha256 {big}"),
    work("big-add", 1.05, Before::Empty, "nix-store --store {store} --add {big}"),
    work("big-add-again", 1.05, Before::Again, "nix-store --store {store} --add {big}"),
    Workload { stdin: Some("big.nar"), ..work("big-restore", 0.9, Before::Empty, "nix-store --restore {out}") },
    work("big-copy-none", 0.9, Before::Empty, "nix copy --store {full} --to file://{cache}?compression=none {big-path}"),
    work("big-copy-zstd", 0.9, Before::Empty, "nix copy --store {full} --to file://{cache}?compression=zstd {big-path}"),
    work("big-substitute", 0.9, Before::Empty, "nix-store --store {store} --realise {big-path} --option substituters file://{full-cache}"),
];

const N_FILES: usize = 53_000;
const N_DEAD: usize = 30_000;

struct Bench {
    real_nix: PathBuf,
    nixlang: PathBuf,
    dir: PathBuf,
    n_runs: usize,
    wrapper_s: f64,
    /// What words in braces stand for, but for what differs from run to run.
    places: BTreeMap<&'static str, String>,
}

/// Numbers that look random and are the same every time.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

fn make_tree(root: &Path) -> std::io::Result<()> {
    let mut numbers = Numbers(1);
    for i in 0..N_FILES {
        // As in Nixpkgs: most files are alone or two in their directory.
        let dir = root.join(format!("pkgs/{:02x}/package-{}", (i / 3) % 97, i / 3));
        std::fs::create_dir_all(&dir)?;
        let size = (numbers.next() % 4096) as usize;
        let contents: Vec<u8> = (0..size / 8 + 1).flat_map(|_| numbers.next().to_le_bytes()).collect();
        std::fs::write(dir.join(["default.nix", "build.patch", "notes.txt"][i % 3]), &contents[..size])?;
    }
    Ok(())
}

fn make_big(path: &Path) -> std::io::Result<()> {
    let mut file = std::io::BufWriter::new(File::create(path)?);
    let mut numbers = Numbers(2);
    for _ in 0..1 << 27 {
        std::io::Write::write_all(&mut file, &numbers.next().to_le_bytes())?;
    }
    std::io::Write::flush(&mut file)
}

/// Makes a store of texts, each with three earlier ones as references. Returns the path of the last.
fn make_dead(root: &Path) -> Result<String, Box<dyn Error>> {
    let store = LocalStore::open(LocalStoreOptions::rooted(root))?;
    let mut paths = Vec::with_capacity(N_DEAD);
    let mut numbers = Numbers(3);
    for chunk in 0..N_DEAD / 100 {
        let names: Vec<String> = (0..100).map(|i| format!("text-{}", chunk * 100 + i)).collect();
        let texts: Vec<Text<'_>> = names
            .iter()
            .enumerate()
            .map(|(i, name)| {
                let n = paths.len();
                let mut references = std::collections::BTreeSet::new();
                if n > 0 {
                    references.extend((0..3).map(|_| nixlang_store::path::StorePath::clone(&paths[numbers.next() as usize % n])));
                    references.insert(paths[n - 100 + i].clone());
                }
                Text { name, contents: name.as_bytes(), references }
            })
            .collect();
        paths.extend(store.add_texts(&texts)?);
    }
    let top = store.add_text("top", b"", &paths[N_DEAD - 100..].iter().cloned().collect())?;
    Ok(store.store_dir().display(&top))
}

impl Bench {
    fn new(arguments: &mut Vec<String>) -> Result<Bench, Box<dyn Error>> {
        let mut value = |flag: &str| -> Option<String> {
            let place = arguments.iter().position(|argument| argument == flag)?;
            arguments.remove(place);
            (place < arguments.len()).then(|| arguments.remove(place))
        };
        let real_nix: PathBuf = env::var_os("REAL_NIX").ok_or("REAL_NIX is not set: it says how to run the real Nix")?.into();
        let n_runs = value("--runs").map_or(Ok(3), |runs| runs.parse())?;
        let nixlang = value("--nixlang").map_or(env::current_exe()?.with_file_name("nixlang"), PathBuf::from).canonicalize()?;
        let dir = value("--dir").map_or_else(env::temp_dir, PathBuf::from).join("store-bench");
        std::fs::create_dir_all(&dir)?;
        Ok(Bench { real_nix, nixlang, dir: dir.canonicalize()?, n_runs, wrapper_s: 0.0, places: BTreeMap::new() })
    }

    /// Makes what all runs work on, unless it is there.
    fn prepare(&mut self, needs_big: bool) -> Result<(), Box<dyn Error>> {
        let dir = &self.dir;
        let fresh = |name: &str, make: &dyn Fn(&Path) -> Result<(), Box<dyn Error>>| -> Result<(), Box<dyn Error>> {
            let path = dir.join(name);
            if !path.exists() {
                let partial = dir.join(format!("{name}.partial"));
                let _ = nixlang_store::fs::remove_tree(&partial);
                make(&partial)?;
                std::fs::rename(partial, path)?;
            }
            Ok(())
        };
        let nar = |of: &'static str| {
            move |path: &Path| -> Result<(), Box<dyn Error>> {
                let mut file = std::io::BufWriter::new(File::create(path)?);
                Ok(nixlang_store::fs::dump(&dir.join(of), None, &mut file)?)
            }
        };
        fresh("tree", &|path| Ok(make_tree(path)?))?;
        fresh("tree.nar", &nar("tree"))?;
        if needs_big {
            fresh("big", &|path| Ok(make_big(path)?))?;
            fresh("big.nar", &nar("big"))?;
        }
        let expression = "builtins.genList (i: derivation { name = \"d-${toString i}\"; system = \"x86_64-linux\"; builder = \"/bin/sh\"; args = [ \"-c\" \"echo ${toString i} > $out\" ]; }) 10000";
        std::fs::write(dir.join("drvs.nix"), expression)?;
        let top_file = dir.join("dead.top");
        fresh("dead", &|path| Ok(std::fs::write(&top_file, make_dead(path)?)?))?;
        // A store that has the tree, and the file if it is used, and a cache with both.
        let full = LocalStore::open(LocalStoreOptions::rooted(dir.join("full")))?;
        let mut options = BinaryCacheOptions::default();
        options.compression = Compression::Zstd;
        let transport = Arc::new(HttpTransport::new(HttpOptions::default()));
        let full_cache = BinaryCache::open(&format!("file://{}", dir.join("full-cache").display()), transport, options)?;
        for (name, place) in [("tree", "tree-path"), ("big", "big-path")] {
            if name == "big" && !needs_big {
                continue;
            }
            let added = full.add_contents(&Addressing::source(name), Contents::Tree { path: &dir.join(name), filter: None })?;
            copy_closure(&full, &full_cache, std::slice::from_ref(&added.path))?;
            self.places.insert(place, full.store_dir().display(&added.path));
        }
        for (place, name) in [("tree", "tree"), ("big", "big"), ("drvs", "drvs.nix"), ("full", "full"), ("full-cache", "full-cache"), ("store", "run-store"), ("out", "run-out"), ("cache", "run-cache")] {
            self.places.insert(place, dir.join(name).to_str().ok_or("the directory is not UTF-8")?.to_owned());
        }
        self.places.insert("top", std::fs::read_to_string(top_file)?);
        let wrapper: Result<Vec<f64>, std::io::Error> = (0..5).map(|_| Ok(measure(Command::new(&self.real_nix).arg("true"))?.cpu_s)).collect();
        self.wrapper_s = Spread::of(wrapper?).expect("five runs were made").median;
        Ok(())
    }

    fn run(&self, workload: &Workload, is_ours: bool) -> Result<Run, Box<dyn Error>> {
        for place in ["store", "out", "cache"] {
            nixlang_store::fs::remove_tree(Path::new(&self.places[place]))?;
        }
        match workload.before {
            Before::Empty => {}
            Before::Again => {
                // By the one who is measured, so that neither works in a store of the other's.
                self.measured(workload, is_ours)?;
            }
            Before::Dead => {
                let status = Command::new("cp").arg("-a").arg(self.dir.join("dead")).arg(&self.places["store"]).status()?;
                if !status.success() {
                    return Err("copying a store failed".into());
                }
            }
        }
        self.measured(workload, is_ours)
    }

    /// Returns the words of a command line; `{place}` in them is replaced.
    fn command(&self, workload: &Workload) -> Vec<String> {
        let replaced = |word: &str| {
            self.places.iter().fold(word.to_owned(), |word, (place, value)| word.replace(&format!("{{{place}}}"), value))
        };
        workload.command.split(' ').map(replaced).collect()
    }

    fn measured(&self, workload: &Workload, is_ours: bool) -> Result<Run, Box<dyn Error>> {
        let words = self.command(workload);
        let mut command = Command::new(if is_ours { &self.nixlang } else { &self.real_nix });
        match (words[0].as_str(), is_ours) {
            ("nix", true) => command.args(&words[1..]),
            ("nix", false) => command.args(["nix", "--extra-experimental-features", "nix-command"]).args(&words[1..]),
            _ => command.args(&words),
        };
        let home = self.dir.join(if is_ours { "home-ours" } else { "home-theirs" });
        std::fs::create_dir_all(&home)?;
        command.current_dir(&self.dir).env("HOME", home).env("NIX_PATH", "").stdout(Stdio::null());
        match workload.stdin {
            Some(name) => command.stdin(File::open(self.dir.join(name))?),
            None => command.stdin(Stdio::null()),
        };
        let mut run = measure_as_is(&mut command)?;
        if !run.success {
            return Err(format!("{} ({}) failed:\n{}", workload.name, if is_ours { "ours" } else { "theirs" }, run.stderr).into());
        }
        if !is_ours {
            run.cpu_s -= self.wrapper_s;
        }
        Ok(run)
    }
}

fn main_with(mut arguments: Vec<String>) -> Result<(), Box<dyn Error>> {
    let mut bench = Bench::new(&mut arguments)?;
    let workloads: Vec<&Workload> = WORKLOADS.iter().filter(|workload| arguments.is_empty() || arguments.iter().any(|name| name == workload.name)).collect();
    bench.prepare(workloads.iter().any(|workload| workload.name.starts_with("big-")))?;
    println!("runs: {}   taken off theirs for REAL_NIX itself: {:.0} ms\n", bench.n_runs, bench.wrapper_s * 1000.0);
    println!("{:14} {:22} {:22} {:20} {:>5}  {:10} {:10}", "", "CPU s: ours", "theirs", "ratio", "goal", "MiB: ours", "theirs");
    let mut peaks: Vec<(f64, &str)> = Vec::new();
    for workload in workloads {
        // One run that does not count fills the page cache.
        bench.run(workload, true)?;
        let mut pairs = Vec::new();
        for _ in 0..bench.n_runs {
            pairs.push((bench.run(workload, true)?, bench.run(workload, false)?));
        }
        let peak = pairs.iter().map(|(ours, _)| ours.peak_mib).fold(0.0, f64::max);
        if workload.has_nar() {
            peaks.push((peak, workload.name));
        }
        let spread = |of: &dyn Fn(&(Run, Run)) -> f64| Spread::of(pairs.iter().map(of)).expect("at least one pair was run");
        println!(
            "{:14} {:22} {:22} {:20} {:5}  {:<10.0} {:<10.0}",
            workload.name,
            spread(&|(ours, _)| ours.cpu_s).to_string(),
            spread(&|(_, theirs)| theirs.cpu_s).to_string(),
            spread(&|(ours, theirs)| ours.cpu_s / theirs.cpu_s).to_string(),
            workload.goal,
            spread(&|(ours, _)| ours.peak_mib).median,
            spread(&|(_, theirs)| theirs.peak_mib).median,
        );
    }
    println!("\nmedian (smallest–largest); a ratio is of one pair of runs: below 1 ours needs less");
    let Some((peak, name)) = peaks.iter().copied().max_by(|a, b| a.0.total_cmp(&b.0)) else { return Ok(()) };
    println!("peak memory of ours with any NAR: {peak:.0} MiB ({name}), goal: at most {PEAK_GOAL_MIB:.0} MiB");
    if peak > PEAK_GOAL_MIB { Err("the goal for peak memory is missed".into()) } else { Ok(()) }
}

fn main() -> ExitCode {
    match main_with(env::args().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("store: {error}");
            ExitCode::FAILURE
        }
    }
}
