/* What calls of the C ABI cost. Prints "name nanoseconds" lines, and "name MB/s" for what has a throughput. Run by the bench ffi_calls. */
#include <nixlang.h>
#include <nix_api_expr.h>
#include <nix_api_value.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

/* The best of five rounds. */
#define MEASURE(name, count, body)                                     \
    do {                                                               \
        double best = 1e18;                                            \
        for (int round_ = 0; round_ < 5; round_++) {                   \
            double start_ = now();                                     \
            for (long i_ = 0; i_ < (count); i_++) { body; }            \
            double spent_ = (now() - start_) / (double)(count);        \
            if (spent_ < best) best = spent_;                          \
        }                                                              \
        printf("%s %.1f\n", name, best);                               \
    } while (0)

static nixlang_engine *engine;

static nixlang_value *eval(const char *text) {
    nixlang_value *value = NULL;
    nixlang_error *error = nixlang_evaluate(engine, nixlang_text(text), nixlang_text("/"), NULL, &value);
    if (error) {
        fprintf(stderr, "%s\n", nixlang_error_message(error).data);
        exit(1);
    }
    return value;
}

static nixlang_error *identity(void *data, nixlang_value *const *arguments, size_t n, nixlang_value **result) {
    (void)data;
    (void)n;
    *result = nixlang_value_retain(arguments[0]);
    return NULL;
}

int main(void) {
    if (nixlang_engine_new(NULL, &engine)) return 1;
    nixlang_value *integer = eval("42"), *string = eval("\"text\""), *list = eval("[ 1 2 3 4 ]"), *set = eval("{ a = 1; b = 2; c = 3; }"), *function = eval("x: x"), *value;
    volatile int64_t sink = 0;
    int64_t out = 0;
    nixlang_string text;
    MEASURE("nixlang_value_type", 5000000, sink += nixlang_value_type(integer));
    MEASURE("nixlang_value_int", 5000000, nixlang_value_int(integer, &out); sink += out);
    MEASURE("nixlang_value_string", 5000000, nixlang_value_string(string, &text); sink += (int64_t)text.length);
    MEASURE("nixlang_value_element+free", 1000000, value = nixlang_value_element(list, 2); nixlang_value_free(value));
    MEASURE("nixlang_value_attribute+free", 1000000, value = nixlang_value_attribute(set, nixlang_text("b")); nixlang_value_free(value));
    MEASURE("nixlang_value_force (is evaluated)", 5000000, nixlang_value_force(integer, NULL));
    MEASURE("nixlang_value_call (x: x)", 300000, const nixlang_value *argument = integer; nixlang_value_call(function, &argument, 1, NULL, &value); nixlang_value_free(value));
    nixlang_value *host = NULL;
    if (nixlang_make_function(engine, nixlang_text("host"), 1, identity, NULL, NULL, &host)) return 1;
    MEASURE("call of a host function", 300000, const nixlang_value *argument = integer; nixlang_value_call(host, &argument, 1, NULL, &value); nixlang_value_free(value));

    nix_c_context *ctx = nix_c_context_create();
    nix_libexpr_init(ctx);
    Store *store = nix_store_open(ctx, "dummy://", NULL);
    EvalState *state = nix_state_create(ctx, NULL, store);
    nix_value *nix_list = nix_alloc_value(ctx, state), *element;
    nix_expr_eval_from_string(ctx, state, "[ 1 2 3 4 ]", "/", nix_list);
    element = nix_get_list_byidx(ctx, nix_list, state, 1);
    MEASURE("nix_get_int", 5000000, sink += nix_get_int(ctx, element));
    MEASURE("nix_get_list_byidx+decref", 1000000, nix_value_decref(ctx, nix_get_list_byidx(ctx, nix_list, state, 2)));

    value = eval("builtins.genList (n: { name = \"package-${toString n}\"; version = [ 1 n 3 ]; meta = { broken = false; rate = 1.5; }; }) 50000");
    nixlang_bytes json = {NULL, 0};
    double best = 0;
    size_t length = 0;
    for (int i = 0; i < 5; i++) {
        double start = now();
        if (nixlang_value_to_json(value, NULL, &json)) return 1;
        double rate = (double)json.length / (now() - start) * 1e3;
        /* The first round evaluates. */
        if (i > 0 && rate > best) best = rate;
        length = json.length;
        nixlang_bytes_free(&json);
    }
    printf("nixlang_value_to_json (%zu bytes), MB/s %.0f\n", length, best);
    return 0;
}
