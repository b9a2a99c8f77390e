/* What the examples share: the end of the program when something fails that should not. */
#ifndef COMMON_H
#define COMMON_H

#include <nixlang.h>
#include <stdio.h>
#include <stdlib.h>

static inline void must(nixlang_error *error) {
    if (!error) return;
    nixlang_bytes text = {NULL, 0};
    nixlang_error_free(nixlang_error_render(error, NIXLANG_STYLE_RICH, true, false, &text));
    fprintf(stderr, "%s\n", text.data ? text.data : "error");
    nixlang_bytes_free(&text);
    nixlang_error_free(error);
    exit(1);
}

static inline nixlang_value *evaluate(nixlang_engine *engine, const char *text) {
    nixlang_value *value = NULL;
    must(nixlang_evaluate(engine, nixlang_text(text), nixlang_text("/"), NULL, &value));
    return value;
}

#endif
