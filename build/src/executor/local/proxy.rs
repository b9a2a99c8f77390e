//! The only way out for a build whose network is limited: an HTTP proxy that leads to some hosts.
//!
//! The build has a network of its own in which there is nothing but a loopback interface. The socket on which the proxy is
//! asked was made in there by the helper and given to this process; who accepts a connection need not be in the network
//! in which it was made. So there is no other way out, whatever a builder tries.
//!
//! It understands `CONNECT` and requests with a whole `http://` address. Names are resolved here. Nothing of what passes
//! through a `CONNECT` is looked at.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::net::Shutdown as SocketShutdown;

/// Longest head of a request in bytes.
const MAX_HEAD: u64 = 64 << 10;
/// How long another host may take to answer.
const CONNECT_LIMIT: Duration = Duration::from_secs(30);
/// How many connections a build may have at once.
const MAX_CONNECTIONS: usize = 256;

/// A proxy at work; ends when dropped.
pub(super) struct Proxy {
    listener: Arc<TcpListener>,
    connections: Connections,
}

/// Both ends of what is open, so that it can be closed.
type Connections = Arc<Mutex<Vec<TcpStream>>>;

impl Proxy {
    /// Starts to serve whoever connects to `listener`. `hosts` are those that may be reached; see [`is_allowed`].
    pub(super) fn start(listener: TcpListener, hosts: Vec<String>) -> Proxy {
        let (listener, connections) = (Arc::new(listener), Connections::default());
        let (asked, open, hosts) = (Arc::clone(&listener), Arc::clone(&connections), Arc::new(hosts));
        std::thread::spawn(move || {
            // Shutting the socket down ends this.
            while let Ok((client, _)) = asked.accept() {
                let Some(guard) = Guard::new(&open, &client) else { continue };
                let hosts = Arc::clone(&hosts);
                let spawned = std::thread::Builder::new().spawn(move || drop(serve(client, &hosts, &guard)));
                drop(spawned);
            }
        });
        Proxy { listener, connections }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = rustix::net::shutdown(&*self.listener, SocketShutdown::Both);
        for stream in self.connections.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Keeps a connection among those that are open.
struct Guard {
    connections: Connections,
    own: Mutex<Vec<std::os::fd::RawFd>>,
}

impl Guard {
    fn new(connections: &Connections, client: &TcpStream) -> Option<Guard> {
        let guard = Guard { connections: Arc::clone(connections), own: Mutex::default() };
        let is_full = connections.lock().unwrap_or_else(PoisonError::into_inner).len() >= 2 * MAX_CONNECTIONS;
        (!is_full && guard.add(client).is_ok()).then_some(guard)
    }

    fn add(&self, stream: &TcpStream) -> io::Result<()> {
        use std::os::fd::AsRawFd;
        let copy = stream.try_clone()?;
        self.own.lock().unwrap_or_else(PoisonError::into_inner).push(copy.as_raw_fd());
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).push(copy);
        Ok(())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        use std::os::fd::AsRawFd;
        let own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.retain(|stream| !own.contains(&stream.as_raw_fd()));
    }
}

/// Returns whether a host may be reached. A pattern is a name, `*.` and a name for all below it, or an address; with a
/// colon and a number it is for one port only.
pub(super) fn is_allowed(patterns: &[String], host: &str, port: u16) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    patterns.iter().any(|pattern| {
        let (name, of_port) = match split_port(pattern) {
            Some((name, of_port)) => (name, Some(of_port)),
            None => (pattern.as_str(), None),
        };
        let name = name.to_ascii_lowercase();
        let is_named = match name.strip_prefix("*.") {
            Some(parent) => host.strip_suffix(parent).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
            None => host == name,
        };
        is_named && of_port.is_none_or(|of_port| of_port == port)
    })
}

/// Splits `host:port`; an IPv6 address stands in brackets if it has a port.
fn split_port(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    if host.contains(':') && !host.starts_with('[') {
        return None;
    }
    Some((host, port.parse().ok()?))
}

/// What a request asks for.
struct Target {
    host: String,
    port: u16,
    /// What is sent on in place of the request's head; none for a tunnel.
    head: Option<Vec<u8>>,
}

