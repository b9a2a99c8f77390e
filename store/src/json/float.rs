//! Digits of a float, as the reference's JSON library finds them.
//!
//! The library uses Grisu2 (Florian Loitsch, "Printing Floating-Point Numbers Quickly and Accurately
//! with Integers", 2010). The surprising thing: for about one number in two hundred Grisu2 does not
//! find the shortest digits (`25.311915334208692` where `25.31191533420869` would do), and because
//! JSON of structured attributes is hashed, the same digits must come out here. That depends on the
//! algorithm's precision, so powers of ten are the 64-bit ones in steps of 8 that it uses.

/// A number `f * 2^e`.
#[derive(Clone, Copy)]
struct Binary {
    f: u64,
    e: i32,
}

impl Binary {
    /// Moves the highest bit of `f` to the top.
    fn normalized(self) -> Self {
        let shift = self.f.leading_zeros();
        Self { f: self.f << shift, e: self.e - shift.cast_signed() }
    }

    /// The upper half of the product, rounded.
    fn times(self, other: Self) -> Self {
        let product = u128::from(self.f) * u128::from(other.f) + (1 << 63);
        Self { f: (product >> 64) as u64, e: self.e + other.e + 64 }
    }
}

/// Returns digits and the exponent `n` for which the float is `0.digits * 10^n`.
///
/// The float must be finite and above zero.
pub(super) fn digits(float: f64) -> (Vec<u8>, i32) {
    debug_assert!(float.is_finite() && float > 0.0, "digits of a positive number");
    let bits = float.to_bits();
    let (exponent, fraction) = ((bits >> 52 & 0x7ff) as i32, bits & ((1 << 52) - 1));
    let value = match exponent {
        0 => Binary { f: fraction, e: -1074 },
        _ => Binary { f: fraction | 1 << 52, e: exponent - 1075 },
    };
    // Halfway to the neighbours; the one below a power of two is nearer.
    let upper = Binary { f: 2 * value.f + 1, e: value.e - 1 }.normalized();
    let lower = if fraction == 0 && exponent > 1 {
        Binary { f: 4 * value.f - 1, e: value.e - 2 }
    } else {
        Binary { f: 2 * value.f - 1, e: value.e - 1 }
    };
    let lower = Binary { f: lower.f << (lower.e - upper.e), e: upper.e };

    let (power, power_exponent) = cached_power(upper.e);
    let value = value.normalized().times(power);
    // One unit inwards on both sides makes up for the rounding.
    let lower = lower.times(power).f + 1;
    let upper = upper.times(power);
    let (digits, exponent) = generate(lower, value.f, Binary { f: upper.f - 1, e: upper.e });
    let n_digits = i32::try_from(digits.len()).expect("there are at most 18 digits");
    (digits, n_digits + exponent - power_exponent)
}

/// Returns the power of ten that brings a number with binary exponent `e` into range, and its
/// decimal exponent.
fn cached_power(e: i32) -> (Binary, i32) {
    let f = -60 - e - 1;
    let k = f * 78913 / (1 << 18) + i32::from(f > 0);
    let idx = (300 + k + 7) / 8;
    let k = -300 + idx * 8;
    let f = POWERS[usize::try_from(idx).expect("the table covers all exponents of floats")];
    // The binary exponent of 10^k: floor(k * log2(10)) - 63.
    (Binary { f, e: ((k * 1_741_647) >> 19) - 63 }, k)
}

/// Makes digits of `upper` until they lie between `lower` and `upper`, then moves the last one
/// towards `value`. All three have the exponent of `upper`.
fn generate(lower: u64, value: u64, upper: Binary) -> (Vec<u8>, i32) {
    let mut delta = upper.f - lower;
    let mut distance = upper.f - value;
    let shift = -upper.e;
    let one = 1u64 << shift;
    let mut whole = upper.f >> shift;
    let mut fraction = upper.f & (one - 1);
    let mut digits = Vec::with_capacity(18);

    let mut n_left = whole.ilog10().cast_signed() + 1;
    let mut unit = 10u64.pow(whole.ilog10());
    while n_left > 0 {
        digits.push(b'0' + (whole / unit) as u8);
        whole %= unit;
        n_left -= 1;
        let rest = (whole << shift) + fraction;
        if rest <= delta {
            round(&mut digits, distance, delta, rest, unit << shift);
            return (digits, n_left);
        }
        unit /= 10;
    }
    let mut n_decimals = 0;
    loop {
        fraction *= 10;
        digits.push(b'0' + (fraction >> shift) as u8);
        fraction &= one - 1;
        n_decimals += 1;
        delta *= 10;
        distance *= 10;
        if fraction <= delta {
            round(&mut digits, distance, delta, fraction, one);
            return (digits, -n_decimals);
        }
    }
}

