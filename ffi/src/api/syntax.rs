//! `nixlang/syntax.h`: the lossless tree as a table of nodes, so that a node is a number and walking costs a load.
#![expect(unsafe_code, reason = "exported symbols that take pointers")]

use nixlang::syntax::kind::SyntaxKind;
use nixlang::syntax::tree::{ParseOptions, SyntaxElement, WalkEvent, parse_bytes};

use super::base::{CText, ErrorPointer, Str, free, plain, put, run};
use super::error::{Code, Failure};
use crate::pool::{self, Slot};

/// No node.
const NONE: u32 = u32::MAX;

/// `nixlang_tree`
pub struct TreeHandle {
    text: Box<[u8]>,
    nodes: Vec<Node>,
    errors: Vec<(CText, u32, u32)>,
}

struct Node {
    kind: SyntaxKind,
    start: u32,
    end: u32,
    parent: u32,
    first_child: u32,
    next: u32,
}

crate::pool::pooled!(TreeHandle);
free!(nixlang_tree_free: TreeHandle);

/// Lays a tree out in the order in which its elements begin.
fn lay_out(text: &[u8]) -> Result<TreeHandle, Failure> {
    let parse = parse_bytes(text, ParseOptions::default()).map_err(|error| Failure::new(Code::Syntax, error.to_string()))?;
    let mut nodes: Vec<Node> = Vec::new();
    // The open elements with their last child.
    let mut open: Vec<(u32, u32)> = Vec::new();
    for event in parse.root().preorder() {
        match event {
            WalkEvent::Enter(element) => {
                let index = nodes.len() as u32;
                let range = element.text_range();
                let parent = match open.last_mut() {
                    Some((parent, last)) => {
                        let place = if *last == NONE { &mut nodes[*parent as usize].first_child } else { &mut nodes[*last as usize].next };
                        *place = index;
                        *last = index;
                        *parent
                    }
                    None => NONE,
                };
                nodes.push(Node { kind: element.kind(), start: range.start, end: range.end, parent, first_child: NONE, next: NONE });
                if matches!(element, SyntaxElement::Node(_)) {
                    open.push((index, NONE));
                }
            }
            WalkEvent::Leave(SyntaxElement::Node(_)) => drop(open.pop()),
            WalkEvent::Leave(SyntaxElement::Token(_)) => {}
        }
    }
    let errors = parse.explain().into_iter().map(|it| (CText::new(it.message), it.range.start, it.range.end)).collect();
    Ok(TreeHandle { text: text.into(), nodes, errors })
}

/// `nixlang_node`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CNode {
    tree: *const Slot<TreeHandle>,
    index: u32,
}

/// # Safety
/// NULL or a handle of trees in the node.
unsafe fn at<R>(node: CNode, look: impl FnOnce(&TreeHandle, &Node) -> R) -> Option<R> {
    // SAFETY: the contract.
    let tree = unsafe { pool::look(node.tree) }?;
    Some(look(tree, tree.nodes.get(node.index as usize)?))
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_parse(text: Str, result: *mut *mut Slot<TreeHandle>) -> ErrorPointer {
    // SAFETY: the header's contract.
    run(|| unsafe { put(result, pool::give(lay_out(text.bytes())?)) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_tree_root(tree: *const Slot<TreeHandle>) -> CNode {
    CNode { tree, index: 0 }
}

/// `nixlang_syntax_error`
#[repr(C)]
pub struct CSyntaxError {
    message: Str,
    start: u32,
    end: u32,
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_tree_error(tree: *const Slot<TreeHandle>, index: usize, result: *mut CSyntaxError) -> bool {
    plain(false, || {
        // SAFETY: the header's contract.
        let (tree, result) = unsafe { (pool::look(tree)?, result.as_mut()?) };
        let (message, start, end) = tree.errors.get(index)?;
        *result = CSyntaxError { message: message.lend(), start: *start, end: *end };
        Some(true)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_node_kind(node: CNode) -> Str {
    // SAFETY: the header's contract.
    unsafe { at(node, |_, node| Str::plain(node.kind.name().as_bytes())) }.unwrap_or(Str::EMPTY)
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_node_is_token(node: CNode) -> bool {
    // SAFETY: the header's contract.
    unsafe { at(node, |_, node| node.kind.is_token()) }.unwrap_or(false)
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_node_text(node: CNode) -> Str {
    // SAFETY: the header's contract.
    unsafe { at(node, |tree, node| Str::plain(&tree.text[node.start as usize..node.end as usize])) }.unwrap_or(Str::EMPTY)
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_node_start(node: CNode) -> u32 {
    // SAFETY: the header's contract.
    unsafe { at(node, |_, node| node.start) }.unwrap_or(0)
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_node_end(node: CNode) -> u32 {
    // SAFETY: the header's contract.
    unsafe { at(node, |_, node| node.end) }.unwrap_or(0)
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_node_is_null(node: CNode) -> bool {
    // SAFETY: the header's contract.
    unsafe { at(node, |_, _| ()) }.is_none()
}

/// # Safety
/// The header's contract.
unsafe fn step(node: CNode, to: impl FnOnce(&Node) -> u32) -> CNode {
    // SAFETY: the header's contract.
    CNode { index: unsafe { at(node, |_, node| to(node)) }.unwrap_or(NONE), ..node }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_node_parent(node: CNode) -> CNode {
    // SAFETY: the header's contract.
    unsafe { step(node, |node| node.parent) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_node_first_child(node: CNode) -> CNode {
    // SAFETY: the header's contract.
    unsafe { step(node, |node| node.first_child) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_node_next_sibling(node: CNode) -> CNode {
    // SAFETY: the header's contract.
    unsafe { step(node, |node| node.next) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_node_at(tree: *const Slot<TreeHandle>, offset: u32) -> CNode {
    let index = plain(NONE, || {
        // SAFETY: the header's contract.
        let nodes = &unsafe { pool::look(tree) }?.nodes;
        // Elements are in the order in which they begin; the last that begins there or before, and reaches further, is the innermost.
        let after = nodes.partition_point(|node| node.start <= offset);
        let mut index = after.checked_sub(1)?;
        while nodes[index].end <= offset {
            index = nodes.get(nodes[index].parent as usize).map(|_| nodes[index].parent as usize)?;
        }
        u32::try_from(index).ok()
    });
    CNode { tree, index }
}
