/* Random orders of calls on handles, right and wrong ones: nothing may crash, whatever the order. The sequence follows from a seed, so that a failure can be
 * had again: `sequences DIRECTORY SEED COUNT`; without a seed a fixed set of short sequences runs. A count of 0 runs for ever, printing seeds. */
#include <nixlang.h>
#include <nix_api_expr.h>
#include <nix_api_external.h>
#include <nix_api_value.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define POOL 12

static uint64_t state;

static uint32_t next(uint32_t bound) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 33) % bound;
}

static const char *texts[] = {
    "1", "1.5", "\"s\"", "null", "true", "./x", "[ 1 (throw \"no\") { } ]", "{ a = 1; b = throw \"no\"; c = { d = [ ]; }; }", "x: x", "{ a, b ? 2 }: a", "rec { s = s; }.s",
    "let l = [ l ]; in l", "builtins.map (x: x + 1) [ 1 2 3 ]", "1 +", "}", "", "throw \"no\"", "assert false; 1", "builtins.genList (n: n) 100", "derivation { name = \"n\"; system = \"s\"; builder = \"b\"; }",
    "builtins.foldl' (a: b: a + b) 0 (builtins.genList (n: n) 1000)", "let f = n: f (n + 1); in f 0", "{ a = 1; } // { b = 2; }", "builtins.toFile \"n\" \"c\"",
};
static const char *names[] = {"a", "b", "c", "d", "", "zz"};

static const char *text(void) { return texts[next(sizeof texts / sizeof *texts)]; }
static const char *name(void) { return names[next(sizeof names / sizeof *names)]; }

static nixlang_engine *engines[2];
static nixlang_value *values[POOL];

static nixlang_value *some(void) { return values[next(POOL)]; }

/* Puts a value in place of another one, which is freed; now and then twice, or too early. */
static void keep(nixlang_value *value) {
    uint32_t at = next(POOL);
    nixlang_value_free(values[at]);
    if (next(50) == 0) nixlang_value_free(values[at]);
    values[at] = value;
}

static nixlang_error *host(void *data, nixlang_value *const *arguments, size_t n_arguments, nixlang_value **result) {
    (void)data;
    (void)n_arguments;
    switch (next(5)) {
    case 0: return nixlang_error_new(NIXLANG_THROW, nixlang_text("host"));
    case 1: return NULL;
    case 2: return nixlang_evaluate(engines[0], nixlang_text(text()), nixlang_text("/"), NULL, result);
    case 3: *result = nixlang_value_retain(arguments[0]); return nixlang_value_force(arguments[0], NULL);
    default: *result = nixlang_value_retain(some()); return NULL;
    }
}

