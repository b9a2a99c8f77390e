//! The sandbox by itself: what a program sees in it, and that nothing of it is left behind.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nixlang_build::executor::local::LocalExecutor;
use nixlang_build::executor::{End, ExecuteError, Program};
use nixlang_build::sandbox::{Isolation, Mount, Network, SandboxSpec, Shell, ShellChoice, SpecOptions};
use nixlang_build::{BuildRequest, Bytes, CancelToken, Executor, Helper, Limits};
use nixlang_store::path::StorePath;

struct Fixture {
    scratch: tempfile::TempDir,
    network: Network,
    limits: Limits,
    mounts: Vec<Mount>,
    sandboxed: bool,
}

struct Run {
    end: End,
    log: String,
    isolation: Isolation,
}

impl Fixture {
    fn new() -> Fixture {
        let scratch = tempfile::tempdir().unwrap();
        std::fs::create_dir(scratch.path().join("build")).unwrap();
        std::fs::create_dir(scratch.path().join("root")).unwrap();
        Fixture { scratch, network: Network::Private, limits: Limits::default(), mounts: Vec::new(), sandboxed: true }
    }

    fn try_run(&self, script: &str, cancel: &CancelToken) -> Result<Run, ExecuteError> {
        self.try_run_with(&executor(), script, cancel)
    }

    fn try_run_with(&self, executor: &LocalExecutor, script: &str, cancel: &CancelToken) -> Result<Run, ExecuteError> {
        let build_dir = self.scratch.path().join("build");
        let mut spec = SandboxSpec::for_build(SpecOptions {
            root: self.scratch.path().join("root"),
            store_dir: "/nix/store".into(),
            build_dir: build_dir.clone(),
            build_dir_inside: "/build".into(),
            network: self.network,
            kvm: false,
            ca_file: None,
            dev_shm_size: "50%".into(),
            filter_syscalls: true,
            allow_new_privileges: false,
            require_drop_groups: false,
            ids: None,
        });
        let shell = Shell::find(&ShellChoice::Find).unwrap().expect("this machine has a shell");
        spec.mounts.extend(shell.mounts());
        // The tests look around with more than a shell has.
        spec.mounts.extend(["/usr", "/bin", "/sbin", "/lib", "/lib64"].iter().filter(|path| Path::new(path).exists()).map(
            |path| Mount::read_only(std::fs::canonicalize(path).unwrap(), PathBuf::from("/host").join(&path[1..])),
        ));
        spec.mounts.extend(self.mounts.iter().cloned());
        let program = Program::Execute {
            path: Bytes::from(*b"/bin/sh"),
            arguments: [&b"sh"[..], b"-c", script.as_bytes()].map(Bytes::from).to_vec(),
            environment: vec![Bytes::from(*b"PATH=/host/usr/bin:/host/bin"), Bytes::from(*b"LD_LIBRARY_PATH=/host/lib:/host/lib/x86_64-linux-gnu:/host/usr/lib/x86_64-linux-gnu")],
            linux32: false,
        };
        let request = BuildRequest {
            outputs: Default::default(),
            anew: false,
            derivation: StorePath::new([1; 20], "test.drv").unwrap(),
            is_fixed_output: false,
            program,
            directory: if self.sandboxed { "/build".into() } else { build_dir },
            sandbox: self.sandboxed.then_some(spec),
            limits: self.limits,
            user: None,
            cgroup: None,
        };
        let mut log = Vec::new();
        let execution = executor.execute(&request, &mut |bytes| log.extend_from_slice(bytes), cancel)?;
        Ok(Run {
            end: execution.end,
            log: String::from_utf8_lossy(&log).into_owned(),
            isolation: executor.isolation(&request),
        })
    }

    fn run(&self, script: &str) -> Run {
        self.try_run(script, &CancelToken::new()).expect("the sandbox can be made on this machine")
    }
}

fn executor() -> LocalExecutor {
    LocalExecutor::new(Helper::program(env!("CARGO_BIN_EXE_nixlang-build-helper")))
}

