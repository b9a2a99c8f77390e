//! narinfo: the text file in which a binary cache describes one store object.
//!
//! `Key: value` lines. It holds four kinds of facts: which path it is about (`StorePath`,
//! `References`, `Deriver`, `CA`), the archive (`NarHash`, `NarSize`), the file that carries it
//! (`URL`, `Compression`, `FileHash`, `FileSize`), and who vouches for it (`Sig`). The surprising
//! things: a missing `Compression` means bzip2, and a cache is asked by hash part only, so the
//! client must check that the path's name is the one it wanted.
//!
//! Unknown keys are ignored. Format source: `NarInfo` in the reference; captured files in
//! `fixtures/nar`.

use std::collections::BTreeSet;

use crate::content_address::{ContentAddress, ContentAddressError};
use crate::hash::{Hash, HashError, HashFormat};
use crate::path::{StoreDir, StorePath, StorePathError};
use crate::path_info::{PathInfo, UnkeyedPathInfo};
use crate::signature::{Signature, SignatureError, in_reference_order};

/// What a narinfo file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NarInfo {
    /// The path and what is known about it.
    pub path_info: PathInfo,
    /// Where the compressed archive is; relative to the cache, or absolute.
    pub url: String,
    /// How it is compressed: `none`, `xz`, `zstd`, `bzip2` …
    pub compression: String,
    /// Hash of the compressed file. Caches that compress on the fly have none.
    pub file_hash: Option<Hash>,
    /// Size of the compressed file in bytes; 0 when it is not known.
    pub file_size: u64,
}

/// What is wrong with a narinfo file. The caller adds which file it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}{}", match line { 0 => String::new(), line => format!(" at line {line}") })]
pub struct NarInfoError {
    /// The line, counted from 1; 0 if it is about the whole file.
    pub line: usize,
    /// What.
    #[source]
    pub kind: NarInfoErrorKind,
}

