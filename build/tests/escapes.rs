//! What a hostile builder may try, and what comes of it. Programs of this machine are shown to the builder; perl makes the
//! system calls that a shell has no word for.

mod support;

use std::io::Write;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nixlang_build::sandbox::{Mount, ShellChoice};
use nixlang_build::{BuildOptions, BuildOutcome, BuildStatus, Builder, DerivedPath, Scheduler};
use nixlang_store::content_address::ContentAddressMethod;
use nixlang_store::hash::{Algorithm, Hash};
use nixlang_store::path::StorePath;
use nixlang_store::store::Store;
use support::{Recipe, Recorder, World, sh};

/// Options that show the builder the programs of this machine; none if there is no perl.
fn options() -> Option<BuildOptions> {
    if !Path::new("/usr/bin/perl").exists() {
        println!("skipped: there is no /usr/bin/perl here");
        return None;
    }
    let sandbox_paths = ["/bin", "/lib", "/lib64", "/usr"]
        .iter()
        .filter(|path| Path::new(path).exists())
        .map(|path| Mount::read_only(std::fs::canonicalize(path).unwrap(), path))
        .collect();
    Some(BuildOptions { sandbox_paths, shell: ShellChoice::None, ..support::options() })
}

fn attack(world: &World, options: BuildOptions, recipe: Recipe) -> (BuildOutcome, StorePath, StorePath, Vec<String>) {
    let (path, out) = world.add_one(recipe.env("PATH", "/usr/bin:/bin"));
    let (outcome, recorder) = world.build_with(options, std::slice::from_ref(&path));
    (outcome, path, out, recorder.lines())
}

#[test]
fn no_system_call_sets_set_id_bits_or_attributes() {
    let Some(options) = options() else { return };
    if !cfg!(target_arch = "x86_64") {
        println!("skipped: the numbers of system calls are those of x86-64");
        return;
    }
    let world = World::new();
    // chmod, fchmod, fchmodat, fchmodat2, and the set-group-id bit; then setxattr, lsetxattr, fsetxattr.
    let script = r#"echo > $out; exec perl -e '
        open(F, "+<", $ENV{out}); my $p = "$ENV{out}"; my $v = "x"; my $n = "user.x";
        my @r = (syscall(90, $p, 04755), syscall(91, fileno F, 04755), syscall(268, -100, $p, 04755), syscall(452, -100, $p, 04755, 0), syscall(90, $p, 02755));
        my @e; for my $call ([188, $p], [189, $p], [190, fileno F]) { syscall($call->[0], $call->[1], $n, $v, 1, 0); push @e, $! + 0; }
        print "@r; @e; ", (syscall(90, $p, 0755) == 0 ? "plain" : "none"), "\n"; '"#;
    let (outcome, _, out, lines) = attack(&world, options, sh("set-id", script));
    assert_eq!(lines, ["-1 -1 -1 -1 -1; 95 95 95; plain"]);
    assert!(outcome.is_success(), "{outcome:?}");
    assert_eq!(std::fs::metadata(world.real(&out)).unwrap().permissions().mode() & 0o7777, 0o555);
}

#[test]
fn links_lead_nowhere() {
    let Some(mut options) = options() else { return };
    let world = World::new();
    let foreign = world.scratch.path().join("foreign");
    std::fs::write(&foreign, "theirs").unwrap();
    std::fs::set_permissions(&foreign, PermissionsExt::from_mode(0o666)).unwrap();
    options.sandbox_paths.push(Mount { read_only: false, ..Mount::read_only(&foreign, "/foreign") });
    let script = format!(
        "mkdir $out; ln /foreign $out/hard 2>/dev/null && echo linked; ln -s {} $out/soft; ln -s /foreign $out/inner; echo done",
        foreign.display()
    );
    let (outcome, _, out, lines) = attack(&world, options.clone(), sh("links", &script));
    assert!(outcome.is_success(), "{outcome:?}");
    assert_eq!(lines, ["done"], "a hard link out of the sandbox");
    // Links are kept as they are, and what they lead to is not touched by making the output canonical.
    assert_eq!(std::fs::read_link(world.real(&out).join("soft")).unwrap(), foreign);
    assert_eq!(std::fs::metadata(&foreign).unwrap().permissions().mode() & 0o777, 0o666);
    // The output itself may be a link, and is then one.
    let (outcome, _, out, _) = attack(&world, options, sh("link", &format!("ln -s {} $out", foreign.display())));
    assert!(outcome.is_success(), "{outcome:?}");
    assert!(std::fs::symlink_metadata(world.real(&out)).unwrap().is_symlink());
    assert_eq!(std::fs::metadata(&foreign).unwrap().permissions().mode() & 0o777, 0o666);
}

#[test]
fn the_machine_cannot_be_changed_through_proc_and_sys() {
    let Some(options) = options() else { return };
    let world = World::new();
    let script = "for f in /proc/sys/kernel/hostname /proc/sys/vm/drop_caches /proc/sysrq-trigger /proc/sys/kernel/core_pattern; do
          (cat $f > /build/value && cat /build/value > $f) 2>/dev/null && echo wrote $f; done
        [ -e /sys/kernel ] && echo sysfs; (mount -t tmpfs none /tmp) 2>/dev/null && echo mounted
        (mknod /build/disk b 8 0) 2>/dev/null && echo device
        (chroot / true) 2>/dev/null && echo chroot; ls -d /proc/[0-9]* | grep -qvE '^/proc/([1-9]|[0-9]{2})$' && echo others
        echo > $out; echo done";
    let (outcome, _, _, lines) = attack(&world, options, sh("proc", script));
    assert!(outcome.is_success(), "{outcome:?}");
    assert_eq!(lines, ["done"]);
}