static void own_api(void) {
    nixlang_budget budget = NIXLANG_BUDGET_INIT;
    nixlang_value *value = NULL, *pair[2] = {some(), some()};
    nixlang_engine *engine = engines[next(2)];
    nixlang_string string = nixlang_text(name());
    nixlang_bytes bytes = {NULL, 0};
    nixlang_reference reference;
    nixlang_formal formal;
    nixlang_error *error = NULL;
    int64_t integer;
    double real;
    bool truth;
    void *data;
    budget.steps = 20000;
    switch (next(30)) {
    case 0: case 1: case 2: case 3: case 4: error = nixlang_evaluate(engine, nixlang_text(text()), nixlang_text("/"), next(4) ? &budget : NULL, &value); break;
    case 5: error = nixlang_value_force(some(), &budget); break;
    case 6: error = nixlang_value_force_deep(some(), &budget); break;
    case 7: error = nixlang_value_call(some(), (const nixlang_value *const *)pair, next(3), &budget, &value); break;
    case 8: error = nixlang_value_select(some(), nixlang_text(next(2) ? "a" : "c.d.0"), &budget, &value); break;
    case 9: error = nixlang_value_to_json(some(), &budget, &bytes); break;
    case 10: error = nixlang_value_print(some(), &budget, &bytes); break;
    case 11: value = nixlang_value_element(some(), next(5)); break;
    case 12: value = nixlang_value_attribute(some(), nixlang_text(name())); break;
    case 13: value = nixlang_value_attribute_at(some(), next(4), &string); break;
    case 14: error = nixlang_make_list(engine, (const nixlang_value *const *)pair, 2, &value); break;
    case 15: error = nixlang_make_attrs(engine, &string, (const nixlang_value *const *)pair, 1, &value); break;
    case 16: error = nixlang_make_thunk(engine, some(), some(), &value); break;
    case 17: error = nixlang_make_function(engine, nixlang_text("host"), next(4), host, NULL, NULL, &value); break;
    case 18: error = nixlang_make_object(engine, nixlang_text("thing"), &state, NULL, &value); break;
    case 19: error = nixlang_make_string(engine, nixlang_text(text()), NULL, 0, &value); break;
    case 20: value = nixlang_value_retain(some()); break;
    case 21: error = nixlang_engine_add_builtin(engine, nixlang_text(name()), some()); break;
    case 22: error = nixlang_value_equal(some(), some(), &budget, &truth); break;
    case 23: error = nixlang_value_derivation(some(), &budget, &bytes); break;
    case 24: error = nixlang_value_auto_call(some(), next(2) ? some() : NULL, &budget, &value); break;
    case 25: nixlang_value_reference_at(some(), 0, &reference); nixlang_value_formal_at(some(), next(3), &formal); nixlang_value_length(some()); break;
    case 26: nixlang_value_int(some(), &integer); nixlang_value_float(some(), &real); nixlang_value_bool(some(), &truth); break;
    case 27: nixlang_value_string(some(), &string); nixlang_value_path(some(), &string); nixlang_value_object(some(), nixlang_text("thing"), &data); break;
    case 28:
        if (next(20) == 0) {
            uint32_t at = next(2);
            nixlang_engine_free(engines[at]);
            engines[at] = NULL;
            error = nixlang_engine_new(NULL, &engines[at]);
        }
        break;
    default: keep(NULL);
    }
    if (value) keep(value);
    if (error) {
        nixlang_error_free(nixlang_error_render(error, next(2) ? NIXLANG_STYLE_RICH : NIXLANG_STYLE_NIX, true, false, &bytes));
        nixlang_error_free(error);
        if (next(20) == 0) nixlang_error_code(error);
    }
    nixlang_bytes_free(&bytes);
}

static nix_c_context *ctx;
static Store *store;
static EvalState *states[2];
static nix_value *cells[POOL];

static nix_value *cell(void) { return cells[next(POOL)]; }

static void put(nix_value *value) {
    uint32_t at = next(POOL);
    if (cells[at]) nix_value_decref(ctx, cells[at]);
    if (cells[at] && next(50) == 0) nix_value_decref(ctx, cells[at]);
    cells[at] = value;
}

static void primop(void *data, nix_c_context *context, EvalState *evaluating, nix_value **args, nix_value *ret) {
    (void)data;
    switch (next(6)) {
    case 0: nix_set_err_msg(context, next(2) ? NIX_ERR_KEY : NIX_ERR_RECOVERABLE, "host"); break;
    case 1: nix_init_int(context, ret, 1); break;
    case 2: nix_value_force(context, evaluating, args[0]); nix_copy_value(context, ret, args[0]); break;
    case 3: nix_value_decref(context, args[0]); nix_init_null(context, ret); break;
    case 4: nix_init_apply(context, ret, args[0], args[0]); break;
    default: break;
    }
}

static void got(const char *start, unsigned int n, void *data) {
    (void)start;
    *(unsigned int *)data += n;
}

