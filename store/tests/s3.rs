//! Caches in buckets: ours and a real Nix's with one server that keeps objects in memory.
//!
//! The server believes every signature, as long as there is one; for a real Nix there need not be, since not all are built
//! so that they can sign. `REAL_NIX` is a command that runs a real Nix's tools, such
//! as `env` where one is installed; it must see `TMPDIR` under the same path and reach this machine's loopback. Without it
//! only our half is tested, and the test says so.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nixlang_store::binary_cache::{BinaryCache, BinaryCacheOptions};
use nixlang_store::compression::Compression;
use nixlang_store::copy::copy_closure;
use nixlang_store::error::StoreError;
use nixlang_store::local::{LocalStore, LocalStoreOptions};
use nixlang_store::store::Store;
use nixlang_store::transfer::http::{HttpOptions, HttpTransport};
use nixlang_store::transfer::s3::{MultipartOptions, S3Credentials, S3Options, S3Transport};

/// What a server keeps.
#[derive(Default)]
struct State {
    objects: HashMap<String, Vec<u8>>,
    /// Uploads that are not complete, with their parts by number.
    uploads: HashMap<String, BTreeMap<u16, Vec<u8>>>,
    /// Sizes of the parts that were stored.
    stored: Vec<usize>,
    /// Requests that go wrong: words that stand in them, the status, and how often.
    failures: Vec<(&'static str, &'static str, usize)>,
}

type Shared = Arc<Mutex<State>>;

/// Answers one connection's request: `PUT`, `GET` and `HEAD` of objects, uploads in parts, and nothing to strangers.
fn answer(stream: TcpStream, shared: &Shared, is_strict: bool) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let (mut size, mut is_signed, mut expects) = (0, request.contains("X-Amz-Signature="), false);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim_end().to_lowercase();
        if line.is_empty() {
            break;
        }
        is_signed |= line.starts_with("authorization: aws4-hmac-sha256");
        expects |= line == "expect: 100-continue";
        if let Some(number) = line.strip_prefix("content-length:") {
            size = number.trim().parse().unwrap_or(0);
        }
    }
    if expects {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let mut body = vec![0; size];
    reader.read_exact(&mut body)?;
    let mut words = request.split(' ');
    let method = words.next().unwrap_or_default().to_owned();
    let target = words.next().unwrap_or_default().to_owned();
    let (key, query) = target.split_once('?').unwrap_or((&target, ""));
    let parameter = |name: &str| query.split('&').find_map(|parameter| parameter.strip_prefix(name)?.strip_prefix('='));
    let state = &mut *shared.lock().unwrap();
    let failure = state.failures.iter_mut().find(|(words, _, n_left)| *n_left > 0 && words.split(' ').all(|word| request.contains(word)));
    let failure = failure.map(|(_, status, n_left)| {
        *n_left -= 1;
        *status
    });
    let upload = parameter("uploadId").map(str::to_owned);
    let mut tag = String::new();
    let (status, body) = match (method.as_str(), upload) {
        _ if is_strict && !is_signed => ("403 Forbidden", Vec::new()),
        _ if failure.is_some_and(|status| status == "200 OK") => ("200 OK", b"<Error><Code>InternalError</Code></Error>".to_vec()),
        _ if failure.is_some() => (failure.unwrap(), Vec::new()),
        ("POST", None) if query.contains("uploads") => {
            let id = format!("{}&{}", state.uploads.len(), key.len());
            let text = format!(
                "<InitiateMultipartUploadResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Bucket>bucket</Bucket><Key>k</Key>\
                 <UploadId>{}</UploadId></InitiateMultipartUploadResult>",
                id.replace('&', "&amp;")
            );
            state.uploads.insert(id.replace('&', "%26"), BTreeMap::new());
            ("200 OK", text.into_bytes())
        }
        ("PUT", Some(id)) => {
            let number: u16 = parameter("partNumber").unwrap().parse().unwrap();
            tag = format!("ETag: \"<{number}>\"\r\n");
            state.stored.push(body.len());
            state.uploads.get_mut(&id).unwrap().insert(number, body);
            ("200 OK", Vec::new())
        }
        ("POST", Some(id)) => {
            let parts = state.uploads.remove(&id).unwrap();
            let document = String::from_utf8(body).unwrap();
            for number in parts.keys() {
                assert!(document.contains(&format!("<PartNumber>{number}</PartNumber>")), "{document}");
            }
            assert_eq!(document.matches("<Part>").count(), parts.len());
            state.objects.insert(key.to_owned(), parts.into_values().flatten().collect());
            ("200 OK", b"<CompleteMultipartUploadResult/>".to_vec())
        }
        ("DELETE", Some(id)) => match state.uploads.remove(&id) {
            Some(_) => ("204 No Content", Vec::new()),
            None => ("404 Not Found", Vec::new()),
        },
        ("PUT", None) => {
            state.objects.insert(key.to_owned(), body);
            ("200 OK", Vec::new())
        }
        ("GET" | "HEAD", None) if state.objects.contains_key(key) => ("200 OK", state.objects[key].clone()),
        _ => ("404 Not Found", Vec::new()),
    };
    write!(stream, "HTTP/1.1 {status}\r\n{tag}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len())?;
    if method != "HEAD" {
        stream.write_all(&body)?;
    }
    Ok(())
}

/// Starts a server. Returns its host and port.
fn serve(shared: &Shared, is_strict: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let shared = Arc::clone(shared);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || {
                // Whoever hangs up early is no failure of the server's.
                let _ = stream.and_then(|stream| answer(stream, &shared, is_strict));
            });
        }
    });
    host
}

