/* Stores of all kinds through the own API: memory, disk, binary caches, substituters, a daemon. Arguments: an empty directory, and the command line, whose daemon
 * is asked (none: that part is left out). */
#include <nixlang.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(it) do { if (!(it)) { fprintf(stderr, "line %d: %s\n", __LINE__, #it); exit(1); } } while (0)
#define OK(it)                                                                                             \
    do {                                                                                                   \
        nixlang_error *error_ = (it);                                                                      \
        if (error_) {                                                                                      \
            fprintf(stderr, "line %d: %s\n  %s\n", __LINE__, #it, nixlang_error_message(error_).data);     \
            exit(1);                                                                                       \
        }                                                                                                  \
    } while (0)

static char text[8192];

static nixlang_string format(const char *pattern, const char *argument, const char *second) {
    snprintf(text, sizeof text, pattern, argument, second ? second : "");
    return nixlang_text(text);
}

static nixlang_store *open_store(nixlang_string address, const nixlang_config *config) {
    nixlang_store *store = NULL;
    OK(nixlang_store_open(address, config, &store));
    return store;
}

/* Evaluates with a store to something that prints as `expected`. */
static void check_evaluates(nixlang_store *store, nixlang_string expression, const char *expected) {
    nixlang_config *config = nixlang_config_new();
    nixlang_engine *engine = NULL;
    nixlang_value *value = NULL;
    nixlang_string found;
    OK(nixlang_config_set_store(config, store));
    OK(nixlang_engine_new(config, &engine));
    OK(nixlang_evaluate(engine, expression, nixlang_text("/"), NULL, &value));
    CHECK(nixlang_value_string(value, &found));
    if (strcmp(found.data, expected)) fprintf(stderr, "%s, not %s\n", found.data, expected), exit(1);
    nixlang_value_free(value);
    nixlang_engine_free(engine);
    nixlang_config_free(config);
}

static bool is_valid(nixlang_store *store, const char *path) {
    bool result = false;
    OK(nixlang_store_is_valid(store, nixlang_text(path), &result));
    return result;
}

/* Waits for a build of one path and returns the error that it ended with. */
static nixlang_error *build(nixlang_store *store, const nixlang_config *config, const char *path, int *n_started) {
    nixlang_build *build = NULL;
    nixlang_string wanted = nixlang_text(path);
    nixlang_event event;
    OK(nixlang_build_start(store, config, &wanted, 1, &build));
    while (nixlang_build_next_event(build, -1, &event)) *n_started += event.kind == NIXLANG_BUILD_STARTED;
    nixlang_error *error = nixlang_build_wait(build);
    nixlang_build_free(build);
    return error;
}

static const char *derivation = "(derivation { name = \"made\"; system = builtins.currentSystem; builder = \"/bin/sh\"; args = [ \"-c\" \"echo made > $out\" ]; }).drvPath";

int main(int argc, char **argv) {
    char directory[2048], path[256];
    nixlang_bytes added = {NULL, 0};
    snprintf(directory, sizeof directory, "%s", argv[1]);

    /* Files of paths that are nowhere on the disk are read through the store, and fetched files are kept in it. */
    nixlang_store *memory = open_store(nixlang_text("dummy://?read-only=false"), NULL);
    check_evaluates(memory, nixlang_text("builtins.readFile (builtins.toFile \"x\" \"hello\")"), "hello");
    FILE *file = fopen(format("%s.fetched", directory, NULL).data, "w");
    CHECK(file && fputs("fetched", file) >= 0 && !fclose(file));
    check_evaluates(memory, format("builtins.readFile (builtins.fetchurl \"file://%s.fetched\")", directory, NULL), "fetched");
    /* Without a store to keep it in nothing is fetched. */
    nixlang_engine *engine = NULL;
    nixlang_value *value = NULL;
    OK(nixlang_engine_new(NULL, &engine));
    nixlang_error *error = nixlang_evaluate(engine, format("builtins.fetchurl \"file://%s.fetched\"", directory, NULL), nixlang_text("/"), NULL, &value);
    CHECK(nixlang_error_code(error) == NIXLANG_UNSUPPORTED || nixlang_error_code(error) == NIXLANG_HOST);
    nixlang_error_free(error);
    nixlang_engine_free(engine);

    /* From memory into a binary cache, and from there, because it is a substituter, into a store on the disk. */
    OK(nixlang_store_add_bytes(memory, nixlang_text("cached"), nixlang_text("contents"), &added));
    snprintf(path, sizeof path, "%s", added.data);
    nixlang_bytes_free(&added);
    nixlang_store *cache = open_store(format("file://%s/cache?compression=zstd", directory, NULL), NULL);
    OK(nixlang_store_copy(memory, cache, nixlang_text(path), NULL));
    CHECK(is_valid(cache, path));
    nixlang_config *config = nixlang_config_new();
    nixlang_store *disk = open_store(format("local?root=%s/disk", directory, NULL), config);
    int n_started = 0;
    error = build(disk, config, path, &n_started);
    CHECK(error && !is_valid(disk, path));
    nixlang_error_free(error);
    OK(nixlang_config_set(config, nixlang_text("substituters"), format("file://%s/cache", directory, NULL)));
    OK(build(disk, config, path, &n_started));
    CHECK(is_valid(disk, path));
    nixlang_path_info *info = NULL;
    OK(nixlang_store_path_info(disk, nixlang_text(path), &info));
    CHECK(info && nixlang_path_info_nar_size(info) > 0);
    nixlang_path_info_free(info);

    /* A daemon, reached as on another machine: it keeps what is added, and builds. */
    if (argc > 2) {
        nixlang_store *daemon = open_store(format("ssh-ng://localhost?remote-program=%s%%20nix-daemon&remote-store=local%%3Froot=%s/daemon", argv[2], directory), config);
        nixlang_config *for_daemon = nixlang_config_new();
        OK(nixlang_config_set_store(for_daemon, daemon));
        OK(nixlang_engine_new(for_daemon, &engine));
        OK(nixlang_evaluate(engine, nixlang_text(derivation), nixlang_text("/"), NULL, &value));
        nixlang_string shown;
        CHECK(nixlang_value_string(value, &shown));
        CHECK(is_valid(daemon, shown.data) && !is_valid(disk, shown.data));
        n_started = 0;
        OK(build(daemon, for_daemon, shown.data, &n_started));
        CHECK(n_started == 1);
        nixlang_value_free(value);
        nixlang_engine_free(engine);
        nixlang_config_free(for_daemon);
        /* What a daemon has is copied like anything else. */
        OK(nixlang_store_add_bytes(daemon, nixlang_text("from-daemon"), nixlang_text("more"), &added));
        OK(nixlang_store_copy(daemon, disk, nixlang_text(added.data), NULL));
        CHECK(is_valid(disk, added.data));
        nixlang_bytes_free(&added);
        nixlang_store_free(daemon);
    }
    nixlang_store *nowhere = open_store(nixlang_text("unix:///nowhere/socket"), NULL);
    bool valid = false;
    error = nixlang_store_is_valid(nowhere, nixlang_text(path), &valid);
    CHECK(nixlang_error_code(error) == NIXLANG_STORE);
    nixlang_error_free(error);
    error = nixlang_store_open(nixlang_text("gopher://x"), NULL, &nowhere);
    CHECK(nixlang_error_code(error) == NIXLANG_STORE || nixlang_error_code(error) == NIXLANG_ARGUMENT);
    nixlang_error_free(error);
    nixlang_store_free(nowhere);
    nixlang_store_free(disk);
    nixlang_store_free(cache);
    nixlang_store_free(memory);
    nixlang_config_free(config);
    return 0;
}
