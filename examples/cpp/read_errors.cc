// An error is data, thrown; and an exception of the host goes through an evaluation unchanged.
// Run: c++ -std=c++17 read_errors.cc $(pkg-config --cflags --libs nixlang) && ./a.out
#include "common.hpp"

struct out_of_tea : std::runtime_error {
    using std::runtime_error::runtime_error;
};

int main() {
    return shown([] {
        nixlang::engine engine;
        try {
            engine.evaluate("let paint = set: set.color; in builtins.seq 1 (paint { colour = \"red\"; })");
        } catch (const nixlang::error &failed) {
            std::cout << "code " << failed.code() << ": " << failed.what() << "\n";
            std::cout << "at " << failed.place().file << ":" << failed.place().line << ":" << failed.place().column << "\n";
            std::cout << "meant: " << failed.suggestions().at(0) << "\n";
            for (const nixlang::frame &frame : failed.trace()) std::cout << frame.message << "\n";
        }
        engine.add_builtin<1>("tea", [](const nixlang::value &) -> nixlang::value { throw out_of_tea("no tea"); });
        try {
            engine.evaluate("{ cup = tea null; }.cup");
        } catch (const out_of_tea &failed) {
            std::cout << "the host's own: " << failed.what() << "\n";
        }
    });
}