#[test]
fn builds_of_one_executor_know_nothing_of_each_other() {
    let executor = executor();
    let script = "for f in /proc/self/fd/*; do echo $f; done; echo pid=$$ ppid=$PPID; trap; set; (while :; do :; done) & exit 0";
    let run = |sandboxed: bool| {
        let fixture = Fixture { sandboxed, ..Fixture::new() };
        let run = fixture.try_run_with(&executor, script, &CancelToken::new()).unwrap();
        assert_eq!(run.end, End::Exited(0));
        let place = fixture.scratch.path().display().to_string();
        let is_own = |line: &&str| !line.starts_with("pid=") && !line.starts_with("PPID=");
        run.log.replace(&place, "").lines().filter(|line| sandboxed || is_own(line)).map(str::to_owned).collect::<Vec<_>>()
    };
    // The first has a new process, the others one that has served; one without a sandbox has another.
    let (first, plain) = (run(true), run(false));
    assert!(first.contains(&"pid=1 ppid=0".to_owned()), "{first:?}");
    assert!(!first.contains(&"/proc/self/fd/4".to_owned()), "{first:?}");
    for _ in 0..3 {
        assert_eq!((run(true), run(false)), (first.clone(), plain.clone()));
    }
    // At the same time as well.
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..6).map(|idx| scope.spawn(move || (idx % 2 == 0, run(idx % 2 == 0)))).collect();
        for run in runs {
            let (sandboxed, lines) = run.join().unwrap();
            assert_eq!(lines, if sandboxed { first.clone() } else { plain.clone() });
        }
    });
}

