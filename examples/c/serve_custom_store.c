/* A store of the host: evaluations write to it, and others copy from it.
 * Run: cc serve_custom_store.c $(pkg-config --cflags --libs nixlang) && ./a.out */
#include "common.h"
#include <string.h>

/* One path is enough for an example. */
struct kept {
    char path[256], hash[128];
    char *nar;
    size_t nar_size;
};

static void copy(char *to, size_t size, nixlang_string text) {
    size_t length = text.length < size - 1 ? text.length : size - 1;
    memcpy(to, text.data, length);
    to[length] = 0;
}

static bool is(const struct kept *kept, nixlang_string path) { return path.length == strlen(kept->path) && !memcmp(path.data, kept->path, path.length); }

static nixlang_error *query(void *data, nixlang_string path, void (*found)(void *, const nixlang_stored *), void *found_data) {
    struct kept *kept = data;
    nixlang_stored stored;
    memset(&stored, 0, sizeof stored);
    if (is(kept, path)) {
        stored.nar_hash = nixlang_text(kept->hash);
        stored.nar_size = kept->nar_size;
        found(found_data, &stored);
    }
    return NULL;
}

static nixlang_error *write_nar(void *data, nixlang_string path, nixlang_sink sink, void *sink_data) {
    struct kept *kept = data;
    if (!is(kept, path)) return nixlang_error_new(NIXLANG_STORE, nixlang_text("no such path"));
    sink(sink_data, kept->nar, kept->nar_size);
    return NULL;
}

static nixlang_error *add_nar(void *data, nixlang_string path, const nixlang_stored *info, nixlang_string nar) {
    struct kept *kept = data;
    copy(kept->path, sizeof kept->path, path);
    copy(kept->hash, sizeof kept->hash, info->nar_hash);
    kept->nar = realloc(kept->nar, nar.length);
    memcpy(kept->nar, nar.data, nar.length);
    kept->nar_size = nar.length;
    return NULL;
}

int main(void) {
    struct kept kept;
    memset(&kept, 0, sizeof kept);
    nixlang_store_functions functions = {sizeof functions, query, write_nar, add_nar, NULL};
    nixlang_store *store = NULL, *memory = NULL;
    must(nixlang_store_new(&functions, nixlang_text("example"), nixlang_text(""), &kept, NULL, &store));
    nixlang_config *config = nixlang_config_new();
    nixlang_engine *engine = NULL;
    must(nixlang_config_set_store(config, store));
    must(nixlang_engine_new(config, &engine));
    nixlang_value_free(evaluate(engine, "builtins.toFile \"greeting\" \"hello\""));
    printf("kept: %s, %zu bytes\n", kept.path + 44, kept.nar_size);

    nixlang_paths *copied = NULL;
    must(nixlang_store_open(nixlang_text("dummy://?read-only=false"), NULL, &memory));
    must(nixlang_store_copy(store, memory, nixlang_text(kept.path), &copied));
    printf("copied: %zu\n", nixlang_paths_count(copied));
    nixlang_paths_free(copied);
    nixlang_store_free(memory);
    nixlang_engine_free(engine);
    nixlang_config_free(config);
    nixlang_store_free(store);
    free(kept.nar);
    return 0;
}
