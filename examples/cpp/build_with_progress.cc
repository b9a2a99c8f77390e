// Evaluates a derivation into a store of its own, builds it, and shows what happens meanwhile, from an event loop.
// Run: c++ -std=c++17 build_with_progress.cc $(pkg-config --cflags --libs nixlang) && ./a.out DIRECTORY
#include "common.hpp"
#include <poll.h>

static std::string directory = "/tmp/nixlang-example-store";

int main(int argc, char **argv) {
    if (argc > 1) directory = argv[1];
    return shown([] {
        nixlang::store store("local?root=" + directory);
        nixlang::config config;
        nixlang::engine engine(config.use(store));
        std::string derivation = engine.evaluate("derivation { name = \"greeting\"; system = builtins.currentSystem; builder = \"/bin/sh\";"
                                                 " args = [ \"-c\" \"echo working; echo hello > $out\" ]; }").derivation();
        nixlang::build build(store, {derivation}, config);
        for (bool is_over = false; !is_over;) {
            // Any event loop can wait for the descriptor.
            pollfd waiting = {build.descriptor(), POLLIN, 0};
            poll(&waiting, 1, 1000);
            while (std::optional<nixlang::build_event> event = build.next(0)) {
                if (event->kind == NIXLANG_BUILD_STARTED) std::cout << "started\n";
                if (event->kind == NIXLANG_BUILD_LOG) std::cout << "log: " << event->text << "\n";
                if (event->kind == NIXLANG_BUILD_FINISHED) std::cout << (event->failed ? "failed\n" : "finished\n");
                is_over = event->kind == NIXLANG_BUILD_END;
            }
        }
        for (const nixlang::build_output &output : build.wait()) std::cout << output.name << ": " << output.path.substr(44) << "\n";
    });
}
