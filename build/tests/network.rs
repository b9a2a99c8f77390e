//! Networks that are limited to some hosts: what is named can be reached, and there is no other way out.

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use nixlang_build::sandbox::{Isolation, Mount, SandboxMode, ShellChoice};
use nixlang_build::{BuildOptions, BuildStatus};
use nixlang_store::content_address::ContentAddressMethod;
use nixlang_store::hash::{Algorithm, Hash};
use support::{Recipe, World, sh};

const TEXT: &[u8] = b"from the network\n";

/// A server that answers every request with [`TEXT`].
fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n_bytes| n_bytes == 1) {
                head.push(byte[0]);
            }
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", TEXT.len());
            let _ = stream.write_all(TEXT);
        }
    });
    address
}

fn limited_to(hosts: &[String]) -> BuildOptions {
    BuildOptions { fixed_output_hosts: Some(hosts.to_vec()), ..support::options() }
}

fn fetch(url: &str, hash: Hash) -> Recipe {
    let mut recipe = sh("fetched", "").fixed(ContentAddressMethod::Flat, hash).env("url", url);
    recipe.derivation.builder = b"builtin:fetchurl".to_vec();
    recipe.derivation.system = b"builtin".to_vec();
    recipe.derivation.args.clear();
    recipe
}

#[test]
fn only_hosts_that_are_named_are_reached() {
    let address = server();
    let hash = Hash::digest(Algorithm::Sha256, TEXT);
    let url = format!("http://localhost:{}/file", address.port());
    for (hosts, works) in [
        (vec![format!("localhost:{}", address.port())], true),
        (vec!["example.org".to_owned(), "LOCALHOST".to_owned()], true),
        (vec!["example.org".to_owned(), "localhost:1".to_owned()], false),
    ] {
        let world = World::new();
        let (path, out) = world.add_one(fetch(&url, hash));
        let (outcome, recorder) = world.build_with(limited_to(&hosts), std::slice::from_ref(&path));
        let result = &outcome.results[&path];
        assert_eq!(result.status.is_success(), works, "{hosts:?}: {} {:?}", result.message, recorder.lines());
        assert_eq!(result.isolation, Some(Isolation::ProxiedNetwork));
        if works {
            assert_eq!(std::fs::read(world.real(&out)).unwrap(), TEXT);
        } else {
            assert!(recorder.lines().iter().any(|line| line.contains("403")), "{:?}", recorder.lines());
        }
    }
}

#[test]
fn there_is_no_way_round_the_proxy() {
    if !Path::new("/usr/bin/perl").exists() {
        println!("skipped: there is no /usr/bin/perl here");
        return;
    }
    let address = server();
    let sandbox_paths = ["/bin", "/lib", "/lib64", "/usr"]
        .iter()
        .filter(|path| Path::new(path).exists())
        .map(|path| Mount::read_only(std::fs::canonicalize(path).unwrap(), path))
        .collect();
    let hosts = [format!("localhost:{}", address.port())];
    let options = BuildOptions { sandbox_paths, shell: ShellChoice::None, ..limited_to(&hosts) };
    // Straight to the server, then as the proxy wants it; each on a line of its own.
    let script = format!(
        r#"exec perl -MSocket -e '
          $| = 1; socket(my $s, AF_INET, SOCK_STREAM, 0);
          print connect($s, sockaddr_in({port}, inet_aton("127.0.0.1"))) ? "direct\n" : "no direct way\n";
          print `ls /sys/class/net 2>/dev/null`; print -e "/etc/resolv.conf" ? "resolver\n" : "";
          my ($host, $port) = $ENV{{http_proxy}} =~ m,^http://(.*):(.*)$,;
          for my $target ("localhost:{port}", "127.0.0.1:{port}") {{
              socket(my $p, AF_INET, SOCK_STREAM, 0); connect($p, sockaddr_in($port, inet_aton($host))) or die;
              syswrite($p, "CONNECT $target HTTP/1.1\r\n\r\n"); sysread($p, my $answer, 12); print "$answer\n";
          }}
          open(O, ">", $ENV{{out}}); print O "x"; '"#,
        port = address.port()
    );
    let world = World::new();
    let hash = Hash::digest(Algorithm::Sha256, b"x");
    let (path, _) = world.add_one(sh("tries", &script).fixed(ContentAddressMethod::Flat, hash).env("PATH", "/usr/bin:/bin"));
    let (outcome, recorder) = world.build_with(options, std::slice::from_ref(&path));
    assert!(outcome.is_success(), "{outcome:?} {:?}", recorder.lines());
    assert_eq!(recorder.lines(), ["no direct way", "HTTP/1.1 200", "HTTP/1.1 403"]);
}

#[test]
fn builds_without_a_network_have_no_proxy_and_those_without_a_sandbox_are_refused() {
    let world = World::new();
    let (path, _) = world.add_one(sh("pure", "echo \"<$http_proxy>\"; echo > $out"));
    let (outcome, recorder) = world.build_with(limited_to(&["localhost".to_owned()]), std::slice::from_ref(&path));
    assert!(outcome.is_success(), "{outcome:?}");
    assert_eq!((outcome.results[&path].isolation, recorder.lines()), (Some(Isolation::Full), vec!["<>".to_owned()]));

    let scratch = tempfile::tempdir().unwrap();
    let place = scratch.path().canonicalize().unwrap();
    let options = nixlang_store::local::LocalStoreOptions {
        store_dir: nixlang_store::path::StoreDir::new(place.join("store").to_str().unwrap()).unwrap(),
        state_dir: Some(place.join("state")),
        log_dir: Some(place.join("log")),
        ..Default::default()
    };
    let store = nixlang_store::local::LocalStore::open(options).unwrap();
    let world = World::at(scratch, store);
    let (path, _) = world.add_one(fetch("http://localhost/", Hash::digest(Algorithm::Sha256, TEXT)));
    let options = BuildOptions { sandbox: SandboxMode::Off, ..limited_to(&[]) };
    let (outcome, _) = world.build_with(options, std::slice::from_ref(&path));
    assert_eq!(outcome.results[&path].status, BuildStatus::MiscFailure);
    assert!(outcome.results[&path].message.contains("limited"), "{}", outcome.results[&path].message);
}
