// Expressions that never end, or want all memory, and an engine that works afterwards.
// Run: c++ -std=c++17 budget_and_cancel.cc $(pkg-config --cflags --libs nixlang) -lpthread && ./a.out
#include "common.hpp"
#include <thread>

static const char *forever = "let many = builtins.genList (n: n) 3000; each = f: all: builtins.foldl' f all many;"
                             " in each (a: x: each (b: y: each (c: z: c + 1) b) a) 0";

static void show(const nixlang::engine &engine, const char *text, const nixlang::budget &limits) {
    try {
        engine.evaluate(text, limits);
        std::cout << "not stopped\n";
    } catch (const nixlang::error &failed) {
        switch (failed.code()) {
        case NIXLANG_STEP_LIMIT: std::cout << "stopped: step limit\n"; break;
        case NIXLANG_HEAP_LIMIT: std::cout << "stopped: memory limit\n"; break;
        case NIXLANG_TIME_LIMIT: std::cout << "stopped: time limit\n"; break;
        case NIXLANG_CANCELLED: std::cout << "stopped: cancelled\n"; break;
        default: throw;
        }
    }
}

int main() {
    return shown([] {
        nixlang::engine engine;
        nixlang::budget steps, memory, time, cancelled;
        steps.steps = 100000;
        show(engine, forever, steps);
        memory.heap_bytes = 64 << 20;
        show(engine, "builtins.foldl' (all: n: all ++ [ n ]) [] (builtins.genList (n: n) 1000000)", memory);
        time.time_ms = 50;
        show(engine, forever, time);
        cancelled.cancel = nixlang::cancel_token();
        std::thread other([token = *cancelled.cancel] { token.fire(); });
        show(engine, forever, cancelled);
        other.join();
        std::cout << "still works: " << engine.evaluate("1 + 1").as_int() << "\n";
    });
}
