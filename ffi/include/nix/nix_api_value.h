/* nix_api_value.h: values: their types, reading them, making them, functions of the host.
 *
 * The names, prototypes and meaning of the Nix C API (2.34), provided by libnixlang. The wording is ours.
 *
 * Every function that takes a context resets its error first and puts its own there; it returns a code, or NULL, 0 or false. A NULL context drops
 * the error. Handles that were freed are refused with an error as long as their place is not used again.
 * Threads: everything may be called from any thread; calls that evaluate wait for each other. A context belongs to one thread at a time.
 */
#ifndef NIXLANG_NIX_API_VALUE_H
#define NIXLANG_NIX_API_VALUE_H

#include "nix_api_util.h"
#include "nix_api_store.h"
#include "nix_api_expr.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What a value is, as far as it was evaluated. */
typedef enum {
    NIX_TYPE_THUNK = 0,
    NIX_TYPE_INT = 1,
    NIX_TYPE_FLOAT = 2,
    NIX_TYPE_BOOL = 3,
    NIX_TYPE_STRING = 4,
    NIX_TYPE_PATH = 5,
    NIX_TYPE_NULL = 6,
    NIX_TYPE_ATTRS = 7,
    NIX_TYPE_LIST = 8,
    NIX_TYPE_FUNCTION = 9,
    NIX_TYPE_EXTERNAL = 10,
    NIX_TYPE_FAILED = 11
} ValueType;

/* Attribute sets and lists in the making; a function of the host; a value of the host; a string with its references built. */
typedef struct BindingsBuilder BindingsBuilder;
typedef struct ListBuilder ListBuilder;
typedef struct PrimOp PrimOp;
typedef struct ExternalValue ExternalValue;
typedef struct nix_realised_string nix_realised_string;

/* A function of the host. It initialises ret, not with a thunk, or sets an error in context, whose text becomes part of the evaluation's error. Arguments may
 * be thunks. The state and the arguments are borrowed. It must not throw a C++ exception. */
typedef void (*PrimOpFun)(void *user_data, nix_c_context *context, EvalState *state, nix_value **args, nix_value *ret);

/* Returns a function of arity (1 to 255) arguments, with one reference. args, the arguments' names (arity of them, or fewer and
 * NULL), and doc, Markdown that :doc and nixlang_value_documentation show, may be NULL. All of it is copied. */
PrimOp *nix_alloc_primop(nix_c_context *context, PrimOpFun fun, int arity, const char *name, const char **args, const char *doc, void *user_data);
/* Makes it a builtin of all states that are made from now on. */
nix_err nix_register_primop(nix_c_context *context, PrimOp *primOp);

/* Returns a place for a value, with one reference. */
nix_value *nix_alloc_value(nix_c_context *context, EvalState *state);
/* Count references. */
nix_err nix_value_incref(nix_c_context *context, nix_value *value);
nix_err nix_value_decref(nix_c_context *context, nix_value *value);

/* Read a value that was evaluated. Another type is an error. */
ValueType nix_get_type(nix_c_context *context, const nix_value *value);
/* A text such as "a set"; free() it. */
const char *nix_get_typename(nix_c_context *context, const nix_value *value);
bool nix_get_bool(nix_c_context *context, const nix_value *value);
nix_err nix_get_string(nix_c_context *context, const nix_value *value, nix_get_string_callback callback, void *user_data);
/* Lives as long as the value. */
const char *nix_get_path_string(nix_c_context *context, const nix_value *value);
unsigned int nix_get_list_size(nix_c_context *context, const nix_value *value);
unsigned int nix_get_attrs_size(nix_c_context *context, const nix_value *value);
double nix_get_float(nix_c_context *context, const nix_value *value);
int64_t nix_get_int(nix_c_context *context, const nix_value *value);
/* Borrowed from the value. */
ExternalValue *nix_get_external(nix_c_context *context, nix_value *value);

