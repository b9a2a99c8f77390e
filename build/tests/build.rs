//! Small builds with nothing but /bin/sh: what a builder gets, what is registered, and how failures read.

mod support;

use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Duration;

use nixlang_build::sandbox::{Isolation, Mount, SandboxMode, view_command};
use nixlang_build::{BuildMode, BuildOptions, BuildStatus, Helper, Limits};
use nixlang_store::content_address::ContentAddressMethod;
use nixlang_store::hash::{Algorithm, Hash, HashFormat};
use nixlang_store::local::{LocalStore, LocalStoreOptions};
use nixlang_store::path::StoreDir;
use nixlang_store::store::Store;
use support::{World, sh};

#[test]
fn a_build_registers_its_output_with_references_and_says_how_it_was_isolated() {
    let world = World::new();
    let source = world.store.add_text("source", b"hello", &BTreeSet::new()).unwrap();
    let dir = world.store.store_dir().clone();
    let (first, first_out) = world.add_one(
        sh("first", "read x < $src; echo $x > $out; echo $out >> $out; echo $src >> $out")
            .env("src", &dir.display(&source))
            .source(&source),
    );
    let (second, second_out) =
        world.add_one(sh("second", "echo $first > $out").env("first", &dir.display(&first_out)).input(&first));

    let (outcome, recorder) = world.build_with(world.options(), std::slice::from_ref(&second));
    assert!(outcome.is_success(), "{outcome:#?}");
    assert_eq!(
        recorder.events(),
        [
            "started first.drv",
            "finished first.drv Built",
            "started second.drv",
            "finished second.drv Built"
        ]
    );
    let result = &outcome.results[&second];
    assert_eq!(result.isolation, Some(Isolation::Full));
    assert!(result.shell.as_ref().is_some_and(|shell| shell.contains('/')), "{result:?}");
    assert!(result.start_time > 0 && result.stop_time >= result.start_time);

    let info = world.store.path_info(&first_out).unwrap();
    assert_eq!(info.references, [source, first_out.clone()].into());
    assert_eq!(info.deriver.as_ref(), Some(&first));
    assert!(info.ultimate);
    let real = world.real(&first_out);
    let text = format!("hello\n{}\n", dir.display(&first_out));
    assert!(std::fs::read_to_string(&real).unwrap().starts_with(&text));
    let metadata = real.metadata().unwrap();
    assert_eq!((metadata.permissions().mode() & 0o777, metadata.mtime()), (0o444, 1));
    assert_eq!(world.store.path_info(&second_out).unwrap().references, [first_out].into());
    assert_eq!(world.leftovers(), Vec::<String>::new());

    let outcome = world.build(&second);
    assert_eq!(outcome.results[&second].status, BuildStatus::AlreadyValid);
}

#[test]
fn several_outputs_refer_to_each_other_but_not_in_a_circle() {
    let world = World::new();
    let (path, outputs) = world.add(
        sh("multi", "echo lib > $lib; echo $lib > $out; echo none > $dev").outputs(&["out", "lib", "dev"]),
    );
    assert!(world.build(&path).is_success());
    let references = |name: &str| world.store.path_info(&outputs[name]).unwrap().references.clone();
    assert_eq!(references("out"), [outputs["lib"].clone()].into());
    assert_eq!(references("dev"), BTreeSet::new());

    let (path, _) =
        world.add(sh("i", "echo $out $out2 > $out; echo $out > $out2").outputs(&["out", "out2"]));
    let outcome = world.build(&path);
    let dir = world.store.store_dir();
    assert_eq!(
        outcome.results[&path].message,
        format!(
            "cycle detected in build of '{}' in the references of output 'out' from output 'out2'",
            dir.display(&path)
        )
    );
    assert_eq!(outcome.exit_status(), 1);
    assert_eq!(world.leftovers(), Vec::<String>::new());
}

#[test]
fn placeholders_become_paths_everywhere() {
    let world = World::new();
    let placeholder = nixlang_store::derivation::placeholder("out");
    let script = format!("echo $out > {placeholder}; echo $var; test $out = {placeholder}");
    let text = world.output_text(sh("p", &script).env("var", &format!("x{placeholder}")));
    assert!(text.starts_with("/nix/store/"), "{text}");
}

