/* Cancelling from another thread is noticed within 10 ms of processor time, and a runaway evaluation ends at its memory budget, after which the engine works. */
#include <nixlang.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define CHECK(it) do { if (!(it)) { fprintf(stderr, "line %d: %s\n", __LINE__, #it); exit(1); } } while (0)

static nixlang_engine *engine;
static nixlang_cancel *cancel;
static atomic_int started;
static pthread_t evaluating;
static double cpu_at_fire;

static double thread_cpu_ms(pthread_t thread) {
    clockid_t clock;
    struct timespec now;
    pthread_getcpuclockid(thread, &clock);
    clock_gettime(clock, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static nixlang_error *tell(void *data, nixlang_value *const *arguments, size_t n, nixlang_value **result) {
    (void)data;
    (void)arguments;
    (void)n;
    atomic_store(&started, 1);
    return nixlang_make_null(engine, result);
}

static void *fire(void *data) {
    (void)data;
    while (!atomic_load(&started)) sched_yield();
    struct timespec pause = {0, 5000000};
    nanosleep(&pause, NULL);
    cpu_at_fire = thread_cpu_ms(evaluating);
    nixlang_cancel_fire(cancel);
    return NULL;
}

/* Bytes of this process's memory that are present, by /proc. */
static size_t resident(void) {
    size_t pages = 0, all = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file && fscanf(file, "%zu %zu", &all, &pages) != 2) pages = 0;
    if (file) fclose(file);
    return pages * 4096;
}

/* How a host that lives long bounds its memory: nothing that was evaluated is freed before its engine is, so it looks at the heap and takes a new engine in time.
 * All memory of the old one comes back. */
static void bounded(void) {
    const char *big = "builtins.length (builtins.genList (n: { a = n; b = [ n ]; }) 200000) + builtins.stringLength (toString (builtins.genList (n: n * 7) 200000))";
    nixlang_engine *current = NULL;
    nixlang_value *value = NULL;
    size_t first = 0, n_engines = 1;
    uint64_t largest = 0;
    CHECK(!nixlang_engine_new(NULL, &current));
    for (int i = 0; i < 24; i++) {
        nixlang_statistics statistics = NIXLANG_STATISTICS_INIT;
        CHECK(!nixlang_evaluate(current, nixlang_text(big), nixlang_text("/"), NULL, &value));
        nixlang_value_free(value);
        CHECK(!nixlang_engine_statistics(current, &statistics));
        if (statistics.heap_bytes > largest) largest = statistics.heap_bytes;
        if (statistics.heap_bytes > (48u << 20)) {
            nixlang_engine_free(current);
            CHECK(!nixlang_engine_new(NULL, &current));
            if (n_engines++ == 2) first = resident();
        }
    }
    nixlang_engine_free(current);
    CHECK(n_engines > 5);
    /* All of them together would be many times this. */
    CHECK(!first || resident() < first + (64u << 20));
    printf("%zu engines, the largest of %zu MiB, %zu MiB resident at the end\n", n_engines, (size_t)(largest >> 20), resident() >> 20);
}

int main(void) {
    nixlang_value *value = NULL, *function = NULL;
    CHECK(!nixlang_engine_new(NULL, &engine));
    CHECK(!nixlang_make_function(engine, nixlang_text("tell"), 1, tell, NULL, NULL, &function));
    CHECK(!nixlang_engine_add_builtin(engine, nixlang_text("tell"), function));
    nixlang_value_free(function);

    /* The best of a few, since other programs disturb caches; each must end, and one must show what the library needs. */
    double best = 1e9;
    for (int round = 0; round < 5; round++) {
        atomic_store(&started, 0);
        cancel = nixlang_cancel_new();
        evaluating = pthread_self();
        pthread_t other;
        CHECK(!pthread_create(&other, NULL, fire, NULL));
        nixlang_budget budget = NIXLANG_BUDGET_INIT;
        budget.cancel = cancel;
        const char *forever = "builtins.seq (tell null) (let many = builtins.genList (n: n) 3000; each = f: all: builtins.foldl' f all many;"
                              " in each (a: x: each (b: y: each (c: z: c + 1) b) a) 0)";
        nixlang_error *error = nixlang_evaluate(engine, nixlang_text(forever), nixlang_text("/"), &budget, &value);
        double spent = thread_cpu_ms(evaluating);
        pthread_join(other, NULL);
        spent -= cpu_at_fire;
        CHECK(nixlang_error_code(error) == NIXLANG_CANCELLED);
        nixlang_error_free(error);
        nixlang_cancel_free(cancel);
        if (spent < best) best = spent;
    }
    printf("cancelled after %.3f ms of evaluation\n", best);
    CHECK(best < 10);

    nixlang_budget memory = NIXLANG_BUDGET_INIT;
    nixlang_statistics before = NIXLANG_STATISTICS_INIT, after = NIXLANG_STATISTICS_INIT;
    memory.heap_bytes = 64 << 20;
    CHECK(!nixlang_engine_statistics(engine, &before));
    const char *runaway = "builtins.foldl' (all: n: all ++ [ n ]) [ ] (builtins.genList (n: n) 1000000)";
    nixlang_error *error = nixlang_evaluate(engine, nixlang_text(runaway), nixlang_text("/"), &memory, &value);
    CHECK(nixlang_error_code(error) == NIXLANG_HEAP_LIMIT);
    nixlang_error_free(error);
    CHECK(!nixlang_engine_statistics(engine, &after));
    CHECK(after.heap_bytes - before.heap_bytes < (80u << 20));
    for (int i = 0; i < 3; i++) {
        int64_t sum = 0;
        CHECK(!nixlang_evaluate(engine, nixlang_text("builtins.foldl' (a: b: a + b) 0 (builtins.genList (n: n) 1001)"), nixlang_text("/"), &memory, &value));
        CHECK(nixlang_value_int(value, &sum) && sum == 500500);
        nixlang_value_free(value);
    }
    nixlang_engine_free(engine);
    bounded();
    return 0;
}
