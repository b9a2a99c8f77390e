/* nix_api_expr.h: states, evaluation, references to values.
 *
 * The names, prototypes and meaning of the Nix C API (2.34), provided by libnixlang. The wording is ours.
 *
 * Every function that takes a context resets its error first and puts its own there; it returns a code, or NULL, 0 or false. A NULL context drops
 * the error. Handles that were freed are refused with an error as long as their place is not used again.
 * Threads: everything may be called from any thread; calls that evaluate wait for each other. A context belongs to one thread at a time.
 */
#ifndef NIXLANG_NIX_API_EXPR_H
#define NIXLANG_NIX_API_EXPR_H

#include "nix_api_store.h"
#include "nix_api_util.h"
#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What a state is made with. */
typedef struct nix_eval_state_builder nix_eval_state_builder;
/* A context of evaluation. Values live longer than the state that made them, and those of several states may be mixed. */
typedef struct EvalState EvalState;
/* A value, or the place of one: allocated, then initialised once. Counted: nix_value_incref, nix_value_decref. */
typedef struct nix_value nix_value;
typedef nix_value Value;

/* As nix_libstore_init. */
nix_err nix_libexpr_init(nix_c_context *context);

/* Evaluates a text until its outermost form is known, into value. Relative paths start at path, which counts from the root. */
nix_err nix_expr_eval_from_string(nix_c_context *context, EvalState *state, const char *expr, const char *path, nix_value *value);
/* Calls a function and evaluates the result, into value. */
nix_err nix_value_call(nix_c_context *context, EvalState *state, nix_value *fn, nix_value *arg, nix_value *value);
nix_err nix_value_call_multi(nix_c_context *context, EvalState *state, nix_value *fn, size_t nargs, nix_value **args, nix_value *value);
/* Calls a function that wants a set with what it wants from auto_args (a set, or NULL); anything else is the result as it is. The result is not evaluated. */
nix_err nix_value_auto_call_function(nix_c_context *context, EvalState *state, nix_value *auto_args, nix_value *fn, nix_value *result);

/* Calls with as many arguments as are written. */
#define NIX_VALUE_CALL(context, state, value, fn, ...)                                          \
    do {                                                                                        \
        nix_value *nix_args_[] = {__VA_ARGS__};                                                 \
        nix_value_call_multi(context, state, fn, sizeof nix_args_ / sizeof *nix_args_, nix_args_, value); \
    } while (0)

/* Evaluates a value until its outermost form is known; all of it. */
nix_err nix_value_force(nix_c_context *context, EvalState *state, nix_value *value);
nix_err nix_value_force_deep(nix_c_context *context, EvalState *state, nix_value *value);

/* Returns the .drv path of a derivation, to be freed; NULL without an error if the value is none. */
StorePath *nix_get_derivation(nix_c_context *context, EvalState *state, nix_value *value, bool ignoreAssertionFailures);

/* A builder has the reference's defaults; load adds what nix.conf and the environment say, and lets evaluations write to the store. */
nix_eval_state_builder *nix_eval_state_builder_new(nix_c_context *context, Store *store);
nix_err nix_eval_state_builder_load(nix_c_context *context, nix_eval_state_builder *builder);
/* Entries "name=path" or "path", the last followed by NULL. They come before NIX_PATH. */
nix_err nix_eval_state_builder_set_lookup_path(nix_c_context *context, nix_eval_state_builder *builder, const char **lookupPath);
/* Sets a setting for this state alone. */
nix_err nix_eval_state_builder_set_setting(nix_c_context *context, nix_eval_state_builder *builder, const char *key, const char *value);
/* Returns a state; free it and the builder. */
EvalState *nix_eval_state_build(nix_c_context *context, nix_eval_state_builder *builder);
void nix_eval_state_builder_free(nix_eval_state_builder *builder);

/* Makes a builder, loads it and builds. */
EvalState *nix_state_create(nix_c_context *context, const char **lookupPath, Store *store);
/* Frees a state; NULL is fine. */
void nix_state_free(EvalState *state);

/* Count references to a value, a PrimOp or an ExternalValue. */
nix_err nix_gc_incref(nix_c_context *context, const void *object);
nix_err nix_gc_decref(nix_c_context *context, const void *object);
/* Memory of values comes back when the last state and value are gone. This checks whether they are. */
void nix_gc_now(void);
/* Runs the function when the handle of a value goes. One per handle. */
void nix_gc_register_finalizer(void *obj, void *cd, void (*finalizer)(void *obj, void *cd));

#ifdef __cplusplus
}
#endif

#endif