#[test]
fn failures_read_as_the_references() {
    let world = World::new();
    let dir = world.store.store_dir().clone();
    let (path, out) = world.add_one(sh("a", "echo hi; echo there; exit 3"));
    let outcome = world.build(&path);
    let result = &outcome.results[&path];
    let (path_text, out_text) = (dir.display(&path), dir.display(&out));
    assert_eq!(
        result.message,
        format!("Cannot build '{path_text}'.\nReason: builder failed with exit code 3.\nOutput paths:\n  {out_text}")
    );
    assert_eq!(
        result.message_with_log(&format!("nix-store -l {path_text}")),
        format!(
            "Cannot build '{path_text}'.\nReason: builder failed with exit code 3.\nOutput paths:\n  {out_text}\n\
             Last 2 log lines:\n> hi\n> there\nFor full logs, run:\n  nix-store -l {path_text}"
        )
    );
    assert_eq!((result.status, outcome.exit_status()), (BuildStatus::PermanentFailure, 100));
    let mut log = nixlang_build::log::log_path(&world.store.layout().log_dir, &path);
    log.as_mut_os_string().push(".bz2");
    assert!(log.is_file(), "{log:?}");

    let (dependent, dependent_out) =
        world.add_one(sh("d", ": > $out").env("dep", &out_text).input(&path));
    let outcome = world.build(&dependent);
    assert_eq!(
        outcome.results[&dependent].message,
        format!(
            "Cannot build '{}'.\nReason: 1 dependency failed.\nOutput paths:\n  {}",
            dir.display(&dependent),
            dir.display(&dependent_out)
        )
    );
    assert_eq!(outcome.failures()[0].0, &path);

    let (path, out) = world.add_one(sh("g", "echo foo"));
    let outcome = world.build(&path);
    let message = &outcome.results[&path].message;
    let start = format!("builder for '{}' failed to produce output path for output 'out' at ", dir.display(&path));
    assert!(message.starts_with(&start) && message.contains(&out.base_name()), "{message}");

    let mut recipe = sh("b", "");
    recipe.derivation.builder = b"/nonexist/sh".to_vec();
    let (path, _) = world.add_one(recipe);
    let (outcome, recorder) = world.build_with(world.options(), std::slice::from_ref(&path));
    assert_eq!(recorder.lines(), ["error: executing '/nonexist/sh': No such file or directory"]);
    assert!(outcome.results[&path].message.contains("builder failed with exit code 1"));

    let mut recipe = sh("e", "");
    recipe.derivation.system = b"riscv64-linux".to_vec();
    let (path, _) = world.add_one(recipe.env("requiredSystemFeatures", "quantum"));
    let options = BuildOptions { system_features: ["a".to_owned()].into(), ..world.options() };
    let (outcome, _) = world.build_with(options, std::slice::from_ref(&path));
    assert_eq!(
        outcome.results[&path].message,
        format!(
            "Cannot build '{}'.\nReason: platform mismatch\nRequired system: 'riscv64-linux'\n\
             Current system: 'x86_64-linux'\nReason: missing system features\nRequired features: {{quantum}}\n\
             Available features: {{a}}",
            dir.display(&path)
        )
    );
    assert_eq!(outcome.exit_status(), 100);
}

