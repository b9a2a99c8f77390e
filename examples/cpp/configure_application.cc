// An application that its users configure in Nix: with a function of the application, and with limits, since users make mistakes.
// Run: c++ -std=c++17 configure_application.cc $(pkg-config --cflags --libs nixlang) && ./a.out
#include "common.hpp"

int main() {
    return shown([] {
        nixlang::config config;
        nixlang::engine engine(config.set("pure-eval", "true"));
        engine.add_builtin("cpus", engine.integer(4));
        nixlang::budget limits;
        limits.heap_bytes = 64 << 20;
        limits.time_ms = 1000;
        nixlang::value settings = engine.evaluate("{ port = 8000 + 80; workers = cpus * 2; greeting = \"hello, ${builtins.toString cpus} processors\"; }", limits);
        std::cout << "port " << settings.select("port", limits).as_int() << ", " << settings.select("workers", limits).as_int()
                  << " workers: " << settings.select("greeting", limits).as_string() << "\n";
    });
}
