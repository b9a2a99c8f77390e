//! Binary caches between us and a real Nix, both ways, on disk and over HTTP, with signatures and every compression.
//!
//! `REAL_NIX` is a command that runs a real Nix's tools and sees the system's directory for temporary files under the
//! same path; it must reach this machine's loopback. Without it nothing here is tested, and says so.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use nixlang_store::binary_cache::server::{CacheServer, ServerOptions};
use nixlang_store::binary_cache::{BinaryCache, BinaryCacheOptions};
use nixlang_store::compression::Compression;
use nixlang_store::copy::{CopyOptions, copy, copy_closure};
use nixlang_store::local::{LocalStore, LocalStoreOptions};
use nixlang_store::path::StorePath;
use nixlang_store::signature::{SecretKey, TrustedKeys};
use nixlang_store::store::{Addressing, Contents, Store};
use nixlang_store::transfer::http::{HttpOptions, HttpTransport};

const ALL: [Compression; 9] = [
    Compression::None,
    Compression::Xz,
    Compression::Zstd,
    Compression::Bzip2,
    Compression::Gzip,
    Compression::Brotli,
    Compression::Lz4,
    Compression::Lzip,
    Compression::Lzma,
];

struct Scene {
    dir: tempfile::TempDir,
    ours: Arc<LocalStore>,
    /// An input-addressed path, for which signatures count, and what it refers to.
    path: StorePath,
    key: SecretKey,
}

impl Scene {
    /// `None` if there is no real Nix.
    fn new() -> Option<Scene> {
        if std::env::var_os("REAL_NIX").is_none() {
            eprintln!("skipped: REAL_NIX names no command that runs a real Nix");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let key = SecretKey::from_seed("caches-1", &[7; 32]);
        std::fs::write(dir.path().join("key"), key.to_secret_text()).unwrap();
        let ours = Arc::new(open(&dir.path().join("ours"), &key));
        let tree = dir.path().join("tree");
        std::fs::create_dir_all(tree.join("sub")).unwrap();
        std::fs::write(tree.join("text"), "some text\n".repeat(10_000)).unwrap();
        std::fs::write(tree.join("sub/noise"), (0..300_000_u32).map(|n| (n.wrapping_mul(n) >> 7) as u8).collect::<Vec<_>>()).unwrap();
        let source = ours.add_contents(&Addressing::source("tree"), Contents::Tree { path: &tree, filter: None }).unwrap();
        // The same contents under a name that does not follow from them.
        let mut info = source.clone();
        info.path = StorePath::new([9; 20], "output").unwrap();
        info.info.content_address = None;
        info.info.references = [source.path.clone()].into();
        let mut nar = Vec::new();
        ours.write_nar(&source.path, &mut nar).unwrap();
        ours.add_nar(&info, &mut nar.as_slice(), &nixlang_store::store::AddOptions::trusted()).unwrap();
        Some(Scene { dir, ours, path: info.path, key })
    }

    fn dir(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn url(&self, name: &str) -> String {
        format!("file://{}", self.dir(name).display())
    }

    fn shown(&self) -> String {
        self.ours.store_dir().display(&self.path)
    }

    /// Runs a command of the real Nix. Returns whether it worked, and what it said.
    fn real_nix(&self, command: &[&str]) -> (bool, String) {
        let real_nix = std::env::var_os("REAL_NIX").expect("looked for at the start");
        let mut all = command.to_vec();
        if command[0] == "nix" {
            all.splice(1..1, ["--extra-experimental-features", "nix-command"]);
        }
        let key = self.key.public_key().to_string();
        all.extend(["--option", "trusted-public-keys", &key, "--option", "narinfo-cache-negative-ttl", "0"]);
        let output = Command::new(real_nix).args(&all).current_dir(self.dir.path()).env("HOME", self.dir.path()).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    #[track_caller]
    fn works(&self, command: &[&str]) -> String {
        let (worked, text) = self.real_nix(command);
        assert!(worked, "{command:?}: {text}");
        text
    }
}

fn open(root: &Path, key: &SecretKey) -> LocalStore {
    let trusted_keys = TrustedKeys::new([key.public_key()]);
    LocalStore::open(LocalStoreOptions { trusted_keys, ..LocalStoreOptions::rooted(root) }).unwrap()
}

fn cache(url: &str, compression: Compression, keys: &[SecretKey]) -> BinaryCache {
    let mut options = BinaryCacheOptions::default();
    options.compression = compression;
    options.write_listing = true;
    options.secret_keys = keys.to_vec();
    BinaryCache::open(url, Arc::new(HttpTransport::new(HttpOptions::default())), options).unwrap()
}

/// Serves a store on loopback, as plainly as HTTP can be served. Returns the address.
fn serve(store: Arc<dyn Store>, options: ServerOptions) -> String {
    let server = Arc::new(CacheServer::new(store, options));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let server = Arc::clone(&server);
            std::thread::spawn(move || {
                let mut stream = stream.unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let request = lines.next().unwrap().unwrap();
                let mut range = None;
                for line in lines.map(Result::unwrap).take_while(|line| !line.is_empty()) {
                    range = line.to_lowercase().strip_prefix("range: ").map(str::to_owned).or(range);
                }
                let mut words = request.split(' ');
                let is_head = words.next() == Some("HEAD");
                let answer = server.answer(words.next().unwrap(), range.as_deref());
                let size = answer.size.map_or(String::new(), |size| format!("Content-Length: {size}\r\n"));
                let part = answer.part.map_or(String::new(), |(part, size)| {
                    format!("Content-Range: bytes {}-{}/{size}\r\n", part.start, part.end.saturating_sub(1))
                });
                let _ = write!(stream, "HTTP/1.1 {} X\r\n{size}{part}Connection: close\r\n\r\n", answer.status);
                if !is_head {
                    let _ = answer.body.write_to(&mut stream);
                }
            });
        }
    });
    url
}