#[test]
fn fixed_outputs_are_verified_and_kept_under_their_real_hash() {
    let world = World::new();
    let dir = world.store.store_dir().clone();
    let good = Hash::digest(Algorithm::Sha256, b"foo\n");
    let wrong = Hash::zero(Algorithm::Sha256);
    let recipe = || sh("f", "echo foo > $out; test \"$NIX_OUTPUT_CHECKED\" = 1");

    let (path, wrong_out) = world.add_one(recipe().fixed(ContentAddressMethod::Flat, wrong));
    let outcome = world.build(&path);
    assert_eq!(
        outcome.results[&path].message,
        format!(
            "hash mismatch in fixed-output derivation '{}':\n  specified: {}\n     got:    {}",
            dir.display(&path),
            wrong.format(HashFormat::Sri, true),
            good.format(HashFormat::Sri, true)
        )
    );
    assert_eq!(outcome.exit_status(), 102);
    assert!(!world.store.is_valid(&wrong_out).unwrap());

    let (path, out) = world.add_one(recipe().fixed(ContentAddressMethod::Flat, good));
    assert!(world.store.is_valid(&out).unwrap(), "what the wrong one made is there");
    assert_eq!(world.build(&path).results[&path].status, BuildStatus::AlreadyValid);
    let info = world.store.path_info(&out).unwrap();
    assert_eq!(info.content_address.unwrap().hash, good);

    // By archive, in another algorithm, and with network.
    let (path, _) = world.add_one(
        sh("n", "echo foo > $out").fixed(ContentAddressMethod::Nar, Hash::zero(Algorithm::Sha1)),
    );
    let outcome = world.build(&path);
    let message = outcome.results[&path].message.clone();
    assert_eq!(outcome.results[&path].isolation, Some(Isolation::HostNetwork));
    let got = message.rsplit("got:    ").next().unwrap();
    let (path, _) = world
        .add_one(sh("n", "echo foo > $out").fixed(ContentAddressMethod::Nar, Hash::parse_sri(got).unwrap()));
    assert!(world.build(&path).is_success());

    let (path, _) = world.add_one(sh("x", "echo $out > $out").fixed(ContentAddressMethod::Flat, wrong));
    // References are seen to before the hash, as the reference does; that is no mismatch to it.
    let outcome = world.build(&path);
    assert_eq!((outcome.results[&path].status, outcome.exit_status()), (BuildStatus::OutputRejected, 1));
    assert_eq!(world.leftovers(), Vec::<String>::new());
}

#[test]
fn rules_for_references_are_kept() {
    let world = World::new();
    let dir = world.store.store_dir().clone();
    let (dep, dep_out) = world.add_one(sh("dep", "echo dep > $out"));
    let dep_text = dir.display(&dep_out);
    let recipe = |rule: &str, value: &str| {
        sh("r", "echo $dep $out > $out").env("dep", &dep_text).env(rule, value).input(&dep)
    };
    for (rule, value, is_fine) in [
        ("allowedReferences", "", false),
        ("allowedReferences", "out", false),
        ("allowedReferences", &*format!("{dep_text} out"), true),
        ("allowedRequisites", &*dep_text, true),
        ("disallowedReferences", "out", false),
        ("disallowedRequisites", "out", true),
        ("disallowedReferences", &*dep_text, false),
        ("allowedReferences", "nonsense", false),
    ] {
        let (path, out) = world.add_one(recipe(rule, value));
        let outcome = world.build(&path);
        let message = &outcome.results[&path].message;
        assert_eq!(outcome.is_success(), is_fine, "{rule} = {value}: {message}");
        if !is_fine && value != "nonsense" {
            let start = format!("output '{}' is not allowed to refer to the following paths:\n  ", dir.display(&out));
            assert!(message.starts_with(&start), "{message}");
        }
    }
    assert_eq!(world.leftovers(), Vec::<String>::new());
}

