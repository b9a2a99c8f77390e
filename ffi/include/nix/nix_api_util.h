/* nix_api_util.h: errors, settings, version.
 *
 * The names, prototypes and meaning of the Nix C API (2.34), provided by libnixlang. The wording is ours.
 *
 * Every function that takes a context resets its error first and puts its own there; it returns a code, or NULL, 0 or false. A NULL context drops
 * the error. Handles that were freed are refused with an error as long as their place is not used again.
 * Threads: everything may be called from any thread; calls that evaluate wait for each other. A context belongs to one thread at a time.
 */
#ifndef NIXLANG_NIX_API_UTIL_H
#define NIXLANG_NIX_API_UTIL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What a call came to. */
enum nix_err {
    NIX_OK = 0,
    NIX_ERR_UNKNOWN = -1,     /* a wrong argument, or an internal error */
    NIX_ERR_OVERFLOW = -2,    /* not used */
    NIX_ERR_KEY = -3,         /* no such attribute, index or setting */
    NIX_ERR_NIX_ERROR = -4,   /* evaluation, store or build failed: see nix_err_info_msg */
    NIX_ERR_RECOVERABLE = -5  /* from a callback: may succeed another time, so the thunk does not remember it */
};
typedef enum nix_err nix_err;

/* How much is told on standard error. */
enum nix_verbosity {
    NIX_LVL_ERROR = 0,
    NIX_LVL_WARN,
    NIX_LVL_NOTICE,
    NIX_LVL_INFO,
    NIX_LVL_TALKATIVE,
    NIX_LVL_CHATTY,
    NIX_LVL_DEBUG,
    NIX_LVL_VOMIT
};
typedef enum nix_verbosity nix_verbosity;

/* Holds the error of the last call that got it. Its first member is a nix_err. */
typedef struct nix_c_context nix_c_context;

/* Takes n bytes that live until it returns. A NUL that n does not count follows them. */
typedef void (*nix_get_string_callback)(const char *start, unsigned int n, void *user_data);

/* Returns a context without an error; free it with nix_c_context_free. */
nix_c_context *nix_c_context_create(void);
/* Frees a context; NULL is fine. */
void nix_c_context_free(nix_c_context *context);

/* Come before everything else of their library; repeating them is fine. They fail if the reference's own library is loaded into this process. */
nix_err nix_libutil_init(nix_c_context *context);

/* Gives the text of a process-wide setting; NIX_ERR_KEY if there is none of that name. */
nix_err nix_setting_get(nix_c_context *context, const char *key, nix_get_string_callback callback, void *user_data);
/* Sets one, for stores and states that are opened later. "extra-NAME" appends to a list. A wrong value is NIX_ERR_NIX_ERROR. */
nix_err nix_setting_set(nix_c_context *context, const char *key, const char *value);

/* Returns the version of Nix that this library behaves as. Static. */
const char *nix_version_get(void);

/* Returns the whole message of read_context's error, with its trace, and its length (n may be NULL). Lives until read_context is used or freed. Without an
 * error: NULL, and NIX_ERR_UNKNOWN in context. */
const char *nix_err_msg(nix_c_context *context, const nix_c_context *read_context, unsigned int *n);
/* Gives the message alone, and the kind, of a NIX_ERR_NIX_ERROR; NIX_ERR_UNKNOWN if the error is another one. */
nix_err nix_err_info_msg(nix_c_context *context, const nix_c_context *read_context, nix_get_string_callback callback, void *user_data);
nix_err nix_err_name(nix_c_context *context, const nix_c_context *read_context, nix_get_string_callback callback, void *user_data);
/* Returns the code of the error. */
nix_err nix_err_code(const nix_c_context *read_context);
/* Puts an error into a context, from a callback; the text is copied. Returns err. */
nix_err nix_set_err_msg(nix_c_context *context, nix_err err, const char *msg);
/* Takes the error out of a context; NULL is fine. */
void nix_clear_err(nix_c_context *context);
/* Sets how much is told. */
nix_err nix_set_verbosity(nix_c_context *context, nix_verbosity level);

#ifdef __cplusplus
}
#endif

#endif