#[test]
fn what_real_nix_puts_into_a_cache_we_take() {
    let Some(scene) = Scene::new() else { return };
    let (path, store) = (scene.shown(), scene.dir("ours"));
    for compression in ALL {
        let name = format!("theirs-{}", compression.name());
        let url = scene.url(&name);
        let to = format!("{url}?compression={}&secret-key={}&write-nar-listing=true", compression.name(), scene.dir("key").display());
        scene.works(&["nix", "copy", "--store", store.to_str().unwrap(), "--to", &to, &path]);
        let target = open(&scene.dir(&format!("from-{name}")), &scene.key);
        let from = cache(&url, compression, &[]);
        let closure = from.closure(std::slice::from_ref(&scene.path)).unwrap();
        assert_eq!(copy(&from, &target, &closure, &CopyOptions::default(), &()).unwrap().len(), 2);
        // What we write of the same is the same, down to the signature, where the compressor is the same.
        let ours = scene.dir(&format!("ours-{}", compression.name()));
        let to = cache(&format!("file://{}", ours.display()), compression, std::slice::from_ref(&scene.key));
        copy_closure(&*scene.ours, &to, std::slice::from_ref(&scene.path)).unwrap();
        let file = |dir: &Path, extension: &str| std::fs::read(dir.join(format!("{}.{extension}", scene.path.hash_text()))).unwrap();
        assert_eq!(file(&ours, "ls"), file(&scene.dir(&name), "ls"));
        if matches!(compression, Compression::None | Compression::Xz) {
            let text = |dir: &Path| String::from_utf8(file(dir, "narinfo")).unwrap();
            assert_eq!(text(&ours), text(&scene.dir(&name)));
        }
    }
}

#[test]
fn what_we_put_into_a_cache_real_nix_takes() {
    let Some(scene) = Scene::new() else { return };
    for compression in ALL {
        let name = format!("ours-{}", compression.name());
        let signed = cache(&scene.url(&name), compression, std::slice::from_ref(&scene.key));
        copy_closure(&*scene.ours, &signed, std::slice::from_ref(&scene.path)).unwrap();
        let target = scene.dir(&format!("to-{name}"));
        scene.works(&["nix", "copy", "--from", &scene.url(&name), "--to", target.to_str().unwrap(), &scene.shown()]);
        scene.works(&["nix", "store", "verify", "--store", target.to_str().unwrap(), "--all", "--sigs-needed", "1"]);
    }
    let unsigned = cache(&scene.url("unsigned"), Compression::Zstd, &[]);
    copy_closure(&*scene.ours, &unsigned, std::slice::from_ref(&scene.path)).unwrap();
    let target = scene.dir("refuses");
    let command = ["nix", "copy", "--from", &scene.url("unsigned"), "--to", target.to_str().unwrap(), &scene.shown()];
    let (worked, text) = scene.real_nix(&command);
    assert!(!worked && text.contains("signature"), "{text}");
}

#[test]
fn real_nix_substitutes_from_our_server() {
    let Some(scene) = Scene::new() else { return };
    for compression in [Compression::None, Compression::Zstd, Compression::Xz] {
        let mut options = ServerOptions::default();
        options.compression = compression;
        options.secret_keys = vec![scene.key.clone()];
        let url = serve(Arc::<LocalStore>::clone(&scene.ours) as Arc<dyn Store>, options);
        let target = scene.dir(&format!("from-server-{}", compression.name()));
        let target = target.to_str().unwrap();
        scene.works(&["nix-store", "--store", target, "--realise", &scene.shown(), "--option", "substituters", &url]);
        scene.works(&["nix", "store", "verify", "--store", target, "--all", "--sigs-needed", "1"]);
        let text = scene.works(&["nix", "store", "cat", "--store", &url, &format!("{}/text", scene.shown())]);
        assert!(text.contains("some text\nsome text\n"));
    }
    // And we from ours.
    let url = serve(Arc::<LocalStore>::clone(&scene.ours) as Arc<dyn Store>, ServerOptions::default());
    let target = open(&scene.dir("from-our-server"), &scene.key);
    copy_closure(&cache(&url, Compression::None, &[]), &target, std::slice::from_ref(&scene.path)).unwrap();
    assert!(target.is_valid(&scene.path).unwrap());
}
