/* A function of the host, called from Nix. Its data is dropped with the engine.
 * Run: cc add_builtin.c $(pkg-config --cflags --libs nixlang) && ./a.out */
#include "common.h"
#include <ctype.h>
#include <string.h>

struct shouter {
    nixlang_engine *engine;
    int n_calls;
};

static nixlang_error *shout(void *data, nixlang_value *const *arguments, size_t n_arguments, nixlang_value **result) {
    struct shouter *shouter = data;
    nixlang_string text;
    (void)n_arguments;
    /* Arguments are lazy: what is needed is evaluated, and an error is passed on. */
    nixlang_error *error = nixlang_value_force(arguments[0], NULL);
    if (error) return error;
    if (!nixlang_value_string(arguments[0], &text)) return nixlang_error_new(NIXLANG_TYPE, nixlang_text("shout wants a string"));
    char *loud = malloc(text.length + 1);
    for (size_t i = 0; i <= text.length; i++) loud[i] = (char)toupper((unsigned char)text.data[i]);
    error = nixlang_make_string(shouter->engine, nixlang_text(loud), NULL, 0, result);
    free(loud);
    shouter->n_calls++;
    return error;
}

static void drop(void *data) {
    printf("called %d times\n", ((struct shouter *)data)->n_calls);
    free(data);
}

int main(void) {
    nixlang_engine *engine = NULL;
    nixlang_value *function = NULL;
    nixlang_string text;
    must(nixlang_engine_new(NULL, &engine));
    struct shouter *shouter = malloc(sizeof *shouter);
    shouter->engine = engine;
    shouter->n_calls = 0;
    must(nixlang_make_function(engine, nixlang_text("shout"), 1, shout, shouter, drop, &function));
    must(nixlang_engine_add_builtin(engine, nixlang_text("shout"), function));
    nixlang_value *value = evaluate(engine, "builtins.concatStringsSep \" \" (map shout [ \"hello\" \"from\" \"the\" \"host\" ])");
    nixlang_value_string(value, &text);
    printf("%s\n", text.data);
    nixlang_value_free(value);
    nixlang_value_free(function);
    nixlang_engine_free(engine);
    return 0;
}
