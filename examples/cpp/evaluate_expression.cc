// A string in, JSON out.
// Run: c++ -std=c++17 evaluate_expression.cc $(pkg-config --cflags --libs nixlang) && ./a.out
#include "common.hpp"

int main() {
    return shown([] { std::cout << nixlang::engine().evaluate("{ answer = 6 * 7; }").to_json() << "\n"; });
}
