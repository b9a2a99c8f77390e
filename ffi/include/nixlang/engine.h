/* nixlang/engine.h: configurations, engines, budgets, evaluating. */
#ifndef NIXLANG_NIXLANG_ENGINE_H
#define NIXLANG_NIXLANG_ENGINE_H

#include "base.h"
#include "error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct nixlang_config nixlang_config;
typedef struct nixlang_engine nixlang_engine;
typedef struct nixlang_cancel nixlang_cancel;
typedef struct nixlang_value nixlang_value;
typedef struct nixlang_store nixlang_store;

/* What engines, stores and builds are made with. Changing it later changes nothing that was made. It begins with Nix's defaults, but that nobody elsewhere is
 * asked for anything: "substituters" and "builders" are empty until they are set or nixlang_config_load was called. */
nixlang_config *nixlang_config_new(void);
void nixlang_config_free(nixlang_config *config);
/* Sets one of Nix's settings, such as "pure-eval" or "system"; "extra-NAME" appends to a list. */
nixlang_error *nixlang_config_set(nixlang_config *config, nixlang_string name, nixlang_string value);
/* Reads nix.conf and NIX_CONFIG. Without it nothing of them counts. */
nixlang_error *nixlang_config_load(nixlang_config *config);
/* Adds "name=path" or "path" to what <name> is looked up in. */
nixlang_error *nixlang_config_add_search_path(nixlang_config *config, nixlang_string entry);
/* Which store evaluations write to. Without one store paths are only computed, and nothing is fetched. */
nixlang_error *nixlang_config_set_store(nixlang_config *config, nixlang_store *store);

/* What builtins.trace, builtins.warn and the evaluator say. Without a function it goes to standard error. */
typedef enum nixlang_message { NIXLANG_TRACE = 0, NIXLANG_WARN = 1, NIXLANG_WARNING = 2 } nixlang_message;
nixlang_error *nixlang_config_set_messages(nixlang_config *config, void (*function)(void *data, nixlang_message kind, nixlang_string text), void *data,
                                           void (*drop)(void *data));

/* Makes an engine: a heap with an evaluator. config may be NULL. Its memory is freed with the last handle to it or to one of its values, all at once: what was
 * evaluated stays as long as the engine. A host that lives long looks at heap_bytes of nixlang_engine_statistics and takes a new engine in time, into which what
 * is to stay goes as JSON. */
nixlang_error *nixlang_engine_new(const nixlang_config *config, nixlang_engine **result);
void nixlang_engine_free(nixlang_engine *engine);
/* Makes a value a builtin, as `name` and as `builtins.name`, for what is evaluated from now on. */
nixlang_error *nixlang_engine_add_builtin(nixlang_engine *engine, nixlang_string name, const nixlang_value *value);

/* What an engine has used. */
typedef struct nixlang_statistics {
    size_t size;
    uint64_t heap_bytes; /* in use */
    uint64_t steps;      /* calls made and thunks evaluated so far */
} nixlang_statistics;
#define NIXLANG_STATISTICS_INIT {sizeof(nixlang_statistics), 0, 0}
/* Writes what the engine has used so far. It waits while the engine evaluates. */
nixlang_error *nixlang_engine_statistics(const nixlang_engine *engine, nixlang_statistics *result);

/* A token that stops what runs with it. Firing it is safe from every thread and signal handler, and stays: take a new token for the next call. */
nixlang_cancel *nixlang_cancel_new(void);
void nixlang_cancel_fire(const nixlang_cancel *cancel);
void nixlang_cancel_free(nixlang_cancel *cancel);

/* What one call may use up; zero is no limit. Within a callback the budget of the outer call stays in force, and one given there is ignored. */
typedef struct nixlang_budget {
    size_t size;
    uint64_t steps;               /* calls made and thunks evaluated; the same for every run */
    uint64_t heap_bytes;          /* more than what is in use when the call begins */
    uint64_t time_ms;             /* wall time */
    const nixlang_cancel *cancel; /* or NULL */
} nixlang_budget;
#define NIXLANG_BUDGET_INIT {sizeof(nixlang_budget), 0, 0, 0, NULL}

/* Evaluates a text until its outermost form is known. Relative paths in it start at base_directory. budget may be NULL. */
nixlang_error *nixlang_evaluate(nixlang_engine *engine, nixlang_string text, nixlang_string base_directory, const nixlang_budget *budget, nixlang_value **result);
/* Evaluates a file, or a directory's default.nix, by its absolute path; once per engine. */
nixlang_error *nixlang_evaluate_file(nixlang_engine *engine, nixlang_string path, const nixlang_budget *budget, nixlang_value **result);
/* Makes a value of JSON. */
nixlang_error *nixlang_evaluate_json(nixlang_engine *engine, nixlang_string text, nixlang_value **result);

#ifdef __cplusplus
}
#endif

#endif
