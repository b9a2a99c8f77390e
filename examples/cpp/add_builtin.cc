// A lambda, called from Nix. Its captures are destroyed with the engine.
// Run: c++ -std=c++17 add_builtin.cc $(pkg-config --cflags --libs nixlang) && ./a.out
#include "common.hpp"
#include <cctype>

struct counter {
    int n_calls = 0;
    ~counter() { std::cout << "called " << n_calls << " times\n"; }
};

int main() {
    return shown([] {
        nixlang::engine engine;
        // The engine owns the lambda, so the lambda must not own the engine.
        nixlang::engine *host = &engine;
        engine.add_builtin<1>("shout", [host, counter = std::make_shared<counter>()](const nixlang::value &text) {
            std::string loud(text.as_string());
            for (char &letter : loud) letter = static_cast<char>(std::toupper(static_cast<unsigned char>(letter)));
            counter->n_calls++;
            return host->string(loud);
        });
        std::cout << engine.evaluate("builtins.concatStringsSep \" \" (map shout [ \"hello\" \"from\" \"the\" \"host\" ])").as_string() << "\n";
    });
}