#[test]
fn the_builder_is_process_one_of_an_empty_machine() {
    let run = Fixture::new().run(
        "echo pid=$$; pwd; umask; ulimit -c; read x < /proc/sys/kernel/hostname; echo host=$x
         for f in /*; do echo root:$f; done; for f in /dev/*; do echo $f; done
         while read l; do echo $l; done < /etc/passwd; while read l; do echo $l; done < /etc/hosts
         read p < /proc/self/personality; echo personality=$p
         while read l; do case $l in NoNewPrivs*|Seccomp:*|CapEff*|SigIgn*|SigBlk*|Uid*) echo $l;; esac; done < /proc/self/status
         for f in /proc/self/fd/*; do echo fd:$f; done; test -t 1 && echo terminal; exit 7",
    );
    println!("{}", run.log);
    assert_eq!(run.end, End::Exited(7));
    assert_eq!(run.isolation, Isolation::Full);
    for expected in [
        "pid=1\n/build\n0022\n0\nhost=localhost\n",
        "root:/build\n",
        "root:/nix\n",
        "/dev/null\n",
        "/dev/ptmx\n",
        "root:x:0:0:Nix build user:/build:/noshell\nnixbld:x:1000:100:Nix build user:/build:/noshell\n",
        "127.0.0.1 localhost\n::1 localhost\n",
        "personality=00040000\n",
        "NoNewPrivs: 1\n",
        "Seccomp: 2\n",
        "CapEff: 0000000000000000\n",
        "SigIgn: 0000000000000000\n",
        "SigBlk: 0000000000000000\n",
        "Uid: 1000 1000 1000 1000\n",
        "terminal\n",
    ] {
        assert!(run.log.contains(expected), "no {expected:?} in:\n{}", run.log);
    }
    for unexpected in ["root:/home", "root:/work", "root:/real-root", "/dev/sda", "fd:/proc/self/fd/4\n"] {
        assert!(!run.log.contains(unexpected), "{unexpected:?} in:\n{}", run.log);
    }
}

#[test]
fn set_id_bits_and_attributes_are_refused() {
    let run = Fixture::new().run(
        "touch f; chmod 0755 f && echo plain; chmod 4755 f 2>/dev/null || echo no suid; chmod g+s f 2>/dev/null || echo no sgid
         ls -ln f; touch /nix/store/x && echo store writable; echo hi > /host/usr/x || echo inputs read-only",
    );
    println!("{}", run.log);
    for expected in ["plain\nno suid\nno sgid\n-rwxr-xr-x 1 1000 100 ", "store writable\n", "inputs read-only\n"] {
        assert!(run.log.contains(expected), "no {expected:?} in:\n{}", run.log);
    }
}

#[test]
fn files_of_the_build_belong_to_the_caller_outside() {
    let fixture = Fixture::new();
    fixture.run("echo text > /build/file; echo out > /nix/store/out");
    assert_eq!(std::fs::read_to_string(fixture.scratch.path().join("build/file")).unwrap(), "text\n");
    assert_eq!(std::fs::read_to_string(fixture.scratch.path().join("root/nix/store/out")).unwrap(), "out\n");
}

#[test]
fn the_network_is_private_unless_asked_for() {
    let interfaces = "while read l; do echo \"$l\"; done < /proc/net/dev; read x < /proc/self/net/dev";
    let private = Fixture::new().run(interfaces);
    assert_eq!(private.log.lines().filter(|line| line.contains(':')).count(), 1, "{}", private.log);
    assert!(private.log.contains("lo:"));
    let host = Fixture { network: Network::Host, ..Fixture::new() }.run(interfaces);
    assert_eq!(host.isolation, Isolation::HostNetwork);
    let n_here = std::fs::read_to_string("/proc/net/dev").unwrap().lines().filter(|line| line.contains(':')).count();
    assert_eq!(host.log.lines().filter(|line| line.contains(':')).count(), n_here, "{}", host.log);
}

#[test]
fn symbolic_links_are_made_again_and_missing_inputs_are_errors() {
    let mut fixture = Fixture::new();
    let link = fixture.scratch.path().join("link");
    std::os::unix::fs::symlink("/target", &link).unwrap();
    fixture.mounts.push(Mount::read_only(&link, "/nix/store/link"));
    fixture.mounts.push(Mount { optional: true, ..Mount::read_only("/nonexistent", "/optional") });
    let run = fixture.run("readlink /nix/store/link; test -e /optional || echo none");
    assert_eq!(run.log, "/target\nnone\n");

    let mut fixture = Fixture::new();
    fixture.mounts.push(Mount::read_only("/nonexistent", "/x"));
    match fixture.try_run("echo not reached", &CancelToken::new()) {
        Err(ExecuteError::Sandbox { step, .. }) => assert!(step.contains("'/nonexistent'"), "{step}"),
        other => panic!("{:?}", other.map(|run| run.log)),
    }
}

#[test]
fn limits_and_cancellation_end_the_whole_tree() {
    for sandboxed in [true, false] {
        let marker = format!("{}", 100_000 + std::process::id() % 10_000 + u32::from(sandboxed) * 20_000);
        let script = format!("(sleep {marker} & sleep {marker} & exec sleep {marker}) & while :; do :; done");
        let limits = Limits { timeout: Some(Duration::from_millis(300)), ..Limits::default() };
        let fixture = Fixture { limits, sandboxed, ..Fixture::new() };
        let run = fixture.run(&script);
        assert_eq!(run.end, End::TimedOut(Duration::from_millis(300)));
        assert_eq!(processes_with(&marker), Vec::<String>::new());
    }

    let limits = Limits { max_silent: Some(Duration::from_secs(3)), ..Limits::default() };
    let run = Fixture { limits, ..Fixture::new() }.run("echo one; while :; do :; done");
    assert_eq!((run.end, run.log.as_str()), (End::TimedOut(Duration::from_secs(3)), "one\n"));

    let limits = Limits { max_log_bytes: Some(10_000), ..Limits::default() };
    let run = Fixture { limits, ..Fixture::new() }.run("while :; do echo aaaaaaaaaaaaaaaaaaaaaaaaaaaa; done");
    assert_eq!(run.end, End::LogTooLong(10_000));

    let cancel = CancelToken::new();
    let start = Instant::now();
    let run = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(100));
            cancel.cancel();
        });
        Fixture::new().try_run("while :; do :; done", &cancel).unwrap()
    });
    assert_eq!(run.end, End::Cancelled);
    assert!(start.elapsed() < Duration::from_secs(60));
}

#[test]
fn builders_end_as_they_do_and_background_processes_with_them() {
    let fixture = Fixture::new();
    assert_eq!(fixture.run("kill -9 $$; echo survived as process one").log, "survived as process one\n");
    let fixture = Fixture { sandboxed: false, ..Fixture::new() };
    let run = fixture.run("kill -9 $$");
    assert_eq!((run.end, run.isolation), (End::Signalled(9), Isolation::None));
    let run = Fixture::new().run("(while :; do :; done) & echo done");
    assert_eq!((run.end, run.log.as_str()), (End::Exited(0), "done\n"));
}

#[test]
fn bytes_that_are_not_text_arrive() {
    let run = Fixture { limits: Limits::default(), ..Fixture::new() }.run("printf 'a\\377\\000b'");
    assert_eq!(run.log.chars().next(), Some('a'));
    assert!(run.log.ends_with('b'));
}

#[test]
fn what_is_no_helper_is_found_out() {
    let request = BuildRequest {
            outputs: Default::default(),
            anew: false,
        derivation: StorePath::new([1; 20], "test.drv").unwrap(),
        is_fixed_output: false,
        program: Program::Execute { path: Bytes::from(*b"/bin/sh"), arguments: vec![], environment: vec![], linux32: false },
        directory: "/".into(),
        sandbox: None,
        limits: Limits::default(),
        user: None,
        cgroup: None,
    };
    let run = |program: &str| {
        LocalExecutor::new(Helper::program(program)).execute(&request, &mut |_| {}, &CancelToken::new())
    };
    assert!(matches!(run("/bin/true"), Err(ExecuteError::HelperDied)));
    assert!(matches!(run("/nonexistent"), Err(ExecuteError::Helper { .. })));
}

/// Command lines of running processes that contain `marker`, this one left out.
fn processes_with(marker: &str) -> Vec<String> {
    let own = std::process::id().to_string();
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_name().as_bytes()[0].is_ascii_digit() && *entry.file_name() != *own)
        .filter_map(|entry| std::fs::read_to_string(entry.path().join("cmdline")).ok())
        .filter(|line| line.contains(marker))
        .collect()
}
