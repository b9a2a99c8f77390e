//! `builtin:fetchurl`: a file from `file://`, `http://` or `https://`, as it is or unpacked from a NAR.
//!
//! Streams to the output; nothing here holds a whole file. The hash is checked later, like any fixed output's.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use nixlang_store::fs::{Metadata, restore};
use serde::{Deserialize, Serialize};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

/// A download.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetch {
    /// Addresses, tried in this order: mirrors by hash first, the one of the derivation last.
    pub urls: Vec<String>,
    /// The output.
    pub out: PathBuf,
    /// Whether the file is a NAR to unpack (with `.xz` at the end of the last address: a compressed one).
    pub unpack: bool,
    /// Whether the result is executable.
    pub executable: bool,
    /// Trusted certificates in PEM form; the built-in ones if absent.
    pub certificates: Option<String>,
    /// Proxy for http and https.
    pub proxy: Option<String>,
}

/// How often a download is tried that fails for a reason that may pass.
const ATTEMPTS: u32 = 5;

/// Makes the C library load what it needs to look names up, while the machine's files are still in sight.
pub(crate) fn prepare() {
    use std::net::ToSocketAddrs;
    let _ = ("localhost", 80).to_socket_addrs();
}

/// Downloads. The error is one for the build's log.
pub(crate) fn run(fetch: &Fetch) -> Result<(), String> {
    let Some((main, mirrors)) = fetch.urls.split_last() else {
        return Err("'builtin:fetchurl' got no address".to_owned());
    };
    for mirror in mirrors {
        if fetch_one(fetch, mirror, main).is_ok() {
            return Ok(());
        }
        let _ = fs::remove_file(&fetch.out);
    }
    fetch_one(fetch, main, main)
}

fn fetch_one(fetch: &Fetch, url: &str, main: &str) -> Result<(), String> {
    let source = open(fetch, url)?;
    let failed = |error: io::Error| format!("unable to download '{url}': {error}");
    if fetch.unpack {
        let mut source: Box<dyn Read> = if main.ends_with(".xz") {
            Box::new(io::BufReader::new(liblzma::read::XzDecoder::new(source)))
        } else {
            Box::new(io::BufReader::new(source))
        };
        restore(&mut source, &fetch.out, Metadata::Ordinary)
            .map_err(|error| format!("unable to unpack '{url}': {error}"))?;
    } else {
        let mut source = source;
        let mut out = File::create(&fetch.out).map_err(failed)?;
        io::copy(&mut source, &mut out).map_err(failed)?;
    }
    if fetch.executable {
        fs::set_permissions(&fetch.out, fs::Permissions::from_mode(0o755)).map_err(failed)?;
    }
    Ok(())
}

/// Opens an address for reading.
fn open(fetch: &Fetch, url: &str) -> Result<Box<dyn Read>, String> {
    if let Some(path) = url.strip_prefix("file://") {
        let path = PathBuf::from(percent_decoded(path));
        return match File::open(&path) {
            Ok(file) => Ok(Box::new(file)),
            Err(error) => Err(format!(
                "unable to download '{url}': Could not open file {}: {error} (inside the sandbox)",
                path.display()
            )),
        };
    }
    if !url.starts_with("http://") && !url.starts_with("https://") {
        let scheme = url.split(':').next().unwrap_or_default();
        return Err(format!("unable to download '{url}': scheme '{scheme}' is not supported (file, http and https are)"));
    }
    let agent = agent(fetch)?;
    let mut attempt = 0;
    loop {
        attempt += 1;
        let (message, transient) = match agent.get(url).call() {
            Ok(response) if response.status().is_success() => return Ok(Box::new(response.into_body().into_reader())),
            Ok(response) => {
                let status = response.status();
                // As the reference: these may pass, other refusals don't.
                let transient = status.is_server_error() && !matches!(status.as_u16(), 501 | 505 | 511)
                    || matches!(status.as_u16(), 408 | 429);
                (format!("HTTP error {}", status.as_u16()), transient)
            }
            Err(error) => {
                let transient = !matches!(
                    error,
                    ureq::Error::BadUri(_) | ureq::Error::Tls(_) | ureq::Error::TooManyRedirects | ureq::Error::Rustls(_)
                );
                (error.to_string(), transient)
            }
        };
        let message = format!("unable to download '{url}': {message}");
        if !transient || attempt == ATTEMPTS {
            return Err(message);
        }
        let pause = Duration::from_millis(250 << (attempt - 1));
        eprintln!("warning: {message}; retrying in {} ms (attempt {attempt}/{ATTEMPTS})", pause.as_millis());
        std::thread::sleep(pause);
    }
}

fn agent(fetch: &Fetch) -> Result<ureq::Agent, String> {
    let mut tls = TlsConfig::builder();
    if let Some(pem) = &fetch.certificates {
        let certificates: Vec<_> = parse_pem(pem.as_bytes())
            .filter_map(|item| match item {
                Ok(PemItem::Certificate(certificate)) => Some(certificate),
                _ => None,
            })
            .collect();
        tls = tls.root_certs(RootCerts::new_with_certs(&certificates));
    }
    let proxy = match &fetch.proxy {
        Some(proxy) => Some(ureq::Proxy::new(proxy).map_err(|error| format!("proxy '{proxy}': {error}"))?),
        None => None,
    };
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .tls_config(tls.build())
        .proxy(proxy)
        .user_agent(concat!("nixlang/", env!("CARGO_PKG_VERSION")))
        // The hash is of the file as it is; a server shall not compress it on the way.
        .accept_encoding("identity")
        .build();
    Ok(config.into())
}

fn percent_decoded(text: &str) -> std::ffi::OsString {
    use std::os::unix::ffi::OsStringExt;
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let hex = |byte: Option<&u8>| byte.and_then(|&byte| char::from(byte).to_digit(16));
        match (first, hex(tail.first()), hex(tail.get(1))) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    std::ffi::OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn fetch(url: &str, out: &Path) -> Result<(), String> {
        run(&Fetch {
            urls: vec![url.to_owned()],
            out: out.to_owned(),
            unpack: false,
            executable: true,
            certificates: None,
            proxy: None,
        })
    }

    #[test]
    fn file_addresses_are_decoded_and_the_result_is_executable() {
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join("a b"), "text").unwrap();
        let out = scratch.path().join("out");
        fetch(&format!("file://{}/a%20b", scratch.path().display()), &out).unwrap();
        assert_eq!(fs::read_to_string(&out).unwrap(), "text");
        assert_eq!(fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o755);
    }

    #[test]
    fn what_cannot_be_fetched_says_why() {
        let scratch = tempfile::tempdir().unwrap();
        let out = scratch.path().join("out");
        assert!(fetch("file:///nonexistent", &out).unwrap_err().contains("Could not open file /nonexistent"));
        assert!(fetch("ftp://host/file", &out).unwrap_err().contains("scheme 'ftp' is not supported"));
        assert_eq!(percent_decoded("%zz%4"), "%zz%4");
    }
}
