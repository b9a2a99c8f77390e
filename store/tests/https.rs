//! Transfers over TLS and HTTP/2, against a server that counts its connections and misbehaves when told to.
//!
//! The server has a certificate of an authority that is made for each test, so nothing but that authority can make it
//! trusted.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use nixlang_store::binary_cache::{BinaryCache, BinaryCacheOptions};
use nixlang_store::path::StorePath;
use nixlang_store::transfer::http::{Certificates, HttpOptions, HttpTransport};
use nixlang_store::transfer::retry::RetryPolicy;
use nixlang_store::transfer::{Body, Request, SendMethod, TransferError, TransferErrorKind, TransferResult, Transport};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Barrier;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::server::TlsStream;

/// Connections that a server sees: one that shows what it speaks, and one for all that is asked from then on.
const N_CONNECTIONS: usize = 2;

/// Lookups that the server wants to see before it answers the first of them.
const IN_FLIGHT: usize = 256;

struct Server {
    address: SocketAddr,
    /// The authority's certificate, in PEM form.
    authority: String,
    state: Arc<State>,
    _runtime: tokio::runtime::Runtime,
}

struct State {
    n_connections: AtomicUsize,
    n_requests: AtomicUsize,
    all_there: Barrier,
}

/// Starts a server with a certificate for these names. Its time is up in the year 2000 if `is_expired`.
fn serve(names: &[&str], is_expired: bool) -> Server {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    if is_expired {
        params.not_before = rcgen::date_time_ymd(1999, 1, 1);
        params.not_after = rcgen::date_time_ymd(2000, 1, 1);
    }
    let certificate = params.signed_by(&key, &authority).unwrap();
    let provider = tokio_rustls::rustls::crypto::ring::default_provider();
    let mut config = ServerConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let state = Arc::new(State { n_connections: AtomicUsize::new(0), n_requests: AtomicUsize::new(0), all_there: Barrier::new(IN_FLIGHT) });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let shared = Arc::clone(&state);
    runtime.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            shared.n_connections.fetch_add(1, Ordering::SeqCst);
            let (acceptor, state) = (acceptor.clone(), Arc::clone(&shared));
            tokio::spawn(async move {
                // Who does not trust the certificate hangs up.
                let Ok(stream) = acceptor.accept(stream).await else { return };
                if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                    talk(stream, state).await;
                } else {
                    talk_version_1(stream).await;
                }
            });
        }
    });
    Server { address, authority: authority.pem(), state, _runtime: runtime }
}

impl Server {
    fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.address.port())
    }

    fn options(&self) -> HttpOptions {
        let mut options = HttpOptions::default();
        options.certificates = Some(Certificates::Text(self.authority.clone()));
        options.retry = RetryPolicy { n_attempts: 3, first_delay: Duration::from_millis(1), ..RetryPolicy::default() };
        options.stall_timeout = Some(Duration::from_secs(20));
        options
    }

    fn n_connections(&self) -> usize {
        self.state.n_connections.load(Ordering::SeqCst)
    }

    fn n_requests(&self) -> usize {
        self.state.n_requests.load(Ordering::SeqCst)
    }
}

/// Says over HTTP/1.1 that it is that.
async fn talk_version_1(mut stream: TlsStream<TcpStream>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n1.1").await.unwrap();
    let _ = stream.shutdown().await;
}

/// What becomes of a connection after an answer.
enum After {
    Stays,
    /// It answers what was asked and takes nothing new.
    Ends,
    /// At once.
    Breaks,
}

async fn talk(stream: TlsStream<TcpStream>, state: Arc<State>) {
    let Ok(mut connection) = h2::server::Builder::new().max_concurrent_streams(1000).handshake(stream).await else { return };
    let (ends, mut ended) = tokio::sync::mpsc::unbounded_channel();
    loop {
        tokio::select! {
            request = connection.accept() => {
                let Some(Ok((request, answer))) = request else { return };
                let number = state.n_requests.fetch_add(1, Ordering::SeqCst) + 1;
                let (state, ends) = (Arc::clone(&state), ends.clone());
                tokio::spawn(async move {
                    // Whoever goes away before the answer is no failure of the server's.
                    if let Ok(after) = answer_request(request, number, answer, &state).await {
                        let _ = ends.send(after);
                    }
                });
            }
            Some(after) = ended.recv() => match after {
                After::Stays => {}
                After::Ends => connection.graceful_shutdown(),
                After::Breaks => connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM),
            }
        }
    }
}