fn round(digits: &mut [u8], distance: u64, delta: u64, mut rest: u64, unit: u64) {
    let last = digits.last_mut().expect("a digit has been made");
    while rest < distance
        && delta - rest >= unit
        && (rest + unit < distance || distance - rest > rest + unit - distance)
    {
        *last -= 1;
        rest += unit;
    }
}

/// `10^(-300 + 8 * idx)`, rounded to 64 bits, the highest of them set.
const POWERS: [u64; 79] = [
    0xab70fe17c79ac6ca, 0xff77b1fcbebcdc4f, 0xbe5691ef416bd60c, 0x8dd01fad907ffc3c,
    0xd3515c2831559a83, 0x9d71ac8fada6c9b5, 0xea9c227723ee8bcb, 0xaecc49914078536d,
    0x823c12795db6ce57, 0xc21094364dfb5637, 0x9096ea6f3848984f, 0xd77485cb25823ac7,
    0xa086cfcd97bf97f4, 0xef340a98172aace5, 0xb23867fb2a35b28e, 0x84c8d4dfd2c63f3b,
    0xc5dd44271ad3cdba, 0x936b9fcebb25c996, 0xdbac6c247d62a584, 0xa3ab66580d5fdaf6,
    0xf3e2f893dec3f126, 0xb5b5ada8aaff80b8, 0x87625f056c7c4a8b, 0xc9bcff6034c13053,
    0x964e858c91ba2655, 0xdff9772470297ebd, 0xa6dfbd9fb8e5b88f, 0xf8a95fcf88747d94,
    0xb94470938fa89bcf, 0x8a08f0f8bf0f156b, 0xcdb02555653131b6, 0x993fe2c6d07b7fac,
    0xe45c10c42a2b3b06, 0xaa242499697392d3, 0xfd87b5f28300ca0e, 0xbce5086492111aeb,
    0x8cbccc096f5088cc, 0xd1b71758e219652c, 0x9c40000000000000, 0xe8d4a51000000000,
    0xad78ebc5ac620000, 0x813f3978f8940984, 0xc097ce7bc90715b3, 0x8f7e32ce7bea5c70,
    0xd5d238a4abe98068, 0x9f4f2726179a2245, 0xed63a231d4c4fb27, 0xb0de65388cc8ada8,
    0x83c7088e1aab65db, 0xc45d1df942711d9a, 0x924d692ca61be758, 0xda01ee641a708dea,
    0xa26da3999aef774a, 0xf209787bb47d6b85, 0xb454e4a179dd1877, 0x865b86925b9bc5c2,
    0xc83553c5c8965d3d, 0x952ab45cfa97a0b3, 0xde469fbd99a05fe3, 0xa59bc234db398c25,
    0xf6c69a72a3989f5c, 0xb7dcbf5354e9bece, 0x88fcf317f22241e2, 0xcc20ce9bd35c78a5,
    0x98165af37b2153df, 0xe2a0b5dc971f303a, 0xa8d9d1535ce3b396, 0xfb9b7cd9a4a7443c,
    0xbb764c4ca7a44410, 0x8bab8eefb6409c1a, 0xd01fef10a657842c, 0x9b10a4e5e9913129,
    0xe7109bfba19c0c9d, 0xac2820d9623bf429, 0x80444b5e7aa7cf85, 0xbf21e44003acdd2d,
    0x8e679c2f5e44ff8f, 0xd433179d9c8cb841, 0x9e19db92b4e31ba9,
];
