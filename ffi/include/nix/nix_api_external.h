/* nix_api_external.h: values of the host, with behaviour of its own.
 *
 * The names, prototypes and meaning of the Nix C API (2.34), provided by libnixlang. The wording is ours.
 *
 * Every function that takes a context resets its error first and puts its own there; it returns a code, or NULL, 0 or false. A NULL context drops
 * the error. Handles that were freed are refused with an error as long as their place is not used again.
 * Threads: everything may be called from any thread; calls that evaluate wait for each other. A context belongs to one thread at a time.
 */
#ifndef NIXLANG_NIX_API_EXTERNAL_H
#define NIXLANG_NIX_API_EXTERNAL_H

#include "nix_api_expr.h"
#include "nix_api_util.h"
#include "nix_api_value.h"
#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Where callbacks put a string, text, and what a string refers to. They live until the callback returns. */
typedef struct nix_string_return nix_string_return;
typedef struct nix_printer nix_printer;
typedef struct nix_string_context nix_string_context;

/* Sets the string, which is copied. */
void nix_set_string_return(nix_string_return *str, const char *c);
/* Prints more text. */
nix_err nix_external_print(nix_c_context *context, nix_printer *printer, const char *str);
/* Adds a reference: "path", "=drv-path" (all of it) or "!output!drv-path". */
nix_err nix_external_add_string_context(nix_c_context *context, nix_string_context *string_context, const char *c);

/* How a value behaves. The first three are needed, others may be NULL. The caller keeps it alive as long as there are values with it. */
typedef struct NixCExternalValueDesc {
    void (*print)(void *self, nix_printer *printer);
    /* As messages name the type, and as builtins.typeOf does. */
    void (*showType)(void *self, nix_string_return *res);
    void (*typeOf)(void *self, nix_string_return *res);
    /* An empty string means that it can't be one. */
    void (*coerceToString)(void *self, nix_string_context *c, int coerceMore, int copyToStore, nix_string_return *res);
    /* Whether two values with an equal of their own are equal. */
    int (*equal)(void *self, void *other);
    /* JSON text; empty means that there is none. */
    void (*printValueAsJSON)(void *self, EvalState *state, bool strict, nix_string_context *c, bool copyToStore, nix_string_return *res);
    /* Writes XML, if doc, cast to nix_printer *, is given to nix_external_print (for the reference doc is a C++ object that nothing can be written to). What is
     * written goes into the document as it is. drvsSeen is NULL. Without this function the value is shown as unevaluated. */
    void (*printValueAsXML)(void *self, EvalState *state, int strict, int location, void *doc, nix_string_context *c, void *drvsSeen, int pos);
} NixCExternalValueDesc;

/* Returns a value with this behaviour and data, with one reference. */
ExternalValue *nix_create_external_value(nix_c_context *context, NixCExternalValueDesc *desc, void *v);
/* Returns the data; NULL if the value is not of this API. */
void *nix_get_external_value_content(nix_c_context *context, ExternalValue *b);

#ifdef __cplusplus
}
#endif

#endif
