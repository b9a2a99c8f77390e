/* A host that brought a garbage collector: its collections wait while something is evaluated, which runs on a stack that the collector does not know. */
#include <nix_api_expr.h>
#include <nix_api_value.h>
#include <nixlang.h>
#include <stdio.h>

static int depth, deepest, seen_within;

/* The collector's, as far as the library uses them. */
void GC_disable(void);
void GC_enable(void);
void GC_disable(void) {
    if (++depth > deepest) deepest = depth;
}
void GC_enable(void) { depth--; }

static void look(void *data, nix_c_context *context, EvalState *state, nix_value **args, nix_value *ret) {
    (void)data;
    (void)args;
    seen_within = depth;
    nix_value *inner = nix_alloc_value(context, state);
    nix_expr_eval_from_string(context, state, "1 + 1", "/", inner);
    nix_init_int(context, ret, nix_get_int(context, inner));
    nix_value_decref(context, inner);
}

int main(void) {
    nix_c_context *context = nix_c_context_create();
    if (nix_libexpr_init(context)) return 2;
    Store *store = nix_store_open(context, "dummy://", NULL);
    EvalState *state = nix_state_create(context, NULL, store);
    PrimOp *primop = nix_alloc_primop(context, look, 1, "look", NULL, NULL, NULL);
    nix_value *function = nix_alloc_value(context, state), *argument = nix_alloc_value(context, state), *result = nix_alloc_value(context, state);
    nix_init_primop(context, function, primop);
    nix_init_null(context, argument);
    if (nix_value_call(context, state, function, argument, result) || nix_get_int(context, result) != 2) return 3;
    if (seen_within != 1 || deepest != 2 || depth != 0) return fprintf(stderr, "%d %d %d\n", seen_within, deepest, depth), 4;
    /* A failure ends it too. */
    if (nix_expr_eval_from_string(context, state, "throw \"x\"", "/", result) != NIX_ERR_NIX_ERROR || depth != 0) return 5;
    nixlang_engine *engine = NULL;
    nixlang_value *value = NULL;
    deepest = 0;
    if (nixlang_engine_new(NULL, &engine) || nixlang_evaluate(engine, nixlang_text("1"), nixlang_text("/"), NULL, &value)) return 6;
    if (deepest != 1 || depth != 0) return 7;
    nixlang_value_free(value);
    nixlang_engine_free(engine);
    return 0;
}
