/* nixlang/syntax.h: lossless syntax trees. A node is a value of two words; walking allocates nothing. */
#ifndef NIXLANG_NIXLANG_SYNTAX_H
#define NIXLANG_NIXLANG_SYNTAX_H

#include "base.h"
#include "error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct nixlang_tree nixlang_tree;

/* A node or a token of a tree. Valid as long as the tree. */
typedef struct nixlang_node {
    const nixlang_tree *tree;
    uint32_t index;
} nixlang_node;

/* Parses any UTF-8 text. Broken text gives a tree as well, and errors in it. */
nixlang_error *nixlang_parse(nixlang_string text, nixlang_tree **result);
void nixlang_tree_free(nixlang_tree *tree);

/* What is wrong with the text, and where in bytes. Returns false past the end. */
typedef struct nixlang_syntax_error {
    nixlang_string message;
    uint32_t start;
    uint32_t end;
} nixlang_syntax_error;
bool nixlang_tree_error(const nixlang_tree *tree, size_t index, nixlang_syntax_error *result);

/* Returns the node of the whole text; the null node for NULL. */
nixlang_node nixlang_tree_root(const nixlang_tree *tree);
/* Returns the innermost token that covers an offset. */
nixlang_node nixlang_node_at(const nixlang_tree *tree, uint32_t offset);
/* Whether there is no such node, as after the last sibling. */
bool nixlang_node_is_null(nixlang_node node);
/* A stable word. Without a NUL behind it; static. */
nixlang_string nixlang_node_kind(nixlang_node node);
bool nixlang_node_is_token(nixlang_node node);
/* The bytes of the source. Without a NUL behind it. */
nixlang_string nixlang_node_text(nixlang_node node);
uint32_t nixlang_node_start(nixlang_node node);
uint32_t nixlang_node_end(nixlang_node node);
nixlang_node nixlang_node_parent(nixlang_node node);
nixlang_node nixlang_node_first_child(nixlang_node node);
nixlang_node nixlang_node_next_sibling(nixlang_node node);

#ifdef __cplusplus
}
#endif

#endif