/// Answers the server's request number `number`, from 1.
async fn answer_request(request: http::Request<RecvStream>, number: usize, mut answer: SendResponse<bytes::Bytes>, state: &State) -> Result<After, h2::Error> {
    const FILE: &str = "0123456789";
    let (head, mut body) = request.into_parts();
    let range = head.headers.get("range").map(|range| range.to_str().unwrap()["bytes=".len()..].split('-').next().unwrap().parse::<usize>().unwrap());
    let response = |status: u16| http::Response::builder().status(status);
    let file = |start: usize| {
        let response = response(if start > 0 { 206 } else { 200 }).header("etag", "\"a\"").header("accept-ranges", "bytes");
        let response = response.header("content-length", FILE.len() - start).header("content-range", format!("bytes {start}-9/10"));
        response.body(()).unwrap()
    };
    let start = range.unwrap_or(0);
    match head.uri.path() {
        "/file" => answer.send_response(file(start), false)?.send_data(FILE[start..].into(), true)?,
        // Parts of it, three bytes each.
        path @ ("/resets" | "/breaks") => {
            let mut stream = answer.send_response(file(start), false)?;
            let end = (start + 3).min(FILE.len());
            stream.send_data(FILE[start..end].into(), end == FILE.len())?;
            // What has left until then arrives, mostly; what has not is asked for again too.
            tokio::time::sleep(Duration::from_millis(50)).await;
            if path == "/breaks" {
                return Ok(After::Breaks);
            }
            if end < FILE.len() {
                stream.send_reset(Reason::INTERNAL_ERROR);
            }
        }
        "/refuses-once" if number == 1 => answer.send_reset(Reason::REFUSED_STREAM),
        "/refuses-once" => answer.send_response(file(0), false)?.send_data(FILE.into(), true)?,
        "/last" => {
            answer.send_response(file(0), false)?.send_data(FILE.into(), true)?;
            return Ok(After::Ends);
        }
        "/busy" => {
            answer.send_response(file(0), false)?.send_data(FILE.into(), true)?;
            // As servers do that want their connections made anew now and then.
            return Ok(if number % 50 == 0 { After::Ends } else { After::Stays });
        }
        "/silent" => std::future::pending().await,
        "/half" => {
            let mut stream = answer.send_response(file(start), false)?;
            stream.send_data(FILE[start..start + 1].into(), false)?;
            std::future::pending().await
        }
        "/headers" => {
            let mut response = response(200);
            for number in 0..2000 {
                response = response.header(format!("x-{number}"), "x".repeat(100));
            }
            answer.send_response(response.body(()).unwrap(), true)?;
        }
        "/echo" => {
            let mut stream = answer.send_response(response(200).body(()).unwrap(), false)?;
            while let Some(piece) = body.data().await {
                let piece = piece?;
                body.flow_control().release_capacity(piece.len())?;
                stream.send_data(piece, false)?;
            }
            stream.send_data(bytes::Bytes::new(), true)?;
        }
        "/elsewhere" => answer.send_response(response(307).header("location", "/echo").body(()).unwrap(), true).map(drop)?,
        "/nix-cache-info" => answer.send_response(response(200).body(()).unwrap(), false)?.send_data("StoreDir: /nix/store\nWantMassQuery: 1\n".into(), true)?,
        path if path.ends_with(".narinfo") => {
            // The first is asked for alone.
            if number > 2 {
                state.all_there.wait().await;
            }
            answer.send_response(response(404).body(()).unwrap(), true).map(drop)?;
        }
        _ => answer.send_response(response(404).body(()).unwrap(), true).map(drop)?,
    }
    Ok(After::Stays)
}

fn text(transport: &HttpTransport, url: String) -> TransferResult<String> {
    Ok(String::from_utf8(transport.get(&Request::new(url))?.bytes(1 << 20)?).unwrap())
}