/// Kinds of [`NarInfoError`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NarInfoErrorKind {
    /// A line without a colon.
    #[error("expecting ':'")]
    NoColon,
    /// The last line does not end.
    #[error("expecting '\\n'")]
    NoLineEnd,
    /// A hash.
    #[error("bad hash")]
    BadHash(#[from] HashError),
    /// A number.
    #[error("invalid {key}")]
    InvalidNumber {
        /// The key.
        key: &'static str,
    },
    /// A key that must stand once.
    #[error("extra {key}")]
    Extra {
        /// The key.
        key: &'static str,
    },
    /// A key that must be there.
    #[error("{key} missing")]
    Missing {
        /// The key.
        key: &'static str,
    },
    /// The size of the archive is missing or 0.
    #[error("NarSize missing or zero")]
    NoNarSize,
    /// A store path.
    #[error(transparent)]
    Path(#[from] StorePathError),
    /// A content address.
    #[error(transparent)]
    ContentAddress(#[from] ContentAddressError),
    /// A signature.
    #[error(transparent)]
    Signature(#[from] SignatureError),
}

impl NarInfo {
    /// Reads the text of a narinfo file.
    ///
    /// # Errors
    /// When a line or value is malformed or a necessary key is missing.
    pub fn parse(store_dir: &StoreDir, text: &str) -> Result<Self, NarInfoError> {
        let mut fields = Fields::default();
        for (idx, line) in text.split_inclusive('\n').enumerate() {
            fields.line(store_dir, line).map_err(|kind| NarInfoError { line: idx + 1, kind })?;
        }
        fields.finish().map_err(|kind| NarInfoError { line: 0, kind })
    }

    /// Returns the text of the narinfo file.
    pub fn to_text(&self, store_dir: &StoreDir) -> String {
        let Self { path_info: PathInfo { path, info }, url, compression, file_hash, file_size } = self;
        let mut text = String::with_capacity(512);
        let mut line = |key: &str, value: &str| {
            for part in [key, ": ", value, "\n"] {
                text.push_str(part);
            }
        };
        line("StorePath", &store_dir.display(path));
        line("URL", url);
        line("Compression", compression);
        if let Some(hash) = file_hash {
            line("FileHash", &hash.format(HashFormat::Nix32, true));
        }
        if file_hash.is_some() || *file_size != 0 {
            line("FileSize", &file_size.to_string());
        }
        line("NarHash", &info.nar_hash.format(HashFormat::Nix32, true));
        line("NarSize", &info.nar_size.to_string());
        let references: Vec<String> = info.references.iter().map(StorePath::base_name).collect();
        line("References", &references.join(" "));
        if let Some(deriver) = &info.deriver {
            line("Deriver", &deriver.base_name());
        }
        for signature in in_reference_order(&info.signatures) {
            line("Sig", signature);
        }
        if let Some(address) = &info.content_address {
            line("CA", &address.to_string());
        }
        text
    }
}

/// What has been read so far.
#[derive(Default)]
struct Fields {
    path: Option<StorePath>,
    url: String,
    compression: String,
    file_hash: Option<Hash>,
    file_size: u64,
    nar_hash: Option<Hash>,
    nar_size: u64,
    references: BTreeSet<StorePath>,
    deriver: Option<StorePath>,
    signatures: BTreeSet<String>,
    content_address: Option<ContentAddress>,
}

impl Fields {
    fn line(&mut self, store_dir: &StoreDir, line: &str) -> Result<(), NarInfoErrorKind> {
        let line = line.strip_suffix('\n');
        let (key, value) =
            line.unwrap_or_default().split_once(':').ok_or(match line {
                Some(_) => NarInfoErrorKind::NoColon,
                None => NarInfoErrorKind::NoLineEnd,
            })?;
        let value = value.strip_prefix(' ').unwrap_or(value);
        let number = |key| value.parse().map_err(|_| NarInfoErrorKind::InvalidNumber { key });
        match key {
            "StorePath" => self.path = Some(store_dir.parse(value)?),
            "URL" => value.clone_into(&mut self.url),
            "Compression" => value.clone_into(&mut self.compression),
            "FileHash" => self.file_hash = Some(Hash::parse_prefixed(value)?),
            "FileSize" => self.file_size = number("FileSize")?,
            "NarHash" => self.nar_hash = Some(Hash::parse_prefixed(value)?),
            "NarSize" => self.nar_size = number("NarSize")?,
            "References" => {
                if !self.references.is_empty() {
                    return Err(NarInfoErrorKind::Extra { key: "References" });
                }
                for reference in value.split(' ').filter(|reference| !reference.is_empty()) {
                    self.references.insert(StorePath::from_base_name(reference)?);
                }
            }
            "Deriver" if value != "unknown-deriver" => {
                self.deriver = Some(StorePath::from_base_name(value)?);
            }
            "Sig" => {
                self.signatures.insert(value.parse::<Signature>()?.to_string());
            }
            "CA" => {
                if self.content_address.is_some() {
                    return Err(NarInfoErrorKind::Extra { key: "CA" });
                }
                if !value.is_empty() {
                    self.content_address = Some(value.parse()?);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(self) -> Result<NarInfo, NarInfoErrorKind> {
        let missing = |key| NarInfoErrorKind::Missing { key };
        let path = self.path.ok_or(missing("StorePath"))?;
        let nar_hash = self.nar_hash.ok_or(missing("NarHash"))?;
        if self.url.is_empty() {
            return Err(missing("URL"));
        }
        if self.nar_size == 0 {
            return Err(NarInfoErrorKind::NoNarSize);
        }
        let info = UnkeyedPathInfo {
            references: self.references,
            deriver: self.deriver,
            signatures: self.signatures,
            content_address: self.content_address,
            ..UnkeyedPathInfo::new(nar_hash, self.nar_size)
        };
        let compression =
            if self.compression.is_empty() { "bzip2".to_owned() } else { self.compression };
        Ok(NarInfo {
            path_info: PathInfo { path, info },
            url: self.url,
            compression,
            file_hash: self.file_hash,
            file_size: self.file_size,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPTURED: [&str; 2] =
        [include_str!("../fixtures/nar/tree.narinfo"), include_str!("../fixtures/nar/signed.narinfo")];

    fn parse(text: &str) -> Result<NarInfo, NarInfoError> {
        NarInfo::parse(&StoreDir::default(), text)
    }

    #[test]
    fn captured_files_round_trip() {
        for text in CAPTURED {
            let narinfo = parse(text).unwrap();
            assert_eq!(narinfo.to_text(&StoreDir::default()), text);
        }
        let signed = parse(CAPTURED[1]).unwrap();
        assert_eq!(signed.path_info.references.len(), 3);
        assert_eq!(signed.path_info.signatures.len(), 1);
        assert_eq!(signed.file_size, 588);
    }

    #[test]
    fn lenient_where_the_reference_is() {
        let text = CAPTURED[0].replace("Compression: xz\n", "X-Unknown: y\nDeriver: unknown-deriver\n");
        let narinfo = parse(&text).unwrap();
        assert_eq!((narinfo.compression.as_str(), &narinfo.path_info.deriver), ("bzip2", &None));
    }

    #[test]
    fn refused_files() {
        let check = |text: &str, message: &str| {
            assert_eq!(parse(text).unwrap_err().to_string(), message);
        };
        let without = |key: &str| -> String {
            CAPTURED[0].split_inclusive('\n').filter(|line| !line.starts_with(key)).collect()
        };
        check("", "StorePath missing");
        check("x", "expecting '\\n' at line 1");
        check("StorePath", "expecting '\\n' at line 1");
        check("x\n", "expecting ':' at line 1");
        check(&without("StorePath"), "StorePath missing");
        check(&without("NarHash"), "NarHash missing");
        check(&without("URL"), "URL missing");
        check(&without("NarSize"), "NarSize missing or zero");
        check(&CAPTURED[0].replace("NarSize: 1424", "NarSize: 0"), "NarSize missing or zero");
        check(&CAPTURED[0].replace("NarSize: 1424", "NarSize: -1"), "invalid NarSize at line 7");
        check(&CAPTURED[0].replace("FileSize: 292", "FileSize: 99999999999999999999"), "invalid FileSize at line 5");
        check(&CAPTURED[0].replace("NarHash: sha256:0", "NarHash: sha256:"), "bad hash at line 6");
        check(
            &CAPTURED[1].replace("Sig:", "References: vxjiwkjkn7x4079qvh1jkl5pn05j2aw0-foo\nSig:"),
            "extra References at line 9",
        );
        check(&CAPTURED[1].replace("Sig: test-1:", "Sig: test-1-"), "signature is corrupt at line 9");
        check(
            &CAPTURED[0].replace("StorePath: /nix", "StorePath: /xin"),
            "path '/xin/store/17xqk9h2vk34q8j1vzswqkja6ds19yw4-tree' is not in the Nix store at line 1",
        );
    }

    #[test]
    fn every_prefix_is_refused_or_complete() {
        for text in CAPTURED {
            for end in 0..text.len() {
                if let Ok(narinfo) = parse(&text[..end]) {
                    assert!(text[..end].ends_with('\n'));
                    assert_eq!(parse(&narinfo.to_text(&StoreDir::default())).unwrap(), narinfo);
                }
            }
        }
    }
}
