//! Inputs from inputs, for where no coverage is measured: random changes of a corpus, with pieces of other inputs and words of the format.

/// Random numbers that are the same for the same seed (xorshift; nothing here is secret).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Starts from a seed.
    pub fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Returns a number.
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Returns a number below `n`, which is not 0.
    pub fn below(&mut self, n: usize) -> usize {
        (self.number() % n as u64) as usize
    }
}

/// Makes inputs from a corpus.
pub struct Mutator<'c> {
    corpus: &'c [Vec<u8>],
    /// Words of the corpus, which are put into other inputs.
    words: Vec<&'c [u8]>,
    random: Random,
}

/// Inputs don't grow beyond this.
const MAX_LENGTH: usize = 4096;

impl<'c> Mutator<'c> {
    /// Starts from a corpus that is not empty.
    pub fn new(corpus: &'c [Vec<u8>], seed: u64) -> Self {
        let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'\'');
        let mut words: Vec<&[u8]> = corpus.iter().flat_map(|input| input.chunk_by(move |a, b| is_word(a) == is_word(b))).filter(|word| word.len() < 24).collect();
        words.sort_unstable();
        words.dedup();
        Mutator { corpus, words, random: Random::new(seed) }
    }

    /// Returns the next input.
    pub fn next_input(&mut self) -> Vec<u8> {
        let mut input = self.corpus[self.random.below(self.corpus.len())].clone();
        if input.len() > MAX_LENGTH {
            let start = self.random.below(input.len() - MAX_LENGTH);
            input = input[start..start + MAX_LENGTH].to_vec();
        }
        for _ in 0..1 + self.random.below(6) {
            self.change(&mut input);
        }
        input.truncate(MAX_LENGTH);
        input
    }

    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.random.below(length + 1);
        let most = (length - start).min(1 + self.random.below(32));
        start..start + most
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let at = self.random.below(input.len() + 1);
        match self.random.below(8) {
            0 if !input.is_empty() => {
                let at = at.min(input.len() - 1);
                input[at] ^= 1 << self.random.below(8);
            }
            1 => input.insert(at, self.random.number() as u8),
            2 => drop(input.drain(self.range(input.len()))),
            3 => {
                let copied = input[self.range(input.len())].to_vec();
                input.splice(at..at, copied);
            }
            4 => {
                let other = &self.corpus[self.random.below(self.corpus.len())];
                let piece = &other[self.range(other.len())];
                input.splice(at..at, piece.iter().copied());
            }
            5 if at + 8 <= input.len() => {
                let number = [0, 1, 7, 8, 255, 1 << 16, u64::from(u32::MAX), u64::MAX, 1 << 63][self.random.below(9)];
                input[at..at + 8].copy_from_slice(&number.to_le_bytes());
            }
            6 => input.truncate(at),
            _ if !self.words.is_empty() => {
                let word = self.words[self.random.below(self.words.len())];
                let replaced = self.random.below(2) * self.range(input.len() - at).len();
                input.splice(at..at + replaced, word.iter().copied());
            }
            _ => {}
        }
    }
}
