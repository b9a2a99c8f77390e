//! Fetchers on local git repositories and a small server: what comes, what is remembered, and what the hostile get.
//!
//! Without a `git` in `PATH` the tests about repositories say so and pass.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use nixlang_store::fetchers::{FetchError, FetchResult, FetchedTree, Fetchers, Observer, Options};
use nixlang_store::input::url::Url;
use nixlang_store::input::{Attr, Attrs, Input, Reader};
use nixlang_store::memory::MemoryStore;
use nixlang_store::store::Store;
use nixlang_store::transfer::http::{HttpOptions, HttpTransport};

/// Keeps what was warned of.
#[derive(Default)]
struct Warnings(Mutex<Vec<String>>);

impl Observer for Warnings {
    fn warn(&self, message: &str) {
        self.0.lock().unwrap().push(message.to_owned());
    }
}

struct Scratch {
    dir: tempfile::TempDir,
    store: MemoryStore,
    warnings: Arc<Warnings>,
}

impl Scratch {
    fn new() -> Scratch {
        Scratch { dir: tempfile::tempdir().unwrap(), store: MemoryStore::default(), warnings: Arc::default() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn options(&self) -> Options {
        Options {
            cache_dir: self.path("cache"),
            ttl: 3600,
            allow_dirty: true,
            warn_dirty: true,
            access_tokens: BTreeMap::new(),
            clone_local: false,
        }
    }

    /// Fetchers of a new process: nothing is remembered but by the cache.
    fn fetchers(&self, options: Options) -> Fetchers {
        let mut http = HttpOptions::default();
        http.retry.n_attempts = 2;
        http.retry.first_delay = std::time::Duration::from_millis(1);
        Fetchers::new(options, Arc::new(HttpTransport::new(http)), self.warnings.clone())
    }

    fn fetch(&self, input: &Input) -> FetchResult<FetchedTree> {
        self.fetchers(self.options()).fetch(&self.store, input)
    }

    fn files(&self, tree: &FetchedTree) -> Vec<String> {
        let mut nar = Vec::new();
        self.store.write_nar(&tree.path, &mut nar).unwrap();
        let out = tempfile::tempdir().unwrap();
        let top = out.path().join("t");
        nixlang_store::fs::restore(&mut &nar[..], &top, nixlang_store::fs::Metadata::Ordinary).unwrap();
        let mut found = Vec::new();
        let mut pending = vec![top.clone()];
        while let Some(path) = pending.pop() {
            let name = path.strip_prefix(&top).unwrap().display().to_string();
            if path.is_dir() && !path.is_symlink() {
                pending.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            } else {
                found.push(format!("{name}={}", std::fs::read_to_string(&path).unwrap_or_default().trim()));
            }
        }
        found.sort();
        found
    }
}

fn attrs<const N: usize>(attrs: [(&str, Attr); N]) -> Attrs {
    attrs.map(|(name, attr)| (name.to_owned(), attr)).into()
}

fn input(attrs: Attrs) -> Input {
    Input::from_attrs(attrs, &mut Reader { has_feature: &|_| true, dubious: &mut |_| {} }).unwrap()
}

fn by_url(text: &str) -> Input {
    let mut dubious = |_: &str| {};
    let url = Url::parse(text, &mut dubious).unwrap();
    Input::from_url(&url, true, &mut Reader { has_feature: &|_| true, dubious: &mut dubious }).unwrap()
}

fn message(error: FetchError) -> String {
    match error {
        FetchError::While { source, .. } => message(*source),
        error => error.to_string(),
    }
}

// --- git ---

fn has_git() -> bool {
    let found = Command::new("git").arg("--version").output().is_ok();
    if !found {
        eprintln!("skipped: there is no git");
    }
    found
}

fn git(dir: &Path, words: &[&str]) -> String {
    let settings = ["-c", "user.name=n", "-c", "user.email=e@h", "-c", "init.defaultBranch=main", "-c", "protocol.file.allow=always"];
    let mut command = Command::new("git");
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_COMMITTER_DATE", "1000000000 +0200").env("GIT_AUTHOR_DATE", "900000000 +0000");
    let output = command.arg("-C").arg(dir).args(settings).args(words).output().unwrap();
    assert!(output.status.success(), "git {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn repository(dir: &Path, files: &[(&str, &str)]) -> String {
    std::fs::create_dir_all(dir).unwrap();
    git(dir, &["init", "-q"]);
    commit(dir, files)
}

fn commit(dir: &Path, files: &[(&str, &str)]) -> String {
    for (name, text) in files {
        let path = dir.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        git(dir, &["add", "--", name]);
    }
    git(dir, &["commit", "-qm", "m", "--allow-empty"]);
    git(dir, &["rev-parse", "HEAD"])
}

fn git_input(dir: &Path, more: &[(&str, Attr)]) -> Input {
    let mut all = attrs([("type", "git".into()), ("url", format!("file://{}", dir.display()).into())]);
    all.extend(more.iter().map(|(name, attr)| ((*name).to_owned(), attr.clone())));
    input(all)
}

#[test]
fn a_commit_has_its_files_count_and_time() {
    if !has_git() {
        return;
    }
    let scratch = Scratch::new();
    let repo = scratch.path("repo");
    let first = repository(&repo, &[("a", "1"), ("d/x", "2"), ("d.x", "3")]);
    let second = commit(&repo, &[("a", "4")]);
    std::os::unix::fs::symlink("a", repo.join("l")).unwrap();
    git(&repo, &["add", "l"]);
    git(&repo, &["commit", "-qm", "m"]);
    for (revision, count, a) in [(&first, 1, "1"), (&second, 2, "4")] {
        let fetched = scratch.fetch(&git_input(&repo, &[("rev", revision.as_str().into())])).unwrap();
        assert_eq!(scratch.files(&fetched), [format!("a={a}"), "d.x=3".into(), "d/x=2".into()]);
        assert_eq!((fetched.input.number("revCount"), fetched.input.number("lastModified")), (Some(count), Some(1_000_000_000)));
        assert_eq!((fetched.input.text("rev"), fetched.input.text("ref")), (Some(revision.as_str()), Some("refs/heads/main")));
    }
    let clean = scratch.fetch(&git_input(&repo, &[])).unwrap();
    assert_eq!((clean.input.number("revCount"), clean.input.text("dirtyRev")), (Some(3), None));
    assert!(scratch.files(&clean).contains(&"l=4".to_owned()), "a link is a link");
    let unknown = scratch.fetch(&git_input(&repo, &[("ref", "absent".into())]));
    assert!(message(unknown.unwrap_err()).starts_with("resolving Git reference 'absent'"));
    let absent = scratch.fetch(&git_input(&scratch.path("absent"), &[]));
    assert_eq!(message(absent.unwrap_err()), format!("Git repository \"{}\" does not exist.", scratch.path("absent").display()));
}

#[test]
fn a_dirty_tree_has_what_git_knows() {
    if !has_git() {
        return;
    }
    let scratch = Scratch::new();
    let repo = scratch.path("repo");
    let revision = repository(&repo, &[("kept", "1"), ("changed", "2"), ("deleted", "3"), ("d/only", "4")]);
    for (name, text) in [("changed", "5"), ("added", "6"), ("unknown", "7"), ("d/unknown", "8")] {
        std::fs::write(repo.join(name), text).unwrap();
    }
    git(&repo, &["add", "added"]);
    std::fs::remove_file(repo.join("deleted")).unwrap();
    let fetched = scratch.fetch(&git_input(&repo, &[])).unwrap();
    assert_eq!(scratch.files(&fetched), ["added=6", "changed=5", "d/only=4", "kept=1"]);
    assert_eq!(fetched.input.text("dirtyRev"), Some(format!("{revision}-dirty").as_str()));
    assert_eq!((fetched.input.text("rev"), fetched.input.number("revCount")), (None, None));
    assert_eq!(*scratch.warnings.0.lock().unwrap(), [format!("Git tree '{}' is dirty", repo.display())]);
    let strict = scratch.fetchers(Options { allow_dirty: false, ..scratch.options() });
    let refused = strict.fetch(&scratch.store, &git_input(&repo, &[])).unwrap_err();
    assert_eq!(message(refused), format!("Git tree '{}' is dirty", repo.display()));
    // The same tree, once committed, is the same path.
    git(&repo, &["commit", "-qam", "m"]);
    assert_eq!(scratch.fetch(&git_input(&repo, &[])).unwrap().path, fetched.path);
    // What a link of a working tree leads to stays outside.
    std::fs::remove_dir_all(repo.join("d")).unwrap();
    std::fs::create_dir(scratch.path("secret")).unwrap();
    std::fs::write(scratch.path("secret/only"), "secret").unwrap();
    std::os::unix::fs::symlink(scratch.path("secret"), repo.join("d")).unwrap();
    let linked = scratch.fetch(&git_input(&repo, &[])).unwrap();
    assert!(!scratch.files(&linked).iter().any(|file| file.contains("secret")), "{:?}", scratch.files(&linked));
}

#[test]
fn a_clone_is_kept_and_asked_for_again_when_it_is_old() {
    if !has_git() {
        return;
    }
    let scratch = Scratch::new();
    let repo = scratch.path("repo");
    repository(&repo, &[("a", "1")]);
    let remote = |ttl| scratch.fetchers(Options { clone_local: true, ttl, ..scratch.options() });
    let a = |ttl| remote(ttl).fetch(&scratch.store, &git_input(&repo, &[])).map(|tree| scratch.files(&tree)).map_err(message);
    assert_eq!(a(3600).unwrap(), ["a=1"]);
    let second = commit(&repo, &[("a", "2")]);
    assert_eq!(a(3600).unwrap(), ["a=1"], "the answer is young");
    assert_eq!(a(0).unwrap(), ["a=2"]);
    std::fs::rename(&repo, scratch.path("away")).unwrap();
    assert_eq!(a(3600).unwrap(), ["a=2"], "nobody has to be asked");
    let locked = git_input(&repo, &[("rev", second.as_str().into())]);
    assert_eq!(scratch.files(&remote(0).fetch(&scratch.store, &locked).unwrap()), ["a=2"]);
    let unknown = git_input(&repo, &[("rev", "1".repeat(40).as_str().into()), ("ref", "main".into())]);
    assert!(remote(0).fetch(&scratch.store, &unknown).is_err());
}

#[test]
fn submodules_and_what_is_not_exported() {
    if !has_git() {
        return;
    }
    let scratch = Scratch::new();
    let (outer, inner) = (scratch.path("outer"), scratch.path("inner"));
    repository(&inner, &[("in", "1")]);
    repository(&outer, &[("out", "2"), ("secret", "3"), ("d/x", "4"), (".gitattributes", "/secret export-ignore\n/d export-ignore\nout export-ignore=no\n")]);
    git(&outer, &["submodule", "--quiet", "add", "../inner", "sub"]);
    git(&outer, &["commit", "-qm", "m"]);
    let files = |more: &[(&str, Attr)]| {
        let mut files = scratch.files(&scratch.fetch(&git_input(&outer, more)).unwrap());
        files.retain(|file| !file.starts_with(".git"));
        files
    };
    let head = Attr::from("HEAD");
    assert_eq!(files(&[("ref", head.clone())]), ["d/x=4", "out=2", "secret=3"]);
    assert_eq!(files(&[("ref", head.clone()), ("exportIgnore", Attr::Bool(true))]), ["out=2"]);
    assert_eq!(files(&[("exportIgnore", Attr::Bool(true))]), ["out=2"]);
    assert_eq!(files(&[("ref", head.clone()), ("submodules", Attr::Bool(true))]), ["d/x=4", "out=2", "secret=3", "sub/in=1"]);
    assert_eq!(files(&[("submodules", Attr::Bool(true))]), ["d/x=4", "out=2", "secret=3", "sub/in=1"]);
    let both = git_input(&outer, &[("submodules", Attr::Bool(true)), ("exportIgnore", Attr::Bool(true))]);
    assert_eq!(message(scratch.fetch(&both).unwrap_err()), "exportIgnore and submodules are not supported together yet");
}

#[test]
fn settings_of_a_repository_run_nothing() {
    if !has_git() {
        return;
    }
    let scratch = Scratch::new();
    let repo = scratch.path("repo");
    repository(&repo, &[("a", "1")]);
    let run = format!("touch {}", scratch.path("ran").display());
    git(&repo, &["config", "core.fsmonitor", &run]);
    std::fs::create_dir_all(repo.join(".git/hooks")).unwrap();
    for hook in ["post-checkout", "reference-transaction", "post-index-change", "fsmonitor-watchman"] {
        let hook = repo.join(".git/hooks").join(hook);
        std::fs::write(&hook, format!("#!/bin/sh\n{run}\n")).unwrap();
        std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    std::fs::write(repo.join("a"), "2").unwrap();
    assert_eq!(scratch.files(&scratch.fetch(&git_input(&repo, &[])).unwrap()), ["a=2"]);
    let remote = scratch.fetchers(Options { clone_local: true, ..scratch.options() });
    remote.fetch(&scratch.store, &git_input(&repo, &[])).unwrap();
    assert!(!scratch.path("ran").exists());
    // Names that git would take for something else are none.
    let option = attrs([("type", "git".into()), ("url", "file:///x".into()), ("ref", "--upload-pack=touch".into())]);
    let refused = Input::from_attrs(option, &mut Reader { has_feature: &|_| true, dubious: &mut |_| {} });
    assert_eq!(refused.unwrap_err().to_string(), "invalid Git branch/tag name '--upload-pack=touch'");
    let program = attrs([("type", "git".into()), ("url", "ext::sh -c touch% ran".into())]);
    assert!(Input::from_attrs(program, &mut Reader { has_feature: &|_| true, dubious: &mut |_| {} }).is_err());
}

// --- archives, files, paths ---

/// A server that answers by path; counts the bodies that it gave.
struct Server {
    port: u16,
    n_bodies: Arc<AtomicUsize>,
}

type Answers = Arc<dyn Fn(&str) -> Option<(String, Vec<u8>)> + Send + Sync>;

impl Server {
    fn start(answers: Answers) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let n_bodies = Arc::new(AtomicUsize::new(0));
        let counted = n_bodies.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (answers, counted) = (answers.clone(), counted.clone());
                std::thread::spawn(move || drop(answer(stream.unwrap(), &answers, &counted)));
            }
        });
        Server { port, n_bodies }
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }
}

