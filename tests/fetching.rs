//! Fetchers through the command line: local repositories, archives and directories, and what the real Nix 2.34.8 says of the same ones
//! (`fetching/answers.txt`: an expression, then the status and the value or the last error, with `D` for the directory and `REV` for the
//! commit). Without `git` in `PATH` the test says so and passes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use nixlang_store::binary_cache::{BinaryCache, BinaryCacheOptions};
use nixlang_store::copy::copy_closure;
use nixlang_store::memory::MemoryStore;
use nixlang_store::store::Store;
use nixlang_store::transfer::file::FileTransport;
use nixlang_tests::{Answer, command, scratch};

fn run(directory: &Path, program: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    let date = "1000000000 +0000";
    command.envs([("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_AUTHOR_NAME", "n"), ("GIT_AUTHOR_EMAIL", "e@h"), ("GIT_AUTHOR_DATE", date)]);
    command.envs([("GIT_COMMITTER_NAME", "n"), ("GIT_COMMITTER_EMAIL", "e@h"), ("GIT_COMMITTER_DATE", date)]);
    let output = command.args(arguments).current_dir(directory).output().expect("the program runs");
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Makes the repositories and archives that the expressions fetch. Returns the commit.
fn sources(directory: &Path) -> String {
    let write = |name: &str, text: &str| {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().expect("it is in a directory")).expect("a scratch directory is writable");
        fs::write(path, text).expect("a scratch directory is writable");
    };
    run(directory, "git", &["-c", "init.defaultBranch=main", "init", "-q", "repo"]);
    write("repo/a", "1\n");
    write("repo/d/x", "2\n");
    write("repo/.gitattributes", "/d export-ignore\n");
    run(directory, "git", &["-C", "repo", "add", "."]);
    run(directory, "git", &["-C", "repo", "commit", "-qm", "m"]);
    run(directory, "cp", &["-r", "repo", "dirty"]);
    write("dirty/a", "3\n");
    write("top/f", "x\n");
    fs::set_permissions(directory.join("top/f"), fs::Permissions::from_mode(0o755)).expect("it was just made");
    std::os::unix::fs::symlink("f", directory.join("top/l")).expect("a scratch directory is writable");
    run(directory, "tar", &["--owner=0", "--group=0", "--mtime=@1000000000", "-czf", "t.tar.gz", "top"]);
    run(directory, "git", &["-C", "repo", "rev-parse", "HEAD"])
}

/// Runs a command with a store and a cache of its own.
fn ask(directory: &Path, arguments: &[&str]) -> Answer {
    let mut command = command(directory, arguments);
    command.env("XDG_DATA_HOME", directory.join("data")).env("XDG_CACHE_HOME", directory.join("cache"));
    Answer::from(command.output().expect("the command under test runs"))
}

#[test]
fn fetched_trees_are_the_references() {
    if Command::new("git").arg("--version").output().is_err() {
        eprintln!("skipped: there is no git");
        return;
    }
    let scratch = scratch();
    let directory = fs::canonicalize(scratch.path()).expect("it is there");
    let revision = sources(&directory);
    let place = directory.to_str().expect("scratch paths are UTF-8");
    let lines: Vec<&str> = include_str!("fetching/answers.txt").lines().collect();
    let (cases, rest) = lines.as_chunks::<2>();
    assert!(cases.len() > 10 && rest.is_empty());
    let mut wrong = Vec::new();
    for [expression, expected] in cases {
        let filled = |text: &str| text.replace("D/", &format!("{place}/")).replace("REV", &revision);
        let features = "flakes fetch-closure";
        let (archive, gone) = (format!("t=file://{place}/t.tar.gz"), "gone=file:///gone.tar.gz");
        let expression = filled(expression);
        let answer = ask(
            &directory,
            &["nix-instantiate", "--eval", "--strict", "--extra-experimental-features", features, "-I", &archive, "-I", gone, "-E", &expression],
        );
        let said = if answer.status == Some(0) { answer.stdout.trim().to_owned() } else { format!("error: {}", answer.error().first().cloned().unwrap_or_default()) };
        let said = format!("[{}] {said}", answer.status.unwrap_or(-1));
        let expected = filled(expected.trim());
        if said.lines().next() != Some(expected.as_str()) {
            wrong.push(format!("{expression}\n  expected {expected}\n  got      {said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_are_fetched_ahead() {
    let scratch = scratch();
    fs::write(scratch.path().join("file"), "hello\n").expect("a scratch directory is writable");
    let url = format!("file://{}/file", scratch.path().to_str().expect("scratch paths are UTF-8"));
    // What the real Nix 2.34.8 says.
    let hash = "00xyyr3fi8l6hb839bv3f7yb86yjv7xi1cgh1xnhipym4asvb4aq";
    let path = "/nix/store/1vap48aqggkk52ijn2prxzxv7cnzvs0w-file";
    assert_eq!(ask(scratch.path(), &["nix-prefetch-url", "--print-path", &url]).stdout, format!("{hash}\n{path}\n"));
    let json = ask(scratch.path(), &["store", "prefetch-file", "--json", &url]);
    assert!(json.stdout.contains(&format!("\"storePath\":\"{path}\"")) && json.stdout.contains("\"hash\":\"sha256-"), "{json:?}");
    let wrong = ask(scratch.path(), &["nix-prefetch-url", &url, &"0".repeat(52)]);
    assert_eq!((wrong.status, wrong.error()), (Some(1), vec![format!("hash mismatch for '{url}'")]));
}

#[test]
fn closures_come_from_a_cache() {
    let scratch = scratch();
    let url = format!("file://{}/cache", scratch.path().to_str().expect("scratch paths are UTF-8"));
    let store = MemoryStore::default();
    let path = store.add_text("greeting", b"hello", &Default::default()).expect("it is in memory");
    let cache = BinaryCache::open(&url, Arc::new(FileTransport), BinaryCacheOptions::default()).expect("a scratch directory is writable");
    copy_closure(&store, &cache, std::slice::from_ref(&path)).expect("a scratch directory is writable");
    let path = store.store_dir().display(&path);
    for (more, status, expected) in [
        ("", 0, "\"hello\"".to_owned()),
        ("inputAddressed = true;", 1, format!("The store object referred to by 'fromPath' at '{path}' is not input-addressed, but 'inputAddressed' is set to 'true'.")),
        ("toPath = \"\";", 1, format!("rewriting '{path}' to content-addressed form yielded '/nix/store/")),
        ("other = 1;", 1, "attribute 'other' isn't supported in call to 'fetchClosure'".to_owned()),
    ] {
        let expression = format!("builtins.readFile (builtins.fetchClosure {{ fromStore = \"{url}\"; fromPath = \"{path}\"; {more} }})");
        let mut evaluate = command(scratch.path(), ["nix-instantiate", "--eval", "--extra-experimental-features", "fetch-closure", "-E", &expression]);
        evaluate.env("XDG_DATA_HOME", scratch.path().join("data")).env("XDG_CACHE_HOME", scratch.path().join("cache-home")).env("_NIX_IN_TEST", "1");
        let answer = Answer::from(evaluate.output().expect("the command under test runs"));
        let said = if status == 0 { answer.stdout.clone() } else { answer.error().first().cloned().unwrap_or_default() };
        assert!(answer.status == Some(status) && said.starts_with(&expected), "{expression}: {answer:?}");
    }
}