fn bucket(host: &str, prefix: &str, with_key: bool) -> Result<BinaryCache, StoreError> {
    let mut cache = BinaryCacheOptions::default();
    cache.compression = Compression::Zstd;
    BinaryCache::open(&format!("s3://bucket/{prefix}"), transport(host, with_key, MultipartOptions::default()), cache)
}

fn transport(host: &str, with_key: bool, multipart: MultipartOptions) -> Arc<S3Transport> {
    let mut options = S3Options::default();
    options.multipart = multipart;
    options.region = "eu-west-1".into();
    options.endpoint = Some(format!("http://{host}"));
    options.credentials = with_key.then(|| S3Credentials { key: "key".into(), secret: "secret".into(), token: None });
    let mut http = HttpOptions::default();
    http.retry.first_delay = Duration::from_millis(1);
    Arc::new(S3Transport::new(Arc::new(HttpTransport::new(http)), options))
}

#[test]
fn what_is_put_into_a_bucket_comes_back() {
    let state = Shared::default();
    let host = serve(&state, true);
    let dir = tempfile::tempdir().unwrap();
    let open = |name: &str| LocalStore::open(LocalStoreOptions::rooted(dir.path().join(name))).unwrap();
    let ours = open("ours");
    let base = ours.add_text("base", &[b'x'; 100_000], &Default::default()).unwrap();
    let path = ours.add_text("top", b"top", &[base.clone()].into()).unwrap();
    copy_closure(&ours, &bucket(&host, "prefix", true).unwrap(), std::slice::from_ref(&path)).unwrap();
    assert!(state.lock().unwrap().objects.contains_key("/bucket/prefix/nix-cache-info"));
    let back = open("back");
    copy_closure(&bucket(&host, "prefix", true).unwrap(), &back, std::slice::from_ref(&path)).unwrap();
    assert_eq!(back.read_file(&base).unwrap(), [b'x'; 100_000]);
    // Who has no key gets nothing, and the error shows no signed address.
    let error = bucket(&host, "prefix", false).err().expect("it is refused").to_string();
    assert!(!error.contains("X-Amz"), "{error}");

    let Some(real_nix) = std::env::var_os("REAL_NIX") else {
        eprintln!("skipped: REAL_NIX names no command that runs a real Nix");
        return;
    };
    let real = |words: &[&str]| {
        let mut command = Command::new(&real_nix);
        command.args(["nix", "--extra-experimental-features", "nix-command"]).args(words).current_dir(dir.path()).env("HOME", dir.path());
        command.envs([("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "secret"), ("AWS_EC2_METADATA_DISABLED", "true")]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let host = serve(&state, false);
    let url = |prefix: &str| format!("s3://bucket/{prefix}?endpoint=http://{host}&region=eu-west-1&compression=none");
    let (theirs, shown) = (dir.path().join("theirs"), ours.store_dir().display(&path));
    // It takes what we wrote, and we what it writes.
    real(&["copy", "--from", &url("prefix"), "--to", theirs.to_str().unwrap(), &shown]);
    real(&["copy", "--from", theirs.to_str().unwrap(), "--to", &url("theirs"), &shown]);
    let again = open("again");
    copy_closure(&bucket(&host, "theirs", true).unwrap(), &again, std::slice::from_ref(&path)).unwrap();
    assert_eq!(again.read_file(&path).unwrap(), b"top");
}

#[test]
fn large_files_are_sent_in_parts() {
    let dir = tempfile::tempdir().unwrap();
    let ours = LocalStore::open(LocalStoreOptions::rooted(dir.path().join("ours"))).unwrap();
    let contents: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let path = ours.add_text("large", &contents, &Default::default()).unwrap();
    let mut multipart = MultipartOptions::default();
    (multipart.is_enabled, multipart.threshold) = (true, 6 << 20);
    let copy = |state: &Shared| {
        let transport = transport(&serve(state, true), true, multipart.clone());
        let mut options = BinaryCacheOptions::default();
        options.compression = Compression::None;
        let cache = BinaryCache::open("s3://bucket/p", transport, options).unwrap();
        copy_closure(&ours, &cache, std::slice::from_ref(&path)).map(|_| cache)
    };
    // A part that fails is sent again.
    let state = Shared::default();
    state.lock().unwrap().failures.push(("partNumber=2", "503 Slow Down", 2));
    let cache = copy(&state).unwrap();
    assert_eq!(cache.read_file(&path).unwrap(), contents);
    let nar_size = ours.path_info(&path).unwrap().nar_size as usize;
    assert_eq!(state.lock().unwrap().stored, [5 << 20, 5 << 20, nar_size - (10 << 20)]);
    assert!(state.lock().unwrap().uploads.is_empty());
    // What can't be sent leaves nothing behind, also where that shows at the very end only.
    for (words, status, expected) in [
        ("POST uploads=", "403 Forbidden", "HTTP error 403"),
        ("PUT partNumber=3", "403 Forbidden", "HTTP error 403"),
        ("PUT partNumber=1", "200 OK", "missing ETag for part 1"),
        ("POST uploadId=", "200 OK", "InternalError"),
    ] {
        let state = Shared::default();
        state.lock().unwrap().failures.push((words, status, usize::MAX));
        let error = copy(&state).err().expect("it can't be sent").to_string();
        assert!(error.contains(expected) && !error.contains("X-Amz"), "{error}");
        let state = state.lock().unwrap();
        assert!(state.uploads.is_empty());
        assert!(state.objects.keys().all(|key| key.ends_with("nix-cache-info")), "{:?}", state.objects.keys());
    }
}
