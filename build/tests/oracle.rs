//! The same derivations built by a real Nix and by us: same paths, same NAR hashes, same references, same log.
//!
//! `REAL_NIX` is a command that runs a real Nix's tools, such as `env` where one is installed. It must see the system's
//! directory for temporary files (`TMPDIR`) under the same path. Without it nothing here is tested, and says so.

mod support;

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Arc;

use nixlang_build::{BuildOptions, Builder, CancelToken, DerivedPath};
use nixlang_store::local::{LocalStore, LocalStoreOptions};
use nixlang_store::store::Store;

/// Only what a shell has by itself, and nothing that depends on which shell it is.
const EXPRESSIONS: &str = r#"
let
  sh = name: script: attributes: derivation ({
    inherit name; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-c" script ];
  } // attributes);
  dep = sh "dep" "echo dep > $out" { };
  show = "while IFS= read -r l; do echo \"$l\"; done";
in {
  environment = sh "environment" ''
    for v in HOME NIX_BUILD_CORES NIX_BUILD_TOP NIX_LOG_FD NIX_STORE PATH PWD TEMP TEMPDIR TERM TMP TMPDIR builder name out system a b; do
      eval "echo $v=\$$v" >> $out
    done
    echo args "$0" "$@" >> $out; umask >> $out
    for f in /* /dev/* /etc/* /build/* /proc/self/fd/[0-2]; do case $f in /lib*) ;; *) echo $f >> $out;; esac; done
    for f in passwd group hosts; do ${show} < /etc/$f >> $out; done
    read p < /proc/self/personality; echo $p >> $out
    read p < /proc/sys/kernel/hostname; echo $p >> $out
    read p < /proc/sys/kernel/domainname; echo $p >> $out
    while read k v; do
      case $k in Uid:|Gid:|Groups:|NStgid:|NSsid:|CapEff:|CapPrm:|CapInh:|CapBnd:|NoNewPrivs:|Seccomp:|Seccomp_filters:) echo $k $v >> $out;; esac
    done < /proc/self/status
    while read a b c d e f rest; do case $e in /dev/*|/proc|/build|/) echo $e $f >> $out;; esac; done < /proc/self/mountinfo
    while read -r l; do case $l in *core*) echo $l >> $out;; esac; done < /proc/self/limits
  '' { a = "${dep} ${builtins.placeholder "out"}"; b = [ 1 "two" null true ]; NIX_BUILD_CORES = "7"; TMPDIR = "/overridden"; };
  files = sh "files" ''
    ${show} < $textPath > $out; ${show} < graph >> $out; echo ''${textPath} >> $out
  '' { text = "some\ntext"; passAsFile = [ "text" "absent" ]; exportReferencesGraph = [ "graph" dep ]; };
  structured = sh "structured" ''
    o=/nix/store
    while read -r l; do case $l in *outputs=*) o=''${l#*out\'\]=\'}; o=''${o%%\'*};; esac; done < $NIX_ATTRS_SH_FILE
    { ${show} < $NIX_ATTRS_SH_FILE; ${show} < $NIX_ATTRS_JSON_FILE; read -r l < $NIX_ATTRS_JSON_FILE; echo "$l"; echo $NIX_ATTRS_JSON_FILE ''${name-unset}; } > $o
  '' {
    __structuredAttrs = true; n = 4294967296; m = -2147483649; f = 1.5; g = 2.0; h = 1.0e10; t = true; u = false; v = null;
    s = "it's"; l = [ 1 "a b" ]; nested = [ [ 1 ] ]; set = { "k l" = "v"; x = 1; }; deep = { a = { }; }; "bad-name" = 1; empty = { }; none = [ ];
    exportReferencesGraph.graph = [ dep ]; outputs = [ "out" ];
  };
  outputs = sh "outputs" "echo $lib $out > $out; echo $lib > $lib; echo nothing > $doc" { outputs = [ "out" "lib" "doc" ]; };
  fixed = sh "fixed" "echo fixed $NIX_OUTPUT_CHECKED > $out" { outputHash = "sha256-Gc8s6GrUOw3qqu7iB+HGIl2m3BTqwBgM/bn2h7TIAAU="; outputHashMode = "flat"; };
  sha1 = sh "sha1" "echo fixed > $out" { outputHash = "sha1-AAAAAAAAAAAAAAAAAAAAAAAAAAA="; outputHashMode = "recursive"; };
  rules = sh "rules" "echo ${dep} $out > $out" { allowedReferences = [ dep ]; };
  requisites = sh "requisites" "echo ${dep} $out > $out" { allowedRequisites = [ dep ]; };
  circle = sh "circle" "echo $out $lib > $out; echo $out > $lib" { outputs = [ "out" "lib" ]; };
  fails = sh "fails" "echo one; echo two; exit 9" { };
  nothing = sh "nothing" ":" { };
  missing = derivation { name = "missing"; system = "x86_64-linux"; builder = "/nonexistent"; };
  foreign = derivation { name = "foreign"; system = "riscv64-linux"; builder = "/bin/sh"; };
  features = sh "features" ": > $out" { requiredSystemFeatures = [ "quantum" ]; };
  writable = sh "writable" "umask 0; echo x > $out" { };
  killed = sh "killed" "exec 2>&1; echo x > $out; kill -KILL $$; kill -9 1; echo survived" { };
  control = sh "control" "printf 'a\\rb\\n\\033[1mc\\n'; echo last; : > $out" { };
  unpack = derivation { name = "unpack"; system = "builtin"; builder = "builtin:fetchurl"; url = "file:///nonexistent"; outputHash = "sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="; };
  unknown = derivation { name = "unknown"; system = "builtin"; builder = "builtin:unknown"; };
  env = derivation { name = "env"; system = "builtin"; builder = "builtin:buildenv"; derivations = [ "true" 5 1 dep ]; manifest = dep; };
}
"#;

#[test]
fn builds_agree_with_a_real_nix() {
    let Some(real_nix) = std::env::var_os("REAL_NIX") else {
        eprintln!("skipped: REAL_NIX names no command that runs a real Nix");
        return;
    };
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().join("theirs");
    std::fs::write(scratch.path().join("all.nix"), EXPRESSIONS).unwrap();
    let run = |arguments: &[&str]| {
        let output = Command::new(&real_nix).args(arguments).current_dir(scratch.path()).output().unwrap();
        (output.status, String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let store = root.to_str().unwrap();
    let (status, text, log) = run(&["nix-instantiate", "--store", store, "all.nix"]);
    assert!(status.success(), "{log}");
    let theirs = LocalStore::open(LocalStoreOptions::rooted(&root)).unwrap();
    let ours = support::open(scratch.path());

    let derivations: Vec<_> =
        text.lines().map(|line| theirs.store_dir().parse(line.split('!').next().unwrap()).unwrap()).collect();
    let derivations: BTreeSet<_> = derivations.into_iter().collect();
    assert!(derivations.len() > 15);
    let all: Vec<_> = derivations.iter().cloned().collect();
    nixlang_store::copy::copy_closure(&theirs, &*ours, &all).unwrap();

    let mut wrong = Vec::new();
    for derivation in &derivations {
        let path = theirs.store_dir().display(derivation);
        let (status, _, log) = run(&["nix-store", "--store", store, "--realise", &path]);

        let options = BuildOptions { log_lines: 1000, ..support::options() };
        let builder = Builder::new(Arc::clone(&ours), options);
        let plan = builder.plan(&[DerivedPath::from_path(derivation.clone())]).unwrap();
        let outcome = builder.run(&plan, &(), &CancelToken::new());
        let result = &outcome.results[derivation];

        let name = derivation.name();
        if status.code() != Some(outcome.exit_status().into()) {
            wrong.push(format!("{name}: exit status {status} there, {} here", outcome.exit_status()));
        }
        // Their message is indented, and coloured nowhere since stderr is no terminal.
        for line in result.message.lines().filter(|line| !line.contains(".chroot") && !line.contains("Available features")) {
            if !log.contains(line.trim()) {
                wrong.push(format!("{name}: the line {line:?} is not in their log:\n{log}"));
            }
        }
        // Where downloads fail, the words are the download library's.
        for line in result.log_tail.iter().filter(|_| name != "unpack.drv") {
            let line = String::from_utf8_lossy(line);
            if !log.contains(&*line) {
                wrong.push(format!("{name}: the log line {line:?} is not in their log:\n{log}"));
            }
        }
        for (output, path) in theirs.derivation_outputs(derivation).unwrap() {
            let path = path.unwrap();
            let (there, here) = (theirs.query_path_info(&path).unwrap(), ours.query_path_info(&path).unwrap());
            let facts = |info: &nixlang_store::path_info::PathInfo| {
                (info.nar_hash, info.nar_size, info.references.clone(), info.content_address, info.deriver.clone())
            };
            if there.as_ref().map(facts) != here.as_ref().map(facts) {
                let read = |store: &LocalStore| {
                    std::fs::read_to_string(store.to_real_path(&path)).unwrap_or_else(|error| error.to_string())
                };
                wrong.push(format!(
                    "{name}!{output}: {there:#?}\nthere, {here:#?}\nhere; {}\n---\n{}",
                    read(&theirs),
                    read(&ours)
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