#[test]
fn certificates_are_checked() {
    let server = serve(&["localhost"], false);
    let check = |server: &Server, options: HttpOptions, url: String, expected: &str| {
        let error: TransferError = HttpTransport::new(options).get(&Request::new(url)).unwrap_err();
        assert_eq!(error.kind, TransferErrorKind::Refused);
        assert!(error.message.contains(expected), "{error}");
        assert_eq!(server.n_requests(), 0);
    };
    // Of an authority that nobody knows: with the system's certificates, with none, and with those of another one.
    check(&server, HttpOptions::default(), server.url("/file"), "UnknownIssuer");
    let with = |certificates: &str| {
        let mut options = server.options();
        options.certificates = Some(Certificates::Text(certificates.into()));
        options
    };
    check(&server, with(""), server.url("/file"), "UnknownIssuer");
    check(&server, with(&serve(&["localhost"], false).authority), server.url("/file"), "invalid peer certificate");
    // For another host.
    check(&server, server.options(), format!("https://{}/file", server.address), "not valid for name \"127.0.0.1\"");
    // From another time.
    let expired = serve(&["localhost"], true);
    check(&expired, expired.options(), expired.url("/file"), "expired");
    // A file that is not there trusts nobody.
    let mut options = server.options();
    options.certificates = Some(Certificates::File("/nonexistent".into()));
    check(&server, options, server.url("/file"), "reading certificates '/nonexistent': No such file");

    // The authority in the file makes the certificate good.
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("authorities");
    std::fs::write(&file, format!("some text\n{}", server.authority)).unwrap();
    for name in ["NIX_SSL_CERT_FILE", "SSL_CERT_FILE"] {
        let options = HttpOptions::from_environment(|asked| (asked == name).then(|| file.to_str().unwrap().to_owned()));
        assert_eq!(text(&HttpTransport::new(options), server.url("/file")).unwrap(), "0123456789");
    }
}

#[test]
fn hundreds_of_lookups_share_a_connection() {
    let server = serve(&["localhost"], false);
    let cache = BinaryCache::open(&server.url(""), Arc::new(HttpTransport::new(server.options())), BinaryCacheOptions::default()).unwrap();
    let path = |number: usize| StorePath::from_base_name(format!("{number:032}-name")).unwrap();
    // The server keeps all answers back until the last of them is asked for.
    let paths: Vec<StorePath> = (0..=IN_FLIGHT).map(path).collect();
    assert!(cache.query_narinfos(&paths).unwrap().iter().all(Option::is_none));
    assert_eq!((server.n_connections(), server.n_requests()), (N_CONNECTIONS, IN_FLIGHT + 2));
}

#[test]
fn many_at_once_share_a_connection() {
    let server = serve(&["localhost"], false);
    let transport = HttpTransport::new(server.options());
    std::thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| assert_eq!(text(&transport, server.url("/file")).unwrap(), "0123456789"));
        }
    });
    assert_eq!((server.n_connections(), server.n_requests()), (N_CONNECTIONS, 50));
    let mut options = server.options();
    options.http2 = false;
    assert_eq!(text(&HttpTransport::new(options), server.url("/file")).unwrap(), "1.1");
}

#[test]
fn what_is_reset_or_broken_off_goes_on() {
    let server = serve(&["localhost"], false);
    let mut options = server.options();
    options.retry.n_attempts = 10;
    let transport = HttpTransport::new(options);
    // A stream that is reset leaves the connection to others.
    assert_eq!(text(&transport, server.url("/resets")).unwrap(), "0123456789");
    assert!(server.n_connections() == N_CONNECTIONS && server.n_requests() >= 4);
    // A connection that breaks off is made again.
    assert_eq!(text(&transport, server.url("/breaks")).unwrap(), "0123456789");
    assert!(server.n_connections() > N_CONNECTIONS + 2, "{}", server.n_connections());
    // One that ends in peace is given up without a failure.
    let mut options = server.options();
    options.retry.n_attempts = 1;
    let transport = HttpTransport::new(options);
    for _ in 0..5 {
        assert_eq!(text(&transport, server.url("/last")).unwrap(), "0123456789");
    }

    let server = serve(&["localhost"], false);
    assert_eq!(text(&HttpTransport::new(server.options()), server.url("/refuses-once")).unwrap(), "0123456789");
    assert_eq!(server.n_requests(), 2);
}

#[test]
fn servers_may_end_connections_while_others_ask() {
    let server = serve(&["localhost"], false);
    let mut options = server.options();
    options.retry.n_attempts = 10;
    let transport = HttpTransport::new(options);
    std::thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| {
                for _ in 0..20 {
                    assert_eq!(text(&transport, server.url("/busy")).unwrap(), "0123456789");
                }
            });
        }
    });
    // One at a time: every 50 requests one was ended.
    let n_most = N_CONNECTIONS + server.n_requests() / 50;
    assert!((N_CONNECTIONS + 1..=n_most).contains(&server.n_connections()), "{} of {n_most}", server.n_connections());
}

