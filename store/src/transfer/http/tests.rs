//! A small server that does what it is told to, badly if need be, against the client.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::transfer::retry::RetryPolicy;
use crate::transfer::{Interrupt, Retry, TransferObserver};

/// Answers each connection's requests by a function of the request's head and body; closes when it returns false.
fn serve(answer: impl Fn(&str, &[u8], &mut TcpStream) -> bool + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || {
                let mut stream = stream.unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                loop {
                    let mut head = String::new();
                    while !head.ends_with("\r\n\r\n") {
                        if reader.read_line(&mut head).unwrap_or(0) == 0 {
                            return;
                        }
                    }
                    let length = head.to_lowercase();
                    let length = length.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
                    let mut body = vec![0; length.map_or(0, |length| length.trim().parse().unwrap())];
                    reader.read_exact(&mut body).unwrap();
                    if !answer(&head, &body, &mut stream) {
                        return;
                    }
                }
            });
        }
    });
    url
}

fn write(stream: &mut TcpStream, text: &str) -> bool {
    stream.write_all(text.as_bytes()).is_ok()
}

fn quick() -> HttpOptions {
    let retry = RetryPolicy { first_delay: Duration::from_millis(1), longest_delay: Duration::from_millis(20), ..RetryPolicy::default() };
    HttpOptions { retry, stall_timeout: Some(Duration::from_millis(300)), ..HttpOptions::default() }
}

fn text(transport: &HttpTransport, request: &Request) -> TransferResult<String> {
    Ok(String::from_utf8(transport.get(request)?.bytes(1 << 20)?).unwrap())
}

#[derive(Default)]
struct Retries(Mutex<Vec<(u32, u64, String)>>);

impl TransferObserver for Retries {
    fn retrying(&self, retry: &Retry<'_>) {
        self.0.lock().unwrap().push((retry.attempt, retry.offset, retry.error.message.clone()));
    }
}

#[test]
fn statuses_are_kinds() {
    let n_calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&n_calls);
    let url = serve(move |head, _, stream| {
        counted.fetch_add(1, Ordering::SeqCst);
        let status = head.split(['/', ' ']).nth(2).unwrap();
        write(stream, &format!("HTTP/1.1 {status} X\r\nContent-Length: 3\r\n\r\nwhy"))
    });
    let transport = HttpTransport::new(quick());
    for (status, kind, expected) in [
        (404, TransferErrorKind::NotFound, 1),
        (410, TransferErrorKind::NotFound, 1),
        (401, TransferErrorKind::Forbidden, 1),
        (403, TransferErrorKind::Forbidden, 1),
        (400, TransferErrorKind::Refused, 1),
        (501, TransferErrorKind::Refused, 1),
        (429, TransferErrorKind::Transient, 5),
        (500, TransferErrorKind::Transient, 5),
        (503, TransferErrorKind::Transient, 5),
    ] {
        n_calls.store(0, Ordering::SeqCst);
        let error = transport.get(&Request::new(format!("{url}/{status}"))).unwrap_err();
        assert_eq!((error.kind, error.status), (kind, Some(status)));
        assert_eq!(error.message, format!("unable to download '{url}/{status}': HTTP error {status}\n\nresponse body:\n\nwhy"));
        assert_eq!(n_calls.load(Ordering::SeqCst), expected, "{status}");
    }
    assert_eq!(transport.head(&Request::new(format!("{url}/200"))).unwrap().size, Some(3));
}