#[test]
fn abstract_sockets_are_out_of_reach() {
    let Some(options) = options() else { return };
    let world = World::new();
    let name = format!("nixlang-test-{}", std::process::id());
    let _listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let script = format!(
        r#"exec perl -MSocket -e '
          my $abi = syscall(444, 0, 0, 1);
          socket(my $s, AF_UNIX, SOCK_STREAM, 0); my $ok = connect($s, pack("S", AF_UNIX) . "\0{name}");
          print "$abi ", ($ok ? "connected" : "refused"), "\n"; open(O, ">", $ENV{{out}}); print O "x"; '"#
    );
    // Its own network is another world; a fixed output has the machine's, so the kernel has to keep it apart.
    let (outcome, _, _, lines) = attack(&world, options.clone(), sh("private", &script));
    assert!(outcome.is_success(), "{outcome:?}");
    assert!(lines[0].ends_with("refused"), "{lines:?}");
    let hash = Hash::digest(Algorithm::Sha256, b"x");
    let (_, _, _, lines) = attack(&world, options, sh("fixed", &script).fixed(ContentAddressMethod::Flat, hash));
    let abi: i32 = lines[0].split(' ').next().unwrap().parse().unwrap();
    if abi < 6 {
        println!("not shown for fixed outputs: this kernel's Landlock is of version {abi}");
    } else {
        assert!(lines[0].ends_with("refused"), "{lines:?}");
    }
}

#[test]
fn nothing_outlives_its_build() {
    let Some(options) = options() else { return };
    let world = World::new();
    let marker = format!("nixlang-leftover-{}", std::process::id());
    // A daemon in a session of its own, with all its descriptors closed, that ignores signals.
    let script = format!(
        r#"echo > $out; perl -MPOSIX -e 'exit if fork; POSIX::setsid(); exit if fork; $SIG{{$_}} = "IGNORE" for keys %SIG; close $_ for (*STDIN, *STDOUT, *STDERR); $0 = "{marker}"; sleep 1 while 1;'; sleep 0.1"#
    );
    let (outcome, ..) = attack(&world, options, sh("daemon", &script));
    assert!(outcome.is_success(), "{outcome:?}");
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let names: Vec<String> = processes.filter_map(|entry| std::fs::read_to_string(entry.path().join("cmdline")).ok()).collect();
    assert!(!names.iter().any(|name| name.starts_with(&marker)));
}

#[test]
fn outputs_of_odd_kinds_are_refused() {
    let Some(options) = options() else { return };
    let world = World::new();
    for (name, script, expected) in [
        ("fifo", "mkfifo $out", "unsupported"),
        ("inner-fifo", "mkdir $out; mkfifo $out/x", "unsupported"),
        ("socket", "mkdir $out; perl -MSocket -e 'socket(my $s, AF_UNIX, SOCK_STREAM, 0); bind($s, pack_sockaddr_un(\"$ENV{out}/s\")) or die'", "unsupported"),
        ("writable", "echo > $out; chmod 0666 $out", "suspicious ownership or permission"),
        ("group", "mkdir $out; chmod 0770 $out", "suspicious ownership or permission"),
        ("nothing", "exit 0", "failed to produce output path"),
        ("elsewhere", "mkdir -p $out-x; echo > $out-x/y; rm -rf $out", "failed to produce output path"),
    ] {
        let (outcome, path, out, lines) = attack(&world, options.clone(), sh(name, script));
        let result = &outcome.results[&path];
        assert!(!result.status.is_success(), "{name}: {lines:?}");
        assert!(result.message.contains(expected), "{name}: {}", result.message);
        assert!(!world.store.is_valid(&out).unwrap());
    }
    let leftovers: Vec<String> = world.leftovers().into_iter().filter(|name| !name.ends_with(".lock")).collect();
    assert_eq!(leftovers, Vec::<String>::new());
}

#[test]
fn a_descriptor_that_was_given_away_changes_nothing_later() {
    let Some(mut options) = options() else { return };
    let world = World::new();
    let shared = world.scratch.path().join("shared");
    std::fs::create_dir(&shared).unwrap();
    options.sandbox_paths.push(Mount { read_only: false, ..Mount::read_only(&shared, "/shared") });
    let hash = Hash::digest(Algorithm::Sha256, b"good\n");
    let recipe = sh("fetched", "echo good > $out; echo ready; until [ -e /shared/go ]; do sleep 0.01; done").fixed(ContentAddressMethod::Flat, hash);
    let (path, out) = world.add_one(recipe.env("PATH", "/usr/bin:/bin"));
    let scheduler = Scheduler::new(Arc::new(Builder::new(world.store.clone(), options)));
    let plan = scheduler.builder().plan(&[DerivedPath::from_path(path.clone())]).unwrap();
    let recorder = Arc::new(Recorder::default());
    let job = scheduler.start(plan, recorder.clone());
    while recorder.lines().is_empty() {
        assert!(!job.wait_timeout(Duration::from_millis(5)), "it ended early");
    }
    // As an accomplice outside would have it, through a socket.
    let made = world.real(&path).with_added_extension("chroot").join("store").join(out.base_name());
    let mut descriptor = std::fs::File::options().write(true).open(&made).unwrap();
    std::fs::write(shared.join("go"), "").unwrap();
    let outcome = job.wait();
    assert_eq!(outcome.results[&path].status, BuildStatus::Built, "{outcome:?}");
    descriptor.write_all(b"evil\n").unwrap();
    drop(descriptor);
    assert_eq!(std::fs::read(world.real(&out)).unwrap(), b"good\n");
}