/* Return an element with one reference: evaluated, or as it is (lazy). NIX_ERR_KEY if there is none. Attributes have the order of their names. */
nix_value *nix_get_list_byidx(nix_c_context *context, const nix_value *value, EvalState *state, unsigned int ix);
nix_value *nix_get_list_byidx_lazy(nix_c_context *context, const nix_value *value, EvalState *state, unsigned int ix);
nix_value *nix_get_attr_byname(nix_c_context *context, const nix_value *value, EvalState *state, const char *name);
nix_value *nix_get_attr_byname_lazy(nix_c_context *context, const nix_value *value, EvalState *state, const char *name);
bool nix_has_attr_byname(nix_c_context *context, const nix_value *value, EvalState *state, const char *name);
/* name may be NULL; it lives as long as any state or value. */
nix_value *nix_get_attr_byidx(nix_c_context *context, nix_value *value, EvalState *state, unsigned int i, const char **name);
nix_value *nix_get_attr_byidx_lazy(nix_c_context *context, nix_value *value, EvalState *state, unsigned int i, const char **name);
const char *nix_get_attr_name_byidx(nix_c_context *context, nix_value *value, EvalState *state, unsigned int i);

/* Initialise a value that was allocated. A second time is an error. Strings are copied. */
nix_err nix_init_bool(nix_c_context *context, nix_value *value, bool b);
nix_err nix_init_string(nix_c_context *context, nix_value *value, const char *str);
nix_err nix_init_path_string(nix_c_context *context, EvalState *s, nix_value *value, const char *str);
nix_err nix_init_float(nix_c_context *context, nix_value *value, double d);
nix_err nix_init_int(nix_c_context *context, nix_value *value, int64_t i);
nix_err nix_init_null(nix_c_context *context, nix_value *value);
/* A call that is made when somebody needs its value. fn and arg may be initialised later. */
nix_err nix_init_apply(nix_c_context *context, nix_value *value, nix_value *fn, nix_value *arg);
nix_err nix_init_external(nix_c_context *context, nix_value *value, ExternalValue *val);
nix_err nix_make_list(nix_c_context *context, ListBuilder *list_builder, nix_value *value);
nix_err nix_init_primop(nix_c_context *context, nix_value *value, PrimOp *op);
nix_err nix_make_attrs(nix_c_context *context, nix_value *value, BindingsBuilder *b);
nix_err nix_copy_value(nix_c_context *context, nix_value *value, const nix_value *source);

/* A list of capacity elements. Elements may be initialised after they were inserted; one that was not inserted is an error when it is needed. */
ListBuilder *nix_make_list_builder(nix_c_context *context, EvalState *state, size_t capacity);
nix_err nix_list_builder_insert(nix_c_context *context, ListBuilder *list_builder, unsigned int index, nix_value *value);
void nix_list_builder_free(ListBuilder *list_builder);
/* A set; of equal names the last stays. */
BindingsBuilder *nix_make_bindings_builder(nix_c_context *context, EvalState *state, size_t capacity);
nix_err nix_bindings_builder_insert(nix_c_context *context, BindingsBuilder *builder, const char *name, nix_value *value);
void nix_bindings_builder_free(BindingsBuilder *builder);

/* Coerces a value to a string, builds what it refers to, and returns it with those paths; to be freed. */
nix_realised_string *nix_string_realise(nix_c_context *context, EvalState *state, nix_value *value, bool isIFD);
const char *nix_realised_string_get_buffer_start(nix_realised_string *realised_string);
size_t nix_realised_string_get_buffer_size(nix_realised_string *realised_string);
size_t nix_realised_string_get_store_path_count(nix_realised_string *realised_string);
/* Borrowed; NULL past the end. */
const StorePath *nix_realised_string_get_store_path(nix_realised_string *realised_string, size_t index);
void nix_realised_string_free(nix_realised_string *realised_string);

#ifdef __cplusplus
}
#endif

#endif
