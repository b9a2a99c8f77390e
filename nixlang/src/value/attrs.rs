//! Operations on attribute sets that force nothing.

use crate::eval::statistics::count;
use crate::heap::{Attrs, Heap};

/// Sets up to this size are merged into a flat set; above, operands of very different size become layers.
const LAYER_ABOVE: usize = 48;
/// How much bigger than the other one an operand must be for that.
const LAYER_RATIO: usize = 4;
/// Operands that are both this big become layers whatever their sizes are.
const LAYER_FROM: usize = 1024;
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
    let (fewer, more) = (n_left.min(n_right), n_left.max(n_right));
    if more > LAYER_ABOVE && (more >= fewer * LAYER_RATIO || fewer >= LAYER_FROM) && left.depth() + right.depth() < MAX_LAYERS {
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