fn answer(mut stream: TcpStream, answers: &Answers, n_bodies: &AtomicUsize) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut path, mut tag) = (String::new(), String::new());
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if let Some(rest) = line.strip_prefix("GET ") {
            path = rest.split(' ').next().unwrap_or_default().trim_start_matches('/').to_owned();
        }
        if let Some(value) = line.to_lowercase().strip_prefix("if-none-match:") {
            tag = value.trim().to_owned();
        }
        if line.trim().is_empty() {
            break;
        }
    }
    match answers(&path) {
        None => write!(stream, "HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")?,
        Some((headers, _)) if tag == "\"1\"" => write!(stream, "HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\n{headers}Connection: close\r\n\r\n")?,
        Some((headers, body)) => {
            n_bodies.fetch_add(1, Ordering::SeqCst);
            write!(stream, "HTTP/1.1 200 OK\r\nETag: \"1\"\r\n{headers}Connection: close\r\nContent-Length: {}\r\n\r\n", body.len())?;
            stream.write_all(&body)?;
        }
    }
    stream.flush()?;
    let _ = stream.shutdown(std::net::Shutdown::Write);
    reader.read_to_end(&mut Vec::new()).map(drop)
}

fn tarball(entries: &[(&str, &str)]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, text) in entries {
        // Without the checks that a good writer makes.
        let mut header = [0u8; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[100..107].copy_from_slice(b"0000644");
        header[124..135].copy_from_slice(format!("{:011o}", text.len()).as_bytes());
        header[136..147].copy_from_slice(b"00000000017");
        header[156] = b'0';
        header[148..156].copy_from_slice(b"        ");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        archive.extend_from_slice(&header);
        archive.extend_from_slice(text.as_bytes());
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.resize(archive.len() + 1024, 0);
    archive
}

#[test]
fn archives_are_fetched_once_and_checked() {
    let scratch = Scratch::new();
    let server = Server::start(Arc::new(|path| match path {
        "x.tar" => Some((String::new(), tarball(&[("top/a", "1"), ("top/d/b", "2")]))),
        "link.tar" => Some(("Link: <http://127.0.0.1:1/for-ever.tar>; rel=\"immutable\"\r\n".to_owned(), tarball(&[("top/a", "1")]))),
        "evil.tar" => Some((String::new(), tarball(&[("../../outside", "1"), ("/etc/x", "2")]))),
        "broken.tar" => Some((String::new(), b"no archive, and longer than a header".repeat(40))),
        _ => None,
    }));
    let url = server.url("x.tar");
    let first = scratch.fetch(&by_url(&url)).unwrap();
    assert_eq!(scratch.files(&first), ["a=1", "d/b=2"]);
    assert_eq!(first.input.number("lastModified"), Some(0o17));
    assert_eq!(scratch.fetch(&by_url(&url)).unwrap().path, first.path);
    assert_eq!(server.n_bodies.load(Ordering::SeqCst), 1, "a young answer is good");
    let old = scratch.fetchers(Options { ttl: 0, ..scratch.options() });
    assert_eq!(old.fetch(&scratch.store, &by_url(&url)).unwrap().path, first.path);
    assert_eq!(server.n_bodies.load(Ordering::SeqCst), 1, "the server has no other");
    let named = scratch.fetchers(scratch.options()).tarball(&scratch.store, &url, "named").unwrap();
    assert_eq!((named.path.name(), named.nar_hash), ("named", first.nar_hash));
    assert_eq!(server.n_bodies.load(Ordering::SeqCst), 1);

    let hash = first.input.text("narHash").unwrap();
    let locked = |hash: &str| scratch.fetch(&input(attrs([("type", "tarball".into()), ("url", url.as_str().into()), ("narHash", hash.into())])));
    assert_eq!(locked(hash).unwrap().path, first.path);
    let wrong = locked("sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=").unwrap_err();
    let FetchError::While { message: trace, source } = wrong else { panic!("it says what was being fetched") };
    assert!(trace.starts_with("while fetching the input 'http://127.0.0.1"));
    assert!(matches!(*source, FetchError::HashMismatch { .. }) && source.to_string().ends_with(&format!("but got '{hash}'")), "{source}");

    assert_eq!(scratch.fetch(&by_url(&server.url("link.tar"))).unwrap().input.text("url"), Some("http://127.0.0.1:1/for-ever.tar"));
    let evil = scratch.fetch(&by_url(&server.url("evil.tar"))).unwrap();
    assert_eq!(scratch.files(&evil), ["etc/x=2", "outside=1"]);
    let broken = message(scratch.fetch(&by_url(&server.url("broken.tar"))).unwrap_err());
    assert_eq!(broken, "Failed to open archive (Unrecognized archive format)");
    assert!(message(scratch.fetch(&by_url(&server.url("absent.tar"))).unwrap_err()).contains("HTTP error 404"));
}

#[test]
fn files_come_from_the_cache_when_the_server_is_gone() {
    let scratch = Scratch::new();
    let is_up = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let state = is_up.clone();
    let server = Server::start(Arc::new(move |_| state.load(Ordering::SeqCst).then(|| (String::new(), b"text".to_vec()))));
    let fetchers = scratch.fetchers(Options { ttl: 0, ..scratch.options() });
    let first = fetchers.download(&scratch.store, &server.url("f"), "f", &[]).unwrap();
    assert_eq!(scratch.store.read_file(&first.path).unwrap(), b"text");
    assert_eq!(first.path.name(), "f");
    is_up.store(false, Ordering::SeqCst);
    assert_eq!(fetchers.download(&scratch.store, &server.url("f"), "f", &[]).unwrap().path, first.path);
    assert!(scratch.warnings.0.lock().unwrap().iter().any(|warning| warning.ends_with("; using cached version")));
    assert!(fetchers.download(&scratch.store, &server.url("f"), "other", &[]).is_err(), "under another name it was never had");
    // Nobody listens there.
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert!(fetchers.download(&scratch.store, &format!("http://{dead}/f"), "f", &[]).is_err());
}

#[test]
fn local_files_and_what_is_wrong_with_them() {
    let scratch = Scratch::new();
    std::fs::create_dir_all(scratch.path("tree/d")).unwrap();
    std::fs::write(scratch.path("tree/d/f"), "1").unwrap();
    let tree = scratch.path("tree").display().to_string();
    let fetched = scratch.fetch(&by_url(&format!("path:{tree}"))).unwrap();
    assert_eq!(scratch.files(&fetched), ["d/f=1"]);
    assert!(fetched.input.number("lastModified").unwrap() > 1_000_000_000);
    let said = by_url(&format!("path:{tree}?lastModified=7"));
    assert_eq!(scratch.fetch(&said).unwrap().input.number("lastModified"), Some(7));
    let error = |input: Input| message(scratch.fetch(&input).unwrap_err());
    assert_eq!(error(input(attrs([("type", "path".into()), ("path", "./x".into())]))), "cannot fetch input 'path:./x' because it uses a relative path");
    let relative = "tarball 'file:./x.tar' must use an absolute path. The 'file' scheme does not support relative paths.";
    assert_eq!(error(by_url("file:./x.tar")), relative);
    assert_eq!(error(by_url(&format!("file://{tree}"))), format!("tarball \"{tree}\" is a directory, not a file."));
    assert_eq!(error(by_url(&format!("file://{tree}/x.tar"))), format!("tarball \"{tree}/x.tar\" does not exist."));
    assert!(error(input(attrs([("type", "other".into())]))).starts_with("cannot fetch unsupported input"));
    let file = format!("file+file://{tree}/d/f");
    let file = scratch.fetch(&by_url(&file)).unwrap();
    assert_eq!(scratch.store.read_file(&file.path).unwrap(), b"1");
}
