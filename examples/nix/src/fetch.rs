//! Downloads during an evaluation: `builtins.fetchurl` and `fetchTarball`. The download runs in the helper process of builds, without a
//! sandbox; what it gives is checked and added to the store here.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use nixlang::host::FetchRequest;
use nixlang_build::executor::builtin::{BuiltinRequest, Fetch};
use nixlang_build::executor::local::LocalExecutor;
use nixlang_build::executor::{BuildRequest, End, Executor, Limits, Program};
use nixlang_store::content_address::ContentAddressMethod;
use nixlang_store::hash::{Algorithm, Hash, HashFormat, Hasher};
use nixlang_store::path::StorePath;
use nixlang_store::store::{Addressing, Contents};

use crate::commands::Context;
use crate::failure::{Failure, Outcome, plain};
use crate::ui::Verbosity;

/// Exit status for a wrong hash.
pub(crate) const HASH_MISMATCH: u8 = 102;

/// Fetches a file or archive into the store.
pub(crate) fn fetch(context: &Context, request: &FetchRequest) -> Outcome<StorePath> {
    let store = context.store.open()?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("file");
    if !request.url.starts_with("file:") {
        context.ui.line(Verbosity::INFO, &format!("downloading '{}'...", request.url));
    }
    download(context, &request.url, &file)?;
    let (path, method) = if request.unpack {
        let tree = directory.path().join("tree");
        std::fs::create_dir(&tree)?;
        let failed = |error: std::io::Error| Failure::new(format!("cannot unpack '{}': {}", request.url, plain(&error)));
        unpack(&file, &tree).map_err(failed)?;
        (only_entry(&request.url, &tree)?, ContentAddressMethod::Nar)
    } else {
        (file, ContentAddressMethod::Flat)
    };
    if let Some(specified) = request.sha256 {
        let got = hash(&path, method)?;
        if got != specified {
            let show = |hash: Hash| hash.format(HashFormat::Nix32, true);
            let message = format!("hash mismatch in file downloaded from '{}':\n  specified: {}\n  got:       {}", request.url, show(specified), show(got));
            return Err(Failure::with_status(message, HASH_MISMATCH));
        }
    }
    let addressing = Addressing { name: &request.name, method, algorithm: Algorithm::Sha256, references: BTreeSet::new() };
    let bytes;
    let contents = if method == ContentAddressMethod::Flat {
        bytes = std::fs::read(&path)?;
        Contents::Bytes(&bytes)
    } else {
        Contents::Tree { path: &path, filter: None }
    };
    Ok(store.add_contents(&addressing, contents)?.path)
}

fn download(context: &Context, url: &str, out: &Path) -> Outcome<()> {
    let certificates = [std::env::var("NIX_SSL_CERT_FILE").ok(), std::env::var("SSL_CERT_FILE").ok(), Some("/etc/ssl/certs/ca-certificates.crt".into())];
    let certificates = certificates.into_iter().flatten().find_map(|file| std::fs::read_to_string(file).ok());
    let scheme = url.split(':').next().unwrap_or_default();
    let proxies = [format!("{scheme}_proxy"), format!("{}_PROXY", scheme.to_uppercase()), "all_proxy".into()];
    let fetch = Fetch {
        urls: vec![url.to_owned()],
        out: out.to_owned(),
        unpack: false,
        executable: false,
        certificates,
        proxy: proxies.iter().find_map(|name| std::env::var(name).ok()),
    };
    let request = BuildRequest {
        outputs: Default::default(),
        anew: false,
        // Only its name is shown, and only by messages that don't reach the user here.
        derivation: StorePath::new([0; 20], "download.drv").map_err(|error| Failure::new(error.to_string()))?,
        is_fixed_output: true,
        program: Program::Builtin(BuiltinRequest::Fetchurl(fetch)),
        directory: out.parent().unwrap_or(Path::new("/")).to_owned(),
        sandbox: None,
        limits: Limits::default(),
        user: None,
        cgroup: None,
    };
    let mut log = Vec::new();
    let execution = LocalExecutor::new(context.helper.clone()).execute(&request, &mut |bytes| log.extend_from_slice(bytes), &context.cancel);
    match execution.map_err(|error| Failure::from_error(&error))?.end {
        End::Exited(0) => Ok(()),
        End::Cancelled => Err(Failure::new("interrupted by the user")),
        _ => {
            let text = String::from_utf8_lossy(&log).into_owned();
            let last = text.lines().rfind(|line| !line.trim().is_empty()).map_or_else(|| format!("unable to download '{url}'"), |line| line.trim().to_owned());
            let last = last.strip_prefix("error: ").unwrap_or(&last);
            // There is none here.
            Err(Failure::new(last.trim_end_matches(" (inside the sandbox)").to_owned()))
        }
    }
}

/// Unpacks a tar archive, compressed or not, as its first bytes say.
fn unpack(archive: &Path, into: &Path) -> std::io::Result<()> {
    let mut magic = [0; 6];
    let n = File::open(archive)?.take(6).read(&mut magic)?;
    let file = BufReader::with_capacity(1 << 16, File::open(archive)?);
    let tar: Box<dyn Read> = match &magic[..n] {
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(file)),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => Box::new(liblzma::bufread::XzDecoder::new_multi_decoder(file)),
        [b'B', b'Z', b'h', ..] => Box::new(bzip2::bufread::MultiBzDecoder::new(file)),
        [b'P', b'K', 3, 4, ..] => return Err(std::io::Error::other("zip archives are not supported yet")),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => return Err(std::io::Error::other("zstd archives are not supported yet")),
        _ => Box::new(file),
    };
    let mut archive = tar::Archive::new(tar);
    archive.set_preserve_mtime(false);
    archive.unpack(into)
}

/// Returns what an archive holds: there must be one thing at its top.
fn only_entry(url: &str, tree: &Path) -> Outcome<PathBuf> {
    let entries = std::fs::read_dir(tree)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<PathBuf>>>()?;
    match &entries[..] {
        [only] => Ok(only.clone()),
        _ => Err(Failure::new(format!("tarball '{url}' contains an unexpected number of top-level files"))),
    }
}

fn hash(path: &Path, method: ContentAddressMethod) -> Outcome<Hash> {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    if method == ContentAddressMethod::Flat {
        std::io::copy(&mut File::open(path)?, &mut hasher)?;
    } else {
        nixlang_store::fs::dump(path, None, &mut hasher)?;
    }
    Ok(hasher.finish())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn archives_are_unpacked_whatever_their_compression() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(2);
        header.set_mode(0o755);
        tar.append_data(&mut header, "top/file", &b"hi"[..]).expect("in memory");
        let plain = tar.into_inner().expect("in memory");
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&plain).expect("in memory");
        for (name, bytes) in [("plain", plain.clone()), ("gzip", gzip.finish().expect("in memory"))] {
            let archive = directory.path().join(name);
            std::fs::write(&archive, bytes).expect("written");
            let tree = directory.path().join(format!("{name}-tree"));
            std::fs::create_dir(&tree).expect("made");
            unpack(&archive, &tree).expect("an archive");
            let top = only_entry("u", &tree).expect("one entry");
            assert_eq!(std::fs::read(top.join("file")).expect("unpacked"), b"hi");
        }
        let other = directory.path().join("other");
        std::fs::write(&other, b"PK\x03\x04....").expect("written");
        assert!(unpack(&other, directory.path()).is_err());
    }
}