#[test]
fn files_and_structured_attributes_arrive() {
    let world = World::new();
    let text = world.output_text(
        sh("f", "read x < $bigPath; echo $x $NIX_STORE $NIX_BUILD_TOP $PWD $HOME $PATH > $out")
            .env("big", "contents\n")
            .env("passAsFile", "big"),
    );
    assert_eq!(text, "contents /nix/store /build /build /homeless-shelter /path-not-set\n");

    let text = world.output_text(
        sh("s", "while read l; do case $l in declare\\ a=*) a=${l#declare a=};; *outputs*) o=$l;; esac; done < $NIX_ATTRS_SH_FILE; \
                 o=${o#*=(*=\\'}; o=${o%%\\'*}; echo $a ${out-unset} > $o; test -s $NIX_ATTRS_JSON_FILE")
            .structured(r#"{"a":5}"#),
    );
    assert_eq!(text, "5 unset\n");

    let (dep, dep_out) = world.add_one(sh("dep", "echo dep > $out"));
    let dep_text = world.store.store_dir().display(&dep_out);
    let text = world.output_text(
        sh("g", "while read l; do echo \"$l\"; done < graph > $out")
            .env("exportReferencesGraph", &format!("graph {dep_text}"))
            .input(&dep),
    );
    assert_eq!(text, format!("{dep_text}\n\n0\n"));
}

#[test]
fn builders_see_inputs_only_and_cannot_change_them() {
    let world = World::new();
    let dir = world.store.store_dir().clone();
    let seen = world.store.add_text("seen", b"seen", &BTreeSet::new()).unwrap();
    world.store.add_text("unseen", b"unseen", &BTreeSet::new()).unwrap();
    let text = world.output_text(
        sh("v", "for f in /nix/store/*; do echo $f; done > $out; echo x 2>/dev/null > $src || echo read-only >> $out")
            .env("src", &dir.display(&seen))
            .source(&seen),
    );
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines.len(), lines[0].contains("-v") || lines[1].contains("-v")), (3, true), "{text}");
    assert!(text.contains(&dir.display(&seen)) && text.ends_with("read-only\n"), "{text}");
    assert_eq!(std::fs::read(world.real(&seen)).unwrap(), b"seen");
}

#[test]
fn a_store_directory_replaced_by_a_link_leads_nowhere() {
    let world = World::new();
    let target = world.scratch.path().join("target");
    std::fs::create_dir(&target).unwrap();
    // There is no program to move or link with, so one comes from this machine.
    let links: Vec<Mount> = ["/bin", "/lib", "/lib64", "/usr"]
        .iter()
        .filter(|path| std::path::Path::new(path).exists())
        .map(|path| Mount::read_only(std::fs::canonicalize(path).unwrap(), path))
        .collect();
    let script = format!("PATH=/usr/bin:/bin; mv /nix /moved; mkdir /nix; ln -s {} /nix/store; exit 0", target.display());
    let (path, out) = world.add_one(sh("link", &script));
    std::fs::write(target.join(out.base_name()), "not made by the builder").unwrap();
    let shell = nixlang_build::sandbox::ShellChoice::None;
    let options = BuildOptions { sandbox_paths: links, shell, ..world.options() };
    let (outcome, recorder) = world.build_with(options, std::slice::from_ref(&path));
    let message = &outcome.results[&path].message;
    assert!(message.contains("failed to produce output path"), "{message} {:?}", recorder.lines());
    assert!(target.join(out.base_name()).exists());
}

#[test]
fn limits_have_their_own_status() {
    let world = World::new();
    let check = |script: &str, limits: Limits, expected: BuildStatus, message: &str| {
        let (path, _) = world.add_one(sh("l", script));
        let options = BuildOptions { limits, ..world.options() };
        let (outcome, _) = world.build_with(options, std::slice::from_ref(&path));
        let result = &outcome.results[&path];
        assert_eq!(result.status, expected);
        assert!(result.message.contains(message), "{}", result.message);
    };
    let timeout = Limits { timeout: Some(Duration::from_secs(1)), ..Limits::default() };
    check("while :; do :; done", timeout, BuildStatus::TimedOut, "timed out after 1 seconds");
    let log = Limits { max_log_bytes: Some(1000), ..Limits::default() };
    check("while :; do echo x; done", log, BuildStatus::LogLimitExceeded, "more than 1000 bytes of log output");
    assert_eq!(world.leftovers(), Vec::<String>::new());
}

#[test]
fn keep_going_and_jobs() {
    let world = World::new();
    let dir = world.store.store_dir().clone();
    let leaves: Vec<_> = (0..6).map(|n| world.add_one(sh(&format!("leaf{n}"), &format!("test {n} != 3; echo $? > $out; test {n} != 3")))).collect();
    let mut top = sh("top", ": > $out");
    for (n, (path, out)) in leaves.iter().enumerate() {
        top = top.env(&format!("dep{n}"), &dir.display(out)).input(path);
    }
    let (top, _) = world.add_one(top);
    let options = BuildOptions { keep_going: true, max_jobs: 4, ..world.options() };
    let (outcome, _) = world.build_with(options, std::slice::from_ref(&top));
    let built = outcome.results.values().filter(|result| result.status == BuildStatus::Built).count();
    assert_eq!(built, 5);
    assert_eq!(outcome.results[&top].status, BuildStatus::DependencyFailed);
    assert_eq!(outcome.failures().len(), 2);
}

