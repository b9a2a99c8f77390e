//! Cryptographic hashes of the store: algorithm, value, and the four ways to write one.
//!
//! A [`struct@Hash`] is `Copy` and knows its algorithm. The surprising thing: text without a prefix is
//! decoded by its *length* alone (base-16, then Nix32, then base-64), so the expected algorithm
//! decides what a bare string means. Which encoding a place uses is fixed by that place: the
//! database and derivations write base-16, narinfo and signatures Nix32, JSON the SRI form.
//!
//! Format source: manual of Nix 2.34, "Nix32" and `builtins.convertHash`; messages are those of
//! 2.34.8, pinned by the tests in `hash/parse.rs`.

use std::cmp::Ordering;
use std::fmt;
use std::io;
use std::str::FromStr;

use sha2::Digest as _;

pub mod nix32;
mod parse;

pub use parse::HashError;
pub(crate) use parse::decode_base64;

/// A hash algorithm that store objects can be addressed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// MD5, 16 bytes. Broken; only for old fixed outputs.
    Md5,
    /// SHA-1, 20 bytes. Broken; git objects and old fixed outputs.
    Sha1,
    /// SHA-256, 32 bytes: what the store itself uses everywhere.
    Sha256,
    /// SHA-512, 64 bytes.
    Sha512,
    /// BLAKE3, 32 bytes. The reference accepts it only with the experimental feature
    /// `blake3-hashes`; whether it is enabled is the caller's question.
    Blake3,
}

impl Algorithm {
    /// All algorithms, in the order in which the reference lists them.
    pub const ALL: [Self; 5] = [Self::Blake3, Self::Md5, Self::Sha1, Self::Sha256, Self::Sha512];

    /// Returns the lower-case name, as in `sha256:…`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
            Self::Blake3 => "blake3",
        }
    }

    /// Returns the digest's length in bytes.
    pub const fn size(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha256 | Self::Blake3 => 32,
            Self::Sha512 => 64,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Algorithm {
    type Err = HashError;

    fn from_str(name: &str) -> Result<Self, HashError> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
            .ok_or_else(|| HashError::UnknownAlgorithm { name: name.to_owned() })
    }
}

/// How the bytes of a hash are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HashFormat {
    /// Lower-case hexadecimal.
    Base16,
    /// The 32-letter alphabet of store paths, see [`nix32`].
    Nix32,
    /// Base-64 with padding.
    Base64,
    /// `algorithm-base64`, as in Subresource Integrity.
    Sri,
}

impl HashFormat {
    /// Returns the name used by `builtins.convertHash` and `nix hash convert --to`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Base16 => "base16",
            Self::Nix32 => "nix32",
            Self::Base64 => "base64",
            Self::Sri => "sri",
        }
    }
}

impl fmt::Display for HashFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for HashFormat {
    type Err = HashError;

    /// Reads a format's name; `base32` is the deprecated name of `nix32`.
    fn from_str(name: &str) -> Result<Self, HashError> {
        match name {
            "base16" => Ok(Self::Base16),
            "nix32" | "base32" => Ok(Self::Nix32),
            "base64" => Ok(Self::Base64),
            "sri" => Ok(Self::Sri),
            _ => Err(HashError::UnknownFormat { name: name.to_owned() }),
        }
    }
}

/// A digest together with the algorithm that made it.
///
/// ```
/// use nixlang_store::hash::{Algorithm, Hash, HashFormat};
///
/// let hash = Hash::digest(Algorithm::Sha256, b"");
/// assert_eq!(
///     hash.format(HashFormat::Nix32, true),
///     "sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73",
/// );
/// assert_eq!(Hash::parse(&hash.format(HashFormat::Sri, true), None).unwrap(), hash);
/// ```
#[derive(Clone, Copy)]
pub struct Hash {
    algorithm: Algorithm,
    bytes: [u8; 64],
}

impl Hash {
    /// Returns the digest of `bytes`.
    pub fn digest(algorithm: Algorithm, bytes: &[u8]) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::sha256(sha2::Sha256::digest(bytes).into()),
            _ => {
                let mut hasher = Hasher::new(algorithm);
                hasher.update(bytes);
                hasher.finish()
            }
        }
    }

    /// Wraps 32 bytes that are a SHA-256 digest.
    pub fn sha256(digest: [u8; 32]) -> Self {
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&digest);
        Self { algorithm: Algorithm::Sha256, bytes }
    }

    /// Wraps digest bytes; `None` when their number is not the algorithm's.
    pub fn from_bytes(algorithm: Algorithm, digest: &[u8]) -> Option<Self> {
        if digest.len() != algorithm.size() {
            return None;
        }
        let mut bytes = [0; 64];
        bytes[..digest.len()].copy_from_slice(digest);
        Some(Self { algorithm, bytes })
    }

    /// Returns the all-zero value that stands for an unknown hash in `lib.fakeHash` style.
    pub fn zero(algorithm: Algorithm) -> Self {
        Self { algorithm, bytes: [0; 64] }
    }

    /// Returns the algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Returns the digest's bytes; their number is [`Algorithm::size`].
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.algorithm.size()]
    }

    /// Writes the hash; `with_prefix` puts `algorithm:` before it (the SRI form always has its own
    /// `algorithm-`).
    pub fn format(&self, format: HashFormat, with_prefix: bool) -> String {
        let mut text = String::with_capacity(8 + 2 * self.algorithm.size());
        if format == HashFormat::Sri {
            text.push_str(self.algorithm.name());
            text.push('-');
        } else if with_prefix {
            text.push_str(self.algorithm.name());
            text.push(':');
        }
        match format {
            HashFormat::Base16 => data_encoding::HEXLOWER.encode_append(self.as_bytes(), &mut text),
            HashFormat::Nix32 => nix32::encode_append(self.as_bytes(), &mut text),
            HashFormat::Base64 | HashFormat::Sri => {
                data_encoding::BASE64.encode_append(self.as_bytes(), &mut text);
            }
        }
        text
    }

    /// Returns the digest folded into 20 bytes by xor, as store paths use it.
    pub fn compress_to_20(&self) -> [u8; 20] {
        let mut folded = [0; 20];
        for (idx, byte) in self.as_bytes().iter().enumerate() {
            folded[idx % 20] ^= byte;
        }
        folded
    }
}

