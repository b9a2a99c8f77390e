//! Caches in buckets: ours and a real Nix's with one server that keeps objects in memory.
//!
//! The server believes every signature, as long as there is one; for a real Nix there need not be, since not all are built
//! so that they can sign. `REAL_NIX` is a command that runs a real Nix's tools, such
//! as `env` where one is installed; it must see `TMPDIR` under the same path and reach this machine's loopback. Without it
//! only our half is tested, and the test says so.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};

use nixlang_store::binary_cache::{BinaryCache, BinaryCacheOptions};
use nixlang_store::compression::Compression;
use nixlang_store::copy::copy_closure;
use nixlang_store::local::{LocalStore, LocalStoreOptions};
use nixlang_store::store::Store;
use nixlang_store::transfer::http::{HttpOptions, HttpTransport};
use nixlang_store::transfer::s3::{S3Credentials, S3Options, S3Transport};

type Objects = Arc<Mutex<HashMap<String, Vec<u8>>>>;

/// Answers one connection's request: `PUT`, `GET` and `HEAD` of objects, and nothing to strangers.
fn answer(stream: TcpStream, objects: &Objects, is_strict: bool) -> std::io::Result<()> {
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
    let key = words.next().unwrap_or_default().split('?').next().unwrap_or_default().to_owned();
    let mut objects = objects.lock().unwrap();
    let found = objects.get(&key).cloned();
    let (status, body) = match (method.as_str(), found) {
        _ if is_strict && !is_signed => ("403 Forbidden", Vec::new()),
        ("PUT", _) => {
            objects.insert(key, body);
            ("200 OK", Vec::new())
        }
        ("GET" | "HEAD", Some(bytes)) => ("200 OK", bytes),
        _ => ("404 Not Found", Vec::new()),
    };
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len())?;
    if method != "HEAD" {
        stream.write_all(&body)?;
    }
    Ok(())
}

/// Starts a server. Returns its host and port.
fn serve(objects: &Objects, is_strict: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let objects = Arc::clone(objects);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let objects = Arc::clone(&objects);
            std::thread::spawn(move || {
                // Whoever hangs up early is no failure of the server's.
                let _ = stream.and_then(|stream| answer(stream, &objects, is_strict));
            });
        }
    });
    host
}

fn bucket(host: &str, prefix: &str, with_key: bool) -> Result<BinaryCache, nixlang_store::error::StoreError> {
    let mut options = S3Options::default();
    options.region = "eu-west-1".into();
    options.endpoint = Some(format!("http://{host}"));
    options.credentials = with_key.then(|| S3Credentials { key: "key".into(), secret: "secret".into(), token: None });
    let http = Arc::new(HttpTransport::new(HttpOptions::default()));
    let mut cache = BinaryCacheOptions::default();
    cache.compression = Compression::Zstd;
    BinaryCache::open(&format!("s3://bucket/{prefix}"), Arc::new(S3Transport::new(http, options)), cache)
}

#[test]
fn what_is_put_into_a_bucket_comes_back() {
    let objects = Objects::default();
    let host = serve(&objects, true);
    let dir = tempfile::tempdir().unwrap();
    let open = |name: &str| LocalStore::open(LocalStoreOptions::rooted(dir.path().join(name))).unwrap();
    let ours = open("ours");
    let base = ours.add_text("base", &[b'x'; 100_000], &Default::default()).unwrap();
    let path = ours.add_text("top", b"top", &[base.clone()].into()).unwrap();
    copy_closure(&ours, &bucket(&host, "prefix", true).unwrap(), std::slice::from_ref(&path)).unwrap();
    assert!(objects.lock().unwrap().contains_key("/bucket/prefix/nix-cache-info"));
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
    let host = serve(&objects, false);
    let url = |prefix: &str| format!("s3://bucket/{prefix}?endpoint=http://{host}&region=eu-west-1&compression=none");
    let (theirs, shown) = (dir.path().join("theirs"), ours.store_dir().display(&path));
    // It takes what we wrote, and we what it writes.
    real(&["copy", "--from", &url("prefix"), "--to", theirs.to_str().unwrap(), &shown]);
    real(&["copy", "--from", theirs.to_str().unwrap(), "--to", &url("theirs"), &shown]);
    let again = open("again");
    copy_closure(&bucket(&host, "theirs", true).unwrap(), &again, std::slice::from_ref(&path)).unwrap();
    assert_eq!(again.read_file(&path).unwrap(), b"top");
}
