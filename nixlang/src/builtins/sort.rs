//! Peeksort (Munro and Wild, "Nearly-Optimal Mergesorts", 2018): a stable merge sort that uses the runs that are there.
//!
//! The surprising part is that the algorithm matters: a comparison may fail, trace or contradict itself, so which pairs are compared, and in which
//! order, can be seen. The reference uses peeksort with insertion sort for up to 16 elements, so this is it. Whatever the comparison says, the
//! result is a permutation.

/// Ranges of up to this many elements are sorted by insertion.
const FEW: usize = 16;

/// Sorts `items`; `less` says whether its first argument comes before the second.
pub(super) fn peek_sort<T: Copy, E>(items: &mut [T], less: &mut impl FnMut(T, T) -> Result<bool, E>) -> Result<(), E> {
    match items.len() {
        0 | 1 => Ok(()),
        2 => {
            if less(items[1], items[0])? {
                items.swap(0, 1);
            }
            Ok(())
        }
        n => {
            let mut sorter = Sorter { buffer: Vec::with_capacity(n), items, less };
            sorter.sort(0, n, 0, n)
        }
    }
}

struct Sorter<'s, T, F> {
    items: &'s mut [T],
    buffer: Vec<T>,
    less: &'s mut F,
}

impl<T: Copy, E, F: FnMut(T, T) -> Result<bool, E>> Sorter<'_, T, F> {
    fn less(&mut self, a: usize, b: usize) -> Result<bool, E> {
        (self.less)(self.items[a], self.items[b])
    }

    /// Sorts `start..end`, of which `start..left_end` and `right_start..end` are sorted already.
    fn sort(&mut self, start: usize, end: usize, left_end: usize, right_start: usize) -> Result<(), E> {
        if left_end == end || right_start == start {
            return Ok(());
        }
        if end - start <= FEW {
            return self.insert(start, end);
        }
        let middle = start + (end - start) / 2;
        if middle <= left_end {
            self.sort(left_end, end, left_end + 1, right_start)?;
            return self.merge(start, left_end, end);
        }
        if middle >= right_start {
            self.sort(start, right_start, left_end, right_start - 1)?;
            return self.merge(start, right_start, end);
        }
        // The run that the middle lies in.
        let falls = self.less(middle, middle - 1)?;
        let (mut run_start, mut run_end) = (middle - 1, middle);
        while run_start > left_end && self.less(run_start, run_start - 1)? == falls {
            run_start -= 1;
        }
        while run_end < right_start && self.less(run_end, run_end - 1)? == falls {
            run_end += 1;
        }
        if falls {
            self.items[run_start..run_end].reverse();
        }
        if run_start == start && run_end == end {
            return Ok(());
        }
        if middle - run_start < run_end - middle {
            self.sort(start, run_start, left_end, run_start.saturating_sub(1))?;
            self.sort(run_start, end, run_end, right_start)?;
            self.merge(start, run_start, end)
        } else {
            self.sort(start, run_end, left_end, run_start)?;
            self.sort(run_end, end, run_end + 1, right_start)?;
            self.merge(start, run_end, end)
        }
    }

    fn insert(&mut self, start: usize, end: usize) -> Result<(), E> {
        for next in start + 1..end {
            let mut at = next;
            while at > start && self.less(at, at - 1)? {
                self.items.swap(at, at - 1);
                at -= 1;
            }
        }
        Ok(())
    }

    /// Merges `start..middle` and `middle..end`.
    fn merge(&mut self, start: usize, middle: usize, end: usize) -> Result<(), E> {
        self.buffer.clear();
        self.buffer.extend_from_slice(&self.items[start..end]);
        let n_left = middle - start;
        let (mut left, mut right, mut to) = (0, n_left, start);
        while left < n_left && right < self.buffer.len() {
            let from = if (self.less)(self.buffer[right], self.buffer[left])? { &mut right } else { &mut left };
            self.items[to] = self.buffer[*from];
            *from += 1;
            to += 1;
        }
        let rest = if left < n_left { &self.buffer[left..n_left] } else { &self.buffer[right..] };
        self.items[to..to + rest.len()].copy_from_slice(rest);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A generator of numbers that look random, and are the same every time.
    fn numbers(n: usize, below: u64) -> Vec<u64> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ n as u64;
        let next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        std::iter::repeat_with(next).take(n).collect()
    }

    #[test]
    fn sorts_and_is_stable() {
        for n in (0..100).chain([1000, 5000]) {
            for below in [1, 2, 10, 1 << 30] {
                let mut items: Vec<(u64, usize)> = numbers(n, below).into_iter().enumerate().map(|(i, x)| (x, i)).collect();
                if n % 3 == 0 {
                    // With runs in it.
                    items[n / 4..n / 2].sort();
                    items[n / 2..].sort_by(|a, b| b.cmp(a));
                }
                let mut expected = items.clone();
                expected.sort_by_key(|it| it.0);
                peek_sort(&mut items, &mut |a: (u64, usize), b: (u64, usize)| Ok::<_, ()>(a.0 < b.0)).expect("no comparison fails");
                assert_eq!(items, expected, "{n} below {below}");
            }
        }
    }

    #[test]
    fn a_comparison_that_contradicts_itself_loses_nothing() {
        for n in [3, 17, 100, 1000] {
            for answer in [true, false] {
                let mut items: Vec<usize> = (0..n).collect();
                peek_sort(&mut items, &mut |_, _| Ok::<_, ()>(answer)).expect("no comparison fails");
                items.sort();
                assert_eq!(items, (0..n).collect::<Vec<_>>());
            }
            let mut coin = numbers(100_000, 2).into_iter();
            let mut items: Vec<usize> = (0..n).collect();
            peek_sort(&mut items, &mut |_, _| coin.next().map(|x| x == 0).ok_or(())).expect("there are enough");
            items.sort();
            assert_eq!(items, (0..n).collect::<Vec<_>>());
        }
    }

    #[test]
    fn an_error_ends_it() {
        let mut items: Vec<usize> = (0..100).rev().collect();
        assert_eq!(peek_sort(&mut items, &mut |_, _| Err::<bool, _>("no")), Err("no"));
    }
}