#[test]
fn two_builders_at_once_build_once() {
    let world = World::new();
    let (path, _) = world.add_one(sh("slow", "i=0; while test $i -lt 100000; do i=$((i+1)); done; echo $i > $out"));
    let results = std::thread::scope(|scope| {
        let builds: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| world.build_with(world.options(), std::slice::from_ref(&path))))
            .collect();
        builds.into_iter().map(|build| build.join().unwrap()).collect::<Vec<_>>()
    });
    let statuses: Vec<BuildStatus> = results.iter().map(|(outcome, _)| outcome.results[&path].status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == BuildStatus::Built).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == BuildStatus::AlreadyValid).count(), 3, "{statuses:?}");
    let n_started: usize = results
        .iter()
        .map(|(_, recorder)| recorder.events().iter().filter(|event| event.starts_with("started")).count())
        .sum();
    assert_eq!(n_started, 1);
    assert_eq!(world.leftovers(), Vec::<String>::new());
}

#[test]
fn a_cancelled_run_stops_what_runs_and_starts_nothing_more() {
    let world = World::new();
    let (first, _) = world.add_one(sh("first", "echo started; while :; do :; done"));
    let (second, _) = world.add_one(sh("second", ": > $out").input(&first));
    let builder = nixlang_build::Builder::new(std::sync::Arc::clone(&world.store), world.options());
    let plan = builder.plan(&[nixlang_build::DerivedPath::from_path(second.clone())]).unwrap();
    /// Cancels as soon as the builder says something.
    struct Canceller(nixlang_build::CancelToken);
    impl nixlang_build::Observer for Canceller {
        fn event(&self, event: &nixlang_build::BuildEvent<'_>) {
            if let nixlang_build::BuildEvent::LogLine { .. } = event {
                self.0.cancel();
            }
        }
    }
    let cancel = nixlang_build::CancelToken::new();
    let outcome = builder.run(&plan, &Canceller(cancel.clone()), &cancel);
    assert_eq!(outcome.results[&first].status, BuildStatus::Cancelled);
    assert!(!outcome.results[&second].status.is_success());
    assert_eq!(world.leftovers(), Vec::<String>::new());
}

#[test]
fn checking_builds_again_and_compares() {
    let world = World::new();
    let (stable, _) = world.add_one(sh("stable", "echo same > $out"));
    let (unstable, _) = world.add_one(sh("unstable", "read x < /proc/sys/kernel/random/uuid; echo $x > $out"));
    let both = [stable.clone(), unstable.clone()];
    assert!(world.build_with(world.options(), &both).0.is_success());
    let options = BuildOptions { mode: BuildMode::Check, keep_going: true, ..world.options() };
    let (outcome, _) = world.build_with(options, &both);
    assert_eq!(outcome.results[&stable].status, BuildStatus::Built);
    assert_eq!(outcome.results[&unstable].status, BuildStatus::NotDeterministic);
    assert_eq!(outcome.exit_status(), 104);
    assert_eq!(world.leftovers(), Vec::<String>::new());
}

#[test]
fn a_rooted_store_is_never_built_in_without_a_sandbox() {
    let world = World::new();
    let (path, _) = world.add_one(sh("x", "echo x > $out"));
    let options = BuildOptions { sandbox: SandboxMode::Off, ..world.options() };
    let (outcome, _) = world.build_with(options, std::slice::from_ref(&path));
    // Whatever the setting says: nothing else can show the builder where the store is.
    assert_eq!(outcome.results[&path].isolation, Some(Isolation::Full), "{:?}", outcome.results);
}