impl PartialEq for Hash {
    fn eq(&self, other: &Self) -> bool {
        self.algorithm == other.algorithm && self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Hash {}

impl std::hash::Hash for Hash {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl Ord for Hash {
    /// Shorter digests first, then by bytes, then by algorithm: the reference's order.
    fn cmp(&self, other: &Self) -> Ordering {
        self.algorithm
            .size()
            .cmp(&other.algorithm.size())
            .then_with(|| self.as_bytes().cmp(other.as_bytes()))
            .then_with(|| self.algorithm.cmp(&other.algorithm))
    }
}

impl PartialOrd for Hash {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.format(HashFormat::Nix32, true))
    }
}

/// Writes the SRI form, the one that JSON and the language use.
impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.format(HashFormat::Sri, true))
    }
}

/// A digest in the making; also an [`io::Write`] that never fails.
#[derive(Clone)]
pub struct Hasher(State);

#[derive(Clone)]
enum State {
    Md5(md5::Md5),
    Sha1(sha1::Sha1),
    Sha256(sha2::Sha256),
    Sha512(sha2::Sha512),
    Blake3(Box<blake3::Hasher>),
}

impl Hasher {
    /// Starts an empty digest.
    pub fn new(algorithm: Algorithm) -> Self {
        Self(match algorithm {
            Algorithm::Md5 => State::Md5(md5::Md5::new()),
            Algorithm::Sha1 => State::Sha1(sha1::Sha1::new()),
            Algorithm::Sha256 => State::Sha256(sha2::Sha256::new()),
            Algorithm::Sha512 => State::Sha512(sha2::Sha512::new()),
            Algorithm::Blake3 => State::Blake3(Box::new(blake3::Hasher::new())),
        })
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Md5(state) => state.update(bytes),
            State::Sha1(state) => state.update(bytes),
            State::Sha256(state) => state.update(bytes),
            State::Sha512(state) => state.update(bytes),
            State::Blake3(state) => {
                state.update(bytes);
            }
        }
    }

    /// Returns the digest of everything added.
    pub fn finish(self) -> Hash {
        fn wrap(algorithm: Algorithm, digest: &[u8]) -> Hash {
            Hash::from_bytes(algorithm, digest).expect("a digest has its algorithm's length")
        }
        match self.0 {
            State::Md5(state) => wrap(Algorithm::Md5, &state.finalize()),
            State::Sha1(state) => wrap(Algorithm::Sha1, &state.finalize()),
            State::Sha256(state) => wrap(Algorithm::Sha256, &state.finalize()),
            State::Sha512(state) => wrap(Algorithm::Sha512, &state.finalize()),
            State::Blake3(state) => wrap(Algorithm::Blake3, state.finalize().as_bytes()),
        }
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hasher").finish_non_exhaustive()
    }
}

impl io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `nix hash file --type ALGORITHM --base16` of an empty and of a three-byte file, Nix 2.34.8.
    #[test]
    fn digests_are_the_reference_ones() {
        let cases = [
            (Algorithm::Md5, "d41d8cd98f00b204e9800998ecf8427e"),
            (Algorithm::Sha1, "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
            (Algorithm::Sha256, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            (
                Algorithm::Sha512,
                "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce\
                 47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e",
            ),
            (Algorithm::Blake3, "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"),
        ];
        for (algorithm, expected) in cases {
            assert_eq!(Hash::digest(algorithm, b"").format(HashFormat::Base16, false), expected);
        }
    }

    #[test]
    fn pieces_give_the_same_digest_as_the_whole() {
        for algorithm in Algorithm::ALL {
            let mut hasher = Hasher::new(algorithm);
            hasher.update(b"he");
            hasher.update(b"");
            hasher.update(b"llo");
            assert_eq!(hasher.finish(), Hash::digest(algorithm, b"hello"));
        }
    }

    #[test]
    fn names_round_trip() {
        for algorithm in Algorithm::ALL {
            assert_eq!(algorithm.name().parse::<Algorithm>().unwrap(), algorithm);
        }
        assert!("SHA256".parse::<Algorithm>().is_err());
    }
}
