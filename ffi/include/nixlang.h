/* nixlang.h: the Nix language for C programs.
 *
 * Threads: every function may be called from any thread at any time; calls don't share state.
 * Ownership: what a function gives back through a pointer belongs to the caller, who frees it with the function named there.
 * Errors: functions return NULL for success, otherwise an error that the caller frees with nixlang_error_free.
 * Strings are bytes with a length; they are not NUL-terminated unless it says so.
 */
#ifndef NIXLANG_H
#define NIXLANG_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* An error. Opaque. */
typedef struct nixlang_error nixlang_error;

/* Returns the version of this interface: it grows when functions are added. */
uint32_t nixlang_abi_version(void);

/* Evaluates an expression deeply, with the files and the environment of this process and without a store to write to, and
 * gives its value in the notation of `nix-instantiate --eval --strict`.
 *
 * expression, length  the expression's bytes; may be NULL if length is 0
 * result, result_length  get the value's text and its length; free it with nixlang_bytes_free(*result, *result_length).
 *                        Untouched on errors. Neither may be NULL.
 */
nixlang_error *nixlang_evaluate(const char *expression, size_t length, char **result, size_t *result_length);

/* Frees bytes that a function of this library gave back. NULL is fine. */
void nixlang_bytes_free(char *bytes, size_t length);

/* Returns what went wrong, NUL-terminated UTF-8, valid until the error is freed. */
const char *nixlang_error_message(const nixlang_error *error);

/* Frees an error. NULL is fine. */
void nixlang_error_free(nixlang_error *error);

#ifdef __cplusplus
}
#endif

#endif
