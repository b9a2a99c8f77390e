/* A tree that has every byte of the source, comments and mistakes too.
 * Run: cc walk_syntax_tree.c $(pkg-config --cflags --libs nixlang) && ./a.out */
#include "common.h"

static void walk(nixlang_node node, size_t *n_tokens, size_t *n_bytes) {
    for (; !nixlang_node_is_null(node); node = nixlang_node_next_sibling(node)) {
        if (nixlang_node_is_token(node)) {
            nixlang_string text = nixlang_node_text(node);
            (*n_tokens)++;
            *n_bytes += text.length;
            if (text.length && text.data[0] == '#') printf("comment: %.*s\n", (int)text.length, text.data);
        }
        walk(nixlang_node_first_child(node), n_tokens, n_bytes);
    }
}

int main(void) {
    nixlang_tree *tree = NULL;
    size_t n_tokens = 0, n_bytes = 0;
    must(nixlang_parse(nixlang_text("{ # who\n  name = \"x\"\n  size = 1;\n}\n"), &tree));
    walk(nixlang_tree_root(tree), &n_tokens, &n_bytes);
    printf("%zu tokens, %zu bytes\n", n_tokens, n_bytes);
    nixlang_syntax_error error;
    for (size_t i = 0; nixlang_tree_error(tree, i, &error); i++) printf("%u: %s\n", error.start, error.message.data);
    nixlang_tree_free(tree);
    return 0;
}