#[test]
fn a_store_at_its_own_place_can_be_built_in_without_a_sandbox() {
    let scratch = tempfile::tempdir().unwrap();
    let top = scratch.path().to_owned();
    let place = |name: &str| top.join(name);
    let options = LocalStoreOptions {
        store_dir: StoreDir::new(place("store").to_str().unwrap()).unwrap(),
        real_store_dir: Some(place("store")),
        state_dir: Some(place("state")),
        log_dir: Some(place("log")),
        ..LocalStoreOptions::default()
    };
    let world = World::at(scratch, LocalStore::open(options).unwrap());
    let (dep, dep_out) = world.add_one(sh("dep", "echo dep > $out"));
    let dir = world.store.store_dir().clone();
    let (path, out) = world.add_one(
        sh("plain", "read x < $dep; echo $x $PWD $NIX_BUILD_TOP > $out").env("dep", &dir.display(&dep_out)).input(&dep),
    );
    let options = || BuildOptions { sandbox: SandboxMode::Off, ..world.options() };
    let (outcome, _) = world.build_with(options(), std::slice::from_ref(&path));
    assert!(outcome.is_success(), "{outcome:#?}");
    assert_eq!((outcome.results[&path].isolation, &outcome.results[&path].shell), (Some(Isolation::None), &None));
    let text = std::fs::read_to_string(world.real(&out)).unwrap();
    let words: Vec<&str> = text.split_whitespace().collect();
    assert_eq!(words[0], "dep");
    assert!(words[1].starts_with(place("state/builds").to_str().unwrap()) && words[1] == words[2], "{text}");
    assert_eq!(world.leftovers(), Vec::<String>::new());

    let relaxed = BuildOptions { sandbox: SandboxMode::Relaxed, ..world.options() };
    let (open, _) = world.add_one(sh("open", "echo x > $out").env("__noChroot", "1"));
    let (shut, _) = world.add_one(sh("shut", "echo x > $out"));
    let (outcome, _) = world.build_with(relaxed, &[open.clone(), shut.clone()]);
    assert_eq!(outcome.results[&open].isolation, Some(Isolation::None));
    assert_eq!(outcome.results[&shut].isolation, Some(Isolation::Full));
    let (refused, _) = world.add_one(sh("refused", "echo x > $out").env("__noChroot", "1"));
    let outcome = world.build(&refused);
    assert!(outcome.results[&refused].message.contains("'__noChroot' set"), "{outcome:#?}");

    // What is valid is not touched: the builder gets another path, and what it makes is rewritten.
    let (multi, outputs) = world.add(sh("multi", "echo $out $lib > $lib; echo $lib > $out").outputs(&["out", "lib"]));
    let (outcome, _) = world.build_with(options(), std::slice::from_ref(&multi));
    assert!(!outcome.is_success(), "a circle");
    let (multi, outputs_too) = world.add(sh("multi", "echo $lib $lib > $lib; echo $lib > $out").outputs(&["out", "lib"]));
    assert_ne!(outputs, outputs_too);
    assert!(world.build_with(options(), std::slice::from_ref(&multi)).0.is_success());
    let again = BuildOptions { mode: BuildMode::Check, keep_going: true, ..options() };
    let (outcome, recorder) = world.build_with(again, &[multi.clone(), path.clone()]);
    assert_eq!(outcome.results[&multi].status, BuildStatus::Built, "{outcome:#?} {:?}", recorder.lines());
    // This one writes down its build directory, which is never the same.
    assert_eq!(outcome.results[&path].status, BuildStatus::NotDeterministic, "{outcome:#?}");
    assert_eq!(world.leftovers(), Vec::<String>::new());
}

