/* Evaluates a derivation into a store of its own, builds it, and shows what happens meanwhile, from an event loop.
 * Run: cc build_with_progress.c $(pkg-config --cflags --libs nixlang) && ./a.out DIRECTORY */
#include "common.h"
#include <poll.h>

int main(int argc, char **argv) {
    char address[4096];
    snprintf(address, sizeof address, "local?root=%s", argc > 1 ? argv[1] : "/tmp/nixlang-example-store");
    nixlang_config *config = nixlang_config_new();
    nixlang_store *store = NULL;
    nixlang_engine *engine = NULL;
    nixlang_bytes derivation = {NULL, 0};
    nixlang_build *build = NULL;
    must(nixlang_store_open(nixlang_text(address), config, &store));
    must(nixlang_config_set_store(config, store));
    must(nixlang_engine_new(config, &engine));
    nixlang_value *value = evaluate(engine, "derivation { name = \"greeting\"; system = builtins.currentSystem; builder = \"/bin/sh\";"
                                            " args = [ \"-c\" \"echo working; echo hello > $out\" ]; }");
    must(nixlang_value_derivation(value, NULL, &derivation));

    nixlang_string wanted = nixlang_text(derivation.data);
    must(nixlang_build_start(store, config, &wanted, 1, &build));
    nixlang_event event;
    event.kind = NIXLANG_BUILD_STARTED;
    while (event.kind != NIXLANG_BUILD_END) {
        /* Any event loop can wait for the descriptor. */
        struct pollfd waiting = {nixlang_build_descriptor(build), POLLIN, 0};
        poll(&waiting, 1, 1000);
        while (event.kind != NIXLANG_BUILD_END && nixlang_build_next_event(build, 0, &event)) {
            if (event.kind == NIXLANG_BUILD_STARTED) puts("started");
            if (event.kind == NIXLANG_BUILD_LOG) printf("log: %s\n", event.text.data);
            if (event.kind == NIXLANG_BUILD_FINISHED) puts(event.failed ? "failed" : "finished");
        }
    }
    must(nixlang_build_wait(build));
    nixlang_output output;
    for (size_t i = 0; nixlang_build_output(build, i, &output); i++) printf("%s: %s\n", output.name.data, output.path.data + 44);
    nixlang_build_free(build);
    nixlang_bytes_free(&derivation);
    nixlang_value_free(value);
    nixlang_engine_free(engine);
    nixlang_store_free(store);
    nixlang_config_free(config);
    return 0;
}