#[test]
fn a_download_goes_on_where_it_broke_off() {
    let url = serve(|head, _, stream| {
        let range = head.to_lowercase().split("range: bytes=").nth(1).map(|range| range.split('-').next().unwrap().to_owned());
        match range.map(|start| start.parse::<usize>().unwrap()) {
            None => write(stream, "HTTP/1.1 200 OK\r\nAccept-Ranges: bytes\r\nETag: \"a\"\r\nContent-Length: 10\r\n\r\n012"),
            Some(start) => {
                assert!(head.to_lowercase().contains("if-range: \"a\""), "{head}");
                let rest = &"0123456789"[start..(start + 3).min(10)];
                let head = format!("Content-Range: bytes {start}-9/10\r\nContent-Length: {}", 10 - start);
                write(stream, &format!("HTTP/1.1 206 Partial\r\n{head}\r\n\r\n{rest}"))
            }
        };
        false
    });
    let transport = HttpTransport::new(quick());
    let observer = Arc::new(Retries::default());
    let request = Request::new(format!("{url}/file")).observer(Some(Arc::<Retries>::clone(&observer)));
    assert_eq!(text(&transport, &request).unwrap(), "0123456789");
    let offsets: Vec<u64> = observer.0.lock().unwrap().iter().map(|retry| retry.1).collect();
    assert_eq!(offsets, [3, 6, 9]);
}

#[test]
fn a_file_that_changed_in_between_is_refused() {
    let n_calls = AtomicUsize::new(0);
    let url = serve(move |_, _, stream| {
        let rest = if n_calls.fetch_add(1, Ordering::SeqCst) == 0 { "012" } else { "abcdefghij" };
        write(stream, &format!("HTTP/1.1 200 OK\r\nAccept-Ranges: bytes\r\nContent-Length: 10\r\n\r\n{rest}"));
        false
    });
    let error = text(&HttpTransport::new(quick()), &Request::new(url)).unwrap_err();
    assert_eq!(error.kind, TransferErrorKind::Refused);
    assert!(error.message.contains("changed while"), "{error}");
}

#[test]
fn without_ranges_a_broken_body_is_an_error_and_a_missing_one_is_asked_for_again() {
    let n_calls = AtomicUsize::new(0);
    let url = serve(move |head, _, stream| {
        let is_first = n_calls.fetch_add(1, Ordering::SeqCst) == 0;
        let body = if head.contains("/half") { "01" } else if is_first { "" } else { "0123" };
        write(stream, &format!("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n{body}"));
        false
    });
    let transport = HttpTransport::new(quick());
    assert_eq!(text(&transport, &Request::new(format!("{url}/whole"))).unwrap(), "0123");
    let error = text(&transport, &Request::new(format!("{url}/half"))).unwrap_err();
    assert_eq!(error.kind, TransferErrorKind::Transient);
}

#[test]
fn peers_that_stall_hang_up_or_talk_rubbish_are_given_up() {
    for (answer, expected) in [
        ("", "stalled"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n123", "stalled"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n123", ""),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", ""),
        ("SSH-2.0-OpenSSH\r\n", ""),
    ] {
        let url = serve(move |_, _, stream| {
            write(stream, answer);
            std::thread::park_timeout(Duration::from_secs(20));
            false
        });
        let mut options = quick();
        options.retry.n_attempts = 2;
        options.stall_timeout = Some(Duration::from_millis(50));
        let error = text(&HttpTransport::new(options), &Request::new(url)).unwrap_err();
        assert!(error.message.contains(expected) || error.message.contains("per read"), "{answer:?}: {error}");
    }
    let url = serve(|_, _, _| false);
    let error = text(&HttpTransport::new(quick()), &Request::new(url)).unwrap_err();
    assert_eq!(error.kind, TransferErrorKind::Transient);
}

#[test]
fn waiting_for_an_answer_or_a_body_can_be_interrupted() {
    for answer in ["", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n123"] {
        let url = serve(move |_, _, stream| {
            write(stream, answer);
            std::thread::park_timeout(Duration::from_secs(60));
            false
        });
        let flag = Arc::new(AtomicUsize::new(0));
        let asked = Arc::clone(&flag);
        let interrupt = Interrupt::new(move || asked.fetch_add(1, Ordering::SeqCst) > 5);
        let transport = HttpTransport::new(HttpOptions::default());
        let error = text(&transport, &Request::new(url).interrupt(&interrupt)).unwrap_err();
        assert_eq!(error.kind, TransferErrorKind::Interrupted);
    }
}