#[test]
fn files_are_fetched_over_http_and_from_the_sandbox() {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let nar = {
        let scratch = tempfile::tempdir().unwrap();
        std::fs::create_dir(scratch.path().join("d")).unwrap();
        std::fs::write(scratch.path().join("d/file"), "in a tree").unwrap();
        let mut nar = Vec::new();
        nixlang_store::fs::dump(&scratch.path().join("d"), None, &mut nar).unwrap();
        nar
    };
    let nar_hash = Hash::digest(Algorithm::Sha256, &nar);
    // Answers each path once or twice; the second request for /moody succeeds.
    let server = std::thread::spawn(move || {
        let mut n_moody = 0;
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let mut request = [0; 4096];
            let n_bytes = connection.read(&mut request).unwrap();
            let request = String::from_utf8_lossy(&request[..n_bytes]).into_owned();
            let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
            let (status, body): (&str, &[u8]) = match &*path {
                "/file" => ("200 OK", b"contents"),
                "/elsewhere" => ("302 Found\r\nLocation: /file", b""),
                "/tree.nar" => ("200 OK", &nar),
                "/moody" => {
                    n_moody += 1;
                    if n_moody == 1 { ("503 Busy", b"") } else { ("200 OK", b"contents") }
                }
                "/end" => return,
                _ => ("404 Not Found", b"no"),
            };
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            connection.write_all(head.as_bytes()).unwrap();
            connection.write_all(body).unwrap();
        }
    });
    let world = World::new();
    let options = || BuildOptions { environment: Some(Default::default()), ..world.options() };
    let fetch = |name: &str, path: &str| {
        let mut recipe = sh(name, "");
        recipe.derivation.system = b"builtin".to_vec();
        recipe.derivation.builder = b"builtin:fetchurl".to_vec();
        recipe.env("url", &format!("http://{address}{path}"))
    };
    let hash = Hash::digest(Algorithm::Sha256, b"contents");
    for path in ["/file", "/elsewhere", "/moody"] {
        let (derivation, out) =
            world.add_one(fetch(&path[1..], path).fixed(ContentAddressMethod::Flat, hash));
        let (outcome, recorder) = world.build_with(options(), std::slice::from_ref(&derivation));
        assert!(outcome.is_success(), "{outcome:#?}\n{:?}", recorder.lines());
        assert_eq!(std::fs::read(world.real(&out)).unwrap(), b"contents");
    }
    let (derivation, out) = world
        .add_one(fetch("tree", "/tree.nar").env("unpack", "1").fixed(ContentAddressMethod::Nar, nar_hash));
    let (outcome, recorder) = world.build_with(options(), std::slice::from_ref(&derivation));
    assert!(outcome.is_success(), "{outcome:#?}\n{:?}", recorder.lines());
    assert_eq!(std::fs::read(world.real(&out).join("file")).unwrap(), b"in a tree");

    let (derivation, _) = world.add_one(fetch("gone", "/gone").fixed(ContentAddressMethod::Flat, hash));
    let (outcome, recorder) = world.build_with(options(), std::slice::from_ref(&derivation));
    assert_eq!(outcome.results[&derivation].status, BuildStatus::TransientFailure);
    assert_eq!(recorder.lines()[0], format!("error: unable to download 'http://{address}/gone': HTTP error 404"));

    // A file of the machine is not in the sandbox, whatever its hash.
    let secret = world.scratch.path().join("secret");
    std::fs::write(&secret, "contents").unwrap();
    let (derivation, _) = world.add_one(
        fetch("secret", "").env("url", &format!("file://{}", secret.display())).fixed(ContentAddressMethod::Flat, hash),
    );
    let (outcome, recorder) = world.build_with(options(), std::slice::from_ref(&derivation));
    assert!(!outcome.is_success());
    assert!(recorder.lines()[0].contains("Could not open file"), "{:?}", recorder.lines());
    let visible = BuildOptions { sandbox_paths: vec![Mount::read_only(&secret, &secret)], ..options() };
    assert!(world.build_with(visible, std::slice::from_ref(&derivation)).0.is_success());

    let _ = std::net::TcpStream::connect(address).unwrap().write_all(b"GET /end HTTP/1.1\r\n\r\n");
    server.join().unwrap();
}

