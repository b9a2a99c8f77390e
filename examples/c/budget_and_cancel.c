/* Expressions that never end, or want all memory, and an engine that works afterwards.
 * Run: cc budget_and_cancel.c $(pkg-config --cflags --libs nixlang) -lpthread && ./a.out */
#include "common.h"
#include <pthread.h>

/* Twenty-seven thousand million additions. */
static const char *forever = "let many = builtins.genList (n: n) 3000; each = f: all: builtins.foldl' f all many;"
                             " in each (a: x: each (b: y: each (c: z: c + 1) b) a) 0";

static void show(nixlang_error *error) {
    switch (nixlang_error_code(error)) {
    case NIXLANG_STEP_LIMIT: puts("stopped: step limit"); break;
    case NIXLANG_HEAP_LIMIT: puts("stopped: memory limit"); break;
    case NIXLANG_TIME_LIMIT: puts("stopped: time limit"); break;
    case NIXLANG_CANCELLED: puts("stopped: cancelled"); break;
    default: puts("not stopped");
    }
    nixlang_error_free(error);
}

static void *fire(void *cancel) {
    nixlang_cancel_fire(cancel);
    return NULL;
}

int main(void) {
    nixlang_engine *engine = NULL;
    nixlang_value *value = NULL;
    must(nixlang_engine_new(NULL, &engine));

    nixlang_budget budget = NIXLANG_BUDGET_INIT;
    budget.steps = 100000;
    show(nixlang_evaluate(engine, nixlang_text(forever), nixlang_text("/"), &budget, &value));

    budget.steps = 0;
    budget.heap_bytes = 64 << 20;
    show(nixlang_evaluate(engine, nixlang_text("builtins.foldl' (all: n: all ++ [ n ]) [] (builtins.genList (n: n) 1000000)"), nixlang_text("/"), &budget, &value));

    budget.heap_bytes = 0;
    budget.time_ms = 50;
    show(nixlang_evaluate(engine, nixlang_text(forever), nixlang_text("/"), &budget, &value));

    budget.time_ms = 0;
    nixlang_cancel *cancel = nixlang_cancel_new();
    budget.cancel = cancel;
    pthread_t thread;
    pthread_create(&thread, NULL, fire, cancel);
    show(nixlang_evaluate(engine, nixlang_text(forever), nixlang_text("/"), &budget, &value));
    pthread_join(thread, NULL);
    nixlang_cancel_free(cancel);

    value = evaluate(engine, "1 + 1");
    int64_t two = 0;
    nixlang_value_int(value, &two);
    printf("still works: %d\n", (int)two);
    nixlang_value_free(value);
    nixlang_engine_free(engine);
    return 0;
}