static void compatible_api(void) {
    EvalState *evaluating = states[next(2)];
    nix_value *arguments[2] = {cell(), cell()};
    unsigned int n = 0;
    const char *word;
    switch (next(30)) {
    case 0: case 1: case 2: put(nix_alloc_value(ctx, evaluating)); break;
    case 3: case 4: case 5: nix_expr_eval_from_string(ctx, evaluating, texts[next(21)], ".", cell()); break;
    case 6: nix_value_force(ctx, evaluating, cell()); break;
    case 7: nix_value_force_deep(ctx, evaluating, cell()); break;
    case 8: nix_value_call_multi(ctx, evaluating, cell(), next(3), arguments, cell()); break;
    case 9: nix_init_int(ctx, cell(), 7); break;
    case 10: nix_init_string(ctx, cell(), text()); break;
    case 11: nix_init_apply(ctx, cell(), cell(), cell()); break;
    case 12: nix_copy_value(ctx, cell(), cell()); break;
    case 13: nix_get_type(ctx, cell()); free((void *)nix_get_typename(ctx, cell())); break;
    case 14: nix_get_int(ctx, cell()); nix_get_float(ctx, cell()); nix_get_bool(ctx, cell()); nix_get_path_string(ctx, cell()); break;
    case 15: nix_get_string(ctx, cell(), got, &n); break;
    case 16: put(nix_get_list_byidx(ctx, cell(), evaluating, next(4))); break;
    case 17: put(nix_get_list_byidx_lazy(ctx, cell(), evaluating, next(4))); break;
    case 18: put(nix_get_attr_byname(ctx, cell(), evaluating, name())); break;
    case 19: put(nix_get_attr_byidx(ctx, cell(), evaluating, next(4), &word)); break;
    case 20: nix_get_attrs_size(ctx, cell()); nix_get_list_size(ctx, cell()); nix_has_attr_byname(ctx, cell(), evaluating, name()); break;
    case 21: {
        ListBuilder *builder = nix_make_list_builder(ctx, evaluating, 3);
        nix_list_builder_insert(ctx, builder, next(5), cell());
        nix_make_list(ctx, builder, cell());
        nix_list_builder_free(builder);
        if (next(10) == 0) nix_list_builder_free(builder);
        break;
    }
    case 22: {
        BindingsBuilder *builder = nix_make_bindings_builder(ctx, evaluating, 3);
        nix_bindings_builder_insert(ctx, builder, name(), cell());
        nix_bindings_builder_insert(ctx, builder, name(), cell());
        nix_make_attrs(ctx, cell(), builder);
        nix_bindings_builder_free(builder);
        break;
    }
    case 23: {
        PrimOp *made = nix_alloc_primop(ctx, primop, (int)next(4), "host", NULL, NULL, NULL);
        nix_init_primop(ctx, cell(), made);
        nix_gc_decref(ctx, made);
        break;
    }
    case 24: nix_gc_incref(ctx, cell()); nix_gc_decref(ctx, cell()); break;
    case 25: nix_err_msg(ctx, ctx, &n); nix_err_info_msg(ctx, ctx, got, &n); nix_clear_err(ctx); break;
    case 26:
        if (next(10) == 0) {
            uint32_t at = next(2);
            nix_state_free(states[at]);
            states[at] = nix_state_create(ctx, NULL, store);
        }
        break;
    case 27: nix_realised_string_free(nix_string_realise(ctx, evaluating, cell(), false)); break;
    case 28: nix_get_external_value_content(ctx, nix_get_external(ctx, cell())); nix_gc_now(); break;
    default: put(NULL);
    }
}

static void run(uint64_t seed, int n_steps) {
    state = seed * 0x9E3779B97F4A7C15u + 1;
    nixlang_error_free(nixlang_engine_new(NULL, &engines[0]));
    nixlang_error_free(nixlang_engine_new(NULL, &engines[1]));
    ctx = nix_c_context_create();
    nix_libexpr_init(ctx);
    store = nix_store_open(ctx, "dummy://", NULL);
    states[0] = nix_state_create(ctx, NULL, store);
    states[1] = nix_state_create(ctx, NULL, store);
    for (int i = 0; i < n_steps; i++) {
        own_api();
        compatible_api();
    }
    for (int i = 0; i < POOL; i++) {
        nixlang_value_free(values[i]);
        values[i] = NULL;
        if (cells[i]) nix_value_decref(NULL, cells[i]);
        cells[i] = NULL;
    }
    for (int i = 0; i < 2; i++) {
        nixlang_engine_free(engines[i]);
        engines[i] = NULL;
        nix_state_free(states[i]);
    }
    nix_store_free(store);
    nix_c_context_free(ctx);
}

int main(int argc, char **argv) {
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    int count = argc > 3 ? atoi(argv[3]) : 12;
    for (uint64_t i = 0; count == 0 || i < (uint64_t)count; i++) {
        if (argc > 3) fprintf(stderr, "\rseed %llu ", (unsigned long long)(seed + i));
        run(seed + i, 600);
    }
    return 0;
}
