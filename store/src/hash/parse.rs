//! Reading hashes from text, with the reference's rules and messages.
//!
//! The surprising thing: the reference decodes more than it prints. Base-64 may lack its padding,
//! stops at the first `=` and skips line feeds; a bad digit in base-16 or Nix32 is reported as a
//! hash of length 0. Both are kept, because fetchers in the wild rely on the first and tests of the
//! language compare the second.

use super::{Algorithm, Hash, HashFormat, nix32};

/// What is wrong with the text of a hash, in the reference's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HashError {
    /// No such algorithm.
    #[error("unknown hash algorithm '{name}', expect 'blake3', 'md5', 'sha1', 'sha256', or 'sha512'")]
    UnknownAlgorithm {
        /// What stood in its place.
        name: String,
    },
    /// No such format.
    #[error("unknown hash format '{name}', expect 'base16', 'base32', 'base64', or 'sri'")]
    UnknownFormat {
        /// What stood in its place.
        name: String,
    },
    /// Neither the text nor the caller says which algorithm it is.
    #[error("hash '{text}' does not include a type, nor is the type otherwise known from context")]
    UnknownType {
        /// The whole text.
        text: String,
    },
    /// The text had to name its algorithm and does not.
    #[error("hash '{text}' does not include a type")]
    MissingType {
        /// The whole text.
        text: String,
    },
    /// The text names another algorithm than the caller expects.
    #[error("hash '{text}' should have type '{expected}'")]
    WrongType {
        /// The whole text.
        text: String,
        /// What the caller expects.
        expected: Algorithm,
    },
    /// The text's length fits no encoding of this algorithm.
    #[error("hash '{text}' has wrong length for hash algorithm '{algorithm}'")]
    WrongLength {
        /// The text without prefix.
        text: String,
        /// The algorithm.
        algorithm: Algorithm,
    },
    /// The text decodes to the wrong number of bytes (0 stands for bad digits).
    #[error("invalid {encoding} hash '{text}', length {found} != expected length {expected}")]
    Undecodable {
        /// Name of the encoding as the reference writes it.
        encoding: &'static str,
        /// The text without prefix.
        text: String,
        /// Number of decoded bytes.
        found: usize,
        /// Number of bytes that the algorithm has.
        expected: usize,
    },
    /// The text has no `-` and so is not in SRI form.
    #[error("hash '{text}' is not SRI")]
    NotSri {
        /// The whole text.
        text: String,
    },
}

impl Hash {
    /// Reads `algorithm:digits`, `algorithm-base64` or bare digits of `expected`.
    ///
    /// # Errors
    /// When neither side knows the algorithm, when both do and differ, or when the digits don't
    /// decode.
    pub fn parse(text: &str, expected: Option<Algorithm>) -> Result<Self, HashError> {
        Self::parse_returning_format(text, expected).map(|(hash, _)| hash)
    }

    /// Like [`Hash::parse`], and tells how the text was written.
    pub fn parse_returning_format(
        text: &str,
        expected: Option<Algorithm>,
    ) -> Result<(Self, HashFormat), HashError> {
        let (named, rest, is_sri) = split_algorithm(text)?;
        let algorithm = match (named, expected) {
            (None, None) => return Err(HashError::UnknownType { text: text.to_owned() }),
            (Some(named), Some(expected)) if named != expected => {
                return Err(HashError::WrongType { text: text.to_owned(), expected });
            }
            (Some(algorithm), _) | (None, Some(algorithm)) => algorithm,
        };
        if is_sri {
            return Ok((decode(rest, algorithm, HashFormat::Sri)?, HashFormat::Sri));
        }
        let format = format_of_length(rest, algorithm)?;
        Ok((decode(rest, algorithm, format)?, format))
    }

    /// Reads a hash that must name its algorithm, with `:` or `-`.
    pub fn parse_prefixed(text: &str) -> Result<Self, HashError> {
        match split_algorithm(text)? {
            (None, ..) => Err(HashError::MissingType { text: text.to_owned() }),
            (Some(_), ..) => Self::parse(text, None),
        }
    }

    /// Reads `algorithm-base64` and nothing else.
    pub fn parse_sri(text: &str) -> Result<Self, HashError> {
        let (algorithm, rest) = text
            .split_once('-')
            .ok_or_else(|| HashError::NotSri { text: text.to_owned() })?;
        decode(rest, algorithm.parse()?, HashFormat::Sri)
    }

    /// Reads digits without any prefix; the encoding follows from their number.
    pub fn parse_unprefixed(text: &str, algorithm: Algorithm) -> Result<Self, HashError> {
        decode(text, algorithm, format_of_length(text, algorithm)?)
    }

    /// Reads digits without any prefix in a given encoding (SRI means bare base-64 here).
    pub fn parse_explicit(
        text: &str,
        algorithm: Algorithm,
        format: HashFormat,
    ) -> Result<Self, HashError> {
        decode(text, algorithm, format)
    }
}

/// Splits off `algorithm:` or, when there is no colon, `algorithm-`.
fn split_algorithm(text: &str) -> Result<(Option<Algorithm>, &str, bool), HashError> {
    if let Some((name, rest)) = text.split_once(':') {
        return Ok((Some(name.parse()?), rest, false));
    }
    if let Some((name, rest)) = text.split_once('-') {
        return Ok((Some(name.parse()?), rest, true));
    }
    Ok((None, text, false))
}