#[test]
fn encodings_are_undone_and_ranges_are_made_up_where_there_are_none() {
    let url = serve(|head, _, stream| {
        let asks = head.to_lowercase().contains("accept-encoding: zstd");
        let (name, compression) = if asks { ("zstd", Compression::Zstd) } else { ("identity", Compression::None) };
        let body = compression::compress(compression, &compression::EncoderOptions::default(), b"0123456789").unwrap();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: {name}\r\nContent-Length: {}\r\n\r\n", body.len());
        write(stream, &head) && stream.write_all(&body).is_ok()
    });
    let transport = HttpTransport::new(quick());
    let mut request = Request::new(url);
    assert_eq!(text(&transport, &request).unwrap(), "0123456789");
    request.allows_encoding = true;
    assert_eq!(text(&transport, &request).unwrap(), "0123456789");
    assert_eq!(text(&transport, &request.range(2..5)).unwrap(), "234");
}

#[test]
fn names_and_passwords_go_to_their_host_alone() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let other = serve(move |head, _, stream| {
        log.lock().unwrap().push(head.to_lowercase());
        write(stream, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    });
    let other = other.replace("127.0.0.1", "localhost");
    let log = Arc::clone(&seen);
    let url = serve(move |head, _, stream| {
        log.lock().unwrap().push(head.to_lowercase());
        write(stream, &format!("HTTP/1.1 302 Found\r\nLocation: {other}/x\r\nContent-Length: 0\r\n\r\n"))
    });
    let scratch = tempfile::tempdir().unwrap();
    let netrc = scratch.path().join("netrc");
    std::fs::write(&netrc, "machine 127.0.0.1 login u password p").unwrap();
    let transport = HttpTransport::new(HttpOptions { netrc: Some(netrc.clone()), ..quick() });
    let answer = transport.get(&Request::new(&url).header("Private-Token", "secret").header("X-Other", "x")).unwrap();
    assert!(answer.url.ends_with("/x"), "{}", answer.url);
    {
        let heads = seen.lock().unwrap();
        assert!(heads[0].contains("authorization: basic dtpw") && heads[0].contains("private-token"), "{}", heads[0]);
        assert!(!heads[1].contains("authorization") && !heads[1].contains("private-token"), "{}", heads[1]);
        assert!(heads[1].contains("x-other: x"), "{}", heads[1]);
    }
    // The other host has its own, if the file says so.
    std::fs::write(&netrc, "machine 127.0.0.1 login u password p machine localhost login v password q").unwrap();
    HttpTransport::new(HttpOptions { netrc: Some(netrc), ..quick() }).get(&Request::new(&url)).unwrap();
    assert!(seen.lock().unwrap().drain(2..).nth(1).unwrap().contains("authorization: basic djpx"));
    transport.get(&Request::new(url.replace("http://", "http://n%41me:word@"))).unwrap();
    let expected = data_encoding::BASE64.encode(b"nAme:word").to_lowercase();
    assert!(seen.lock().unwrap()[2].contains(&format!("authorization: basic {expected}")));
}