#[test]
fn who_stalls_or_never_ends_its_headers_is_given_up() {
    let server = serve(&["localhost"], false);
    let mut options = server.options();
    options.stall_timeout = Some(Duration::from_millis(200));
    let transport = HttpTransport::new(options);
    for path in ["/silent", "/half"] {
        let error = text(&transport, server.url(path)).unwrap_err();
        assert_eq!(error.kind, TransferErrorKind::Transient);
        assert!(error.message.ends_with("the connection is stalled"), "{error}");
    }
    let error = text(&HttpTransport::new(server.options()), server.url("/headers")).unwrap_err();
    assert!(error.message.contains("header"), "{error}");
    // What was given up holds up nobody else.
    assert_eq!(text(&HttpTransport::new(server.options()), server.url("/file")).unwrap(), "0123456789");
}

#[test]
fn uploads_stream_and_are_sent_on() {
    let server = serve(&["localhost"], false);
    let transport = HttpTransport::new(server.options());
    let contents: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("file");
    std::fs::write(&file, &contents).unwrap();
    for (path, body) in [("/echo", Body::File(&file)), ("/elsewhere", Body::File(&file)), ("/echo", Body::Bytes(b"")), ("/elsewhere", Body::Bytes(b"text"))] {
        let expected = if matches!(body, Body::File(_)) { &contents[..1 << 20] } else { &*bytes_of(body) };
        let answer = transport.send(SendMethod::Put, &Request::new(server.url(path)), body).unwrap();
        let mut echo = Vec::new();
        { answer.body }.read_to_end(&mut echo).unwrap();
        assert_eq!(echo, expected, "{path}");
    }
}

/// Starts a proxy that knows `CONNECT`, or one of SOCKS 5. Returns its address and who was asked for.
fn proxy(is_socks: bool) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut client, log) = (stream.unwrap(), Arc::clone(&log));
            std::thread::spawn(move || {
                let take = |n: usize| {
                    let mut bytes = vec![0; n];
                    (&client).read_exact(&mut bytes).unwrap();
                    bytes
                };
                let (target, answer): (String, &[u8]) = if is_socks {
                    let n_methods = take(2)[1];
                    take(usize::from(n_methods));
                    (&client).write_all(b"\x05\0").unwrap();
                    // A name follows, with its length.
                    assert_eq!(take(4), b"\x05\x01\0\x03");
                    let n = usize::from(take(1)[0]);
                    let name = String::from_utf8(take(n)).unwrap();
                    let port = take(2);
                    (format!("{name}:{}", u16::from_be_bytes([port[0], port[1]])), b"\x05\0\0\x01\0\0\0\0\0\0")
                } else {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        head.extend(take(1));
                    }
                    let head = String::from_utf8(head).unwrap();
                    assert!(head.to_lowercase().contains("proxy-authorization: basic dtpw"), "{head}");
                    (head["CONNECT ".len()..].split(' ').next().unwrap().to_owned(), b"HTTP/1.1 200 OK\r\n\r\n")
                };
                let server = std::net::TcpStream::connect(&target).unwrap();
                log.lock().unwrap().push(target);
                client.write_all(answer).unwrap();
                let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                std::thread::spawn(move || std::io::copy(&mut from, &mut to));
                let _ = std::io::copy(&mut &server, &mut client);
            });
        }
    });
    (address, asked)
}

#[test]
fn proxies_are_asked_unless_a_host_has_none() {
    let server = serve(&["localhost"], false);
    let target = format!("localhost:{}", server.address.port());
    for (scheme, is_socks) in [("http://u:p@", false), ("u:p@", false), ("socks5h://", true)] {
        let (address, asked) = proxy(is_socks);
        let mut options = server.options();
        options.https_proxy = Some(format!("{scheme}{address}"));
        assert_eq!(text(&HttpTransport::new(options.clone()), server.url("/file")).unwrap(), "0123456789");
        assert_eq!(*asked.lock().unwrap(), [target.as_str()], "{scheme}");
        options.no_proxy = Some("elsewhere, localhost".into());
        assert_eq!(text(&HttpTransport::new(options), server.url("/file")).unwrap(), "0123456789");
        assert_eq!(asked.lock().unwrap().len(), 1, "{scheme}");
    }
}

fn bytes_of(body: Body<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    body.open().unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}
