//! `builtin:fetchurl`: a file from `file://`, `http://` or `https://`, as it is or unpacked from a NAR.
//!
//! Streams to the output; nothing here holds a whole file. The hash is checked later, like any fixed output's.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use nixlang_store::fs::{Metadata, restore};
use nixlang_store::transfer::file::path_of;
use nixlang_store::transfer::http::{Certificates, HttpOptions, HttpTransport};
use nixlang_store::transfer::{Request, Retry, TransferObserver, Transport};
use serde::{Deserialize, Serialize};

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
fn open(fetch: &Fetch, url: &str) -> Result<Box<dyn Read + Send>, String> {
    if let Some(path) = path_of(url) {
        return match File::open(&path) {
            Ok(file) => Ok(Box::new(file)),
            Err(error) => Err(format!(
                "unable to download '{url}': Could not open file {}: {error} (inside the sandbox)",
                path.display()
            )),
        };
    }
    let mut options = HttpOptions::default();
    options.certificates = fetch.certificates.clone().map(Certificates::Text);
    options.http_proxy.clone_from(&fetch.proxy);
    options.https_proxy.clone_from(&fetch.proxy);
    // The hash is of the file as it is: a server shall not compress it on the way, which is what a request says by default.
    let request = Request::new(url).observer(Some(Arc::new(Warnings)));
    let response = HttpTransport::new(options).get(&request).map_err(|error| {
        let note = if error.message.contains("scheme") { " (file, http and https are)" } else { "" };
        format!("{error}{note}")
    })?;
    Ok(response.body)
}

/// Says in the build's log what is tried again.
struct Warnings;

impl TransferObserver for Warnings {
    fn retrying(&self, retry: &Retry<'_>) {
        let Retry { error, delay, attempt, n_attempts, .. } = retry;
        eprintln!("warning: {error}; retrying in {} ms (attempt {attempt}/{n_attempts})", delay.as_millis());
    }
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
    }
}
