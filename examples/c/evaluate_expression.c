/* A string in, JSON out.
 * Run: cc evaluate_expression.c $(pkg-config --cflags --libs nixlang) && ./a.out */
#include <nixlang.h>
#include <stdio.h>

int main(void) {
    nixlang_engine *engine = NULL;
    nixlang_value *value = NULL;
    nixlang_bytes json = {NULL, 0};
    nixlang_error *error = nixlang_engine_new(NULL, &engine);
    if (!error) error = nixlang_evaluate(engine, nixlang_text("{ answer = 6 * 7; }"), nixlang_text("/"), NULL, &value);
    if (!error) error = nixlang_value_to_json(value, NULL, &json);
    if (error)
        fprintf(stderr, "%s\n", nixlang_error_message(error).data);
    else
        printf("%s\n", json.data);
    nixlang_bytes_free(&json);
    nixlang_value_free(value);
    nixlang_engine_free(engine);
    int status = error != NULL;
    nixlang_error_free(error);
    return status;
}
