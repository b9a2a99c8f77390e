/* An application that its users configure in Nix: with a function of the application, and with limits, since users make mistakes.
 * Run: cc configure_application.c $(pkg-config --cflags --libs nixlang) && ./a.out [FILE] */
#include "common.h"
#include <string.h>

static const char *example = "{ port = 8000 + 80; workers = cpus * 2; greeting = \"hello, ${builtins.toString cpus} processors\"; }";

/* Reads one setting, or ends the program with a message that helps its user. */
static nixlang_value *setting(nixlang_value *configuration, const char *name, nixlang_type type, const nixlang_budget *limits) {
    nixlang_value *value = NULL;
    must(nixlang_value_select(configuration, nixlang_text(name), limits, &value));
    if (nixlang_value_type(value) != type) {
        fprintf(stderr, "setting '%s' is of the wrong type\n", name);
        exit(1);
    }
    return value;
}

int main(int argc, char **argv) {
    nixlang_config *config = nixlang_config_new();
    nixlang_engine *engine = NULL;
    nixlang_value *cpus = NULL, *configuration = NULL;
    /* Nothing but what the application gives: no files, no environment, no time. */
    must(nixlang_config_set(config, nixlang_text("pure-eval"), nixlang_text("true")));
    must(nixlang_engine_new(config, &engine));
    must(nixlang_make_int(engine, 4, &cpus));
    must(nixlang_engine_add_builtin(engine, nixlang_text("cpus"), cpus));

    char text[65536];
    snprintf(text, sizeof text, "%s", example);
    if (argc > 1) {
        FILE *file = fopen(argv[1], "r");
        if (!file) return perror(argv[1]), 1;
        text[fread(text, 1, sizeof text - 1, file)] = 0;
        fclose(file);
    }
    nixlang_budget limits = NIXLANG_BUDGET_INIT;
    limits.heap_bytes = 64 << 20;
    limits.time_ms = 1000;
    must(nixlang_evaluate(engine, nixlang_text(text), nixlang_text("/"), &limits, &configuration));

    nixlang_value *port = setting(configuration, "port", NIXLANG_INT, &limits), *workers = setting(configuration, "workers", NIXLANG_INT, &limits);
    nixlang_value *greeting = setting(configuration, "greeting", NIXLANG_STRING, &limits);
    int64_t port_number = 0, n_workers = 0;
    nixlang_string words;
    nixlang_value_int(port, &port_number);
    nixlang_value_int(workers, &n_workers);
    nixlang_value_string(greeting, &words);
    printf("port %d, %d workers: %s\n", (int)port_number, (int)n_workers, words.data);
    nixlang_value *all[] = {port, workers, greeting, cpus, configuration};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) nixlang_value_free(all[i]);
    nixlang_engine_free(engine);
    nixlang_config_free(config);
    return 0;
}
