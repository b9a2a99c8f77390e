/* A plugin in C, and, with -DHOST, the program that loads the one that its argument names. */
#include <nix_api_expr.h>
#include <nix_api_main.h>
#include <nix_api_value.h>
#include <stdio.h>

#ifndef HOST
static void answer(void *data, nix_c_context *context, EvalState *state, nix_value **args, nix_value *ret) {
    (void)data;
    (void)state;
    (void)args;
    nix_init_int(context, ret, 42);
}

void nix_plugin_entry(void);
void nix_plugin_entry(void) {
    nix_c_context *context = nix_c_context_create();
    PrimOp *primop = nix_alloc_primop(context, answer, 1, "pluginAnswer", NULL, "answers", NULL);
    nix_register_primop(context, primop);
    nix_gc_decref(context, primop);
    nix_c_context_free(context);
}
#else
int main(int argc, char **argv) {
    nix_c_context *context = nix_c_context_create();
    if (argc < 2 || nix_libexpr_init(context)) return 2;
    if (nix_setting_set(context, "plugin-files", "/no/such/plugin.so") || nix_init_plugins(context) != NIX_ERR_NIX_ERROR) return 3;
    if (nix_setting_set(context, "plugin-files", argv[1])) return 4;
    if (nix_init_plugins(context)) return fprintf(stderr, "%s\n", nix_err_msg(NULL, context, NULL)), 5;
    Store *store = nix_store_open(context, "dummy://", NULL);
    EvalState *state = nix_state_create(context, NULL, store);
    nix_value *value = nix_alloc_value(context, state);
    if (nix_expr_eval_from_string(context, state, "pluginAnswer null", "/", value)) return 6;
    int is_right = nix_get_int(context, value) == 42;
    nix_value_decref(context, value);
    nix_state_free(state);
    nix_store_free(store);
    nix_c_context_free(context);
    return is_right ? 0 : 7;
}
#endif