fn format_of_length(text: &str, algorithm: Algorithm) -> Result<HashFormat, HashError> {
    let size = algorithm.size();
    let length = text.len();
    if length == 2 * size {
        Ok(HashFormat::Base16)
    } else if length == nix32::encoded_len(size) {
        Ok(HashFormat::Nix32)
    } else if length == size.div_ceil(3) * 4 {
        Ok(HashFormat::Base64)
    } else {
        Err(HashError::WrongLength { text: text.to_owned(), algorithm })
    }
}

fn decode(text: &str, algorithm: Algorithm, format: HashFormat) -> Result<Hash, HashError> {
    let (encoding, decoded) = match format {
        HashFormat::Base16 => {
            ("base16", data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok())
        }
        HashFormat::Nix32 => match nix32::decode(text.as_bytes()) {
            // The reference grows its buffer by the byte that holds the surplus bits.
            Err(nix32::Nix32Error::Overflow { length }) => {
                ("nix32", Some(vec![0; length * 5 / 8 + 1]))
            }
            other => ("nix32", other.ok()),
        },
        HashFormat::Base64 => ("Base64", decode_base64(text)),
        HashFormat::Sri => ("SRI", decode_base64(text)),
    };
    let bytes = decoded.unwrap_or_default();
    Hash::from_bytes(algorithm, &bytes).ok_or_else(|| HashError::Undecodable {
        encoding,
        text: text.to_owned(),
        found: bytes.len(),
        expected: algorithm.size(),
    })
}

/// Decodes base-64 as leniently as the reference: optional padding, line feeds skipped, everything
/// after the first `=` and surplus bits ignored. `None` for any other character.
pub(crate) fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    let (mut buffer, mut n_bits) = (0u32, 0);
    for byte in text.bytes() {
        let value = match byte {
            b'=' => break,
            b'\n' => continue,
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        buffer = (buffer << 6 | u32::from(value)) & 0xffff;
        n_bits += 6;
        if n_bits >= 8 {
            n_bits -= 8;
            bytes.push((buffer >> n_bits & 0xff) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb";

    /// All accepted by `builtins.convertHash` of Nix 2.34.8 with the same result.
    #[test]
    fn accepted_forms() {
        let expected = Hash::digest(Algorithm::Sha256, b"a");
        for text in [
            "sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb",
            "sha256:CA978112CA1BBDCAFAC231B39A23DC4DA786EFF8147C4E72B9807785AFEE48BB",
            "sha256:1fs8xspqaxw0p5r4wz0lz3pqd9sdvhirmcriqbxcmg8vr89835ya",
            "sha256:ypeBEsobvcr6wjGzmiPcTaeG7/gUfE5yuYB3ha/uSLs=",
            "sha256-ypeBEsobvcr6wjGzmiPcTaeG7/gUfE5yuYB3ha/uSLs=",
            "sha256-ypeBEsobvcr6wjGzmiPcTaeG7/gUfE5yuYB3ha/uSLs",
            "sha256-ypeBEsobvcr6wjGzmiPcTaeG7/gUfE5yuYB3ha/uSLs=junk",
        ] {
            assert_eq!(Hash::parse(text, None).as_ref(), Ok(&expected), "{text}");
            assert_eq!(Hash::parse(text, Some(Algorithm::Sha256)).as_ref(), Ok(&expected));
        }
        assert_eq!(Hash::parse(HEX, Some(Algorithm::Sha256)), Ok(expected));
    }

    #[test]
    fn all_formats_round_trip() {
        for algorithm in Algorithm::ALL {
            let hash = Hash::digest(algorithm, b"round trip");
            for format in [HashFormat::Base16, HashFormat::Nix32, HashFormat::Base64, HashFormat::Sri] {
                let text = hash.format(format, true);
                assert_eq!(Hash::parse_returning_format(&text, None), Ok((hash, format)));
            }
        }
    }

    /// Messages of `builtins.convertHash` in Nix 2.34.8.
    #[test]
    fn refused_forms() {
        let check = |text: &str, expected: Option<Algorithm>, message: &str| {
            assert_eq!(Hash::parse(text, expected).unwrap_err().to_string(), message);
        };
        let sha256 = Some(Algorithm::Sha256);
        let bad_hex = format!("zz{}", &HEX[2..]);
        check(&bad_hex, sha256, &format!("invalid base16 hash '{bad_hex}', length 0 != expected length 32"));
        let overflow = format!("z{}", "0".repeat(51));
        check(&overflow, sha256, &format!("invalid nix32 hash '{overflow}', length 33 != expected length 32"));
        check("sha256-abc", None, "invalid SRI hash 'abc', length 2 != expected length 32");
        check(
            "foo:abc",
            None,
            "unknown hash algorithm 'foo', expect 'blake3', 'md5', 'sha1', 'sha256', or 'sha512'",
        );
        check("abc", None, "hash 'abc' does not include a type, nor is the type otherwise known from context");
        check("abc", sha256, "hash 'abc' has wrong length for hash algorithm 'sha256'");
        check("sha1:abc", sha256, "hash 'sha1:abc' should have type 'sha256'");
        check("sha256-", None, "invalid SRI hash '', length 0 != expected length 32");
    }
}
