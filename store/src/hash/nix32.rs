//! Nix32: the base-32 of store paths.
//!
//! 32 digits and letters without `e`, `o`, `u`, `t`, so that no hash spells a word. The surprising
//! thing: the number is little-endian and written *backwards*, most significant group first. So
//! comparing two texts of equal length is comparing their bytes from last to first.
//!
//! Format source: manual of Nix 2.34, "Nix32 encoding".

/// The digits, in ascending order of value and of ASCII.
pub const ALPHABET: &[u8; 32] = b"0123456789abcdfghijklmnpqrsvwxyz";

const INVALID: u8 = 0xff;

const VALUES: [u8; 256] = {
    let mut values = [INVALID; 256];
    let mut idx = 0;
    while idx < 32 {
        values[ALPHABET[idx] as usize] = idx as u8;
        idx += 1;
    }
    values
};

/// Returns the number of digits for `n_bytes` bytes.
pub const fn encoded_len(n_bytes: usize) -> usize {
    if n_bytes == 0 { 0 } else { (n_bytes * 8 - 1) / 5 + 1 }
}

/// Tells whether `byte` is one of the 32 digits.
pub const fn is_digit(byte: u8) -> bool {
    VALUES[byte as usize] != INVALID
}

/// Returns the text of `bytes`.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(encoded_len(bytes.len()));
    encode_append(bytes, &mut text);
    text
}

/// Appends the text of `bytes` to `text`.
pub fn encode_append(bytes: &[u8], text: &mut String) {
    for position in (0..encoded_len(bytes.len())).rev() {
        text.push(char::from(digit_at(bytes, position)));
    }
}

/// Returns the 32 digits of a store path's hash part, whose bytes are given *last first*. In that
/// order Nix32 is plain big-endian base 32: five bytes are eight digits.
pub(crate) fn encode_reversed_20(reversed: &[u8; 20]) -> [u8; 32] {
    let mut digits = [0; 32];
    for (group, bytes) in digits.chunks_exact_mut(8).zip(reversed.chunks_exact(5)) {
        let bits = bytes.iter().fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
        for (idx, digit) in group.iter_mut().enumerate() {
            *digit = ALPHABET[(bits >> (35 - 5 * idx) & 0x1f) as usize];
        }
    }
    digits
}

/// The digit that holds bits `5 * position ..` of the little-endian number.
#[inline]
fn digit_at(bytes: &[u8], position: usize) -> u8 {
    let (idx, shift) = (position * 5 / 8, position * 5 % 8);
    let low = u16::from(bytes[idx]);
    let high = bytes.get(idx + 1).map_or(0, |byte| u16::from(*byte));
    let value = ((high << 8 | low) >> shift) & 0x1f;
    ALPHABET[usize::from(value)]
}

/// What is wrong with a Nix32 text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Nix32Error {
    /// A byte is not one of the 32 digits.
    #[error("invalid character in Nix32 (Nix's Base32 variation) string: '{}'", char::from(*found))]
    InvalidDigit {
        /// The offending byte.
        found: u8,
        /// Its place in the text, in bytes.
        position: usize,
    },
    /// No number of bytes has this many digits, or bits beyond the last byte are set.
    #[error("Nix32 text of {length} digits has bits beyond its last byte")]
    Overflow {
        /// Number of digits.
        length: usize,
    },
}

/// Returns the bytes that `text` stands for; bits that do not fit are an error.
pub fn decode(text: &[u8]) -> Result<Vec<u8>, Nix32Error> {
    let mut bytes = vec![0; text.len() * 5 / 8];
    decode_into(text, &mut bytes)?;
    Ok(bytes)
}

/// Returns the bytes, *last first*, of a store path's hash part; `None` if one is no digit.
pub(crate) fn decode_reversed_20(digits: &[u8; 32]) -> Option<[u8; 20]> {
    let mut reversed = [0; 20];
    let mut all = 0;
    for (bytes, group) in reversed.chunks_exact_mut(5).zip(digits.chunks_exact(8)) {
        let bits = group.iter().fold(0u64, |bits, digit| {
            let value = VALUES[usize::from(*digit)];
            all |= value;
            bits << 5 | u64::from(value & 0x1f)
        });
        bytes.copy_from_slice(&bits.to_be_bytes()[3..]);
    }
    (all < 32).then_some(reversed)
}

/// Decodes into `bytes`, which are zero and whose number the text must exactly need.
fn decode_into(text: &[u8], bytes: &mut [u8]) -> Result<(), Nix32Error> {
    let overflow = Nix32Error::Overflow { length: text.len() };
    if encoded_len(bytes.len()) != text.len() {
        return Err(overflow);
    }
    for (place, byte) in text.iter().rev().enumerate() {
        let value = VALUES[usize::from(*byte)];
        if value == INVALID {
            let position = text.len() - 1 - place;
            return Err(Nix32Error::InvalidDigit { found: *byte, position });
        }
        let (idx, shift) = (place * 5 / 8, place * 5 % 8);
        let bits = u16::from(value) << shift;
        bytes[idx] |= (bits & 0xff) as u8;
        let carry = (bits >> 8) as u8;
        match bytes.get_mut(idx + 1) {
            Some(next) => *next |= carry,
            None if carry != 0 => return Err(overflow),
            None => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_round_trips() {
        for length in 0..=64 {
            let bytes: Vec<u8> = (0..length).map(|idx| (idx * 37 + 11) as u8).collect();
            let text = encode(&bytes);
            assert_eq!(text.len(), encoded_len(length));
            assert_eq!(decode(text.as_bytes()).unwrap(), bytes);
        }
    }

    /// `nix hash convert --to nix32 sha1:a9993e364706816aba3e25717850c26c9cd0d89d`, Nix 2.34.8.
    #[test]
    fn reference_text() {
        let bytes = data_encoding::HEXLOWER
            .decode(b"a9993e364706816aba3e25717850c26c9cd0d89d")
            .unwrap();
        assert_eq!(encode(&bytes), "kpcd173cq987hw957sx6m0868wv3x6d9");
        let mut reversed: [u8; 20] = bytes.try_into().unwrap();
        reversed.reverse();
        assert_eq!(&encode_reversed_20(&reversed), b"kpcd173cq987hw957sx6m0868wv3x6d9");
        assert_eq!(decode_reversed_20(b"kpcd173cq987hw957sx6m0868wv3x6d9"), Some(reversed));
        assert_eq!(decode_reversed_20(b"kpcd173cq987hw957sx6m0868wv3x6de"), None);
    }

    #[test]
    fn hostile_text_is_refused() {
        let letter = b"0000000000000000000000000000000e";
        assert_eq!(decode(letter), Err(Nix32Error::InvalidDigit { found: b'e', position: 31 }));
        // 52 digits hold 260 bits, a 32-byte hash has 256.
        let mut digits = [b'0'; 52];
        digits[0] = b'z';
        assert_eq!(decode(&digits), Err(Nix32Error::Overflow { length: 52 }));
        assert_eq!(decode(b"0"), Err(Nix32Error::Overflow { length: 1 }));
    }
}