#[test]
fn programs_of_a_rooted_store_see_it_where_its_paths_say() {
    let world = World::new();
    let (path, out) = world.add_one(sh("greeting", "echo hello > $out"));
    assert!(world.build(&path).is_success());
    let out = world.store.store_dir().display(&out);
    let helper = Helper::program(env!("CARGO_BIN_EXE_nixlang-build-helper"));
    let run = |directory: &str, script: &str| {
        let real = &world.store.layout().real_store_dir;
        let mut command = view_command(&helper, "/nix/store".as_ref(), real, "/bin/sh".as_ref());
        let output = command.args(["-c", script, "name", &out]).current_dir(directory).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr))
    };
    let (status, text) = run("/usr", "pwd; read x < $1; echo $x; ls -d /usr /proc/self /dev/null; id -u; exit 3");
    let user = rustix::process::geteuid().as_raw();
    assert_eq!((status, &*text), (Some(3), &*format!("/usr\nhello\n/dev/null\n/proc/self\n/usr\n{user}\n")));
    // Everything of the root directory is there.
    let (_, text) = run("/", "ls -A /");
    let mut there: BTreeSet<String> = text.lines().map(str::to_owned).collect();
    let entries = std::fs::read_dir("/").unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let here: BTreeSet<String> = entries.chain(["nix".to_owned()]).collect();
    there.insert("nix".to_owned());
    assert_eq!(there, here);

    let mut command = view_command(&helper, "/nix/store".as_ref(), "/nonexistent".as_ref(), "/bin/sh".as_ref());
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("looking at '/nonexistent'"));
}

#[test]
fn failed_builds_can_be_kept() {
    let world = World::new();
    let (path, _) = world.add_one(sh("k", "echo evidence > file; exit 1"));
    let options = BuildOptions { keep_failed: true, ..world.options() };
    let (_, recorder) = world.build_with(options, std::slice::from_ref(&path));
    let kept = recorder.lines().into_iter().find_map(|line| {
        line.strip_prefix("note: keeping build directory \"")?.strip_suffix('"').map(std::path::PathBuf::from)
    });
    let kept = kept.expect("the note says where");
    assert_eq!(std::fs::read_to_string(kept.join("file")).unwrap(), "evidence\n");
}

#[test]
fn nothing_of_a_failed_build_stays_in_the_store() {
    let world = World::new();
    let (path, out) = world.add_one(sh("f", "mkdir $out; echo x > $out/x; chmod 777 $out; exit 1"));
    assert!(!world.build(&path).is_success());
    assert!(!world.store.is_valid(&out).unwrap());
    assert!(world.store.to_real_path(&out).symlink_metadata().is_err());
}

#[test]
fn missing_paths_are_unknown() {
    let world = World::new();
    let (path, _) = world.add_one(sh("x", "echo x > $out"));
    let other = World::new();
    let (outcome, _) = other.build_with(other.options(), std::slice::from_ref(&path));
    assert!(!outcome.is_success());
    assert_eq!(
        outcome.missing[&path],
        format!("path '{}' does not exist and cannot be created", world.store.store_dir().display(&path))
    );
    assert_eq!(outcome.exit_status(), 1);
}

#[test]
fn a_store_below_tmp_is_one_too() {
    let scratch = tempfile::tempdir_in("/tmp").unwrap();
    let real = scratch.path().canonicalize().unwrap().join("store");
    let store_dir = StoreDir::new(real.to_str().unwrap()).unwrap();
    let layout = LocalStoreOptions { store_dir, real_store_dir: Some(real), ..LocalStoreOptions::rooted(scratch.path().join("root")) };
    let store = LocalStore::open(layout).unwrap();
    let world = World::at(scratch, store);
    for name in ["one", "two"] {
        assert_eq!(world.output_text(sh(name, "echo temporary > /tmp/x; read text < /tmp/x; echo $text > $out")), "temporary\n");
    }
}

#[test]
fn single_derivations_have_limits_of_their_own() {
    let world = World::new();
    let (quick, _) = world.add_one(sh("quick", "while :; do :; done"));
    let (other, _) = world.add_one(sh("other", "echo > $out"));
    let own = Limits { timeout: Some(Duration::from_millis(100)), ..Limits::default() };
    let limits = Limits { timeout: Some(Duration::from_secs(3600)), ..Limits::default() };
    let options = BuildOptions { derivation_limits: [(quick.clone(), own)].into(), limits, keep_going: true, ..world.options() };
    let (outcome, _) = world.build_with(options, &[quick.clone(), other.clone()]);
    assert_eq!(outcome.results[&quick].status, BuildStatus::TimedOut);
    assert_eq!(outcome.results[&other].status, BuildStatus::Built);
}
