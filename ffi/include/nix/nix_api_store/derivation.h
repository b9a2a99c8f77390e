/* nix_api_store/derivation.h: derivations.
 *
 * The names, prototypes and meaning of the Nix C API (2.34), provided by libnixlang. The wording is ours.
 *
 * Every function that takes a context resets its error first and puts its own there; it returns a code, or NULL, 0 or false. A NULL context drops
 * the error. Handles that were freed are refused with an error as long as their place is not used again.
 * Threads: everything may be called from any thread; calls that evaluate wait for each other. A context belongs to one thread at a time.
 */
#ifndef NIXLANG_NIX_API_STORE_DERIVATION_H
#define NIXLANG_NIX_API_STORE_DERIVATION_H

#include "../nix_api_util.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A build step. */
typedef struct nix_derivation nix_derivation;

/* Returns a copy, to be freed. */
nix_derivation *nix_derivation_clone(const nix_derivation *d);
/* Frees a derivation; NULL is fine. */
void nix_derivation_free(nix_derivation *drv);
/* Gives a derivation as JSON (version 4). The callback may be NULL. */
nix_err nix_derivation_to_json(nix_c_context *context, const nix_derivation *drv, nix_get_string_callback callback, void *userdata);

#ifdef __cplusplus
}
#endif

#endif