fn serve(client: TcpStream, hosts: &[String], guard: &Guard) -> io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut head = Vec::new();
    loop {
        let mut line = Vec::new();
        let n_left = MAX_HEAD.saturating_sub(head.len() as u64);
        if (&mut reader).take(n_left).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        let is_last = line == b"\r\n" || line == b"\n";
        head.extend(line);
        if is_last {
            break;
        }
    }
    let refuse = |status: &str, text: &str| {
        let length = text.len();
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}");
        (&client).write_all(answer.as_bytes())
    };
    let Some(Target { host, port, head }) = parse(&head) else {
        return refuse("400 Bad Request", "this proxy understands CONNECT and http:// addresses\n");
    };
    if !is_allowed(hosts, &host, port) {
        return refuse("403 Forbidden", &format!("builds may not reach '{host}' on port {port}\n"));
    }
    let Ok(other) = connect(&host, port) else {
        return refuse("502 Bad Gateway", &format!("cannot reach '{host}' on port {port}\n"));
    };
    guard.add(&other)?;
    match &head {
        Some(head) => (&other).write_all(head)?,
        None => (&client).write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?,
    }
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _ = io::copy(&mut reader, &mut &other);
            let _ = other.shutdown(Shutdown::Write);
        });
        let _ = io::copy(&mut &other, &mut &client);
        let _ = client.shutdown(Shutdown::Write);
    });
    Ok(())
}

fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in (host.trim_matches(['[', ']']), port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_LIMIT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Reads the head of a request.
fn parse(head: &[u8]) -> Option<Target> {
    let head = std::str::from_utf8(head).ok()?;
    let (first, rest) = head.split_once('\n')?;
    let mut words = first.trim_end().split(' ');
    let (method, address, version) = (words.next()?, words.next()?, words.next()?);
    if method == "CONNECT" {
        let (host, port) = split_port(address)?;
        return Some(Target { host: host.to_owned(), port, head: None });
    }
    let address = address.strip_prefix("http://")?;
    let (authority, path) = address.split_at(address.find(['/', '?']).unwrap_or(address.len()));
    let authority = authority.rsplit('@').next()?;
    let (host, port) = split_port(authority).unwrap_or((authority, 80));
    let slash = if path.starts_with('/') { "" } else { "/" };
    let mut sent = format!("{method} {slash}{path} {version}\r\n");
    for line in rest.lines().filter(|line| !line.is_empty()) {
        let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
        // One connection is for one host, so it ends with the answer.
        if !name.starts_with("proxy-") && name != "connection" && name != "keep-alive" {
            sent.push_str(line);
            sent.push_str("\r\n");
        }
    }
    sent.push_str("Connection: close\r\n\r\n");
    Some(Target { host: host.to_owned(), port, head: Some(sent.into_bytes()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_name_hosts_and_what_is_below_them() {
        let patterns = ["example.org", "*.cache.test", "one.test:443", "127.0.0.1:80"].map(str::to_owned);
        for (host, port, expected) in [
            ("example.org", 80, true),
            ("EXAMPLE.org.", 443, true),
            ("www.example.org", 80, false),
            ("notexample.org", 80, false),
            ("a.cache.test", 80, true),
            ("a.b.cache.test", 80, true),
            ("cache.test", 80, false),
            ("xcache.test", 80, false),
            (".cache.test", 80, false),
            ("one.test", 443, true),
            ("one.test", 80, false),
            ("127.0.0.1", 80, true),
            ("127.0.0.2", 80, false),
            ("", 80, false),
        ] {
            assert_eq!(is_allowed(&patterns, host, port), expected, "{host}:{port}");
        }
    }

    #[test]
    fn requests_are_read_and_passed_on_without_what_concerns_the_proxy() {
        let target = parse(b"CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        assert_eq!((target.host.as_str(), target.port, target.head), ("example.org", 443, None));
        let target = parse(b"GET http://u@example.org:8080/a?b HTTP/1.1\r\nHost: example.org\r\nProxy-Connection: keep-alive\r\n\r\n").unwrap();
        assert_eq!((target.host.as_str(), target.port), ("example.org", 8080));
        assert_eq!(target.head.unwrap(), b"GET /a?b HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\n\r\n");
        assert_eq!(parse(b"GET http://example.org HTTP/1.1\r\n\r\n").unwrap().port, 80);
        for bad in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"CONNECT example.org HTTP/1.1\r\n\r\n", b"\r\n", b"\xff\n\n", b"GET ftp://x/ HTTP/1.1\r\n\r\n"] {
            assert!(parse(bad).is_none());
        }
    }
}
