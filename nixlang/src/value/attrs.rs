//! Operations on attribute sets that force nothing.

use crate::eval::statistics::count;
use crate::heap::{Attrs, Heap};

/// Sets up to this size are merged into a flat set; above, a small right operand becomes a layer.
const LAYER_ABOVE: usize = 48;
/// How much bigger than the right operand the left one must be to become a lower layer.
const LAYER_RATIO: usize = 4;
/// How many layers there may be; lookups look into each.
const MAX_LAYERS: u32 = 8;

/// Returns `left // right`.
pub fn update<'h>(heap: &'h Heap, left: Attrs<'h>, right: Attrs<'h>) -> Attrs<'h> {
    let (n_left, n_right) = (left.len_bound(), right.len_bound());
    count(&heap.counters().updates, 1);
    if n_right == 0 {
        return left;
    }
    if n_left == 0 {
        return right;
    }
    if n_left > LAYER_ABOVE && n_left >= n_right * LAYER_RATIO && left.depth() < MAX_LAYERS && right.depth() == 0 {
        return heap.layered(left, right);
    }
    let (left, right) = (left.flat(heap), right.flat(heap));
    count(&heap.counters().update_values, left.slots.len() + right.slots.len());
    if let Some(transition) = heap.transition(left.shape, right.shape) {
        let values = transition.plan.iter().map(|step| if step & 1 == 0 { left.slots[(step / 2) as usize].get() } else { right.slots[(step / 2) as usize].get() });
        return heap.attrs(transition.shape, values);
    }
    let mut merged = Vec::with_capacity(left.slots.len() + right.slots.len());
    let (ls, rs) = (left.shape.symbols(), right.shape.symbols());
    let (mut l, mut r) = (0, 0);
    while l < ls.len() && r < rs.len() {
        if ls[l] < rs[r] {
            merged.push((ls[l], left.shape.position(l), left.slots[l].get()));
            l += 1;
        } else {
            l += (ls[l] == rs[r]) as usize;
            merged.push((rs[r], right.shape.position(r), right.slots[r].get()));
            r += 1;
        }
    }
    merged.extend((l..ls.len()).map(|l| (ls[l], left.shape.position(l), left.slots[l].get())));
    merged.extend((r..rs.len()).map(|r| (rs[r], right.shape.position(r), right.slots[r].get())));
    heap.attrs_from_entries(merged.into_iter())
}
