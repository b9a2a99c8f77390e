/* An error is data: a code, a message, a place, the way to it, names that may have been meant.
 * Run: cc read_errors.c $(pkg-config --cflags --libs nixlang) && ./a.out */
#include "common.h"

int main(void) {
    nixlang_engine *engine = NULL;
    nixlang_value *value = NULL;
    must(nixlang_engine_new(NULL, &engine));
    const char *text = "let paint = set: set.color; in builtins.seq 1 (paint { colour = \"red\"; })";
    nixlang_error *error = nixlang_evaluate(engine, nixlang_text(text), nixlang_text("/"), NULL, &value);
    nixlang_place place = nixlang_error_place(error);
    printf("code %d: %s\n", (int)nixlang_error_code(error), nixlang_error_message(error).data);
    printf("at %s:%u:%u\n", place.file.data, place.line, place.column);
    printf("meant: %s\n", nixlang_error_suggestion(error, 0).data);
    nixlang_frame frame;
    for (size_t i = 0; nixlang_error_frame(error, i, &frame); i++) printf("%s\n", frame.message.data);
    nixlang_error_free(error);
    nixlang_engine_free(engine);
    return 0;
}