#[test]
fn files_are_stored_again_when_the_first_attempt_fails() {
    let n_calls = AtomicUsize::new(0);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let url = serve(move |head, body, stream| {
        log.lock().unwrap().push((head.split(' ').next().unwrap().to_owned(), body.to_vec()));
        let status = if n_calls.fetch_add(1, Ordering::SeqCst) == 0 { 503 } else { 201 };
        write(stream, &format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n"))
    });
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("file");
    std::fs::write(&file, "contents").unwrap();
    let transport = HttpTransport::new(quick());
    transport.put(&Request::new(&url), Body::File(&file)).unwrap();
    transport.send(SendMethod::Post, &Request::new(&url), Body::Bytes(b"post")).unwrap();
    let expected = [("PUT", "contents"), ("PUT", "contents"), ("POST", "post")];
    assert_eq!(*seen.lock().unwrap(), expected.map(|(method, body)| (method.to_owned(), body.as_bytes().to_vec())));
}

#[test]
fn what_is_no_address_or_nobody_listens_to_says_so() {
    let transport = HttpTransport::new(quick());
    let message = |url: &str| transport.get(&Request::new(url)).unwrap_err().message;
    assert_eq!(message("ftp://host/file"), "unable to download 'ftp://host/file': scheme 'ftp' is not supported");
    assert!(message("http://127.0.0.1:1/x").contains("Could not connect to server"), "{}", message("http://127.0.0.1:1/x"));
    assert!(message("http://").starts_with("unable to download 'http://': "));
    assert_eq!(message("file:///nonexistent"), "unable to download 'file:///nonexistent': Could not open file /nonexistent");
}

#[test]
fn a_slow_download_is_a_slow_download() {
    let url = serve(|_, _, stream| write(stream, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789"));
    let transport = HttpTransport::new(HttpOptions { bytes_per_second: Some(100), ..quick() });
    let begin = std::time::Instant::now();
    assert_eq!(text(&transport, &Request::new(url)).unwrap(), "0123456789");
    // A machine that is slow makes it longer, none makes it shorter.
    assert!(begin.elapsed() >= Duration::from_millis(100));
}

#[test]
fn redirections_are_followed_as_far_as_that_makes_sense() {
    let url = serve(|head, body, stream| {
        let (method, rest) = head.split_once(" /").unwrap();
        let status: u16 = rest[..3].parse().unwrap_or(0);
        if status > 0 {
            return write(stream, &format!("HTTP/1.1 {status} X\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n", "../end"));
        }
        let body = format!("{method} {}", String::from_utf8_lossy(body));
        write(stream, &format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
    });
    let transport = HttpTransport::new(quick());
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("file");
    std::fs::write(&file, "contents").unwrap();
    for (method, status, expected) in [
        (SendMethod::Put, 301, "PUT contents"),
        (SendMethod::Put, 307, "PUT contents"),
        (SendMethod::Put, 308, "PUT contents"),
        (SendMethod::Put, 303, "GET "),
        (SendMethod::Post, 302, "GET "),
        (SendMethod::Post, 307, "POST contents"),
    ] {
        let answer = transport.send(method, &Request::new(format!("{url}/{status}")), Body::File(&file)).unwrap();
        assert_eq!(answer.bytes(100).unwrap(), expected.as_bytes(), "{method:?} {status}");
    }
    for status in [301, 302, 303, 307, 308] {
        assert_eq!(text(&transport, &Request::new(format!("{url}/{status}"))).unwrap(), "GET ", "{status}");
    }
    let circle = serve(|_, _, stream| write(stream, "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"));
    assert!(text(&transport, &Request::new(circle)).unwrap_err().message.ends_with("too many redirects"));
    let local = serve(|_, _, stream| write(stream, "HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n"));
    assert!(text(&transport, &Request::new(local)).unwrap_err().message.ends_with("scheme 'file' is not supported"));
    let nowhere = serve(|_, _, stream| write(stream, "HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n"));
    assert!(text(&transport, &Request::new(nowhere)).unwrap_err().message.ends_with("HTTP error 302"));
}

#[test]
fn headers_without_end_are_refused() {
    let url = serve(|_, _, stream| {
        write(stream, "HTTP/1.1 200 OK\r\n");
        while write(stream, &format!("X: {}\r\n", "x".repeat(1000))) {}
        false
    });
    let error = text(&HttpTransport::new(quick()), &Request::new(url)).unwrap_err();
    assert_eq!(error.kind, TransferErrorKind::Refused);
    assert!(error.message.contains("message head is too large"), "{error}");
}

#[test]
fn the_environment_chooses_proxies() {
    let options = HttpOptions::from_environment(|name| match name {
        "all_proxy" => Some("socks5://a:1".into()),
        "https_proxy" => Some("http://b:2".into()),
        "no_proxy" => Some("localhost, .example".into()),
        "NIX_SSL_CERT_FILE" => Some("/certs".into()),
        _ => None,
    });
    assert_eq!(options.http_proxy.as_deref(), Some("socks5://a:1"));
    assert_eq!(options.https_proxy.as_deref(), Some("http://b:2"));
    assert_eq!(options.certificates, Some(Certificates::File("/certs".into())));
    assert_eq!(options.no_proxy.as_deref(), Some("localhost, .example"));
}
