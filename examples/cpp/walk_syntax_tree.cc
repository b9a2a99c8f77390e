// A tree that has every byte of the source, comments and mistakes too.
// Run: c++ -std=c++17 walk_syntax_tree.cc $(pkg-config --cflags --libs nixlang) && ./a.out
#include "common.hpp"

int main() {
    return shown([] {
        nixlang::tree tree("{ # who\n  name = \"x\"\n  size = 1;\n}\n");
        std::size_t n_tokens = 0, n_bytes = 0;
        tree.walk([&](nixlang_node node, int) {
            if (!nixlang_node_is_token(node)) return;
            std::string_view text = nixlang::from_c(nixlang_node_text(node));
            n_tokens++;
            n_bytes += text.size();
            if (!text.empty() && text[0] == '#') std::cout << "comment: " << text << "\n";
        });
        std::cout << n_tokens << " tokens, " << n_bytes << " bytes\n";
        for (const nixlang::syntax_error &error : tree.errors()) std::cout << error.start << ": " << error.message << "\n";
    });
}
